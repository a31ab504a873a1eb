"""A plain forwarding ASGI application over aiohttp. It knows nothing about models or streams.

We measured three clients under uvicorn with uvloop and httptools. aiohttp needs the least CPU for
each event of a paced stream: httpx2 needs 3.2 times as much, and httpx 4.3 times.

A request and its answer end together. While it waits for the upstream, it watches `receive`: a
client that disconnects closes the connection to the upstream. If the upstream breaks, it raises, so
that the connection to the client does not look complete.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from normalizer.core.exceptions import NormalizerError
from normalizer.core.request import RequestInfo
from normalizer.doors._codings import CodingError, Decoder, decoder
from normalizer.doors.asgi import Message, Receive, Scope, Send
from normalizer.proxy.upstreams import (
    TargetError,
    Upstream,
    Upstreams,
    to_client,
    to_upstream,
    without_keys,
)

logger = logging.getLogger("normalizer.proxy")

# As much of a JSON body is read to find its model; a longer one is refused with 413.
MAX_BODY_BYTES = 64 * 1024 * 1024

# `model` where only numbers, strings and words are in front of it: the body need not be whole.
_STRING = rb'"(?:[^"\\]|\\.)*+"'
_EARLY_MODEL = re.compile(
    rb"\s*\{(?:\s*(?!\"model\")%b\s*:\s*(?:%b|[\w.+-]+)\s*,)*+\s*\"model\"\s*:\s*(%b)"
    % (_STRING, _STRING, _STRING)
)

# Seconds that an idle connection is kept: less than the five after which uvicorn and node close
# theirs, for a POST on a connection that is being closed cannot be sent again.
_KEEP_ALIVE = 4.0


class UpstreamBrokenError(NormalizerError):
    """The upstream's body broke after its head was forwarded."""

    ended_because = "its connection broke"


class UpstreamSilentError(UpstreamBrokenError):
    """The upstream was silent in the middle of its body for longer than the timeout."""

    ended_because = "nothing came within the timeout"


class ShuttingDownError(UpstreamBrokenError):
    """The answer was not complete when the time for the shutdown was over."""

    ended_because = "this server was shut down"


class ClientLeftError(NormalizerError):
    """The client closed its connection in the middle of its request."""


class RefusedError(NormalizerError):
    """The body of a request is too long or too slow: a status and an error message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Forward:
    """Forward each HTTP request to its upstream, and stream the answer back.

    * ``upstreams``: the servers. With routes, a body that begins with ``{`` is read until its model
      is known. A body above ``max_body_bytes`` gets a 413. Other bodies are forwarded as they come.
    * ``connect_timeout``: the limit for a connection, in seconds.
    * ``read_timeout``: the longest silence before the head and within the body, in seconds.
    * ``body_timeout``: the longest silence of the client within its body, in seconds. Then it gets
      a 408.

    An unreachable upstream gives a 502 and a slow one a 504, both with an error in the API's form.
    The upstream is at ``scope["state"]["upstream"]`` before its status is sent.

    Call `open` before the first request and `close` after the last, on the same event loop.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        *,
        connect_timeout: float = 10.0,
        read_timeout: float = 600.0,
        body_timeout: float = 60.0,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self.upstreams = upstreams
        self.body_timeout = body_timeout
        self.max_body_bytes = max_body_bytes
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._session: aiohttp.ClientSession | None = None
        self._keys: dict[Upstream, str | None] = {}
        self._proxies: dict[Upstream, str | None] = {}

    def open(self) -> None:
        """Create the connection pool.

        Raises `UpstreamError` if the variable of a key is not set.
        """
        self._keys = {upstream: upstream.key() for upstream in self.upstreams}
        self._proxies = {upstream: _proxy(upstream) for upstream in self.upstreams}
        self._session = aiohttp.ClientSession(
            # As many connections as there are streams: who limits them is the upstream.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self._connect_timeout, sock_read=self._read_timeout
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            max_line_size=65536,
            max_field_size=65536,
        )

    async def close(self) -> None:
        """Close the idle connections."""
        if self._session is not None:
            await self._session.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _Exchange(self, scope, receive, send).run()

    async def request(
        self,
        upstream: Upstream,
        scope: Scope,
        *,
        data: bytes | AsyncIterator[bytes] | None = None,
        identity: bool = False,
    ) -> aiohttp.ClientResponse:
        """Forward a request. Returns the answer when its head has come.

        ``identity`` asks for an answer without compression. Raises the exceptions of aiohttp, and
        `TargetError` for an invalid target.
        """
        if self._session is None:
            raise RuntimeError("Forward.open() was not called")
        path = scope.get("raw_path") or scope["path"].encode()
        query, key = scope["query_string"].decode("latin-1"), self._keys[upstream]
        target = upstream.target(
            path.decode("latin-1"), query if key is None else without_keys(query)
        )
        headers = to_upstream(scope["headers"], key=key, identity=identity)
        return await self._session.request(
            scope["method"],
            # Encoded as the client did it: what it may mean is the upstream's business.
            URL(target, encoded=True),
            headers=headers,
            data=data,
            allow_redirects=False,
            proxy=self._proxies[upstream],
        )


class _Exchange:
    """One request and its answer."""

    def __init__(self, forward: Forward, scope: Scope, receive: Receive, send: Send) -> None:
        self._forward = forward
        self._scope = scope
        self._receive = receive
        self._send = send
        self._uploaded = asyncio.Event()
        self._begun = False

    async def run(self) -> None:
        try:
            body, model = await self._body()
        except ClientLeftError:
            return
        except RefusedError as error:
            await self._refuse(error)
            return
        upstream = self._forward.upstreams.of(model)
        self._scope.setdefault("state", {})["upstream"] = upstream
        touched = self._scope["method"] == "POST" and _endpoint(self._scope) is not None
        asking = asyncio.ensure_future(
            self._forward.request(upstream, self._scope, data=body, identity=touched)
        )
        leaving = asyncio.ensure_future(self._left())
        try:
            await asyncio.wait({asking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                await self._answer(asking.result(), leaving)
        except TargetError as error:
            await respond(self._send, 400, error_body(f"{error}.", "invalid_request_error"))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if leaving.done() or isinstance(error.__cause__, ClientLeftError):
                return
            if isinstance(error.__cause__, RefusedError) and not self._begun:
                await self._refuse(error.__cause__)
                return
            await self._failed(upstream, error)
        except RefusedError as error:
            if not self._begun:
                await self._refuse(error)
        except asyncio.CancelledError:
            if not self._begun:
                raise
            raise ShuttingDownError("the proxy is shutting down") from None
        finally:
            leaving.cancel()
            if not asking.done():
                asking.cancel()
            elif not asking.cancelled() and asking.exception() is None:
                # Where its body was read to its end the connection is back in the pool already.
                asking.result().close()
            await asyncio.wait({asking, leaving})

    async def _body(self) -> tuple[bytes | AsyncIterator[bytes] | None, str | None]:
        """Return the body to forward, and its model if a route needs it."""
        path, limit = self._scope["path"], self._forward.max_body_bytes
        begun, more = await self._more()
        routed = bool(self._forward.upstreams.routes)
        pieces, size = [begun], len(begun)
        ahead = routed and more
        while ahead:
            if len(pieces) < 3:
                start = b"".join(pieces)
                if start.lstrip()[:1] not in (b"", b"{"):
                    break
                if (early := _early_model(start)) is not None:
                    return self._rest(start), early
            if size > limit:
                raise RefusedError(413, f"The body is longer than {limit} bytes (--max-body-bytes)")
            piece, ahead = await self._more()
            pieces.append(piece)
            size += len(piece)
            more = ahead
        if more:
            return self._rest(b"".join(pieces)), None
        if routed and size > limit and pieces[0].lstrip()[:1] in (b"{", b""):
            raise RefusedError(413, f"The body is longer than {limit} bytes (--max-body-bytes)")
        whole = b"".join(pieces)
        self._uploaded.set()
        model = None
        if routed:
            model = RequestInfo.parse(path, whole).model if whole else _model_in(path)
        return whole or None, model

    async def _more(self) -> tuple[bytes, bool]:
        try:
            async with asyncio.timeout(self._forward.body_timeout):
                message = await self._receive()
        except TimeoutError:
            seconds = self._forward.body_timeout
            raise RefusedError(
                408, f"No more of the body came within {seconds:g} seconds"
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        return message.get("body", b""), message.get("more_body", False)

    async def _refuse(self, error: RefusedError) -> None:
        body = error_body(f"{error}.", "invalid_request_error")
        await respond(self._send, error.status, body, close=True)

    async def _rest(self, begun: bytes) -> AsyncIterator[bytes]:
        yield begun
        more = True
        while more:
            piece, more = await self._more()
            if piece:
                yield piece
        self._uploaded.set()

    async def _left(self) -> None:
        """Return when the client has disconnected. Until then, receive its body."""
        await self._uploaded.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _answer(
        self, response: aiohttp.ClientResponse, leaving: asyncio.Future[None]
    ) -> None:
        # Closing it makes the read that waits raise, which costs nothing for each event.
        leaving.add_done_callback(lambda _: response.close())
        undo, why = _transfer_decoder(response)
        if undo is None:
            message = f"The upstream's answer cannot be passed on: {why}."
            await respond(self._send, 502, error_body(message, "upstream_invalid"))
            return
        headers = to_client(response.raw_headers, response.status)
        await self._send(
            {"type": "http.response.start", "status": response.status, "headers": headers}
        )
        self._begun = True
        content = response.content
        try:
            while data := await content.readany():
                for piece in undo.decode(data):
                    await self._send(
                        {"type": "http.response.body", "body": piece, "more_body": True}
                    )
        except CodingError as error:
            raise UpstreamBrokenError(f"CodingError: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError):
            # aiohttp raises in front of what it has read already, which may be half of an answer.
            content.set_exception(None)  # type: ignore[arg-type]
            for piece in undo.decode(content.read_nowait()):
                if piece:
                    await self._send(
                        {"type": "http.response.body", "body": piece, "more_body": True}
                    )
            raise
        await self._send({"type": "http.response.body", "body": b""})

    async def _failed(self, upstream: Upstream, error: Exception) -> None:
        if self._begun:
            silent = isinstance(error, TimeoutError)
            logger.warning("%s: broke off: %s", upstream.origin, _reason(error))
            raise (UpstreamSilentError if silent else UpstreamBrokenError)(
                _reason(error)
            ) from error
        if isinstance(error, TimeoutError):
            status, kind, what = 504, "upstream_timeout", "does not answer"
        else:
            status, kind, what = 502, "upstream_unreachable", "cannot be reached"
        message = f"The upstream {upstream.origin} {what}: {_reason(error)}."
        logger.warning("%s", message)
        await respond(self._send, status, error_body(message, kind))


def error_body(message: str, kind: str) -> dict[str, Any]:
    """Return an error in the API's form."""
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


async def respond(send: Send, status: int, body: Any, *, close: bool = False) -> None:
    """Send an answer of our own: an object as JSON, or bytes as plain text.

    ``close`` closes the connection after the answer.
    """
    plain = isinstance(body, bytes)
    content = body if plain else json.dumps(body).encode()
    content_type = b"text/plain; charset=utf-8" if plain else b"application/json"
    start: Message = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", content_type),
            (b"content-length", b"%d" % len(content)),
            *([(b"connection", b"close")] if close else []),
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": content})


def _early_model(start: bytes) -> str | None:
    found = _EARLY_MODEL.match(start)
    try:
        return json.loads(found[1]) or None if found else None
    except ValueError:
        return None


def _transfer_decoder(response: aiohttp.ClientResponse) -> tuple[Decoder | None, str]:
    """Return a decoder for the transfer codings of an answer, or None and the reason."""
    if not 200 <= response.status < 600:
        return None, f"its status is {response.status}"
    values = response.headers.getall("Transfer-Encoding", [])
    names = [name.strip().lower() for value in values for name in value.split(",")]
    names = [name for name in names if name not in ("", "chunked", "identity")]
    return decoder(names), f"its Transfer-Encoding is {', '.join(names)}"


def _endpoint(scope: Scope) -> str | None:
    return RequestInfo.parse(f"http://app{scope['path']}").endpoint


def _model_in(path: str) -> str | None:
    """Return the model in the path of `GET /v1/models/<model>`."""
    _, found, model = path.partition("/models/")
    return model if found and model else None


def _proxy(upstream: Upstream) -> str | None:
    """Return the proxy of the environment. aiohttp itself would also read keys from ~/.netrc."""
    scheme, _, host = upstream.origin.partition("://")
    if proxy_bypass(host):
        return None
    proxies = getproxies()
    return proxies.get(scheme) or proxies.get("all")


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "no connection within the timeout"
    if isinstance(error, TimeoutError):
        return "nothing came within the timeout"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted ({error.certificate_error})"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        if isinstance(cause, ssl.SSLError):
            return f"it does not speak TLS ({cause.reason or cause})"
        # asyncio's own words have the address, which the message names already
        return os.strerror(cause.errno) if cause.errno else str(cause)
    if isinstance(error, aiohttp.ClientResponseError):
        # Its text has the URL in it, and a URL may have a key in its query.
        return f"it does not speak HTTP ({error.message.splitlines()[0]})"
    return f"{type(error).__name__}: {error}"
