"""`NormalizingTransport`: canonical streams for every client built on httpx or httpx2.

One class serves both libraries, synchronous and asynchronous. The request shows the library, so
neither is imported before it is used. A response needs a stream that is an instance of that
library's `SyncByteStream` or `AsyncByteStream`, so those two classes are made for each library.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from time import monotonic
from typing import Any, Unpack, cast

from normalizer.core.options import OptionError, Options
from normalizer.core.request import RequestInfo, endpoint_of
from normalizer.doors import _breaks, _task
from normalizer.doors._answer import (
    OTHER_API,
    Answer,
    OnReport,
    chosen,
    codings,
    is_asynchronous,
    left_alone,
    logger,
    request_headers,
    why_untouched,
)
from normalizer.doors._codings import NOTHING, CodingError, Decoder, decoder
from normalizer.doors._deadlines import DEADLINES
from normalizer.doors._pool import TransportFields, split
from normalizer.doors._wrapping import WrappingTransport, library_of

# Seconds that the upstream has after `[DONE]` to end its body too, so that its connection can be
# used again; most have ended it in the same packet.
_GRACE = 0.05


class NormalizingTransport(WrappingTransport):
    """A transport for httpx and httpx2 that makes the answers of models canonical.

    It works in ``httpx.Client``, ``httpx.AsyncClient``, ``httpx2.Client`` and
    ``httpx2.AsyncClient``.

    * ``transport``: the transport that sends the requests. None: the library's own
      ``HTTPTransport`` or ``AsyncHTTPTransport`` with the proxies of the environment. (A client
      with a ``transport=`` does not read these proxies itself.)
    * the options of that ``HTTPTransport`` as keywords (``limits``, ``verify``, ``cert``,
      ``http2``, ``proxy``, ``trust_env``, ``retries`` …). A client with a ``transport=`` ignores
      its own. Without ``limits`` there are 1,000 connections, and 100 of them are kept alive. The
      clients of openai-python have as many, and the libraries' own clients have fewer.
    * ``options``: an `Options`, or its fields as keywords, but not both.
    * ``on_report``: is called with the `Report` of every answer, once, when the answer is over. Its
      exceptions are logged. An asynchronous function is awaited in asynchronous clients. With a
      synchronous client it raises `OptionError`.

    The report is also at ``response.extensions["normalizer"]``. It is complete when the body has
    been read. The transport changes answers to POST requests with a JSON body to
    ``…/chat/completions``, ``…/completions``, ``…/responses`` and ``…/messages``. Everything else
    passes unchanged. A request body that is streamed (an iterator) is not read in advance: its
    answer is repaired without knowledge of the request.

    Raises `OptionError` for unknown options and for pool options together with a ``transport``,
    TypeError for a request that ``transport`` cannot send, and whatever ``transport`` raises. If a
    connection breaks in the middle of an answer, what arrived is delivered before the exception.

    Example::

        http_client = openai.DefaultHttpxClient(transport=NormalizingTransport())
        client = openai.OpenAI(http_client=http_client)
    """

    def __init__(
        self,
        transport: Any = None,
        *,
        options: Options | None = None,
        on_report: OnReport | None = None,
        **fields: Unpack[TransportFields],
    ) -> None:
        stream_fields, pool = split(fields, transport)
        super().__init__(transport, pool)
        self._options = chosen(options, stream_fields, environ={})
        self._on_report = on_report
        self._awaits_on_report = is_asynchronous(on_report)

    def handle_request(self, request: Any) -> Any:
        """Send a request of httpx or httpx2. Returns a response of the same library."""
        library = library_of(request)
        if self._awaits_on_report:
            raise OptionError("on_report is asynchronous, and a synchronous client cannot await it")
        began = monotonic()
        inner = self._inner(library, asynchronous=False).handle_request(request)
        answer, undo = self._answer(library, request, inner, began)
        if answer is None:
            return inner
        # Of others it is not known when they give the connection to somebody else.
        plain = self._transport is None or type(self._transport) is library.HTTPTransport
        stream = _streams(library)[0](answer, inner, library, undo, reads_on=plain)
        try:
            stream.begin()
        except BaseException:
            stream.close()
            raise
        return _response(library, answer, inner, stream)

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request of httpx or httpx2 on asyncio or trio.

        Returns a response of the same library.
        """
        library = library_of(request)
        began = monotonic()
        inner = await self._inner(library, asynchronous=True).handle_async_request(request)
        answer, undo = self._answer(library, request, inner, began)
        if answer is None:
            return inner
        stream = _streams(library)[1](answer, inner, library, undo)
        try:
            await stream.begin()
        except BaseException:
            await stream.aclose()
            raise
        return _response(library, answer, inner, stream)

    def _answer(
        self, library: Any, request: Any, inner: Any, began: float
    ) -> tuple[Answer | None, Decoder]:
        untouched = None, NOTHING
        if request.method != "POST":
            return untouched
        url = str(request.url)
        if endpoint_of(url, self._options.paths) is None:
            return untouched
        try:
            body = request.content
        except library.RequestNotRead:
            body = None
        asked = request_headers(request.headers.raw)
        info = RequestInfo.parse(url, body, paths=self._options.paths, headers=asked)
        why = why_untouched(inner.status_code, asked.get("content-type"), body)
        if info.endpoint is None:
            why = why or OTHER_API
        if why is not None:
            left_alone(request.url.path, why)
            return untouched
        headers = inner.headers.raw
        undo = decoder(codings(headers))
        if undo is None:
            path, names = request.url.path, ", ".join(codings(headers))
            logger.warning("%s: left alone, cannot decode %s", path, names)
            return untouched
        answer = Answer(
            info,
            self._options,
            self._on_report,
            path=request.url.path,
            status=inner.status_code,
            headers=headers,
            coded=not undo.idle,
            began=began,
            upstream=request.url.netloc.decode("ascii"),
        )
        return answer, undo


class _Stream:
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


class _SyncStream(_Stream):
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


class _AsyncStream(_Stream):
    def __init__(self, answer: Answer, inner: Any, library: Any, undo: Decoder) -> None:
        super().__init__(answer, inner, library, undo)
        self._raw: AsyncIterator[bytes] = aiter(inner.stream)
        self._source = self._decoded()
        self._pending: _task.Task[bytes | None] | None = None

    def _decoded(self) -> AsyncIterator[bytes]:
        content = self._already_read()
        if content is not None:
            return _once(content)
        if self._undo.idle:
            return self._raw
        return (piece async for data in self._raw for piece in self._undo.decode(data))

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
                if data is None:
                    await self._inner.aclose()
            except Exception as error:
                out = self._broke(error)
            else:
                out = self._ended() if data is None else answer.feed(data)
        return out

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
def _streams(library: Any) -> tuple[Any, Any]:
    return (
        type("NormalizedStream", (_SyncStream, library.SyncByteStream), {}),
        type("AsyncNormalizedStream", (_AsyncStream, library.AsyncByteStream), {}),
    )


def _response(library: Any, answer: Answer, inner: Any, stream: _Stream) -> Any:
    status, headers = answer.head(stream.whole())
    extensions = {**inner.extensions, "normalizer": answer.report}
    if status != inner.status_code:
        extensions.pop("reason_phrase", None)
    return library.Response(status, headers=headers, stream=stream, extensions=extensions)
