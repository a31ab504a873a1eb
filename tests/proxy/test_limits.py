"""Pages of other origins, and requests that are refused: malformed, too slow, too long."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import httpx2
import pytest

from tests.conftest import (
    CHAT,
    PATIENCE,
    STREAM,
    STREAMED,
    Gate,
    Receive,
    Send,
    answering,
)
from tests.proxy.conftest import Proxied, Recorder, ServeApp

ORIGIN = {"origin": "https://chat.example"}
PREFLIGHT = {
    **ORIGIN,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-os",
}


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), PATIENCE)


def read_to_the_end(connection: socket.socket) -> bytes:
    came = b""
    while data := connection.recv(65536):
        came += data
    return came


def raw(url: str, request: bytes) -> bytes:
    """All that comes back for bytes that are sent as they are, until the proxy closes."""
    with connect(url) as connection:
        connection.sendall(request)
        return read_to_the_end(connection)


# --- pages of other origins -----------------------------------------------------------------------


@pytest.mark.parametrize("allowed", ["https://Chat.example", "*"])
def test_cors(
    proxied: Callable[..., Proxied], serve: ServeApp, client: httpx2.Client, allowed: str
) -> None:
    upstream = Recorder(answering(STREAM))
    args = ("--cors", "http://other", "--cors", allowed)
    running = proxied("--upstream", serve(upstream), *args)
    seen = "*" if allowed == "*" else ORIGIN["origin"]
    response = client.options(running.url + CHAT, headers=PREFLIGHT)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == seen
    assert "POST" in response.headers["access-control-allow-methods"]
    assert "x-stainless-os" in response.headers["access-control-allow-headers"]
    assert not upstream.requests
    response = client.post(running.url + CHAT, json=STREAMED, headers=ORIGIN)
    assert response.content == STREAM
    for answer in (
        response,
        client.get(running.url + "/healthz", headers=ORIGIN),
        client.get(running.url + "/%2e%2e/x", headers=ORIGIN),
    ):
        assert answer.headers["access-control-allow-origin"] == seen


def test_cors_for_those_named_only(
    proxied: Callable[..., Proxied], serve: ServeApp, client: httpx2.Client
) -> None:
    running = proxied("--upstream", serve(answering(b"ok")), "--cors", "http://other")
    assert client.options(running.url + CHAT, headers=PREFLIGHT).status_code == 400
    response = client.get(running.url + "/healthz", headers=ORIGIN)
    assert "access-control-allow-origin" not in response.headers


def test_without_cors_a_preflight_is_the_upstreams(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client
) -> None:
    upstream.app = answering(b"theirs")
    assert client.options(proxy.url + CHAT, headers=PREFLIGHT).content == b"theirs"


def test_it_warns_of_keys_that_every_page_may_use(proxied: Callable[..., Proxied]) -> None:
    args = ("--upstream", "http://127.0.0.1:9", "--key-env", "KEY", "--cors", "*")
    running = proxied(*args, environ={"KEY": "s3cret"})
    assert "any web page can use the upstreams' keys" in running.wait_for("Warning")


# --- malformed ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST * HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", 400),
        (b"GET /v1/../../admin HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", 400),
        (b"GET /v1/models HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /v1/models HTTP/1.1\r\nhost: h\r\nhost: h\r\n\r\n", 400),
        (
            b"GET / HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\n\r\n",
            501,
        ),
    ],
)
def test_refused(upstream: Recorder, proxy: Proxied, request_: bytes, status: int) -> None:
    upstream.app = answering(b"ok")
    before = len(upstream.requests)
    head, _, body = raw(proxy.url, request_).partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    assert len(upstream.requests) == before


def test_http_1_0_needs_no_host(upstream: Recorder, proxy: Proxied) -> None:
    upstream.app = answering(b"ok")
    assert raw(proxy.url, b"GET /v1/files HTTP/1.0\r\n\r\n").split()[1] == b"200"


# --- too slow -------------------------------------------------------------------------------------


def test_half_a_request(
    proxied: Callable[..., Proxied], serve: ServeApp, client: httpx2.Client
) -> None:
    gate = Gate()
    running = proxied(
        *("--upstream", serve(answering(STREAM[:300], gate.passed, STREAM[300:]))),
        *("--header-timeout", "0.3", "--body-timeout", "0.3"),
    )
    head = raw(running.url, b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nx-a:")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b'"request_timeout"' in head
    assert raw(running.url, b"") == b""
    for path in (CHAT, "/v1/audio/speech"):
        request = f"POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nhalf"
        assert raw(running.url, request.encode()).startswith(b"HTTP/1.1 408 ")
    # neither bounds an answer
    with client.stream("POST", running.url + CHAT, json=STREAMED) as response:
        pieces = response.iter_raw()
        came = next(pieces)
        assert raw(running.url, b"GET") != b""
        gate.open()
        assert came + b"".join(pieces) == STREAM


# --- too long -------------------------------------------------------------------------------------


@pytest.fixture
def routed(proxied: Callable[..., Proxied], serve: ServeApp) -> tuple[Proxied, Recorder, Recorder]:
    """A proxy that reads at most 100,000 bytes; its default upstream and that of `x`."""

    async def count(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            size += len(message.get("body", b""))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % size})

    default, other = Recorder(count), Recorder(count)
    args = ("--route", f"x={serve(other)}", "--max-body-bytes", "100000")
    return proxied("--upstream", serve(default), *args), default, other


def test_a_body_that_is_too_long_to_find_its_model(
    routed: tuple[Proxied, Recorder, Recorder], client: httpx2.Client
) -> None:
    running, default, other = routed
    body = json.dumps({"pad": ["x" * 2_000_000], "model": "x"}).encode()
    response = client.post(running.url + "/v1/embeddings", content=body)
    assert response.status_code == 413
    assert "100000 bytes (--max-body-bytes)" in response.json()["error"]["message"]
    assert not default.requests + other.requests


def test_a_body_whose_model_is_first_streams(
    routed: tuple[Proxied, Recorder, Recorder], client: httpx2.Client
) -> None:
    running, _, other = routed
    body = json.dumps({"n": 1, "model": "x", "pad": ["x" * 2_000_000]}).encode()
    response = client.post(running.url + "/v1/embeddings", content=body)
    assert response.content == b"%d" % len(body)
    assert len(other.requests) == 1


def test_a_file_streams(routed: tuple[Proxied, Recorder, Recorder], client: httpx2.Client) -> None:
    running, default, _ = routed
    came = threading.Event()

    async def nothing() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    async def read(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        came.set()
        while (await receive()).get("more_body"):
            pass
        await answering(b"ok")(scope, nothing, send)

    def body() -> Iterator[bytes]:
        yield b"--b\r\n" + b"x" * 200_000
        # arrives before the rest is sent
        assert came.wait(PATIENCE)
        yield b"x"

    default.app = read
    assert client.post(running.url + "/v1/files", content=body()).content == b"ok"


# --- upstreams that speak another HTTP ------------------------------------------------------------


def answer_once(answer: bytes) -> tuple[str, threading.Thread]:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(PATIENCE)

    def run() -> None:
        with listening:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    thread = threading.Thread(target=run)
    thread.start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}", thread


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            "its status is 101",
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: compress, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            "its Transfer-Encoding is compress",
        ),
    ],
)
def test_an_answer_that_cannot_be_passed_on(
    proxied: Callable[..., Proxied], client: httpx2.Client, answer: bytes, words: str
) -> None:
    url, thread = answer_once(answer)
    response = client.post(proxied("--upstream", url).url + CHAT, json=STREAMED)
    thread.join()
    assert response.status_code == 502
    assert response.json()["error"]["type"] == "upstream_invalid"
    assert words in response.json()["error"]["message"]


def test_a_transfer_coding_is_undone(
    proxied: Callable[..., Proxied], client: httpx2.Client
) -> None:
    body = gzip.compress(STREAM)
    url, thread = answer_once(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        b"transfer-encoding: gzip, chunked\r\n\r\n"
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    )
    response = client.post(proxied("--upstream", url).url + CHAT, json=STREAMED)
    thread.join()
    assert response.content == STREAM
