"""Synthetic streams: the shapes of chats that upstreams send most, and one answer of each API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

WORDS = (" the", " quick", " brown", " fox", ".\n\n", " jümps", " 祝你", ' "over"', " lazy", " dog")
ENVELOPE = {
    "id": "chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012",
    "object": "chat.completion.chunk",
    "created": 1731000000,
    "model": "gpt-4o-2024-08-06",
    "service_tier": "default",
    "system_fingerprint": "fp_159d8341cc",
}
SAFE = {
    name: {"filtered": False, "severity": "safe"}
    for name in ("hate", "self_harm", "sexual", "violence")
}


def event(value: dict[str, Any], name: str = "") -> bytes:
    line = f"event: {name}\n".encode() if name else b""
    return line + b"data: " + orjson.dumps(value) + b"\n\n"


def chunk(delta: dict[str, Any], finish: str | None = None, **members: Any) -> dict[str, Any]:
    own = {key: members.pop(key) for key in list(members) if key == "content_filter_results"}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, **own}
    return {**ENVELOPE, "choices": [choice], **members}


def clean(words: list[str]) -> Iterator[dict[str, Any]]:
    yield chunk({"role": "assistant", "content": "", "refusal": None})
    yield from (chunk({"content": word}) for word in words)
    yield chunk({}, "stop")


def padded(words: list[str]) -> Iterator[dict[str, Any]]:
    for number, one in enumerate(clean(words)):
        yield {**one, "obfuscation": "aB3xY9kLmN2p"[: number % 11 + 1]}


def azure(words: list[str]) -> Iterator[dict[str, Any]]:
    results = [{"prompt_index": 0, "content_filter_results": SAFE}]
    empty = dict.fromkeys(("id", "model", "object"), "")
    yield {"choices": [], "created": 0, **empty, "prompt_filter_results": results}
    yield chunk({"role": "assistant", "content": ""}, content_filter_results={})
    yield from (chunk({"content": word}, content_filter_results=SAFE) for word in words)
    yield chunk({}, "stop", content_filter_results={})


def role_in_every_chunk(words: list[str]) -> Iterator[dict[str, Any]]:
    yield from (chunk({"role": "assistant", "content": word}) for word in words)
    yield chunk({"role": "assistant", "content": ""}, "stop")


def usage_in_every_chunk(words: list[str]) -> Iterator[dict[str, Any]]:
    yield chunk({"role": "assistant", "content": ""})
    for number, word in enumerate(words):
        usage = {"prompt_tokens": 9, "completion_tokens": number, "total_tokens": 9 + number}
        yield chunk({"content": word}, usage=usage)
    yield chunk({}, "stop")


def tool_fragments(words: list[str]) -> Iterator[dict[str, Any]]:
    """A call whose id, type and name come with every fragment, and that ends in `stop`."""
    function = {"name": "get_weather", "arguments": ""}
    call = {"index": 0, "id": "call_9f2", "type": "function", "function": function}
    yield chunk({"role": "assistant", "content": None, "tool_calls": [call]})
    for word in words:
        said = {**call, "function": {**function, "arguments": word}}
        yield chunk({"tool_calls": [said]})
    yield chunk({}, "stop")


def two_choices(words: list[str]) -> Iterator[dict[str, Any]]:
    for number, word in enumerate(["", "", *words]):
        one = chunk({"content": word} if word else {"role": "assistant", "content": ""})
        one["choices"][0]["index"] = number % 2
        yield one
    yield chunk({}, "stop")


SHAPES: dict[str, Callable[[list[str]], Iterator[dict[str, Any]]]] = {
    "clean": clean,
    "clean, padded": padded,
    "Azure": azure,
    "role in every chunk": role_in_every_chunk,
    "usage in every chunk": usage_in_every_chunk,
    "tool fragments": tool_fragments,
    "two choices": two_choices,
}


# ------------------------------------------------------------------ one long answer of each API


def words(count: int) -> Iterator[str]:
    return (WORDS[number % len(WORDS)] for number in range(count))


def chat(count: int) -> Iterator[bytes]:
    """The events of a chat of ``count`` words, each made when it is asked for."""
    yield event(chunk({"role": "assistant", "content": "", "refusal": None}))
    yield from (event(chunk({"content": word})) for word in words(count))
    yield event(chunk({}, "stop"))
    yield b"data: [DONE]\n\n"


def messages(count: int) -> Iterator[bytes]:
    usage = {"input_tokens": 9, "output_tokens": 1}
    message: dict[str, Any] = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude",
    }
    message |= {
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    yield _typed("message_start", message=message)
    yield _typed("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for word in words(count):
        yield _typed("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
    yield _typed("content_block_stop", index=0)
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    yield _typed("message_delta", delta=ended, usage={"output_tokens": count})
    yield _typed("message_stop")


def responses(count: int) -> Iterator[bytes]:
    for number, one in enumerate(_responses(count)):
        yield _typed(**one, sequence_number=number)


def _responses(count: int) -> Iterator[dict[str, Any]]:
    response: dict[str, Any] = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1731000000,
        "model": "m",
    }
    response |= {"status": "in_progress", "output": [], "error": None, "usage": None}
    item: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
    }
    begun = {"status": "in_progress", "content": []}
    part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    for state in ("created", "in_progress"):
        yield {"name": f"response.{state}", "response": response}
    yield {"name": "response.output_item.added", "output_index": 0, "item": {**item, **begun}}
    yield {"name": "response.content_part.added", **place, "part": part}
    for word in words(count):
        yield {"name": "response.output_text.delta", **place, "delta": word, "logprobs": []}
    part = {**part, "text": "".join(words(count))}
    item |= {"status": "completed", "content": [part]}
    yield {"name": "response.output_text.done", **place, "text": part["text"], "logprobs": []}
    yield {"name": "response.content_part.done", **place, "part": part}
    yield {"name": "response.output_item.done", "output_index": 0, "item": item}
    usage = {"input_tokens": 9, "output_tokens": count, "total_tokens": 9 + count}
    response |= {"status": "completed", "output": [item], "usage": usage}
    yield {"name": "response.completed", "response": response}


def _typed(name: str, **members: Any) -> bytes:
    return event({"type": name, **members}, name)


ANSWERS: dict[str, Callable[[int], Iterator[bytes]]] = {
    "chat": chat,
    "responses": responses,
    "messages": messages,
}
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
ASKED = {"model": "m", "stream": True, "messages": []}
