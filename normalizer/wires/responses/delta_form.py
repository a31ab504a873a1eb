"""What may differ from one delta to the next: its text, its number, and what pads it.

The core learns from the answer which deltas need no parsing (`core/template.py`). A delta is like
the last one as long as its ids and indexes find the same item and the same part, nothing waits to
ride on it, and its number is of the same kind: the upstream's own, or one of ours. What is counted
of its text is counted later, in one piece.
"""

from __future__ import annotations

import dataclasses
import functools

from normalizer.core.findings import Findings
from normalizer.core.form import Form, Member, Text
from normalizer.wires.responses.item import Part
from normalizer.wires.responses.item_events import Delta, ItemEvents
from normalizer.wires.responses.items import Items
from normalizer.wires.responses.outlet import SEQUENCE, Outlet
from normalizer.wires.responses.part_texts import PartTexts
from normalizer.wires.responses.response_lifecycle import ResponseLifecycle

_DELTA = frozenset((b"delta",))
# members that are nobody's, and differ from delta to delta
_BESIDE = ("obfuscation", "logprobs")


@dataclasses.dataclass(frozen=True, slots=True)
class Keep:
    """Keeps what left of one part; equal to another one of the same part."""

    parts: PartTexts
    part: Part

    def __call__(self, said: str) -> None:
        self.parts.keep(self.part, said)


# deltas of a stream before a template is learnt, which costs about as much as they do
_WORTH = 3


class DeltaForms:
    """Says what may differ between the delta that was sent last and the next one."""

    __slots__ = ("_events", "_found", "_items", "_life", "_outlet", "_parts")

    def __init__(
        self,
        events: ItemEvents,
        items: Items,
        parts: PartTexts,
        life: ResponseLifecycle,
        outlet: Outlet,
        found: Findings,
    ) -> None:
        self._events = events
        self._items = items
        self._parts = parts
        self._life = life
        self._outlet = outlet
        self._found = found

    def form(self) -> Form | None:
        """What may differ in the next delta; None if it has to be looked at."""
        delta = self._events.sent
        if (
            delta is None
            or self._events.deltas < _WORTH
            or not self._outlet.steady
            or not self._parts.roomy
        ):
            return None
        if not self._events.finds(delta):
            return None
        value = delta.value
        said = value.get("delta")
        if (
            not said
            or type(said) is not str
            or value.get("sequence_number") != self._outlet.numbers.left
        ):
            return None
        numbers = self._outlet.numbers
        members = [
            Member("sequence_number", numbers.left, rising=numbers),
            *(Member(name, value[name]) for name in _BESIDE if value.get(name)),
        ]
        own = None if SEQUENCE.code in self._found.log else numbers.came == numbers.left
        text = Text(said, delta.text.counted, _DELTA, Keep(self._parts, delta.part), closes=True)
        holds = functools.partial(self._holds, delta, own, self._items.shifted)
        return Form((text,), tuple(members), holds)

    def _holds(self, delta: Delta, own: bool | None, shifted: bool) -> bool:
        """Whether a delta like one that left does what that one did.

        ``own``: those leave with the upstream's own number, None: the upstream numbers none.
        """
        numbers = self._outlet.numbers
        return (
            self._life.runs
            and self._outlet.steady
            and self._parts.roomy
            and self._items.shifted is shifted
            and (own is None or own is (numbers.came == numbers.left))
            and self._events.finds(delta)
        )
