"""A plain forwarding ASGI application over aiohttp. It knows nothing about models or streams.

We measured three clients under uvicorn with uvloop and httptools. aiohttp needs the least CPU for
each event of a paced stream: httpx2 needs 3.2 times as much, and httpx 4.3 times.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from normalizer.doors.asgi import Receive, Scope, Send
from normalizer.proxy.exchange import Exchange
from normalizer.proxy.silence import Silence
from normalizer.proxy.upstreams import Upstream, Upstreams, to_upstream, without_keys

# As much of a JSON body is read to find its model; a longer one is refused with 413.
MAX_BODY_BYTES = 64 * 1024 * 1024

# Seconds that an idle connection is kept: less than the five after which uvicorn and node close
# theirs, for a POST on a connection that is being closed cannot be sent again.
_KEEP_ALIVE = 4.0


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
        self.silence = Silence(read_timeout)
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

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return Exchange(self, scope, receive, send).run()

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


def _proxy(upstream: Upstream) -> str | None:
    """Return the proxy of the environment. aiohttp itself would also read keys from ~/.netrc."""
    scheme, _, host = upstream.origin.partition("://")
    if proxy_bypass(host):
        return None
    proxies = getproxies()
    return proxies.get(scheme) or proxies.get("all")
