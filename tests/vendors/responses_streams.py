"""Canonical streams of the Responses API, and how deviations are written with them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from typing import Any

from tests.vendors.upstream import Body
from tests.wires.responses.streams import (
    call,
    call_events,
    created,
    ended,
    event,
    message,
    message_events,
    reasoning,
)

Event = dict[str, Any]

EVENTS = "text/event-stream; charset=utf-8"
TEXT = "Oslo lies by the sea."
CITY = {"city": "Oslo"}
DELTAS = ("Oslo lies ", "by ", "the sea.")
_ARGUMENTS = ('{"city":', '"Oslo"}')


def encoded(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def frame(value: Event) -> bytes:
    return f"event: {value['type']}\ndata: {encoded(value)}\n\n".encode()


def wire(events: Iterable[Event]) -> bytes:
    """The events as api.openai.com writes them, numbered."""
    return b"".join(
        frame({"type": one["type"], "sequence_number": number, **one})
        for number, one in enumerate(events)
    )


def text_events() -> list[Event]:
    begun = [created(), event("in_progress", response=created()["response"])]
    return [*begun, *message_events(*DELTAS), ended(message(TEXT))]


def events_of_call() -> list[Event]:
    whole = call("".join(_ARGUMENTS), name="get_weather")
    return [created(), *call_events(*_ARGUMENTS, name="get_weather"), ended(whole)]


def reasoned_events() -> list[Event]:
    """A summary of reasoning, then the text."""
    place = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    kind, said = "reasoning_summary_text", "A city."
    summary = {"type": "summary_text", "text": said}
    thought = [
        event("output_item.added", output_index=0, item=reasoning()),
        event("reasoning_summary_part.added", **place, part={**summary, "text": ""}),
        event(f"{kind}.delta", **place, delta=said),
        event(f"{kind}.done", **place, text=said),
        event("reasoning_summary_part.done", **place, part=summary),
        event("output_item.done", output_index=0, item=reasoning(said)),
    ]
    spoken = message_events(*DELTAS, index=1)
    return [created(), *thought, *spoken, ended(reasoning(said), message(TEXT))]


def without(events: list[Event], *kinds: str) -> list[Event]:
    dropped = {f"response.{kind}" for kind in kinds}
    return [one for one in events if one["type"] not in dropped]


def changed(events: list[Event], change: Callable[[Event], object]) -> list[Event]:
    """A copy of the events after ``change`` was made to each of them."""
    copies = copy.deepcopy(events)
    for one in copies:
        change(one)
    return copies


def last(**members: Any) -> list[Event]:
    """The text, and these members in the terminal response; one that is ... is missing."""
    *before, end = text_events()
    response = {key: one for key, one in (end["response"] | members).items() if one is not ...}
    return [*before, end | {"response": response}]


def lose_type() -> bytes:
    return b"".join(
        f"event: {one['type']}\ndata: ".encode()
        + encoded({"sequence_number": number, **one, "type": None})
        .encode()
        .replace(b'"type":null', b'"object":"event"')
        + b"\n\n"
        for number, one in enumerate(text_events())
    )


def flatten(one: Event) -> None:
    if "response" in one:
        one.update(one.pop("response") | {"type": one["type"]})


def rotate(one: Event, count: list[int]) -> None:
    count.append(0)
    for owner, key in ((one, "item_id"), (one.get("item") or {}, "id")):
        if key in owner:
            owner[key] = f"{owner[key]}_{len(count)}"


def lose_indexes(one: Event) -> None:
    one.pop("output_index", None)
    one.pop("item_id", None)
    one.get("item", {}).pop("id", None)


def lose_call_id(one: Event) -> None:
    for item in (one.get("item", {}), *one.get("response", {}).get("output", ())):
        item.pop("call_id", None)


def wrap_delta(one: Event) -> None:
    if "delta" in one:
        one["delta"] = {"type": "output_text", "text": one["delta"]}


def early(value: Event) -> bytes:
    """An event before the first one, without a number."""
    return frame(value) + wire(text_events())


def after_call(request: dict[str, Any]) -> Body | None:
    """The answer to a request with the result of a call: a text that names this call."""
    asked = request.get("input")
    for item in reversed(asked if isinstance(asked, list) else []):
        if item.get("type") == "function_call":
            text = f"{CALLED} {item['name']} {item['arguments']}"
            return Body(wire([created(), *message_events(text), ended(message(text))]), EVENTS)
    return None


# How that text begins.
CALLED = "Called:"
