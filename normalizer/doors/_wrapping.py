"""What all our transports share: the library of a request, and an inner transport.

One class serves httpx and httpx2, synchronous and asynchronous. The request shows the library, so
neither is imported before it is used.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from normalizer.doors._pool import PoolFields
from normalizer.doors._proxied import Proxied

if TYPE_CHECKING:
    import httpx
    import httpx2

    class _Transport(
        httpx.BaseTransport,
        httpx.AsyncBaseTransport,
        httpx2.BaseTransport,
        httpx2.AsyncBaseTransport,
    ):
        """The type that each of the four clients expects, for type checkers."""

        def handle_request(self, request: Any) -> Any: ...

        async def handle_async_request(self, request: Any) -> Any: ...
else:
    _Transport = object


class WrappingTransport(_Transport):
    """A transport around another: the given one, or the library's own with its proxies."""

    def __init__(self, transport: Any = None, pool: PoolFields | None = None) -> None:
        methods = ("handle_request", "handle_async_request")
        if transport is not None and not any(hasattr(transport, name) for name in methods):
            raise TypeError(
                f"transport is {transport!r}, which has neither {' nor '.join(methods)}; "
                "it is a transport of httpx or httpx2"
            )
        self._transport = transport
        self._pool: PoolFields = pool or {}
        self._own: dict[tuple[str, bool], Any] = {}  # by library, and whether asynchronous

    def close(self) -> None:
        """Close the inner transport."""
        for transport in self._all(asynchronous=False):
            transport.close()

    async def aclose(self) -> None:
        """Close the inner transport."""
        for transport in self._all(asynchronous=True):
            await transport.aclose()

    def __enter__(self) -> Self:
        if self._transport is not None:
            self._transport.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        if self._transport is not None:
            self._transport.__exit__(exc_type, exc_value, traceback)
        else:
            self.close()

    async def __aenter__(self) -> Self:
        if self._transport is not None:
            await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        if self._transport is not None:
            await self._transport.__aexit__(exc_type, exc_value, traceback)
        else:
            await self.aclose()

    def _inner(self, library: Any, *, asynchronous: bool) -> Any:
        if self._transport is None:
            key = (library.__name__, asynchronous)
            # setdefault: two threads may come here first, and must end with the same one.
            return self._own.get(key) or self._own.setdefault(
                key, Proxied(library, self._pool, asynchronous=asynchronous)
            )
        method = "handle_async_request" if asynchronous else "handle_request"
        if not hasattr(self._transport, method):
            kind = "AsyncClient" if asynchronous else "Client"
            raise TypeError(f"{self._transport!r} has no {method}, which {kind} needs")
        return self._transport

    def _all(self, *, asynchronous: bool) -> list[Any]:
        if self._transport is not None:
            return [self._transport]
        return [own for (_, kind), own in self._own.items() if kind is asynchronous]


def library_of(request: Any) -> Any:
    """Return the module of a request: httpx or httpx2. Raises TypeError for another object."""
    for base in type(request).__mro__:
        library = sys.modules.get(base.__module__.partition(".")[0])
        if hasattr(library, "SyncByteStream"):
            return library
    raise TypeError(f"{request!r} is a request of neither httpx nor httpx2")
