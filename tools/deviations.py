"""Generate docs/deviations.md and the table of docs/faults.md. Run by tools/deviations.

This file decides only what the pages look like. The stages declare the deviations,
normalizer/catalogue/rules/ has the notes about them, and the outputs of the examples are made by
running them.
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
from normalizer.wires.responses import envelope as responses_envelope

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
    "R": "Responses API",
    "M": "Messages API",
}

INTRODUCTION = """\
# Deviations

A deviation is one way in which an upstream departs from [the canonical form](canonical.md). Each
has a fault (what the upstream sends wrong), a repair (what the client gets instead) and a code.
`select=` and `ignore=` take codes and prefixes of codes (`T4`). `tools/deviations` generates this
page, and each example in it is also a test.

The notes on who sends a fault, and on who breaks, come from public reports and recorded streams.
*Measured* means: in November 2026, with openai-python 2.54 and 3.51, langchain-openai 1.7,
pydantic-ai 2.68, LiteLLM 1.109, any-llm 1.40, Haystack 3.4 and LlamaIndex 0.8. In the examples `…`
stands for an id that we made up, and ⟨angle brackets⟩ name characters that cannot be shown."""

# The rows of the table of docs/faults.md: the codes, and the faults in a few words.
ROWS = (
    (
        "F101-F104 F113",
        "A byte order mark, CR LF, no space after `data:`, single newlines, no newline at the end",
    ),
    (
        "F105-F108",
        "`event:`, `id:` and `retry:` lines; keep-alives sent as data; events without data",
    ),
    (
        "F110-F112 F114-F116 F122",
        "JSON without `data:`, on several lines, after `data: data:`; junk; variants of `[DONE]`",
    ),
    ("F109", "llama.cpp's `error:` lines"),
    (
        "F118-F121 C310",
        "Invalid UTF-8, NaN, halves of surrogate pairs, unescaped control characters",
    ),
    ("F117", 'Opt-in: comments (`comments="drop"` removes them)'),
    (
        "E201-E208",
        "An `id`, `object`, `created` or `model` that is missing, wrong, or changes in a stream",
    ),
    (
        "E209 E210 E216",
        "`choices` that is missing or empty (Azure)",
    ),
    (
        "E211-E214",
        "Choice indexes that are missing or count tokens; calls in a second choice (Copilot)",
    ),
    (
        "E215 E217 E218",
        "Chunks of the other endpoint; text outside of `choices`; chunks in an envelope",
    ),
    ("C301 C302", "A role that is missing, or is in every delta"),
    ("C303-C305", 'Empty members (null, `[]`, `""`); chunks without any news; no `delta`'),
    ("C306 C307", "Content that is a list of blocks (Mistral, Databricks) or a number"),
    ("C314", "The result of a tool, sent as a delta of the answer"),
    ("C308 C309 C315", "A `message` beside or instead of the delta; the answer again at the end"),
    (
        "C311-C313 C316",
        "Reasoning under another name, two names, or as text; list items without an `index`",
    ),
    (
        "C320-C323",
        "Opt-in: marked reasoning, special tokens at the end, chunks that repeat all the text",
    ),
    ("T401 T402", "Calls without an index (Gemini), or all with the same index (Ollama)"),
    (
        "T403-T407 T417",
        "Ids that are missing, numbers, repeated, changing, shared, or in the wrong place",
    ),
    ("T408-T410 T424 T426", "Names that are repeated, in pieces, late, or with markers"),
    (
        "T411 T412 T416 T425",
        "No `type`; null or misplaced members; a `tool_calls` that is not a list",
    ),
    (
        "T413-T415 T422 T427 T428",
        "Arguments that are null, an object, in the first fragment, never sent, or sent twice",
    ),
    ("T418-T420", "`function_call` in answer to `tools`, the reverse, and both at once"),
    ("T421 T429", "Calls that never get a name, or that begin again under their id"),
    ("T423", "Reported only: arguments cut by `length`, hidden by another finish"),
    ("T431-T446", "Opt-in: calls in the text, in 15 dialects (Hermes, Kimi, Qwen3-Coder, GLM…)"),
    (
        "S501-S503",
        'A finish that is `""`, has no key, or is another word (`eos_token`, `end_turn`, `STOP`)',
    ),
    ("S505-S507", "`stop` after tool calls; `tool_calls` without a call"),
    ("S504 S508-S513", "A finish that comes with text, twice, too early, elsewhere, or never"),
    (
        "U601-U605 U609 U610",
        "Usage on every chunk, on the finish, in a choice, twice, or not asked for",
    ),
    ("U606-U608 U611", "Usage that is all zeros, has one of two counts, null members, or floats"),
    ("X701 X702 X711", "Errors in a dozen forms; a finish that means failure (`error`, `abort`)"),
    ("X703-X706", "No `[DONE]`, two of them, data after it"),
    ("X707-X710 X712", "Streams that are cut, are empty, turn into HTML, or have one endless line"),
    ("X713", 'Opt-in: answers without a finish, kept (`unfinished="keep"`)'),
    ("X714", "Answers in another protocol (Anthropic, Gemini, Ollama), which are named"),
    (
        "R101-R110",
        "Responses: events without a line, a type or a number; keep-alives; other names",
    ),
    (
        "R201-R213",
        "Responses: heads, parts, deltas and ends that are missing, doubled, or come too early",
    ),
    (
        "R301-R305",
        "Responses: ids that change, are shared or missing; indexes that drift or collide",
    ),
    ("R401-R407", "Responses: items, parts and responses without the members that readers need"),
    ("R501-R506", "Responses: a terminal event without its output, or none; texts that differ"),
    ("R601-R605", "Responses: usage with other names, without a total or details, by half"),
    ("R701-R707", "Responses: errors in other forms, failures without words, cut or empty streams"),
    (
        "B801-B804 B807",
        "JSON instead of a stream, a stream instead of JSON, NDJSON, incomplete completions",
    ),
    ("B805 B806", "Errors with status 200; error bodies in other forms"),
    ("B808 B809", "Whole answers inside an envelope; choices without a `message` or its `content`"),
    ("M101-M106", "Messages: no `event:` line, a wrong one, no `type`; odd pings; `[DONE]`"),
    ("M201-M207", "Messages: `message_start` missing, twice, incomplete, with content, of a retry"),
    ("M301-M307", "Messages: blocks with wrong indexes, without start or stop; misplaced deltas"),
    ("M308-M312", "Messages: incomplete starts; text in starts; deltas without type or text"),
    ("M313 M314", "Messages, reported only: thinking without a signature; empty text blocks"),
    ("M401-M404", "Messages: calls without id or name, with one id for two, or sent twice"),
    ("M405-M408", "Messages: input in the start; stops before the input; input for no call"),
    ("M409 M410", "Messages, reported only: input that is no JSON; ids that the API refuses"),
    ("M501-M507", "Messages: `stop` for `end_turn`, `end_turn` beside a call, two reasons, none"),
    ("M601-M606", "Messages: usage that is missing, under OpenAI's names, or misplaced"),
    ("M701-M706", "Messages: errors in other forms; no `message_stop`; cuts; other protocols"),
    ("M801 M802", "Messages: a message for a stream; malformed blocks in a message"),
)


# Verbs that have a meaning of their own in this project, and none for a reader.
PRIVATE = re.compile(
    r"\b(settle[sd]?|say|says|said|hears?|heard|speaks?|spoken?|tells?|told|rides?|what leaves)\b",
    re.IGNORECASE,
)


def unplain(sentence: str) -> str | None:
    """Return why the fault or the repair of a deviation is no plain sentence; None if it is."""
    if not re.fullmatch(r"[A-Z`].{5,118}\.", sentence):
        return "one sentence of 7 to 120 characters with a capital letter and a full stop"
    if re.search(r"[.!?;] ", sentence):
        return "two sentences"
    private = PRIVATE.search(sentence)
    return f"{private[0]!r} has a private meaning" if private else None


class Ran(NamedTuple):
    """The result of running an example."""

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
    """Return a body as text. ⟨Angle brackets⟩ name the characters that cannot be shown."""
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
        lines += ["", f"**[{title}](#{_slug(title)})**", "", *index(letter)]
    for letter, title in GROUPS.items():
        lines += ["", f"## {title}"]
        for rule in _of(letter):
            lines += chapter(rule)
    return "\n".join(lines)


def _of(letter: str) -> list[Rule]:
    return [rule for rule in rules() if rule.deviation.code.startswith(letter)]


def index(letter: str) -> Iterator[str]:
    """Yield the lines of the table of one group."""
    yield from ("| Code | Name | Fault | Repair |", "|---|---|---|---|")
    for rule in _of(letter):
        one = rule.deviation
        kind = " *Opt-in.*" if one.option else " *Reported only.*" if one.reported else ""
        fault, repair = _cell(one.fault), _cell(one.repair)
        yield f"| {_link(one.code)} | {one.name} | {fault} | {repair}{kind} |"


def chapter(rule: Rule) -> Iterator[str]:
    """Yield the lines about one deviation: a blank one, the heading, and so on."""
    one = rule.deviation
    yield from ("", f"### {one.code} {one.name}", "", one.fault, "", f"**Repair.** {one.repair}")
    if one.option:
        given = ", ".join(f"{key}={value!r}" for key, value in one.option.items())
        yield from ("", f"Off by default. `Options({given})` turns it on.")
    if one.reported:
        yield from ("", "It is only reported: nothing behind the upstream can repair it.")
    if rule.always:
        yield from ("", f"`ignore` cannot turn it off, because {rule.always}.")
    yield from ("", f"**Who sends it.** {rule.seen}", "", f"**Who breaks.** {rule.breaks}")
    if rule.traps:
        yield from ("", f"**Traps.** {rule.traps}")
    yield from ("", f"**Example.** {_asked(rule)}")
    for number, piece in enumerate(rule.example):
        if number:
            yield from ("", "After a silence longer than `finish_timeout` it continues:")
        yield from _block(visible(piece))
    with (
        mock.patch.object(envelope, "now", return_value=1_700_000_000),
        mock.patch.object(responses_envelope, "now", return_value=1_700_000_000),
    ):
        ran = run(rule)
    status = f" with status {ran.status}" if ran.status != rule.status else ""
    yield from ("", f"The client gets{status}:")
    yield from _block(visible(_without_made_up(ran.out)))
    if rule.also:
        yield from ("", f"The example also has {', '.join(map(_link, rule.also))}.")
    yield from ("", f"**Sources.** {' · '.join(f'<{url}>' for url in rule.sources)}")


def _asked(rule: Rule) -> str:
    """The sentence that introduces an example: the request, if it matters, and the status."""
    parts = [] if rule.endpoint.endswith("/chat/completions") else [f"`{rule.endpoint}`"]
    if rule.request != {"model": "m", "stream": True}:
        parts.append(f"`{json.dumps(rule.request)}`")
    options = {key: value for key, value in rule.options.items() if not rule.deviation.option}
    parts += [f"`Options({key}={value!r})`" for key, value in options.items()]
    asked = (
        f"The request is {' and '.join(parts)}. The upstream answers"
        if parts
        else "The upstream answers"
    )
    return f"{asked} with status {rule.status}:" if rule.status != 200 else f"{asked}:"


def _block(text: str) -> Iterator[str]:
    yield from ("", "```text", *text.split("\n"), "```")


def _without_made_up(out: bytes) -> bytes:
    made_up = rb'"(chatcmpl-|cmpl-|call_|resp_|msg_|rs_|fc_|toolu_)[0-9a-f]{24,32}"'
    return re.sub(made_up, '"\\1…"'.encode(), out)


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
    """The table of docs/faults.md. ValueError if it leaves a code out, or has one twice."""
    told = [code for codes, _ in ROWS for code in _codes(codes)]
    if sorted(told) != list(CODES):
        odd = {code for code in (*told, *CODES) if told.count(code) != 1 or code not in CODES}
        raise ValueError(f"not once in the table's rows, tools/deviations.py: {sorted(odd)}")
    lines = ["| | Fault | Codes |", "|---|---|---|"]
    last = ""
    for codes, what in ROWS:
        title = GROUPS[codes[0]]
        group = f"[{title}](deviations.md#{_slug(title)})" if title != last else ""
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
    """A page with the table between its marks. ValueError if it has none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/faults.md lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Write the pages, or with --check return 1 if that would change them."""
    parser = argparse.ArgumentParser(prog="tools/deviations")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if stale")
    check = parser.parse_args(arguments).check
    faults, docs = ROOT / "docs" / "faults.md", ROOT / "docs" / "deviations.md"
    old = docs.read_text(encoding="utf-8") if docs.exists() else ""
    pages = {docs: (old, f"{page()}\n")}
    text = faults.read_text(encoding="utf-8")
    pages[faults] = (text, updated(text))
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
