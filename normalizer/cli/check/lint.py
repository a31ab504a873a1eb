"""Lint an answer: run the normalizer in report mode, and locate each finding.

Events of one form have the same codes (`Normalizer.feed_alike`): they are read together, and only
counted. All others are read one by one, and line by line where they are not of the usual form, so
that each occurrence gets the number of its event. The place of a finding is looked for once for
each code. A body is read once, in pieces, and nothing that is kept of it grows with it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from normalizer import Normalizer, Options, Report, RequestInfo
from normalizer.catalogue.places import Span, one_line, place
from normalizer.cli.check.body import Lines
from normalizer.cli.check.severity import rank

End = Literal["complete", "cut", "reset", "timeout", "closed"]

EVENTS_NAMED = 10_000  # of the occurrences of one code; more of them are counted
_JSON = (b"{", b"[")
_BEGINNING = 64 * 1024  # bytes of a body that are kept: they may say why there is no answer


def _same_line(line: int) -> int:
    return line


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer to lint, without content coding, and what is known about its request.

    * ``name``: the name in the output: of a file, or of a probe.
    * ``body``, ``rest``: the body. What is in ``rest`` is read once, piece by piece.
    * ``file``: the file that contains the answer, if there is one.
    * ``line_in_file``: maps a line of the body to a line of the file. Both count from 1. None: the
      line of the body is not a line of the file.
    * ``end``: how the body ended. If the client closed it, the end is not checked. ``ended``
      returns it if it is known only when the whole body was read.
    * ``server``, ``probe``: for a live answer, the server and the name of the request.
    * ``location``: the target of a redirect.
    * ``unasked``: the number of probes that were not sent because of this answer.
    """

    name: str
    body: bytes
    rest: Iterable[bytes] = ()
    request: RequestInfo
    status: int = 200
    end: End = "complete"
    ended: Callable[[], End] | None = None
    file: str | None = None
    line_in_file: Callable[[int], int | None] = _same_line
    server: str | None = None
    probe: str | None = None
    location: str = ""
    unasked: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """All occurrences of one deviation in one answer, and the place of the first.

    * ``times``: the number of occurrences.
    * ``events``: the number of the event of each occurrence, of the first `EVENTS_NAMED` ones.
      Events with data count, from 1.
    * ``last``: the number of the last event. ``unbroken``: all events up to it have the deviation.
    * ``line``: the number of the line in the body, from 1. ``line_in_file``: in the file.
    * ``text``, ``span``: that line, and the place in it.
    """

    code: str
    times: int
    events: tuple[int, ...]
    last: int
    unbroken: bool
    line: int
    line_in_file: int | None
    text: str
    span: Span | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Linted:
    """An answer with its report and its findings: the most harmful first, then by event.

    The body of the answer is not kept, but for its beginning.
    """

    answer: Answer
    findings: tuple[Finding, ...]
    report: Report


def lint(answer: Answer, options: Options | None = None) -> Linted:
    """Find the deviations of an answer. No body makes it raise.

    Example::

        request = RequestInfo.parse("/v1/chat/completions", {"stream": True})
        lint(Answer(name="x", body=b"data:{}", request=request)).findings[0].code
    """
    options = dataclasses.replace(options or Options(), mode="report")
    normalizer = Normalizer(answer.request, options, status=answer.status)
    found = _Found(normalizer)
    start = _Beginning(options.max_event_bytes)
    pieces = start.watch(itertools.chain((answer.body,), answer.rest))
    lines = Lines(pieces, longest=options.max_event_bytes)
    while lines.more():
        end = normalizer.feed_alike(lines.data, lines.at)
        if end > lines.at:
            lines.pass_to(end)
            found.note_alike(lines.passed)
            continue
        end = _end_of_unit(lines)
        normalizer.feed(lines.data[lines.at : end])
        lines.pass_to(end)
        found.note(lines.passed)
        start.is_json = start.is_json and normalizer.report.events_in <= 1
    end_of_body = answer.ended() if answer.ended else answer.end
    if end_of_body != "closed":
        normalizer.close(None if end_of_body == "complete" else f"({end_of_body})")
        whole = start.json() if normalizer.report.events_in <= 1 else None
        # A JSON body is checked as a whole, so the whole body is shown.
        found.note(lines.passed if whole is None else lambda: [(1, one_line(whole))])
    findings = found.findings(answer.line_in_file)
    kept = dataclasses.replace(
        answer,
        body=b"" if _is_an_answer(answer, normalizer.report) else start.shown,
        rest=(),
        end=end_of_body,
        ended=None,
        line_in_file=_same_line,
    )
    return Linted(answer=kept, findings=findings, report=normalizer.report)


def _is_an_answer(answer: Answer, report: Report) -> bool:
    """Return whether nobody will look at the body for the words that came instead of an answer."""
    spoke = bool(report.finish) or any(report.characters_in.values())
    return spoke and report.end != "error" and answer.status < 300


def _end_of_unit(lines: Lines) -> int:
    """Return where the next event ends if it is of the usual form, or the next line."""
    end = lines.end_of_line()
    usual = lines.data.startswith(b"data: {", lines.at)
    return end + (usual and lines.data.startswith(b"\n", end, lines.whole))


class _Found:
    """The deviations that a normalizer found so far, and where."""

    def __init__(self, normalizer: Normalizer) -> None:
        self._normalizer = normalizer
        self._codes: dict[str, _Occurrences] = {}
        self._events = 0

    def note(self, lines: Callable[[], list[tuple[int, str]]]) -> None:
        """Note what was found since the last time, all of it in the last event."""
        report = self._normalizer.report
        self._events = report.events_in
        for code, repair in report.repairs.items():
            known = self._codes.get(code)
            if known is None:
                known = self._codes[code] = _located(code, lines())
            if repair.count > known.times:
                event = max(report.events_in, 1)
                known.add(event, event, repair.count - known.times)

    def note_alike(self, lines: Callable[[], list[tuple[int, str]]]) -> None:
        """Note what was found since the last time, the same in each event."""
        report = self._normalizer.report
        first, last = self._events + 1, report.events_in
        for code, repair in report.repairs.items():
            known = self._codes.get(code)
            if known is not None and repair.count > known.times:
                each = (repair.count - known.times) // (last - first + 1)
                known.add(first, last, each)
        self.note(lines)

    def findings(self, line_in_file: Callable[[int], int | None]) -> tuple[Finding, ...]:
        """Return a finding for each code."""
        findings = [
            Finding(
                code=code,
                times=one.times,
                events=tuple(one.events),
                last=one.last,
                unbroken=one.unbroken,
                line=one.line,
                line_in_file=line_in_file(one.line),
                text=one.text,
                span=one.span,
            )
            for code, one in self._codes.items()
        ]
        return tuple(sorted(findings, key=lambda one: (rank(one.code), one.events[0], one.code)))


class _Occurrences:
    """The occurrences of one code, and the place of the first."""

    __slots__ = ("events", "last", "line", "span", "text", "times", "unbroken")

    def __init__(self, line: int, text: str, span: Span | None) -> None:
        self.line = line
        self.text = text
        self.span = span
        self.events: list[int] = []
        self.times = 0
        self.last = 0
        self.unbroken = True

    def add(self, first: int, last: int, each: int) -> None:
        """Add ``each`` occurrences in every event from ``first`` to ``last``."""
        if each == 0:
            return
        self.unbroken = self.unbroken and first <= (self.last or first) + 1
        self.times += each * (last - first + 1)
        self.last = last
        room = EVENTS_NAMED - len(self.events)
        if room > 0:
            events = (event for event in range(first, last + 1) for _ in range(each))
            self.events += itertools.islice(events, room)


class _Beginning:
    """The beginning of a body. Of JSON that is no stream, the whole body is kept to be shown."""

    def __init__(self, limit: int) -> None:
        self.shown = b""
        self.is_json = True  # as far as is known
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def watch(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Pass the pieces of the body on."""
        for piece in pieces:
            self.shown = self.shown or piece[:_BEGINNING]
            self._size += len(piece)
            if self.is_json:
                self._pieces.append(piece)
                first = self.shown.lstrip()[:1]
                self.is_json = self._size <= self._limit and (not first or first in _JSON)
            if not self.is_json:
                self._pieces.clear()
            yield piece

    def json(self) -> str | None:
        """Return the body, or None if it is no JSON or too long."""
        body = b"".join(self._pieces)
        if not self.is_json or body.lstrip()[:1] not in _JSON:
            return None
        return body.decode("utf-8", "replace")


def _located(code: str, lines: list[tuple[int, str]]) -> _Occurrences:
    """Find the latest line with the place. Some deviations are known one event later."""
    if not lines:
        return _Occurrences(1, "", None)
    for number, text in reversed(lines):
        span = place(code, text)
        if span is not None:
            return _Occurrences(number, text, span)
    number, text = lines[-1]
    return _Occurrences(number, text, None)
