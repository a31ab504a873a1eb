"""Both doors repair Messages streams, and leave alone what only has their path."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from normalizer import NormalizingMiddleware, NormalizingTransport
from normalizer.core.report import Report
from tests.wires.messages.streams import END, Event, kinds, read, start, text, written

ASKED = {"model": "m", "stream": True, "messages": []}
RAW = written(start(), text(0), *END)
WHOLE = "message_start 0 0d 0. message_delta message_stop"
OTHERS: list[tuple[str, Any]] = [
    ("/messages/", {"jsonrpc": "2.0", "method": "ping"}),
    ("/v1/messages/count_tokens", ASKED),
    ("/v1/threads/thread_1/messages", {"role": "user", "content": "Hi"}),
]


def by_middleware(path: str, body: Event) -> tuple[bytes, list[Report]]:
    """What an application's answer becomes."""
    sent: list[Any] = []
    reports: list[Report] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": RAW})

    async def receive() -> Any:
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {"type": "http", "method": "POST", "path": path}
    scope["headers"] = [(b"content-type", b"application/json")]
    door = NormalizingMiddleware(app, on_report=reports.append)
    asyncio.run(door(scope, receive, send))
    return b"".join(message.get("body", b"") for message in sent), reports


def by_transport(path: str, body: Event) -> tuple[bytes, list[Report]]:
    """What an upstream's answer becomes."""
    reports: list[Report] = []
    headers = {"content-type": "text/event-stream"}
    inner = httpx.MockTransport(lambda _: httpx.Response(200, content=RAW, headers=headers))
    door: Any = NormalizingTransport(inner, on_report=reports.append)
    with httpx.Client(transport=door) as client:
        return client.post(f"http://upstream{path}", json=body).content, reports


@pytest.mark.parametrize("door", [by_middleware, by_transport])
def test_a_stream_is_repaired(door: Any) -> None:
    out, [report] = door("/v1/messages", ASKED)
    assert kinds(read(out)) == WHOLE
    assert set(report.codes) == {"M302", "M304"}


@pytest.mark.parametrize("door", [by_middleware, by_transport])
@pytest.mark.parametrize(("path", "body"), OTHERS)
def test_other_apis_under_such_a_path_are_left_alone(door: Any, path: str, body: Event) -> None:
    assert door(path, body) == (RAW, [])
