"""A fault of ours ends in an error event at both ends of the proxy: never in a cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from normalizer import Options
from normalizer.core.draft import Draft
from normalizer.doors.asgi import NormalizingMiddleware
from normalizer.proxy import Proxy, ProxyConfig, Upstream, Upstreams
from normalizer.wires.chat.chunks import Chunks
from tests.conftest import CHAT, DONE, ROLE, STOP, STREAMED, WORLD, ASGIApp, Message, answering

Serve = Callable[[ASGIApp], str]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage raises at each chunk that says "world"."""
    method = Chunks.take

    def take(self: Chunks, draft: Draft) -> None:
        if b"world" in draft.json():
            raise KeyError("world")
        method(self, draft)

    monkeypatch.setattr(Chunks, "take", take)


def ends_in_our_error(body: bytes) -> None:
    *_, event, mark, end = body.split(b"\n\n")
    assert json.loads(event.removeprefix(b"data: "))["error"]["type"] == "normalizer_error"
    assert mark + end == b"data: [DONE]"


@pytest.mark.usefixtures("failing")
def test_the_middleware_delivers_an_error_event(serve: Serve) -> None:
    reports: list[Any] = []
    app = NormalizingMiddleware(answering(ROLE, WORLD, STOP, DONE), on_report=reports.append)
    answer = httpx2.post(serve(app) + CHAT, json=STREAMED)
    assert answer.status_code == 200
    assert answer.content.startswith(ROLE)
    ends_in_our_error(answer.content)
    assert [report.end for report in reports] == ["error"]


@pytest.mark.usefixtures("failing")
def test_the_middleware_answers_a_whole_body_with_an_error(serve: Serve) -> None:
    app = NormalizingMiddleware(answering(ROLE, WORLD, STOP, DONE))
    answer = httpx2.post(serve(app) + CHAT, json={**STREAMED, "stream": False})
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["type"] == "normalizer_error"


class _Mounted:
    """The proxy's application, driven here: its lifespan and one request."""

    def __init__(self, url: str) -> None:
        upstreams = Upstreams(default=Upstream(url=url + "/v1"))
        self.proxy = Proxy(ProxyConfig(upstreams=upstreams, options=Options()))
        self.sent: list[Message] = []

    async def ask(self) -> bytes:
        events: asyncio.Queue[Message] = asyncio.Queue()
        started = asyncio.Event()

        async def said(message: Message) -> None:
            started.set()

        living = asyncio.create_task(self.proxy({"type": "lifespan"}, events.get, said))
        await events.put({"type": "lifespan.startup"})
        await started.wait()
        await self._request()
        await events.put({"type": "lifespan.shutdown"})
        await living
        return b"".join(message.get("body", b"") for message in self.sent)

    async def _request(self) -> None:
        body = json.dumps(STREAMED).encode()
        requests = [{"type": "http.request", "body": body, "more_body": False}]
        forever = asyncio.Event()

        async def receive() -> Message:
            if not requests:
                await forever.wait()
            return requests.pop()

        async def send(message: Message) -> None:
            self.sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": CHAT,
            "raw_path": CHAT.encode(),
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "state": {},
        }
        await self.proxy(scope, receive, send)


@pytest.mark.usefixtures("failing")
def test_the_proxy_delivers_an_error_event(serve: Serve) -> None:
    mounted = _Mounted(serve(answering(ROLE, WORLD, STOP, DONE)))
    body = asyncio.run(mounted.ask())
    assert mounted.sent[0]["status"] == 200
    assert body.startswith(ROLE)
    ends_in_our_error(body)
    assert mounted.sent[-1].get("more_body", False) is False
