"""`ReplayTransport`: play a cassette to a client of httpx or httpx2, as the original stream."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack, get_args

from normalizer.cassette import _playing
from normalizer.cassette._matching import HIDDEN, MATCH_ON, Source, UnmatchedRequestError
from normalizer.cassette._playing import Pace, Played, Player, Playing
from normalizer.cassette._vcrpy import Matcher
from normalizer.cassette.faults import Fault
from normalizer.cassette.format import Interaction, Metadata, RecordedRequest
from normalizer.cassette.record import RecordingTransport
from normalizer.cassette.scrub import ScrubOptions
from normalizer.doors._wrapping import WrappingTransport, library_of

RecordMode = Literal["none", "once", "new_episodes", "all", "rewrite"]


class ReplayTransport(WrappingTransport):
    """A transport for httpx and httpx2 that plays the answers of a cassette as streams.

    It works in ``httpx.Client``, ``httpx.AsyncClient``, ``httpx2.Client`` and
    ``httpx2.AsyncClient``.

    * ``cassettes``: a path or a `Cassette`, or several of them.
    * ``pace``: ``"instant"``, ``"recorded"``, or a speed. 2.0 is twice as fast as recorded.
    * ``split``: None keeps the recorded chunks. ``"bytes"``, ``"events"`` and ``"random:SEED"``
      split the same bytes in other places.
    * ``faults``: faults of `normalizer.cassette.faults` for every answer, applied in order.
    * ``match_on``: names of vcrpy's matchers (``method``, ``scheme``, ``host``, ``port``, ``path``,
      ``query``, ``uri``, ``headers``, ``body``, ``raw_body``), or functions of two requests of
      vcrpy. JSON bodies are compared as JSON, with any content type.
    * ``allow_playback_repeats``: play the last matching answer again after all were played.
    * ``record_mode``: the words of pytest-recording. ``"none"`` sends nothing. ``"once"`` records
      if there is no file. ``"new_episodes"`` records requests without an answer. ``"all"`` and
      ``"rewrite"`` record everything to a new file. ``transport`` and ``metadata`` are for
      recording, as in `RecordingTransport`.
    * ``options``: the filters of the recording, see `ScrubOptions`. A request is filtered in the
      same way before it is compared.

    A recorded answer that broke delivers what was recorded. Then it raises the error of the
    library: ``RemoteProtocolError`` if it was cut, ``ReadError`` for a reset, and ``ReadTimeout``,
    without waiting, for a timeout.

    Raises `UnmatchedRequestError` for a request without an answer, `CassetteError` and `OSError`
    for a file that cannot be read or a fault whose place is not in the answer, ValueError for bad
    options, and TypeError for unknown ones.

    Example::

        transport = ReplayTransport("cassettes/vllm/text.yaml", pace="recorded")
        client = openai.OpenAI(http_client=httpx2.Client(transport=transport), api_key="none")
    """

    def __init__(
        self,
        cassettes: Source | Iterable[Source],
        pace: Pace = "instant",
        *,
        split: str | None = None,
        faults: Sequence[Fault] = (),
        match_on: Sequence[str | Matcher] = MATCH_ON,
        allow_playback_repeats: bool = False,
        record_mode: RecordMode = "none",
        transport: Any = None,
        metadata: Metadata | None = None,
        **options: Unpack[ScrubOptions],
    ) -> None:
        super().__init__(transport)
        if record_mode not in get_args(RecordMode):
            words = ", ".join(get_args(RecordMode))
            raise ValueError(f"record_mode: {record_mode!r} is none of {words}")
        self._recording: RecordingTransport | None = None
        if record_mode != "none":
            if not isinstance(cassettes, (str, os.PathLike)):
                raise ValueError(f"record_mode: {record_mode!r} needs the path of one cassette")
            there = Path(cassettes).exists()
            afresh = record_mode in ("all", "rewrite")
            if record_mode != "once" or not there:
                self._recording = RecordingTransport(
                    cassettes, transport, fresh=afresh, metadata=metadata, **options
                )
            if afresh or not there:
                # what is recorded now is not played in the same run, as with vcrpy
                cassettes = ()
        self._player = Player(
            cassettes,
            pace=pace,
            split=split,
            faults=faults,
            match_on=match_on,
            allow_playback_repeats=allow_playback_repeats,
            options=options,
        )

    @property
    def unplayed(self) -> tuple[Interaction, ...]:
        """The recorded interactions that were not requested yet."""
        return self._player.recordings.unplayed

    def handle_request(self, request: Any) -> Any:
        """Answer a request of httpx or httpx2. Returns a response of the same library."""
        __tracebackhide__ = HIDDEN
        library = library_of(request)
        request.read()
        asked = self._player.asked(_recorded(request))
        if asked is None:
            return self._inner(library, asynchronous=False).handle_request(request)
        try:
            played, playing = self._player.play(asked)
        except UnmatchedRequestError:
            if self._recording is None:
                raise
            return self._recording.handle_request(request)
        return _response(library, played, _streams(library)[0](library, playing, played.end))

    async def handle_async_request(self, request: Any) -> Any:
        """Answer a request of httpx or httpx2. Returns a response of the same library."""
        __tracebackhide__ = HIDDEN
        library = library_of(request)
        await request.aread()
        asked = self._player.asked(_recorded(request))
        if asked is None:
            return await self._inner(library, asynchronous=True).handle_async_request(request)
        try:
            played, playing = self._player.play(asked)
        except UnmatchedRequestError:
            if self._recording is None:
                raise
            return await self._recording.handle_async_request(request)
        return _response(library, played, _streams(library)[1](library, playing, played.end))

    def close(self) -> None:
        """Close the inner transport."""
        super().close()
        if self._recording is not None:
            self._recording.close()

    async def aclose(self) -> None:
        """Close the inner transport."""
        await super().aclose()
        if self._recording is not None:
            await self._recording.aclose()


def _recorded(request: Any) -> RecordedRequest:
    return RecordedRequest(
        method=request.method,
        uri=str(request.url),
        headers=tuple(request.headers.multi_items()),
        body=request.content,
    )


def _response(library: Any, played: Played, stream: Any) -> Any:
    # clients that log say which version it was
    extensions = {"http_version": b"HTTP/1.1"}
    if played.reason:
        extensions["reason_phrase"] = played.reason.encode("ascii", "replace")
    headers = [(name.encode(), value.encode()) for name, value in played.headers]
    return library.Response(played.status, headers=headers, stream=stream, extensions=extensions)


class _PlayedBody:
    def __init__(self, library: Any, playing: Playing, end: str) -> None:
        self._library = library
        self._playing = playing
        self._end = end

    def _raise(self) -> None:
        if self._end != "complete":
            name, words = _playing.BREAKS[self._end]
            raise getattr(self._library, name)(words)


class _SyncPlayedBody(_PlayedBody):
    def __iter__(self) -> Iterator[bytes]:
        while (coming := self._playing.next()) is not None:
            wait, data = coming
            if wait:
                _playing.sleep(wait)
            if data:
                yield data
        self._raise()


class _AsyncPlayedBody(_PlayedBody):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (coming := self._playing.next()) is not None:
            wait, data = coming
            await _playing.asleep(wait)
            if data:
                yield data
        self._raise()


@functools.cache
def _streams(library: Any) -> tuple[Any, Any]:
    return (
        type("PlayedStream", (_SyncPlayedBody, library.SyncByteStream), {}),
        type("AsyncPlayedStream", (_AsyncPlayedBody, library.AsyncByteStream), {}),
    )
