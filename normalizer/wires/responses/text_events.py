"""The text inside an item: deltas, their `done`, and the parts that hold them.

A text leaves in this order, and what of it the upstream forgot is made up when the next needs it:

    part added   a blank part; text that it already holds leaves behind it, as a delta
    delta        as it came, at once
    text done    the whole text; if the upstream's is longer than its deltas, the rest leaves first
    part done    the part with the whole text

Arguments and input of calls have no parts: their deltas follow the head of the item.

Which part does an event mean? The one opened at its index. An index that was never opened, while a
part of that type is open, counts something else (tokens), and means the open part. Parts leave with
indexes that run from 0 within the item.
"""

from __future__ import annotations

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.wires.responses.form import Form, blank_part, default, text_of, written
from normalizer.wires.responses.item import Item, Part
from normalizer.wires.responses.names import (
    PART_ADDED,
    PART_DONE,
    PARTS,
    SUMMARY_ADDED,
    SUMMARY_DONE,
    Text,
    as_index,
    as_text,
)
from normalizer.wires.responses.outlet import Outlet
from normalizer.wires.responses.part_texts import PartTexts

TEXT_IN_HEAD = Deviation(
    code="R208",
    name="responses-text-in-head",
    fault="A part or an item is added with text in it.",
    repair="It is added blank, and its text follows in a delta.",
)
TWICE = Deviation(
    code="R209",
    name="responses-event-twice",
    fault="A response, an item, a part or a text is added or done a second time.",
    repair="The first one counts, the second is left out.",
    structural=True,
)
DELTA_FORM = Deviation(
    code="R211",
    name="responses-delta-form",
    fault="A `delta` is null, an object, or stands under another name.",
    repair="The delta becomes its text.",
)


class TextEvents:
    """Takes the events of text inside items, each with its item already found."""

    __slots__ = ("_form", "_found", "_outlet", "parts")

    def __init__(self, outlet: Outlet, parts: PartTexts, found: Findings) -> None:
        self.parts = parts
        self._outlet = outlet
        self._found = found
        self._form = Form(found)

    def delta(self, item: Item, text: Text, draft: Draft) -> Part:
        """A piece of text."""
        value = draft.value
        piece = self._piece(draft, text)
        index = as_index(value.get(text.number))
        part = item.part_of(text, index) or self.parts.add(item, text, index)
        if part.text_done:  # the arguments were whole: a bridge sends them once more
            self._found(TWICE)
            return part
        if draft.raw is None or part.half:
            joined = part.joined(piece)
            if joined != piece:
                draft.edit()["delta"] = piece = joined
        item.given = ""
        self.parts.take(part, text, piece)
        self._refer(draft, item, text, part)
        self._outlet.send(draft, text.delta)
        return part

    def append(self, part: Part, text: Text, draft: Draft) -> None:
        """A piece of text of which it is known that nothing of it has to be changed."""
        self.parts.take(part, text, draft.value["delta"])
        self._outlet.send(draft, text.delta)

    def done(self, item: Item, text: Text, draft: Draft) -> None:
        """The end of a text."""
        value = draft.value
        given = self.parts.whole_of(value, text, item)
        index = as_index(value.get(text.number))
        part = item.part_of(text, index)
        if part is None or part.text_done:
            if self._is_again(item, text, index, given):
                self._found(TWICE)
                return
            part = self.parts.add(item, text, index)
        accepted = self.parts.complete(item, part, text, given)
        if value.get(text.key) != accepted and not part.lost:
            draft.edit()[text.key] = accepted
        part.finish(accepted)
        self._refer(draft, item, text, part)
        self._outlet.send(draft, text.done)

    def part_added(self, item: Item, draft: Draft, place: str) -> None:
        """A new part."""
        value = draft.value
        text, inside = self._part(item, draft, place)
        key = "summary_index" if place == "summary" else "content_index"
        index = as_index(value.get(key))
        if text is not None:
            part = item.part_of(text, index)
            known = part is not None and (index is None or item.at.get((place, index)) is part)
            if part is not None and known:
                self._found(TWICE)
                if inside.startswith(part.streamed):
                    self.parts.rest(item, part, text, inside)
                return
        kind = as_text(value["part"].get("type"))
        part = item.new_part(place, kind, index)
        if text is None:
            part.value = value["part"]
        elif inside and self._found(TEXT_IN_HEAD):
            draft.edit()["part"][text.key] = ""
        self.parts.refer_to_part(draft, item, key, part)
        self._outlet.send(draft, SUMMARY_ADDED if place == "summary" else PART_ADDED)
        if text is not None and inside:
            self.parts.rest(item, part, text, inside)

    def part_done(self, item: Item, draft: Draft, place: str) -> None:
        """The end of a part."""
        value = draft.value
        text, inside = self._part(item, draft, place)
        key = "summary_index" if place == "summary" else "content_index"
        index = as_index(value.get(key))
        part = item.unclosed(place, as_text(value["part"].get("type")), index)
        if part is None:
            known = item.at.get((place, index)) if index is not None else None
            if known is not None or (index is None and item.parts_in(place)):
                self._found(TWICE)
                return
            if text is not None:
                part = self.parts.add(item, text, index)
            else:
                part = self.parts.add_other(item, place, value)
        if text is not None:
            accepted = self.parts.complete(item, part, text, inside)
            if value["part"].get(text.key) != accepted and not part.lost:
                draft.edit()["part"][text.key] = accepted
            self.parts.end(item, part, text, accepted)
        part.closed = True
        self.parts.refer_to_part(draft, item, key, part)
        self._outlet.send(draft, SUMMARY_DONE if place == "summary" else PART_DONE)

    def annotation(self, item: Item, draft: Draft, text: Text) -> None:
        """An event about the text of a part that is none of the above."""
        index = as_index(draft.value.get(text.number))
        part = item.at.get((text.place, index or 0)) or item.last_part(text)
        self._refer(draft, item, text, part or self.parts.add(item, text, index))

    def _piece(self, draft: Draft, text: Text) -> str:
        """The text of a delta."""
        value = draft.value
        given = value.get("delta")
        if isinstance(given, str):
            return given
        if not self._found(DELTA_FORM):
            return ""
        value = draft.edit()
        if given is None and isinstance(value.get(text.stem), (str, dict)):
            given = value.pop(text.stem)
        elif given is None and "delta" not in value and isinstance(value.get("text"), str):
            given = value.pop("text")
        if given is None or isinstance(given, str):
            value["delta"] = given or ""
        else:
            value["delta"] = text_of(given) if text.number else written(given)
        piece: str = value["delta"]
        return piece

    def _is_again(self, item: Item, text: Text, index: int | None, given: str) -> bool:
        """Whether the `done` of a text that no open part waits for came once before."""
        last = item.last_part(text)
        if last is None or index is None:
            return last is not None
        known = item.at.get((text.place, index))
        return (known is not None and known.type == text.part) or given in ("", last.text)

    def _part(self, item: Item, draft: Draft, place: str) -> tuple[Text | None, str]:
        """The kind of text that an event's part holds, and that text; the part gets its form."""
        if not isinstance(draft.value.get("part"), dict):
            wanted = default(item.kind, place)
            draft.edit()["part"] = blank_part(wanted, text_of(draft.value.get("part")))
        self._form.part(draft, draft.value, "part", default(item.kind, place))
        part = draft.value["part"]
        text = PARTS[item.kind].get(as_text(part.get("type")))
        if text is not None and text.place != place:
            text = None
        return text, text_of(part) if text is not None else ""

    def _refer(self, draft: Draft, item: Item, text: Text, part: Part) -> None:
        if text.number:
            self.parts.refer_to_part(draft, item, text.number, part)
        else:
            self.parts.refer(draft, item)
