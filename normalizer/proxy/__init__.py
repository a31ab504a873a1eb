"""The reverse proxy: `NormalizingMiddleware` over a plain forwarding application.

    Observer                      /healthz, /metrics, the access log
      NormalizingMiddleware       everything that repairs
        Models                    the merged list of models, if there are several upstreams
          Forward                 aiohttp

`stream-normalizer serve` runs it; it is an ASGI application like any other.
"""

from __future__ import annotations

import asyncio
import dataclasses

from normalizer.asgi import ASGIApp, NormalizingMiddleware, Receive, Scope, Send
from normalizer.options import Options

try:
    import aiohttp  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"normalizer.proxy needs {error.name}: pip install 'stream-normalizer[serve]'",
        name=error.name,
    ) from None

from normalizer.proxy.forward import Forward
from normalizer.proxy.metrics import metrics
from normalizer.proxy.models import Models
from normalizer.proxy.observe import Observer
from normalizer.proxy.upstreams import Upstream, UpstreamError, Upstreams

__all__ = ["Proxy", "ProxyConfig", "Upstream", "UpstreamError", "Upstreams"]


_CANCELLED = 1.0  # seconds in which what was cancelled ends


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    """All that a worker is started with. It holds no key, only names of variables.

    * ``upstreams``: where requests go. ``options``: how their answers are repaired.
    * ``connect_timeout``, ``read_timeout``: seconds; see `Forward`.
    """

    upstreams: Upstreams
    options: Options = dataclasses.field(default_factory=Options)
    connect_timeout: float = 10.0
    read_timeout: float = 600.0


class Proxy:
    """The ASGI application. Its connections are made and closed by the server's lifespan events.

    WebSockets are refused. Raises `UpstreamError` at startup if a key's variable is not set.

    Example::

        upstream = Upstream(url="http://localhost:8000/v1")
        uvicorn.run(Proxy(ProxyConfig(upstreams=Upstreams(default=upstream))), lifespan="on")
    """

    def __init__(self, config: ProxyConfig) -> None:
        self._forward = Forward(
            config.upstreams,
            connect_timeout=config.connect_timeout,
            read_timeout=config.read_timeout,
        )
        app: ASGIApp = Models(self._forward, self._forward)
        app = NormalizingMiddleware(app, options=config.options)
        self._app = Observer(app, metrics())
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
