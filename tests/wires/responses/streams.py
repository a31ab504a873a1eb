"""Streams of the Responses API for tests: the events to write them with, and what comes out."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from normalizer import Normalizer, Options, Report, RequestInfo

PATH = "/v1/responses"
DONE = b"data: [DONE]\n\n"
STREAM = {"model": "m", "stream": True, "input": "hi"}
USAGE = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 4,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 7,
}


def response(status: str = "in_progress", output: Any = (), **members: Any) -> dict[str, Any]:
    """A response object in its canonical form; a member that is ... is left out."""
    value = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1700000000,
        "status": status,
        "error": None,
        "model": "m",
        "output": list(output) if isinstance(output, tuple) else output,
        "usage": USAGE if status == "completed" else None,
        **members,
    }
    return {key: one for key, one in value.items() if one is not ...}


def event(kind: str, **members: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **{k: v for k, v in members.items() if v is not ...}}


def created(**members: Any) -> dict[str, Any]:
    return event("created", response=response(**members))


def ended(*output: Any, kind: str = "completed", **members: Any) -> dict[str, Any]:
    return event(kind, response=response(kind, output, **members))


def part(text: str = "", kind: str = "output_text") -> dict[str, Any]:
    if kind == "output_text":
        return {"type": kind, "annotations": [], "logprobs": [], "text": text}
    return {"type": kind, "refusal" if kind == "refusal" else "text": text}


def message(*texts: str, ident: str = "msg_1", status: str = "completed") -> dict[str, Any]:
    content = [part(text) for text in texts]
    return {
        "id": ident,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def reasoning(*texts: str, ident: str = "rs_1", **members: Any) -> dict[str, Any]:
    summary = [part(text, "summary_text") for text in texts]
    return {"id": ident, "type": "reasoning", "summary": summary, **members}


def call(
    arguments: Any = "",
    *,
    ident: Any = "fc_1",
    name: Any = "f",
    call_id: Any = "call_1",
    status: Any = "completed",
    **members: Any,
) -> dict[str, Any]:
    value = {
        "id": ident,
        "type": "function_call",
        "status": status,
        "arguments": arguments,
        "call_id": call_id,
        "name": name,
        **members,
    }
    return {key: one for key, one in value.items() if one is not ...}


def added(item: dict[str, Any], index: Any = 0) -> dict[str, Any]:
    return event("output_item.added", output_index=index, item=item)


def done(item: dict[str, Any], index: Any = 0) -> dict[str, Any]:
    return event("output_item.done", output_index=index, item=item)


def at(ident: Any = "msg_1", index: Any = 0, **members: Any) -> dict[str, Any]:
    return {"item_id": ident, "output_index": index, **members}


def text_delta(delta: Any, ident: Any = "msg_1", index: Any = 0, place: Any = 0) -> dict[str, Any]:
    return event("output_text.delta", **at(ident, index), content_index=place, delta=delta)


def arguments_delta(delta: Any, ident: Any = "fc_1", index: Any = 0) -> dict[str, Any]:
    return event("function_call_arguments.delta", **at(ident, index), delta=delta)


def message_events(*deltas: str, ident: str = "msg_1", index: int = 0) -> list[dict[str, Any]]:
    """A whole message of one part, with all its events."""
    text = "".join(deltas)
    place = {**at(ident, index), "content_index": 0}
    return [
        added(message(ident=ident, status="in_progress"), index),
        event("content_part.added", **place, part=part()),
        *(event("output_text.delta", **place, delta=one, logprobs=[]) for one in deltas),
        event("output_text.done", **place, text=text, logprobs=[]),
        event("content_part.done", **place, part=part(text)),
        done(message(text, ident=ident), index),
    ]


def call_events(
    *deltas: str, ident: str = "fc_1", index: int = 0, name: str = "f", call_id: str = "call_1"
) -> list[dict[str, Any]]:
    """A whole call, with all its events."""
    whole = "".join(deltas)
    head = call(ident=ident, name=name, call_id=call_id, status="in_progress")
    return [
        added(head, index),
        *(arguments_delta(one, ident, index) for one in deltas),
        event("function_call_arguments.done", **at(ident, index), arguments=whole, name=name),
        done(call(whole, ident=ident, name=name, call_id=call_id), index),
    ]


def raw(*events: Any, numbered: bool = True, done: bool = False) -> bytes:
    """Events, lists of them, and bytes as they are, as the body of a stream."""
    out, number = [], 0
    for one in (e for given in events for e in (given if isinstance(given, list) else [given])):
        if isinstance(one, bytes):
            out.append(one)
            continue
        value = dict(one)
        if numbered and "sequence_number" not in value:
            value = {"type": value.pop("type"), "sequence_number": number, **value}
        number += 1
        data = json.dumps(value, separators=(",", ":")).encode()
        out.append(b"event: " + value["type"].encode() + b"\ndata: " + data + b"\n\n")
    return b"".join(out) + (DONE if done else b"")


class Outcome(NamedTuple):
    out: bytes
    events: list[Any]
    report: Report
    normalizer: Normalizer

    @property
    def codes(self) -> set[str]:
        return set(self.report.repairs)

    @property
    def types(self) -> list[str]:
        """The types of the events, without `response.`."""
        return [one["type"].removeprefix("response.") for one in self.events]

    def of(self, kind: str) -> list[Any]:
        return [one for one in self.events if one["type"] == f"response.{kind}"]

    def said(self, stem: str = "output_text") -> str:
        return "".join(one["delta"] for one in self.of(f"{stem}.delta"))

    @property
    def output(self) -> list[Any]:
        """The items of the terminal event."""
        output: list[Any] = self.events[-1]["response"]["output"]
        return output

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def normalize(
    body: bytes,
    request: Any = STREAM,
    *,
    pieces: list[bytes] | None = None,
    status: int = 200,
    broken: str | None = None,
    headers: dict[str, str] | None = None,
    **options: Any,
) -> Outcome:
    """A body through a normalizer, whole or in pieces."""
    about = RequestInfo.parse(PATH, request, headers=headers)
    normalizer = Normalizer(about, Options(**options), status=status)
    out = b"".join([normalizer.feed(piece) for piece in pieces or [body]])
    out += normalizer.close(broken)
    return Outcome(out, events_of(out), normalizer.report, normalizer)


def events_of(out: bytes) -> list[Any]:
    events = []
    for block in out.split(b"\n\n"):
        name, newline, data = block.partition(b"\n")
        if newline and name.startswith(b"event: "):
            value = json.loads(data.removeprefix(b"data: "))
            assert value["type"] == name[7:].decode()
            events.append(value)
    return events
