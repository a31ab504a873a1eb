"""The transport that a client of httpx or httpx2 would have had without one of ours.

A client that is given `transport=` looks up no proxies in the environment any more; here they are
looked up again, with the library's own functions, so that nothing else changes for the user.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import Any


class Proxied:
    """The library's own transports, chosen per URL as its client would from the environment."""

    def __init__(self, library: Any, *, asynchronous: bool) -> None:
        utils = importlib.import_module(f"{library.__name__}._utils")
        make = library.AsyncHTTPTransport if asynchronous else library.HTTPTransport
        proxies: dict[str, str | None] = utils.get_environment_proxies()
        self._direct = make()
        by_url = {url: make(proxy=url) for url in {*proxies.values()} - {None}}
        by_pattern = {
            utils.URLPattern(pattern): self._direct if url is None else by_url[url]
            for pattern, url in proxies.items()
        }
        self._mounts = sorted(by_pattern.items(), key=lambda mount: mount[0])
        self._all = [self._direct, *by_url.values()]

    def _for(self, url: Any) -> Any:
        return next((to for pattern, to in self._mounts if pattern.matches(url)), self._direct)

    def handle_request(self, request: Any) -> Any:
        return self._for(request.url).handle_request(request)

    async def handle_async_request(self, request: Any) -> Any:
        return await self._for(request.url).handle_async_request(request)

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            for transport in self._all:
                stack.callback(transport.close)

    async def aclose(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for transport in self._all:
                stack.push_async_callback(transport.aclose)
