"""Record beside the application: both get each chunk when it arrives.

Nothing is read in advance. Each chunk of an answer is written down and passed on. If an answer
breaks, that is recorded before its error is raised. The cassette has the body without its content
coding, so that it can be read, and searched for keys. The application gets the original bytes.
"""

from __future__ import annotations

import functools
import http
import os
import weakref
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Unpack
from urllib.parse import quote

from normalizer.cassette._tape import Head, Take, Tape
from normalizer.cassette.format import End, Headers, Metadata, RecordedRequest
from normalizer.cassette.scrub import Scrubber, ScrubOptions
from normalizer.doors._wrapping import WrappingTransport, library_of
from normalizer.doors.asgi import ASGIApp, Message, Receive, Scope, Send, without_files

_STATUSES = frozenset(http.HTTPStatus)


class RecordingTransport(WrappingTransport):
    """A transport for httpx and httpx2 that records to a cassette.

    It works in ``httpx.Client``, ``httpx.AsyncClient``, ``httpx2.Client`` and
    ``httpx2.AsyncClient``, and in several of them at once.

    * ``path``: the cassette. Its content stays, and new answers are added.
    * ``transport``: the transport that sends the requests. None: the library's own, with the
      proxies of the environment.
    * ``fresh``: start the file again with the first answer.
    * ``metadata``: for a new cassette. None: recorded today.
    * ``options``: more filters, see `ScrubOptions`.

    The file is written while the answers arrive. If the program is killed, what it had received is
    in the file or in the ``.journal`` beside it, and `load` reads both. A request without an answer
    is not recorded. If a write fails, for example on a full disk, the recording of the answer stops
    with a warning, and the application gets the rest.

    Raises `OSError` if the cassette cannot be written, `BlockingIOError` while another program has
    an open answer for the same file, `CassetteError` if the existing file is not a cassette,
    TypeError for unknown options, and whatever ``transport`` raises.

    Example::

        client = openai.OpenAI(http_client=httpx2.Client(transport=RecordingTransport("chat.yaml")))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        transport: Any = None,
        *,
        fresh: bool = False,
        metadata: Metadata | None = None,
        **options: Unpack[ScrubOptions],
    ) -> None:
        super().__init__(transport)
        self._tape = Tape.on(path, metadata, fresh=fresh)
        self._scrubber = Scrubber(options)
        self._open: weakref.WeakSet[Take] = weakref.WeakSet()

    def handle_request(self, request: Any) -> Any:
        """Send a request of httpx or httpx2. Returns a response of the same library."""
        library = library_of(request)
        sent, body = _noted(library, request, asynchronous=False)
        inner = self._inner(library, asynchronous=False).handle_request(sent)
        try:
            take = self._begin(request, bytes(body), inner)
        except BaseException:
            inner.close()
            raise
        if take is None:
            return inner
        return _response(library, inner, _streams(library)[0](library, inner, take))

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request of httpx or httpx2 on asyncio or trio.

        Returns a response of the same library.
        """
        library = library_of(request)
        sent, body = _noted(library, request, asynchronous=True)
        inner = await self._inner(library, asynchronous=True).handle_async_request(sent)
        try:
            take = self._begin(request, bytes(body), inner)
        except BaseException:
            await inner.aclose()
            raise
        if take is None:
            return inner
        return _response(library, inner, _streams(library)[1](library, inner, take))

    def close(self) -> None:
        """Close the inner transport. Answers that are still open end here."""
        self._close_takes()
        super().close()

    async def aclose(self) -> None:
        """Close the inner transport. Answers that are still open end here."""
        self._close_takes()
        await super().aclose()

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._close_takes()
        super().__exit__(exc_type, exc_value, traceback)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._close_takes()
        await super().__aexit__(exc_type, exc_value, traceback)

    def _close_takes(self) -> None:
        for take in list(self._open):
            take.close()

    def _begin(self, request: Any, body: bytes, inner: Any) -> Take | None:
        asked = self._scrubber.request(
            RecordedRequest(
                method=request.method,
                uri=str(request.url),
                headers=tuple(request.headers.multi_items()),
                body=body,
            )
        )
        if asked is None:
            return None
        head = Head(inner.status_code, inner.reason_phrase, tuple(inner.headers.multi_items()))
        take = self._tape.begin(asked, head, self._scrubber)
        if take is not None:
            self._open.add(take)
        return take


class _Recorded:
    """The body of one answer on its way to the application."""

    def __init__(self, library: Any, inner: Any, take: Take) -> None:
        self._library = library
        self._inner = inner
        self._take = take

    def _broke(self, error: Exception) -> None:
        self._take.end(_end_of(self._library, error))


class _SyncRecorded(_Recorded):
    def __iter__(self) -> Iterator[bytes]:
        try:
            for data in self._inner.stream:
                # first the file: what the application has seen, a killed program has kept
                self._take.feed(data)
                yield data
        except Exception as error:
            self._broke(error)
            raise
        self._take.end("complete")

    def close(self) -> None:
        try:
            self._take.close()
        finally:
            self._inner.close()


class _AsyncRecorded(_Recorded):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._inner.stream:
                self._take.feed(data)
                yield data
        except Exception as error:
            self._broke(error)
            raise
        self._take.end("complete")

    async def aclose(self) -> None:
        try:
            self._take.close()
        finally:
            await self._inner.aclose()


@functools.cache
def _streams(library: Any) -> tuple[Any, Any]:
    return (
        type("RecordedStream", (_SyncRecorded, library.SyncByteStream), {}),
        type("AsyncRecordedStream", (_AsyncRecorded, library.AsyncByteStream), {}),
    )


# A new response, not the inner one with another stream: one that is loaded already, as mocks make
# them, would be read without us.
def _response(library: Any, inner: Any, stream: Any) -> Any:
    return library.Response(
        inner.status_code, headers=inner.headers.raw, stream=stream, extensions=inner.extensions
    )


def _end_of(library: Any, error: Exception) -> End:
    if isinstance(error, library.TimeoutException):
        return "timeout"
    return "reset" if isinstance(error, library.NetworkError) else "cut"


class _Note:
    """The body of a request that is streamed to the upstream, and what of it was sent."""

    def __init__(self, stream: Any, body: bytearray) -> None:
        self._stream = stream
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        for data in self._stream:
            self._body.extend(data)
            yield data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._stream:
            self._body.extend(data)
            yield data

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _noted(library: Any, request: Any, *, asynchronous: bool) -> tuple[Any, bytes | bytearray]:
    """The request to send, and its body: known, or filled while it is sent."""
    # To read a body that is streamed would hold back what the upstream may want to answer to.
    try:
        return request, request.content
    except library.RequestNotRead:
        pass
    body = bytearray()
    kind = library.AsyncByteStream if asynchronous else library.SyncByteStream
    stream = type("NotedStream", (_Note, kind), {})(request.stream, body)
    sent = library.Request(
        request.method,
        request.url,
        headers=request.headers.raw,
        stream=stream,
        extensions=request.extensions,
    )
    return sent, body


class RecordingMiddleware:
    """Pure ASGI middleware that records the answers of an application to a cassette.

    ``app`` is the application. The other arguments are those of `RecordingTransport`. Each message
    of the application is a chunk. If the application raises, or returns before its answer is
    complete, the answer is recorded as cut. If the client disconnected before, it is recorded as
    closed. WebSockets and lifespan pass unchanged.

    Example::

        app.add_middleware(RecordingMiddleware, path="chat.yaml")
    """

    def __init__(
        self,
        app: ASGIApp,
        path: str | os.PathLike[str],
        *,
        fresh: bool = False,
        metadata: Metadata | None = None,
        **options: Unpack[ScrubOptions],
    ) -> None:
        self.app = app
        self._tape = Tape.on(path, metadata, fresh=fresh)
        self._scrubber = Scrubber(options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _Responder(self.app, self._tape, self._scrubber, scope, receive, send).respond()
        else:
            await self.app(scope, receive, send)


class _Responder:
    """Stand between the application and the server for one request and its answer."""

    def __init__(
        self,
        app: ASGIApp,
        tape: Tape,
        scrubber: Scrubber,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._app = app
        self._tape = tape
        self._scrubber = scrubber
        self._scope = scope
        self._receive = receive
        self._send = send
        self._body = bytearray()
        self._take: Take | None = None
        self._gone = False

    async def respond(self) -> None:
        try:
            await self._app(without_files(self._scope), self.receive, self.send)
        finally:
            if self._take is not None and not self._take.over:
                self._take.end("closed" if self._gone else "cut")

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._body += message.get("body", b"")
        elif message["type"] == "http.disconnect":
            self._gone = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            # what of the request the application has not read by now is not recorded
            self._take = self._begin(message)
        elif message["type"] == "http.response.body" and self._take is not None:
            self._take.feed(bytes(message.get("body", b"")))
            if not message.get("more_body", False):
                self._take.end("complete")
        try:
            await self._send(message)
        except OSError:
            # how a server says that the client has left
            self._gone = True
            raise

    def _begin(self, message: Message) -> Take | None:
        asked = self._scrubber.request(
            RecordedRequest(
                method=self._scope["method"],
                uri=url_of(self._scope),
                headers=texts(self._scope["headers"]),
                body=bytes(self._body),
            )
        )
        if asked is None:
            return None
        status = message["status"]
        phrase = http.HTTPStatus(status).phrase if status in _STATUSES else ""
        head = Head(status, phrase, texts(message.get("headers", [])))
        return self._tape.begin(asked, head, self._scrubber)


def url_of(scope: Scope) -> str:
    """Return the URL that the client of an ASGI request used."""
    headers = dict(texts(scope["headers"]))
    host, port = scope.get("server") or ("127.0.0.1", None)
    authority = headers.get("host") or (host if port is None else f"{host}:{port}")
    path = (scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1")
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{scope.get('scheme', 'http')}://{authority}{path}" + (f"?{query}" if query else "")


def texts(headers: Any) -> Headers:
    """Return the headers of an ASGI message as texts."""
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
