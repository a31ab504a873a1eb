"""`stream-normalizer normalize`: the filter."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from typing import BinaryIO

import click

from normalizer import Normalizer, Options, Report, RequestInfo
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


def _said(report: Report) -> str:
    repairs = ", ".join(f"{code} {count}x" for code, count in report.codes.items())
    return (
        f"ended {report.end}; {report.events_in} events in, {report.events_out} out; "
        f"repaired {repairs or 'nothing'}"
    )


@click.command()
@click.argument("file", type=click.File("rb"), default="-")
@request_flags
@click.option("--report", is_flag=True, help="Say on stderr what was repaired.")
@option_flags(without=("mode",))
def normalize(
    options: Options, *, file: BinaryIO, request: RequestInfo | None, report: bool
) -> None:
    """Repair a stream from FILE or standard input, event by event, onto standard output.

    \b
        curl -sN http://localhost:8000/v1/chat/completions … | stream-normalizer normalize
        stream-normalizer normalize answer.sse --request @request.json --report

    Each event leaves when it is known to be right, as through the proxy, and the end of the stream
    ends the filter. What was asked decides on some repairs: give it with --request if it had
    tools, n, or stream_options. With "stream": false in it a stream becomes one JSON object.
    """
    begun = b""
    if request is None:
        begun, request = _sighted(file)
    normalizer = Normalizer(request, options)
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
    write(normalizer.close())
    if report:
        click.echo(_said(normalizer.report), err=True)
