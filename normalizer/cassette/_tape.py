"""A cassette while it is recorded: what arrives goes to the journal at once, then into the file.

An answer that is over is appended to the file. Behind those the file also says what came of the
streams that are open; that is written again as often as takes a twentieth of the time, and what
came since then stands in the journal, which `load` reads too. Whatever is written, the answers that
are over are not written again: an event costs the same in a large file as in a small one.

One program at a time records to a file, as the journal belongs to one. In a program all recorders
of a file share its tape.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import os
import re
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

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
    behind,
    headed,
    inner,
    item,
    joined,
    load,
    loaded,
    loads,
    request_text,
    response_text,
)
from normalizer.cassette.scrub import Scrubbed, Scrubber
from normalizer.doors._answer import logger
from normalizer.doors._codings import CodingError, Decoder

# The part of the time that may go into writing the file while streams are open.
_BUSY = 0.05

# A disk that has no room, or breaks, while something else is to go on.
_FULL = frozenset({errno.ENOSPC, errno.EFBIG, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)})

# An answer of so many chunks is read back with their lengths and times: that costs less than to
# write it a second time without them.
_FEW_CHUNKS = 64

_Signature = tuple[int, int, int]

_DONE = re.compile(rb"data: ?\[DONE\]\s*\Z")
# The name of the last event of a message, and of a response: its data, on the next line, is long.
_LAST = re.compile(
    rb"(?:\A|[\r\n])event: ?(?:message_stop|response\.(?:completed|incomplete|failed))[\r\n]"
)
_BLANK_LINE = re.compile(rb"(?:\r?\n|\r){2}\Z")
_TAIL = 64  # bytes: enough to see each of them, in however many pieces it comes


def now() -> float:
    """Return the seconds of the clock for the times of chunks."""
    return time.perf_counter()


class Head(NamedTuple):
    """The head of an answer."""

    status: int
    reason: str
    headers: Headers


class Tape:
    """One cassette file that clients record to. Create it with `on`."""

    def __init__(
        self, path: Path, metadata: Metadata | None = None, *, fresh: bool = False
    ) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._metadata = metadata
        self._fresh = fresh
        self._whole = 0  # interactions of the file that are over
        self._size: int | None = None  # bytes of the file that hold them
        self._takes: list[Take] = []  # those that are not over
        self._count = 0
        self._journal: Journal | None = None
        self._begun = False  # whether the journal says what stood before
        self._seen: _Signature | None = None  # the file that we know
        self._shows = False  # whether the file says something of those that are not over
        self._cost = self._written = 0.0  # seconds: of writing that, and when it was

    @classmethod
    def on(cls, path: str | os.PathLike[str], metadata: Metadata | None, *, fresh: bool) -> Tape:
        """Return the tape of a file. Two recorders on one file in this process share it."""
        key = os.path.realpath(path)
        with _tapes_lock:
            tape = _tapes.get(key)
            if tape is None:
                tape = _tapes[key] = cls(Path(key), metadata, fresh=fresh)
            elif fresh:
                tape._fresh, tape._metadata = True, metadata
            return tape

    @property
    def whole(self) -> int:
        """The number of interactions in the file that are over."""
        return self._whole

    def begin(self, request: Scrubbed, head: Head, scrubber: Scrubber) -> Take | None:
        """Start to record an answer. Returns None, with a warning, if it cannot be recorded.

        That is an answer that cannot be searched for secrets, and any answer while the disk is
        full. Raises `OSError` if the cassette cannot be written, `BlockingIOError` if another
        program records to it, and `CassetteError` if the existing file is not a cassette.
        """
        decoder = decoder_for(head.headers)
        if decoder is None:
            logger.warning("%s: not recorded, cannot be decoded", request.request.uri)
            return None
        with self.lock:
            try:
                if self._journal is None:
                    self._open()
                take = Take(self, self._count, request, head, scrubber, decoder)
                self._count += 1
                self._takes.append(take)
                if not take.whole:
                    self.add("begun", take.number, take.head())
                    # without a file the journal counts for nothing
                    if self._size is None or self._is_due():
                        self._show()
            except (OSError, CassetteError) as error:
                is_full = isinstance(error, OSError) and error.errno in _FULL
                if is_full or self._takes:
                    self.stop(error)
                if not is_full:
                    # from the first, nothing can be written there: it is the wrong place
                    raise
                return None
            return take

    def add(self, *line: object) -> None:
        """Add a line to the journal. Raises `OSError`."""
        if self._journal is None:
            return
        if not self._begun:
            self._journal.add("before", self._whole, self._size)
            self._begun = True
        self._journal.add(*line)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Write for a stream. If a write fails, the recording stops with a warning."""
        with self.lock:
            try:
                yield
            except (OSError, CassetteError) as error:
                # such a file is there where somebody else changed it meanwhile
                self.stop(error)

    def came(self, lines: bytes) -> None:
        """Add lines to the journal, and write the file if the last write was long enough ago.

        Raises `OSError`.
        """
        if self._journal is None:
            return
        self._journal.write(lines)
        if self._is_due():
            self._show()

    def ended(self, take: Take) -> None:
        """Add a stream that is over to the file, and delete the journal if it was the last.

        Raises `OSError`.
        """
        if self._journal is None or take not in self._takes:
            return
        self._takes.remove(take)
        if take.text:
            self._keep(take.text)
            self._journal.add("kept", take.number, self._whole, self._size)
        elif self._shows:
            self._show()
        if not self._takes:
            self._journal.end()
            self._journal = None

    def stop(self, error: Exception) -> None:
        """Record no more of the streams that are open; what was written of them stays."""
        said = error.strerror if isinstance(error, OSError) else None
        logger.warning("%s: the recording stops: %s", self.path, said or error)
        for take in self._takes:
            take.stop()
        self._takes.clear()
        self._seen = None
        if self._journal is not None:
            # it says what the file does not; without a file it counts for nothing
            self._journal.end(remove=not self.path.exists())
            self._journal = None

    def _open(self) -> None:
        journal = Journal.claim(self.path)
        is_new = journal.is_new
        try:
            self._load(is_new=is_new)
            journal.begin()
        except BaseException:
            journal.end(remove=is_new)
            raise
        self._journal = journal
        self._begun = False

    def _load(self, *, is_new: bool) -> None:
        """Read what the file holds, unless it is as we left it, and give it the form of ours."""
        there = _signature(self.path)
        if there is not None and there == self._seen and not self._fresh and is_new:
            return
        if there is None or self._fresh:
            self._metadata = self._metadata or _recorded_today()
            self._whole, self._size = 0, None
        else:
            self._take_in(load(self.path))
        self._fresh = False
        self._seen = _signature(self.path)
        self._shows = False

    def _take_in(self, cassette: Cassette) -> None:
        """Go on from a cassette that somebody else wrote."""
        self._metadata = cassette.metadata
        self._whole = len(cassette.interactions)
        text = joined(cassette.metadata, [item(each) for each in cassette.interactions])
        self._size = len(inner(text).encode()) if self._whole else None
        if self.path.read_bytes() != text.encode():
            _atomic.write(self.path, text.encode())

    def _keep(self, text: str) -> None:
        """Add an interaction that is over to the file, for good."""
        self._check()
        open_ones = self._open_ones() if self._takes and self._is_due() else []
        data = behind([text, *open_ones]).encode()
        if self._size is None:
            start = self._begin_file(data)
        else:
            start = self._size
            _atomic.append(self.path, start, data)
        self._size = start + len(inner(text).encode())
        self._whole += 1
        self._seen = _signature(self.path)
        self._shows = bool(open_ones)

    def _show(self) -> None:
        """Say in the file what came of the streams that are open, in the place of what it says."""
        begun = time.perf_counter()
        self._check()
        data = behind(self._open_ones()).encode()
        if self._size is not None:
            _atomic.append(self.path, self._size, data)
        elif data or self.path.exists():
            self._begin_file(data)
        self._seen = _signature(self.path)
        self._shows = bool(data)
        self._written = time.perf_counter()
        self._cost = self._written - begun

    def _open_ones(self) -> list[str]:
        return [take.so_far() for take in self._takes if not take.whole]

    def _begin_file(self, data: bytes) -> int:
        """Write a file of these interactions alone; the bytes in front of them."""
        if not data:
            _atomic.write(self.path, joined(self._metadata or Metadata(), ()).encode())
            return 0
        head = headed(self._metadata or Metadata()).encode()
        _atomic.write(self.path, head + data)
        return len(head)

    def _check(self) -> None:
        """Go on from what is there if somebody changed the file since we wrote it."""
        if _signature(self.path) == self._seen:
            return
        if self.path.exists():
            self._take_in(loaded(self.path.read_bytes(), str(self.path)))
        else:
            self._whole, self._size = 0, None
        if self._journal is not None and self._begun:
            self._journal.add("before", self._whole, self._size)

    def _is_due(self) -> bool:
        return (time.perf_counter() - self._written) * _BUSY >= self._cost


_tapes: weakref.WeakValueDictionary[str, Tape] = weakref.WeakValueDictionary()
_tapes_lock = threading.Lock()


class Take:
    """One answer during its recording. ``text`` is its text in the file, when it is over."""

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
        self._named_last = False
        self._lengths: list[int] = []
        self._times: list[float] = []
        self._end: End | None = None
        self._received = 0

    @property
    def over(self) -> bool:
        """Whether the recording is over."""
        return self._end is not None

    def feed(self, data: bytes) -> None:
        """Record a piece of the body."""
        if self.over or not data:
            return
        self._received += len(data)
        try:
            data = b"".join(self._decoder.decode(data))
        except CodingError as error:
            logger.warning("%s: recorded up to where it broke: %s", self._asked.uri, error)
            self.end("cut")
            return
        if not data:
            return
        with self._tape.lock:
            try:
                self._keep(data)
            except (OSError, CassetteError) as error:
                self._tape.stop(error)

    def stop(self) -> None:
        """Stop recording it."""
        self._end = self._end or "closed"
        self.text = self.text or ""
        self._body.clear()

    def _keep(self, data: bytes) -> None:
        seen = self._tail + data
        if not self._named_last and b"event:" in seen:
            self._named_last = _LAST.search(seen) is not None
        self._tail = seen[-_TAIL:]
        self._lengths.append(len(data))
        self._times.append(round((now() - self._begun) * 1000, 2))
        if self.whole:
            self._body += data
            return
        clear = self._mask.feed(data)
        self._body += clear
        self._tape.came(_journal.piece(self.number, self._times[-1], len(data), clear))

    def close(self) -> None:
        """Record that the client stopped reading.

        It had everything, or it did not wait for the rest. Clients of OpenAI's API stop reading at
        ``[DONE]``, before the end of the body; Codex stops at ``response.completed``.
        """
        # The length is that of the bytes that came, which may have been compressed.
        said_all = (
            _DONE.search(self._tail)
            or (self._named_last and _BLANK_LINE.search(self._tail))
            or self._received == self._expected
        )
        self.end("complete" if said_all else "closed")

    def end(self, end: End) -> None:
        """Record the end of the answer. Raises the exceptions of the user's hooks."""
        with self._tape.lock:
            if self.over:
                return
            self._end = end
            try:
                response = self._last()
                if response is not None:
                    self.text = _proved(Interaction(self._asked, response))
                    with self._tape.writing():
                        self._tape.add("ended", self.number, end)
            finally:
                # what raised is over too, and is not recorded
                self.text = self.text or ""
                self._body.clear()
                with self._tape.writing():
                    self._tape.ended(self)

    def _last(self) -> RecordedResponse | None:
        """Write what was held back, and take the whole."""
        if not self.whole:
            rest = self._mask.close()
            self._body += rest
            response: RecordedResponse | None = self.response()
            with self._tape.writing():
                self._tape.add("bytes", self.number, _journal.text(rest))
            return response
        response = self._scrubber.response(self.response(), self._known, self._tape.whole)
        if response is not None:
            with self._tape.writing():
                self._tape.add("begun", self.number, _journal.head(self._asked, response))
                times = response.times or [None] * len(response.lengths)
                for time, length in zip(times, response.lengths, strict=True):
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
    before, response = request_text(interaction.request), interaction.response
    text = before + response_text(response)
    if len(response.lengths) <= _FEW_CHUNKS:
        _prove(interaction, text)
        return text
    # All but the lists of numbers, which are many and of digits: to read them takes YAML longer
    # than all the rest.
    one_chunk = dataclasses.replace(response, lengths=(len(response.body),), times=())
    proof = Interaction(interaction.request, one_chunk)
    _prove(proof, before + response_text(one_chunk))
    return text


def _prove(interaction: Interaction, text: str) -> None:
    if loads(joined(Metadata(), [text])).interactions != (interaction,):
        raise CassetteError(f"{interaction.request.uri}: does not read back as it was recorded")


def _signature(path: Path) -> _Signature | None:
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
