"""`stream-normalizer rules`: explain what is found and repaired."""

from __future__ import annotations

import difflib
import json
import textwrap
from collections.abc import Iterator

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from normalizer import Normalizer, Options, RequestInfo, stages
from normalizer.catalogue import Rule
from normalizer.catalogue import rules as own_rules
from normalizer.cli.check.output import console, fate
from normalizer.cli.check.severity import severity

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
    "Z": "Stages of other packages",
}


def all_rules() -> tuple[Rule, ...]:
    """Return our rules, and those of installed stages."""
    return (*own_rules(), *stages.rules())


def _wanted(names: tuple[str, ...]) -> list[Rule]:
    known = all_rules()
    found: list[Rule] = []
    for name in names:
        matching = [
            rule
            for rule in known
            if rule.deviation.code.startswith(name.upper()) or rule.deviation.name == name.lower()
        ]
        if not matching:
            spoken = [rule.deviation.name for rule in known] + [r.deviation.code for r in known]
            close = difflib.get_close_matches(name, spoken, n=3)
            there = (
                f"did you mean {', '.join(close)}?"
                if close
                else "`stream-normalizer rules` lists all."
            )
            raise click.UsageError(f"There is no rule {name}: {there}")
        found += [rule for rule in matching if rule not in found]
    return found


def _table(out: Console, chosen: list[Rule]) -> None:
    for letter, title in GROUPS.items():
        group = [rule for rule in chosen if rule.deviation.code.startswith(letter)]
        if not group:
            continue
        out.print(Text(title, "bold"))
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, style="bold red")
        table.add_column(no_wrap=True)
        table.add_column()
        for rule in group:
            one = rule.deviation
            note = "" if fate(one) == "repaired" else f" ({fate(one)})"
            table.add_row(one.code, one.name, Text(f"{one.fault} {one.repair}{note}"))
        out.print(table)
        out.print()


def _repaired(rule: Rule) -> bytes:
    """Return what the client gets for a rule's example."""
    options = Options(**{"finish_timeout": 1e-9, **rule.options})
    request = RequestInfo.parse(rule.endpoint, json.dumps(rule.request).encode())
    normalizer = Normalizer(request, options, status=rule.status)
    pieces = [normalizer.feed(piece) + normalizer.flush() for piece in rule.example[:-1]]
    return b"".join((*pieces, normalizer.feed(rule.example[-1]), normalizer.close()))


def _explain(out: Console, rule: Rule) -> Iterator[Text]:
    one = rule.deviation
    yield Text.assemble((one.code, "bold red"), (f" {one.name}", "bold"), f"  {fate(one)}")
    yield Text()
    parts = [
        ("", one.fault),
        ("Repair", one.repair),
        ("Who sends it", rule.seen),
        ("Who breaks", rule.breaks),
    ]
    if rule.traps:
        parts.append(("What a naive repair ruins", rule.traps))
    for title, words in parts:
        if title:
            yield Text(title, "bold")
        for line in textwrap.wrap(words, out.width - 2):
            yield Text(f"  {line}")
        yield Text()
    for title, body in (("Example", b"".join(rule.example)), ("Output", _repaired(rule))):
        yield Text(title, "bold")
        for line in body.decode("utf-8", "backslashreplace").rstrip("\n").split("\n"):
            yield Text(f"  {line.rstrip()}", "cyan")
        yield Text()
    yield Text("Sources", "bold")
    yield from (Text(f"  {url}") for url in rule.sources)


@click.command()
@click.argument("codes", nargs=-1, metavar="[CODE]…")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Output for people, or for programs.",
)
def rules(codes: tuple[str, ...], *, form: str) -> None:
    """Explain the faults and their repairs: who sends it, who breaks, an example, the sources.

    A CODE is a code, a prefix of codes, or a name. Without a CODE, all are listed:

    \b
        stream-normalizer rules
        stream-normalizer rules T4
        stream-normalizer rules T404
        stream-normalizer rules stop-after-calls
    """
    chosen = _wanted(codes) if codes else list(all_rules())
    out = console()
    if form == "json":
        click.echo(json.dumps([_plain(rule) for rule in chosen], indent=2))
    elif len(chosen) > len(codes) or not codes:
        _table(out, chosen)
    else:
        for number, rule in enumerate(chosen):
            if number:
                out.print()
            for line in _explain(out, rule):
                out.print(line, soft_wrap=True)


def _plain(rule: Rule) -> dict[str, object]:
    one = rule.deviation
    return {
        "code": one.code,
        "name": one.name,
        "fault": one.fault,
        "repair": one.repair,
        "severity": severity(one.code),
        "option": dict(one.option) if one.option else None,
        "repaired": not one.reported,
        "seen": rule.seen,
        "breaks": rule.breaks,
        "traps": rule.traps,
        "sources": rule.sources,
    }
