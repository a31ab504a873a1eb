"""Messages streams in few words: events in, what leaves as events."""

from __future__ import annotations

import json
from typing import Any

from normalizer import Normalizer, Options, RequestInfo
from normalizer.core.report import Report

Event = dict[str, Any]

TOOL = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}
TEXT = {"type": "text", "text": ""}
THINKING = {"type": "thinking", "thinking": "", "signature": ""}
STOP: Event = {"type": "message_stop"}
PARIS = '{"city": "Paris"}'


def start(**members: Any) -> Event:
    """A `message_start`; a member that is ``...`` is missing."""
    message: Event = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}
    message |= {"content": [], "stop_reason": None, "stop_sequence": None}
    message |= {"usage": {"input_tokens": 25, "output_tokens": 1}, **members}
    message = {key: item for key, item in message.items() if item is not ...}
    return {"type": "message_start", "message": message}


def opened(index: Any, block: Any) -> Event:
    return {"type": "content_block_start", "index": index, "content_block": block}


def tool(index: Any, **members: Any) -> Event:
    block = {**TOOL, **members}
    return opened(index, {key: item for key, item in block.items() if item is not ...})


def delta(index: Any, **members: Any) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": members}


def text(index: Any, said: Any = "Hi") -> Event:
    return delta(index, type="text_delta", text=said)


def thought(index: Any, said: Any = "Hm") -> Event:
    return delta(index, type="thinking_delta", thinking=said)


def signed(index: Any, signature: str = "c2ln") -> Event:
    return delta(index, type="signature_delta", signature=signature)


def piece(index: Any, said: Any = PARIS) -> Event:
    return delta(index, type="input_json_delta", partial_json=said)


def stopped(index: Any) -> Event:
    return {"type": "content_block_stop", "index": index}


def reason(word: Any = "end_turn", tokens: Any = 5, **members: Any) -> Event:
    value: Event = {"type": "message_delta"}
    value["delta"] = {"stop_reason": word, "stop_sequence": None, **members}
    return value if tokens is None else {**value, "usage": {"output_tokens": tokens}}


END = [reason(), STOP]


def written(*events: Event | bytes) -> bytes:
    """Events as api.anthropic.com writes them; bytes stay as they are."""
    return b"".join(
        one
        if isinstance(one, bytes)
        else f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode("utf-8", "replace")
        for one in events
    )


def read(body: bytes) -> list[Event]:
    """The events of a stream whose lines agree with them."""
    events = []
    for block in body.decode().split("\n\n")[:-1]:
        if block.startswith(":"):
            events.append({"type": block})
            continue
        line, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert line == f"event: {event['type']}"
        events.append(event)
    return events


def request(**members: Any) -> RequestInfo:
    body = {"model": "m", "stream": True, "messages": [], **members}
    return RequestInfo.parse("/v1/messages", json.dumps(body).encode())


ASKED = request(tools=[{"name": "get_weather"}, {"name": "get_time"}])


def run(
    *events: Event | bytes, asked: RequestInfo = ASKED, cut: bool = False, **options: Any
) -> tuple[bytes, Report]:
    """What leaves of a stream, and the report."""
    normalizer = Normalizer(asked, Options(**options))
    out = normalizer.feed(written(*events))
    out += normalizer.close("because the connection was lost" if cut else None)
    return out, normalizer.report


def through(*events: Event | bytes, **options: Any) -> list[Event]:
    """The events that leave."""
    return read(run(*events, **options)[0])


def codes(*events: Event | bytes, **options: Any) -> set[str]:
    """The codes that are reported."""
    return set(run(*events, **options)[1].codes)


def kinds(events: list[Event]) -> str:
    """The events in short, each with our index: ``message_start 0 0d 0. reason message_stop``."""
    short = {"content_block_start": "", "content_block_delta": "d", "content_block_stop": "."}
    return " ".join(
        f"{one['index']}{short[one['type']]}" if one["type"] in short else one["type"]
        for one in events
    )


def said(events: list[Event], member: str = "text", index: int | None = None) -> str:
    """What the deltas say in one member, joined."""
    return "".join(
        one["delta"].get(member, "")
        for one in events
        if one["type"] == "content_block_delta" and index in (None, one["index"])
    )
