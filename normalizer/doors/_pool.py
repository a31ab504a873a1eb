"""The options of the transports that we create: the names are those of httpx and httpx2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypedDict

from normalizer.core.options import OptionError, OptionFields

if TYPE_CHECKING:
    import ssl

    import httpx
    import httpx2

# What openai-python gives its clients, and not less than the libraries' own 100 and 20: a client
# that gets a transport of ours must not wait for connections where it had enough before.
MAX_CONNECTIONS = 1000
MAX_KEEPALIVE_CONNECTIONS = 100


class PoolFields(TypedDict, total=False):
    """The options of ``HTTPTransport`` and ``AsyncHTTPTransport`` as keyword arguments.

    Their units and types are those of the library: see the documentation of its ``HTTPTransport``.
    """

    verify: ssl.SSLContext | str | bool
    cert: str | tuple[str, str] | tuple[str, str, str] | None
    trust_env: bool
    http1: bool
    http2: bool
    limits: httpx.Limits | httpx2.Limits
    proxy: str | httpx.URL | httpx.Proxy | httpx2.URL | httpx2.Proxy | None
    uds: str | None
    local_address: str | None
    retries: int
    socket_options: Iterable[tuple[Any, ...]] | None


class TransportFields(OptionFields, PoolFields, total=False):
    """The keywords of `NormalizingTransport`: the options of streams, and those of the pool."""


def split(fields: TransportFields, transport: Any) -> tuple[OptionFields, PoolFields]:
    """Split keywords into the options of streams and those of the pool.

    Raises `OptionError` for unknown keywords, and for pool options together with a ``transport``.
    """
    given: dict[str, Any] = {**fields}
    pool: Any = {name: given.pop(name) for name in PoolFields.__annotations__ if name in given}
    for name in given:
        known = [*OptionFields.__annotations__, *PoolFields.__annotations__]
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f"; is it {near[0]}?" if near else ""
            raise OptionError(f"no such option: {name}{meant} (there are {', '.join(known)})")
    if pool and transport is not None:
        raise OptionError(
            f"{', '.join(pool)} given beside a transport; give it to that transport instead"
        )
    options: Any = given
    return options, pool
