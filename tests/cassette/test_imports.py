"""Imports: what another tool kept comes out as the same bytes; a bad file says where it is bad."""

from __future__ import annotations

import base64
import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import vcr  # type: ignore[import-untyped]
from vcr.serializers import jsonserializer  # type: ignore[import-untyped]

from normalizer.cassette.format import (
    Cassette,
    Metadata,
    RecordedRequest,
    RecordedResponse,
    dumps,
    loads,
)
from normalizer.cassette.imports import read, reads, to_sse
from normalizer.cassette.replay import ReplayTransport
from tests.conftest import CHAT, DONE, HELLO, ROLE, STOP, STREAM, STREAMED, answering

CAPTURES = Path(__file__).parents[3] / "shared" / "captures"
REQUEST = RecordedRequest(method="POST", uri="https://example.org/v1/chat/completions", body=b"{}")

curl = pytest.mark.skipif(
    os.environ.get("CI") != "true" and shutil.which("curl") is None, reason="there is no curl"
)


def only(cassette: Cassette) -> RecordedResponse:
    (interaction,) = cassette.interactions
    assert loads(dumps(cassette)) == cassette
    return interaction.response


# ---------------------------------------------------------------- .sse and curl


def test_sse_is_one_chunk_without_times() -> None:
    cassette = reads(STREAM, "answer.sse", request=REQUEST)

    assert only(cassette).chunks == [STREAM]
    assert only(cassette).times == ()
    assert only(cassette).end == "complete"
    assert dict(only(cassette).headers)["content-type"].startswith("text/event-stream")
    assert cassette.interactions[0].request == REQUEST


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"id": "x",\n "choices": []}\n', "application/json"),
        (b'{"id": "x"}\n{"id": "x"}\n', "application/x-ndjson"),
        (b"", "text/event-stream; charset=utf-8"),
    ],
)
def test_another_kind_of_body_is_told(body: bytes, kind: str) -> None:
    response = only(reads(body, "answer.sse"))

    assert response.body == body
    assert dict(response.headers) == {"content-type": kind}


def test_curl_i_has_a_head() -> None:
    head = b"HTTP/2 429 \r\nContent-Type: text/event-stream\r\nretry-after: 3\r\n\r\n"
    response = only(reads(head + STREAM))

    assert (response.status, response.reason) == (429, "")
    assert response.headers == (("content-type", "text/event-stream"), ("retry-after", "3"))
    assert response.body == STREAM


def test_the_last_head_counts() -> None:
    heads = (
        b"HTTP/1.1 200 Connection established\r\n\r\n"
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /v1\r\n\r\n"
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    )
    response = only(reads(heads + STREAM))

    assert response.headers == (("content-type", "text/event-stream"),)
    assert response.body == STREAM


def test_a_coding_that_curl_undid_is_dropped_and_another_stays() -> None:
    head = b"HTTP/1.1 200 OK\ncontent-encoding: gzip\ncontent-length: 9\n\n"

    assert only(reads(head + STREAM)).headers == ()
    packed = only(reads(head + gzip.compress(STREAM)))
    assert packed.headers == (("content-encoding", "gzip"),)
    assert to_sse(reads(head + gzip.compress(STREAM))) == STREAM


@pytest.mark.parametrize(
    ("said", "end"),
    [
        (b"curl: (18) transfer closed with outstanding read data remaining\n", "cut"),
        (
            b"curl: (28) Operation timed out after 500 milliseconds with 9 bytes received\n",
            "timeout",
        ),
        (b"curl: (56) Recv failure: Connection reset by peer\n", "reset"),
    ],
)
def test_what_curl_said_last_is_the_end(said: bytes, end: str) -> None:
    response = only(reads(ROLE + HELLO + said))

    assert response.body == ROLE + HELLO
    assert response.end == end


def test_text_that_speaks_of_curl_is_text() -> None:
    body = b'{"content": "curl: (18) means that the transfer"}\n'

    assert only(reads(body)).body == body
    assert only(reads(body)).end == "complete"


def curled(url: str, *flags: str) -> bytes:
    sent = ["-d", json.dumps(STREAMED), "-H", "content-type: application/json"]
    command = ["curl", "-sN", *flags, *sent, url + CHAT]
    return subprocess.run(command, stdout=-1, stderr=-2, check=False, timeout=60).stdout


@curl
def test_real_curl(serve: Callable[[Any], str]) -> None:
    body = curled(serve(answering(ROLE, HELLO, STOP, DONE)), "-i")

    response = only(reads(body))
    assert response.chunks == [ROLE + HELLO + STOP + DONE]
    assert dict(response.headers)["content-type"] == "text/event-stream; charset=utf-8"
    assert "transfer-encoding" not in dict(response.headers)


@curl
def test_real_curl_on_a_stream_that_breaks(serve: Callable[[Any], str]) -> None:
    async def breaks() -> None:
        raise ConnectionAbortedError("as meant")

    body = curled(serve(answering(ROLE, HELLO, breaks)), "-S")

    assert only(reads(body)).body == ROLE + HELLO
    assert only(reads(body)).end == "cut"


# ---------------------------------------------------------------- HAR


def har(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"log": {"version": "1.2", "entries": list(entries)}}).encode()


def entry(content: dict[str, Any] | None = None, **response: Any) -> dict[str, Any]:
    text = {"mimeType": "text/event-stream", "size": len(STREAM), "text": STREAM.decode()}
    return {
        "startedDateTime": "2026-11-20T10:11:12.130Z",
        "request": {
            "method": "POST",
            "url": "https://chat.example.org/api/chat?x=1",
            "headers": [{"name": ":authority", "value": "x"}, {"name": "Accept", "value": "*/*"}],
            "postData": {"mimeType": "application/json", "text": '{"stream": true, "q": "ß"}'},
        },
        "response": {
            "status": 200,
            "statusText": "OK",
            "headers": [
                {"name": "Content-Type", "value": "text/event-stream"},
                {"name": "content-encoding", "value": "br"},
            ],
            "content": text if content is None else content,
            **response,
        },
    }


def page(path: str = "/", method: str = "GET", kind: str = "text/html") -> dict[str, Any]:
    other = entry({"mimeType": kind, "text": "<html>"})
    other["request"] |= {"method": method, "url": f"https://chat.example.org{path}"}
    return other


def test_har_text() -> None:
    cassette = reads(har(page(), entry()), "chat.har")

    assert only(cassette).chunks == [STREAM]
    assert only(cassette).headers == (("content-type", "text/event-stream"),)
    assert cassette.metadata == Metadata(origin="recorded", date="2026-11-20")
    request = cassette.interactions[0].request
    assert (request.method, request.uri) == ("POST", "https://chat.example.org/api/chat?x=1")
    assert request.headers == (("accept", "*/*"),)
    assert request.body == '{"stream": true, "q": "ß"}'.encode()


def test_har_base64() -> None:
    content = {"encoding": "base64", "text": base64.b64encode(STREAM).decode()}

    assert only(reads(har(entry({**content, "mimeType": "text/event-stream"})))).body == STREAM


def test_har_takes_completions_and_no_preflight() -> None:
    document = har(
        page("/v1/chat/completions", "OPTIONS"),
        page("/v1/chat/completions", "POST", "application/json"),
        page("/style.css"),
    )

    assert len(reads(document).interactions) == 1
    assert len(reads(document, every=True).interactions) == 3


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (None, "complete"),
        ("net::ERR_INCOMPLETE_CHUNKED_ENCODING", "cut"),
        ("net::ERR_CONNECTION_RESET", "reset"),
        ("net::ERR_TIMED_OUT", "timeout"),
        ("net::ERR_ABORTED", "closed"),
    ],
)
def test_har_says_how_it_ended(error: str | None, end: str) -> None:
    assert only(reads(har(entry(_error=error)))).end == end


# ---------------------------------------------------------------- vcrpy


@pytest.mark.parametrize("serializer", ["yaml", "json"])
def test_vcrpy_with_all_its_interactions(
    serializer: str, tmp_path: Path, serve: Callable[[Any], str]
) -> None:
    base = serve(answering(ROLE, HELLO, "😀 \u2028ß".encode(), STOP, DONE))
    path = tmp_path / f"cassette.{serializer}"
    with vcr.use_cassette(str(path), serializer=serializer), httpx.Client() as client:
        for question in ("one", "two"):
            client.post(base + CHAT, json={**STREAMED, "user": question})

    cassette = read(path)

    assert [json.loads(each.request.body)["user"] for each in cassette.interactions] == [
        "one",
        "two",
    ]
    for each in cassette.interactions:
        assert each.response.body == ROLE + HELLO + "😀 \u2028ß".encode() + STOP + DONE
        assert each.response.lengths == (len(each.response.body),)


def test_vcrpy_json_with_escaped_pairs() -> None:
    written = jsonserializer.serialize(
        {
            "version": 1,
            "interactions": [
                {
                    "request": {"method": "GET", "uri": "http://x/", "headers": {}, "body": None},
                    "response": {
                        "status": {"code": 200, "message": "OK"},
                        "headers": {},
                        "body": {"string": "😀"},
                    },
                }
            ],
        }
    )
    assert "\\ud83d" in written

    assert only(reads(written.encode(), "x.json")).body == "😀".encode()


# ---------------------------------------------------------------- captures and payloads


def capture(**response: Any) -> bytes:
    chunks = [{"t_ms": 1, "b64": "ZGF0"}, {"t_ms": 2.5, "b64": "YTog"}, {"t_ms": 3, "b64": ""}]
    head = {"status": 200, "headers": [["A", "1"], ["A", "2"]], "chunks": chunks}
    request = {"method": "POST", "url": "http://x/v1", "json": {"q": "ß"}}
    document = {"server": "s", "version": "1", "captured_at": "2026-11-20T10:00:00Z"}
    return json.dumps({**document, "request": request, "response": head | response}).encode()


def test_capture_keeps_boundaries_and_times() -> None:
    cassette = reads(capture())

    assert only(cassette).chunks == [b"dat", b"a: "]
    assert only(cassette).times == (1, 2.5)
    assert only(cassette).headers == (("A", "1"), ("A", "2"))
    request = cassette.interactions[0].request
    assert request.body == '{"q":"ß"}'.encode()
    assert request.headers == (("content-type", "application/json"),)
    assert cassette.metadata == Metadata(
        origin="recorded", server="s", version="1", date="2026-11-20"
    )


def shared_captures() -> list[Any]:
    if CAPTURES.is_dir() or os.environ.get("CI_SHARED") == "required":
        # where CI has none of them, the test of the folder fails
        return sorted(CAPTURES.rglob("*.json")) or [CAPTURES]
    return [pytest.param(CAPTURES, marks=pytest.mark.skip("../shared/captures is not here"))]


@pytest.mark.parametrize(
    "path", shared_captures(), ids=lambda path: str(path.relative_to(CAPTURES.parent))
)
def test_every_shared_capture_plays_the_same_bytes(path: Path) -> None:
    document = json.loads(path.read_bytes())
    chunks = document["response"]["chunks"]
    pieces = [base64.b64decode(each["b64"]) for each in chunks]

    cassette = read(path)

    assert only(cassette).chunks == pieces
    assert list(only(cassette).times) == [each["t_ms"] for each in chunks]
    assert only(cassette).status == document["response"]["status"]
    asked = document["request"]
    given = {"content": asked["raw"]} if asked.get("raw") else {"json": asked["json"]}
    with (
        httpx.Client(transport=ReplayTransport(cassette)) as client,
        client.stream(asked["method"], asked["url"], **given) as response,
    ):
        assert response.status_code == document["response"]["status"]
        assert list(response.iter_raw()) == pieces


def test_payloads_get_their_frames() -> None:
    payloads = b'{"id": "1"}\n\n{"id": "2", "x": "\xc3\x9f"}\n'

    cassette = reads(payloads, "fixture.chunks.txt")

    assert only(cassette).chunks == [
        b'data: {"id": "1"}\n\n',
        b'data: {"id": "2", "x": "\xc3\x9f"}\n\n',
        b"data: [DONE]\n\n",
    ]
    assert "made up" in cassette.metadata.note
