"""A server with faults: what the code of the pages asks, in place of a real one.

It answers chats as Azure and vLLM do on a bad day: a first chunk without a choice, and a finish
together with the last text. A client that reads it without us loses text or raises.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000}
TEXT = "Hello world"


def chunk(delta: dict[str, Any] | None, finish: str | None = None) -> bytes:
    """One event; None: without a choice."""
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}] if delta is not None else []
    return b"data: " + json.dumps({**HEAD, "model": "m", "choices": choices}).encode() + b"\n\n"


STREAM = (
    chunk(None),
    chunk({"role": "assistant", "content": "Hello"}),
    chunk({"content": " world"}, "stop"),
    b"data: [DONE]\n\n",
)
WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": TEXT, "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}


async def app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer a chat, as a stream or whole; any other path gets a 404."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    if not scope["path"].endswith("/chat/completions"):
        await answer(send, 404, b"application/json", b'{"error": {"message": "no such path"}}')
    elif json.loads(body).get("stream"):
        await answer(send, 200, b"text/event-stream", *STREAM)
    else:
        await answer(send, 200, b"application/json", json.dumps(WHOLE).encode())


async def answer(
    send: Callable[[Message], Awaitable[None]], status: int, kind: bytes, *pieces: bytes
) -> None:
    """Send a body in pieces."""
    headers = [(b"content-type", kind)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
