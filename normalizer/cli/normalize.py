"""`stream-normalizer normalize`: repair a stream in a pipe."""

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
_SIGHT = 65536  # bytes to read to find out the endpoint


def _pieces(source: BinaryIO, normalizer: Normalizer | None = None) -> Iterator[bytes]:
    """Yield the bytes as they come, and an empty piece when a held finish may be sent."""
    try:
        file = source.fileno()
    except io.UnsupportedOperation:
        yield source.read()
        return
    while True:
        waiting = normalizer.waiting if normalizer is not None else None
        # Windows can wait for sockets only. There a held finish is sent at the end.
        if waiting is not None and os.name == "posix":
            ready, _, _ = select.select([file], [], [], waiting)
            if not ready:
                yield b""
                continue
        # Not through Python's buffer, which waits until it is full.
        piece = os.read(file, _PIECE)
        if not piece:
            return
        yield piece


def _sighted(source: BinaryIO) -> tuple[bytes, RequestInfo]:
    """Read the beginning of a stream, and guess from it which request it answers."""
    begun = b""
    for piece in _pieces(source):
        begun += piece
        _, brace, line = begun.partition(b"{")
        if (brace and b"\n" in line) or len(begun) > _SIGHT:
            break
    return begun, RequestInfo.guess(begun)


_CASSETTE = (b"version:", b"interactions:", b"metadata:")


def _recorded(name: str, number: int | None) -> Answer | None:
    """Return the answer in a cassette, a HAR or a capture, or None for a file that is a stream.

    Raises `Failure` if there are several answers and no ``number``, or if the file is unreadable.
    """
    path = Path(name)
    try:
        recording = name != "-" and path.is_file() and _is_recording(path)
    except OSError as error:
        raise Failure(f"{name}: {error.strerror}") from None
    if not recording:
        if number is not None:
            raise Failure(f"--interaction: {name} is not a recording of several answers")
        return None
    there = list(answers(name, None))
    if not there:
        raise Failure(f"{name}: the file has no answer of an API that we know")
    if number is None and len(there) > 1:
        raise Failure(
            f"{name}: the file has {len(there)} answers: choose one with --interaction, "
            f"from 0 to {len(there) - 1}"
        )
    if (number or 0) >= len(there):
        raise Failure(f"--interaction: {name} has answers from 0 to {len(there) - 1}")
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
    help="Which answer of a recording, from 0.",
)
@click.option("--report", is_flag=True, help="Print on stderr what was repaired.")
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
    """Repair a stream from FILE or standard input, and write it to standard output.

    \b
        curl -sN http://localhost:8000/v1/chat/completions … | stream-normalizer normalize
        stream-normalizer normalize answer.sse --request @request.json --report

    Every event is written as soon as it is certain. The end of the stream ends the command. Some
    repairs depend on the request: add it with --request if it has tools, n or stream_options. If it
    has "stream": false, a stream becomes one JSON object.

    FILE may be a cassette, a HAR or a capture. Then its answer is repaired for its own request.

    The exit code is 1 if the output has an error: from the upstream, or because the input was cut
    or is not a stream.
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
            "standard input is a cassette: name its file, or pipe the output of "
            "`stream-normalizer cassette export FILE`"
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
                # Nothing follows [DONE], and the upstream may never close.
                break
    write(normalizer.close(reason))
    if report:
        click.echo(_said(normalizer.report), err=True)
    ctx.exit(1 if normalizer.report.error is not None else 0)
