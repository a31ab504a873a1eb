"""`GET /v1/models` with several upstreams: the list of all models that a request can name."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
import orjson

from normalizer.doors.asgi import ASGIApp, Receive, Scope, Send
from normalizer.proxy.answers import respond
from normalizer.proxy.forward import Forward
from normalizer.proxy.upstreams import Upstream

logger = logging.getLogger("normalizer.proxy")

_PATHS = ("/models", "/v1/models")
_TIMEOUT = 20.0  # seconds for the slowest upstream's list


class Models:
    """Answer `GET /v1/models`. Everything else goes to ``app``.

    A model is listed once, by the upstream that gets its requests. An upstream that does not answer
    is left out, with a warning. If no upstream answers, the request is forwarded, so that the
    client sees why.
    """

    def __init__(self, app: ASGIApp, forward: Forward) -> None:
        self._app = app
        self._forward = forward

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["method"] == "GET" and scope["path"].rstrip("/") in _PATHS
        if not asked:
            await self._app(scope, receive, send)
            return
        upstreams = list(self._forward.upstreams)
        lists = await asyncio.gather(*(self._list(upstream, scope) for upstream in upstreams))
        if all(found is None for found in lists):
            await self._app(scope, receive, send)
            return
        merged: dict[str, Any] = {}
        for upstream, found in zip(upstreams, lists, strict=True):
            for model in found or ():
                name = model["id"]
                if self._forward.upstreams.of(name) is upstream:
                    merged.setdefault(name, model)
        await respond(send, 200, {"object": "list", "data": list(merged.values())})

    async def _list(self, upstream: Upstream, scope: Scope) -> list[dict[str, Any]] | None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                response = await self._forward.request(upstream, scope, identity=True)
                async with response:
                    body = orjson.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            logger.warning("%s: no list of models: %s", upstream.origin, type(error).__name__)
            return None
        data = body.get("data") if isinstance(body, dict) else None
        if response.status != 200 or not isinstance(data, list):
            logger.warning("%s: no list of models: status %d", upstream.origin, response.status)
            return None
        return [one for one in data if isinstance(one, dict) and isinstance(one.get("id"), str)]
