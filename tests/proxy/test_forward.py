"""What passes through the proxy, in which order, and what happens when somebody leaves."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import httpx2
import pytest

from tests.conftest import (
    CHAT,
    DONE,
    EVENT_STREAM,
    HELLO,
    PATIENCE,
    ROLE,
    STOP,
    STREAM,
    STREAMED,
    WORLD,
    Gate,
    Receive,
    Send,
    answering,
    chunk,
)
from tests.proxy.conftest import Proxied, Recorder, read_broken

NOT_TOUCHED = "/v1/audio/speech"
OCTETS = (b"content-type", b"application/octet-stream")


# --- order ----------------------------------------------------------------------------------------


def test_each_event_arrives_before_the_next_is_sent(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client
) -> None:
    first, second = Gate(), Gate()
    upstream.app = answering(ROLE, HELLO, first.passed, WORLD, second.passed, STOP, DONE)
    came = b""
    with client.stream("POST", proxy.url + CHAT, json=STREAMED) as response:
        for data in response.iter_raw():
            came += data
            if b"Hello" in came:
                first.open()
            if b"world" in came:
                second.open()
    assert came == STREAM
    assert first.in_time == second.in_time == [True]


def test_what_is_wrong_is_repaired(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client
) -> None:
    upstream.app = answering(STREAM.replace(b"data: ", b"data:").replace(b"\n\n", b"\r\n\r\n"))
    assert client.post(proxy.url + CHAT, json=STREAMED).content == STREAM


def test_an_upload_is_streamed(upstream: Recorder, proxy: Proxied, client: httpx2.Client) -> None:
    gate = Gate()
    parts: list[bytes] = []

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            parts.append(message.get("body", b""))
            gate.open()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"".join(parts)})

    def body() -> Iterator[bytes]:
        yield b"one,"
        assert gate.wait()
        yield b"two"

    upstream.app = app
    response = client.post(proxy.url + NOT_TOUCHED, content=body())
    assert response.content == b"one,two"
    assert upstream.header("transfer-encoding") == "chunked"
    assert upstream.header("content-length") is None


def test_a_long_upload_keeps_its_length(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client
) -> None:
    upstream.app = answering(b"ok")
    assert client.post(proxy.url + NOT_TOUCHED, content=b"x" * 3_000_000).content == b"ok"
    assert upstream.header("content-length") == "3000000"
    assert upstream.header("transfer-encoding") is None


def test_an_answer_before_the_upload_is_over(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client
) -> None:
    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b"too large"})

    answered = Gate()

    def body() -> Iterator[bytes]:
        yield b"x"
        assert answered.wait()

    upstream.app = app
    came: list[tuple[int, bytes]] = []

    def send() -> None:
        request = (
            f"POST {NOT_TOUCHED} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
            "1\r\nx\r\n"
        )
        host, port = proxy.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), PATIENCE) as connection:
            connection.sendall(request.encode())
            data = b""
            while b"too large" not in data and (more := connection.recv(65536)):
                data += more
            came.append((int(data.split()[1]), data))

    thread = threading.Thread(target=send)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert came[0][0] == 413


@pytest.mark.parametrize("path", [CHAT, NOT_TOUCHED])
def test_a_client_that_does_not_read_holds_the_upstream_up(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client, path: str
) -> None:
    held_up = Gate()

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [EVENT_STREAM]})
        await send({"type": "http.response.body", "body": ROLE, "more_body": True})
        event = chunk({"content": "x" * 65536})
        for _ in range(4096):  # 256 MB in all
            sending = asyncio.ensure_future(
                send({"type": "http.response.body", "body": event, "more_body": True})
            )
            done, _ = await asyncio.wait({sending}, timeout=1)
            if not done:
                held_up.open()
                await sending
                break
        await send({"type": "http.response.body", "body": STOP + DONE})

    upstream.app = app
    with client.stream("POST", proxy.url + path, json=STREAMED) as response:
        assert held_up.wait()
        last = b""
        for data in response.iter_raw():
            last = (last + data)[-len(STOP + DONE) :]
    assert last == STOP + DONE


# --- somebody leaves ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [CHAT, NOT_TOUCHED])
def test_the_upstream_is_closed_when_the_client_leaves(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client, path: str
) -> None:
    left = Gate()

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": ROLE + HELLO, "more_body": True})
        if (await receive())["type"] == "http.disconnect":
            left.open()

    upstream.app = app
    with client.stream("POST", proxy.url + path, json=STREAMED) as response:
        next(response.iter_raw())
    assert left.wait()
    if path == CHAT:
        assert "end=closed repairs=-" in proxy.wait_for("end=closed")


def test_the_upstream_is_closed_when_the_client_leaves_before_the_head(
    upstream: Recorder, proxy: Proxied
) -> None:
    came, left = Gate(), Gate()

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        came.open()
        if (await receive())["type"] == "http.disconnect":
            left.open()

    upstream.app = app
    host, port = proxy.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        request = f"POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{{}}"
        connection.sendall(request.encode())
        assert came.wait()
    assert left.wait()


def test_the_client_leaves_in_its_upload(upstream: Recorder, proxy: Proxied) -> None:
    came, left = Gate(), Gate()

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            if message.get("body"):
                came.open()
        left.open()

    upstream.app = app
    host, port = proxy.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        request = f"POST {NOT_TOUCHED} HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nhalf"
        connection.sendall(request.encode())
        assert came.wait()
    assert left.wait()


async def broken() -> None:
    raise ConnectionAbortedError("the worker died")


def test_a_stream_that_the_upstream_breaks_off_says_so(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client
) -> None:
    upstream.app = answering(ROLE, HELLO, broken)
    came = read_broken(client, proxy.url + CHAT)
    assert came.startswith(ROLE + HELLO)
    *_, error, done, rest = came.split(b"\n\n")
    assert json.loads(error[6:])["error"]["type"] == "upstream_truncated"
    assert b"ended because its connection broke" in error
    assert (done, rest) == (DONE.strip(), b"")


def test_another_answer_that_breaks_off_does_not_end_as_if_it_were_whole(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client
) -> None:
    upstream.app = answering(b"half", broken, headers=(OCTETS,))
    assert read_broken(client, proxy.url + NOT_TOUCHED) == b"half"


def test_what_comes_behind_the_end_does_not_keep_the_client_waiting(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client
) -> None:
    over = Gate()
    upstream.app = answering(STREAM, over.passed)
    assert client.post(proxy.url + CHAT, json=STREAMED).content == STREAM
    over.open()


# --- failures -------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_an_upstream_that_is_down(proxied: Callable[..., Proxied], client: httpx2.Client) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    running = proxied("--upstream", address)
    response = client.post(running.url + CHAT, json=STREAMED)
    assert response.status_code == 502
    error = response.json()["error"]
    assert error == {
        "message": f"The upstream {address} cannot be reached: Connection refused.",
        "type": "upstream_unreachable",
        "param": None,
        "code": None,
    }
    assert client.get(running.url + "/v1/models").status_code == 502
    assert client.get(running.url + "/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_upstream_that_speaks_something_else(
    proxied: Callable[..., Proxied], client: httpx2.Client, scheme: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        running = proxied("--upstream", f"{scheme}://127.0.0.1:{port}")
        response = client.post(f"{running.url}{CHAT}?key=s3cret", json=STREAMED)
        thread.join(PATIENCE)
    assert response.status_code == 502
    assert response.json()["error"]["type"] == "upstream_unreachable"
    assert "s3cret" not in response.text + running.stop()


def test_an_upstream_that_does_not_answer(
    serve: Callable[..., str], proxied: Callable[..., Proxied], client: httpx2.Client
) -> None:
    over = Gate()

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await over.passed()

    running = proxied("--upstream", serve(app), "--read-timeout", "0.2")
    response = client.post(running.url + CHAT, json=STREAMED)
    over.open()
    assert response.status_code == 504
    assert response.json()["error"]["type"] == "upstream_timeout"


def test_an_upstream_that_falls_silent(
    serve: Callable[..., str], proxied: Callable[..., Proxied], client: httpx2.Client
) -> None:
    over = Gate()
    running = proxied(
        "--upstream", serve(answering(ROLE, HELLO, over.passed)), "--read-timeout", "0.2"
    )
    came = read_broken(client, running.url + CHAT)
    over.open()
    assert came.startswith(ROLE + HELLO)
    assert b'"type":"upstream_truncated"' in came
    assert b"ended because nothing came within the timeout" in came


def test_a_post_is_not_sent_twice(proxied: Callable[..., Proxied], client: httpx2.Client) -> None:
    """The upstream closes a connection that was used before, when the second request is on it."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE)

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                requests.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                requests.append(connection.recv(65536))
            # A retry would come here.
            listening.settimeout(0.5)
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                return
            with connection:
                requests.append(connection.recv(65536))

        thread = threading.Thread(target=answer)
        thread.start()
        running = proxied("--upstream", f"http://127.0.0.1:{listening.getsockname()[1]}")
        assert client.post(running.url + NOT_TOUCHED, content=b"1").content == b"ok"
        response = client.post(running.url + NOT_TOUCHED, content=b"2")
        thread.join(PATIENCE)
    assert response.status_code == 502
    assert "closed the connection without an answer" in response.json()["error"]["message"]
    assert len(requests) == 2
