"""What may differ from one delta of a block to the next: what it says, and its padding.

The core learns from the answer which deltas need no parsing (`core/template.py`). A delta is like
the last one as long as its index finds the same block, and nothing of that waits. The input of a
call is counted later, in one piece: whether it is complete is asked at the next other event.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from normalizer.core.form import Form, Text
from normalizer.core.kept import Kept
from normalizer.wires.messages.block_events import BlockEvents
from normalizer.wires.messages.blocks import TOOL, UNKNOWN, Block, Blocks
from normalizer.wires.messages.outgoing import COUNTED


class Said(NamedTuple):
    """The words or the input of a delta that left: of which block, and the index that it named."""

    block: Block
    named: int | None
    words: str


# deltas of a message before a template is learnt, which costs more than the first
_WORTH = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Keep:
    """Keeps the input that left of one block; equal to another one of the same block."""

    block: Block
    add: Callable[[Block, str], None]

    def __call__(self, said: str) -> None:
        self.add(self.block, said)


class DeltaForms:
    """Says what may differ between the delta that came last and the next one.

    * ``said``: what that delta said; None where it said nothing, or has not left.
    """

    __slots__ = ("_blocks", "_events", "_kept", "said")

    def __init__(self, blocks: Blocks, events: BlockEvents, kept: Kept) -> None:
        self.said: Said | None = None
        self._blocks = blocks
        self._events = events
        self._kept = kept

    def form(self, goes_on: Callable[[], bool]) -> Form | None:
        """What may differ between the delta that came last and the next one: what it says.

        ``goes_on``: whether nothing but the content decides about that one.
        """
        said = self.said
        if said is None or self._events.deltas < _WORTH or not said.words:
            return None
        if not self._is_steady(said.block):
            return None
        block = said.block
        keep = Keep(block, self.keep_input) if block.group == TOOL else None
        names = frozenset((block.member.encode(),))
        return Form(
            (Text(said.words, COUNTED[block.group], names, keep, closes=True),),
            holds=lambda: goes_on() and self._holds(said),
            took=self._events.add,
            padded=True,
        )

    def _is_steady(self, block: Block) -> bool:
        """Whether the deltas of a block leave one by one, and nothing of it waits."""
        return block.open and not (self._events.late or block.half or block.given)

    def _holds(self, said: Said) -> bool:
        """Whether a delta like one that left belongs to the same block, and does the same there."""
        block, index, _ = said
        if not self._is_steady(block) or self._blocks.find(block.group, index) is not block:
            return False
        unknown = self._blocks.at(UNKNOWN, index)
        return unknown is None or not unknown.open

    def keep_input(self, block: Block, said: str) -> None:
        block.input.add(said, self._kept)
        self._blocks.news[block] = None
