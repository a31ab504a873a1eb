"""The application behind `stream-normalizer record`: it forwards requests and records answers.

AsUpstream              gives the request the URL of the upstream, so that it is recorded
  RecordingMiddleware
    Answered            sends errors of the forwarder past the recorder
      Forward           aiohttp
"""

from __future__ import annotations

import json
import os
from typing import Any, Unpack
from urllib.parse import unquote, urlsplit

from normalizer.cassette.format import Metadata
from normalizer.cassette.record import RecordingMiddleware
from normalizer.cassette.scrub import ScrubOptions
from normalizer.doors.asgi import ASGIApp, Message, Receive, Scope, Send
from normalizer.proxy import Upstream, Upstreams
from normalizer.proxy.answers import error_body, respond
from normalizer.proxy.forward import Forward
from normalizer.proxy.upstreams import TargetError

# Errors of the forwarder itself. They are not recorded.
_ITS_OWN = {"upstream_unreachable", "upstream_timeout"}


class Recorder:
    """A reverse proxy that records. `stream-normalizer record` runs it in uvicorn.

    * ``upstream``: the server to forward to.
    * ``path``: the cassette.
    * ``fresh``: start the file again.
    * ``metadata``: for a new cassette.
    * ``options``: filters, see `ScrubOptions`.

    The lifespan events of the server open and close its connections. At startup it raises
    `UpstreamError` if the variable of the upstream's key is not set.

    Example::

        recorder = Recorder(Upstream(url="http://localhost:8000/v1"), "chat.yaml")
        uvicorn.run(recorder, port=8901, lifespan="on")
    """

    def __init__(
        self,
        upstream: Upstream,
        path: str | os.PathLike[str],
        *,
        fresh: bool = False,
        metadata: Metadata | None = None,
        **options: Unpack[ScrubOptions],
    ) -> None:
        self._upstream = upstream
        self._forward = Forward(Upstreams(default=upstream))
        self._app = RecordingMiddleware(
            _Answered(self._forward), path, fresh=fresh, metadata=metadata, **options
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                asked = self._as_upstream(scope, send)
            except TargetError as error:
                await respond(send, 400, error_body(f"{error}.", "invalid_request_error"))
                return
            await self._app(asked, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._forward.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._forward.close()
        await send({"type": "lifespan.shutdown.complete"})

    def _as_upstream(self, scope: Scope, send: Send) -> Scope:
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        url = urlsplit(self._upstream.target(path, scope["query_string"].decode("latin-1")))
        # the recorder's own address would be useless in a cassette
        headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
        return {
            **scope,
            "scheme": url.scheme,
            "path": unquote(url.path),
            "raw_path": url.path.encode("latin-1"),
            "headers": [(b"host", url.netloc.encode()), *headers],
            "normalizer.asked": (scope, send),
        }


class _Answered:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked, unrecorded = scope["normalizer.asked"]
        held: list[Message] = []

        async def pick(message: Message) -> None:
            # only the body shows whose answer it is
            if message["type"] == "http.response.start" and message["status"] in (502, 504):
                held.append(message)
                return
            to = send
            if held and _type_of_error(message.get("body", b"")) in _ITS_OWN:
                to = unrecorded
            while held:
                await to(held.pop())
            await to(message)

        await self._app(asked, receive, pick)


def _type_of_error(body: bytes) -> Any:
    try:
        return json.loads(body)["error"]["type"]
    except (ValueError, TypeError, KeyError):
        return None
