"""The finishes that are held, and what is sent with each of them.

A finish waits because it may not be the last: more text may follow it, or another finish that
weighs more. The text that it came with is sent as soon as more of its choice comes. Its usage is
sent with the last finish, or in a chunk of its own.
"""

from __future__ import annotations

from normalizer.core.draft import Draft
from normalizer.core.findings import Findings
from normalizer.core.kept import CHUNK, Kept
from normalizer.core.lenient import without_spelling
from normalizer.core.options import Options
from normalizer.core.report import Report
from normalizer.wires.chat import tool_calls
from normalizer.wires.chat.blank import Blank
from normalizer.wires.chat.chunk import Chunk
from normalizer.wires.chat.finish import merged
from normalizer.wires.chat.held import Held, Piece, has_content
from normalizer.wires.chat.sender import Sender
from normalizer.wires.chat.split import split
from normalizer.wires.chat.stages import Stages


class Finishes:
    """Holds one finish a choice, and sends them.

    * ``held``: the chunks that wait, by choice.
    * ``ended``: the choices whose finish is held or was sent.
    """

    __slots__ = (
        "_blank",
        "_found",
        "_kept",
        "_options",
        "_report",
        "_sender",
        "_stages",
        "ended",
        "held",
    )

    def __init__(
        self,
        stages: Stages,
        blank: Blank,
        options: Options,
        found: Findings,
        report: Report,
        kept: Kept,
        sender: Sender,
    ) -> None:
        self._stages = stages
        self._blank = blank
        self._options = options
        self._found = found
        self._report = report
        self._kept = kept
        self._sender = sender
        self.held: dict[int, Held] = {}
        self.ended: dict[int, None] = {}

    def hold(self, piece: Piece) -> None:
        """Hold the finish of a choice, or join it with the one that is held already."""
        index = piece.choice
        self.send_text(index)
        new = Held(piece.draft, self._kept.keep(CHUNK), [])
        old = self.held.get(index)
        stands = self._stages.finish.hold(index, piece.word or "stop")
        self.ended[index] = None
        if old is None:
            self.held[index] = new
        else:
            self._join(index, old, new, stands=stands)

    def add(self, index: int, word: str) -> None:
        """Hold a finish of our own for a choice that has none."""
        self._stages.finish.hold(index, word)
        self.ended[index] = None
        self.held[index] = Held(self._blank.finish(index, word), 0, [])

    def _join(self, index: int, old: Held, new: Held, *, stands: bool) -> None:
        """Hold one of two finishes of a choice, with what the other one has beside its word.

        ``stands``: the word of the new one is to be sent.
        """
        if not stands and has_content(new.choice):
            # the content of the new one was not sent yet: it stays, with the word of the old one
            if new.choice["finish_reason"] != old.choice["finish_reason"]:
                new.draft.edit()
                new.choice["finish_reason"] = old.choice["finish_reason"]
            stands = True
        winner, loser = (new, old) if stands else (old, new)
        changed, differs = merged(winner.draft.value, loser.draft.value)
        if changed:
            # the winner holds members of the other one too, and their bytes count
            winner.draft.edit()
            winner.size += loser.size
            loser.size = 0
        self._kept.size -= loser.size
        self.held[index] = winner
        if differs is not None:
            chunk = self._stages.envelope.chunk([])
            chunk.value.update(differs)
            self._sender.send(chunk)

    def text_of(self, piece: Piece) -> Draft | None:
        """Return what a finish that is not sent was sent with; None if it has no content."""
        chunk = piece.draft.value
        choice = chunk["choices"][0]
        if not has_content(choice):
            return None
        text, _ = split(choice, self._blank)
        return Draft({**_without_usage(chunk), "choices": [text]})

    def send_text(self, index: int) -> None:
        """Send the text that is held together with a finish: more of its choice has come."""
        held = self.held.get(index)
        if held is None or not has_content(held.choice):
            return
        chunk = held.draft.value
        # its usage and its own members stay: the finish may be sent much later
        text, finish = split(held.choice, self._blank)
        self._sender.send(Draft({**_without_usage(chunk), "choices": [text]}))
        bare = self._stages.envelope.chunk([finish])
        if "usage" in chunk:
            bare.value["usage"] = chunk["usage"]
        size = min(held.size, CHUNK * len(finish))
        self._kept.size += size - held.size
        self.held[index] = Held(bare, size, [])

    def send(self, *, final: bool) -> None:
        """Send all that are held; if ``final``, a usage that nobody asked for is on the last."""
        held = list(self.held.items())
        for number, (index, one) in enumerate(held):
            self._send_one(index, one, last=final and number == len(held) - 1)
            self._kept.size -= one.size
        self.held.clear()
        self._stages.finish.held.clear()

    def _send_one(self, index: int, held: Held, *, last: bool) -> None:
        finish, tools, riders = self._stages.finish, self._stages.tools, self._stages.riders
        called = tools.called(index)
        to_be_run = called is not None and tools.to_be_run(index)
        word = finish.final(index, called, tools.names(index) if to_be_run else ())
        if finish.held[index] != word:
            held.draft.edit()
            held.choice["finish_reason"] = word
        nameless = tools.nameless(index)
        # Crush answers a call without a name with an empty id, and the server refuses the next
        # request
        if nameless and self._found(tool_calls.GHOST_CALL):
            held.draft.edit()
            held.choice["nameless_tool_calls"] = nameless
        elif nameless:
            self._sender.send_new(index, {"tool_calls": nameless})
        # the finish is the last chunk that they can be on
        if riders.waiting:
            if riders.collides(held.draft.value):
                self._sender.send_riders(index)
            elif riders.mount(held.draft.value):
                held.draft.edit()
        self._put_usage_on(held, last=last)
        finish.left[index] = self._report.finish[index] = word
        self._sender.send(held.draft)

    def _put_usage_on(self, held: Held, *, last: bool) -> None:
        """Give a finish the usage that it is to have, and no other."""
        stage = self._stages.usage
        there = held.draft.value.get("usage")
        if last and stage.half is not None and stage.value is None:
            # there is no better one
            held.draft.edit()["native_usage"] = stage.half
            stage.half = None
        apart = stage.goes_apart
        value = stage.final() if last and not apart and self._options.usage != "drop" else None
        if value is not None:
            self._report.usage = without_spelling(value)
            # where it was repaired too: to Python 9 and 9.0 are the same
            if there != value or value is not stage.value:
                held.draft.edit()["usage"] = value
            stage.value = None
        elif there is not None and apart:
            held.draft.edit()["usage"] = None
        elif there is not None:
            del held.draft.edit()["usage"]


def _without_usage(chunk: Chunk) -> Chunk:
    return {key: value for key, value in chunk.items() if key != "usage"}
