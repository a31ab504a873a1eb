"""Event streams with an error status: clients read an error's JSON there, and no events."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import openai
import pytest

from normalizer import Normalizer, Options, RequestInfo
from normalizer.doors.asgi import NormalizingMiddleware
from normalizer.doors.transport import NormalizingTransport
from tests.conftest import CHAT, EVENT_STREAM, HELLO, STREAM, STREAMED, ASGIApp, answering

URL = f"http://upstream.test{CHAT}"
BUSY = b'data: {"error": {"message": "busy", "type": "overloaded", "param": null, "code": 7}}\n\n'

both = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


def close(body: bytes, *, status: int = 503, request: Any = STREAMED) -> tuple[bytes, Normalizer]:
    normalizer = Normalizer(RequestInfo.parse(CHAT, request), status=status)
    return normalizer.feed(body) + normalizer.close(), normalizer


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (BUSY, "busy"),
        (BUSY + b"data: [DONE]\n\n", "busy"),
        (b": ping\n\n" + BUSY, "busy"),
        (BUSY.replace(b"\n", b"\r\n"), "busy"),
        (BUSY.strip(), "busy"),
        (b'event: error\ndata: {"message": "busy"}\n\n', "busy"),
        (b'data: {"detail": "no such model"}\n\n', "no such model"),
        (b"event: error\ndata: busy\n\n", "busy"),
        (b'error: {"code": 503, "message": "loading"}\n\n', "loading"),
        (b'data: {"status": "starting"}\n\n' + BUSY, "busy"),
    ],
)
@pytest.mark.parametrize("streams", [True, False, None], ids=["stream", "plain", "unknown"])
def test_it_becomes_one_error(body: bytes, message: str, streams: bool | None) -> None:
    out, normalizer = close(body, request=None if streams is None else {"stream": streams})
    assert json.loads(out)["error"]["message"] == message
    assert normalizer.status == 503
    assert normalizer.content_type == "application/json"
    assert normalizer.report.codes["B806"] == 1
    assert normalizer.report.end == "error"


@pytest.mark.parametrize(
    "body",
    [
        STREAM,
        HELLO + BUSY,  # the text would be lost
        b"data: \n\n",
        b"data: Bad Gateway\n\n",
        b"<html>\ndata: none\n</html>",
        b"upstream error: connection refused",
        b"",
    ],
)
def test_what_says_no_error_passes(body: bytes) -> None:
    out, normalizer = close(body)
    assert out == body
    assert normalizer.content_type is None
    assert normalizer.report.repairs == {}


def test_report_mode_only_tells() -> None:
    normalizer = Normalizer(RequestInfo.parse(CHAT, STREAMED), Options(mode="report"), status=503)
    assert normalizer.feed(BUSY) == BUSY
    assert normalizer.close() == b""
    assert normalizer.content_type is None
    assert "B806" in normalizer.report.codes


@both
def test_the_transport_keeps_the_status_and_names_the_type(library: Any) -> None:
    headers = {"content-type": "text/event-stream", "x-request-id": "r"}

    def answer(_: Any) -> Any:
        return library.Response(503, headers=headers, content=BUSY)

    with library.Client(transport=NormalizingTransport(library.MockTransport(answer))) as client:
        response = client.post(URL, json=STREAMED)
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/json"
    assert response.headers["content-length"] == str(len(response.content))
    assert response.headers["x-request-id"] == "r"
    assert response.json()["error"]["message"] == "busy"


@pytest.mark.anyio
async def test_the_middleware_keeps_the_status_and_names_the_type() -> None:
    app = NormalizingMiddleware(answering(BUSY, status=503))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app)) as client:
        response = await client.post(URL, json=STREAMED)
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/json"
    assert response.json()["error"]["message"] == "busy"


def test_openai_hears_the_words(serve: Callable[[ASGIApp], str]) -> None:
    url = serve(answering(BUSY, status=503, headers=(EVENT_STREAM,)))
    transport: Any = NormalizingTransport()
    with openai.DefaultHttpxClient(transport=transport) as http:
        client = openai.OpenAI(
            base_url=f"{url}/v1", api_key="none", http_client=http, max_retries=0
        )
        with pytest.raises(openai.InternalServerError, match="busy") as raised:
            client.chat.completions.create(model="m", messages=[], stream=True)
    assert raised.value.type == "overloaded"
