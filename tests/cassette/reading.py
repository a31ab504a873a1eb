"""Reading a stream with each of the clients that the transports are for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import anyio
import pytest

from tests.conftest import STREAMED


class Read(NamedTuple):
    """What an application got: each read, and what it ended in."""

    pieces: list[bytes]
    error: Exception | None
    status: int
    headers: Any

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


class Client(NamedTuple):
    """A library, and ``None``, ``"asyncio"`` or ``"trio"`` for how it is used."""

    library: ModuleType
    backend: str | None

    def read(
        self,
        url: str,
        transport: Any = None,
        *,
        json: Any = STREAMED,
        each: Callable[[bytes], object] = lambda _: None,
        stop_after: int | None = None,
        **request: Any,
    ) -> Read:
        """POST and read the answer as it comes; ``each`` is called with every piece.

        What is raised before there is an answer is raised.
        """
        method = request.pop("method", "POST")
        if method == "POST" and "content" not in request:
            request["json"] = json
        if self.backend is None:
            return self._read(method, url, transport, each, stop_after, request)
        return anyio.run(
            self._async_read,
            method,
            url,
            transport,
            each,
            stop_after,
            request,
            backend=self.backend,
        )

    def transport(self, **options: Any) -> Any:
        """The library's own."""
        kind = (
            self.library.HTTPTransport if self.backend is None else self.library.AsyncHTTPTransport
        )
        return kind(**options)

    def _read(
        self, method: str, url: str, transport: Any, each: Any, stop_after: Any, request: Any
    ) -> Read:
        pieces: list[bytes] = []
        error: Exception | None = None
        with (
            self.library.Client(transport=transport or self.transport()) as client,
            client.stream(method, url, **request) as response,
        ):
            try:
                for piece in response.iter_bytes():
                    pieces.append(piece)
                    each(piece)
                    if len(pieces) == stop_after:
                        break
            except self.library.HTTPError as raised:
                error = raised
        return Read(pieces, error, response.status_code, response.headers)

    async def _async_read(
        self, method: str, url: str, transport: Any, each: Any, stop_after: Any, request: Any
    ) -> Read:
        pieces: list[bytes] = []
        error: Exception | None = None
        async with (
            self.library.AsyncClient(transport=transport or self.transport()) as client,
            client.stream(method, url, **request) as response,
        ):
            try:
                async for piece in response.aiter_bytes():
                    pieces.append(piece)
                    each(piece)
                    if len(pieces) == stop_after:
                        break
            except self.library.HTTPError as raised:
                error = raised
        return Read(pieces, error, response.status_code, response.headers)


CLIENTS = [
    pytest.param(
        Client(importlib.import_module(library), backend), id=f"{library}-{backend or 'sync'}"
    )
    for library in ("httpx", "httpx2")
    for backend in (None, "asyncio", "trio")
]
