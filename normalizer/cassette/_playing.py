"""Play recorded answers: which one, which bytes are next, and when."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable, Sequence
from typing import Literal

from normalizer.cassette._decoding import decoded
from normalizer.cassette._matching import HIDDEN, Recordings, Source
from normalizer.cassette._vcrpy import Matcher
from normalizer.cassette.faults import Fault, Piece, Stream
from normalizer.cassette.format import End, Headers, RecordedRequest, RecordedResponse
from normalizer.cassette.scrub import Scrubber, ScrubOptions
from normalizer.doors import _task

Pace = Literal["instant", "recorded"] | float

_SPLITS = re.compile(r"bytes|events|random:(.+)")

# By how it ended: what httpx and httpx2 raise then, and say.
BREAKS = {
    "cut": (
        "RemoteProtocolError",
        "peer closed connection without sending complete message body (incomplete chunked read)",
    ),
    "reset": ("ReadError", "[Errno 104] Connection reset by peer"),
    "timeout": ("ReadTimeout", "timed out"),
    "closed": ("RemoteProtocolError", "the recording ends here: its client closed the stream"),
}

# Half of the random pieces are this short, so that many cuts go through words and characters.
_SHORT, _LONG = 4, 120


def now() -> float:
    """Return the seconds of the clock for the pace."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Sleep in this thread."""
    time.sleep(seconds)


async def asleep(seconds: float) -> None:
    """Sleep in this task. Other tasks run meanwhile."""
    await _task.sleep(seconds)


def speed(pace: str | float) -> float:
    """Return the speed for a pace: 1 as recorded, 2 in half the time, 0 without waiting.

    Raises ValueError for an invalid pace.
    """
    if pace == "instant":
        return 0.0
    if pace == "recorded":
        return 1.0
    if isinstance(pace, (str, bool)) or not 0 < pace < float("inf"):
        raise ValueError(f"pace: {pace!r} is none of 'instant', 'recorded' and a speed above 0")
    return float(pace)


def checked_split(split: str | None) -> str | None:
    """Return the value of ``split``. Raises ValueError if it is invalid."""
    if split is not None and not _SPLITS.fullmatch(split):
        raise ValueError(f"split: {split!r} is none of 'bytes', 'events' and 'random:SEED'")
    return split


class Played:
    """A recorded answer, ready to play: its head, and its body as a `Stream`.

    Raises `CassetteError` for a fault whose place is not in it.
    """

    def __init__(
        self, response: RecordedResponse, split: str | None, faults: Sequence[Fault]
    ) -> None:
        if split is not None or faults:
            # events cannot be seen in a body that is compressed
            response = decoded(response)
        times = response.times or [None] * len(response.lengths)
        pieces = zip(response.chunks, times, strict=True)
        stream = Stream(tuple(Piece(chunk, at) for chunk, at in pieces), response.end)
        stream = _split(stream, split)
        # split before that: what a fault puts in is to stay a piece of its own
        for fault in faults:
            stream = fault(stream)
        self.status = response.status
        self.reason = response.reason
        self.headers = response.headers
        self.stream = stream
        if not _is_true(response, stream):
            self.headers = without(self.headers, {"content-length"})

    @property
    def end(self) -> End:
        """How the stream ends."""
        return self.stream.end


class Playing:
    """Iterate over the pieces of a stream. ``speed`` is a result of `speed`."""

    def __init__(self, stream: Stream, speed: float) -> None:
        self._pieces = iter(stream.pieces)
        self._speed = speed
        self._began = now()
        self._stalled = 0.0

    def next(self) -> tuple[float, bytes] | None:
        """Return the seconds to wait from now, and the bytes that come then.

        None means that the stream is over. A slow reader does not delay the rest, because a server
        would have sent it meanwhile.
        """
        piece = next(self._pieces, None)
        if piece is None:
            return None
        self._stalled += piece.stall
        if not self._speed or piece.time is None:
            return piece.stall, piece.data
        due = self._began + self._stalled + piece.time / 1000 / self._speed
        return max(due - now(), 0.0), piece.data


def _is_true(response: RecordedResponse, stream: Stream) -> bool:
    """Return whether the recorded ``content-length`` is right for what is played."""
    given = [value for name, value in response.headers if name.lower() == "content-length"]
    if stream.end == "complete":
        return given == [str(len(stream.body))]
    # a body that breaks off is shorter than was promised, and that is how a client sees it
    return response.body.startswith(stream.body)


def without(headers: Headers, names: set[str]) -> Headers:
    """Return the headers without some names."""
    return tuple(header for header in headers if header[0].lower() not in names)


def _split(stream: Stream, split: str | None) -> Stream:
    if split is None:
        return stream
    if split == "events":
        return stream.split(stream.events)
    length = len(stream.body)
    if split == "bytes":
        return stream.split(range(length))
    rng = random.Random(split.partition(":")[2])  # noqa: S311 - it has to be the same each time
    offsets, at = [], 0
    while at < length:
        at += rng.randint(1, rng.choice((_SHORT, _LONG)))
        offsets.append(at)
    return stream.split(offsets)


class Player:
    """Answer requests from recordings. The transport and the server share it."""

    def __init__(
        self,
        cassettes: Source | Iterable[Source],
        *,
        pace: Pace,
        split: str | None,
        faults: Sequence[Fault],
        match_on: Sequence[str | Matcher],
        allow_playback_repeats: bool,
        options: ScrubOptions,
    ) -> None:
        self._speed = speed(pace)
        self._split = checked_split(split)
        self._faults = tuple(faults)
        self._scrubber = Scrubber(options)
        self.recordings = Recordings(
            cassettes,
            match_on=match_on,
            repeats=allow_playback_repeats,
            allow_headers=options.get("allow_headers", ()),
        )

    def asked(self, request: RecordedRequest) -> RecordedRequest | None:
        """Return a request as a recording would have it. None: it would not be recorded."""
        clean = self._scrubber.request(request)
        return None if clean is None else clean.request

    def play(self, request: RecordedRequest) -> tuple[Played, Playing]:
        """Return the answer to such a request. Raises `UnmatchedRequestError`."""
        __tracebackhide__ = HIDDEN
        played = Played(self.recordings.find(request).response, self._split, self._faults)
        return played, Playing(played.stream, self._speed)
