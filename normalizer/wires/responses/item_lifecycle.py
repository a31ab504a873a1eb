"""The head and the end of an item.

    output_item.added   the blank head; its number is its place in the terminal `output`
    …                   its text, or events of its own kind
    output_item.done    the whole item

A call cannot leave before its name is known: its head and its events wait for the name, and leave
behind it in their order. One without a head waits for its ``call_id`` too, as long as it may come:
a client answers a call by it. A call that never gets a name is no call, and becomes a member of the
terminal's response. Arguments that a head holds count only if no delta follows.

The id under which an item was added is its id to the end. ``encrypted_content`` is bound to the id
that the upstream gave with it, so that an item that has one keeps the upstream's as ``native_id``.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.core.kept import CHUNK, Kept
from normalizer.core.lenient import clean
from normalizer.wires.responses.form import Form, blank_part
from normalizer.wires.responses.item import Item
from normalizer.wires.responses.item_texts import ItemTexts
from normalizer.wires.responses.items import Items
from normalizer.wires.responses.names import ADDED, CALLS, DELTAS, DONE, DONES, EVENTFUL, as_text
from normalizer.wires.responses.outlet import Outlet
from normalizer.wires.responses.text_events import TEXT_IN_HEAD, TextEvents

ITEM_NOT_ADDED = Deviation(
    code="R202",
    name="responses-item-not-added",
    fault="An event belongs to an item that was never added.",
    repair="`output_item.added` is made up before it.",
)
ITEM_NOT_DONE = Deviation(
    code="R207",
    name="responses-item-not-done",
    fault="The response ends while an item is open.",
    repair="`output_item.done` is made up before it, with the status of the response.",
)
NAME_LATE = Deviation(
    code="R212",
    name="responses-call-name-late",
    fault="A call's head has no name, or its arguments come before its head.",
    repair="The head waits for the name, and the arguments follow it.",
    structural=True,
)
ITEM_ID = Deviation(
    code="R303",
    name="responses-item-id",
    fault="An item has no id, another item's, or ends with another one than it was added with.",
    repair="The item keeps its first id, or gets one, and encrypted items keep a `native_id`.",
)
OUTPUT_INDEX = Deviation(
    code="R305",
    name="responses-output-index",
    fault="`output_index` of an item is missing, taken, or is not its place.",
    repair="Items are numbered 0, 1, 2 … in the order in which they are added.",
)

_PLACES = {"message": ("content",), "reasoning": ("summary", "content")}


class ItemLifecycle:
    """Begins and ends items."""

    __slots__ = (
        "_events",
        "_form",
        "_found",
        "_kept",
        "_memory",
        "_outlet",
        "_texts",
        "items",
    )

    def __init__(
        self,
        outlet: Outlet,
        items: Items,
        texts: ItemTexts,
        events: TextEvents,
        found: Findings,
        kept: Kept,
        memory: Kept,
    ) -> None:
        self.items = items
        self._outlet = outlet
        self._texts = texts
        self._events = events
        self._found = found
        self._form = Form(found)
        self._kept = kept  # what waits
        self._memory = memory  # what the ends need

    def learn(self, item: Item, ids: list[str], data: dict[str, Any]) -> None:
        self.items.call(item, call_of(data, item.kind))
        for ident in ids:
            self.items.learn(item, ident)
        item.name = item.name or as_text(data.get("name"))

    def begin(self, item: Item, draft: Draft) -> None:
        """Send the head of an item, or keep it until the item has a name."""
        if item.waiting or (item.kind in CALLS and not item.name):
            self.wait(item, draft, ADDED)
            self.leave(item)
        else:
            self._send_head(item, draft)

    def wait(self, item: Item, draft: Draft, kind: str) -> None:
        item.waiting.append((draft, kind))
        if item.kind in CALLS and (kind != ADDED or not item.name):
            self._found(NAME_LATE)
            self.items.wait(item)
            self.items.shifted = True
            item.held += (size := CHUNK + len(draft.raw or b""))
            self._kept.size += size

    def leave(self, item: Item, *, early: bool = False) -> None:
        """Send what waited for the name of a call, if it is there.

        ``early``: a call without a head waits on: its ``call_id`` may still come.
        """
        if item.opened or (item.kind in CALLS and not item.name):
            return
        head = next((draft for draft, kind in item.waiting if kind == ADDED), None)
        if early and head is None and not item.call_id:
            return
        events = [(draft, kind) for draft, kind in item.waiting if draft is not head]
        item.waiting = []
        self._kept.size -= item.held
        item.held = 0
        if head is None:
            self.open(item, {})
        else:
            self._send_head(item, head)
        for draft, kind in events:
            if kind in DELTAS:
                self._events.delta(item, DELTAS[kind], draft)
            elif kind in DONES:
                self._events.done(item, DONES[kind], draft)

    def leave_named(self) -> None:
        """Send the calls that have a name, and waited for more."""
        for item in self.items.waiting():
            self.leave(item)

    def open(self, item: Item, data: dict[str, Any]) -> None:
        """Make up the head of an item, with what is known of it."""
        if item.waiting:
            self.leave(item)
            return
        head: dict[str, Any] = {"type": item.kind}
        if item.kind in CALLS:
            head |= {"status": "in_progress", "name": item.name, CALLS[item.kind].key: ""}
            head |= {"call_id": item.call_id} if item.call_id else {}
        elif item.kind == "message":
            head |= {"status": "in_progress", "role": "assistant", "content": []}
            head |= {key: data[key] for key in ("role", "phase") if key in data}
        elif item.kind == "reasoning":
            head |= {"summary": []}
        else:
            head |= {key: value for key, value in data.items() if key != "id"}
            if "status" in data or item.kind in EVENTFUL:
                head["status"] = "in_progress"
        self.items.open(item, as_text(data.get("id")))
        head["id"] = item.id
        if item.kind in CALLS:
            head.setdefault("call_id", item.id)
        item.head = head
        if self._found(ITEM_NOT_ADDED):
            self._outlet.make(ADDED, {"output_index": item.number, "item": dict(head)})

    def _send_head(self, item: Item, draft: Draft) -> None:
        """Send the head of an item, blank; the text that it held follows."""
        data = draft.value["item"]
        self._form.item(draft, data, "in_progress")
        inside = _take_texts(item, draft, data, self._found)
        if item.kind in CALLS and not as_text(data.get("name")):
            draft.edit()
            data["name"] = item.name
        self.items.open(item, as_text(data.get("id")))
        self.identify(item, draft, data)
        self._place(item, draft)
        item.head = dict(data)
        self._outlet.send(draft, ADDED)
        for place, part in inside:
            self._texts.head(item, place, part)

    def finish(self, item: Item, draft: Draft, data: dict[str, Any], status: str) -> None:
        """End an item: what it lacks is filled in, what of it has not left leaves."""
        if item.kind in CALLS and item.call is not None:
            self._form.same_arguments(draft, data, item.kind, item.call)
        self._form.item(draft, data, status)
        if item.kind in CALLS:
            self._texts.finish_call(item, draft, data, CALLS[item.kind])
            if not as_text(data.get("name")):
                draft.edit()
                data["name"] = item.name
        elif item.kind == "message":
            self._texts.finish_parts(item, draft, data, "content")
        elif item.kind == "reasoning":
            self._texts.finish_parts(item, draft, data, "summary")
            self._texts.finish_parts(item, draft, data, "content")
        self.identify(item, draft, data)
        self._place(item, draft)
        if len(draft.raw or b"") + self._memory.size > self._memory.limit:
            self.items.close(item, {**item.head, "id": item.id, "status": status})
        else:
            self.items.close(item, dict(data))

    def identify(self, item: Item, draft: Draft, data: dict[str, Any]) -> None:
        """Give an item the id that it has had from the start."""
        given = data.get("id")
        if given != item.id and self._found(ITEM_ID):
            draft.edit()
            data["id"] = item.id
            if data.get("encrypted_content") and "native_id" not in data:
                data["native_id"] = given if isinstance(given, str) else None
        if item.kind in CALLS:
            self._form.call_id(draft, data, item.call_id or item.id)

    def _place(self, item: Item, draft: Draft) -> None:
        number = draft.value.get("output_index")
        if type(number) is int and number == item.number:
            return
        shifted = self.items.shifted and type(number) is int
        if shifted or self._found(OUTPUT_INDEX):
            draft.edit()["output_index"] = item.number

    def close(self, item: Item, data: dict[str, Any] | None, status: str) -> None:
        """End an item that the upstream left open; ``data`` is it in the terminal event, if any."""
        if not item.opened:
            self.open(item, data or {})
        ended = clean(data) if data is not None else self.as_is(item, status)
        members = {"output_index": item.number, "item": ended}
        self.finish(item, Draft(members), ended, status)
        if self._found(ITEM_NOT_DONE):
            self._outlet.make(DONE, members)

    def new_item(self, kind: str, data: dict[str, Any]) -> Item:
        """A new item that only the terminal event has."""
        item = self.items.new(kind, None)
        self.learn(item, ids_of({"item": data}), data)
        return item

    def named(self, item: Item, data: dict[str, Any]) -> bool:
        """Take the name of a call that waits for it; False if there is still none."""
        self.learn(item, ids_of({"item": data}), data)
        return item.opened or item.kind not in CALLS or bool(item.name)

    def as_is(self, item: Item, status: str) -> dict[str, Any]:
        """An item as far as it was streamed."""
        made: dict[str, Any] = {**item.head, "id": item.id}
        if "status" in made or item.kind in CALLS or item.kind == "message":
            made["status"] = status
        if item.kind in CALLS:
            made[CALLS[item.kind].key] = item.call.text if item.call is not None else item.given
        for place in _PLACES.get(item.kind, ()):
            parts = item.parts_in(place)
            if parts:
                made[place] = [part.value or blank_part(part.type, part.text) for part in parts]
        return made

    def nameless(self) -> list[dict[str, Any]]:
        """The calls that never got a name, as far as they came."""
        return [_nameless(item) for item in self.items.waiting()]


def call_of(data: dict[str, Any], kind: str) -> str:
    """The ``call_id`` that tells one call from another, "" if none does.

    Items of other kinds change theirs between head and end. One that equals the item's id means
    nothing: it may be ours.
    """
    if kind not in CALLS:
        return ""
    call_id = as_text(data.get("call_id"))
    return call_id if call_id != data.get("id") else ""


def ids_of(value: dict[str, Any]) -> list[str]:
    """All ids that an event about an item names."""
    item = value["item"]
    given = (item.get("id"), item.get("item_id"), value.get("item_id"), item.get("call_id"))
    return [ident for ident in given if ident and isinstance(ident, str)]


def _take_texts(
    item: Item, draft: Draft, data: dict[str, Any], found: Findings
) -> list[tuple[str, dict[str, Any]]]:
    """Take the parts out of an item's head, and the arguments; the parts, with their places."""
    taken: list[tuple[str, dict[str, Any]]] = []
    if item.kind in CALLS:
        key = CALLS[item.kind].key
        if data.get(key) and isinstance(data[key], str) and found(TEXT_IN_HEAD):
            item.given = data[key]
            draft.edit()
            data[key] = ""
    for place in _PLACES.get(item.kind, ()):
        parts = data.get(place)
        if isinstance(parts, list) and parts and found(TEXT_IN_HEAD):
            draft.edit()
            data[place] = []
            taken += [(place, part) for part in parts if isinstance(part, dict)]
    return taken


def _nameless(item: Item) -> dict[str, Any]:
    """What came of a call that has no name."""
    text = CALLS[item.kind]
    deltas, whole_text = [], item.given
    made: dict[str, Any] = {"type": item.kind}
    for draft, kind in item.waiting:
        value = draft.value
        if kind == text.delta and isinstance(value.get("delta"), str):
            deltas.append(value["delta"])
        elif kind == text.done:
            whole_text = as_text(value.get(text.key)) or whole_text
        else:
            data = value.get("item") or {}
            made |= {key: one for key, one in data.items() if key != text.key}
            whole_text = as_text(data.get(text.key)) or whole_text
    return {**made, text.key: "".join(deltas) or whole_text}
