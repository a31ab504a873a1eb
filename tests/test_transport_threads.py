"""One client shared by threads and by tasks: nothing fails that does not fail without us."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import httpx
import httpx2
import pytest

from normalizer.doors import _bodies, _deadlines
from normalizer.doors.transport import NormalizingTransport
from tests.conftest import (
    CHAT,
    DONE,
    HELLO,
    PATIENCE,
    ROLE,
    STOP,
    STREAM,
    STREAMED,
    WORLD,
    ASGIApp,
    Gate,
    Receive,
    Send,
    answering,
)

Serve = Callable[[ASGIApp], str]

THREADS, TASKS, STREAMS = 32, 200, 20

both = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


def stubborn(seen: list[int], cut: Gate) -> ASGIApp:
    """Whose first body never ends behind `[DONE]`; those after it do."""
    stream = answering(STREAM)

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        seen.append(scope["client"][1])
        if len(seen) > 1:
            await stream(scope, receive, send)
            return
        await receive()
        head = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": STREAM, "more_body": True})
        if (await receive())["type"] == "http.disconnect":
            cut.open()

    return app


@both
def test_threads_share_one_client(library: Any, serve: Serve) -> None:
    url = serve(answering(ROLE, HELLO, WORLD, STOP, DONE)) + CHAT

    def read(_: int) -> bytes | Exception:
        try:
            return bytes(client.post(url, json=STREAMED).content)
        except library.HTTPError as error:
            return error  # type: ignore[no-any-return]

    timeout = library.Timeout(PATIENCE)
    with (
        library.Client(transport=NormalizingTransport(), timeout=timeout) as client,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        got = [*pool.map(read, range(THREADS * STREAMS))]
    assert [one for one in got if one != STREAM] == []


@both
@pytest.mark.anyio
async def test_tasks_share_one_client(library: Any, serve: Serve) -> None:
    url = serve(answering(ROLE, HELLO, WORLD, STOP, DONE)) + CHAT
    got: list[bytes | Exception] = []

    async def read() -> None:
        try:
            got.append((await client.post(url, json=STREAMED)).content)
        except library.HTTPError as error:
            got.append(error)

    timeout = library.Timeout(PATIENCE)
    async with (
        library.AsyncClient(transport=NormalizingTransport(), timeout=timeout) as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(TASKS):
            group.start_soon(read)
    assert [one for one in got if one != STREAM] == []
    assert len(got) == TASKS


@both
def test_the_connection_keeps_its_own_methods(library: Any, serve: Serve) -> None:
    changed: list[set[str]] = []
    url = serve(answering(STREAM)) + CHAT

    class Watched:
        """The network stream of a response, which tells what was set on it."""

        def __init__(self, network: Any) -> None:
            object.__setattr__(self, "network", network)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.network, name)

        def __setattr__(self, name: str, value: object) -> None:
            changed.append({name})

    class Watching(library.HTTPTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            response = super().handle_request(request)
            network = response.extensions["network_stream"]
            response.extensions["network_stream"] = Watched(network)
            return response

    with library.Client(transport=NormalizingTransport(Watching())) as client:
        assert client.post(url, json=STREAMED).content == STREAM
    assert changed == []


@both
def test_a_body_that_does_not_end_is_cut_and_no_other(library: Any, serve: Serve) -> None:
    ports: list[int] = []
    cut = Gate()
    url = serve(stubborn(ports, cut)) + CHAT
    with library.Client(transport=NormalizingTransport()) as client:
        assert client.post(url, json=STREAMED).content == STREAM
        assert cut.wait()
        for _ in range(3):
            assert client.post(url, json=STREAMED).content == STREAM
    assert ports[0] not in ports[1:]


@both
def test_a_transport_that_gives_its_connection_away_is_not_read_on(
    library: Any, serve: Serve
) -> None:
    cut = Gate()
    url = serve(stubborn([], cut)) + CHAT
    read: list[bytes] = []

    class Body(library.SyncByteStream):  # type: ignore[misc]
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __iter__(self) -> Any:
            for part in self.inner.iter_raw():
                read.append(part)
                yield part
            read.append(b"read on")

        def close(self) -> None:
            self.inner.close()

    class Handing(library.BaseTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            inner = plain.handle_request(request)
            return library.Response(
                inner.status_code,
                headers=inner.headers,
                stream=Body(inner),
                extensions=inner.extensions,
            )

    with library.HTTPTransport() as plain:
        client = library.Client(transport=NormalizingTransport(Handing()))
        assert client.post(url, json=STREAMED).content == STREAM
        assert cut.wait()
    assert read == [STREAM]


def test_deadlines_cut_nothing_that_was_left_in_time() -> None:
    deadlines = _deadlines.Deadlines()
    ours, theirs = socket.socketpair()
    late, never = socket.socketpair()
    with ours, theirs, late, never:
        with deadlines.within(1e-9, late):
            assert late.recv(1) == b""  # it is what ends this
        with deadlines.within(PATIENCE, ours):
            pass
        assert not deadlines._due
        with deadlines.within(1e-9, late):
            late.recv(1)
        theirs.send(b"still there")
        assert ours.recv(11) == b"still there"


def test_without_a_thread_the_body_is_not_read_on(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    cut = Gate()
    url = serve(stubborn([], cut)) + CHAT
    monkeypatch.setattr(_bodies, "DEADLINES", _deadlines.Deadlines())
    with httpx2.Client(transport=NormalizingTransport()) as client:
        with monkeypatch.context() as without:
            without.setattr(threading.Thread, "start", start)
            assert client.post(url, json=STREAMED).content == STREAM
        assert cut.wait()
