"""The events of a whole answer: what a stream of it would have been.

Each text is one delta. The events are complete, so that nothing of them has to be repaired.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from normalizer.wires.responses.form import blank_part, text_of
from normalizer.wires.responses.names import (
    ADDED,
    BY_STATUS,
    CALLS,
    COMPLETED,
    CREATED,
    DONE,
    IN_PROGRESS,
    PART_ADDED,
    PART_DONE,
    PARTS,
    SUMMARY_ADDED,
    SUMMARY_DONE,
    as_text,
)

_PLACES = {"message": ("content",), "reasoning": ("summary", "content")}


def events_of(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a response in its canonical form, numbered.

    The terminal event is that of its status; without one that ends a response there is none.
    """
    for number, event in enumerate(_events(response)):
        yield {"type": event["type"], "sequence_number": number, **event}


def _events(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    head = {**response, "status": "in_progress", "output": [], "usage": None, "error": None}
    yield {"type": CREATED, "response": dict(head)}
    yield {"type": IN_PROGRESS, "response": dict(head)}
    items = response.get("output")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            yield from _item(item, index)
    status = as_text(response.get("status"))
    kind = BY_STATUS.get(status) or ("" if status else COMPLETED)
    if kind:
        yield {"type": kind, "response": response}


def _item(item: dict[str, Any], index: int) -> Iterator[dict[str, Any]]:
    kind = as_text(item.get("type"))
    head = {**item, "status": "in_progress"} if "status" in item else dict(item)
    for place in _PLACES.get(kind, ()):
        if isinstance(head.get(place), list):
            head[place] = []
    if kind in CALLS:
        head[CALLS[kind].key] = ""
    yield {"type": ADDED, "output_index": index, "item": head}
    where = {"item_id": item.get("id"), "output_index": index}
    for place in _PLACES.get(kind, ()):
        parts = item.get(place)
        for number, part in enumerate(parts if isinstance(parts, list) else ()):
            if isinstance(part, dict):
                yield from _part(part, kind, place, where, number)
    if kind in CALLS:
        text, whole = CALLS[kind], item.get(CALLS[kind].key)
        if whole:
            yield {"type": text.delta, **where, "delta": whole}
        yield {"type": text.done, **where, text.key: whole, "name": item.get("name")}
    yield {"type": DONE, "output_index": index, "item": item}


def _part(
    part: dict[str, Any], kind: str, place: str, where: dict[str, Any], number: int
) -> Iterator[dict[str, Any]]:
    added, done = (SUMMARY_ADDED, SUMMARY_DONE) if place == "summary" else (PART_ADDED, PART_DONE)
    index = {"summary_index" if place == "summary" else "content_index": number}
    text = PARTS[kind].get(as_text(part.get("type")))
    blank = part if text is None else blank_part(text.part)
    yield {"type": added, **where, **index, "part": blank}
    if text is not None:
        extra = {"logprobs": part.get("logprobs") or []} if text.part == "output_text" else {}
        if text_of(part):
            yield {"type": text.delta, **where, **index, "delta": text_of(part), **extra}
        yield {"type": text.done, **where, **index, text.key: text_of(part), **extra}
    yield {"type": done, **where, **index, "part": part}
