"""Which item does an event belong to?

Upstreams name an item by an id, by an index, by both, or not at all; ids change from event to
event, two items share one, indexes collide, drift or begin at 1. The kind that an event names is
never wrong, so that an event never goes to an item of another kind, and no item changes its kind.
Within the kind the first of these rules that finds an item decides:

    an event inside an item (a delta, a part, a `done` of text)
      1. the item that ever had this `item_id`; of several the one that had it at this
         `output_index`, then an open one, then the last
      2. none, if neither this `item_id` nor this `output_index` was ever an item's: a new one
      3. the last open item that the upstream put at this `output_index`
      4. the last open item of the kind
      5. none: a new one

    an `output_item.added`
      1. the item with this id, unless it is done, or the event names another `output_index` or
         `call_id` this time: then two items share an id
      2. a call that waits for its name, has no id and no other index
      3. none: a new one

    an `output_item.done`, and an item in the terminal's `output`
      1. the item with this `id`, `item_id` or `call_id`
      2. an open one at this index, then the first open one (in the terminal: the first that none
         of its items was found for), but never one with another `call_id`
      3. none: a new one

Nothing here searches a list that the upstream can make longer: each rule is a look-up.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from normalizer.core.kept import Kept
from normalizer.wires.responses.item import Item
from normalizer.wires.responses.names import CALLS, PREFIXES

ITEM = 2048  # bytes that an item costs, about
ID = 512  # and one more id of it


class Shared:
    """Items of one kind that had the same id."""

    __slots__ = ("_at", "_last", "_open", "all")

    def __init__(self, first: Item) -> None:
        self._at: dict[int | None, Item] = {}
        self._open: dict[Item, None] = {}
        self._last = first
        self.all: dict[Item, None] = {}  # in the order in which they got the id
        self.add(first)

    def add(self, item: Item) -> None:
        if item not in self.all:
            item.shared.append(self)
            self.all[item] = None
        self._at[item.index] = self._last = item
        if item.done is None:
            self._open[item] = None

    def close(self, item: Item) -> None:
        self._open.pop(item, None)

    def pick(self, index: int | None) -> Item:
        """The one at this index, then an open one, then the last."""
        item = self._at.get(index) if index is not None else None
        return next(reversed(self._open), self._last) if item is None else item


class Items:
    """All items of one answer, and how they are found.

    * ``streamed``: those that have left, in the order of their numbers.
    * ``shifted``: their numbers are not the upstream's because of items that we added: what
      differs from here on is no fault of the upstream's.
    """

    __slots__ = (
        "_free",
        "_ids",
        "_indexes",
        "_kept",
        "_named",
        "_open",
        "_open_at",
        "_shared",
        "_uncalled",
        "_used",
        "_waiting",
        "shifted",
        "streamed",
    )

    def __init__(self, kept: Kept) -> None:
        self.streamed: list[Item] = []
        self.shifted = False
        self._kept = kept
        self._named: dict[tuple[str, str], Item] = {}
        self._shared: dict[tuple[str, str], Shared] = {}
        self._open: dict[str, dict[Item, None]] = {}
        self._open_at: dict[tuple[str, int], dict[Item, None]] = {}
        self._uncalled: dict[str, dict[Item, None]] = {}  # open calls without a call_id
        self._waiting: dict[str, dict[Item, None]] = {}  # open calls without a name
        self._free: dict[str, dict[Item, None]] = {}  # those of them that have no id
        self._ids: dict[str, Item] = {}  # of whatever kind
        self._indexes: dict[int, Item] = {}
        self._used: set[str] = set()  # ids under which items leave

    # ------------------------------------------------------------------ the rules

    def named(self, kind: str, ident: str, index: int | None) -> Item | None:
        """The item of this kind that ever had this id."""
        if not ident:
            return None
        shared = self._shared.get((kind, ident))
        return self._named.get((kind, ident)) if shared is None else shared.pick(index)

    def having(self, kind: str, ident: str) -> Iterable[Item]:
        """All items of this kind that ever had this id."""
        shared = self._shared.get((kind, ident))
        if shared is not None:
            return shared.all
        item = self._named.get((kind, ident))
        return [item] if item is not None else []

    def inside(self, kind: str, ident: str, index: int | None) -> Item | None:
        """The item that an event inside an item belongs to; see above."""
        item = self.named(kind, ident, index)
        if item is not None:
            return item
        if ident and index is not None and self.is_new(ident, index):
            return None
        return self._at(kind, index) or _last(self._open.get(kind))

    def added(self, kind: str, ids: list[str], index: int | None, call_id: str) -> Item | None:
        """The item whose head comes once more, or a call that waited for it; see above."""
        for ident in ids:
            item = self.named(kind, ident, index)
            if item is None or (call_id and item.call_id and item.call_id != call_id):
                continue
            moved = index is not None and item.index is not None and item.index != index
            if item.done is None and not moved:
                return item
        if not self._waiting:
            return None
        item = self._at(kind, index)
        if item is not None and item in self._waiting.get(kind, ()):
            return item
        free = _first((self._free if any(ids) else self._waiting).get(kind))
        fits = free is not None and (index is None or free.index in (None, index))
        return free if fits else None

    def finished(self, kind: str, ids: list[str], index: int | None, call_id: str) -> Item | None:
        """The item that an item with these ids is the end of; see above."""
        known = self.known(kind, ids[0]) if ids else None
        if known is not None and call_id in ("", known.call_id):
            return known
        found = [item for ident in ids if (item := self.named(kind, ident, index)) is not None]
        same = next((one for one in found if call_id and one.call_id == call_id), None)
        if same is not None:
            return same
        found = [one for one in found if fits(one, call_id)]
        if found:
            return found[0]
        item = self._at(kind, index)
        if item is not None and fits(item, call_id):
            return item
        return _first((self._uncalled if call_id else self._open).get(kind))

    def any_at(self, ident: str, index: int | None) -> Item | None:
        """The item of whatever kind that an event of no known kind belongs to."""
        item = self._ids.get(ident)
        return self._indexes.get(index) if item is None and index is not None else item

    def is_new(self, ident: str, index: int) -> bool:
        """Return whether neither the id nor the index was ever an item's."""
        return ident not in self._ids and index not in self._indexes

    def known(self, kind: str, ident: Any) -> Item | None:
        """The open item that an id names for sure; None where the rules have to find it."""
        if self._shared or type(ident) is not str:
            return None
        item = self._named.get((kind, ident))
        return item if item is not None and item.done is None else None

    @property
    def distinct(self) -> bool:
        """Whether each item has ids of its own, and none waits for its name."""
        return not self._shared and not any(self._waiting.values())

    def open_of(self, kind: str) -> Item | None:
        """The last open item of a kind."""
        return _last(self._open.get(kind))

    def had(self, kind: str) -> bool:
        """Return whether there was an item of this kind."""
        return kind in self._open

    def waiting(self) -> list[Item]:
        """The calls that never got a name."""
        return [item for items in self._waiting.values() for item in items]

    def _at(self, kind: str, index: int | None) -> Item | None:
        return _last(self._open_at.get((kind, index))) if index is not None else None

    # ------------------------------------------------------------------ what is known of them

    def new(self, kind: str, index: int | None) -> Item:
        """An item that nothing has left of yet."""
        item = Item(kind, index)
        self._kept.size += ITEM
        self._open.setdefault(kind, {})[item] = None
        if kind in CALLS:
            self._uncalled.setdefault(kind, {})[item] = None
        if index is not None:
            self._indexes[index] = item
            self._open_at.setdefault((kind, index), {})[item] = None
        return item

    def wait(self, item: Item) -> None:
        """A call that has no name yet."""
        self._waiting.setdefault(item.kind, {})[item] = None
        if not item.named:
            self._free.setdefault(item.kind, {})[item] = None

    def learn(self, item: Item, ident: str) -> None:
        """The item has this id too, from here on."""
        key = (item.kind, ident)
        known = self._named.get(key)
        if known is item or not ident:
            return
        if known is not None:
            shared = self._shared.get(key)
            if shared is None:
                shared = self._shared[key] = Shared(known)
            shared.add(item)
        elif self._kept.size < self._kept.limit // 2 or not item.named:
            self._kept.size += ID + len(ident)
            self._named[key] = item
            self._ids.setdefault(ident, item)
        item.named = True
        item.first_id = item.first_id or ident
        if self._free:
            self._free.get(item.kind, {}).pop(item, None)

    def call(self, item: Item, call_id: str) -> None:
        """The call has this ``call_id``: the first that it is given."""
        if call_id and not item.call_id:
            item.call_id = call_id
            self._uncalled.get(item.kind, {}).pop(item, None)
            first = item.first_id
            self.learn(item, call_id)
            item.first_id = first  # it finds the item, and is not its id

    def open(self, item: Item, ident: str) -> None:
        """The item leaves: it gets its number, and an id that no other has."""
        ident = ident or item.first_id
        if not ident or ident in self._used:
            item.native = ident or None
            prefix = PREFIXES.get(item.kind, "item")
            ident = f"{prefix}_{uuid.uuid4().hex}"
        item.id = ident
        self._used.add(ident)
        if ident != item.first_id:
            self.learn(item, ident)
        item.number = len(self.streamed)
        self.streamed.append(item)
        if self._waiting:
            self._waiting.get(item.kind, {}).pop(item, None)
            self._free.get(item.kind, {}).pop(item, None)

    def close(self, item: Item, done: dict[str, Any]) -> None:
        """The item is done."""
        item.done = done
        self._open[item.kind].pop(item, None)
        if item.kind in CALLS:
            self._uncalled[item.kind].pop(item, None)
        if item.index is not None:
            self._open_at[(item.kind, item.index)].pop(item, None)
        for shared in item.shared:
            shared.close(item)


def fits(item: Item, call_id: str) -> bool:
    """Return whether the item may be the call with this id."""
    return not (call_id and item.call_id and item.call_id != call_id)


def _last(items: dict[Item, None] | None) -> Item | None:
    return next(reversed(items), None) if items else None


def _first(items: dict[Item, None] | None) -> Item | None:
    return next(iter(items), None) if items else None
