"""What leaves a stream, and what waits to leave.

Held back are, bounded by `Kept`: the head of a tool call until its name is complete, and, for
each choice, its finish. `done`, `cut` and `release` let go of what is held, in the one right order:
heads, late riders, finishes, usage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from normalizer.core.findings import Findings
from normalizer.core.kept import CHUNK, COMMENT, Kept
from normalizer.core.options import Options
from normalizer.core.report import Report
from normalizer.wires.chat import choices as choices_stage
from normalizer.wires.chat import finish as finish_stage
from normalizer.wires.chat import tool_calls as tools_stage
from normalizer.wires.chat import usage as usage_stage
from normalizer.wires.chat.call import Call
from normalizer.wires.chat.chunk import (
    CHOICE_KEYS,
    Choice,
    Chunk,
    Delta,
    Endpoint,
    count,
    count_text,
    without_extras,
)
from normalizer.wires.chat.content import Content
from normalizer.wires.chat.envelope import Envelope, Riders
from normalizer.wires.chat.finish import Finish
from normalizer.wires.chat.reasoning import Reasoning
from normalizer.wires.chat.tool_calls import ToolCalls
from normalizer.wires.chat.usage import Usage

Emit = Callable[[Chunk, bytes | None], None]
_USAGE_HERE = ""  # in the tail: where the usage chunk came


class Plan(NamedTuple):
    """What becomes of one choice of a chunk: its pieces, in order, and whether the last waits."""

    pieces: list[Choice]
    head: list[Call] | None = None  # the last piece waits for these calls' names
    finish: str | None = None  # the last piece is a finish, with this word
    release: bool = False  # a head that waits is to leave first


class WaitingHead:
    """A chunk that holds heads of calls whose last name may go on."""

    __slots__ = ("calls", "chunk", "raw", "size")

    def __init__(self, chunk: Chunk, raw: bytes | None, calls: list[Call], size: int) -> None:
        self.chunk = chunk
        self.raw = raw
        self.calls = calls
        self.size = size  # bytes


class Stages:
    """The stages of one stream."""

    __slots__ = ("content", "envelope", "finish", "reasoning", "riders", "tools", "usage")

    def __init__(
        self,
        envelope: Envelope,
        riders: Riders,
        content: Content,
        reasoning: Reasoning,
        tools: ToolCalls,
        finish: Finish,
        usage: Usage,
    ) -> None:
        self.envelope = envelope
        self.riders = riders
        self.content = content
        self.reasoning = reasoning
        self.tools = tools
        self.finish = finish
        self.usage = usage


class Outlet:
    """Sends what may leave, to ``emit(chunk, raw)``; holds what may not yet.

    ``raw`` is the JSON as it came where nothing was repaired, None where it is to be written anew.
    A chunk without members is a comment, whose text is ``raw``.
    """

    __slots__ = (
        "_content",
        "_emit",
        "_endpoint",
        "_envelope",
        "_finish",
        "_found",
        "_kept",
        "_options",
        "_reasoning",
        "_report",
        "_riders",
        "_tail",
        "_tail_size",
        "_tools",
        "_usage",
        "_usage_waits",
        "heads",
        "last",
        "order",
        "put_off",
        "released",
        "rode",
    )

    def __init__(
        self,
        stages: Stages,
        endpoint: Endpoint,
        options: Options,
        found: Findings,
        report: Report,
        emit: Emit,
        kept: Kept,
    ) -> None:
        self._kept = kept
        self._endpoint = endpoint
        self._options = options
        self._found = found
        self._report = report
        self._emit = emit
        self._envelope = stages.envelope
        self._riders = stages.riders
        self._content = stages.content
        self._reasoning = stages.reasoning
        self._tools = stages.tools
        self._finish = stages.finish
        self._usage = stages.usage
        self.heads: dict[int, WaitingHead] = {}
        # choices nobody asked for, and their bytes
        self.put_off: dict[int, tuple[Chunk, bytes | None, int]] = {}
        self.order: dict[int, None] = {}  # choices, as they appeared
        self._tail: list[str] = []  # comments, and the usage chunk's place, behind a held finish
        self._tail_size = 0  # bytes of the comments in it
        self._usage_waits = False  # whether the usage chunk's place is in it
        self.rode = False  # what waited to ride left with the last chunk
        self.last: Chunk = {}  # the chunk that left last
        self.released = False  # what was held had to be let go before the end

    def carry_out(self, chunk: Chunk, plan: Plan, raw: bytes | None) -> None:
        """Send or hold what a plan makes of one choice of a chunk."""
        pieces = plan.pieces
        if not pieces:
            if self.take_riders(chunk):
                self._found(choices_stage.CHOICES_EMPTY)
            return
        index = pieces[0]["index"]
        if plan.release and index in self.heads:
            self.release_head(index)
        usage = chunk.pop("usage", None) if plan.finish and len(pieces) > 1 else None
        last = len(pieces) - 1
        heads_at = last - 1 if plan.finish and plan.head else last
        for number, piece in enumerate(pieces):
            part = chunk if number == 0 else self._envelope.chunk([])
            part["choices"] = [piece]
            whole = raw if last == 0 else None
            if plan.head and number == heads_at:
                self.heads[index] = WaitingHead(part, whole, plan.head, self._kept.keep(CHUNK))
                if plan.finish:
                    self.release_head(index)
            elif plan.finish and number == last:
                if usage is not None:
                    part["usage"] = usage
                self._hold(index, part, whole, plan.finish)
            else:
                self.send(part, whole)

    def _hold(self, index: int, chunk: Chunk, raw: bytes | None, word: str) -> None:
        if index in self._finish.left:
            self._found.note(finish_stage.FINISH_TWICE)
            choice = chunk["choices"][0]
            if choice.get("delta") or choice.get("text"):
                text, _ = finish_stage.split(choice)
                said = {key: value for key, value in chunk.items() if key != "usage"}
                self.send({**said, "choices": [text]}, None)
            else:
                self.take_riders(chunk)
            return
        self.send_held_text(index)
        old = self._finish.held.get(index)
        before = old.size if old is not None else 0
        members = max(_members(chunk), _members(old.chunk) if old is not None else 0)
        size = self._kept.keep(CHUNK)
        differs = self._finish.hold(index, chunk, raw, word)
        held = self._finish.held[index]
        # of two finishes one is kept, and of the other what only it had
        held.size = (
            before + size if before and _members(held.chunk) > members else max(before, size)
        )
        self._kept.size += held.size - size - before
        if differs is not None:
            extra = self._envelope.chunk(differs.pop("choices"))
            self.send({**extra, **differs}, None)

    def send_held_text(self, index: int) -> None:
        """What a finish holds back with it leaves: it was not the last of its choice."""
        held = self._finish.held.get(index)
        if held is None:
            return
        choice = held.choice
        if not choice.get("delta") and ("delta" in choice or not choice.get("text")):
            return
        text, finish = finish_stage.split(choice)
        held.raw = None
        envelope = {key: value for key, value in held.chunk.items() if key != "usage"}
        self.send({**envelope, "choices": [text]}, None)
        bare = self._envelope.chunk([finish])
        if "usage" in held.chunk:
            bare["usage"] = held.chunk["usage"]
        held.chunk = bare
        size = min(held.size, CHUNK * len(finish))
        self._kept.size += size - held.size
        held.size = size

    def complete_within(self, piece: Choice, index: int, calls: Iterable[Call]) -> None:
        """Put the complete heads of calls where they wait in a piece."""
        fragments = piece["delta"]["tool_calls"]
        places = {id(fragment): place for place, fragment in enumerate(fragments)}
        for call in calls:
            place = places[id(call.head)]
            fragments[place] = self._tools.complete(index, call)

    def release_head(self, index: int) -> None:
        """Let the heads of calls go whose names are complete."""
        waiting = self.heads.pop(index)
        self._kept.size -= waiting.size
        found, touched = self._found, self._found.touched
        found.touched = False
        self.complete_within(waiting.chunk["choices"][0], index, waiting.calls)
        raw = None if found.touched else waiting.raw
        self.send(waiting.chunk, raw)
        found.touched = touched

    def send(self, chunk: Chunk, raw: bytes | None) -> None:
        """Let a chunk leave, with what waits to ride on one."""
        riders = self._riders
        self.rode = bool(riders.waiting)
        if self.rode and riders.mount(chunk):
            raw = None
        for choice in chunk["choices"]:
            delta = choice.get("delta")
            if not isinstance(delta, dict):
                count_text(self._report.characters_out, choice.get("text"))
                continue
            if "tool_calls" in delta:
                dressed = self._tools.dress(choice["index"], delta)
                if dressed is not delta:
                    choice["delta"] = dressed
                    raw = None
            count(self._report.characters_out, delta)
        if self._options.extras == "drop" and without_extras(chunk):
            raw = None
        self.last = chunk
        self._emit(chunk, raw)

    def take_riders(self, chunk: Chunk, *, given: bool = True) -> bool:
        """Take what rides of a chunk that is not sent itself; was there anything new?

        ``given``: it has choices of its own, if only an empty list.

        Another value of what waits, or of what left, is progress: it leaves at once, on an empty
        delta.
        """
        riders = self._riders
        index = next(reversed(self.order), 0)
        if index in self._finish.left:
            return riders.take(chunk, self.last)
        # An object without choices may be no chunk at all: before the stream has its id, nothing is
        # made up for it.
        ours = given or bool(self._envelope.id)
        progress = ours and riders.progress(chunk)
        if progress:
            self._leftovers(index)
        news = riders.take(chunk, self.last)
        if progress or riders.full:
            self._leftovers(index)
        return news

    def comment(self, text: bytes) -> bool:
        """Whether a comment may leave now; else it leaves behind the finish that is held.

        A head that waits leaves before it: keep-alives come when nothing else does, names do not
        take that long, and neither may be kept back for the other.
        """
        for index in list(self.heads):
            self.release_head(index)
        if self._finish.held and not self.released and self.all_finished():
            size = COMMENT + len(text)
            self._tail_size += size
            self._kept.size += size
            if self._kept.over:
                self.let_comments_go()
                return True
            self._tail.append(text.decode("utf-8", "replace"))
            return False
        return True

    def let_comments_go(self) -> None:
        """Send the comments that wait behind a held finish, in front of it."""
        comments = [text for text in self._tail if text != _USAGE_HERE]
        usage_waits = self._usage_waits
        self._forget_tail()
        if usage_waits:
            self.usage_came()
        for text in comments:
            self._emit({}, text.encode())

    def _forget_tail(self) -> None:
        self._tail.clear()
        self._usage_waits = False
        self._kept.size -= self._tail_size
        self._tail_size = 0

    @property
    def opened(self) -> bool:
        """Whether any choice has come."""
        return bool(self.order)

    @property
    def holding(self) -> bool:
        """Whether a finish is held."""
        return bool(self._finish.held)

    def all_finished(self) -> bool:
        """Whether no choice that has come is unfinished."""
        # a choice has appeared before its finish is held, and what has left is not held again
        return len(self._finish.held) + len(self._finish.left) >= len(self.order)

    @property
    def finished(self) -> bool:
        """Whether every choice that has come has finished."""
        return bool(self.order) and self.all_finished()

    @property
    def failure(self) -> str | None:
        """The word of failure that a choice finished with."""
        return self._finish.failure

    @property
    def only_usage(self) -> bool:
        """Whether a usage that was asked for is all that came."""
        return (
            self._usage.asked is True and self._usage.chunk is not None and not self._riders.waiting
        )

    def done(self) -> None:
        """`[DONE]`, or an end that is as good: every choice gets its finish."""
        for chunk, raw, _ in self.put_off.values():
            if self._found(choices_stage.CHOICE_SILENT):
                self.take_riders(chunk)
            else:
                self.send(chunk, raw)
        for index in self.order:
            if index not in self._finish.held and index not in self._finish.left:
                if self._found(finish_stage.FINISH_MISSING):
                    word = self._tools.called(index) or "stop"
                    self._hold_made_up(index, word)
                elif index in self.heads:
                    self.release_head(index)
        self.release()
        self.send_usage()
        late = self._usage.value is not None or self._usage.half is not None
        if late and self._options.usage != "drop" and self.released:
            self._found.note(usage_stage.USAGE_LATE)

    def _hold_made_up(self, index: int, word: str) -> None:
        choice: Choice = {"index": index, "delta": {}, "finish_reason": word}
        if self._endpoint == "completions":
            choice = {"index": index, "text": "", "logprobs": None, "finish_reason": word}
        self._finish.hold(index, self._envelope.chunk([choice]), None, word)

    def release(self) -> None:
        """Let go of every finish that is held, of what goes before it and behind it."""
        self.release_finishes(final=True)
        for text in self._tail:
            if text == _USAGE_HERE:
                self.send_usage()
            else:
                self._emit({}, text.encode())
        self._forget_tail()
        if self.all_finished():
            self.send_usage()

    def release_finishes(self, *, final: bool) -> None:
        """Let go of the finishes held; if ``final``, a usage nobody asked for rides on the last."""
        finish, found = self._finish, self._found
        held = list(finish.held)
        for index in held:
            self._before_finish(index)
        for position, index in enumerate(held):
            found.touched = False
            word = finish.settle(index, called=self._tools.called(index))
            one = finish.held[index]
            nameless = self._tools.nameless(index)
            if nameless and not found(tools_stage.GHOST_CALL):
                self._say(index, {"tool_calls": nameless})
            elif nameless:
                one.choice["nameless_tool_calls"] = nameless
                one.raw = None
            if self._riders.waiting:
                if self._riders.collides(one.chunk):
                    self._leftovers(index)
                elif self._riders.mount(one.chunk):
                    one.raw = None
            self._usage_on_finish(one, last=final and position == len(held) - 1)
            finish.left[index] = self._report.finish[index] = word
            self.send(one.chunk, one.raw)
        self._kept.size -= sum(one.size for one in finish.held.values())
        finish.held.clear()

    def _before_finish(self, index: int) -> None:
        if index in self.heads:
            self.release_head(index)
        self._say_halves(index)
        held = self._finish.held[index]
        if self._tools.cut(index):
            if held.word not in ("length", "content_filter"):
                self._found.note(tools_stage.ARGUMENTS_INCOMPLETE)
        if held.word not in ("length", "content_filter"):
            for fragment in self._tools.empty(index):
                self._say(index, {"tool_calls": [fragment]})

    def _say_halves(self, index: int) -> None:
        for key in self._content.halves(index):
            if key == "text":
                choice = {"index": index, "text": "\ufffd", "logprobs": None, "finish_reason": None}
                self.send(self._envelope.chunk([choice]), None)
            else:
                delta = {key: "\ufffd"}
                self._reasoning.settle(index, delta)
                self._say(index, delta)
        for fragment in self._tools.halves(index):
            self._say(index, {"tool_calls": [fragment]})

    def _say(self, index: int, delta: Delta) -> None:
        choice = {"index": index, "delta": delta, "finish_reason": None}
        self.send(self._envelope.chunk([choice]), None)

    def _leftovers(self, index: int) -> None:
        """Riders that found no chunk without another value of their name get their own."""
        while self._riders.waiting:
            waiting = self._riders.count
            self._say_nothing(index)
            if self._riders.count == waiting:
                return

    def _say_nothing(self, index: int) -> None:
        """A chunk for what rides on it; the first of a choice says who speaks."""
        if self._endpoint != "chat":
            choice = {"index": index, "text": "", "logprobs": None, "finish_reason": None}
            self.send(self._envelope.chunk([choice]), None)
            return
        delta: Delta = {}
        if index not in self._content.spoke:
            delta = {"role": "assistant", "content": ""}
            self._content.opened(index)
        self._say(index, delta)

    def _usage_on_finish(self, held: finish_stage.Held, *, last: bool) -> None:
        usage = self._usage
        there = held.chunk.get("usage")
        wanted = self._options.usage != "drop"
        if usage.half is not None and usage.value is None and last:
            held.chunk["native_usage"] = usage.half
            usage.half = None
            held.raw = None
        value = usage.settled() if last and wanted and not self._goes_apart() else None
        if value is not None:
            self._report.usage = value
            usage.value = None
        if value is None and there is None:
            return
        if value is there and held.raw is not None:
            return
        if value is None:
            if self._goes_apart():
                held.chunk["usage"] = None
            else:
                held.chunk.pop("usage", None)
            held.raw = None
        elif there != value:
            held.chunk["usage"] = value
            held.raw = None

    def _goes_apart(self) -> bool:
        usage = self._usage
        asked = usage.asked is True and self._found.on(usage_stage.USAGE_OWN_CHUNK)
        return asked or usage.apart

    def send_usage(self) -> None:
        """Send the usage in its own chunk, if it is to have one."""
        usage = self._usage
        if usage.value is None or not self._goes_apart():
            return
        found = self._found
        found.touched = False
        value = usage.settled()
        chunk, raw = usage.chunk, usage.raw
        if chunk is None:
            found(usage_stage.USAGE_OWN_CHUNK)
            chunk, raw = self._envelope.chunk([]), None
        else:
            self._envelope.settle(chunk)
        chunk["choices"] = []
        if chunk.get("usage") != value:
            raw = None
        chunk["usage"] = value
        self._report.usage = value
        usage.value = None
        self.send(chunk, None if found.touched else raw)

    def usage_came(self) -> None:
        """A usage chunk came: it leaves behind the finishes that are held."""
        if self.released and not self._finish.held:
            self.send_usage()
        elif not self._usage_waits:
            self._usage_waits = True
            self._tail.append(_USAGE_HERE)

    def cut(self) -> None:
        """The stream ends in an error: what had arrived leaves, what was held does not."""
        for index in list(self.heads):
            self.release_head(index)
        ghosts: list[dict[str, Any]] = []
        for index in self.order:
            self._say_halves(index)
            nameless = self._tools.nameless(index)
            if nameless and not self._found(tools_stage.GHOST_CALL):
                self._say(index, {"tool_calls": nameless})
            else:
                ghosts += nameless
            held = self._finish.held.get(index)
            if held is not None:
                self.send_held_text(index)
                others = {k: v for k, v in held.choice.items() if k not in CHOICE_KEYS}
                others.pop("native_finish_reason", None)
                self.take_riders({**held.chunk, **others})
        if ghosts:
            waiting = self._riders.waiting
            waiting["nameless_tool_calls"] = [*waiting.get("nameless_tool_calls", ()), *ghosts]
        for text in self._tail:
            if text != _USAGE_HERE:
                self._emit({}, text.encode())

    def ride_on_error(self, event: dict[str, Any]) -> None:
        """Put on an error event what waited to ride."""
        self._riders.mount(event)
        for key, value in self._riders.rest():
            event.setdefault("extras", []).append({key: value})


def _members(chunk: Chunk) -> int:
    return len(chunk) + len(chunk["choices"][0])
