"""`NormalizingMiddleware`: canonical streams from any ASGI application.

Each request that may be changed gets a responder. The responder stands between the application and
the server for that one answer. It reads nothing in advance: it sees the request while the
application reads it, and repairs the answer while the application sends it, in the application's
own task. Only a held finish needs another one, which sends it if the silence lasts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from time import monotonic
from typing import Any, Unpack
from urllib.parse import urlsplit

from normalizer.core.options import OptionFields, Options
from normalizer.core.request import RequestInfo, endpoint_of
from normalizer.doors import _breaks, _task
from normalizer.doors._answer import (
    OTHER_API,
    Answer,
    OnReport,
    Tracing,
    chosen,
    codings,
    holds_json,
    left_alone,
    logger,
    request_headers,
    why_untouched,
)
from normalizer.doors._codings import NOTHING, CodingError, decoder

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

# A request that is longer is not looked at: its answer is repaired without knowledge of it.
_MAX_REQUEST_BYTES = 64 * 1024 * 1024

_BEGINNING = 16  # bytes

# With them the server would send a file that we never see.
_SENDS_A_FILE = frozenset(("http.response.pathsend", "http.response.zerocopysend"))


class NormalizingMiddleware:
    """Pure ASGI middleware that makes the answers of an application canonical.

    * ``app``: the application.
    * ``options``: an `Options`, or its fields as keywords, but not both. Missing fields come from
      ``NORMALIZER_*`` variables. So the class also works where it is constructed with ``app`` only.
    * ``on_report``: is called with the `Report` of every answer, once, when the answer is over. An
      asynchronous function is awaited. Its exceptions are logged.
    * ``trace``: is called with the path of each request whose answer is changed, and returns who is
      told what becomes of each event (`normalizer.trace.Trace`), or None.

    After the answer has started, the report is also at ``scope["state"]["normalizer"]`` (Starlette:
    ``request.state.normalizer``). The middleware changes answers to POST requests with a JSON body
    to ``…/chat/completions``, ``…/completions``, ``…/responses``, ``…/messages`` and the option
    ``paths``, with any content type. It logs such requests that it leaves alone. Everything else
    passes unchanged, also WebSockets and lifespan. Put it inside a middleware that compresses. A
    compressed answer from an inner middleware is decompressed, or left alone with a warning if the
    module is not installed.

    Raises `OptionError` for unknown options. If the application raises, what it had sent and an
    error event are delivered first, and then the exception is raised again.

    Example::

        app.add_middleware(NormalizingMiddleware, reasoning="reasoning")

        vllm serve … --middleware normalizer.NormalizingMiddleware
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        options: Options | None = None,
        on_report: OnReport | None = None,
        trace: Tracing | None = None,
        **fields: Unpack[OptionFields],
    ) -> None:
        self.app = app
        self.options = chosen(options, fields, environ=None)
        self.on_report = on_report
        self.trace = trace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            # A path may begin with two slashes, and is no URL of a host then.
            url = f"http://app{scope['path']}"
            if endpoint_of(url, self.options.paths) is not None:
                await _Responder(self, url, scope, receive, send).respond()
                return
        await self.app(scope, receive, send)


class _Responder:
    """Stand between the application and the server for one request and its answer."""

    __slots__ = (
        "_ahead",
        "_answer",
        "_asked",
        "_began",
        "_beginning",
        "_body",
        "_decoder",
        "_flows",
        "_head",
        "_left",
        "_middleware",
        "_parts",
        "_receive",
        "_scope",
        "_send",
        "_silence",
        "_size",
        "_url",
    )

    def __init__(
        self,
        middleware: NormalizingMiddleware,
        url: str,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._middleware = middleware
        self._url = url
        self._asked = request_headers(scope["headers"])
        self._scope = scope
        self._receive = receive
        self._send = send
        self._parts: list[bytes] = []
        self._size = 0
        self._beginning = b""  # the request's first bytes: they say if it is JSON
        self._began = monotonic()
        self._body: bytes | None = None  # the request's, once the application has read all of it
        self._answer: Answer | None = None
        self._head: Message | None = None  # held until the kind of body is known
        self._decoder = NOTHING
        self._flows = False  # the head has left, and there is nothing to decode
        self._silence: _task.Task[None] | None = None
        self._ahead = False  # we ended the answer, the application has not yet
        self._left = False  # the client went away before the answer was over

    async def respond(self) -> None:
        scope = self._scope
        scope.setdefault("state", {})
        try:
            await self._middleware.app(without_files(scope), self.receive, self.send)
        except Exception as error:
            await self._cut(_breaks.of_application(error))
            raise
        else:
            await self._cut("because the application returned before its answer was complete")
        finally:
            if self._answer is not None:
                self._answer.abandon()
                await self._answer.reported()
            if self._silence is not None:
                await self._silence.cancel()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and self._answer is None:
            self._note(message)
        elif message["type"] == "http.disconnect" and self._ahead:
            # What the application does behind its `[DONE]` must not be cancelled because we ended
            # the answer there. It has the time of a held finish to come to its own end.
            await _task.sleep(self._middleware.options.finish_timeout)
        elif message["type"] == "http.disconnect":
            self._left = True
        return message

    def _note(self, message: Message) -> None:
        part = message.get("body", b"")
        self._size += len(part)
        if not self._beginning:
            self._beginning = part.lstrip()[:_BEGINNING]
        content_type = self._asked.get("content-type")
        upload = bool(self._beginning) and not holds_json(content_type, self._beginning)
        if upload or self._size > _MAX_REQUEST_BYTES:
            self._parts.clear()
            return
        self._parts.append(part)
        if not message.get("more_body", False):
            self._body = b"".join(self._parts)
            self._parts.clear()

    async def send(self, message: Message) -> None:
        answer = self._answer
        if answer is None or message["type"] != "http.response.body":
            await self._send_other(message)
            return
        if self._silence is not None:
            await self._silence_is_broken()
        if not (self._flows and message.get("more_body", False)):
            await self._continue(answer, message)
        elif not answer.over:
            # Most messages come here, so the server's `send` is the only other coroutine.
            out = answer.feed(message.get("body", b""))
            if answer.over:
                await self._end(answer, out, more_body=True)
            elif out:
                await self._send({"type": "http.response.body", "body": out, "more_body": True})
        if answer.normalizer.waiting is not None:
            self._watch_silence(answer)

    async def _send_other(self, message: Message) -> None:
        """Send what is no part of the body of an answer that is changed."""
        kind = message["type"]
        if kind == "http.response.start":
            await self._start(message)
            return
        if kind in _SENDS_A_FILE:
            # Sent although it was not offered; a file is no stream of a model's.
            if self._head is not None:
                await self._send(self._head)
            self._answer = self._head = None
        await self._send(message)

    async def _start(self, message: Message) -> None:
        headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", [])]
        undo = decoder(codings(headers))
        path, status = self._scope["path"], message["status"]
        request = RequestInfo.parse(
            self._url,
            self._body,
            paths=self._middleware.options.paths,
            headers=self._asked,
        )
        why = why_untouched(status, self._asked.get("content-type"), self._beginning or None)
        if request.endpoint is None:
            why = why or OTHER_API
        if why is not None:
            left_alone(path, why)
        elif undo is None:
            logger.warning("%s: left alone, cannot decode %s", path, ", ".join(codings(headers)))
        if why is not None or undo is None:
            await self._send(message)
            return
        self._decoder = undo
        self._head = message
        self._answer = Answer(
            request,
            self._middleware.options,
            self._middleware.on_report,
            path=path,
            status=status,
            headers=headers,
            coded=not undo.idle,
            began=self._began,
            upstream=_upstream(self._scope),
            tracing=self._middleware.trace,
        )
        self._body, self._asked = None, {}
        self._scope.setdefault("state", {})["normalizer"] = self._answer.report
        await self._deliver(self._answer, b"")

    async def _continue(self, answer: Answer, message: Message) -> None:
        more_body = message.get("more_body", False)
        if answer.over:
            self._ahead = more_body
            return
        try:
            for data in self._decoder.decode(message.get("body", b"")):
                out = answer.feed(data)
                if answer.over:
                    await self._end(answer, out, more_body=more_body)
                    return
                await self._deliver(answer, out)
            if not more_body:
                cut = "cut in its compression" if self._decoder.midway else None
                await self._end(answer, answer.close(cut), more_body=False)
        except CodingError as error:
            await self._end(answer, answer.close(f"CodingError: {error}"), more_body=more_body)

    async def _end(self, answer: Answer, out: bytes, *, more_body: bool) -> None:
        """Deliver the end of an answer. ``more_body``: the application has not ended it yet."""
        self._ahead = more_body
        await self._deliver(answer, out)
        await answer.reported()

    async def _deliver(self, answer: Answer, out: bytes, *, cut: bool = False) -> None:
        if self._head is not None:
            if not out and not answer.head_is_known:
                return
            status, headers = answer.head(out if answer.over else None)
            if answer.streams:
                headers = _unbuffered(headers)
            head, self._head = {**self._head, "status": status, "headers": headers}, None
            self._flows = self._decoder.idle
            await self._send(head)
        more_body = cut or not answer.over
        if out or not more_body:
            await self._send({"type": "http.response.body", "body": out, "more_body": more_body})

    def _watch_silence(self, answer: Answer) -> None:
        """Let a held finish go once the application has been silent for long enough."""
        seconds = answer.normalizer.waiting
        if seconds is not None and not answer.over:
            self._silence = _task.start(partial(self._flush, answer), after=seconds)

    async def _flush(self, answer: Answer) -> None:
        if self._silence is None:
            return  # the application sent something at the same moment
        out = answer.flush()
        self._ahead = answer.over
        await self._deliver(answer, out)
        if self._silence is not None:
            self._watch_silence(answer)

    async def _silence_is_broken(self) -> None:
        silence, self._silence = self._silence, None
        if silence is None:
            return
        if not silence.begun:
            await silence.cancel()
            return
        # What is being sent has left the normaliser: to cancel it would lose it.
        await silence.wait()
        silence.result()

    async def _cut(self, why: str) -> None:
        """Deliver what there is of an answer that the application did not complete."""
        answer = self._answer
        # An application that stops because the client left has cut nothing.
        if answer is None or answer.over or self._left:
            return
        await self._silence_is_broken()
        # With its head still held it can leave as a whole answer, of which it says what it is.
        whole = self._head is not None
        await self._deliver(answer, answer.close(why), cut=not whole)


def without_files(scope: Scope) -> Scope:
    """Return the scope without the extensions that send a file past us."""
    extensions = scope.get("extensions") or {}
    if _SENDS_A_FILE.isdisjoint(extensions):
        return scope
    offered = {name: extensions[name] for name in extensions if name not in _SENDS_A_FILE}
    return {**scope, "extensions": offered}


def _upstream(scope: Scope) -> str | None:
    """Return host and port of the upstream, if the application is our proxy."""
    origin = getattr(scope.get("state", {}).get("upstream"), "origin", None)
    return urlsplit(origin).netloc if isinstance(origin, str) else None


def _unbuffered(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    names = {name.lower() for name, _ in headers}
    wanted = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    return [*headers, *(header for header in wanted if header[0] not in names)]
