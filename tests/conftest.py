"""Streams in OpenAI's own form, applications that send them step by step, and real servers."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import pytest
import uvicorn
from hypothesis import settings

from tests.compiled import reason

# how long an example takes is the machine's affair
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        why = reason(item.nodeid)
        if why is not None:
            item.add_marker(pytest.mark.skip(reason=f"compiled: {why}"))


Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Step = bytes | Callable[[], Awaitable[object]]

# What a test waits for in another thread; only a test that fails waits so long.
PATIENCE = 20.0

CHAT = "/v1/chat/completions"
STREAMED = {"model": "m", "messages": [], "stream": True}
EVENT_STREAM = (b"content-type", b"text/event-stream; charset=utf-8")


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """One event as api.openai.com sends it."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000}
    body = json.dumps({**head, "model": "m", "choices": [choice]}, separators=(",", ":"))
    return b"data: " + body.encode() + b"\n\n"


ROLE = chunk({"role": "assistant", "content": ""})
HELLO = chunk({"content": "Hello"})
WORLD = chunk({"content": " world"})
STOP = chunk({}, "stop")
DONE = b"data: [DONE]\n\n"
STREAM = ROLE + HELLO + WORLD + STOP + DONE


class Gate:
    """Opened in the test, waited for in the server: shows what was there before what."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.in_time: list[bool] = []

    def open(self) -> None:
        self._event.set()

    @property
    def is_open(self) -> bool:
        return self._event.is_set()

    def wait(self) -> bool:
        """Wait in a thread; False if it stayed shut."""
        return self._event.wait(PATIENCE)

    async def passed(self) -> None:
        """Wait on the server's event loop, and note whether it was opened."""
        self.in_time.append(await asyncio.to_thread(self.wait))


def answering(
    *steps: Step, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = (EVENT_STREAM,)
) -> ASGIApp:
    """An application that reads its request, then takes steps: bytes to send, calls to await."""

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body", False):
            pass
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for step in steps:
            if isinstance(step, bytes):
                await send({"type": "http.response.body", "body": step, "more_body": True})
            else:
                await step()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


def _serve() -> Iterator[Callable[[ASGIApp], str]]:
    running: list[tuple[_Server, threading.Thread]] = []

    def serve(app: ASGIApp) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=5,
        )
        server = _Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        running.append((server, thread))
        assert server.ready.wait(PATIENCE)
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield serve
    for server, _ in running:
        server.should_exit = True
    for _, thread in running:
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Callable[[ASGIApp], str]]:
    """Runs an application in a real uvicorn, in a thread; the base URL of it."""
    yield from _serve()


@pytest.fixture(scope="module")
def serve_module() -> Iterator[Callable[[ASGIApp], str]]:
    """As `serve`, for all tests of a module."""
    yield from _serve()


@pytest.fixture(params=["asyncio", "trio"] if importlib.util.find_spec("trio") else ["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)
