"""The terminal event: what it closes, and what it holds.

    response.completed, response.incomplete   every open item is closed before it, with its status
    response.failed                           items stay open, and stand in `output` as `incomplete`

`output` is the items that were streamed, in their order, under the ids that they had then. An item
that only the terminal has is streamed before it. One that the terminal lacks is filled in. A text
there that is a shorter beginning or end of the text of its item's `done` is filled too; one that is
another text is the upstream's word, and stays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.wires.responses.form import Form, texts
from normalizer.wires.responses.item import Item
from normalizer.wires.responses.item_lifecycle import ItemLifecycle, call_of
from normalizer.wires.responses.items import fits
from normalizer.wires.responses.names import CALLS, as_text, kind_of_item
from normalizer.wires.responses.part_texts import TEXT_DIFFERS, TEXT_MISSING

OUTPUT = Deviation(
    code="R504",
    name="responses-terminal-output",
    fault="`output` of the terminal event is missing, null, empty or partial.",
    repair="It becomes the items that were streamed.",
)
NAMELESS = Deviation(
    code="R213",
    name="responses-call-never-named",
    fault="A call never gets a name.",
    repair="It is no call, and becomes `nameless_tool_calls` of the terminal's response.",
    structural=True,
)


class Ends:
    """Completes the terminal event by what was streamed, and streams what only it holds."""

    __slots__ = ("_form", "_found", "_lifecycle")

    def __init__(self, lifecycle: ItemLifecycle, found: Findings) -> None:
        self._lifecycle = lifecycle
        self._form = Form(found)
        self._found = found

    @property
    def streamed(self) -> bool:
        """Whether any item has left."""
        return bool(self._lifecycle.items.streamed)

    def close(self, status: str) -> list[dict[str, Any]]:
        """Close all items for a terminal event that is made up; its output."""
        output = []
        self._lifecycle.leave_named()
        for item in self._lifecycle.items.streamed:
            if item.done is None and status != "failed":
                self._lifecycle.close(item, None, status)
            output.append(item.done or self._lifecycle.as_is(item, "incomplete"))
        return output

    def nameless(self, response: dict[str, Any], draft: Draft) -> None:
        """Let calls without a name ride on the terminal's response."""
        calls = self._lifecycle.nameless()
        if calls:
            self._found(NAMELESS)
            draft.edit()
            response["nameless_tool_calls"] = calls

    def gather(self, draft: Draft, response: dict[str, Any], status: str) -> None:
        """Close what is open by what a terminal event holds, and the other way."""
        given = self._given(draft, response, status)
        streamed = self._lifecycle.items.streamed
        if status == "failed" and response.get("output") and isinstance(response["output"], list):
            self._lifecycle.leave_named()
            self._align(draft, response["output"])
            return
        if given is response.get("output") and self._is_streamed(given):
            return
        found = self._matched(given, status)
        self._lifecycle.leave_named()
        for item in streamed:
            if item.done is None and status != "failed":
                self._lifecycle.close(item, None, status)
        output = [self._final(item, found.get(item), draft) for item in streamed]
        if response.get("output") != output and self._found(OUTPUT):
            draft.edit()
            response["output"] = output

    def _is_streamed(self, given: list[Any]) -> bool:
        """Whether a terminal event has just the items that were streamed, as they ended."""
        items = self._lifecycle.items
        return (
            len(given) == len(items.streamed)
            and items.distinct
            and all(
                item.done is not None and type(data) is dict and _same(data, item.done)
                for data, item in zip(given, items.streamed, strict=True)
            )
        )

    def _given(self, draft: Draft, response: dict[str, Any], status: str) -> list[Any]:
        """The items that the terminal event has, wherever they stand."""
        given = response.get("output")
        beside = draft.value.get("output")
        if not given and isinstance(beside, list) and draft.value is not response:
            if self._found(OUTPUT):
                draft.edit().pop("output")
                response["output"] = given = beside
        text = as_text(response.get("output_text"))
        if not given and text and status != "failed" and not self._lifecycle.items.had("message"):
            part = {"type": "output_text", "annotations": [], "text": text}
            given = [{"type": "message", "content": [part]}]
        return given if isinstance(given, list) else []

    def _matched(self, given: list[Any], status: str) -> dict[Item, dict[str, Any]]:
        """Which item each of the terminal's is; those that nobody streamed leave now."""
        free = _Free(self._lifecycle)
        found: dict[Item, dict[str, Any]] = {}
        for data in given:
            if not isinstance(data, dict):
                continue
            kind = kind_of_item(data)
            item = free.take(kind, data)
            if item is None:
                item = self._lifecycle.new_item(kind, data)
            if not self._lifecycle.named(item, data):
                item.waiting.append((Draft({"item": data}), ""))
                self._lifecycle.items.wait(item)
                continue
            if item.done is None:
                self._lifecycle.close(item, data, status)
            found[item] = data
        return found

    def _align(self, draft: Draft, given: list[Any]) -> None:
        """Give the items of a failed response the ids that they were streamed with."""
        free = _Free(self._lifecycle)
        for data in given:
            if isinstance(data, dict):
                kind = kind_of_item(data)
                item = free.take(kind, data)
                self._form.item(draft, data, "incomplete")
                if item is not None and item.opened:
                    self._lifecycle.identify(item, draft, data)

    def _final(self, item: Item, data: dict[str, Any] | None, draft: Draft) -> dict[str, Any]:
        """An item as it stands in the terminal's output."""
        if item.done is None:
            return self._lifecycle.as_is(item, "incomplete")
        if data is None:
            return item.done
        if _same(data, item.done):
            return data
        self._form.item(draft, data, as_text(item.done.get("status")) or "completed")
        self._lifecycle.identify(item, draft, data)
        if item.kind in CALLS and not as_text(data.get("name")):
            draft.edit()
            data["name"] = item.name
        self._fill(item, data, draft)
        return data

    def _fill(self, item: Item, data: dict[str, Any], draft: Draft) -> None:
        """Fill the texts of an item in the terminal that it has in part only."""
        done = item.done or {}
        had, has = texts(done, item.kind), texts(data, item.kind)
        if has == had or item.lost:
            return
        whole, part = "".join(had), "".join(has)
        if not (whole.startswith(part) or whole.endswith(part)) or len(part) > len(whole):
            self._found.note(TEXT_DIFFERS)
            return
        if not self._found(TEXT_MISSING):
            return
        draft.edit()
        places = (CALLS[item.kind].key,) if item.kind in CALLS else ("summary", "content")
        data.update({place: done[place] for place in places if place in done})


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    try:
        return one == other
    except RecursionError:  # they may be nested deeper than the interpreter compares
        return False


class _Free:
    """The items that none of the terminal's was found for yet."""

    __slots__ = ("_by_kind", "_having", "_items", "_taken")

    def __init__(self, lifecycle: ItemLifecycle) -> None:
        self._items = lifecycle.items
        self._taken: set[Item] = set()
        self._having: dict[tuple[str, str], Iterator[Item]] = {}
        self._by_kind: dict[str, deque[Item]] = {}
        for item in (*lifecycle.items.streamed, *lifecycle.items.waiting()):
            self._by_kind.setdefault(item.kind, deque()).append(item)

    def take(self, kind: str, data: dict[str, Any]) -> Item | None:
        """The item that this one of the terminal's is; None if it was not streamed."""
        call_id = call_of(data, kind)
        for ident in (as_text(data.get("id")), as_text(data.get("item_id")), call_id):
            if not ident:
                continue
            having = self._having.get((kind, ident))
            if having is None:
                having = self._having[(kind, ident)] = iter(self._items.having(kind, ident))
            for item in having:
                if item not in self._taken and fits(item, call_id):
                    self._taken.add(item)
                    return item
        rest = self._by_kind.get(kind)
        while rest and rest[0] in self._taken:
            rest.popleft()
        if rest and fits(rest[0], call_id):
            self._taken.add(rest[0])
            return rest.popleft()
        return None
