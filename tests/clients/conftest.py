"""Which client libraries there are, and the three doors to the same upstream."""

from __future__ import annotations

import importlib
import os
import queue
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import openai
import pytest
from starlette.applications import Starlette

from normalizer import Report
from normalizer.cli.demo.upstream import Server, mounts
from normalizer.doors.asgi import NormalizingMiddleware
from normalizer.doors.transport import NormalizingTransport
from tests.clients.cases import BROKEN, CASSETTES, CHAT, COMPLETIONS

DOORS = ("raw", "transport", "middleware")


def libraries() -> list[str]:
    """The libraries that this openai takes an http_client from; tools/test names one of them."""
    if named := os.environ.get("CLIENTS_HTTP"):
        return [named]
    return ["httpx"] if openai.VERSION.startswith("2.") else ["httpx2", "httpx"]


class Door(NamedTuple):
    """One way to a case: the address to talk to, the http_client's library and its transport."""

    name: str
    address: str
    http: ModuleType
    transport: NormalizingTransport | None
    reports: queue.SimpleQueue[Report] | None

    def client(self, *, asynchronous: bool = False) -> Any:
        """An http_client for openai or langchain."""
        make = self.http.AsyncClient if asynchronous else self.http.Client
        return make(transport=self.transport) if self.transport else make()

    def report(self) -> Report:
        """Of the stream just read; a test that goes through us has to take it.

        Behind the middleware it is made in the server's thread, maybe after the client's end.
        """
        assert self.reports is not None
        return self.reports.get(timeout=30)


class Servers(NamedTuple):
    """Two servers with the same answers, and the reports of the second's middleware."""

    raw: str
    middleware: str
    reports: queue.SimpleQueue[Report]


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    cases = {case.name: case.cassette for case in [*CHAT, *COMPLETIONS, BROKEN]}
    # the cases answer whatever is asked, and wherever
    upstream = Starlette(routes=[*mounts(cases, match_on=("method",)), *mounts(CASSETTES)])
    reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
    with (
        Server(upstream) as raw,
        Server(NormalizingMiddleware(upstream, on_report=reports.put)) as middleware,
    ):
        yield Servers(raw.address, middleware.address, reports)


@pytest.fixture(params=libraries())
def http(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, servers: Servers, http: ModuleType) -> Door:
    if request.param == "transport":
        reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        transport = NormalizingTransport(on_report=reports.put)
        return Door("transport", servers.raw, http, transport, reports)
    if request.param == "middleware":
        return Door("middleware", servers.middleware, http, None, servers.reports)
    return Door("raw", servers.raw, http, None, None)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def anyio_backend() -> str:
    # openai's asynchronous client reads streams on asyncio
    return "asyncio"
