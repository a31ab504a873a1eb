"""The blocks of one message, from their starts to their stops.

Two questions are asked of each event: which block does it belong to (`blocks`), and may it leave
yet? Deltas always may, but for the first half of a surrogate pair, which waits for the other half.
What else waits:

* the start of a call without a name, or with an id that came before under the same name
  (`tool_use`), and with ``empty_blocks="drop"`` the start of a text block without a character.
  What comes for such a block waits with its start;
* input and a signature that a start held: until a delta says it, or the block's stop;
* the stop of a `tool_use` block whose input is not complete (`tool_input`): until another block
  starts behind complete input, or the message stops.

The start of a block stops the ones before it that are finished. At the end of the message all are
stopped in the order of their starts, those with incomplete input last, so that an answer that came
through here once comes through unchanged.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Findings
from normalizer.core.kept import CALL, Kept
from normalizer.core.lenient import ends_in_half
from normalizer.wires.messages.block_events import BlockEvents
from normalizer.wires.messages.block_start import Head, Heads
from normalizer.wires.messages.blocks import (
    BEHIND_STOP_REASON,
    BLOCK_START_MISSING,
    BLOCK_START_REPEATED,
    DELTA_IN_OTHER_BLOCK,
    STOP_WITHOUT_BLOCK,
    TEXT,
    TEXT_EMPTY,
    THINKING,
    TOOL,
    UNKNOWN,
    WHOLE,
    Block,
    Blocks,
    index_of,
)
from normalizer.wires.messages.body import events_of_block
from normalizer.wires.messages.delta_form import DeltaForms, Said
from normalizer.wires.messages.deltas import DELTA_GROUPS, MEMBERS, SAYS_NOTHING, Deltas
from normalizer.wires.messages.message_start import MessageStart
from normalizer.wires.messages.outgoing import Outgoing
from normalizer.wires.messages.tool_input import (
    INPUT_TWICE,
    INPUT_WITHOUT_BLOCK,
    STOPPED_EARLY,
    as_text,
)
from normalizer.wires.messages.tool_use import CALL_REPEATED, TOOL_NAME_MISSING, Calls


class Content:
    """Takes the events of blocks; ``forms`` says what may differ between its deltas."""

    __slots__ = (
        "_blocks",
        "_calls",
        "_deltas",
        "_drops_empty",
        "_events",
        "_found",
        "_heads",
        "_kept",
        "_out",
        "_plain",
        "_start",
        "forms",
    )

    def __init__(
        self,
        found: Findings,
        kept: Kept,
        out: Outgoing,
        start: MessageStart,
        calls: Calls,
        *,
        drops_empty: bool,
    ) -> None:
        self._found = found
        self._kept = kept
        self._out = out
        self._start = start
        self._calls = calls
        self._drops_empty = drops_empty
        self._heads = Heads(found)
        self._deltas = Deltas(found)
        self._blocks = Blocks()
        self._events = BlockEvents(found, kept, out, start, calls, self._blocks)
        self.forms = DeltaForms(self._blocks, self._events, kept)
        self._plain: Block | None = None  # whose deltas of the usual form leave as they came

    @property
    def any(self) -> bool:
        """Whether any block has come."""
        return self._blocks.any

    def begin(self) -> None:
        """The message has started: its own blocks come first, and calls in it have indexes."""
        self._events.index += len(self._start.calls)
        for call in self._start.calls:
            self._calls.see(call)
        blocks, self._start.content, self._start.calls = self._start.content, [], []
        for block in blocks:
            for event in events_of_block(block):
                self._take(Draft(event))

    def _take(self, draft: Draft) -> None:
        """Take an event of a block by its type."""
        takers = {"content_block_start": self.start, "content_block_delta": self.delta}
        takers.get(draft.value["type"], self.stop)(draft)

    def hold(self) -> None:
        """A stop reason has come, and is held."""
        self._plain = None
        self._events.late = True

    def passes(self, value: dict[str, Any]) -> bool:
        """Whether a `content_block_delta` leaves as it came; it is noted then."""
        block = self._plain
        delta, index = value.get("delta"), value.get("index")
        if block is None or block.half or type(delta) is not dict or type(index) is not int:
            return False
        said = delta.get(block.member)
        if index != block.index or delta.get("type") != block.delta or type(said) is not str:
            return False
        if block.group == TOOL:
            self.forms.keep_input(block, said)
        elif said:
            block.said = True
        self._events.count += 1
        self._out.count(block.group, said)
        self.forms.said = Said(block, index, said)
        return True

    # ------------------------------------------------------------------ starts

    def start(self, draft: Draft) -> None:
        """Take a `content_block_start`."""
        self._plain = None
        head = self._heads.form(draft)
        content = draft.value["content_block"]
        block = Block(head.kind, index_of(draft.value), draft)
        block.signature = head.signature
        same = self._same(block, content)
        if same is not None:
            self._start_again(same, content, head)
            return
        self._kept.size += CALL
        self._blocks.add(block)
        if block.group == TOOL:
            waits = not self._calls.ready(block, content)
        else:
            waits = block.group == TEXT and self._drops_empty and not content.get("citations")
        if waits:
            self._kept.keep(0)
        else:
            self._events.open(block)
        self._take_head(block, head)

    def _same(self, block: Block, content: dict[str, Any]) -> Block | None:
        """The open block that a start starts once more."""
        former = self._blocks.at(block.group, block.named)
        if former is None or former.kind != block.kind or not former.open or former.stop:
            return None
        if block.group == TOOL:
            return former if self._calls.same(former, content) else None
        return former if block.group in (TEXT, THINKING) else None

    def _start_again(self, block: Block, content: dict[str, Any], head: Head) -> None:
        """A start that comes once more: what it holds leaves, the start itself does not."""
        self._found(BLOCK_START_REPEATED)
        if block.index is None and block.group == TOOL and self._calls.named(block, content):
            self._events.open(block)
            self._events.send_input(block)
        block.signature = head.signature or block.signature
        self._take_head(block, head)

    def _take_head(self, block: Block, head: Head) -> None:
        """Take what a block's start held."""
        if head.input and not block.input.blank:
            self._found.note(INPUT_TWICE)
        elif head.input:
            block.given = head.input
        said = head.words or head.pieces
        if said:
            draft = Draft({"type": "content_block_delta", "index": block.index})
            draft.value["delta"] = {"type": block.delta, block.member: said}
            self._say(block, draft, said)

    def _add(self, group: str, index: int | None) -> Block:
        """Start the block that a delta needs."""
        other = self._blocks.used(index)
        self._found(DELTA_IN_OTHER_BLOCK if other else BLOCK_START_MISSING)
        content = {"type": group, group: ""}
        if group == THINKING:
            content["signature"] = ""
        head = {
            "type": "content_block_start",
            "index": self._events.index,
            "content_block": content,
        }
        block = Block(group, index, Draft(head))
        self._kept.size += CALL
        self._blocks.add(block)
        self._events.open(block)
        return block

    # ------------------------------------------------------------------ deltas

    def delta(self, draft: Draft) -> str:
        """Take a `content_block_delta`; in words why the message cannot go on, or ""."""
        index = index_of(draft.value)
        unknown = self._blocks.at(UNKNOWN, index)
        if unknown is not None and unknown.open:
            self._events.send(unknown, draft)
            return ""
        kind = self._deltas.form(draft)
        if kind is None:
            return ""
        group = DELTA_GROUPS.get(kind)
        said = draft.value["delta"].get(MEMBERS.get(kind, ""))
        wanted = dict if kind == "citations_delta" else str
        if group is None or not isinstance(said, wanted):
            self._unknown_delta(draft, index)
            return ""
        block = self._blocks.find(group, index)
        blank = not said or (group == TOOL and not as_text(said).strip())
        if block is None and blank:
            self._found(SAYS_NOTHING)
        elif block is None and group == TOOL:
            self._found(INPUT_WITHOUT_BLOCK)
            return "A piece of a tool's input came for no open tool block."
        else:
            self._say(block or self._add(group, index), draft, said)
        return ""

    def _unknown_delta(self, draft: Draft, index: int | None) -> None:
        """A delta of a type that we do not know passes into the block of its index."""
        named = [self._blocks.at(group, index) for group in (WHOLE, TEXT, THINKING, TOOL)]
        block = next((one for one in named if one and one.open), None) or self._blocks.latest
        if block is not None and block.index is not None:
            self._events.send(block, draft)
            return
        self._found(DELTA_IN_OTHER_BLOCK)
        self._out.ride({"unplaced_delta": draft.value["delta"]})

    def _say(self, block: Block, draft: Draft, said: Any) -> None:
        """Send a delta of a block, or keep it where the block's start waits."""
        if draft.value["delta"].get("type") == block.delta:
            if draft.raw is None or block.half:
                said = _join_halves(block, draft, said)
                if not said and block.half:
                    return
            self._out.count(block.group, said)
        twice = block.given
        if block.group == TOOL:
            self._take_input(block, said)
        if block.index is None:
            if block.group == TOOL or not said:
                return
            self._events.open(block)
        _note(block, draft, said)
        if self._events.late:
            self._found(BEHIND_STOP_REASON)
        self._events.count += 1
        index = index_of(draft.value)
        self._events.send(block, draft)
        if draft.value["delta"].get("type") == block.delta and not twice:
            self.forms.said = Said(block, index, said)
        plain = block.index == block.named and not (self._events.late or block.half or block.given)
        self._plain = block if plain else None

    def _take_input(self, block: Block, said: str) -> None:
        if block.given and said.strip():
            self._found.note(INPUT_TWICE)
            block.given = ""
        block.input.add(said, self._kept, needed=block.index is None)
        self._blocks.news[block] = None

    # ------------------------------------------------------------------ stops

    def stop(self, draft: Draft) -> None:
        """Take a `content_block_stop`."""
        self._plain = None
        block = self._blocks.stopped_by(index_of(draft.value))
        if block is None:
            self._found(STOP_WITHOUT_BLOCK)
            self._out.ride(draft.value, ("type", "index"))
            return
        block.stop = draft
        if block.kind == "tool_use" or (block.group == TOOL and block.index is None):
            self._stop_call(block)
        elif block.index is not None:
            self._events.close(block)
        else:
            self._found(TEXT_EMPTY)
            self._blocks.remove(block)

    def _stop_call(self, block: Block) -> None:
        """The stop of a call waits until its input is complete."""
        if block.given and block.input.blank:
            self._events.send_given(block)
        complete = block.input.complete or (block.input.deltas > 0 and block.input.blank)
        if block.index is None:
            if complete and block.name:
                self._decide(block, failed=False)
        elif complete or block.whole:
            self._events.close(block)
        elif self._found.on(STOPPED_EARLY):
            block.stopped_at = self._events.count
            self._blocks.news[block] = None
        else:
            self._events.close(block)

    def _decide(self, block: Block, *, failed: bool) -> None:
        """A call whose id came before is the same call again, or one of its own.

        ``failed``: the stream ends in an error, so that a part of its input is all that comes.
        """
        if self._calls.again(block, partly=failed and not block.input.complete):
            self._found(CALL_REPEATED)
            self._blocks.remove(block)
            block.input.forget(self._kept)
            return
        self._calls.rename(block)
        self._events.open(block)
        self._events.send_input(block)
        block.input.forget(self._kept)
        if block.stop is not None and block.input.complete:
            self._events.close(block)

    # ------------------------------------------------------------------ the end

    def finish(self) -> None:
        """The message stops: every block does."""
        self._plain = None
        self._decide_all(failed=False)
        incomplete = []
        for block in self._blocks:
            if block.kind == "tool_use" and not block.input.complete:
                incomplete.append(block)
            else:
                self._events.close(block)
        for block in incomplete:
            self._events.close(block)

    def fail(self) -> None:
        """The message ends in an error: send what was held, and stop nothing."""
        self._plain = None
        self._decide_all(failed=True)
        for block in self._blocks:
            self._events.send_held(block)

    def _decide_all(self, *, failed: bool) -> None:
        """Decide about the blocks whose start waited."""
        for block in self._blocks:
            if block.index is not None:
                continue
            if block.group == TOOL and block.name:
                if block.given and block.input.blank:
                    self._events.send_given(block)
                self._decide(block, failed=failed)
                continue
            self._blocks.remove(block)
            self._found(TOOL_NAME_MISSING if block.group == TOOL else TEXT_EMPTY)
            if block.group == TOOL:
                self._calls.nameless.append(block)


def _note(block: Block, draft: Draft, said: Any) -> None:
    """Note what has been said in a block."""
    if draft.value["delta"].get("type") == "signature_delta":
        block.signature = ""
        block.signed = block.signed or bool(said)
    elif said:
        block.said = True


def _join_halves(block: Block, draft: Draft, said: str) -> str:
    """The text with the half of a surrogate pair that waited; a new half waits in the block."""
    whole = block.half + said
    block.half = whole[-1] if ends_in_half(whole) else ""
    if block.half:
        whole = whole[:-1]
    if whole != said:
        draft.edit()["delta"][block.member] = whole
    return whole
