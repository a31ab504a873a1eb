"""Faults that are added to a clean recording, to test a client without a bad connection.

A fault is a function from a `Stream` to a `Stream`. The faults here are small frozen dataclasses.
Several faults are applied in order, each to the result of the one before. ``after_events`` or
``after_bytes`` sets the place. ``seed`` chooses a random place, and the same seed always chooses
the same place in the same stream.

    ReplayTransport("text.yaml", faults=[Ping(after_events=1), Cut(after_events=3)])
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import random
import re
from collections.abc import Callable, Iterable

from normalizer.cassette._checks import CassetteError
from normalizer.cassette.format import End

# Events end at a blank line, whatever the line endings are.
_END_OF_EVENT = re.compile(rb"(?:\r\n|\r(?!\n)|\n){2,}")


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that are delivered at once.

    * ``time``: milliseconds from the head of the response. None: no times were recorded.
    * ``stall``: seconds of silence before it, at any pace.
    """

    data: bytes
    time: float | None = None
    stall: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Stream:
    """What is played: the pieces in order, and the end."""

    pieces: tuple[Piece, ...]
    end: End = "complete"

    @property
    def body(self) -> bytes:
        """Return all bytes."""
        return b"".join(piece.data for piece in self.pieces)

    @property
    def events(self) -> list[int]:
        """Return the end of each event of the body. The last one may lack its blank line."""
        body = self.body
        ends = [match.end() for match in _END_OF_EVENT.finditer(body)]
        return ends if not body or ends[-1:] == [len(body)] else [*ends, len(body)]

    def split(self, at: Iterable[int]) -> Stream:
        """Split the same bytes at these offsets. Each piece comes with its last byte."""
        body, ends = self.body, list(itertools.accumulate(len(each.data) for each in self.pieces))
        cuts = sorted({0, len(body), *(offset for offset in at if 0 < offset < len(body))})
        pieces = [
            Piece(body[start:end], self.pieces[bisect.bisect_left(ends, end)].time)
            for start, end in itertools.pairwise(cuts)
        ]
        return dataclasses.replace(self, pieces=tuple(pieces))

    def parted(self, offset: int) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
        """Return the pieces before and after an offset. A piece around it becomes two."""
        before: list[Piece] = []
        for number, piece in enumerate(self.pieces):
            if offset < len(piece.data):
                if not offset:
                    return tuple(before), self.pieces[number:]
                before.append(dataclasses.replace(piece, data=piece.data[:offset]))
                behind = Piece(piece.data[offset:], piece.time)
                return tuple(before), (behind, *self.pieces[number + 1 :])
            before.append(piece)
            offset -= len(piece.data)
        return tuple(before), ()


Fault = Callable[[Stream], Stream]


class _Fault:
    """The type of a list of several kinds of faults."""

    __slots__ = ()

    def __call__(self, stream: Stream) -> Stream:
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Placed(_Fault):
    """The place of a fault: after events, after bytes, or chosen by ``seed``."""

    after_events: int | None = None
    after_bytes: int | None = None
    seed: int | str | None = None

    def __post_init__(self) -> None:
        given = (self.after_events, self.after_bytes, self.seed)
        if sum(each is not None for each in given) != 1:
            raise ValueError(f"{self!r}: one of after_events, after_bytes and seed is needed")
        if (self.after_events or 0) < 0 or (self.after_bytes or 0) < 0:
            raise ValueError(f"{self!r}: a number below zero")

    def _offset(self, stream: Stream) -> int:
        if self.after_bytes is not None:
            length = len(stream.body)
            if self.after_bytes > length:
                raise CassetteError(f"{self!r}: the body has {length} bytes")
            return self.after_bytes
        ends = [0, *stream.events]
        if self.after_events is None:
            # drawn anew for each stream: a fault has no state, so that it can be used again
            return random.Random(self.seed).choice(ends[:-1] or ends)  # noqa: S311
        if self.after_events >= len(ends):
            raise CassetteError(f"{self!r}: the stream has {len(ends) - 1} events")
        return ends[self.after_events]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cut(_Placed):
    """The server ends the body early, as when its worker dies.

    Example::

        Cut(after_events=3)
    """

    def __call__(self, stream: Stream) -> Stream:
        """Return the stream up to the place. Raises `CassetteError` if it is too short."""
        return Stream(stream.parted(self._offset(stream))[0], "cut")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reset(_Placed):
    """The connection is reset in the middle."""

    def __call__(self, stream: Stream) -> Stream:
        """Return the stream up to the place. Raises `CassetteError` if it is too short."""
        return Stream(stream.parted(self._offset(stream))[0], "reset")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stall(_Placed):
    """Silence for ``seconds``. None means for ever, until the client's read timeout."""

    seconds: float | None = None

    def __call__(self, stream: Stream) -> Stream:
        """Return the stream with the silence. Raises `CassetteError` if it is too short."""
        before, behind = stream.parted(self._offset(stream))
        if self.seconds is None:
            return Stream(before, "timeout")
        if behind:
            first = dataclasses.replace(behind[0], stall=behind[0].stall + self.seconds)
            return dataclasses.replace(stream, pieces=(*before, first, *behind[1:]))
        # also in front of the end itself
        return dataclasses.replace(stream, pieces=(*before, Piece(b"", None, self.seconds)))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Garbage(_Placed):
    """Bytes that belong to nothing. ``data`` None is 16 random ones, the same for each place.

    They go in front of what follows, and so into its first line, unless they end in a blank one.

    Example::

        Garbage(after_events=2, data=b"<html>502 Bad Gateway</html>\n\n")
    """

    data: bytes | None = None

    def __call__(self, stream: Stream) -> Stream:
        """Return the stream with the bytes in it. Raises `CassetteError` if it is too short."""
        offset = self._offset(stream)
        data = self.data
        if data is None:
            data = random.Random(offset).randbytes(16)  # noqa: S311 - no secret is made of it
        return _inserted(stream, offset, data)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ping(_Placed):
    """A keep-alive comment between two events, as proxies and servers send."""

    data: bytes = b": ping\n\n"

    def __call__(self, stream: Stream) -> Stream:
        """Return the stream with the comment. Raises `CassetteError` if it is too short."""
        return _inserted(stream, self._offset(stream), self.data)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Double(_Fault):
    """One event comes twice: number ``event`` from 1, or one that ``seed`` chooses."""

    event: int | None = None
    seed: int | str | None = None

    def __post_init__(self) -> None:
        if (self.event is None) == (self.seed is None):
            raise ValueError(f"{self!r}: one of event and seed is needed")
        if self.event is not None and self.event < 1:
            raise ValueError(f"{self!r}: events are counted from 1 on")

    def __call__(self, stream: Stream) -> Stream:
        """Return the stream with the event twice. Raises `CassetteError` if it is too short."""
        ends = [0, *stream.events]
        number = self.event
        if number is None:
            number = random.Random(self.seed).randint(1, max(len(ends) - 1, 1))  # noqa: S311
        if number >= len(ends):
            raise CassetteError(f"{self!r}: the stream has {len(ends) - 1} events")
        return _inserted(stream, ends[number], stream.body[ends[number - 1] : ends[number]])


def _inserted(stream: Stream, offset: int, data: bytes) -> Stream:
    before, behind = stream.parted(offset)
    # it comes with what came before it, so that the rest is not put off
    time = before[-1].time if before else behind[0].time if behind else None
    return dataclasses.replace(stream, pieces=(*before, Piece(data, time), *behind))
