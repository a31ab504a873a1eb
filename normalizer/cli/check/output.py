"""The output of `check`: for people, as JSON, as annotations on GitHub."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from normalizer.catalogue import deviation, rule
from normalizer.cli.check.lint import Finding, Linted
from normalizer.cli.check.notes import notes
from normalizer.cli.check.outcome import outcome, unanswered
from normalizer.cli.check.severity import Severity, rank, severity
from normalizer.core.findings import Deviation

_PIPED = 100  # columns, if there is no terminal
_COLOURS: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "notice": "cyan"}


def console(*, stderr: bool = False) -> Console:
    """Return a console: with colours on a terminal, without in a pipe."""
    plain = Console(stderr=stderr, highlight=False, markup=False)
    if not plain.is_terminal:
        plain = Console(stderr=stderr, highlight=False, markup=False, width=_PIPED)
    return plain


# --- text -----------------------------------------------------------------------------------------


def show(out: Console, linted: Linted, explained: set[str]) -> None:
    """Print the findings and notes of one answer.

    Codes in ``explained`` are not explained again. Newly explained codes are added to it.
    """
    name = linted.answer.name
    for finding in linted.findings:
        for line in _finding(name, finding, out.width):
            out.print(line, soft_wrap=True)
        if finding.code not in explained:
            explained.add(finding.code)
            for line in _explanation(finding.code, out.width):
                out.print(line, soft_wrap=True)
        out.print()
    said = [Text.assemble((name, "bold"), ": ", ("note: ", "cyan"), note) for note in notes(linted)]
    for line in said:
        out.print(line, soft_wrap=True)
    if said:
        out.print()


def summary(out: Console, answers: list[Linted]) -> None:
    """Print all findings as a table, and a sentence."""
    found_codes = {finding.code for one in answers for finding in one.findings}
    codes = sorted(found_codes, key=lambda code: (rank(code), code))
    events = sum(one.report.events_in for one in answers)
    checked = f"{_count(len(answers), 'answer')}, {_count(events, 'event')}"
    came = [outcome(one) for one in answers]
    parts = [
        f"{came.count(each)} {words}"
        for each, words in (("refused", "refused"), ("failed", "failed"), ("nothing", "empty"))
        if each in came
    ]
    said = f"; {', '.join(parts)}" if parts else ""
    if not codes:
        if len(unanswered(answers)) < len(answers):
            out.print(Text(f"No deviations in {checked}{said}.", "yellow" if said else "green"))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column, justify in (
        ("harm", "left"),
        ("code", "left"),
        ("name", "left"),
        ("answers", "right"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    table.add_column("times", justify="right")
    table.add_column("repair")
    for code in codes:
        found = [each for one in answers for each in one.findings if each.code == code]
        times = sum(each.times for each in found)
        one = deviation(code)
        harm = Text(severity(code), _COLOURS[severity(code)])
        table.add_row(harm, code, one.name, str(len(found)), str(times), fate(one))
    out.print(table)
    touched = sum(1 for one in answers if one.findings)
    total = _count(len(codes), "deviation")
    out.print()
    out.print(Text(f"Found {total} in {touched} of {checked}{said}.", "bold"))
    out.print(f"Explain a code: stream-normalizer rules {codes[0]}", style="dim")


def _finding(name: str, finding: Finding, width: int) -> Iterator[Text]:
    one = deviation(finding.code)
    yield Text.assemble(
        (f"{name}:{finding.events[0]}", "bold"),
        ": ",
        (severity(finding.code), _COLOURS[severity(finding.code)]),
        ": ",
        (finding.code, "bold"),
        f" {one.name}{_others(finding)}",
    )
    yield from _marked(finding, width - 4)


def _explanation(code: str, width: int) -> Iterator[Text]:
    one = deviation(code)
    parts = (("fault", one.fault), ("breaks", rule(code).breaks), (fate(one), one.repair))
    for label, words in parts:
        first = f"  {label}: "
        lines = textwrap.wrap(words, max(width, 40), initial_indent=first, subsequent_indent="    ")
        for number, line in enumerate(lines):
            yield Text.assemble((first, "dim"), line[len(first) :]) if number == 0 else Text(line)


def _others(finding: Finding) -> str:
    times, first, last = finding.times, finding.events[0], finding.last
    if times == 1:
        return ""
    if first == last:
        return f" ({times} times)"
    events = sorted(set(finding.events))
    if finding.unbroken:
        where = f"{first}-{last}"
    else:
        many = len(events) > 6 or times > len(finding.events)
        where = f"{first}…{last}" if many else ", ".join(map(str, events))
    return f" ({times} times, in events {where})"


# Characters that cannot be shown are replaced, one for one, so that the marks stay in place.
_PICTURES = {number: chr(0x2400 + number) for number in range(32)}
_PICTURES |= {0x7F: "␡", 0xFEFF: "␀", 0x2028: "␊", 0x2029: "␊"}


def _marked(finding: Finding, width: int) -> Iterator[Text]:
    """Yield the line, cut to the width around its place, and the marks below it."""
    span = finding.span
    text = finding.text
    if span is None or span.end <= len(text.rstrip()):
        text = text.rstrip("\r\n")
    text = text.translate(_PICTURES)
    if span is None:
        yield Text(f"  | {_cut(text, width)}")
        return
    start = max(0, min(span.start - width // 3, len(text) - width + 1))
    before, marked = text[start : span.start], text[span.start : span.end]
    if start:
        before = f"…{before[1:]}" if before else ""
    room = max(width - cell_len(before) - cell_len(marked), 1)
    after = _cut(text[span.end :], room)
    yield Text.assemble("  | ", before, (marked, "bold yellow"), after)
    marks = "^" * max(cell_len(marked), 1)
    yield Text.assemble("  | ", " " * cell_len(before), (marks, "bold yellow"))


def _cut(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    while cell_len(text) >= width:
        text = text[: max(len(text) - 1 - (cell_len(text) - width) // 2, 0)]
    return f"{text}…"


def fate(one: Deviation) -> str:
    """Return what happens to a deviation, in a few words."""
    if one.reported:
        return "only reported"
    if one.option:
        flags = " ".join(
            f"--{key.replace('_', '-')}" + ("" if value is True else f"={_flag(value)}")
            for key, value in one.option.items()
        )
        return f"repaired with {flags}"
    return "repaired"


def _flag(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple | list) else str(value)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


# --- for programs ---------------------------------------------------------------------------------


def as_json(answers: Iterable[Linted]) -> str:
    """Return one JSON object with the findings and the answers, their notes and reports."""
    findings, streams = [], []
    for linted in answers:
        name = linted.answer.name
        streams.append(
            {
                "target": name,
                "status": linted.answer.status,
                "outcome": outcome(linted),
                "notes": list(notes(linted)),
                "report": dataclasses.asdict(linted.report),
            }
        )
        for each in linted.findings:
            one = deviation(each.code)
            findings.append(
                {
                    "target": name,
                    "code": each.code,
                    "name": one.name,
                    "severity": severity(each.code),
                    "event": each.events[0],
                    "events": each.events,
                    "times": each.times,
                    "line": each.line,
                    "text": each.text.rstrip("\r\n"),
                    "span": each.span,
                    "fault": one.fault,
                    "repair": one.repair,
                    "breaks": rule(each.code).breaks,
                    "repaired": not one.reported,
                }
            )
    # ASCII, which every terminal and every pipe has
    return json.dumps({"findings": findings, "answers": streams}, indent=2)


def as_github(linted: Linted) -> Iterator[str]:
    """Yield workflow commands. GitHub shows them beside the lines of a change."""
    for each in linted.findings:
        one = deviation(each.code)
        title = f"{each.code} {one.name}"
        where = f"{linted.answer.name}:{each.events[0]}"
        message = f"{where}: {title}{_others(each)}: {one.fault} {one.repair}"
        place = _in_file(linted, each.line_in_file)
        yield f"::{severity(each.code)} {place}title={_property(title)}::{_escape(message)}"
    came = outcome(linted)
    if came != "answered":
        for note in notes(linted):
            said = _escape(f"{linted.answer.name}: {note}")
            yield f"::error {_in_file(linted, None)}title={came}::{said}"


def _in_file(linted: Linted, line: int | None) -> str:
    """Return the properties for the file and the line, if they are known."""
    file = linted.answer.file
    if file is None:
        return ""
    return f"file={_property(file)}," + ("" if line is None else f"line={line},")


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
