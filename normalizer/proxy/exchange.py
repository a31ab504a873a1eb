"""One request and its answer.

They end together. A client that disconnects closes the connection to the upstream (`Watch`). If the
upstream breaks, the exchange raises, so that the connection to the client does not look complete.

An event of a paced stream is one read and one write, and their system calls cost more than all the
rest. So nothing here makes a task, a timer or a generator for each event: an exchange runs in the
task of its server, and one timer looks at the reads of all exchanges (`Silence`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import ssl
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import aiohttp

from normalizer.core.request import RequestInfo, endpoint_of
from normalizer.doors._codings import CodingError, Decoder, decoder
from normalizer.doors.asgi import Receive, Scope, Send
from normalizer.proxy.answers import (
    ClientLeftError,
    RefusedError,
    ShuttingDownError,
    UpstreamBrokenError,
    UpstreamSilentError,
    error_body,
    respond,
)
from normalizer.proxy.ending import Watch
from normalizer.proxy.upstreams import TargetError, Upstream, to_client

if TYPE_CHECKING:
    from normalizer.proxy.forward import Forward

logger = logging.getLogger("normalizer.proxy")

# `model` where only numbers, strings and words are in front of it: the body need not be whole.
_STRING = rb'"(?:[^"\\]|\\.)*+"'
_EARLY_MODEL = re.compile(
    rb"\s*\{(?:\s*(?!\"model\")%b\s*:\s*(?:%b|[\w.+-]+)\s*,)*+\s*\"model\"\s*:\s*(%b)"
    % (_STRING, _STRING, _STRING)
)


class Exchange:
    """Forward one request to its upstream, and stream the answer back. See `Forward`."""

    __slots__ = (
        "_asking",
        "_begun",
        "_forward",
        "_receive",
        "_response",
        "_scope",
        "_send",
        "_undo",
        "_watch",
    )

    def __init__(self, forward: Forward, scope: Scope, receive: Receive, send: Send) -> None:
        self._forward = forward
        self._scope = scope
        self._receive = receive
        self._send = send
        self._watch = Watch(scope, receive, self._client_left)
        self._asking: asyncio.Task[object] | None = None  # ours, while it waits for a head
        self._response: aiohttp.ClientResponse | None = None
        self._undo: Decoder | None = None
        self._begun = False

    async def run(self) -> None:
        try:
            # What was needed for the request alone must not wait for the end of the answer: bodies
            # are long, and so are answers.
            response = await self._ask()
            if await self._begin(response):
                await self._pass_on(response)
        except ClientLeftError:
            pass
        except RefusedError as error:
            if not self._begun:
                await self._refuse(error)
        except TargetError as error:
            await respond(self._send, 400, error_body(f"{error}.", "invalid_request_error"))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            await self._failed(self._scope["state"]["upstream"], error)
        except asyncio.CancelledError:
            if not self._begun:
                raise
            raise ShuttingDownError("the proxy is shutting down") from None
        finally:
            if self._response is not None:
                # Where its body was read to its end the connection is back in the pool already.
                self._response.close()
            await self._watch.stop()

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
        self._watch.start()
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

    async def _rest(self, begun: bytes) -> AsyncIterator[bytes]:
        yield begun
        more = True
        while more:
            piece, more = await self._more()
            if piece:
                yield piece
        self._watch.start()

    async def _ask(self) -> aiohttp.ClientResponse:
        """Return the answer when its head has come. Raises ClientLeftError if nobody wants it."""
        body, model = await self._body()
        upstream = self._forward.upstreams.of(model)
        self._scope.setdefault("state", {})["upstream"] = upstream
        endpoint = endpoint_of(f"http://app{self._scope['path']}")
        repaired = self._scope["method"] == "POST" and endpoint is not None
        self._asking = task = asyncio.current_task()
        try:
            self._response = await self._forward.request(
                upstream, self._scope, data=body, identity=repaired
            )
        except asyncio.CancelledError:
            # Cancelled by `_client_left`, unless the server has cancelled it too.
            if self._watch.left and task is not None and not task.uncancel():
                raise ClientLeftError from None
            raise
        finally:
            self._asking = None
        return self._response

    def _client_left(self) -> None:
        if self._response is not None:
            # It makes the read that waits raise, which costs nothing for each event.
            self._response.close()
        elif self._asking is not None:
            self._asking.cancel()

    async def _begin(self, response: aiohttp.ClientResponse) -> bool:
        """Send the head. Returns False if the answer cannot be passed on."""
        codings = _transfer_codings(response)
        undo = decoder(codings)
        why = None if 200 <= response.status < 600 else f"its status is {response.status}"
        if undo is None:
            why = f"its Transfer-Encoding is {', '.join(codings)}"
        if why is not None:
            message = f"The upstream's answer cannot be passed on: {why}."
            await respond(self._send, 502, error_body(message, "upstream_invalid"))
            return False
        self._undo = undo if codings else None
        headers = to_client(response.raw_headers, response.status)
        await self._send(
            {"type": "http.response.start", "status": response.status, "headers": headers}
        )
        self._begun = True
        return True

    async def _pass_on(self, response: aiohttp.ClientResponse) -> None:
        send, undo, content = self._send, self._undo, response.content
        time = asyncio.get_running_loop().time
        reading = self._forward.silence.begin(response)
        try:
            while True:
                reading.since = time()
                data = await content.readany()
                reading.since = None
                if not data:
                    break
                for piece in (data,) if undo is None else undo.decode(data):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except CodingError as error:
            raise UpstreamBrokenError(f"CodingError: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError):
            await self._pass_on_rest(content)
            raise
        finally:
            self._forward.silence.end(reading)

    async def _pass_on_rest(self, content: aiohttp.StreamReader) -> None:
        # aiohttp raises in front of what it has read already, which may be half of an answer.
        content.set_exception(None)  # type: ignore[arg-type]
        data = content.read_nowait()
        try:
            for piece in (data,) if self._undo is None else self._undo.decode(data):
                if piece:
                    await self._send(
                        {"type": "http.response.body", "body": piece, "more_body": True}
                    )
        except CodingError as error:
            raise UpstreamBrokenError(f"CodingError: {error}") from error

    async def _failed(self, upstream: Upstream, error: Exception) -> None:
        """Tell the client what failed, or raise `UpstreamBrokenError` if it has a head already."""
        if self._watch.left or isinstance(error.__cause__, ClientLeftError):
            return
        if isinstance(error.__cause__, RefusedError) and not self._begun:
            await self._refuse(error.__cause__)
            return
        if self._begun:
            logger.warning("%s: broke off: %s", upstream.origin, _reason(error))
            silent = isinstance(error, TimeoutError)
            broken = UpstreamSilentError if silent else UpstreamBrokenError
            raise broken(_reason(error)) from error
        if isinstance(error, TimeoutError):
            status, kind, what = 504, "upstream_timeout", "does not answer"
        else:
            status, kind, what = 502, "upstream_unreachable", "cannot be reached"
        message = f"The upstream {upstream.origin} {what}: {_reason(error)}."
        logger.warning("%s", message)
        await respond(self._send, status, error_body(message, kind))

    async def _refuse(self, error: RefusedError) -> None:
        body = error_body(f"{error}.", "invalid_request_error")
        await respond(self._send, error.status, body, close=True)


def _early_model(start: bytes) -> str | None:
    found = _EARLY_MODEL.match(start)
    try:
        return json.loads(found[1]) or None if found else None
    except ValueError:
        return None


def _model_in(path: str) -> str | None:
    """Return the model in the path of `GET /v1/models/<model>`."""
    _, found, model = path.partition("/models/")
    return model if found and model else None


def _transfer_codings(response: aiohttp.ClientResponse) -> list[str]:
    """Return the transfer codings of an answer that aiohttp does not undo."""
    values = response.headers.getall("Transfer-Encoding", ())
    names = [name.strip().lower() for value in values for name in value.split(",")]
    return [name for name in names if name not in ("", "chunked", "identity")]


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
