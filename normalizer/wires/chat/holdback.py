"""What waits before it is sent in a stream of chunks, and in which order it is sent.

Everything is sent as soon as it is known to be right. These wait, and nothing else does:

* **Fragments of calls.** The head of a call waits until its name is complete: for the first
  character of its arguments, another call, other content of its choice, or the finish. Arguments
  that are `{}` or that come once more, and a head that comes once more, wait for the next chunk
  with content of their choice. The stage of the calls decides what becomes of them; their chunks
  are sent in the order in which they came.
* **A finish**, one a choice, until the end of the stream or `finish_timeout` of silence: another
  finish may weigh more, and text may follow it (finishes.py).
* **A usage**, until the finishes are sent: it follows them, or is on the last one.
* **Comments after a held finish**, when every choice has finished. They keep their place between
  the finish and `[DONE]`. Other comments are sent before what waits.
* **Riders**: members of chunks that are not sent. They are put on the next chunk (sender.py).
* **A choice that nobody asked for** and that has had no content yet.
* **Half a surrogate pair**, in the stage that reads the text.

The end sends, in this order: fragments of calls, halves, `{}` for calls without arguments, riders
that fit on no chunk, the finish, the comments and the usage in the order in which they came,
`[DONE]`. An error is sent instead of the finish, the usage and all that only completes the form.
What had arrived is sent before it, and the riders that wait are put on it.

All that is held is counted in `Kept`.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.core.kept import CHUNK, COMMENT, Kept
from normalizer.core.lenient import without_spelling
from normalizer.core.options import Options
from normalizer.core.report import Report
from normalizer.core.wire import Output
from normalizer.wires.chat import tool_calls, usage
from normalizer.wires.chat.blank import Blank
from normalizer.wires.chat.chunk import CHOICE_KEYS, Choice, Endpoint
from normalizer.wires.chat.finish import FINISH_TWICE
from normalizer.wires.chat.finishes import Finishes
from normalizer.wires.chat.held import Held, Piece
from normalizer.wires.chat.sender import Sender
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


class Holdback:
    """Sends chunks, or holds them until it is known that they are right.

    * ``sender``: sends what does not wait.
    * ``order``: the choices that have come, in their order.
    * ``released``: what was held was sent before the end, because the upstream was silent.
    """

    __slots__ = (
        "_calls",
        "_finishes",
        "_found",
        "_kept",
        "_options",
        "_put_off",
        "_report",
        "_stages",
        "_tail",
        "_tail_size",
        "_usage_waits",
        "order",
        "released",
        "sender",
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
        self._options = options
        self._found = found
        self._report = report
        self._kept = kept
        self.sender = Sender(stages, blank, endpoint, options, report, output)
        self._finishes = Finishes(stages, blank, options, found, report, kept, self.sender)
        self._calls: dict[int, deque[Held]] = {}
        self._put_off: dict[int, Held] = {}
        self._tail: list[str] = []  # comments after a held finish, and the usage chunk's place
        self._tail_size = 0  # bytes of the comments in it
        self._usage_waits = False  # the usage chunk's place is in it
        self.order: dict[int, None] = {}
        self.released = False

    # ------------------------------------------------------------------ what others ask

    @property
    def holding(self) -> bool:
        """Whether a finish is held."""
        return bool(self._finishes.held)

    @property
    def ends(self) -> bool:
        """Whether a choice has finished, as far as is known."""
        return bool(self._finishes.held or self._stages.finish.left)

    @property
    def idle(self) -> bool:
        """Whether the chunk sent last is as its own form makes it: no member of others is on it."""
        return self.steady and not self.sender.rode

    @property
    def steady(self) -> bool:
        """Whether nothing waits that could change what becomes of the next chunk."""
        return not (self._finishes.held or self._calls or self._stages.riders.waiting)

    @property
    def finished(self) -> bool:
        """Whether every choice that has come has finished."""
        return bool(self.order) and self._all_finished()

    def _all_finished(self) -> bool:
        # no choice ends before it has come, so that equal numbers mean all of them
        return len(self._finishes.ended) >= len(self.order)

    def is_free(self, index: int) -> bool:
        """Return whether nothing waits that the next text of a choice decides about."""
        ends = self._finishes.held or self._stages.finish.left
        return not ends and index not in self._calls

    # ------------------------------------------------------------------ chunks

    def take(self, piece: Piece) -> None:
        """Send a chunk, or hold it."""
        if piece.word is not None:
            self.release_calls(piece.choice, cut=piece.word in _CUT)
            self._hold_finish(piece)
        elif piece.fragments:
            self._take_calls(piece)
        else:
            if piece.says:
                self.release_calls(piece.choice)
            self.sender.send(piece.draft)

    def _take_calls(self, piece: Piece) -> None:
        """Send a chunk of calls, or hold it."""
        held = Held(piece.draft, 0, piece.fragments)
        queue = self._calls.get(piece.choice)
        if queue is None:
            if not held.waits:
                self._kept.arrived = 0
                self._send_calls(held)
                return
            queue = self._calls[piece.choice] = deque()
        # a queue: a chunk whose fragments are decided still waits for those that came before it
        held.size = self._kept.keep(CHUNK)
        queue.append(held)
        self._leave(piece.choice)

    def goes_on(self, index: int, *, text: bool) -> None:
        """Note more content of a choice, ``text`` or other: a held finish was not its end."""
        if self._stages.finish.spoke(index, text=text):
            self._finishes.send_text(index)
        else:
            self.release_finishes(final=False)

    def leave_decided(self, index: int) -> None:
        """Send the chunks of calls about which everything is decided."""
        if index in self._calls:
            self._leave(index)

    def release_calls(self, index: int, *, cut: bool = False) -> None:
        """Send the fragments of a choice that wait; ``cut``: its finish cuts arguments off."""
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

    def _send_calls(self, held: Held) -> None:
        """Send a chunk of calls without the fragments that were dropped."""
        draft = held.draft
        if held.differs:
            delta = draft.edit()["choices"][0]["delta"]
            left = [fragment.value for fragment in held.fragments if not fragment.gone]
            if left:
                delta["tool_calls"] = left
            else:
                del delta["tool_calls"]
                if not any(value is not None for value in delta.values()):
                    self.ride(draft)
                    return
        self.sender.send(draft)

    def put_off(self, index: int, draft: Draft) -> None:
        """Hold the first chunk of a choice that nobody asked for and that has no content."""
        if index not in self._put_off:
            self._put_off[index] = Held(draft, self._kept.keep(CHUNK), [])

    def taken_up(self, index: int) -> Draft | None:
        """Return the chunk of a choice that was put off and that has content now."""
        held = self._put_off.pop(index, None)
        if held is None:
            return None
        self._kept.size -= held.size
        return held.draft

    def ride(self, draft: Draft) -> bool:
        """Keep the members of a chunk that is not sent itself for the next one.

        Return whether there was anything new.
        """
        return self.sender.ride(draft, next(reversed(self.order), 0))

    # ------------------------------------------------------------------ comments and usage

    def comment(self, text: bytes) -> bool:
        """Return whether a comment can be sent now; else it is held, to follow the finish."""
        if not self._finishes.held or self.released or not self._all_finished():
            return True
        size = COMMENT + len(text)
        self._tail_size += size
        self._kept.size += size
        # comments are the only held bytes that can be sent early without harm
        if self._kept.over:
            self.send_comments()
            return True
        self._tail.append(text.decode("utf-8", "replace"))
        return False

    def send_comments(self) -> None:
        """Send the comments that wait for a held finish, before it."""
        comments = [text for text in self._tail if text != _USAGE_HERE]
        usage_waits = self._usage_waits
        self._forget_tail()
        if usage_waits:
            self.usage_came()
        for text in comments:
            self.sender.output.comment(text.encode())

    def _forget_tail(self) -> None:
        self._tail.clear()
        self._usage_waits = False
        self._kept.size -= self._tail_size
        self._tail_size = 0

    def usage_came(self) -> None:
        """Note that a usage chunk came: it is sent after the finishes that are held."""
        if self.released and not self._finishes.held:
            self._send_usage()
        elif not self._usage_waits:
            self._usage_waits = True
            self._tail.append(_USAGE_HERE)

    def _send_usage(self) -> None:
        """Send the usage in its own chunk, if it is to have one."""
        stage = self._stages.usage
        if stage.value is None:
            return
        value = stage.final()
        if value is None or not stage.goes_apart:
            return
        draft = stage.chunk
        # DeepSeek and Mistral put it on the finish, where a reader of the last chunk finds none
        if draft is None:
            self._found(usage.USAGE_OWN_CHUNK)
            draft = self._stages.envelope.chunk([])
        else:
            self._stages.envelope.put(draft)
        if draft.value.get("choices") != []:
            draft.edit()["choices"] = []
        # where it was repaired too: to Python 9 and 9.0 are the same
        if draft.value.get("usage") != value or value is not stage.value:
            draft.edit()["usage"] = value
        self._report.usage = without_spelling(value)
        stage.value = None
        self.sender.send(draft)

    # ------------------------------------------------------------------ finishes

    def _hold_finish(self, piece: Piece) -> None:
        stage, index = self._stages.finish, piece.choice
        if index in stage.left and not stage.outweighs_left(index, piece.word or "stop"):
            if self._found(FINISH_TWICE):
                self._send_text_of(piece)
                return
        if index in self._finishes.held and not self._found.on(FINISH_TWICE):
            self.release_finishes(final=False)
        self._finishes.hold(piece)

    def _send_text_of(self, piece: Piece) -> None:
        """Send what came with a finish that is not sent."""
        text = self._finishes.text_of(piece)
        if text is None:
            self.ride(piece.draft)
        else:
            self.sender.send(text)

    def release_finishes(self, *, final: bool) -> None:
        """Send the finishes held; if ``final``, a usage that nobody asked for is on the last."""
        for index, one in list(self._finishes.held.items()):
            self._before_finish(index, one.choice)
        self._finishes.send(final=final)

    def _add_finish(self, index: int) -> None:
        """Hold a finish for a choice that has none."""
        tools = self._stages.tools
        self.release_calls(index)
        if self._found(FINISH_MISSING):
            calls = tools.called(index) if tools.to_be_run(index) else None
            self._finishes.add(index, calls or "stop")

    def release(self) -> None:
        """Send every finish that is held, with what comes before and after it."""
        self.release_finishes(final=True)
        for text in self._tail:
            if text == _USAGE_HERE:
                self._send_usage()
            else:
                self.sender.output.comment(text.encode())
        self._forget_tail()
        if self._all_finished():
            self._send_usage()

    def _before_finish(self, index: int, choice: Choice) -> None:
        tools = self._stages.tools
        self.release_calls(index)
        self._send_halves(index)
        # arguments that were cut stay cut
        if not tools.has_come(index) or self._stages.finish.held[index] in _CUT:
            return
        # the true reason was `length`, but the stream does not have it: closing the JSON would make
        # a
        # call of a cut
        if tools.cut(index):
            self._found(tool_calls.ARGUMENTS_INCOMPLETE)
        if choice.get("nameless_tool_calls"):
            return  # they may be the arguments that are missing
        for fragment in tools.empty(index):
            self.sender.send_new(index, {"tool_calls": [fragment]})

    def _send_halves(self, index: int) -> None:
        """Send U+FFFD for each half of a surrogate pair whose other half never came."""
        for key in self._stages.content.halves(index):
            names = ("content",) if key == "text" else self._stages.reasoning.names(key)
            self.sender.send_new(index, dict.fromkeys(names, "\ufffd"))
        for fragment in self._stages.tools.halves(index):
            self.sender.send_new(index, {"tool_calls": [fragment]})

    # ------------------------------------------------------------------ ends

    def done(self) -> None:
        """`[DONE]`, or an end that is as good: every choice gets its finish."""
        for held in self._put_off.values():
            # openai-node: "missing finish_reason for choice 1"
            if self._found(CHOICE_SILENT):
                self.ride(held.draft)
            else:
                self.sender.send(held.draft)
        finish = self._stages.finish
        for index in self.order:
            # clients that wait for a finish of each choice would wait for ever
            if index not in finish.held and index not in finish.left:
                self._add_finish(index)
        self.release()
        self._send_usage()
        self._report_late_usage()

    def _report_late_usage(self) -> None:
        """Report a usage that came after silence, when the finish was sent already."""
        stage = self._stages.usage
        late = stage.value if stage.value is not None else stage.half
        if late is not None and self._options.usage != "drop" and self.released:
            self._found(usage.USAGE_LATE)
            self._report.usage = without_spelling(stage.final() or late)

    def cut(self) -> None:
        """The stream ends in an error: send what had arrived, but no finish."""
        ghosts: list[dict[str, Any]] = []
        for index in list(self._calls):
            self.release_calls(index)
        for index in self.order:
            self._send_halves(index)
            ghosts += self._nameless_at_cut(index)
            if index in self._finishes.held:
                self._cut_finish(index)
        if ghosts:
            self._stages.riders.wait("nameless_tool_calls", ghosts)
        for text in self._tail:
            if text != _USAGE_HERE:
                self.sender.output.comment(text.encode())

    def _nameless_at_cut(self, index: int) -> list[dict[str, Any]]:
        """The fragments without a name that move to the error; none if their repair is off."""
        nameless = self._stages.tools.nameless(index)
        if not nameless or self._found(tool_calls.GHOST_CALL):
            return nameless
        self.sender.send_new(index, {"tool_calls": nameless})
        return []

    def _cut_finish(self, index: int) -> None:
        """Send the text of a finish that is not sent; its other members move to the error."""
        self._finishes.send_text(index)
        held = self._finishes.held[index]
        others = {k: v for k, v in held.choice.items() if k not in CHOICE_KEYS}
        # an error has no finish
        others.pop("native_finish_reason", None)
        self.ride(Draft({**held.draft.value, **others}))
