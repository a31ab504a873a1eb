"""`stream-normalizer normalize`: the filter."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from normalizer import Normalizer, Options, Report, RequestInfo
from normalizer.cassette.format import CassetteError
from normalizer.cassette.imports import form_of
from normalizer.cli.check.lint import Answer
from normalizer.cli.check.sources import answers
from normalizer.cli.group import Failure
from normalizer.cli.options import option_flags, request_flags

_PIECE = 65536
_SIGHT = 65536  # bytes in which a stream says which endpoint's it is


def _pieces(source: BinaryIO, normalizer: Normalizer | None = None) -> Iterator[bytes]:
    """What comes, as it comes; an empty piece when a held finish may be let go."""
    try:
        file = source.fileno()
    except io.UnsupportedOperation:
        yield source.read()
        return
    while True:
        waiting = normalizer.waiting if normalizer is not None else None
        # Windows can wait for sockets only: there a held finish leaves with the end.
        if waiting is not None and os.name == "posix":
            ready, _, _ = select.select([file], [], [], waiting)
            if not ready:
                yield b""
                continue
        # Past Python's buffer, which would wait until it is full.
        piece = os.read(file, _PIECE)
        if not piece:
            return
        yield piece


def _sighted(source: BinaryIO) -> tuple[bytes, RequestInfo]:
    """The beginning of a stream, and the request that it answers as far as it tells."""
    begun = b""
    for piece in _pieces(source):
        begun += piece
        _, brace, line = begun.partition(b"{")
        if (brace and b"\n" in line) or len(begun) > _SIGHT:
            break
    legacy = b'"text_completion"' in begun
    return begun, RequestInfo.parse("/v1/completions" if legacy else "/v1/chat/completions")


_CASSETTE = (b"version:", b"interactions:", b"metadata:")


def _recorded(name: str, number: int | None) -> Answer | None:
    """The answer in a cassette, a HAR or a capture; None for a file that is a stream itself.

    Raises `Failure` where it is not known which, and for a recording that cannot be read.
    """
    path = Path(name)
    try:
        recording = name != "-" and path.is_file() and _is_recording(path)
    except OSError as error:
        raise Failure(f"{name}: {error.strerror}") from None
    if not recording:
        if number is not None:
            raise Failure(f"--interaction: {name} is no recording of several answers")
        return None
    there = list(answers(name, None))
    if not there:
        raise Failure(f"{name}: there is no answer of a chat or completion in it")
    if number is None and len(there) > 1:
        raise Failure(
            f"{name}: it holds {len(there)} answers: say which with --interaction, "
            f"from 0 to {len(there) - 1}"
        )
    if (number or 0) >= len(there):
        raise Failure(f"--interaction: {name} holds answers from 0 to {len(there) - 1}")
    return there[number or 0]


def _is_recording(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(1)
        data = start + (file.read() if start in (b"{", b" ", b"\n") else file.read(4096))
    try:
        return form_of(data, str(path)) in ("vcr", "har", "capture")
    except CassetteError:
        return False


def _said(report: Report) -> str:
    repairs = ", ".join(f"{code} {count}x" for code, count in report.codes.items())
    return (
        f"ended {report.end}; {report.events_in} events in, {report.events_out} out; "
        f"repaired {repairs or 'nothing'}"
    )


@click.command()
@click.argument("file", type=click.File("rb"), default="-")
@request_flags
@click.option(
    "--interaction",
    "number",
    type=click.IntRange(0),
    metavar="N",
    help="Of a recording of several answers: which, from 0.",
)
@click.option("--report", is_flag=True, help="Say on stderr what was repaired.")
@option_flags(without=("mode",))
@click.pass_context
def normalize(
    ctx: click.Context,
    options: Options,
    *,
    file: BinaryIO,
    request: RequestInfo | None,
    number: int | None,
    report: bool,
) -> None:
    """Repair a stream from FILE or standard input, event by event, onto standard output.

    \b
        curl -sN http://localhost:8000/v1/chat/completions … | stream-normalizer normalize
        stream-normalizer normalize answer.sse --request @request.json --report

    Each event leaves when it is known to be right, as through the proxy, and the end of the stream
    ends the filter. What was asked decides on some repairs: give it with --request if it had
    tools, n, or stream_options. With "stream": false in it a stream becomes one JSON object.

    A FILE that is a cassette, a HAR or a capture is played: its answer to its own request.

    Exits with 1 if an error left: the upstream's own, or one for what is no stream or was cut.
    """
    begun, reason, status = b"", None, 200
    recorded = _recorded(getattr(file, "name", "-"), number)
    if recorded is not None:
        file = io.BytesIO(recorded.body)
        request, status = request or recorded.request, recorded.status
        reason = None if recorded.end == "complete" else f"({recorded.end})"
    elif request is None:
        begun, request = _sighted(file)
    else:
        begun = next(_pieces(file), b"")
    if recorded is None and begun.startswith(_CASSETTE):
        raise Failure(
            "standard input is a cassette: name its file, or pipe the answer that "
            "`stream-normalizer cassette export FILE` writes"
        )
    normalizer = Normalizer(request, options, status=status)
    out = sys.stdout.buffer

    def write(data: bytes) -> None:
        if data:
            out.write(data)
            out.flush()

    write(normalizer.feed(begun))
    if not normalizer.ended:
        for piece in _pieces(file, normalizer):
            write(normalizer.feed(piece) if piece else normalizer.flush())
            if normalizer.ended:
                # What is behind [DONE] is nothing, and the upstream may never close.
                break
    write(normalizer.close(reason))
    if report:
        click.echo(_said(normalizer.report), err=True)
    ctx.exit(1 if normalizer.report.error is not None else 0)
