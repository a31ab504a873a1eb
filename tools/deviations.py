"""The pages that are made of the deviations: docs/deviations.md, and the README's table.

Run by tools/deviations. What is written here is only how the pages look: what a deviation is stands
where it is repaired, what is known of it in normalizer/catalogue/rules/, and each example leaves as
the package makes it leave today.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from normalizer import Normalizer, Options, RequestInfo
from normalizer.catalogue import CODES, Rule, rules
from normalizer.core.report import Report
from normalizer.wires.chat import envelope

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- deviations -->", "<!-- /deviations -->"

GROUPS = {
    "F": "Framing",
    "E": "Envelope and choices",
    "C": "Content and reasoning",
    "T": "Tool calls",
    "S": "Finish",
    "U": "Usage",
    "X": "Errors and ends",
    "B": "Kind of body",
}

INTRODUCTION = """\
# Deviations

How upstreams leave [the canonical form](canonical.md), and what is done about it. Each has a code,
to be given to `select=` and `ignore=`, whole or as a prefix (`T4`). This page is made by
`tools/deviations`, and every example in it is a test.

Who sends what, and who breaks, is from public reports and recorded streams. *Measured* are
openai-python 2.54 and 3.51, langchain-openai 1.7, pydantic-ai 2.68, LiteLLM 1.109, any-llm 1.40,
Haystack 3.4 and LlamaIndex 0.8, in November 2026. In the examples `…` stands for an id that was
made up, ⟨angle brackets⟩ for what has no picture."""

# What the README says of them, several at once: the codes, and what comes.
ROWS = (
    (
        "F101-F104 F113",
        "A byte order mark, CR LF, `data:` without its space, single newlines, none at the end",
    ),
    ("F105-F108", "`event:`, `id:` and `retry:` lines; keep-alives and nothing, sent as data"),
    (
        "F110-F112 F114-F116",
        "JSON on bare lines, on several, behind `data: data:`; junk; `[DONE]` in other words",
    ),
    ("F109", "llama.cpp's `error:` lines"),
    ("F118-F121 C310", "Invalid UTF-8, NaN, half surrogate pairs, raw control characters"),
    ("F117", 'Comments, where `comments="drop"` asks for it'),
    (
        "E201-E208",
        "`id`, `object`, `created`, `model` that are missing, wrong, or change within a stream",
    ),
    (
        "E209 E210 E216",
        "`choices` that is missing or empty (Azure): what such a chunk holds rides on another one",
    ),
    (
        "E211-E214",
        "Choice indexes that are missing or count tokens; calls in a second choice (Copilot)",
    ),
    ("E215 E217", "Chunks of the other endpoint; text outside of `choices`"),
    ("C301 C302", "The role, missing or in every delta"),
    ("C303-C305", 'null, `[]` and `""`; chunks that say nothing; no `delta`'),
    ("C306 C307", "Content as a list of blocks (Mistral, Databricks) or a number"),
    ("C308 C309", "A `message` beside the delta, or the whole answer once more at the end"),
    ("C311-C313", "Reasoning by its five names, or by two at once; list items without an `index`"),
    (
        "C320-C323",
        (
            "Opt-in: `<think>` tags and other markup of reasoning, special tokens at the end, text "
            "that is sent whole each time"
        ),
    ),
    ("T401 T402", "Calls with no index (Gemini), or all with the same (Ollama)"),
    (
        "T403-T407 T417",
        "Ids that are missing, numbers, repeated, changing, shared, in the wrong place",
    ),
    ("T408-T410 T424", "Names that are repeated, in pieces, or late"),
    ("T411 T412 T416", "No `type`; null members; `tool_calls` that is no list"),
    ("T413-T415 T422", "Arguments that are null, an object, together with the head, or never sent"),
    ("T418-T420", "`function_call` in answer to `tools`, the reverse, and both at once"),
    ("T421", "Calls that never get a name"),
    ("T423", "Arguments cut by `length`, which another finish hides: reported"),
    (
        "T431-T446",
        "Opt-in: calls left in the text, in 15 dialects (Hermes, Kimi, Qwen3-Coder, GLM, Mistral…)",
    ),
    (
        "S501-S503",
        'A finish of `""`, without a key, or in other words (`eos_token`, `end_turn`, `STOP`)',
    ),
    ("S505-S507", "`stop` after tool calls, `tool_calls` without any"),
    ("S504 S508-S511", "A finish together with text, twice, too early, or never"),
    ("U601-U605 U609 U610", "Usage on every chunk, unasked, on the finish, in a choice, twice"),
    ("U606-U608", "Usage that is all zeros, one half, or null in part"),
    ("X701 X702 X711", "Errors in a dozen shapes; `error`, `abort` and their like as a finish"),
    ("X703-X706", "No `[DONE]`, two of them, data behind it"),
    ("X707-X710", "Streams that were cut, are empty, turn into HTML, or hold one endless line"),
    ("B801-B804 B807", "JSON for a stream, a stream for JSON, NDJSON, an incomplete completion"),
    ("B805 B806", "Errors with status 200; bodies of an error status in other shapes"),
)


class Ran(NamedTuple):
    """What became of an example."""

    out: bytes
    status: int
    content_type: str | None
    report: Report


def run(rule: Rule, *, bytewise: bool = False, **options: Any) -> Ran:
    """Send a rule's example through a normaliser; ``options`` are added to its own."""
    if len(rule.example) > 1:
        # between the pieces of the example the upstream is silent for longer than this
        options = {"finish_timeout": 1e-9, **options}
    normalizer = Normalizer(
        RequestInfo.parse(rule.endpoint, json.dumps(rule.request).encode()),
        Options(**{**rule.options, **options}),
        status=rule.status,
    )
    out = b""
    for number, piece in enumerate(rule.example):
        out += normalizer.flush() if number else b""
        pieces = [piece[i : i + 1] for i in range(len(piece))] if bytewise else [piece]
        out += b"".join(map(normalizer.feed, pieces))
    out += normalizer.close()
    return Ran(out, normalizer.status, normalizer.content_type, normalizer.report)


def visible(body: bytes) -> str:
    """A body as text; what has no picture in it is named in ⟨angle brackets⟩."""
    text = body.decode("utf-8", "surrogateescape")
    named = {"\ufeff": "BOM", "\r": "CR", "\t": "TAB"}
    text = re.sub(
        "[\ufeff\r\t\udc80-\udcff]", lambda m: f"⟨{named.get(m[0]) or _byte(m[0])}⟩", text
    )
    return text.rstrip("\n") if text.endswith("\n") else f"{text}⟨end⟩"


def _byte(escaped: str) -> str:
    return f"{ord(escaped) - 0xDC00:02X}"


def page() -> str:
    """docs/deviations.md."""
    lines = [INTRODUCTION]
    for letter, title in GROUPS.items():
        lines += ["", f"**[{title}](#{_slug(title)})**", "", *_index(letter)]
    for letter, title in GROUPS.items():
        lines += ["", f"## {title}"]
        for rule in _of(letter):
            lines += _chapter(rule)
    return "\n".join(lines)


def _of(letter: str) -> list[Rule]:
    return [rule for rule in rules() if rule.deviation.code.startswith(letter)]


def _index(letter: str) -> Iterator[str]:
    yield from ("| Code | Name | What |", "|---|---|---|")
    for rule in _of(letter):
        one = rule.deviation
        kind = " *Opt-in.*" if one.option else " *Reported only.*" if one.reported else ""
        yield f"| {_link(one.code)} | {one.name} | {_cell(one.what)}{kind} |"


def _chapter(rule: Rule) -> Iterator[str]:
    one = rule.deviation
    yield from ("", f"### {one.code} {one.name}", "", one.what)
    if one.option:
        given = ", ".join(f"{key}={value!r}" for key, value in one.option.items())
        yield from ("", f"Off unless asked for: `Options({given})`.")
    if one.reported:
        yield from ("", "It cannot be repaired here, only be reported.")
    if rule.always:
        yield from ("", f"Structural, so that `ignore` cannot switch it off: {rule.always}.")
    yield from ("", f"**Who sends it.** {rule.seen}", "", f"**Who breaks.** {rule.breaks}")
    if rule.traps:
        yield from ("", f"**Traps.** {rule.traps}")
    yield from ("", f"**Example.** {_asked(rule)}")
    for number, piece in enumerate(rule.example):
        if number:
            yield from ("", "and, after a silence longer than `finish_timeout`:")
        yield from _block(visible(piece))
    with mock.patch.object(envelope, "now", return_value=1_700_000_000):
        ran = run(rule)
    status = f" with status {ran.status}" if ran.status != rule.status else ""
    yield from ("", f"What leaves{status}:")
    yield from _block(visible(_without_made_up(ran.out)))
    if rule.also:
        yield from ("", f"Repaired in it, too: {', '.join(map(_link, rule.also))}.")
    yield from ("", f"**Sources.** {' · '.join(f'<{url}>' for url in rule.sources)}")


def _asked(rule: Rule) -> str:
    """What was asked, as far as it matters, and that this was the answer."""
    parts = [] if rule.endpoint.endswith("/chat/completions") else [f"`{rule.endpoint}`"]
    if rule.request != {"model": "m", "stream": True}:
        parts.append(f"`{json.dumps(rule.request)}`")
    options = {key: value for key, value in rule.options.items() if not rule.deviation.option}
    parts += [f"`Options({key}={value!r})`" for key, value in options.items()]
    asked = (
        f"Asked with {' and '.join(parts)}, the upstream answers"
        if parts
        else "The upstream answers"
    )
    return f"{asked} with status {rule.status}:" if rule.status != 200 else f"{asked}:"


def _block(text: str) -> Iterator[str]:
    yield from ("", "```text", *text.split("\n"), "```")


def _without_made_up(out: bytes) -> bytes:
    return re.sub(rb'"(chatcmpl-|cmpl-|call_)[0-9a-f]{24,32}"', '"\\1…"'.encode(), out)


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")


def _anchor(rule: Rule) -> str:
    return f"{rule.deviation.code.lower()}-{rule.deviation.name}"


def _link(code: str) -> str:
    rule = next(each for each in rules() if each.deviation.code == code)
    return f"[{code}](#{_anchor(rule)})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def table() -> str:
    """The README's table. ValueError if it leaves a code out, or has one twice."""
    told = [code for codes, _ in ROWS for code in _codes(codes)]
    if sorted(told) != list(CODES):
        odd = {code for code in (*told, *CODES) if told.count(code) != 1 or code not in CODES}
        raise ValueError(f"not once in the README's rows, tools/deviations.py: {sorted(odd)}")
    lines = ["| | What comes | Codes |", "|---|---|---|"]
    last = ""
    for codes, what in ROWS:
        title = GROUPS[codes[0]]
        group = f"[{title}](docs/deviations.md#{_slug(title)})" if title != last else ""
        lines.append(f"| {group} | {_cell(what)} | {_ranges(codes)} |")
        last = title
    return "\n".join(lines)


def _codes(text: str) -> Iterator[str]:
    for part in text.split():
        first, _, last = part.partition("-")
        yield from (code for code in CODES if first <= code <= (last or first))


def _ranges(text: str) -> str:
    return ", ".join(part.replace("-", " to ") for part in text.split())


def updated(text: str) -> str:
    """A README with the table between its marks. ValueError if it has none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Write the pages, or with --check return 1 if that would change them."""
    parser = argparse.ArgumentParser(prog="tools/deviations")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if stale")
    check = parser.parse_args(arguments).check
    readme, docs = ROOT / "README.md", ROOT / "docs" / "deviations.md"
    old = docs.read_text(encoding="utf-8") if docs.exists() else ""
    pages = {docs: (old, f"{page()}\n")}
    text = readme.read_text(encoding="utf-8")
    pages[readme] = (text, updated(text))
    stale = [path for path, (old, new) in pages.items() if old != new]
    for path in stale:
        name = path.relative_to(ROOT)
        if check:
            print(f"{name} is stale: run tools/deviations", file=sys.stderr)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(pages[path][1], encoding="utf-8", newline="\n")
            print(f"{name} written")
    return 1 if stale and check else 0
