"""`NormalizingTransport`: canonical streams for every client built on httpx or httpx2.

One class serves both libraries, synchronous and asynchronous. The request shows the library, so
neither is imported before it is used. A response needs a stream that is an instance of that
library's `SyncByteStream` or `AsyncByteStream`: `_bodies.py` has them.
"""

from __future__ import annotations

from time import monotonic
from typing import Any, Unpack

from normalizer.core.options import OptionError, Options
from normalizer.core.request import RequestInfo, endpoint_of
from normalizer.doors._answer import (
    OTHER_API,
    Answer,
    OnReport,
    Tracing,
    chosen,
    codings,
    is_asynchronous,
    left_alone,
    logger,
    request_headers,
    why_untouched,
)
from normalizer.doors._bodies import BodyStream, streams_of
from normalizer.doors._codings import NOTHING, Decoder, decoder
from normalizer.doors._pool import TransportFields, split
from normalizer.doors._wrapping import WrappingTransport, library_of


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
    * ``trace``: is called with the path of each request whose answer is changed, and returns who is
      told what becomes of each event (`normalizer.trace.Trace`), or None.

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
        trace: Tracing | None = None,
        **fields: Unpack[TransportFields],
    ) -> None:
        stream_fields, pool = split(fields, transport)
        super().__init__(transport, pool)
        self._options = chosen(options, stream_fields, environ={})
        self._on_report = on_report
        self._tracing = trace
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
        stream = streams_of(library)[0](answer, inner, library, undo, reads_on=plain)
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
        stream = streams_of(library)[1](answer, inner, library, undo)
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
            tracing=self._tracing,
        )
        return answer, undo


def _response(library: Any, answer: Answer, inner: Any, stream: BodyStream) -> Any:
    status, headers = answer.head(stream.whole())
    extensions = {**inner.extensions, "normalizer": answer.report}
    if status != inner.status_code:
        extensions.pop("reason_phrase", None)
    return library.Response(status, headers=headers, stream=stream, extensions=extensions)
