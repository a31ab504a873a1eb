"""`stream-normalizer view`: a page of what came, what left, and what would have broken."""

from __future__ import annotations

import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from normalizer import Options, RequestInfo
from normalizer.cassette.format import Cassette, CassetteError
from normalizer.cassette.imports import UNKNOWN, form_of, reads, to_sse
from normalizer.cli.check.sources import files
from normalizer.cli.group import Failure
from normalizer.cli.options import option_flags, request_flags
from normalizer.view.page import page
from normalizer.view.recording import view_of


def _cassette(name: str) -> Cassette:
    """Read a file of any form as a cassette. Raises `Failure`."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise Failure(f"{name}: {error.strerror}") from None
    try:
        return reads(data, name, "sse" if name == "-" else form_of(data, name))
    except CassetteError as error:
        raise Failure(f"{name}: {error}" if name not in str(error) else str(error)) from None


def _views(name: str, request: RequestInfo | None, options: Options) -> Iterator[dict[str, Any]]:
    cassette = _cassette(name)
    for number, one in enumerate(cassette.interactions):
        if one.request is UNKNOWN:
            info = request or RequestInfo.guess(to_sse(cassette, number))
        else:
            info = RequestInfo.parse(one.request.uri, one.request.body)
        if info.endpoint is None:
            continue
        title = name if len(cassette.interactions) == 1 else f"{name}[{number}]"
        yield view_of(cassette, number, info, options, name=title)


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="PAGE",
    help="Write the page to this file, and open no browser. `-` is standard output.",
)
@request_flags
@option_flags(without=("mode",))
def view(
    options: Options,
    *,
    targets: tuple[str, ...],
    output: Path | None,
    request: RequestInfo | None,
) -> None:
    """Show in a browser what a stream sent, what we made of it, and what would have broken.

    \b
        stream-normalizer view answer.sse
        stream-normalizer view cassettes/azure/opening-chunk.yaml -o azure.html

    FILE is a stream, a cassette, a HAR or a capture; a folder is searched, and `-` is standard
    input. The page is one file that loads nothing. It has the whole answers in it: look at it
    before you pass it on.
    """
    views = [each for name in files(targets) for each in _views(name, request, options)]
    if not views:
        raise Failure(f"{targets[0]}: no answer of an API that we know")
    html = page(views, title=f"{views[0]['name']} · stream-normalizer")
    if output == Path("-"):
        click.echo(html)
        return
    path = output or Path(tempfile.mkdtemp(prefix="stream-normalizer-")) / "view.html"
    try:
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
    if output is None and not webbrowser.open(path.as_uri()):
        click.echo("There is no browser to open the page in.", err=True)
    click.echo(str(path))
