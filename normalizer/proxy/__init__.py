"""The reverse proxy: `NormalizingMiddleware` over a plain forwarding application.

    Inspector                     /_normalizer, if it is asked for
    Observer                      /healthz, /metrics, the access log
      NormalizingMiddleware       all repairs
        Models                    the merged list of models, if there are several upstreams
          Forward                 aiohttp

`stream-normalizer serve` runs it. It is an ASGI application like any other.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from typing import TYPE_CHECKING

from normalizer.core.options import Options
from normalizer.doors.asgi import ASGIApp, NormalizingMiddleware, Receive, Scope, Send

try:
    import aiohttp  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"normalizer.proxy needs {error.name}: pip install 'stream-normalizer[serve]'",
        name=error.name,
    ) from None

from normalizer.proxy.cors import with_cors
from normalizer.proxy.forward import MAX_BODY_BYTES, Forward
from normalizer.proxy.metrics import metrics
from normalizer.proxy.models import Models
from normalizer.proxy.observe import Observer
from normalizer.proxy.upstreams import Upstream, UpstreamError, Upstreams

if TYPE_CHECKING:
    from normalizer.proxy.inspect import Inspector

__all__ = ["Proxy", "ProxyConfig", "Upstream", "UpstreamError", "Upstreams"]


_CANCELLED = 1.0  # seconds in which what was cancelled ends


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    """The configuration of the proxy. It contains no key, only names of environment variables.

    * ``upstreams``: the servers to forward to.
    * ``options``: how their answers are repaired.
    * ``connect_timeout``, ``read_timeout``, ``body_timeout``: in seconds; see `Forward`.
    * ``max_body_bytes``: the limit of a body that is read to find its model; see `Forward`.
    * ``cors``: origins whose pages may use the proxy, ``"*"`` for all. Needs starlette.
    * ``inspect``: show the last answers at ``/_normalizer`` (`normalizer.proxy.inspect`), to this
      machine only, or to whoever has the token in the variable ``inspect_token_env``.
    """

    upstreams: Upstreams
    options: Options = dataclasses.field(default_factory=Options)
    connect_timeout: float = 10.0
    read_timeout: float = 600.0
    body_timeout: float = 60.0
    max_body_bytes: int = MAX_BODY_BYTES
    cors: tuple[str, ...] = ()
    inspect: bool = False
    inspect_token_env: str | None = None


class Proxy:
    """The ASGI application. The lifespan events of the server open and close its connections.

    It refuses WebSockets. At startup it raises `UpstreamError` if the variable of a key is not set,
    KeyError if that of the token for ``inspect`` is not, and ValueError for an invalid origin in
    ``cors`` or an empty token.

    Example::

        upstream = Upstream(url="http://localhost:8000/v1")
        uvicorn.run(Proxy(ProxyConfig(upstreams=Upstreams(default=upstream))), lifespan="on")
    """

    def __init__(self, config: ProxyConfig) -> None:
        self._forward = Forward(
            config.upstreams,
            connect_timeout=config.connect_timeout,
            read_timeout=config.read_timeout,
            body_timeout=config.body_timeout,
            max_body_bytes=config.max_body_bytes,
        )
        app: ASGIApp = self._forward
        if config.upstreams.routes:
            app = Models(app, self._forward)
        inspector = _inspector(config) if config.inspect else None
        trace = inspector.trace if inspector is not None else None
        app = NormalizingMiddleware(app, options=config.options, trace=trace)
        app = Observer(app, metrics(), paths=config.options.paths)
        app = with_cors(app, config.cors) if config.cors else app
        # outside of CORS: no other origin may read what passed
        self._app = inspector.around(app) if inspector is not None else app
        self._running: set[asyncio.Task[object] | None] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            task = asyncio.current_task()
            self._running.add(task)
            try:
                await self._app(scope, receive, send)
            finally:
                self._running.discard(task)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._forward.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if running := {task for task in self._running if task is not None}:
            # Their time is over and uvicorn has cancelled them; the log shall have how they ended.
            await asyncio.wait(running, timeout=_CANCELLED)
        await self._forward.close()
        await send({"type": "lifespan.shutdown.complete"})


def _inspector(config: ProxyConfig) -> Inspector:
    from normalizer.proxy.inspect import Inspector

    name = config.inspect_token_env
    return Inspector(token=os.environ[name] if name is not None else None)
