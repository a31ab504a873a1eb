"""`stream-normalizer cassette show|verify|diff|import|export`: cassettes as files."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from normalizer.cassette import imports
from normalizer.cassette.diff import diff
from normalizer.cassette.exports import to_har, to_sse
from normalizer.cassette.format import (
    Cassette,
    CassetteError,
    Origin,
    RecordedResponse,
    dump,
    load,
)
from normalizer.cassette.imports import FORMS, UNKNOWN, Form
from normalizer.cassette.scrub import scrub
from normalizer.cassette.scrub import verify as problems_in
from normalizer.cli.cassette.common import (
    FILE,
    PLACES,
    count,
    described,
    files_in,
    reported,
)
from normalizer.cli.check.output import console
from normalizer.cli.group import Failure, NearGroup


@click.group(cls=NearGroup)
def cassette() -> None:
    """Show and compare cassettes, search them for secrets, import and export them.

    \b
        stream-normalizer cassette show cassettes/vllm
        stream-normalizer cassette import chat.example.com.har chat.yaml
        stream-normalizer cassette verify chat.yaml
        stream-normalizer cassette diff old.yaml new.yaml
    """


@cassette.command(short_help="Show the content of cassettes.")
@click.argument("files", type=PLACES, nargs=-1, required=True)
@click.option(
    "--chunks", is_flag=True, help="Show each chunk too: its time, its length, its beginning."
)
def show(*, files: tuple[Path, ...], chunks: bool) -> None:
    """Show the content of cassettes: their origin, the requests, the answers and their ends."""
    out = console()
    for number, file in enumerate(files_in(files)):
        with reported():
            loaded = load(file)
        if number:
            out.print()
        for line in _about(file, loaded):
            out.print(line, soft_wrap=True)
        for at, each in enumerate(loaded.interactions):
            asked = Text.assemble((f"{at}  ", "bold"), f"{each.request.method} {each.request.uri}")
            out.print(asked, soft_wrap=True)
            out.print(Text(f"   {_shape(each.response)}"), soft_wrap=True)
            if chunks:
                _print_chunks(out, each.response)


def _about(file: Path, loaded: Cassette) -> Iterator[Text]:
    about = loaded.metadata
    yield Text(str(file), "bold")
    made = " ".join(part for part in (about.origin, about.date) if part)
    by = " ".join(part for part in (about.server, about.version) if part)
    for line in (", ".join(part for part in (made, by) if part), about.note, *about.sources):
        if line:
            yield Text(f"  {line}", "dim")


def _shape(response: RecordedResponse) -> str:
    headers = {name.lower(): value for name, value in response.headers}
    parts = [
        f"{response.status} {response.reason}".strip(),
        headers.get("content-type", "no content type"),
        f"{count(len(response.body), 'byte')} in {count(len(response.lengths), 'chunk')}",
    ]
    if response.times:
        parts.append(f"{response.times[-1]:,.0f} ms")
    return ", ".join([*parts, response.end])


def _print_chunks(out: Console, response: RecordedResponse) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for justify in ("right", "right", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    times = response.times or [None] * len(response.lengths)
    for number, (chunk, time) in enumerate(zip(response.chunks, times, strict=True)):
        begins = repr(chunk[:60].decode(errors="replace"))[1:-1]
        when = "" if time is None else f"{time:,.1f} ms"
        table.add_row(f"   {number}", when, f"{len(chunk):,}", begins)
    out.print(table)


@cassette.command(short_help="Search cassettes for secrets.")
@click.argument("files", type=PLACES, nargs=-1, required=True)
def verify(*, files: tuple[Path, ...]) -> None:
    """Search cassettes for secrets. Exits with 1 if there is any.

    It searches URLs, headers, both bodies, and the joined texts of the events of a stream.
    """
    out = console()
    problems = 0
    paths = files_in(files)
    for file in paths:
        with reported():
            found = problems_in(load(file))
        for problem in found:
            out.print(Text.assemble((str(file), "bold"), f": {problem}"), soft_wrap=True)
        problems += len(found)
    checked = count(len(paths), "cassette")
    if problems:
        out.print(Text(f"Found {count(problems, 'problem')} in {checked}.", "red"))
        sys.exit(1)
    out.print(Text(f"No secrets found in {checked}.", "green"))


@cassette.command("diff", short_help="Show what differs between two recordings.")
@click.argument("one", type=FILE)
@click.argument("other", type=FILE)
@click.option(
    "--all",
    "volatile",
    is_flag=True,
    help="Compare what differs each time too: ids, times, durations, chunks.",
)
def diff_(*, one: Path, other: Path, volatile: bool) -> None:
    """Show what differs between two recordings, by interaction and by event.

    \b
        stream-normalizer cassette diff old.yaml new.yaml

    Exits with 1 if anything differs. Ids, times and durations, which differ each time, do not
    count, and neither do the places where the socket split the stream.
    """
    with reported():
        old, new = load(one), load(other)
    out = console()
    differences = diff(old, new, volatile=volatile)
    if not differences:
        both = count(len(old.interactions), "interaction")
        out.print(Text(f"No differences in {both}.", "green"))
        return
    for sign, file in (("---", one), ("+++", other)):
        out.print(Text(f"{sign} {file}", "bold"), soft_wrap=True)
    before = ""
    for each in differences:
        if each.interaction != before:
            out.print(Text(each.interaction, "bold"), soft_wrap=True)
            before = each.interaction
        if each.where:
            out.print(Text(f"  {each.where}", "cyan"), soft_wrap=True)
        for change in each.changes:
            style = "red" if change.sign == "-" else "green"
            out.print(Text(f"    {change.sign} {change.text}", style), soft_wrap=True)
    out.print(Text(f"Found {count(len(differences), 'difference')}.", "red"))
    sys.exit(1)


@cassette.command("import", short_help="Convert another recording to a cassette.")
@click.argument("source", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.argument("target", type=FILE)
@click.option(
    "--form",
    type=click.Choice(FORMS),
    help="The form of SOURCE.  [default: by its name and beginning]",
)
@click.option(
    "--url",
    default=UNKNOWN.uri,
    show_default=True,
    help="The URL of the request, if SOURCE does not have it.",
)
@click.option(
    "--request", type=FILE, help="The JSON body of the request, if SOURCE does not have it."
)
@click.option(
    "--every", is_flag=True, help="Import all entries of a HAR or of mitmproxy, not only streams."
)
@click.option(
    "--origin",
    type=click.Choice(get_args(Origin)),
    help="For the metadata: from a real server, or from a documented form.",
)
@click.option(
    "--date", default="", metavar="YYYY-MM-DD", help="For the metadata: the day of the recording."
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="URL",
    help="For the metadata: a page about it. Repeatable.",
)
@click.option(
    "--stable", is_flag=True, help="Replace ids, times and durations, as `record --stable` does."
)
@click.option("--force", is_flag=True, help="Overwrite TARGET.")
@described
def import_(
    *,
    source: Path,
    target: Path,
    form: Form | None,
    url: str,
    request: Path | None,
    every: bool,
    origin: Origin | None,
    date: str,
    sources: tuple[str, ...],
    stable: bool,
    force: bool,
    **description: Any,
) -> None:
    """Convert a recording of another tool to a cassette. "-" reads standard input.

    \b
        sse        a saved body, or the output of `curl -N`, `curl -iN`
        har        the export of a browser's network panel
        mitmproxy  flows of mitmproxy: `mitmdump -w chat.flow`
        curl       a trace: `curl -N --trace FILE --trace-time`
        vcr        a cassette of vcrpy or pytest-recording
        capture    {request, response: {chunks: [{t_ms, b64}]}}
        chunks     one JSON payload per line (AI SDK)

    Secrets are removed, as in a recording. For sse and chunks, add the request, so that the
    cassette can answer it:

    \b
        curl -iN -d @ask.json -H 'content-type: application/json' $URL > answer
        stream-normalizer cassette import answer chat.yaml --url $URL --request ask.json
    """
    if target.exists() and not force:
        raise Failure(f"{target} already exists: choose another name, or --force")
    with reported():
        asked = dataclasses.replace(UNKNOWN, uri=url)
        if request is not None:
            # without it vcrpy's matcher would compare the bodies byte by byte
            json = (("content-type", "application/json"),)
            asked = dataclasses.replace(asked, headers=json, body=request.read_bytes())
        data = sys.stdin.buffer.read() if str(source) == "-" else source.read_bytes()
        name = "<stdin>" if str(source) == "-" else str(source)
        made = scrub(
            imports.reads(data, name, form, request=asked, every=every), {"stable": stable}
        )
        given = {"origin": origin, "date": date, "sources": sources, **description}
        given = {field: value for field, value in given.items() if value}
        made = dataclasses.replace(made, metadata=dataclasses.replace(made.metadata, **given))
        dump(made, target)
    click.echo(f"{target}: {count(len(made.interactions), 'interaction')}", err=True)
    # scrubbing cannot mask a secret that a model sent in pieces, so it is reported
    for problem in problems_in(made):
        click.echo(f"Warning: {target}: {problem}; check whether it is a secret", err=True)


@cassette.command(short_help="Write the body of an answer, or a HAR.")
@click.argument("file", type=FILE)
@click.option(
    "--form",
    type=click.Choice(["sse", "har"]),
    help="sse: the body of one answer. har: all interactions.  [default: by OUTPUT, else sse]",
)
@click.option(
    "--interaction", "number", type=click.IntRange(0), metavar="N", help="Which answer, from 0."
)
@click.option("-o", "--output", type=FILE, help="The output file.  [default: standard output]")
def export(*, file: Path, form: str | None, number: int | None, output: Path | None) -> None:
    """Write the body of an answer as it came, as in a .sse file, or all interactions as a HAR."""
    if form is None:
        form = "har" if output is not None and output.suffix.lower() == ".har" else "sse"
    with reported():
        loaded = load(file)
        try:
            data = {"sse": to_sse, "har": to_har}[form](loaded, number)
        except CassetteError as error:
            several = form == "sse" and number is None and len(loaded.interactions) > 1
            raise CassetteError(
                f"{file}: {error}{' (--interaction)' if several else ''}"
            ) from error
        if output is not None:
            output.write_bytes(data)
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
