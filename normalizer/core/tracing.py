"""Where somebody listens in on the pipeline: what came, what was found in it, what left.

There is no second pipeline. A traced stream is read and written by the same code; a `Listener` is
told what happens, in the order in which it happens. An event that leaves by a template is seen by
nobody, so that a traced stream has no templates. A stream that nobody listens to has none of this.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from normalizer.core.draft import Draft
from normalizer.core.event import Event, Kind
from normalizer.core.findings import Findings
from normalizer.core.kept import Kept
from normalizer.core.options import Options
from normalizer.core.report import Report
from normalizer.core.request import RequestInfo
from normalizer.core.stream import EventStream
from normalizer.core.wire import Wire
from normalizer.core.writer import Writer

logger = logging.getLogger("normalizer")

# what a `Listener` is told by, beside the names of `Kind`, which stand there in lower case
BODY, END, SILENCE, CUT, BEHIND = "body", "end", "silence", "cut", "behind"


class Listener(Protocol):
    """Somebody who is told what becomes of one answer.

    First `begins`. Then for each thing that came: `came`, `left` for each event that leaves
    because of it, `taken`. At last `ends`.
    """

    def begins(self, request: RequestInfo, options: Options, status: int) -> None:
        """Take what is known before the first byte."""

    def came(self, kind: str, raw: bytes, event: Event) -> None:
        """Take an event, or a whole body; ``raw`` is all its bytes, with the line ends.

        ``kind`` is ``"data"``, ``"comment"``, ``"nothing"``, ``"done"``, ``"invalid"``,
        ``"page"``, ``"too_large"``, ``"end_word"``; ``"body"`` for a whole answer; ``"silence"``
        where the time for what is held is over; ``"end"`` and ``"cut"`` for the end of the bytes;
        ``"behind"`` for bytes behind the end of the answer, of which nothing leaves.
        """

    def taken(self, codes: list[str]) -> None:
        """What came last is taken: the deviations that were found in it."""

    def left(self, kind: str, name: str, data: bytes, value: Any) -> None:
        """Take what leaves: ``"data"`` with its event's name and value, or another kind."""

    def ends(self, report: Report) -> None:
        """The answer is over."""


class Guard:
    """A `Listener` that stops listening when it fails: what it does is not the answer's business.

    The failure is logged, by the logger ``normalizer``.
    """

    __slots__ = ("_listener",)

    def __init__(self, listener: Listener) -> None:
        self._listener: Listener | None = listener

    def begins(self, request: RequestInfo, options: Options, status: int) -> None:
        """Take what is known before the first byte."""
        if self._listener is not None:
            self._tell(self._listener.begins, request, options, status)

    def came(self, kind: str, raw: bytes, event: Event) -> None:
        """Take an event, or a whole body."""
        if self._listener is not None:
            self._tell(self._listener.came, kind, raw, event)

    def taken(self, codes: list[str]) -> None:
        """What came last is taken."""
        if self._listener is not None:
            self._tell(self._listener.taken, codes)

    def left(self, kind: str, name: str, data: bytes, value: Any) -> None:
        """Take what leaves."""
        if self._listener is not None:
            self._tell(self._listener.left, kind, name, data, value)

    def ends(self, report: Report) -> None:
        """The answer is over."""
        if self._listener is not None:
            self._tell(self._listener.ends, report)

    def _tell(self, method: Callable[..., None], *told: Any) -> None:
        try:
            method(*told)
        except Exception:  # broad on purpose: a stream must not break because of who listens
            logger.exception("the trace failed, and ends here")
            self._listener = None


class TracedWriter(Writer):
    """A `Writer` that tells what it writes."""

    __slots__ = ("_listener",)

    def __init__(self, report: Report, listener: Listener) -> None:
        super().__init__(report)
        self._listener = listener

    def send(self, draft: Draft, name: str = "") -> None:
        """Write one event."""
        super().send(draft, name)
        self._listener.left("data", name, self.sent[-1], draft.value)

    def comment(self, text: bytes) -> None:
        """Write a comment."""
        super().comment(text)
        self._listener.left("comment", "", text, None)

    def done(self) -> None:
        """Write ``[DONE]``."""
        super().done()
        self._listener.left("done", "", b"[DONE]", None)


class TracedStream(EventStream):
    """An `EventStream` that tells what it reads."""

    __slots__ = ("_listener", "_unread")

    def __init__(
        self,
        wire: Wire,
        writer: Writer,
        options: Options,
        found: Findings,
        report: Report,
        kept: Kept,
        listener: Listener,
    ) -> None:
        super().__init__(wire, writer, options, found, report, kept)
        self.without_templates()
        self._listener = listener
        self._unread = b""  # what has come and belongs to no event yet

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came; return those that are ready to send."""
        if self._wire.ended:
            self._tell(BEHIND, data)
            out = super().feed(data)
            self._taken()
            return out
        self._unread += data
        return super().feed(data)

    def flush(self) -> None:
        """The upstream has been silent for long: send what silence lets go."""
        self._tell(SILENCE, b"")
        super().flush()
        self._taken()

    def close(self, broken: str | None) -> None:
        """The bytes have ended."""
        self._settle_reader()
        rest, self._unread = self._unread, b""
        self._tell(END if broken is None else CUT, rest)
        self._wire.close(broken)
        self._taken()

    def _settle_reader(self) -> None:
        """Read what an event's missing end kept back."""
        if not self._wire.ended:
            self._reader.close()
            self._read(closing=True)

    def _take(self, event: Event, *, closing: bool) -> None:
        reader = self._reader
        behind = len(reader.data) - reader.position
        end = len(self._unread) - behind
        raw, self._unread = self._unread[:end], self._unread[end:]
        self._listener.came(event.kind.name.lower(), raw, event)
        early = list(self._found.log)  # of its framing
        self._found.log.clear()
        super()._take(event, closing=closing)
        self._found.log[:0] = early
        self._taken()

    def _tell(self, kind: str, raw: bytes) -> None:
        self._listener.came(kind, raw, Event(Kind.NOTHING, raw, at=self._reader.received))

    def _taken(self) -> None:
        log = self._found.log
        self._listener.taken(list(log))
        log.clear()
