"""The events of items: which item each belongs to, and what it does to it.

A head that is missing is made up when the first event of its item comes. A delta for an item that
is done opens a new one of its kind: the old one has ended by its own `done`. Any other event
for an item that is done came once before, and is left out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.wires.responses.form import ITEM_MEMBERS
from normalizer.wires.responses.item import Item, Part
from normalizer.wires.responses.item_lifecycle import OUTPUT_INDEX, ItemLifecycle, call_of, ids_of
from normalizer.wires.responses.items import Items
from normalizer.wires.responses.names import (
    CALLS,
    DELTAS,
    DONE,
    DONES,
    EVENTFUL,
    OUTPUT_TEXT,
    PART_ADDED,
    PARTS,
    SUMMARY_ADDED,
    SUMMARY_DONE,
    Text,
    as_index,
    as_text,
    kind_of_item,
)
from normalizer.wires.responses.outlet import Outlet
from normalizer.wires.responses.text_events import TWICE, TextEvents

AFTER_DONE = Deviation(
    code="R210",
    name="responses-delta-after-done",
    fault="Text comes for an item that is done.",
    repair="A new item of its kind is added for it.",
    structural=True,
)

_LONGEST = 200  # characters of a type, in which the kind of its item is looked for


class Delta(NamedTuple):
    """A delta that left: its event, what it named its item and its part by, and what those are."""

    value: dict[str, Any]
    text: Text
    ident: Any
    place: Any
    number: Any
    item: Item
    part: Part


class ItemEvents:
    """Takes the events of items, and finds the item of each.

    * ``sent``: the event taken last, if it is a delta that left; ``deltas``: how many came here.
    """

    __slots__ = ("_clean", "_found", "_items", "_lifecycle", "_outlet", "_texts", "deltas", "sent")

    def __init__(
        self, outlet: Outlet, lifecycle: ItemLifecycle, texts: TextEvents, found: Findings
    ) -> None:
        self._items: Items = lifecycle.items
        self._lifecycle = lifecycle
        self._texts = texts
        self._outlet = outlet
        self._found = found
        # the last delta, if it was in order: the next that names the same is too
        self._clean: tuple[Text, Item, Part] | None = None
        self.sent: Delta | None = None
        self.deltas = 0

    def delta(self, draft: Draft, kind: str) -> None:
        """A piece of text."""
        text = DELTAS[kind]
        item = self._inside(draft, text.kind, again=True)
        self._clean = None
        if item is None:
            return
        if not item.opened:
            self._lifecycle.wait(item, draft, text.delta)
            return
        value = draft.value
        ident, index = value.get("item_id"), value.get("output_index")
        number = value.get(text.number)
        part = self._texts.delta(item, text, draft)
        if text.number and (ident, index, number) == (item.id, item.number, part.number):
            self._clean = (text, item, part)
        self.sent = Delta(value, text, ident, index, number, item, part)
        self.deltas += 1

    def send_next(self, draft: Draft, text: Text) -> bool:
        """Send a piece of the text that the last delta was of; False if it may be another's."""
        if self._clean is None or draft.raw is None:
            return False
        known, item, part = self._clean
        value = draft.value
        if (
            known is text
            and not part.half
            and value.get("item_id") == item.id
            and value.get("output_index") == item.number
            and value.get(text.number) == part.number
            and type(value.get("delta")) is str
            and type(value["output_index"]) is type(value[text.number]) is int
        ):
            self._texts.append(part, text, draft)
            self.sent = Delta(value, text, item.id, item.number, part.number, item, part)
            self.deltas += 1
            return True
        return False

    def other(self) -> None:
        """An event that is no delta comes: the next delta is looked at again."""
        self._clean = self.sent = None

    def finds(self, delta: Delta) -> bool:
        """Whether a delta like one that left is of the same part, which is open."""
        item, part, text = delta.item, delta.part, delta.text
        return (
            item.done is None
            and self._items.inside(text.kind, as_text(delta.ident), as_index(delta.place)) is item
            and item.part_of(text, as_index(delta.number)) is part
            and not (part.text_done or part.half or part.lost)
        )

    def text_done(self, draft: Draft, kind: str) -> None:
        """The end of a text."""
        text = DONES[kind]
        item = self._inside(draft, text.kind, again=False)
        if item is None:
            return
        name = as_text(draft.value.get("name"))
        if text.kind in CALLS and not item.name and name:
            item.name = name
        if not item.opened:
            self._lifecycle.wait(item, draft, text.done)
            self._lifecycle.leave(item, early=True)
            return
        self._texts.done(item, text, draft)

    def part(self, draft: Draft, kind: str) -> None:
        """A part begins or ends."""
        place = "summary" if kind in (SUMMARY_ADDED, SUMMARY_DONE) else "content"
        added = kind in (PART_ADDED, SUMMARY_ADDED)
        of_kind = "reasoning" if place == "summary" else self._kind_of_part(draft)
        item = self._inside(draft, of_kind, again=added)
        if item is None:
            return
        if added:
            self._texts.part_added(item, draft, place)
        else:
            self._texts.part_done(item, draft, place)

    def annotation(self, draft: Draft, kind: str) -> None:
        """An annotation of a message's text."""
        item = self._inside(draft, "message", again=False)
        if item is not None:
            self._texts.annotation(item, draft, OUTPUT_TEXT)
            self._outlet.send(draft, kind)

    def own(self, draft: Draft, kind: str) -> None:
        """An event of an item's own kind, or one of no known kind: it passes."""
        value = draft.value
        ident, index = as_text(value.get("item_id")), as_index(value.get("output_index"))
        of_kind = self._kind_of_stem(kind)
        if of_kind in CALLS or of_kind in PARTS:
            of_kind = ""
        if of_kind:
            item = self._items.inside(of_kind, ident, index)
            if item is None:
                item = self._new(of_kind, ident, index, "")
            self._items.learn(item, ident)
        else:
            item = self._items.any_at(ident, index)
        if item is not None and item.opened:
            self._texts.parts.refer(draft, item, add=of_kind in EVENTFUL)
        elif item is None and index is not None and index >= len(self._items.streamed):
            # it refers to an item that nobody knows: its content counts for more than its place
            if self._found(OUTPUT_INDEX):
                value = draft.edit()
                value["native_output_index"] = value.pop("output_index")
        self._outlet.send(draft, kind)

    def added(self, draft: Draft, kind: str) -> None:
        """A new item."""
        value = draft.value
        data = value.get("item")
        if not isinstance(data, dict):
            self._found(ITEM_MEMBERS)  # nothing of it could be sent
            return
        kind, ids = kind_of_item(data), ids_of(value)
        call_id = call_of(data, kind)
        index = as_index(value.get("output_index"))
        item = self._items.added(kind, ids, index, call_id)
        if item is not None and item.opened:
            self._lifecycle.learn(item, ids, data)
            self._found(TWICE)
            return
        if item is None:
            item = self._items.new(kind, index)
        self._lifecycle.learn(item, ids, data)
        self._lifecycle.begin(item, draft)

    def done(self, draft: Draft, kind: str) -> None:
        """The end of an item."""
        value = draft.value
        data = value.get("item")
        if not isinstance(data, dict):
            self._found(ITEM_MEMBERS)  # nothing of it could be sent
            return
        kind, ids = kind_of_item(data), ids_of(value)
        call_id = call_of(data, kind)
        index = as_index(value.get("output_index"))
        item = self._items.finished(kind, ids, index, call_id)
        if item is not None and item.done is not None:
            self._found(TWICE)
            return
        if item is None:
            item = self._items.new(kind, index)
        self._lifecycle.learn(item, ids, data)
        if not item.opened:
            if item.kind in CALLS and not item.name:
                self._lifecycle.wait(item, draft, DONE)
                return
            self._lifecycle.open(item, data)
        self._lifecycle.finish(item, draft, data, "completed")
        self._outlet.send(draft, DONE)

    def _inside(self, draft: Draft, kind: str, *, again: bool) -> Item | None:
        """The item that an event inside an item belongs to; None if it has to be left out.

        ``again``: where the item is done already, a new one begins.
        """
        value = draft.value
        item = self._items.known(kind, value.get("item_id"))
        if item is not None:
            return item
        ident, index = as_text(value.get("item_id")), as_index(value.get("output_index"))
        item = self._items.inside(kind, ident, index)
        if item is None and not again and self._items.had(kind):
            # a straggler, unless it names an item that never was
            fresh = ident and index is not None and self._items.is_new(ident, index)
            if not fresh and self._items.open_of(kind) is None:
                self._found(TWICE)
                return None
        if item is not None and item.done is not None:
            if not again:
                self._found(TWICE)
                return None
            self._found(AFTER_DONE)
            self._items.shifted = True
            item = None
        if item is None:
            return self._new(kind, ident, index, call_of(value, kind))
        self._items.learn(item, ident)
        return item

    def _new(self, kind: str, ident: str, index: int | None, call_id: str) -> Item:
        """An item of which an event came before its head."""
        item = self._items.new(kind, index)
        self._items.learn(item, ident)
        self._items.call(item, call_id)
        if kind in CALLS:
            self._items.wait(item)
        else:
            self._lifecycle.open(item, {"id": ident} if ident else {})
        return item

    def _kind_of_part(self, draft: Draft) -> str:
        """The kind of item that a `content_part` event belongs to."""
        value = draft.value
        part = value.get("part")
        kind = as_text(part.get("type")) if isinstance(part, dict) else ""
        if kind in PARTS["message"]:
            ident, index = as_text(value.get("item_id")), as_index(value.get("output_index"))
            if kind == "output_text" and self._is_reasoning(ident, index):
                return "reasoning"
            return "message"
        if kind in PARTS["reasoning"]:
            return "reasoning"
        item = self._items.any_at(
            as_text(value.get("item_id")), as_index(value.get("output_index"))
        )
        return item.kind if item is not None and item.kind in PARTS else "message"

    def _is_reasoning(self, ident: str, index: int | None) -> bool:
        """Whether an id is a reasoning's and no message's."""
        return (
            self._items.named("message", ident, index) is None
            and self._items.named("reasoning", ident, index) is not None
        )

    def _kind_of_stem(self, kind: str) -> str:
        """The kind of item that an event of its own belongs to: the longest in its stem."""
        stem = kind[:_LONGEST].removeprefix("response.").rpartition(".")[0]
        while stem:
            if self._items.had(stem) or stem in EVENTFUL:
                return stem
            stem = stem.rpartition("_")[0]
        return ""
