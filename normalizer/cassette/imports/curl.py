"""Traces of curl: ``curl --trace FILE --trace-time``.

A trace has each piece of the answer that curl read from the socket, in hexadecimal, and with
``--trace-time`` when it came. So chunks and times are those of the connection. Over HTTP/1.1 the
pieces still have the frames of the chunked transfer coding, which are taken out here: a time is
that of the piece in which the bytes came.

``--trace-ascii`` writes the same dot for a line feed, a full stop and each byte of ``ü``. The bytes
cannot be known from that, so such a file is refused.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from normalizer.cassette._checks import CassetteError
from normalizer.cassette.format import (
    Cassette,
    End,
    Headers,
    Interaction,
    Metadata,
    RecordedRequest,
    RecordedResponse,
)
from normalizer.cassette.imports._chunked import Chunked

# 20:50:59.546445 [0-0] => Send header, 150 bytes (0x96)
_TIME = rb"(?:(\d\d):(\d\d):(\d\d(?:\.\d+)?) )?"
_TITLE = re.compile(
    _TIME
    + rb"(?:\[[\w-]+\] )?(?:== Info: ?(.*)|(?:=> (Send)|<= (Recv)) (SSL )?(header|data),"
    + rb" (\d+) bytes \(0x[0-9a-f]+\))\s*\Z"
)
_ROW = re.compile(rb"([0-9a-f]{4,8}): (.*)")
_HEX = re.compile(rb"((?:[0-9a-f]{2} ){1,16}) *")
_STATUS = re.compile(rb"HTTP/[\d.]+ (\d{3})(?: (.*))?")
_REQUEST_LINE = re.compile(rb"([A-Z]+) (\S+)(?: HTTP/[\d.]+)?\r?\n")

# The length of a chunk. Pieces without it were decoded by curl, or by what wrote the trace.
_FRAME = re.compile(rb"[0-9a-fA-F]{1,8}[ \t]*(?:;[^\n]*)?\r?\n")
_FIRST = 16  # pieces: a length is no longer, even if it comes byte by byte

_DAY = 24 * 60 * 60

# What curl says last, and what it means if the body is not known to be complete.
_SAID: tuple[tuple[bytes, End], ...] = (
    (b"timed out", "timeout"),
    (b"Connection reset", "reset"),
    (b"transfer closed", "cut"),
    (b"not closed cleanly", "cut"),
    (b"Failure writing", "closed"),
    (b"left intact", "complete"),
    (b"Closing connection", "complete"),
    (b"shutting down connection", "complete"),
)


@dataclasses.dataclass(slots=True)
class _Record:
    """One entry of the trace: its line, its time in seconds, its kind, and its bytes or words."""

    line: int
    time: float | None
    kind: str
    data: bytes
    length: int = 0


@dataclasses.dataclass(slots=True)
class _Exchange:
    """What the trace has of one request and its answer."""

    line: int
    sent: bytearray
    posted: bytearray
    scheme: str
    head: bytearray
    headed: float | None
    pieces: list[_Record]
    said: list[bytes]


def is_trace(data: bytes) -> bool:
    """Return whether a file begins as a trace does."""
    first = data[:2000].partition(b"\n")[0].rstrip(b"\r")
    return _TITLE.match(first) is not None


def cassette(data: bytes) -> Cassette:
    """The requests of a trace that were answered; raises `CassetteError`, which names the line."""
    exchanges = [each for each in _exchanges(data) if not each.sent.startswith(b"CONNECT ")]
    answered = [each for each in exchanges if each.head]
    if not answered:
        raise CassetteError(
            f"it holds no answer to any of {len(exchanges)} requests"
            if exchanges
            else "it holds no request"
        )
    return Cassette(Metadata(origin="recorded"), tuple(_interaction(each) for each in answered))


# ---------------------------------------------------------------- the file


def _records(data: bytes) -> Iterator[_Record]:
    record: _Record | None = None
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = raw.rstrip(b"\r")
        if title := _TITLE.match(line):
            if record is not None:
                yield _whole(record)
            record = _titled(title, number)
        elif record is not None and record.kind != "info" and (row := _ROW.match(line)):
            _add_row(record, row, number)
        elif line and (record is None or record.kind != "info"):
            raise CassetteError(f"line {number}: {line[:40]!r} is no line of a trace")
    if record is not None:
        yield record  # the last may be cut, where curl was killed


def _titled(title: re.Match[bytes], number: int) -> _Record:
    hours, minutes, seconds, info, sent, _, secure, kind, length = title.groups()
    time = None
    if hours is not None:
        time = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if info is not None:
        return _Record(number, time, "info", info)
    what = "ssl" if secure else f"{'sent' if sent else 'received'} {kind.decode()}"
    return _Record(number, time, what, b"", int(length))


def _add_row(record: _Record, row: re.Match[bytes], number: int) -> None:
    if int(row[1], 16) != len(record.data) or not (digits := _HEX.match(row[2])):
        raise CassetteError(
            f"line {number}: {row[2][:20]!r} is not in hexadecimal; --trace-ascii loses line feeds"
            " and other bytes, so record with --trace FILE --trace-time"
        )
    # The column of signs behind it may look like digits too: no more than were announced.
    left = min(record.length - len(record.data), 16)
    record.data += bytes.fromhex(digits[1].decode())[:left]


def _whole(record: _Record) -> _Record:
    if len(record.data) != record.length and record.kind not in ("info", "ssl"):
        raise CassetteError(
            f"line {record.line}: {record.length} bytes announced, {len(record.data)} follow"
        )
    return record


# ---------------------------------------------------------------- its exchanges


def _exchanges(data: bytes) -> Iterator[_Exchange]:
    scheme = "http"
    now: _Exchange | None = None
    for record in _records(data):
        if record.kind == "ssl" or record.data.startswith(b"SSL connection using"):
            scheme = "https"
        elif record.kind == "info":
            if now is not None:
                now.said.append(record.data)
        elif record.kind == "sent header":
            if now is not None:
                yield now
            sent, posted = bytearray(record.data), bytearray()
            now = _Exchange(record.line, sent, posted, scheme, bytearray(), None, [], [])
        elif now is None:
            raise CassetteError(f"line {record.line}: {record.kind} before any request")
        else:
            _add(now, record)
    if now is not None:
        yield now


def _add(exchange: _Exchange, record: _Record) -> None:
    if record.kind == "sent data":
        exchange.posted += record.data
    elif record.kind == "received header":
        if exchange.pieces:
            return  # trailers, which a cassette does not have
        if record.data.startswith(b"HTTP/"):
            exchange.head.clear()  # the head before it was an interim answer
        exchange.head += record.data
        exchange.headed = record.time
    else:
        exchange.pieces.append(record)


def _interaction(exchange: _Exchange) -> Interaction:
    line = _REQUEST_LINE.match(exchange.sent)
    if line is None:
        raise CassetteError(f"line {exchange.line}: {bytes(exchange.sent[:40])!r} is no request")
    headers = _headers(exchange.sent, exchange.line)
    target = line[2].decode("latin-1")
    if not target.startswith(("http://", "https://")):
        host = next((value for name, value in headers if name == "host"), "")
        target = f"{exchange.scheme}://{host}{target}"
    posted = bytes(exchange.posted)
    if ("transfer-encoding", "chunked") in headers:
        posted = Chunked().feed(posted)
    request = RecordedRequest(
        method=line[1].decode(), uri=target, headers=_of_the_body(headers), body=posted
    )
    return Interaction(request, _response(exchange))


def _response(exchange: _Exchange) -> RecordedResponse:
    status = _STATUS.match(bytes(exchange.head))
    if status is None:
        raise CassetteError(f"line {exchange.line}: {bytes(exchange.head[:40])!r} is no answer")
    headers = _headers(exchange.head, exchange.line)
    frames = Chunked() if _is_framed(headers, exchange.pieces) else None
    chunks, times, before = [], [], exchange.headed or 0.0
    days = 0
    for piece in exchange.pieces:
        data = piece.data if frames is None else frames.feed(piece.data)
        if piece.time is not None:
            # the clock of a trace has no day
            days += _DAY if piece.time + days < before - _DAY / 2 else 0
            before = max(before, piece.time + days)
        if data:
            chunks.append(data)
            times.append(round((before - (exchange.headed or 0.0)) * 1000, 2))
    is_over = frames.is_over if frames else _has_all(headers, sum(map(len, chunks)))
    timed = exchange.headed is not None and all(each.time is not None for each in exchange.pieces)
    return RecordedResponse.from_chunks(
        chunks,
        status=int(status[1]),
        reason=(status[2] or b"").decode("latin-1").strip(),
        headers=_of_the_body(headers),
        times=times if timed else (),
        end="complete" if is_over else _end(exchange, known=is_over is not None),
    )


def _is_framed(headers: Headers, pieces: list[_Record]) -> bool:
    """Return whether the pieces have the frames of the chunked coding: not in HTTP/2."""
    is_said = any(name == "transfer-encoding" and "chunked" in value for name, value in headers)
    return is_said and _FRAME.match(b"".join(each.data for each in pieces[:_FIRST])) is not None


def _has_all(headers: Headers, received: int) -> bool | None:
    """Return whether the body is complete, or None if its length was not said."""
    said = [value for name, value in headers if name == "content-length"]
    return received == int(said[0]) if said and said[0].isdecimal() else None


def _end(exchange: _Exchange, *, known: bool) -> End:
    """Return the end of a body that is not, or not known to be, complete."""
    for said in exchange.said:
        for words, end in _SAID:
            if words in said:
                return "cut" if known and end == "complete" else end
    # without a last word, curl itself was stopped
    return "closed"


def _headers(block: bytearray, line: int) -> Headers:
    headers = []
    for each in bytes(block).splitlines()[1:]:
        name, colon, value = each.decode("latin-1").partition(":")
        if each and not colon:
            raise CassetteError(f"line {line}: {each[:40]!r} is no header")
        if each:
            headers.append((name.strip().lower(), value.strip()))
    return tuple(headers)


def _of_the_body(headers: Headers) -> Headers:
    return tuple(header for header in headers if header[0] != "transfer-encoding")
