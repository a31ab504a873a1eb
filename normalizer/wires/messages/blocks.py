"""Which block an event belongs to.

An upstream's ``index`` only says which block is meant; it may be missing, start from one, skip, or
be used again. Our own index counts the blocks in the order of their starts, because Anthropic's
Python SDK appends a block at its start and looks it up by index afterwards.

Blocks fall into five groups. A delta's type says which group it needs:

    text       text_delta, citations_delta
    thinking   thinking_delta, signature_delta
    tool       input_json_delta (`tool_use` is run by the client; two others by a server)
    whole      blocks that come whole in their start: results, redacted thinking, …
    unknown    kinds that this package does not know: any delta that names one of them is its own

A block is open from its start until its stop leaves. At most one block is open at a time, with two
exceptions: tool blocks whose input is not complete yet, because input that comes later must not be
lost, and unknown blocks, of which nobody can say whether more will come.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation
from normalizer.wires.messages.tool_input import Input

BLOCK_INDEX = Deviation(
    code="M301",
    name="block-index",
    fault="The index of a block is missing, or does not count from 0 in the order of the starts.",
    repair="Blocks are numbered 0, 1, 2 … in the order of their starts.",
    structural=True,
)
BLOCK_START_MISSING = Deviation(
    code="M302",
    name="block-start-missing",
    fault="A delta comes for a block that was never started.",
    repair="A start of the kind that the delta needs is added.",
    structural=True,
)
BLOCK_START_REPEATED = Deviation(
    code="M303",
    name="block-start-repeated",
    fault="The start of an open block comes again.",
    repair="The second start is left out, and what it holds becomes a delta.",
    structural=True,
)
BLOCK_STOP_MISSING = Deviation(
    code="M304",
    name="block-stop-missing",
    fault="A block is not stopped before another one starts, or before the message stops.",
    repair="A `content_block_stop` is added.",
    structural=True,
)
STOP_WITHOUT_BLOCK = Deviation(
    code="M305",
    name="stop-without-block",
    fault="A `content_block_stop` comes for a block that is not open.",
    repair="The stop is left out.",
    structural=True,
)
DELTA_IN_OTHER_BLOCK = Deviation(
    code="M306",
    name="delta-in-other-block",
    fault="A delta comes for a block of another kind, or for one that was stopped.",
    repair="The delta gets a block of its own kind.",
    structural=True,
)
BEHIND_STOP_REASON = Deviation(
    code="M307",
    name="block-behind-stop-reason",
    fault="A block or a delta comes behind the stop reason.",
    repair="It is sent before the stop reason.",
    structural=True,
)
THINKING_UNSIGNED = Deviation(
    code="M313",
    name="thinking-without-signature",
    fault="A thinking block has no signature, so the API refuses it in the next request.",
    repair="None, because only the server that made the block can sign it.",
    reported=True,
)
TEXT_EMPTY = Deviation(
    code="M314",
    name="empty-text-block",
    fault="A text block is empty, so the API refuses it in the next request.",
    repair='It is reported, and left out with `empty_blocks="drop"`.',
    reported=True,
)

TEXT, THINKING, TOOL, WHOLE, UNKNOWN = "text", "thinking", "tool", "whole", "unknown"
_GROUPS = {
    "text": TEXT,
    "thinking": THINKING,
    "tool_use": TOOL,
    "server_tool_use": TOOL,
    "mcp_tool_use": TOOL,
    **dict.fromkeys(("redacted_thinking", "compaction", "fallback"), WHOLE),
}
# the delta that carries a group's words, and the member that holds them
_WORDS = {
    TEXT: ("text_delta", "text"),
    THINKING: ("thinking_delta", "thinking"),
    TOOL: ("input_json_delta", "partial_json"),
}


def group_of(kind: str) -> str:
    """The group of a kind of block. Example: ``group_of("mcp_tool_use") == "tool"``."""
    group = _GROUPS.get(kind)
    if group is None:
        group = WHOLE if kind.endswith("_tool_result") else UNKNOWN
    return group


def index_of(value: dict[str, Any]) -> int | None:
    """The index that an event names; None if it names none."""
    index = value.get("index")
    return index if type(index) is int else None


class Block:
    """One block of the answer.

    * ``kind``: its type; ``group``: one of the five; ``named``: the upstream's index, if any.
    * ``index``: ours; None until its start leaves. ``head``: its start, until then.
    * ``whole``: its input stays in its start, where the API itself puts it.
    * ``open``: its stop has not left. ``stop``: the upstream's stop, which waits; ``stopped_at``:
      how many starts and deltas had left when it came.
    * ``delta``, ``member``: the type of the deltas that carry its words, and where they are.
    * ``id``, ``name``, ``input``: of a tool block. ``given``: input that its start held.
    * ``signature``: one that its start held; ``signed``, ``said``: a signature, words have left.
    * ``half``: the first half of a surrogate pair, which waits for the other.
    """

    __slots__ = (
        "delta",
        "given",
        "group",
        "half",
        "head",
        "id",
        "index",
        "input",
        "kind",
        "member",
        "name",
        "named",
        "number",
        "open",
        "said",
        "signature",
        "signed",
        "stop",
        "stopped_at",
        "whole",
    )

    def __init__(self, kind: str, named: int | None, head: Draft) -> None:
        self.kind = kind
        self.group = group_of(kind)
        self.named = named
        self.head = head
        self.index: int | None = None
        self.number = 0  # in the order in which blocks came
        self.open = True
        self.stop: Draft | None = None
        self.stopped_at: int | None = None
        self.delta, self.member = _WORDS.get(self.group, ("", ""))
        self.id = ""
        self.name = ""
        self.input = Input()
        self.given = ""
        self.whole = False
        self.signature = ""
        self.signed = False
        self.said = False
        self.half = ""

    @property
    def finished(self) -> bool:
        """Whether another block's start stops this tool block: nothing more of it can come."""
        return self.input.complete


class Blocks:
    """Finds the block that an event belongs to. No event makes it search more than five groups.

    ``news``: open tool blocks whose input grew, or whose stop waits, since another block started.
    """

    __slots__ = ("_added", "_indexes", "_last", "_named", "_open", "_tools", "news")

    def __init__(self) -> None:
        self._added = 0
        self._named: dict[tuple[str, int], Block] = {}  # the latest, by group and upstream's index
        self._indexes: set[int] = set()  # those that the upstream used
        self._open: dict[Block, None] = {}  # in the order in which they came
        self._tools: dict[Block, None] = {}  # the open ones that are tools
        self._last: Block | None = None  # the open one whose start left last, of those that close
        self.news: dict[Block, None] = {}

    def __iter__(self) -> Iterator[Block]:
        """The open blocks, in the order in which they came."""
        return iter(tuple(self._open))

    @property
    def any(self) -> bool:
        """Whether any block has come."""
        return self._added > 0

    def add(self, block: Block) -> None:
        """Take a new block."""
        self._added += 1
        block.number = self._added
        self._open[block] = None
        if block.group == TOOL:
            self._tools[block] = None
        if block.named is not None:
            self._named[block.group, block.named] = block
            self._indexes.add(block.named)

    def remove(self, block: Block) -> None:
        """The block is stopped, or was no block of its own."""
        block.open = False
        self._open.pop(block, None)
        self._tools.pop(block, None)
        self.news.pop(block, None)
        if self._last is block:
            self._last = None

    def at(self, group: str, index: int | None) -> Block | None:
        """The latest block of a group that the upstream's index names, open or not."""
        return None if index is None else self._named.get((group, index))

    def find(self, group: str, index: int | None) -> Block | None:
        """The open block of a group that a delta with this index belongs to."""
        block = self.at(group, index)
        if block is not None and block.open:
            return block
        if group == TOOL:
            return None if block is not None else self.last_tool
        if index is not None and index in self._indexes:
            return None
        for last in (self.latest, self._last):
            if last is not None and last.group == group:
                return last
        return None

    def stopped_by(self, index: int | None) -> Block | None:
        """The open block that a stop with this index means."""
        last = self.latest
        if last is not None and last.stop is None and last.named == index:
            return last
        if index is not None and index in self._indexes:
            groups = (TEXT, THINKING, TOOL, WHOLE, UNKNOWN)
            named = (self._named.get((group, index)) for group in groups)
            waiting = [block for block in named if block and block.open and block.stop is None]
            return max(waiting, key=lambda block: block.number, default=None)
        return last if last and last.stop is None and None in (index, last.named) else None

    @property
    def latest(self) -> Block | None:
        """The open block that came last."""
        return next(reversed(self._open), None)

    @property
    def last_tool(self) -> Block | None:
        """The open tool block that came last."""
        return next(reversed(self._tools), None)

    def used(self, index: int | None) -> bool:
        """Whether the upstream's index named a block before."""
        return index is not None and index in self._indexes

    def started(self, block: Block) -> list[Block]:
        """The start of a block leaves; the open blocks that it stops, in the order they came in."""
        found = [one for one in self.news if one.index is not None and one.finished]
        self.news.clear()
        if self._last is not None:
            found.append(self._last)
        if block.group not in (TOOL, UNKNOWN):
            self._last = block
        return sorted(found, key=lambda one: one.number)
