"""The findings as a report to send to a vendor: Markdown, or one page of HTML.

It says what was asked and what came, with the bytes, who breaks, and where that is known from. It
holds no key. It does hold what the model answered: look at it before you send it.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from normalizer.catalogue import rule
from normalizer.cli.check.lint import Finding, Linted
from normalizer.cli.check.notes import notes
from normalizer.cli.check.outcome import outcome
from normalizer.cli.check.severity import SEVERITIES, Severity, severity

_LONGEST = 1000  # characters of a line that is shown
_HARM: dict[Severity, str] = {
    "error": "Errors: clients crash, call a wrong tool or none, or lose text",
    "warning": "Warnings: some clients are affected",
    "notice": "Notices: no client is known to break",
}
_RUNS = re.compile("`+")


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    """One code, and where it was found."""

    code: str
    first: Finding
    places: tuple[str, ...]
    times: int


def as_markdown(answers: Sequence[Linted]) -> str:
    """Return the report as Markdown."""
    lines = [f"# {_title(answers)}", "", f"{_with_what(answers)}.", ""]
    lines += ["| request | status | result | faults |", "|---|---|---|---|"]
    for one in answers:
        cells = (one.answer.name, str(one.answer.status), *_result(one))
        lines.append("| " + " | ".join(_in_cell(cell) for cell in cells) + " |")
    for harm, found in _by_harm(answers):
        lines += ["", f"## {_HARM[harm]}"]
        for each in found:
            lines += ["", *_section(each)]
    return "\n".join(lines)


def as_html(answers: Sequence[Linted]) -> str:
    """Return the report as one page of HTML that loads nothing."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'"
    body = [f"<h1>{_escaped(_title(answers))}</h1>", f"<p>{_escaped(_with_what(answers))}.</p>"]
    body.append("<table><tr><th>request<th>status<th>result<th>faults</tr>")
    for one in answers:
        result, codes = _result(one)
        cells = (one.answer.name, str(one.answer.status), result, codes)
        body.append("<tr>" + "".join(f"<td>{_escaped(cell)}" for cell in cells) + "</tr>")
    body.append("</table>")
    for harm, found in _by_harm(answers):
        body.append(f'<h2 class="{harm}">{_escaped(_HARM[harm])}</h2>')
        for each in found:
            body += _section_of_html(each)
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_escaped(_title(answers))}</title><style>{_STYLE}</style></head><body>",
            *body,
            "</body></html>",
        ]
    )


# ------------------------------------------------------------------ what both say


def _title(answers: Sequence[Linted]) -> str:
    servers = dict.fromkeys(one.answer.server for one in answers if one.answer.server)
    return f"Streams of {', '.join(servers)}" if servers else "Recorded streams"


def _with_what(answers: Sequence[Linted]) -> str:
    models = dict.fromkeys(one.report.model for one in answers if one.report.model)
    said = f"Checked {datetime.now(UTC):%Y-%m-%d} with stream-normalizer "
    said += version("stream-normalizer")
    return said + (f"; model {', '.join(models)}" if models else "")


def _result(one: Linted) -> tuple[str, str]:
    """What came of a request, and the codes that were found."""
    said = "; ".join([outcome(one), *notes(one)])
    return said, ", ".join(finding.code for finding in one.findings) or "none"


def _by_harm(answers: Sequence[Linted]) -> Iterator[tuple[Severity, list[_Found]]]:
    found: dict[str, list[tuple[str, Finding]]] = {}
    for one in answers:
        for finding in one.findings:
            found.setdefault(finding.code, []).append((one.answer.name, finding))
    for harm in SEVERITIES:
        codes = sorted(code for code in found if severity(code) == harm)
        if codes:
            yield harm, [_found(code, found[code]) for code in codes]


def _found(code: str, where: list[tuple[str, Finding]]) -> _Found:
    places = tuple(f"{name}:{finding.events[0]}" for name, finding in where)
    times = sum(len(finding.events) for _, finding in where)
    return _Found(code, where[0][1], places, times)


def _parts(found: _Found) -> Iterator[tuple[str, str]]:
    """What there is to say of a code, each with its label."""
    known = rule(found.code)
    places = ", ".join(found.places[:5]) + (" …" if len(found.places) > 5 else "")
    yield "Where", f"{places} (event), {found.times} time{'' if found.times == 1 else 's'}"
    yield "What is wrong", known.deviation.fault
    yield "Who breaks", known.breaks
    yield "What stream-normalizer does", known.deviation.repair


def _bytes(found: _Found) -> tuple[str, str, str]:
    """The line of the first one: before its place, in it, and behind it."""
    line, span = found.first.text.rstrip("\r\n"), found.first.span
    begin, end = (span.start, span.end) if span is not None else (0, 0)
    start = max(0, begin - _LONGEST // 2) if len(line) > _LONGEST else 0
    stop = start + _LONGEST
    before = ("…" if start else "") + line[start:begin]
    return before, line[begin:end], line[end:stop] + ("…" if stop < len(line) else "")


# ------------------------------------------------------------------ Markdown


def _section(found: _Found) -> Iterator[str]:
    known = rule(found.code)
    yield f"### {found.code} {known.deviation.name}"
    yield ""
    for label, words in _parts(found):
        yield f"- **{label}**: {words}"
    for source in known.sources:
        yield f"- <{source}>"
    shown = "".join(_bytes(found))
    fence = "`" * max(3, 1 + max((len(run) for run in _RUNS.findall(shown)), default=0))
    yield from ("", fence, shown, fence)


def _in_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# ------------------------------------------------------------------ HTML

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; }
pre { white-space: pre-wrap; background: light-dark(#f5f6f8, #22262d); padding: .6rem; }
mark { background: light-dark(#ffd98a, #6b4a00); color: inherit; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 0; }
h2.error { color: light-dark(#b3261e, #ff8a80); }
h2.warning { color: light-dark(#9a5b00, #f0b35a); }
"""


def _section_of_html(found: _Found) -> Iterator[str]:
    known = rule(found.code)
    yield f'<h3 id="{found.code}">{found.code} {_escaped(known.deviation.name)}</h3><dl>'
    for label, words in _parts(found):
        yield f"<dt>{label}<dd>{_escaped(words)}"
    for source in known.sources:
        link = html.escape(source, quote=True)
        yield f'<dd><a href="{link}" rel="noreferrer">{_escaped(source)}</a>'
    before, there, behind = map(_escaped, _bytes(found))
    yield f"</dl><pre>{before}<mark>{there}</mark>{behind}</pre>"


def _escaped(text: str) -> str:
    return html.escape(text)
