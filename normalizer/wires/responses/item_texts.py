"""The texts of an item at its head and at its end.

A head's text leaves behind the head, which is blank. At the end each part is completed by what
the item's `done` holds, and closed; what the `done` lacks is filled in by the parts. Parts are
matched by their type, in order. An end that holds in one part what was streamed in several (an
upstream that counts tokens as parts) gets the parts that were streamed.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Findings
from normalizer.wires.responses.form import blank_part, text_of
from normalizer.wires.responses.item import Item, Part
from normalizer.wires.responses.names import PART_DONE, PARTS, SUMMARY, SUMMARY_DONE, Text, as_text
from normalizer.wires.responses.outlet import Outlet
from normalizer.wires.responses.part_texts import NO_DELTA, PART_NOT_DONE, TEXT_MISSING, PartTexts


class ItemTexts:
    """Completes the texts of items."""

    __slots__ = ("_found", "_outlet", "_parts")

    def __init__(self, outlet: Outlet, parts: PartTexts, found: Findings) -> None:
        self._parts = parts
        self._outlet = outlet
        self._found = found

    def finish_parts(self, item: Item, draft: Draft, data: dict[str, Any], place: str) -> None:
        """Complete and close the parts of an item by what its `done` holds, and the other way.

        ``data`` is the item as it ends; ``draft`` the event that it stands in.
        """
        parts = item.summary if place == "summary" else item.content
        listed = data.get(place)
        given: list[Any] = listed if isinstance(listed, list) else []
        if not parts and not given:
            return
        if draft.raw is not None and _is_streamed(item.kind, parts, given):
            return
        if _is_divided_otherwise(parts, given) and self._merged(item, parts, given):
            given = []
        ends: dict[int, dict[str, Any]] = {}
        unmatched: dict[str, list[Part]] = {}
        for part in reversed(parts):
            unmatched.setdefault(part.type, []).append(part)
        for one in given:
            if not isinstance(one, dict):
                continue
            part = self._match(item, place, one, unmatched)
            ends[part.number] = self._finish_part(item, part, one)
        for part in parts:
            if part.number not in ends:
                ends[part.number] = self._finish_part(item, part, None)
        complete = [ends[number] for number in sorted(ends)]
        if complete != given or complete != data.get(place):
            draft.edit()
            data[place] = complete

    def finish_call(self, item: Item, draft: Draft, data: dict[str, Any], text: Text) -> None:
        """Complete and end the arguments of a call by what its `done` holds."""
        part = item.part_of(text, None) or self._parts.add(item, text, None)
        accepted = self._parts.complete(item, part, text, self._parts.whole_of(data, text, item))
        if data.get(text.key) != accepted and not part.lost:
            draft.edit()
            data[text.key] = accepted
        self._parts.end(item, part, text, accepted)

    def head(self, item: Item, place: str, data: dict[str, Any]) -> None:
        """A part that an item's head held: it is added blank, and its text follows."""
        text = PARTS[item.kind].get(as_text(data.get("type")))
        if text is None or text.place != place:
            self._parts.add_other(item, place, {"part": data})
        elif text_of(data):
            part = self._parts.add(item, text, None)
            self._parts.rest(item, part, text, text_of(data))

    def _finish_part(self, item: Item, part: Part, data: dict[str, Any] | None) -> dict[str, Any]:
        """End a part; the part as it stands in the item."""
        text = PARTS[item.kind].get(part.type)
        one = dict(data) if data is not None else part.value or blank_part(part.type)
        if text is not None:
            accepted = self._parts.complete(item, part, text, text_of(data))
            if one.get(text.key) != accepted and not part.lost:
                one[text.key] = accepted
            self._parts.end(item, part, text, accepted)
        if not part.closed:
            part.closed = True
            summary = text is SUMMARY
            if self._found(PART_NOT_DONE):
                self._outlet.make(
                    SUMMARY_DONE if summary else PART_DONE,
                    {
                        "item_id": item.id,
                        "output_index": item.number,
                        "summary_index" if summary else "content_index": part.number,
                        "part": one,
                    },
                )
        return one

    def _merged(self, item: Item, parts: list[Part], given: list[Any]) -> bool:
        """Whether the end holds in fewer parts what was streamed in more."""
        streamed, end = "".join(part.text for part in parts), "".join(map(text_of, given))
        if not end or not end.startswith(streamed):
            return not end
        last = parts[-1]
        text = PARTS[item.kind].get(last.type)
        if text is not None and not last.text_done and len(end) > len(streamed):
            if self._found(NO_DELTA):
                self._parts.rest(item, last, text, last.streamed + end[len(streamed) :])
        return self._found(TEXT_MISSING)

    def _match(
        self, item: Item, place: str, one: dict[str, Any], unmatched: dict[str, list[Part]]
    ) -> Part:
        kind = as_text(one.get("type"))
        parts = unmatched.get(kind)
        if parts:
            return parts.pop()
        text = PARTS[item.kind].get(kind)
        if text is not None and text.place == place:
            return self._parts.add(item, text, None)
        return self._parts.add_other(item, place, {"part": one})


def _is_streamed(kind: str, parts: list[Part], given: list[Any]) -> bool:
    """Whether an end has just the parts that were streamed and ended, as they ended."""
    if len(parts) != len(given):
        return False
    for part, one in zip(parts, given, strict=True):
        text = PARTS[kind].get(part.type)
        if text is None or not part.closed or not part.text_done or part.half or part.lost:
            return False
        if type(one) is not dict or one.get("type") != part.type:
            return False
        if not one.get(text.key) == text_of(one) == part.text:
            return False
    return True


def _is_divided_otherwise(parts: list[Part], given: list[Any]) -> bool:
    """Whether the end divides a text into parts in another way than it was streamed."""
    if len(given) <= len(parts):
        return len(given) < len(parts)
    pairs = zip(parts, given, strict=False)
    return any(not text_of(one).startswith(part.text) for part, one in pairs)
