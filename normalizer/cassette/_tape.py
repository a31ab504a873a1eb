"""A cassette while it is recorded: what arrives goes to the journal at once, then into the file.

The file is written anew, and put in its place whole, when the last stream that was open has ended.
Before that it would cost more with every chunk, so it is done as often as takes a twentieth of the
time; what came since then stands in the journal, which `load` reads too. Of each interaction that
is over the text is kept, so that to write the file again is to copy it.
"""

from __future__ import annotations

import datetime
import os
import re
import threading
import time
import weakref
from pathlib import Path
from typing import Any, NamedTuple

from normalizer._answer import logger
from normalizer._codings import CodingError, Decoder
from normalizer.cassette import _atomic, _journal
from normalizer.cassette._decoding import decoder_for, without_coding
from normalizer.cassette._journal import Journal
from normalizer.cassette._shapes import Mask
from normalizer.cassette.format import (
    Cassette,
    CassetteError,
    End,
    Headers,
    Interaction,
    Metadata,
    RecordedResponse,
    item,
    joined,
    load,
    loads,
)
from normalizer.cassette.scrub import Scrubbed, Scrubber

# The part of the time that may go into writing the file while streams are open.
_BUSY = 0.05

_DONE = re.compile(rb"data: ?\[DONE\]\s*\Z")


def now() -> float:
    """Seconds on the clock that the times of chunks are taken from."""
    return time.perf_counter()


class Head(NamedTuple):
    """The head of an answer."""

    status: int
    reason: str
    headers: Headers


class Tape:
    """One cassette file that is recorded on, by however many clients; make it with `on`."""

    def __init__(
        self, path: Path, metadata: Metadata | None = None, *, fresh: bool = False
    ) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._metadata = metadata
        self._fresh = fresh
        self._before: tuple[str, ...] = ()  # the text of what the file held
        self._takes: list[Take] = []
        self._count = 0
        self._journal: Journal | None = None
        self._seen: tuple[int, int, int] | None = None  # the file that we know
        self._cost = self._written = 0.0  # seconds: of writing the file, and when that was

    @classmethod
    def on(cls, path: str | os.PathLike[str], metadata: Metadata | None, *, fresh: bool) -> Tape:
        """The tape of a file; two recorders on one file in this process share it."""
        key = os.path.realpath(path)
        with _tapes_lock:
            tape = _tapes.get(key)
            if tape is None:
                tape = _tapes[key] = cls(Path(key), metadata, fresh=fresh)
            elif fresh:
                tape._fresh, tape._metadata = True, metadata
            return tape

    def begin(self, request: Scrubbed, head: Head, scrubber: Scrubber) -> Take | None:
        """Begin to record an answer; None, with a warning, for one that cannot be searched.

        Raises `OSError` if the cassette cannot be written, `CassetteError` if the file that is
        there is none.
        """
        decoder = decoder_for(head.headers)
        if decoder is None:
            logger.warning("%s: not recorded, cannot be decoded", request.request.uri)
            return None
        with self.lock:
            if not self._takes:
                self._load()
            take = Take(self, self._count, request, head, scrubber, decoder)
            self._count += 1
            self._takes.append(take)
            if not take.whole:
                try:
                    self._begin(take)
                except OSError:
                    # else the tape would wait for its end for ever
                    self._takes.remove(take)
                    raise
            return take

    def _begin(self, take: Take) -> None:
        # The journal stands beside a file: without one it counts for nothing.
        if self._seen is None or self._is_due():
            self._write()
        if self._journal is None:
            self._journal = Journal.begin(self.path, len(self._before))
        self._journal.add("begun", take.number, take.head())

    def add(self, *line: object) -> None:
        """Add a line to the journal."""
        with self.lock:
            if self._journal is not None:
                self._journal.add(*line)

    def came(self) -> None:
        """Something came: write the file, if that was long enough ago."""
        with self.lock:
            if self._is_due():
                self._write()

    def ended(self) -> None:
        """A stream is over: write the file, and be done with the journal if it was the last."""
        with self.lock:
            last = all(take.text is not None for take in self._takes)
            if last or self._is_due():
                self._write()
            if last and self._journal is not None:
                self._journal.end()
                self._journal = None
            if self._journal is None:
                # the file holds them now, and no journal counts on what stood there before
                self._before += tuple(take.text for take in self._takes if take.text)
                self._takes = [take for take in self._takes if take.text is None]

    def _load(self) -> None:
        """Read what the file holds, unless it is as we left it."""
        there = _signature(self.path)
        if there is not None and there == self._seen and not self._fresh:
            return
        if there is not None and not self._fresh:
            cassette = load(self.path)
        else:
            cassette = Cassette(self._metadata or _recorded_today(), ())
            _journal.path_of(self.path).unlink(missing_ok=True)
        self._metadata = cassette.metadata
        self._before = tuple(item(each) for each in cassette.interactions)
        self._fresh = False
        self._seen = None

    def _is_due(self) -> bool:
        return (time.perf_counter() - self._written) * _BUSY >= self._cost

    def _write(self) -> None:
        begun = time.perf_counter()
        items = [*self._before]
        for take in self._takes:
            if take.text:
                items.append(take.text)
            elif take.text is None and not take.whole:
                items.append(take.so_far())
        if not items and not self.path.exists():
            return
        text = joined(self._metadata or Metadata(), items)
        _atomic.write(self.path, text.encode())
        self._seen = _signature(self.path)
        self._written = time.perf_counter()
        self._cost = self._written - begun


_tapes: weakref.WeakValueDictionary[str, Tape] = weakref.WeakValueDictionary()
_tapes_lock = threading.Lock()


class Take:
    """One answer while it is recorded. ``text`` is what the file says of it, once it is over."""

    def __init__(
        self,
        tape: Tape,
        number: int,
        request: Scrubbed,
        head: Head,
        scrubber: Scrubber,
        decoder: Decoder,
    ) -> None:
        self.number = number
        self.text: str | None = None
        self.whole = scrubber.wants_whole_response  # nothing may be written before the end
        self._tape = tape
        self._asked, self._known = request
        self._scrubber = scrubber
        self._decoder = decoder
        self._begun = now()
        self._expected = _content_length(head.headers)
        headers = without_coding(head.headers)
        if not self.whole:
            headers = scrubber.headers(headers, self._known)
        self._head = head._replace(headers=headers)
        self._mask = Mask(() if self.whole else self._known)
        self._body = bytearray()  # as it may be written
        self._tail = b""
        self._lengths: list[int] = []
        self._times: list[float] = []
        self._end: End | None = None
        self._received = 0

    @property
    def over(self) -> bool:
        """Whether no more is recorded."""
        return self._end is not None

    def feed(self, data: bytes) -> None:
        """Record a piece of the body as it came; raises `OSError` if that cannot be written."""
        if self.over or not data:
            return
        self._received += len(data)
        try:
            data = b"".join(self._decoder.decode(data))
        except CodingError as error:
            logger.warning("%s: recorded up to where it broke: %s", self._asked.uri, error)
            self.end("cut")
            return
        if data:
            with self._tape.lock:
                self._keep(data)

    def _keep(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-16:]  # enough to see `[DONE]` and its blank line
        self._lengths.append(len(data))
        self._times.append(round((now() - self._begun) * 1000, 2))
        if self.whole:
            self._body += data
            return
        clear = self._mask.feed(data)
        self._body += clear
        self._tape.add("chunk", self.number, self._times[-1], len(data))
        if clear:
            self._tape.add("bytes", self.number, _journal.text(clear))
        self._tape.came()

    def close(self) -> None:
        """The client went away: it had all, or it did not wait for the rest.

        Clients of OpenAI's API stop reading at ``[DONE]``, before the body has come to its own end.
        """
        # The length is that of the bytes that came, which may have been compressed.
        said_all = _DONE.search(self._tail) or self._received == self._expected
        self.end("complete" if said_all else "closed")

    def end(self, end: End) -> None:
        """The answer is over.

        Raises `OSError` if the cassette cannot be written, and what a hook of the user raises.
        """
        with self._tape.lock:
            if self.over:
                return
            self._end = end
            try:
                response = self._last()
                if response is not None:
                    self.text = _proved(Interaction(self._asked, response))
                    self._tape.add("ended", self.number, end)
            finally:
                # what raised is over too, and is not recorded
                self.text = self.text or ""
                self._body.clear()
                self._tape.ended()

    def _last(self) -> RecordedResponse | None:
        """Write what was held back, and take the whole."""
        if not self.whole:
            rest = self._mask.close()
            self._body += rest
            self._tape.add("bytes", self.number, _journal.text(rest))
            return self.response()
        response = self._scrubber.response(self.response(), self._known)
        if response is not None:
            self._tape.add("begun", self.number, _journal.head(self._asked, response))
            for time, length in zip(response.times, response.lengths, strict=True):
                self._tape.add("chunk", self.number, time, length)
            self._tape.add("bytes", self.number, _journal.text(response.body))
        return response

    def head(self) -> dict[str, Any]:
        """What the journal says of it when it begins."""
        return _journal.head(self._asked, self.response())

    def so_far(self) -> str:
        """What the file says of it before it is over."""
        return item(Interaction(self._asked, self.response()))

    def response(self) -> RecordedResponse:
        """The answer up to here, as far as it may be written."""
        lengths = _journal.fitting(self._lengths, len(self._body))
        return RecordedResponse(
            status=self._head.status,
            reason=self._head.reason,
            headers=self._head.headers,
            body=bytes(self._body),
            lengths=lengths,
            times=tuple(self._times[: len(lengths)]),
            # who records is the client: if nothing else follows, it went away
            end=self._end or "closed",
        )


def _proved(interaction: Interaction) -> str:
    """The text of an interaction, which reads back as what it is of."""
    text = item(interaction)
    if loads(joined(Metadata(), [text])).interactions != (interaction,):
        raise CassetteError(f"{interaction.request.uri}: does not read back as it was recorded")
    return text


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_ino, state.st_mtime_ns, state.st_size


def _recorded_today() -> Metadata:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    return Metadata(origin="recorded", date=today.isoformat())


def _content_length(headers: Headers) -> int | None:
    values = [value for name, value in headers if name.lower() == "content-length"]
    return int(values[0]) if values and values[0].isdecimal() else None
