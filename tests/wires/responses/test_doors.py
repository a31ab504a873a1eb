"""The Responses API through both doors: which path, which method, which client."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from normalizer import NormalizingMiddleware, NormalizingTransport
from tests.wires.responses.streams import PATH, STREAM, created, ended, message, message_events, raw

LIMITS = {"type": "codex.rate_limits", "limit": 1}
BODY = raw(created(), LIMITS, message_events("Hi")[1:], ended(message("Hi")))
KIND = {"content-type": "text/event-stream"}


def by_transport(method: str, path: str, headers: dict[str, str]) -> bytes:
    inner = httpx.MockTransport(lambda _: httpx.Response(200, headers=KIND, content=BODY))
    with httpx.Client(transport=NormalizingTransport(inner)) as client:
        return client.request(method, f"http://x{path}", json=STREAM, headers=headers).content


def by_middleware(method: str, path: str, headers: dict[str, str]) -> bytes:
    async def answer(request: Request) -> StreamingResponse:
        await request.body()
        return StreamingResponse(iter([BODY]), headers=KIND)

    app: Any = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
    client = TestClient(NormalizingMiddleware(app))
    return client.request(method, path, json=STREAM, headers=headers).content


@pytest.mark.parametrize("through", [by_transport, by_middleware])
def test_an_answer_is_repaired_for_its_client(through: Any) -> None:
    codex = through("POST", PATH, {"originator": "codex_cli_rs"})
    other = through("POST", PATH, {"user-agent": "OpenAI/Python 3.54"})
    for out in (codex, other):
        assert out.count(b"event: response.output_item.added\n") == 1
    assert b"event: codex.rate_limits\n" in codex
    assert b"event: codex.rate_limits\n" not in other
    assert b'"codex.rate_limits":{' in other


@pytest.mark.parametrize("through", [by_transport, by_middleware])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", PATH),
        ("GET", f"{PATH}/resp_1"),
        ("POST", f"{PATH}/resp_1/cancel"),
        ("POST", f"{PATH}/compact"),
    ],
)
def test_what_is_no_new_response_is_never_touched(through: Any, method: str, path: str) -> None:
    assert through(method, path, {}) == BODY
