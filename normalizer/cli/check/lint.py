"""Lint an answer: run the normalizer in report mode, and locate each finding."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Literal

from normalizer import Normalizer, Options, Report, RequestInfo
from normalizer.catalogue.places import Span, one_line, place
from normalizer.cli.check.severity import rank

End = Literal["complete", "cut", "reset", "timeout", "closed"]

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer to lint, without content coding, and what is known about its request.

    * ``name``: the name in the output: of a file, or of a probe.
    * ``file``: the file that contains the answer, if there is one.
    * ``line_in_file``: maps a line of the body to a line of the file. Both count from 1. None: the
      line of the body is not a line of the file.
    * ``end``: how the body ended. If the client closed it, the end is not checked.
    * ``server``, ``probe``: for a live answer, the server and the name of the request.
    * ``location``: the target of a redirect.
    * ``unasked``: the number of probes that were not sent because of this answer.
    """

    name: str
    body: bytes
    request: RequestInfo
    status: int = 200
    end: End = "complete"
    file: str | None = None
    line_in_file: Callable[[int], int | None] = lambda line: line
    server: str | None = None
    probe: str | None = None
    location: str = ""
    unasked: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """All occurrences of one deviation in one answer, and the place of the first.

    * ``events``: the number of the event of each occurrence. Events with data count, from 1.
    * ``line``: the number of the line in the body, from 1.
    * ``text``, ``span``: that line, and the place in it.
    """

    code: str
    events: tuple[int, ...]
    line: int
    text: str
    span: Span | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Linted:
    """An answer with its report and its findings: the most harmful first, then by event."""

    answer: Answer
    findings: tuple[Finding, ...]
    report: Report


@dataclasses.dataclass(slots=True)
class _Occurrences:
    events: list[int]
    line: int
    text: str
    span: Span | None


def lint(answer: Answer, options: Options | None = None) -> Linted:
    """Find the deviations of an answer. No body makes it raise.

    Example::

        request = RequestInfo.parse("/v1/chat/completions", {"stream": True})
        lint(Answer(name="x", body=b"data:{}", request=request)).findings[0].code
    """
    options = dataclasses.replace(options or Options(), mode="report")
    normalizer = Normalizer(answer.request, options, status=answer.status)
    found: dict[str, _Occurrences] = {}
    counted: dict[str, int] = {}
    recent: list[tuple[int, str]] = []  # lines of this event and of the one before

    def note(lines: list[tuple[int, str]]) -> None:
        report = normalizer.report
        for code, repair in report.repairs.items():
            new = repair.count - counted.get(code, 0)
            if not new:
                continue
            counted[code] = repair.count
            event = max(report.events_in, 1)
            if code not in found:
                found[code] = _located(code, lines)
            found[code].events += [event] * new

    data = memoryview(answer.body)
    for number, match in enumerate(_LINE.finditer(answer.body), start=1):
        if match.start() == match.end():
            break
        line = bytes(data[match.start() : match.end()])
        normalizer.feed(line)
        text = line.decode("utf-8", "replace")
        if text.strip():
            recent = [*recent[-3:], (number, text)]
        note(recent)
    if answer.end != "closed":
        normalizer.close(None if answer.end == "complete" else f"({answer.end})")
        if normalizer.report.events_in <= 1 and answer.body.lstrip()[:1] in (b"{", b"["):
            # A JSON body is checked as a whole, so the whole body is shown.
            recent = [(1, one_line(answer.body.decode("utf-8", "replace")))]
        note(recent)
    findings = [
        Finding(code=code, events=tuple(one.events), line=one.line, text=one.text, span=one.span)
        for code, one in found.items()
    ]
    findings.sort(key=lambda one: (rank(one.code), one.events[0], one.code))
    return Linted(answer=answer, findings=tuple(findings), report=normalizer.report)


def _located(code: str, lines: list[tuple[int, str]]) -> _Occurrences:
    """Find the latest line with the place. Some deviations are known one event later."""
    if not lines:
        return _Occurrences([], 1, "", None)
    for number, text in reversed(lines):
        span = place(code, text)
        if span is not None:
            return _Occurrences([], number, text, span)
    number, text = lines[-1]
    return _Occurrences([], number, text, None)
