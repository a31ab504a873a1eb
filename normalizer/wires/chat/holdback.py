"""What waits to leave a stream of chunks, and the order in which it leaves.

Everything leaves as soon as it is known to be right. These wait, and nothing else does:

* **Fragments of calls.** The head of a call waits until its name is complete: for the first
  character of its arguments, another call, other content of its choice, or the finish. Arguments
  that are `{}`, or that come once more, and a head that comes once more, wait for the next chunk
  that says something in their choice. The stage of the calls decides what becomes of them; the
  chunks that hold them leave in the order in which they came.
* **A finish**, one a choice, until the end of the stream or `finish_timeout` of silence: another
  finish may weigh more, and text may come behind it.
* **A usage**, until the finishes have left: it stands behind them, or on the last one.
* **Comments behind a held finish**, when every choice has finished. They keep their place between
  the finish and `[DONE]`. Other comments pass in front of what waits.
* **Riders**: members of chunks that are not sent. They leave on the next chunk that is.
* **A choice that nobody asked for** and that has said nothing yet.
* **Half a surrogate pair**, in the stage that reads the text.

At the end leave, in this order: fragments of calls, halves, `{}` for calls without arguments, what
rides and finds no place, the finish, the comments and the usage in the order in which they came,
`[DONE]`. An error comes instead of the finish, the usage and what the form alone would need; what
had arrived leaves before it, and what waits to ride rides on it.

All that is held is counted in `Kept`.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.core.kept import CHUNK, COMMENT, Kept
from normalizer.core.lenient import without_spelling
from normalizer.core.options import Options
from normalizer.core.report import Report
from normalizer.core.wire import Output
from normalizer.wires.chat import tool_calls, usage
from normalizer.wires.chat.blank import Blank
from normalizer.wires.chat.call import Fragment
from normalizer.wires.chat.chunk import (
    CHOICE_KEYS,
    Choice,
    Chunk,
    Endpoint,
    count,
    count_text,
    without_extras,
)
from normalizer.wires.chat.finish import FINISH_TWICE, merged
from normalizer.wires.chat.split import split
from normalizer.wires.chat.stages import Stages

CHOICES_EMPTY = Deviation(
    code="E210",
    name="choices-empty",
    fault="A chunk has no choices.",
    repair="The chunk is not sent and its other members move to the next chunk.",
)
CHOICE_SILENT = Deviation(
    code="E214",
    name="unasked-choice-silent",
    fault="A second choice that the request did not ask for has no content.",
    repair="The choice is not sent before it has content.",
)
FINISH_MISSING = Deviation(
    code="S510",
    name="finish-missing",
    fault="`[DONE]` arrives, but a choice has no finish.",
    repair="The choice gets `stop`, or `tool_calls` after calls.",
)

_CUT = ("length", "content_filter")
_USAGE_HERE = ""  # in the tail: where the usage chunk came


class Piece(NamedTuple):
    """A chunk with one choice, that is sent or held: what it has of calls, its finish word.

    ``says``: its delta has something in it. One that has not passes in front of what waits.
    """

    draft: Draft
    choice: int
    fragments: list[Fragment]
    word: str | None = None
    says: bool = True


class _Held:
    """A chunk that waits, with the bytes that it makes us keep."""

    __slots__ = ("_decided", "draft", "fragments", "size")

    def __init__(self, draft: Draft, size: int, fragments: list[Fragment]) -> None:
        self.draft = draft
        self.size = size
        self.fragments = fragments
        self._decided = 0  # fragments at the beginning that wait no more, and never will again

    @property
    def waits(self) -> bool:
        fragments = self.fragments
        while self._decided < len(fragments) and not fragments[self._decided].waits:
            self._decided += 1
        return self._decided < len(fragments)

    @property
    def choice(self) -> Choice:
        choice: Choice = self.draft.value["choices"][0]
        return choice


class Holdback:
    """Sends chunks to its `Output`, or holds them until they may leave.

    * ``order``: the choices that have come; ``last``: the chunk that left last.
    * ``released``: what was held had to leave before the end, the upstream being silent.
    """

    __slots__ = (
        "_blank",
        "_calls",
        "_ended",
        "_endpoint",
        "_finishes",
        "_found",
        "_kept",
        "_options",
        "_output",
        "_put_off",
        "_report",
        "_rode",
        "_stages",
        "_tail",
        "_tail_size",
        "_usage_waits",
        "last",
        "order",
        "released",
    )

    def __init__(
        self,
        stages: Stages,
        blank: Blank,
        endpoint: Endpoint,
        options: Options,
        found: Findings,
        report: Report,
        output: Output,
        kept: Kept,
    ) -> None:
        self._stages = stages
        self._blank = blank
        self._endpoint = endpoint
        self._options = options
        self._found = found
        self._report = report
        self._output = output
        self._kept = kept
        self._calls: dict[int, deque[_Held]] = {}
        self._finishes: dict[int, _Held] = {}
        self._ended: set[int] = set()  # choices whose finish is held, or has left
        self._put_off: dict[int, _Held] = {}
        self._tail: list[str] = []  # comments, and the usage chunk's place, behind a held finish
        self._tail_size = 0  # bytes of the comments in it
        self._usage_waits = False  # the usage chunk's place is in it
        self._rode = False  # what waited to ride left with the last chunk
        self.order: dict[int, None] = {}
        self.last: Chunk = {}
        self.released = False

    # ------------------------------------------------------------------ what others ask

    @property
    def holding(self) -> bool:
        """Whether a finish is held."""
        return bool(self._finishes)

    @property
    def ends(self) -> bool:
        """Whether a choice has finished, as far as is known."""
        return bool(self._finishes or self._stages.finish.left)

    @property
    def idle(self) -> bool:
        """Whether nothing waits on which the next chunk's fate depends."""
        return not (self._finishes or self._calls or self._stages.riders.waiting or self._rode)

    @property
    def finished(self) -> bool:
        """Whether every choice that has come has finished."""
        return bool(self.order) and self._all_finished()

    def _all_finished(self) -> bool:
        # a choice has appeared before its finish is held, and a finish that is held leaves
        return len(self._ended) >= len(self.order)

    def is_open(self, index: int) -> bool:
        """Whether anything of a choice waits that its next text decides about."""
        return index in self._calls or index in self._finishes

    def send_to(self, output: Output) -> None:
        """From now on chunks go there."""
        self._output = output

    # ------------------------------------------------------------------ chunks

    def take(self, piece: Piece) -> None:
        """Send a chunk, or hold it."""
        if piece.word is not None:
            self.release_calls(piece.choice, cut=piece.word in _CUT)
            self._hold_finish(piece)
        elif piece.fragments:
            queue = self._calls.setdefault(piece.choice, deque())
            queue.append(_Held(piece.draft, self._kept.keep(CHUNK), piece.fragments))
            self._leave(piece.choice)
        else:
            if piece.says:
                self.release_calls(piece.choice)
            self.send(piece.draft)

    def goes_on(self, index: int, *, text: bool) -> None:
        """A choice says something, ``text`` or something else: a held finish was not its end."""
        if self._stages.finish.spoke(index, text=text):
            self.send_held_text(index)
        else:
            self.release_finishes(final=False)

    def leave_decided(self, index: int) -> None:
        """Send the chunks of calls about which everything is decided."""
        if index in self._calls:
            self._leave(index)

    def release_calls(self, index: int, *, cut: bool = False) -> None:
        """Send what waits of the calls of a choice; ``cut``: its finish is one that cuts."""
        if index in self._calls:
            self._stages.tools.decide(index, cut=cut)
            self._leave(index)

    def _leave(self, index: int) -> None:
        queue = self._calls[index]
        while queue and not queue[0].waits:
            held = queue.popleft()
            self._kept.size -= held.size
            self._send_calls(held)
        if not queue:
            self._calls.pop(index, None)

    def _send_calls(self, held: _Held) -> None:
        """Send a chunk of calls, as its fragments have turned out."""
        draft = held.draft
        if any(fragment.gone or fragment.changed for fragment in held.fragments):
            delta = draft.edit()["choices"][0]["delta"]
            left = [fragment.value for fragment in held.fragments if not fragment.gone]
            if left:
                delta["tool_calls"] = left
            else:
                del delta["tool_calls"]
                if not any(value is not None for value in delta.values()):
                    self.ride(draft)
                    return
        self.send(draft)

    def put_off(self, index: int, draft: Draft) -> None:
        """Hold the first chunk of a choice that nobody asked for and that says nothing."""
        if index not in self._put_off:
            self._put_off[index] = _Held(draft, self._kept.keep(CHUNK), [])

    def taken_up(self, index: int) -> Draft | None:
        """The chunk of a choice that was put off and that now says something."""
        held = self._put_off.pop(index, None)
        if held is None:
            return None
        self._kept.size -= held.size
        return held.draft

    def send(self, draft: Draft) -> None:
        """Send a chunk, with what waits to ride on one."""
        riders, chunk = self._stages.riders, draft.value
        self._rode = bool(riders.waiting)
        if self._rode and riders.mount(chunk):
            draft.edit()
        for choice in chunk["choices"]:
            delta = choice.get("delta")
            if not isinstance(delta, dict):
                count_text(self._report.characters_out, choice.get("text"))
                continue
            if "tool_calls" in delta:
                dressed = self._stages.tools.dress(choice["index"], delta)
                if dressed is not delta:
                    draft.edit()
                    choice["delta"] = dressed
            count(self._report.characters_out, delta)
        if self._options.extras == "drop" and self._drops_all(draft):
            return
        self.last = chunk
        self._output.send(draft)

    def _drops_all(self, draft: Draft) -> bool:
        """Take away what the API does not know; whether nothing is left to be sent."""
        raw, chunk = draft.raw, draft.edit()
        if not without_extras(chunk):
            draft.raw = raw
            return False
        return all(
            choice.get("delta") == {}
            and choice.get("finish_reason") is None
            and not choice.get("logprobs")
            for choice in chunk["choices"]
        ) and not chunk.get("usage")

    # ------------------------------------------------------------------ riders

    def ride(self, draft: Draft) -> bool:
        """Take what rides of a chunk that is not sent itself; was there anything new?

        Another value of what waits, or of what left, is progress: it leaves at once, on an empty
        delta.
        """
        riders, chunk = self._stages.riders, draft.value
        index = next(reversed(self.order), 0)
        if index in self._stages.finish.left:
            return riders.take(chunk, self.last)
        progress = riders.progress(chunk)
        if progress:
            self._send_riders(index)
        news = riders.take(chunk, self.last)
        if progress or riders.full:
            self._send_riders(index)
        return news

    def _send_riders(self, index: int) -> None:
        """Send what waits to ride on chunks of its own: one for each value of a key."""
        riders = self._stages.riders
        while riders.waiting:
            waiting = riders.count
            self._send_empty(index)
            if riders.count == waiting:
                return

    def _send_empty(self, index: int) -> None:
        """Send a chunk for what rides on it; the first of a choice has its role."""
        content = self._stages.content
        opens = self._endpoint == "chat" and not content.is_open(index)
        if opens:
            content.open(index)
        self._send_new(index, {"role": "assistant", "content": ""} if opens else {})

    def _send_new(self, index: int, delta: dict[str, Any]) -> None:
        self.send(self._blank.chunk(index, delta))

    # ------------------------------------------------------------------ comments and usage

    def comment(self, text: bytes) -> bool:
        """Whether a comment may leave now; else it leaves behind the finish that is held."""
        if not self._finishes or self.released or not self._all_finished():
            return True
        size = COMMENT + len(text)
        self._tail_size += size
        self._kept.size += size
        if self._kept.over:
            self.send_comments()
            return True
        self._tail.append(text.decode("utf-8", "replace"))
        return False

    def send_comments(self) -> None:
        """Send the comments that wait behind a held finish, in front of it."""
        comments = [text for text in self._tail if text != _USAGE_HERE]
        usage_waits = self._usage_waits
        self._forget_tail()
        if usage_waits:
            self.usage_came()
        for text in comments:
            self._output.comment(text.encode())

    def _forget_tail(self) -> None:
        self._tail.clear()
        self._usage_waits = False
        self._kept.size -= self._tail_size
        self._tail_size = 0

    def usage_came(self) -> None:
        """A usage chunk came: it leaves behind the finishes that are held."""
        if self.released and not self._finishes:
            self._send_usage()
        elif not self._usage_waits:
            self._usage_waits = True
            self._tail.append(_USAGE_HERE)

    def _send_usage(self) -> None:
        """Send the usage in its own chunk, if it is to have one."""
        stage = self._stages.usage
        value = stage.final()
        if value is None or not self._goes_apart():
            return
        draft = stage.chunk
        if draft is None:
            self._found(usage.USAGE_OWN_CHUNK)
            draft = self._stages.envelope.chunk([])
        else:
            self._stages.envelope.put(draft)
        if draft.value.get("choices") != []:
            draft.edit()["choices"] = []
        if draft.value.get("usage") != value:
            draft.edit()["usage"] = value
        self._report.usage = without_spelling(value)
        stage.value = None
        self.send(draft)

    def _goes_apart(self) -> bool:
        stage = self._stages.usage
        return (stage.asked is True and self._found.on(usage.USAGE_OWN_CHUNK)) or stage.apart

    # ------------------------------------------------------------------ finishes

    def _hold_finish(self, piece: Piece) -> None:
        stage, index = self._stages.finish, piece.choice
        word = piece.word or "stop"
        if index in stage.left and not stage.outweighs_left(index, word):
            if self._found(FINISH_TWICE):
                self._send_without_finish(piece)
                return
        if index in self._finishes and not self._found.on(FINISH_TWICE):
            self.release_finishes(final=False)
        self.send_held_text(index)
        size = self._kept.keep(CHUNK)
        old = self._finishes.get(index)
        stands = stage.hold(index, word)
        self._ended.add(index)
        new = _Held(piece.draft, size, [])
        if old is None:
            self._finishes[index] = new
            return
        if not stands and _says(new.choice):
            # what the new one says has not left yet: it stays, with the weightier word
            if new.choice["finish_reason"] != old.choice["finish_reason"]:
                new.draft.edit()
                new.choice["finish_reason"] = old.choice["finish_reason"]
            stands = True
        winner, loser = (new, old) if stands else (old, new)
        changed, differs = merged(winner.draft.value, loser.draft.value)
        if changed:
            # of the other one something is kept beside it
            winner.draft.edit()
            winner.size += loser.size
            loser.size = 0
        self._kept.size -= loser.size
        self._finishes[index] = winner
        if differs is not None:
            chunk = self._stages.envelope.chunk([])
            chunk.value.update(differs)
            self.send(chunk)

    def _send_without_finish(self, piece: Piece) -> None:
        chunk = piece.draft.value
        choice = chunk["choices"][0]
        if not _says(choice):
            self.ride(piece.draft)
            return
        text, _ = split(choice, self._blank)
        said = {key: value for key, value in chunk.items() if key != "usage"}
        self.send(Draft({**said, "choices": [text]}))

    def send_held_text(self, index: int) -> None:
        """Send the text that is held together with a finish: more of its choice has come."""
        held = self._finishes.get(index)
        if held is None or not _says(held.choice):
            return
        chunk = held.draft.value
        text, finish = split(held.choice, self._blank)
        self.send(Draft({**{k: v for k, v in chunk.items() if k != "usage"}, "choices": [text]}))
        bare = self._stages.envelope.chunk([finish])
        if "usage" in chunk:
            bare.value["usage"] = chunk["usage"]
        size = min(held.size, CHUNK * len(finish))
        self._kept.size += size - held.size
        self._finishes[index] = _Held(bare, size, [])

    def release(self) -> None:
        """Send every finish that is held, what goes before it and what goes behind it."""
        self.release_finishes(final=True)
        for text in self._tail:
            if text == _USAGE_HERE:
                self._send_usage()
            else:
                self._output.comment(text.encode())
        self._forget_tail()
        if self._all_finished():
            self._send_usage()

    def release_finishes(self, *, final: bool) -> None:
        """Send the finishes held; if ``final``, a usage that nobody asked for is on the last."""
        held = list(self._finishes.items())
        for index, one in held:
            self._before_finish(index, one.choice)
        for number, (index, one) in enumerate(held):
            self._send_finish(index, one, last=final and number == len(held) - 1)
            self._kept.size -= one.size
        self._finishes.clear()
        self._stages.finish.held.clear()

    def _before_finish(self, index: int, choice: Choice) -> None:
        tools = self._stages.tools
        self.release_calls(index)
        self._send_halves(index)
        if self._stages.finish.held[index] in _CUT:
            return
        if tools.cut(index):
            self._found(tool_calls.ARGUMENTS_INCOMPLETE)
        if choice.get("nameless_tool_calls"):
            return  # they may be the arguments that are missing
        for fragment in tools.empty(index):
            self._send_new(index, {"tool_calls": [fragment]})

    def _send_finish(self, index: int, held: _Held, *, last: bool) -> None:
        finish, tools, riders = self._stages.finish, self._stages.tools, self._stages.riders
        word = finish.final(
            index, tools.called(index), tools.names(index), to_be_run=tools.to_be_run(index)
        )
        if finish.held[index] != word:
            held.draft.edit()
            held.choice["finish_reason"] = word
        nameless = tools.nameless(index)
        if nameless and self._found(tool_calls.GHOST_CALL):
            held.draft.edit()
            held.choice["nameless_tool_calls"] = nameless
        elif nameless:
            self._send_new(index, {"tool_calls": nameless})
        if riders.waiting:
            if riders.collides(held.draft.value):
                self._send_riders(index)
            elif riders.mount(held.draft.value):
                held.draft.edit()
        self._put_usage_on(held, last=last)
        finish.left[index] = self._report.finish[index] = word
        self.send(held.draft)

    def _put_usage_on(self, held: _Held, *, last: bool) -> None:
        """Give a finish the usage that it is to have, and no other."""
        stage, chunk = self._stages.usage, held.draft.value
        there = chunk.get("usage")
        if last and stage.half is not None and stage.value is None:
            held.draft.edit()["native_usage"] = stage.half
            stage.half = None
        apart = self._goes_apart()
        value = stage.final() if last and not apart and self._options.usage != "drop" else None
        if value is not None:
            self._report.usage = without_spelling(value)
            stage.value = None
            if there != value:
                held.draft.edit()["usage"] = value
        elif there is not None:
            if apart:
                held.draft.edit()["usage"] = None
            else:
                del held.draft.edit()["usage"]

    def _send_halves(self, index: int) -> None:
        """Send what half a surrogate pair becomes whose other half never came."""
        for key in self._stages.content.halves(index):
            names = ("content",) if key == "text" else self._stages.reasoning.names(key)
            self._send_new(index, dict.fromkeys(names, "\ufffd"))
        for fragment in self._stages.tools.halves(index):
            self._send_new(index, {"tool_calls": [fragment]})

    # ------------------------------------------------------------------ ends

    def done(self) -> None:
        """`[DONE]`, or an end that is as good: every choice gets its finish."""
        for held in self._put_off.values():
            if self._found(CHOICE_SILENT):
                self.ride(held.draft)
            else:
                self.send(held.draft)
        finish, tools = self._stages.finish, self._stages.tools
        for index in self.order:
            if index in finish.held or index in finish.left:
                continue
            self.release_calls(index)
            if self._found(FINISH_MISSING):
                calls = tools.called(index) if tools.to_be_run(index) else None
                word = calls or "stop"
                finish.hold(index, word)
                self._ended.add(index)
                self._finishes[index] = _Held(self._blank.finish(index, word), 0, [])
        self.release()
        self._send_usage()
        stage = self._stages.usage
        late = stage.value if stage.value is not None else stage.half
        if late is not None and self._options.usage != "drop" and self.released:
            self._found(usage.USAGE_LATE)
            self._report.usage = without_spelling(stage.final() or late)

    def cut(self) -> None:
        """The stream ends in an error: what had arrived leaves, what was held does not."""
        ghosts: list[dict[str, Any]] = []
        for index in list(self._calls):
            self.release_calls(index)
        for index in self.order:
            self._send_halves(index)
            nameless = self._stages.tools.nameless(index)
            if nameless and not self._found(tool_calls.GHOST_CALL):
                self._send_new(index, {"tool_calls": nameless})
            else:
                ghosts += nameless
            if index in self._finishes:
                self.send_held_text(index)
                held = self._finishes[index]
                others = {k: v for k, v in held.choice.items() if k not in CHOICE_KEYS}
                others.pop("native_finish_reason", None)
                self.ride(Draft({**held.draft.value, **others}))
        if ghosts:
            self._stages.riders.wait("nameless_tool_calls", ghosts)
        for text in self._tail:
            if text != _USAGE_HERE:
                self._output.comment(text.encode())

    def ride_on_error(self, event: dict[str, Any]) -> bool:
        """Put on an error event what waited to ride; was there anything?"""
        before = len(event)
        self._stages.riders.mount(event)
        for key, value in self._stages.riders.rest():
            event.setdefault("extras", []).append({key: value})
        return len(event) != before


def _says(choice: Choice) -> bool:
    """Whether a choice that finishes holds something beside its finish."""
    delta = choice.get("delta")
    if isinstance(delta, dict):
        return any(value is not None for value in delta.values())
    return bool(choice.get("text"))
