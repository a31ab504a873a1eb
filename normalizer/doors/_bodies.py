"""The bodies of the answers that `NormalizingTransport` changes, synchronous and asynchronous.

A body reads its upstream only as the client reads. Behind the end of an answer it reads on for a
moment, so that the connection can be used again. An error of the upstream is raised after all that
had arrived before it, and after the event that tells of it.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, cast

from normalizer.doors import _breaks, _task
from normalizer.doors._answer import Answer, logger
from normalizer.doors._codings import CodingError, Decoder
from normalizer.doors._deadlines import DEADLINES

# Seconds that the upstream has after `[DONE]` to end its body too, so that its connection can be
# used again; most have ended it in the same packet.
_GRACE = 0.05


class BodyStream:
    """The body of one answer, and the inner response."""

    def __init__(
        self, answer: Answer, inner: Any, library: Any, undo: Decoder, *, reads_on: bool = True
    ) -> None:
        self._answer = answer
        self._inner = inner
        self._library = library
        self._undo = undo
        self._first = b""  # what came while the head was held
        self._error: Exception | None = None  # raised once what had arrived was delivered
        self._reads_on = reads_on  # behind the end, so that the connection can be used again

    def whole(self) -> bytes | None:
        return self._first if self._answer.over else None

    def _already_read(self) -> bytes | None:
        """Return the decoded body if the inner transport has read it already."""
        if isinstance(self._inner.stream, self._library.ByteStream):
            return None  # which can be read again, as it came
        try:
            return cast(bytes, self._inner.content)
        except self._library.ResponseNotRead:
            return None

    def _last_word(self, end: Exception) -> Exception:
        """Return what is raised behind the end: an error that broke the body, else ``end``."""
        error, self._error = self._error, None
        return end if error is None else error

    def _broke(self, error: Exception) -> bytes:
        if isinstance(error, CodingError):
            error = self._library.DecodingError(str(error))
        self._error = error
        self._reads_on = False
        return self._answer.close(_breaks.of_connection(error))

    def _ended(self) -> bytes:
        self._reads_on = False
        return self._answer.close("cut in its compression" if self._undo.midway else None)


def _can_be_used_again(inner: Any) -> bool:
    """Return whether the connection of a response is reused when its body has ended."""
    if inner.extensions.get("http_version") != b"HTTP/1.1":
        return False
    ends, stays = False, True
    for given, value in inner.headers.raw:
        name = given.lower()
        if name == b"content-length" or (
            name == b"transfer-encoding" and b"chunked" in value.lower()
        ):
            ends = True
        elif name == b"connection" and b"close" in value.lower():
            stays = False
    return ends and stays


class _SyncStream(BodyStream):
    def __init__(
        self, answer: Answer, inner: Any, library: Any, undo: Decoder, *, reads_on: bool = True
    ) -> None:
        super().__init__(answer, inner, library, undo, reads_on=reads_on)
        # Not the response's own iterators, which give the connection back at the end of the body:
        # whoever reads on must still have it then.
        self._raw: Iterator[bytes] = iter(inner.stream)
        self._source = self._decoded()

    def _decoded(self) -> Iterator[bytes]:
        content = self._already_read()
        if content is not None:
            return iter((content,))
        if self._undo.idle:
            return self._raw
        return (piece for data in self._raw for piece in self._undo.decode(data))

    def begin(self) -> None:
        """Read until the head is known."""
        self._first = self._read(head=True)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._read()

    def _read(self, *, head: bool = False) -> bytes:
        """Return what the next bytes became, or b"" if the ``head`` is known without any."""
        answer = self._answer
        out, self._first = self._first, b""
        while not (out or (head and answer.head_is_known)):
            if answer.over:
                raise self._last_word(StopIteration())
            try:
                data = next(self._source, None)
                if data is None:
                    self._inner.close()
            except Exception as error:
                out = self._broke(error)
                continue
            if answer.normalizer.waiting is not None:
                out = answer.flush()  # what the silence that is over would have let go
            if not answer.over:
                out += self._ended() if data is None else answer.feed(data)
        return out

    def close(self) -> None:
        ended = self._answer.over
        self._answer.abandon()
        try:
            if ended and self._reads_on and _can_be_used_again(self._inner):
                self._reads_on = False
                self._read_to_end()
        finally:
            self._inner.close()

    def _read_to_end(self) -> None:
        network = self._inner.extensions.get("network_stream")
        reading = network.get_extra_info("socket") if network is not None else None
        if not isinstance(reading, socket.socket):
            return
        try:
            with DEADLINES.within(_GRACE, reading):
                for _ in self._raw:
                    pass
        except Exception as error:
            # Nobody waits for what is behind the end; the connection is closed, not used again.
            logger.debug("after the end of the stream: %r", error)


class _AsyncStream(BodyStream):
    def __init__(self, answer: Answer, inner: Any, library: Any, undo: Decoder) -> None:
        super().__init__(answer, inner, library, undo)
        self._raw: AsyncIterator[bytes] | None = None
        self._source = self._decoded()
        self._pending: _task.Task[bytes | None] | None = None

    def _decoded(self) -> AsyncIterator[bytes]:
        content = self._already_read()
        if content is not None:
            return _once(content)
        raw: AsyncIterator[bytes] = aiter(self._inner.stream)
        self._raw = raw
        if self._undo.idle:
            return raw
        return (piece async for data in raw for piece in self._undo.decode(data))

    async def begin(self) -> None:
        """Read until the head is known."""
        self._first = await self._read(head=True)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    def __anext__(self) -> Coroutine[Any, Any, bytes]:
        return self._read()

    async def _read(self, *, head: bool = False) -> bytes:
        """Return what the next bytes became, or b"" if the ``head`` is known without any."""
        answer = self._answer
        out, self._first = self._first, b""
        while not (out or (head and answer.head_is_known)):
            if answer.over:
                raise self._last_word(StopAsyncIteration())
            waiting = answer.normalizer.waiting
            try:
                if waiting is None and self._pending is None:
                    data = await anext(self._source, None)
                elif await self._arrives(waiting):
                    data = self._arrived()
                else:
                    out = answer.flush()
                    continue
                out = await self._finish() if data is None else answer.feed(data)
            except Exception as error:
                out = self._broke(error)
        return out

    async def _finish(self) -> bytes:
        await self._inner.aclose()
        return self._ended()

    async def _arrives(self, seconds: float | None) -> bool:
        """Wait for the next bytes. A silence that is over does not end the read: it goes on."""
        self._pending = self._pending or _task.start(self._next)
        return await self._pending.wait(seconds)

    def _arrived(self) -> bytes | None:
        pending, self._pending = self._pending, None
        return None if pending is None else pending.result()

    async def _next(self) -> bytes | None:
        return await anext(self._source, None)

    async def aclose(self) -> None:
        ended = self._answer.over
        self._answer.abandon()
        pending, self._pending = self._pending, None
        try:
            if pending is not None:
                await pending.cancel()
            elif ended and self._reads_on and _can_be_used_again(self._inner):
                self._reads_on = False
                await self._read_to_end()
        finally:
            await self._close_upstream()

    async def _read_to_end(self) -> None:
        try:
            await _task.within(_GRACE, self._read_rest)
        except Exception as error:
            # Nobody waits for what is behind the end; the connection is closed, not used again.
            logger.debug("after the end of the stream: %r", error)

    async def _read_rest(self) -> None:
        async for _ in self._source:
            pass

    async def _close_upstream(self) -> None:
        try:
            await _close(self._source)
            if self._source is not self._raw:
                await _close(self._raw)
        finally:
            try:
                await self._inner.aclose()
            finally:
                await self._answer.reported()


async def _close(iterator: Any) -> None:
    # A generator must not be left to the garbage collector. While another task reads from it, it
    # cannot be closed: that task is cut off.
    if hasattr(iterator, "aclose") and not getattr(iterator, "ag_running", False):
        await iterator.aclose()


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


@functools.cache
def streams_of(library: Any) -> tuple[Any, Any]:
    """Return the two classes, synchronous and asynchronous, for httpx or httpx2."""
    return (
        type("NormalizedStream", (_SyncStream, library.SyncByteStream), {}),
        type("AsyncNormalizedStream", (_AsyncStream, library.AsyncByteStream), {}),
    )
