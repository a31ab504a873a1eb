"""The pool inside: as many connections as without us, the options of the library, its proxies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

import anyio
import httpx
import httpx2
import openai
import pytest

from normalizer import OptionError, Options
from normalizer.doors._proxied import Pattern, environment_proxies
from normalizer.doors.transport import NormalizingTransport
from tests.conftest import (
    CHAT,
    PATIENCE,
    ROLE,
    STREAM,
    STREAMED,
    ASGIApp,
    Gate,
    Receive,
    Send,
    answering,
)

Serve = Callable[[ASGIApp], str]

AT_ONCE = 130
URL = f"http://upstream.test{CHAT}"

both = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


def together(count: int) -> tuple[ASGIApp, list[int]]:
    """An application whose answers go on once ``count`` of them have begun."""
    begun: list[int] = []
    all_there = asyncio.Event()

    async def arrived() -> None:
        begun.append(1)
        if len(begun) == count:
            all_there.set()
        await asyncio.wait_for(all_there.wait(), PATIENCE)

    return answering(ROLE, arrived, STREAM.removeprefix(ROLE)), begun


@both
@pytest.mark.anyio
async def test_streams_that_openais_client_has_at_once_are_open_at_once(
    library: Any, serve: Serve
) -> None:
    app, begun = together(AT_ONCE)
    url = serve(app) + CHAT
    got: list[bytes] = []

    async def read() -> None:
        got.append((await client.post(url, json=STREAMED)).content)

    async with (
        library.AsyncClient(transport=NormalizingTransport(), timeout=PATIENCE) as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(AT_ONCE):
            group.start_soon(read)
    assert got == [STREAM] * AT_ONCE
    assert len(begun) == AT_ONCE


@both
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_options_reach_the_transport_that_is_made(
    library: Any, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[dict[str, Any]] = []

    class Made:
        def __init__(self, **options: Any) -> None:
            made.append(options)

        def handle_request(self, request: Any) -> Any:
            return library.Response(204)

        async def handle_async_request(self, request: Any) -> Any:
            return library.Response(204)

    monkeypatch.delenv("HTTP_PROXY", raising=False)
    monkeypatch.setattr(library, "AsyncHTTPTransport" if asynchronous else "HTTPTransport", Made)
    given: dict[str, Any] = {
        "limits": library.Limits(max_connections=3),
        "verify": False,
        "cert": None,
        "trust_env": False,
        "http1": True,
        "http2": True,
        "proxy": None,
        "uds": None,
        "local_address": "127.0.0.1",
        "retries": 2,
        "socket_options": [],
    }
    request = library.Request("GET", URL)
    for options in (given, {}):
        transport = NormalizingTransport(**options, comments="drop")
        if asynchronous:
            anyio.run(transport.handle_async_request, request)
        else:
            transport.handle_request(request)
    assert made[0] == given
    limits = library.Limits(max_connections=1000, max_keepalive_connections=100)
    assert made[-1] == {"limits": limits}


@both
def test_limits_of_ones_own_are_kept(library: Any, serve: Serve) -> None:
    gate = Gate()
    url = serve(answering(ROLE, gate.passed, STREAM.removeprefix(ROLE))) + CHAT
    transport = NormalizingTransport(limits=library.Limits(max_connections=1))
    with (
        library.Client(transport=transport) as client,
        client.stream("POST", url, json=STREAMED) as first,
    ):
        with pytest.raises(library.PoolTimeout):
            client.post(url, json=STREAMED, timeout=library.Timeout(PATIENCE, pool=0.01))
        gate.open()
        assert first.read() == STREAM


def test_a_client_of_openais_follows_redirects(serve: Serve) -> None:
    stream = answering(STREAM)
    there = [(b"location", b"/there" + CHAT.encode())]

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["path"] == CHAT:
            await receive()
            await send({"type": "http.response.start", "status": 307, "headers": there})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await stream(scope, receive, send)

    transport: Any = NormalizingTransport()
    with openai.DefaultHttpxClient(transport=transport) as http:
        client = openai.OpenAI(base_url=f"{serve(app)}/v1", api_key="none", http_client=http)
        chunks = [*client.chat.completions.create(model="m", messages=[], stream=True)]
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_wrong_options_are_told_when_it_is_made() -> None:
    with pytest.raises(OptionError, match="no such option: limit; is it limits"):
        NormalizingTransport(limit=3)  # type: ignore[call-arg]
    with pytest.raises(OptionError, match="no such option: resoning; is it reasoning"):
        NormalizingTransport(resoning="both")  # type: ignore[call-arg]
    with pytest.raises(OptionError, match="verify, limits given beside a transport"):
        NormalizingTransport(httpx2.HTTPTransport(), limits=httpx2.Limits(), verify=False)
    NormalizingTransport(options=Options(), verify=False)


# --- proxies -------------------------------------------------------------------------------------


def by_proxy(requests: list[str]) -> ASGIApp:
    stream = answering(STREAM)

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        requests.append(scope["path"])
        await stream(scope, receive, send)

    return app


@both
def test_a_proxy_of_ones_own_is_for_everything(
    library: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[str] = []
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "upstream.test")
    transport = NormalizingTransport(proxy=serve(by_proxy(requests)))
    with library.Client(transport=transport) as client:
        assert client.post(URL, json=STREAMED).content == STREAM
    assert requests == [URL]


@both
def test_an_environment_that_is_not_trusted_is_not_asked(
    library: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    url = serve(answering(STREAM)) + CHAT
    with library.Client(transport=NormalizingTransport(trust_env=False)) as client:
        assert client.post(url, json=STREAMED).content == STREAM


NO_PROXY = [
    "",
    "*",
    "example.org",
    ".example.org",
    "api.example.org:8443",
    "http://example.org",
    "localhost",
    "127.0.0.1",
    "::1",
    "a.org, b.org,example.org",
]
URLS = [
    "http://example.org/v1",
    "https://api.example.org/v1",
    "https://api.example.org:8443/v1",
    "http://notexample.org/v1",
    "http://localhost:8000/v1",
    "http://127.0.0.1:8000/v1",
    "http://[::1]:8000/v1",
    "https://b.org/v1",
]


@both
@pytest.mark.parametrize("no_proxy", NO_PROXY)
def test_proxies_are_those_that_the_library_finds(
    library: Any, no_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its own rules have no public name; the tests may ask them, what is released may not.
    utils = pytest.importorskip(f"{library.__name__}._utils")
    for name in ("all", "http", "https", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
    monkeypatch.setenv("ALL_PROXY", "http://all.test:1")
    monkeypatch.setenv("HTTPS_PROXY", "https.test:2")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    ours = [(Pattern(library, key), url) for key, url in environment_proxies().items()]
    theirs = [(utils.URLPattern(key), url) for key, url in utils.get_environment_proxies().items()]
    ours.sort(key=lambda mount: mount[0].priority)
    theirs.sort(key=lambda mount: mount[0])
    for url in map(library.URL, URLS):
        mine = next((to for pattern, to in ours if pattern.matches(url)), None)
        assert mine == next((to for pattern, to in theirs if pattern.matches(url)), None), url


@both
def test_networks_are_left_out_by_their_addresses(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8,fd00::/8")
    patterns = [Pattern(library, key) for key, url in environment_proxies().items() if url is None]
    for url, inside in [
        ("http://10.1.2.3/v1", True),
        ("http://11.1.2.3/v1", False),
        ("http://[fd00::1]/v1", True),
        ("http://example.org/v1", False),
    ]:
        assert any(pattern.matches(library.URL(url)) for pattern in patterns) == inside


@both
def test_what_cannot_be_read_in_no_proxy_is_passed_over(
    library: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "nonsense/99,http://[,10.0.0.0/99")
    url = serve(answering(STREAM)) + CHAT
    with library.Client(transport=NormalizingTransport()) as client:
        assert client.post(url, json=STREAMED).content == STREAM
