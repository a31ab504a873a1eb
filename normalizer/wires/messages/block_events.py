"""The events of blocks as they leave: with our indexes, and what was held before the stop."""

from __future__ import annotations

from normalizer.core.draft import Draft
from normalizer.core.findings import Findings
from normalizer.core.kept import Kept
from normalizer.wires.messages.blocks import (
    BEHIND_STOP_REASON,
    BLOCK_INDEX,
    BLOCK_STOP_MISSING,
    TEXT,
    TEXT_EMPTY,
    THINKING_UNSIGNED,
    TOOL,
    Block,
    Blocks,
)
from normalizer.wires.messages.deltas import MEMBERS
from normalizer.wires.messages.message_start import MessageStart
from normalizer.wires.messages.outgoing import Outgoing
from normalizer.wires.messages.tool_input import INPUT_NOT_JSON, STOPPED_EARLY
from normalizer.wires.messages.tool_use import Calls


class BlockEvents:
    """Sends the events of blocks.

    * ``index``: ours of the next block; ``late``: they leave behind a stop reason that came.
    * ``count``: of the starts and deltas that have left.
    """

    __slots__ = ("_blocks", "_calls", "_found", "_kept", "_out", "_start", "count", "index", "late")

    def __init__(
        self,
        found: Findings,
        kept: Kept,
        out: Outgoing,
        start: MessageStart,
        calls: Calls,
        blocks: Blocks,
    ) -> None:
        self._found = found
        self._kept = kept
        self._out = out
        self._start = start
        self._calls = calls
        self._blocks = blocks
        self.index = 0
        self.count = 0
        self.late = False

    @property
    def deltas(self) -> int:
        """How many deltas have left."""
        return self.count - self.index

    def add(self, deltas: int) -> None:
        """Count deltas that have left."""
        self.count += deltas

    def open(self, block: Block) -> None:
        """Send a block's start, behind the stops of the blocks that are finished."""
        self._start.require()
        if self.late:
            self._found(BEHIND_STOP_REASON)
        for other in self._blocks.started(block):
            self.close(other)
        block.index = self.index
        self.index += 1
        self._number(block.head, block)
        self.count += 1
        self._out.send(block.head)
        block.head = Draft({})
        if block.group == TOOL:
            self._calls.sent(block)

    def send(self, block: Block, draft: Draft) -> None:
        """Send an event of a block whose start has left."""
        self._number(draft, block)
        self._out.send(draft)

    def _send_delta(self, block: Block, kind: str, said: str) -> None:
        """Send a delta of what was held."""
        delta = {"type": kind, MEMBERS[kind]: said}
        value = {"type": "content_block_delta", "index": block.index, "delta": delta}
        self.count += 1
        self._out.send(Draft(value))

    def send_given(self, block: Block) -> None:
        """Send the input that a block's start held; no delta said any."""
        given, block.given = block.given, ""
        block.input.add(given, self._kept, needed=block.index is None)
        self._blocks.news[block] = None
        if block.index is not None:
            self._out.count(TOOL, given)
            self._send_delta(block, "input_json_delta", given)

    def send_input(self, block: Block) -> None:
        """Send the input that came while the start waited."""
        if block.input.text:
            self._send_delta(block, "input_json_delta", block.input.text)

    def send_held(self, block: Block) -> None:
        """Send what was held of a block: half a pair, input, a signature."""
        if block.index is None:
            return
        if block.half:
            half, block.half = block.half, ""
            self._send_delta(block, block.delta, half)
        if block.given and block.input.blank:
            self.send_given(block)
        if block.signature:
            signature, block.signature = block.signature, ""
            block.signed = True
            self._send_delta(block, "signature_delta", signature)

    def close(self, block: Block) -> None:
        """Send a block's stop, behind all that was held of it."""
        if block.stopped_at not in (None, self.count):
            self._found.note(STOPPED_EARLY)
        self.send_held(block)
        draft = block.stop
        if draft is None:
            self._found(BLOCK_STOP_MISSING)
            draft = Draft({"type": "content_block_stop", "index": block.index})
        self._blocks.remove(block)
        self.send(block, draft)
        if block.kind == "thinking" and not block.signed:
            self._found.note(THINKING_UNSIGNED)
        elif block.group == TEXT and not block.said:
            self._found.note(TEXT_EMPTY)
        elif block.kind == "tool_use" and not (block.input.blank or block.input.complete):
            self._found.note(INPUT_NOT_JSON)

    def _number(self, draft: Draft, block: Block) -> None:
        """Give an event our index."""
        index = draft.value.get("index")
        if index == block.index and type(index) is int:
            return
        if draft.raw is not None or "index" in draft.value:
            self._found(BLOCK_INDEX)
        draft.edit()["index"] = block.index
