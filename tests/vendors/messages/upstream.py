"""The server that answers with the deviations, and what it was asked."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tests.conftest import Receive, Send
from tests.vendors.messages.deviations import Deviation
from tests.wires.messages.streams import END, TEXT, opened, start, stopped, text, written

# what an agent is told when it comes back with the results of its tools
DONE = "It says so."
DONE_USAGE = (3, 2)
_DONE = written(
    start(id="msg_2", usage={"input_tokens": DONE_USAGE[0], "output_tokens": 1}),
    *(opened(0, TEXT), text(0, DONE), stopped(0)),
    *({**one, "usage": {"output_tokens": DONE_USAGE[1]}} if "delta" in one else one for one in END),
)


class Upstream:
    """An application that answers ``/WHO/NAME/v1/messages`` with the deviation of that name.

    ``asked`` has the bodies of the requests, by ``/WHO/NAME``. A request that has an answer of the
    assistant's in it gets an end of the conversation.
    """

    def __init__(self, deviations: Mapping[str, Deviation]) -> None:
        self._deviations = deviations
        self._lock = threading.Lock()
        self.asked: dict[str, list[dict[str, Any]]] = defaultdict(list)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        if scope["method"] != "POST" or not scope["path"].endswith("/v1/messages"):
            # Claude Code asks with HEAD whether anybody is there.
            await _answer(send, 404, b"", "text/plain")
            return
        asked = json.loads(body)
        path = scope["path"].removesuffix("/v1/messages")
        with self._lock:
            self.asked[path].append(asked)
        deviation = self._deviations[path.rpartition("/")[2]]
        if any(one["role"] == "assistant" for one in asked["messages"]):
            await _answer(send, 200, _DONE, "text/event-stream")
        elif deviation.left_open:
            await _begin(send, 200, deviation.media_type)
            await send({"type": "http.response.body", "body": deviation.stream, "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
        else:
            await _answer(send, 200, deviation.stream, deviation.media_type)


async def _begin(send: Send, status: int, media_type: str) -> None:
    headers = [(b"content-type", media_type.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _answer(send: Send, status: int, body: bytes, media_type: str) -> None:
    await _begin(send, status, media_type)
    await send({"type": "http.response.body", "body": body})
