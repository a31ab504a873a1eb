"""The text of one part: what of it left, what is made up, and what its end holds.

A whole that differs from its deltas was changed on purpose (a guardrail, a redaction). It is the
upstream's word, and stays. A whole that is missing or empty is filled with the deltas. If it goes
on where the deltas end, the rest leaves as a delta before it.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.core.kept import Kept
from normalizer.core.lenient import clean_text
from normalizer.core.report import Report
from normalizer.wires.responses.form import blank_part, text_of, written
from normalizer.wires.responses.item import Item, Part
from normalizer.wires.responses.items import Items
from normalizer.wires.responses.names import (
    PART_ADDED,
    SUMMARY_ADDED,
    Text,
    as_text,
)
from normalizer.wires.responses.outlet import Outlet

PART_NOT_ADDED = Deviation(
    code="R203",
    name="responses-part-not-added",
    fault="Text comes for a part that was never added.",
    repair="`content_part.added` or `reasoning_summary_part.added` is made up before it.",
)
NO_DELTA = Deviation(
    code="R204",
    name="responses-text-without-delta",
    fault="A text, or its end, is only in a `done`, an item or the terminal event.",
    repair="What no delta had leaves as a delta before it.",
)
TEXT_NOT_DONE = Deviation(
    code="R205",
    name="responses-text-not-done",
    fault="A part or an item ends without the `done` of its text or of its arguments.",
    repair="The `done` is made up of the deltas.",
)
PART_NOT_DONE = Deviation(
    code="R206",
    name="responses-part-not-done",
    fault="An item ends while one of its parts is open.",
    repair="`content_part.done` or `reasoning_summary_part.done` is made up before it.",
)
ITEM_REFERENCE = Deviation(
    code="R302",
    name="responses-item-reference",
    fault="`item_id` or `output_index` of an event is missing, or is not that of its item.",
    repair="The event gets the id and the index under which its item was added.",
)
PART_INDEX = Deviation(
    code="R304",
    name="responses-part-index",
    fault="`content_index` or `summary_index` is missing, or is not the place of the part.",
    repair="Parts are numbered 0, 1, 2 … within their item.",
)
TEXT_MISSING = Deviation(
    code="R501",
    name="responses-text-missing-at-the-end",
    fault="A `done`, or an item in the terminal event, lacks text that was streamed.",
    repair="It is filled with the text of the deltas.",
)
TEXT_DIFFERS = Deviation(
    code="R502",
    name="responses-text-differs-at-the-end",
    fault="The whole text differs from its deltas.",
    repair="It stays: a guardrail may have changed it.",
    reported=True,
)
TOO_LONG = Deviation(
    code="R503",
    name="responses-text-over-the-limit",
    fault="The answer is larger than `max_response_bytes`.",
    repair="It passes, but what its ends lack is not filled in any more.",
    reported=True,
)


_ROOM = 1024 * 1024


class PartTexts:
    """Sends what is made up of a part, and keeps count of its text."""

    __slots__ = ("_found", "_items", "_kept", "_outlet", "_report")

    def __init__(
        self, outlet: Outlet, items: Items, found: Findings, report: Report, kept: Kept
    ) -> None:
        self._outlet = outlet
        self._items = items
        self._found = found
        self._report = report
        self._kept = kept

    def add(self, item: Item, text: Text, index: int | None) -> Part:
        """A part that the upstream did not add."""
        if not text.number:
            item.call = item.call or Part("", 0)
            return item.call
        part = item.new_part(text.place, text.part, index)
        self._make_added(item, part)
        return part

    def add_other(self, item: Item, place: str, value: dict[str, Any]) -> Part:
        """A part without text that the upstream did not add."""
        part = item.new_part(place, as_text(value["part"].get("type")), None)
        part.value = value["part"]
        self._make_added(item, part)
        return part

    def _make_added(self, item: Item, part: Part) -> None:
        summary = part in item.summary[part.number : part.number + 1]
        if self._found(PART_NOT_ADDED):
            self._outlet.make(
                SUMMARY_ADDED if summary else PART_ADDED,
                {
                    "item_id": item.id,
                    "output_index": item.number,
                    "summary_index" if summary else "content_index": part.number,
                    "part": part.value or blank_part(part.type),
                },
            )

    def rest(self, item: Item, part: Part, text: Text, wanted: str) -> None:
        """Send what of a text no delta had."""
        rest = wanted[len(part.streamed) :]
        if rest:
            self.take(part, text, rest)
            self._outlet.make(
                text.delta, {**_place(item, part, text), "delta": rest, **_extra(text)}
            )

    def end(self, item: Item, part: Part, text: Text, accepted: str) -> None:
        if part.text_done:
            return
        part.finish(accepted)
        if self._found(TEXT_NOT_DONE):
            members = {**_place(item, part, text), text.key: accepted, **_extra(text)}
            if text.place == "arguments":
                members["name"] = item.name
            self._outlet.make(text.done, members)

    def complete(self, item: Item, part: Part, text: Text, given: str) -> str:
        """The text that stands at the end; ``given`` is the upstream's."""
        if part.half:
            part.half = ""
            self.rest(item, part, text, part.streamed + "\ufffd")
        if part.lost:
            return given
        given = clean_text(given)
        had = part.text
        if given == had:
            return given
        if not given:
            return had if self._found(TEXT_MISSING) else given
        if given.startswith(had) and not part.text_done:
            if self._found(NO_DELTA):
                self.rest(item, part, text, given)
            return given
        self._found.note(TEXT_DIFFERS)
        return given

    def take(self, part: Part, text: Text, piece: str) -> None:
        part.append(piece, self._kept)
        if part.lost and self._kept.over:
            self._found.note(TOO_LONG)
        for counts in (self._report.characters_in, self._report.characters_out):
            counts[text.counted] = counts.get(text.counted, 0) + len(piece)

    def keep(self, part: Part, said: str) -> None:
        """Take deltas that left by a template, and are counted."""
        part.append(said, self._kept)
        if part.lost and self._kept.over:
            self._found.note(TOO_LONG)

    @property
    def roomy(self) -> bool:
        """Whether the next texts are far from the limit, at which each of them is reported."""
        return self._kept.size + _ROOM < self._kept.limit

    def whole_of(self, holder: dict[str, Any], text: Text, item: Item) -> str:
        """The whole text that a `done` holds."""
        given = holder.get(text.key)
        if text.number:
            return text_of(given)
        if given is None or given == "":
            return item.given
        if not isinstance(given, str) and item.call is not None:
            return item.call.same_json(given) or written(given)
        return written(given)

    def refer(self, draft: Draft, item: Item, *, add: bool = True) -> None:
        """Give an event the id and the index of its item; ``add`` those that it lacks, too."""
        value = draft.value
        number = value.get("output_index")
        if value.get("item_id") == item.id and number == item.number and type(number) is int:
            return
        wanted = {"item_id": item.id, "output_index": item.number}
        if not add:
            wanted = {key: one for key, one in wanted.items() if key in value}
        wrong = {key: one for key, one in wanted.items() if not _same(value.get(key), one)}
        shifted = self._items.shifted and not wrong.keys() - {"output_index"}
        if wrong and (shifted or self._found(ITEM_REFERENCE)):
            draft.edit().update(wrong)

    def refer_to_part(self, draft: Draft, item: Item, key: str, part: Part) -> None:
        self.refer(draft, item)
        number = draft.value.get(key)
        if (number != part.number or type(number) is not int) and self._found(PART_INDEX):
            draft.edit()[key] = part.number


def _place(item: Item, part: Part, text: Text) -> dict[str, Any]:
    """The members that name the item and the part of an event."""
    place: dict[str, Any] = {"item_id": item.id, "output_index": item.number}
    return {**place, text.number: part.number} if text.number else place


def _extra(text: Text) -> dict[str, Any]:
    return {"logprobs": []} if text.part == "output_text" else {}


def _same(value: Any, wanted: Any) -> bool:
    return type(value) is type(wanted) and bool(value == wanted)
