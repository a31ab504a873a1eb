"""What arrived of the streams that are being recorded, line by line, until the cassette holds it.

It lies beside the cassette, as ``<its name>.journal``, while a stream is open, and is all that a
recorder that is killed leaves of it; while it is open, no other recorder may write the cassette.
Each line is a JSON array: first ``["before", n, s]``, the number of interactions of the cassette
that count, and the bytes of the file that hold them (null where there are none); then for each
stream, by its number,

    ["begun", 0, {request, and the response's head}]
    ["chunk", 0, milliseconds or null, length]
    ["bytes", 0, "of the body, a sign for each"]
    ["ended", 0, "complete"]
    ["kept", 0, n, s]

The last says that the file holds it now, and what of the file counts from there on. Bytes come
after the chunk that they are of, and may come late: the last ones are held back while they could be
the beginning of a key. Nothing stands here before it was scrubbed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import orjson

from normalizer.cassette._checks import CassetteError
from normalizer.cassette._claim import claim, let_go
from normalizer.cassette.format import (
    End,
    Headers,
    Interaction,
    RecordedRequest,
    RecordedResponse,
)


def path_of(cassette: str | os.PathLike[str]) -> Path:
    """Return the path of the journal of a cassette."""
    return Path(f"{os.fspath(cassette)}.journal")


class Left(NamedTuple):
    """The content of a journal: these interactions follow the first ``before`` ones of the file.

    Those are in the first ``size`` bytes of the file. Bytes after them may be incomplete.
    """

    before: int
    size: int | None
    interactions: tuple[Interaction, ...]


class Journal:
    """The lines of one recording. Each is on disk when `add` returns."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def claim(cls, cassette: Path) -> Self:
        """Open the journal of a cassette, with its old content, for this program only.

        Raises `OSError`, and `BlockingIOError` while another program records to the cassette.
        """
        cassette.parent.mkdir(parents=True, exist_ok=True)
        path = path_of(cassette)
        return cls(path, claim(path))

    @property
    def is_new(self) -> bool:
        """Whether it has no old content."""
        return os.fstat(self._descriptor).st_size == 0

    def begin(self) -> None:
        """Delete the content. Raises `OSError`."""
        # Closing a file that was emptied writes it to the disk on ext4, which takes milliseconds.
        if not self.is_new:
            os.ftruncate(self._descriptor, 0)

    def add(self, *line: Any) -> None:
        """Write a line. Raises `OSError`."""
        self.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def write(self, lines: bytes) -> None:
        """Write whole lines, such as those of `piece`. Raises `OSError`."""
        rest = memoryview(lines)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def end(self, *, remove: bool = True) -> None:
        """Release the journal. It is deleted, or stays for the next recorder."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            let_go(descriptor, self._path, remove=remove)

    def __del__(self) -> None:
        # a client that is dropped in mid-stream leaves the journal behind, but no open file
        self.end(remove=False)


def head(request: RecordedRequest, response: RecordedResponse) -> dict[str, Any]:
    """Return what is known when an answer begins."""
    return {
        "method": request.method,
        "uri": request.uri,
        "headers": request.headers,
        "body": text(request.body),
        "status": response.status,
        "reason": response.reason,
        "response_headers": response.headers,
    }


def piece(number: int, milliseconds: float, length: int, shown: bytes) -> bytes:
    """Return the lines for a chunk, and for the bytes that may be shown since it came."""
    chunk = b'["chunk",%d,%s,%d]\n' % (number, repr(milliseconds).encode(), length)
    if not shown:
        return chunk
    return chunk + b'["bytes",%d,%s]\n' % (number, orjson.dumps(text(shown)))


def text(data: bytes) -> str:
    """Encode any bytes as text. They may end in the middle of a character."""
    return data.decode("latin-1")


def read(cassette: str | os.PathLike[str]) -> Left | None:
    """Read the journal of a cassette, or None if it has none. Raises `CassetteError`."""
    path = path_of(cassette)
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return None
    before: int | None = None
    size: int | None = None
    streams: dict[int, _Stream] = {}
    # what follows the last line feed is a line that was not written to its end
    for number, line in enumerate(lines[:-1], 1):
        try:
            kind, key, *values = json.loads(line)
            if kind == "before":
                before, size = key, (values or [None])[0]
            elif kind == "begun":
                streams[key] = _Stream(*values)
            elif kind == "kept":
                del streams[key]
                before, size = values
            else:
                streams[key].take(kind, *values)
        except (ValueError, TypeError, KeyError) as error:
            raise CassetteError(f"{path}: line {number}: not of a journal ({error})") from error
    if before is None:
        # killed before it had begun: the file was written just before, and holds all
        return None
    return Left(before, size, tuple(streams[key].interaction() for key in sorted(streams)))


def fitting(lengths: list[int], available: int) -> tuple[int, ...]:
    """Return the lengths of the chunks whose bytes may be shown so far."""
    fit = []
    for length in lengths:
        if available > 0:
            fit.append(min(length, available))
        available -= length
    return tuple(fit)


class _Stream:
    def __init__(self, head: dict[str, Any]) -> None:
        self._head = head
        self._body = bytearray()
        self._lengths: list[int] = []
        self._times: list[float | None] = []
        # Who records is the client: when it is killed, the stream is closed from its side.
        self._end: End = "closed"

    def take(self, kind: str, *values: Any) -> None:
        if kind == "chunk":
            time, length = values
            self._times.append(time)
            self._lengths.append(length)
        elif kind == "bytes":
            self._body += values[0].encode("latin-1")
        elif kind == "ended":
            self._end = cast(End, values[0])
        else:
            raise ValueError(f"{kind!r} is no kind of line")

    def interaction(self) -> Interaction:
        head = self._head
        lengths = fitting(self._lengths, len(self._body))
        times = [time for time in self._times[: len(lengths)] if time is not None]
        return Interaction(
            RecordedRequest(
                method=head["method"],
                uri=head["uri"],
                headers=_pairs(head["headers"]),
                body=head["body"].encode("latin-1"),
            ),
            RecordedResponse(
                status=head["status"],
                reason=head["reason"],
                headers=_pairs(head["response_headers"]),
                body=bytes(self._body),
                lengths=lengths,
                times=tuple(times),
                end=self._end,
            ),
        )


def _pairs(headers: list[list[str]]) -> Headers:
    return tuple((name, value) for name, value in headers)
