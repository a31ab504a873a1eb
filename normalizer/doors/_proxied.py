"""The transport that a client of httpx or httpx2 uses without ours.

A client with `transport=` does not read the proxies of the environment. This module reads them, by
the rules of the libraries, so nothing else changes for the user.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from typing import Any
from urllib.request import getproxies

from normalizer.doors._pool import MAX_CONNECTIONS, MAX_KEEPALIVE_CONNECTIONS, PoolFields


class Proxied:
    """The library's own transports. The URL chooses one, as in a client that reads the environment.

    A ``proxy`` or ``uds`` in ``pool`` is used for all URLs. Then, and with ``trust_env=False``, the
    environment is not read.
    """

    def __init__(self, library: Any, pool: PoolFields, *, asynchronous: bool) -> None:
        kind = library.AsyncHTTPTransport if asynchronous else library.HTTPTransport
        options: dict[str, Any] = {**pool}
        if "limits" not in options:
            options["limits"] = library.Limits(
                max_connections=MAX_CONNECTIONS,
                max_keepalive_connections=MAX_KEEPALIVE_CONNECTIONS,
            )
        asked = not options.get("proxy") and not options.get("uds") and options.get("trust_env", 1)
        proxies = environment_proxies() if asked else {}
        self._direct = kind(**options)
        by_url = {url: kind(**{**options, "proxy": url}) for url in {*proxies.values()} - {None}}
        mounts = []
        for pattern, url in proxies.items():
            try:
                mounts.append((Pattern(library, pattern), by_url.get(url, self._direct)))
            except (library.InvalidURL, ValueError):
                if url is not None:
                    raise
                # as curl does: what cannot be read in NO_PROXY matches nothing
        self._mounts = sorted(mounts, key=lambda mount: mount[0].priority)
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


def environment_proxies() -> dict[str, str | None]:
    """Return the proxies of the environment by pattern. None: no proxy (`NO_PROXY`)."""
    found = getproxies()
    proxies: dict[str, str | None] = {}
    for scheme in ("http", "https", "all"):
        if url := found.get(scheme):
            proxies[f"{scheme}://"] = url if "://" in url else f"http://{url}"
    for host in map(str.strip, found.get("no", "").split(",")):
        if host == "*":
            return {}
        if host:
            proxies[_pattern_of(host)] = None
    return proxies


def _pattern_of(host: str) -> str:
    address, _, prefix = host.partition("/")
    if "://" in host:
        return host
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        plain = host.lower() == "localhost" or host.startswith(("[", "*."))
        return f"all://{host}" if plain else f"all://*{host}"
    name = f"[{address}]" if version == 6 else address
    return f"all://{name}/{prefix}" if prefix else f"all://{name}"


class Pattern:
    """The URLs of a proxy: ``all://``, ``http://``, ``all://*example.org``, ``all://::1/64``.

    Raises the library's InvalidURL, or ValueError, for an invalid pattern.
    """

    def __init__(self, library: Any, pattern: str) -> None:
        url = library.URL(pattern)
        self._scheme = "" if url.scheme == "all" else url.scheme
        self._port = url.port
        host = "" if url.host == "*" else url.host
        prefix = url.path.strip("/")
        self._network = ipaddress.ip_network(f"{host}/{prefix}", strict=False) if prefix else None
        self._host: re.Pattern[str] | None = None
        if host and self._network is None:
            # *.example.org is what is below it, *example.org itself too
            below = r".+\." if host.startswith("*.") else r"(.+\.)?" if host[0] == "*" else ""
            self._host = re.compile(f"{below}{re.escape(host.removeprefix('*').lstrip('.'))}")
        size = self._network.num_addresses if self._network is not None else 0
        # what is narrower comes first
        self.priority = (
            self._port is None,
            1 if self._network is not None else 0 if host else 2,
            size,
            0 if self._network is not None else -len(host),
            -len(self._scheme),
        )

    def matches(self, url: Any) -> bool:
        """Return whether a URL of the library matches."""
        if self._scheme and self._scheme != url.scheme:
            return False
        if self._port is not None and self._port != url.port:
            return False
        if self._network is not None:
            try:
                return ipaddress.ip_address(url.host) in self._network
            except ValueError:
                return False
        return self._host is None or self._host.fullmatch(url.host) is not None
