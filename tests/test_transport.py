"""The transport in the clients of both libraries, with servers and transports that tell on it."""

from __future__ import annotations

import gc
import gzip
import json
import logging
import subprocess
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from typing import Any

import anyio
import httpx
import httpx2
import openai
import pytest

from normalizer import OptionError, Options, Report
from normalizer.doors import _bodies
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
    chunk,
)

Serve = Callable[[ASGIApp], str]

URL = f"http://upstream.test{CHAT}"
EVENT_STREAM = {"content-type": "text/event-stream; charset=utf-8"}
PLAIN = {"model": "m", "messages": []}

both = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


# Both libraries leave generators behind when a stream is left early, and trio says so.
left_early = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


class Upstream:
    """A transport of either library and kind that answers with one status, head and body."""

    def __init__(
        self,
        library: Any,
        *parts: bytes | Exception | Callable[[], object],
        status: int = 200,
        headers: Any = EVENT_STREAM,
        extensions: dict[str, Any] | None = None,
    ) -> None:
        self.library = library
        self.parts = parts
        self.status = status
        self.headers = headers
        self.extensions = extensions
        self.requests: list[Any] = []
        self.bodies: list[bytes] = []
        self.responses: list[Any] = []
        self.log: list[str] = []

    def answer(self, request: Any) -> Any:
        self.requests.append(request)
        upstream = self

        class Body(self.library.SyncByteStream, self.library.AsyncByteStream):  # type: ignore[misc, name-defined]
            def __iter__(self) -> Iterator[bytes]:
                for part in upstream.parts:
                    if isinstance(part, Exception):
                        raise part
                    if callable(part):
                        part()
                    else:
                        yield part

            async def __aiter__(self) -> AsyncIterator[bytes]:
                for part in self:
                    await anyio.lowlevel.checkpoint()
                    yield part

            def close(self) -> None:
                upstream.log.append("body closed")

            async def aclose(self) -> None:
                upstream.log.append("body closed")

        response = self.library.Response(
            self.status, headers=self.headers, stream=Body(), extensions=self.extensions
        )
        self.responses.append(response)
        return response

    def handle_request(self, request: Any) -> Any:
        self.bodies.append(b"".join(request.stream))
        return self.answer(request)

    async def handle_async_request(self, request: Any) -> Any:
        self.bodies.append(b"".join([part async for part in request.stream]))
        return self.answer(request)

    def __enter__(self) -> Upstream:
        self.log.append("entered")
        return self

    def __exit__(self, *exception: object) -> None:
        self.log.append("left")

    async def __aenter__(self) -> Upstream:
        self.log.append("entered")
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.log.append("left")

    def close(self) -> None:
        self.log.append("closed")

    async def aclose(self) -> None:
        self.log.append("closed")


def post(upstream: Any, library: Any, body: Any = STREAMED, **options: Any) -> Any:
    """The answer to one request, read whole."""
    with library.Client(transport=NormalizingTransport(upstream, **options)) as client:
        return client.post(URL, json=body)


# --- that it streams ---------------------------------------------------------------------------


@both
def test_first_event_arrives_before_the_second_is_made(library: Any, serve: Serve) -> None:
    gate = Gate()
    url = serve(answering(ROLE + HELLO, gate.passed, WORLD, STOP, DONE))
    got = b""
    with (
        library.Client(transport=NormalizingTransport()) as client,
        client.stream("POST", url + CHAT, json=STREAMED) as response,
    ):
        for part in response.iter_bytes():
            got += part
            if b"Hello" in got:
                gate.open()
    assert gate.in_time == [True]
    assert got == STREAM


@both
@pytest.mark.anyio
async def test_first_event_arrives_before_the_second_is_made_async(
    library: Any, serve: Serve
) -> None:
    gate = Gate()
    url = serve(answering(ROLE + HELLO, gate.passed, WORLD, STOP, DONE))
    got = b""
    async with (
        library.AsyncClient(transport=NormalizingTransport()) as client,
        client.stream("POST", url + CHAT, json=STREAMED) as response,
    ):
        async for part in response.aiter_bytes():
            got += part
            if b"Hello" in got:
                gate.open()
    assert gate.in_time == [True]
    assert got == STREAM


@both
def test_upstream_is_read_only_as_the_client_reads(library: Any) -> None:
    log: list[str] = []
    upstream = Upstream(library, ROLE + HELLO, lambda: log.append("asked for more"), WORLD)
    with (
        library.Client(transport=NormalizingTransport(upstream)) as client,
        client.stream("POST", URL, json=STREAMED) as response,
    ):
        parts = response.iter_bytes()
        assert log == []
        next(parts)
        assert log == []
        next(parts)
        assert log == ["asked for more"]


@pytest.mark.parametrize("name", ["httpx", "httpx2"])
def test_openai_reads_a_stream(name: str, serve: Serve) -> None:
    library: Any = {"httpx": httpx, "httpx2": httpx2}[name]
    url = serve(answering(STREAM))
    with library.Client(transport=NormalizingTransport()) as http:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", http_client=http)
        stream = client.chat.completions.create(model="m", messages=[], stream=True)
        choices = [choice for event in stream for choice in event.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == "Hello world"
    assert choices[-1].finish_reason == "stop"


@both
@pytest.mark.anyio
async def test_many_streams_at_once_share_nothing(library: Any) -> None:
    texts = [f"text-{number}" for number in range(20)]
    got: dict[str, bytes] = {}
    reports: dict[str, Report] = {}

    class Echo(Upstream):
        async def handle_async_request(self, request: Any) -> Any:
            said = chunk({"content": json.loads(request.content)["model"]})
            return Upstream(library, ROLE, *[said] * 9, STOP, DONE).answer(request)

    async def read(client: Any, text: str) -> None:
        async with client.stream("POST", URL, json={**STREAMED, "model": text}) as response:
            got[text] = b"".join([part async for part in response.aiter_bytes()])
            reports[text] = response.extensions["normalizer"]

    async with (
        library.AsyncClient(transport=NormalizingTransport(Echo(library))) as client,
        anyio.create_task_group() as group,
    ):
        for text in texts:
            group.start_soon(read, client, text)
    assert got == {text: ROLE + chunk({"content": text}) * 9 + STOP + DONE for text in texts}
    assert [report.characters_out["content"] for report in reports.values()] == [
        9 * len(text) for text in reports
    ]


# --- what is touched, and what is not -----------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("method", "path", "content_type", "status"),
    [
        ("GET", CHAT, "application/json", 200),
        ("HEAD", CHAT, "application/json", 200),
        ("POST", "/v1/embeddings", "application/json", 200),
        ("POST", "/v1/chat/completions/chatcmpl-1", "application/json", 200),
        ("POST", "/app/events", "application/json", 200),
        ("POST", CHAT, "multipart/form-data", 200),
        ("POST", CHAT, "application/json", 204),
        ("POST", CHAT, "application/json", 206),
        ("POST", CHAT, "application/json", 101),
        ("POST", CHAT, "application/json", 304),
        ("POST", CHAT, "application/json", 307),
    ],
)
def test_everything_else_is_the_inner_response_itself(
    library: Any, method: str, path: str, content_type: str, status: int
) -> None:
    upstream = Upstream(library, ROLE, status=status)
    request = library.Request(
        method,
        f"http://upstream.test{path}",
        content=b"--x\r\n" if "multipart" in content_type else json.dumps(STREAMED).encode(),
        headers={"content-type": content_type},
    )
    assert NormalizingTransport(upstream).handle_request(request) is upstream.responses[0]


@both
@pytest.mark.parametrize(
    "path",
    [
        CHAT,
        "/v1/completions",
        "/chat/completions/",
        "/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
    ],
)
def test_every_path_of_the_api_is_touched(library: Any, path: str) -> None:
    request = library.Request("POST", f"http://upstream.test{path}", json=STREAMED)
    response = NormalizingTransport(Upstream(library, ROLE)).handle_request(request)
    assert isinstance(response.extensions["normalizer"], Report)


@both
def test_a_body_that_begins_as_json_is_json(library: Any) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    request = library.Request("POST", URL, content=b' {"stream": true}', headers=headers)
    response = NormalizingTransport(Upstream(library, ROLE)).handle_request(request)
    assert "normalizer" in response.extensions


@both
def test_paths_of_ones_own_are_touched(library: Any) -> None:
    request = library.Request("POST", "http://upstream.test/api/chat?x=1", json=STREAMED)
    transport = NormalizingTransport(Upstream(library, ROLE), paths="/api/chat")
    report = transport.handle_request(request).extensions["normalizer"]
    assert (report.path, report.upstream) == ("/api/chat", "upstream.test")


@both
@pytest.mark.anyio
async def test_an_asynchronous_on_report_is_awaited_or_refused(library: Any) -> None:
    reports: list[Report] = []

    class Sink:
        async def __call__(self, report: Report) -> None:
            reports.append(report)

    async def on_report(report: Report) -> None:
        reports.append(report)

    for sink in (on_report, Sink()):
        reports.clear()
        transport = NormalizingTransport(Upstream(library, STREAM), on_report=sink)
        async with library.AsyncClient(transport=transport) as client:
            response = await client.post(URL, json=STREAMED)
        assert reports == [response.extensions["normalizer"]]
        assert reports[0].elapsed is not None
        upstream = Upstream(library, STREAM)
        request = library.Request("POST", URL, json=STREAMED)
        with pytest.raises(OptionError, match="asynchronous"):
            NormalizingTransport(upstream, on_report=sink).handle_request(request)
        assert not upstream.responses


@both
def test_json_without_a_content_type_is_touched(library: Any) -> None:
    request = library.Request("POST", URL, content=b' {"stream": true}')
    assert "content-type" not in request.headers
    response = NormalizingTransport(Upstream(library, ROLE)).handle_request(request)
    assert "normalizer" in response.extensions


@both
def test_an_applications_own_events_pass_byte_for_byte(library: Any, serve: Serve) -> None:
    own = b"event: tick\r\nid: 1\r\ndata: {}\r\n\r\ndata: [DONE]\n\ndata: after\n\n"
    url = serve(answering(own))
    with library.Client(transport=NormalizingTransport()) as client:
        response = client.post(f"{url}/app/events", json=STREAMED)
    assert response.content == own
    assert "normalizer" not in response.extensions


@both
def test_request_body_arrives_and_can_be_read_again(library: Any) -> None:
    upstream = Upstream(library, STREAM)
    response = post(upstream, library)
    assert json.loads(upstream.bodies[0]) == STREAMED
    assert json.loads(response.request.content) == STREAMED


@both
def test_streamed_request_body_is_not_read_ahead(library: Any) -> None:
    upstream = Upstream(library, STREAM)
    log: list[str] = []

    def body() -> Iterator[bytes]:
        log.append(f"read after {len(upstream.bodies)} requests")
        yield b'{"stream":'
        yield b" true}"

    class Watching(Upstream):
        def handle_request(self, request: Any) -> Any:
            log.append("inner transport")
            return upstream.handle_request(request)

    transport = NormalizingTransport(Watching(library))
    with library.Client(transport=transport) as client:
        response = client.post(URL, content=body(), headers={"content-type": "application/json"})
    assert log == ["inner transport", "read after 0 requests"]
    assert upstream.bodies == [b'{"stream": true}']
    assert response.content == STREAM


# --- heads --------------------------------------------------------------------------------------


@both
def test_headers_of_the_body_are_dropped_and_others_kept_in_order(library: Any) -> None:
    headers = [
        ("set-cookie", "a=1"),
        ("content-length", "12345"),
        ("x-request-id", "r"),
        ("content-type", "text/plain"),
        ("etag", '"e"'),
        ("digest", "sha-256=x"),
        ("content-md5", "x"),
        ("set-cookie", "b=2"),
    ]
    response = post(Upstream(library, STREAM, headers=headers), library)
    assert response.headers.multi_items() == [
        ("set-cookie", "a=1"),
        ("x-request-id", "r"),
        ("content-type", "text/event-stream; charset=utf-8"),
        ("set-cookie", "b=2"),
    ]


@both
def test_extensions_are_kept(library: Any) -> None:
    extensions = {"http_version": b"HTTP/1.1", "reason_phrase": b"Fine", "own": object()}
    response = post(Upstream(library, STREAM, extensions=extensions), library)
    assert response.http_version == "HTTP/1.1"
    assert response.reason_phrase == "Fine"
    assert response.extensions["own"] is extensions["own"]
    assert set(response.extensions) == {*extensions, "normalizer"}
    assert "normalizer" not in extensions


@both
def test_error_of_another_shape_keeps_its_status_and_gets_its_length(library: Any) -> None:
    body = b'{"detail": "no such model"}'
    headers = {"content-type": "application/json", "content-length": str(len(body)), "x-a": "b"}
    response = post(Upstream(library, body, status=404, headers=headers), library)
    assert response.status_code == 404
    assert response.json()["error"]["message"] == "no such model"
    assert response.headers["content-length"] == str(len(response.content))
    assert response.headers["x-a"] == "b"


@both
def test_error_that_is_no_json_passes_with_its_head(library: Any) -> None:
    body = b"<html>Bad Gateway</html>"
    headers = [("content-type", "text/html"), ("content-length", str(len(body))), ("etag", "e")]
    response = post(Upstream(library, body, status=502, headers=headers), library)
    assert (response.status_code, response.content) == (502, body)
    assert response.headers.multi_items() == headers


@both
def test_stream_for_a_plain_request_that_fails_gets_the_errors_status(library: Any) -> None:
    error = b'data: {"error": {"message": "slow down", "code": 429}}\n\n'
    extensions = {"http_version": b"HTTP/1.1", "reason_phrase": b"OK"}
    response = post(Upstream(library, error, extensions=extensions), library, PLAIN)
    assert response.status_code == 429
    assert response.reason_phrase == "Too Many Requests"
    assert response.headers["content-type"].startswith("application/json")
    assert response.json()["error"]["message"] == "slow down"


@both
def test_body_too_large_to_hold_passes_whole(library: Any) -> None:
    headers = [("content-type", "application/json"), ("content-length", "17"), ("etag", "e")]
    upstream = Upstream(library, b'{"choices"', b": [{}]", b"}", headers=headers)
    response = post(upstream, library, PLAIN, max_event_bytes=12)
    assert response.content == b'{"choices": [{}]}'
    assert response.headers.multi_items() == headers


# --- codings ------------------------------------------------------------------------------------


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def brotli(data: bytes) -> bytes:
    packed: bytes = pytest.importorskip("brotli").compress(data)
    return packed


@both
@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("br", brotli),
        ("deflate, gzip", lambda data: gzip.compress(zlib.compress(data))),
        ("identity", bytes),
    ],
)
def test_a_coding_is_undone(library: Any, coding: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(STREAM)
    headers = {**EVENT_STREAM, "content-encoding": coding, "content-length": str(len(packed))}
    parts = [packed[at : at + 7] for at in range(0, len(packed), 7)]
    response = post(Upstream(library, *parts, headers=headers), library)
    assert response.content == STREAM
    assert "content-encoding" not in response.headers
    assert "content-length" not in response.headers


@both
def test_compressed_error_that_passes_is_compressed_no_more(library: Any) -> None:
    page = b"<html>Bad Gateway</html>"
    headers = {"content-type": "text/html", "content-encoding": "gzip", "content-length": "44"}
    response = post(Upstream(library, gzip.compress(page), status=502, headers=headers), library)
    assert response.content == page
    assert "content-encoding" not in response.headers
    assert response.headers["content-length"] == str(len(page))


@both
def test_compressed_events_leave_as_they_come(library: Any) -> None:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)

    def pack(data: bytes) -> bytes:
        return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)

    log: list[str] = []
    upstream = Upstream(
        library,
        pack(ROLE + HELLO),
        lambda: log.append("second"),
        pack(WORLD + STOP + DONE),
        headers={**EVENT_STREAM, "content-encoding": "gzip"},
    )
    with (
        library.Client(transport=NormalizingTransport(upstream)) as client,
        client.stream("POST", URL, json=STREAMED) as response,
    ):
        for part in response.iter_bytes():
            log += ["Hello" if b"Hello" in part else "rest"]
    assert log[:2] == ["Hello", "second"]


@both
def test_an_unknown_coding_is_left_alone(library: Any, caplog: pytest.LogCaptureFixture) -> None:
    upstream = Upstream(library, b"???", headers={**EVENT_STREAM, "content-encoding": "sdch"})
    request = library.Request("POST", URL, json=STREAMED)
    assert NormalizingTransport(upstream).handle_request(request) is upstream.responses[0]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "sdch" in caplog.text


@both
def test_broken_coding_delivers_and_raises_the_librarys_own(library: Any) -> None:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    good = packer.compress(ROLE + HELLO) + packer.flush(zlib.Z_SYNC_FLUSH)
    headers = {**EVENT_STREAM, "content-encoding": "gzip"}
    got, error = read_until_it_breaks(
        library, Upstream(library, good, b"\xff" * 9, headers=headers)
    )
    assert got.startswith(ROLE + HELLO)
    assert isinstance(error, library.DecodingError)


@both
@pytest.mark.anyio
async def test_a_body_that_the_inner_transport_has_read_is_not_decoded_again(library: Any) -> None:
    headers = {**EVENT_STREAM, "content-encoding": "gzip"}

    class Reading(Upstream):
        def handle_request(self, request: Any) -> Any:
            response = self.answer(request)
            response.read()
            return response

        async def handle_async_request(self, request: Any) -> Any:
            return self.handle_request(request)  # whose stream can no longer be read

    upstream = Reading(library, gzip.compress(STREAM), headers=headers)
    assert post(upstream, library).content == STREAM
    async with library.AsyncClient(transport=NormalizingTransport(upstream)) as client:
        assert (await client.post(URL, json=STREAMED)).content == STREAM


# --- ends ---------------------------------------------------------------------------------------


def read_until_it_breaks(library: Any, upstream: Upstream) -> tuple[bytes, Exception | None]:
    got = b""
    with (
        library.Client(transport=NormalizingTransport(upstream)) as client,
        client.stream("POST", URL, json=STREAMED) as response,
    ):
        try:
            for part in response.iter_bytes():
                got += part
        except library.RequestError as error:
            return got, error
    return got, None


@both
def test_broken_connection_delivers_and_then_raises(library: Any) -> None:
    error = library.ReadError("connection reset")
    upstream = Upstream(library, ROLE, HELLO, error)
    got, raised = read_until_it_breaks(library, upstream)
    assert raised is error
    assert got.startswith(ROLE + HELLO)
    assert b'"upstream_truncated"' in got
    assert b"ended because its connection broke (connection reset)" in got
    assert got.endswith(DONE)
    assert "body closed" in upstream.log


@both
@pytest.mark.anyio
async def test_broken_connection_delivers_and_then_raises_async(library: Any, serve: Serve) -> None:
    async def crash() -> None:
        raise RuntimeError

    url = serve(answering(ROLE, HELLO, crash))
    got = b""
    async with (
        library.AsyncClient(transport=NormalizingTransport()) as client,
        client.stream("POST", url + CHAT, json=STREAMED) as response,
    ):
        parts = response.aiter_bytes()
        with pytest.raises(library.RemoteProtocolError):  # noqa: PT012  # counts what came before
            async for part in parts:
                got += part
    assert got.startswith(ROLE + HELLO)
    assert b'"upstream_truncated"' in got
    assert response.extensions["normalizer"].end == "truncated"


@both
@pytest.mark.anyio
async def test_what_breaks_behind_done_is_nobodys_business(
    library: Any, caplog: pytest.LogCaptureFixture
) -> None:
    upstream = Upstream(library, STREAM, library.ReadError("connection reset"))
    assert post(upstream, library).content == STREAM
    async with library.AsyncClient(transport=NormalizingTransport(upstream)) as client:
        assert (await client.post(URL, json=STREAMED)).content == STREAM
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []
    assert upstream.log.count("body closed") == 2


@both
def test_error_before_the_head_is_known_is_raised_after_it(library: Any) -> None:
    error = library.ReadTimeout("too slow")
    upstream = Upstream(
        library, b'{"choices": [', error, headers={"content-type": "application/json"}
    )
    with pytest.raises(library.ReadTimeout) as raised:
        post(upstream, library, PLAIN)
    assert raised.value is error
    assert "body closed" in upstream.log


@both
def test_interrupt_while_the_head_is_held_closes_the_upstream(library: Any) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    upstream = Upstream(library, b"{", interrupt, headers={"content-type": "application/json"})
    request = library.Request("POST", URL, json=PLAIN)
    reports: list[Report] = []
    with pytest.raises(KeyboardInterrupt):
        NormalizingTransport(upstream, on_report=reports.append).handle_request(request)
    assert upstream.log == ["body closed"]
    assert [report.end for report in reports] == ["closed"]


@both
def test_closing_ours_closes_theirs(library: Any) -> None:
    upstream = Upstream(library, ROLE, HELLO, WORLD)
    reports: list[Report] = []
    transport = NormalizingTransport(upstream, on_report=reports.append)
    with library.Client(transport=transport) as client:
        with client.stream("POST", URL, json=STREAMED) as response:
            parts = response.iter_bytes()
            next(parts)
            assert upstream.log == ["entered"]
        assert upstream.log == ["entered", "body closed"]
        assert [report.end for report in reports] == ["closed"]
        response.close()
    assert upstream.log == ["entered", "body closed", "left"]
    assert len(reports) == 1


@left_early
@both
@pytest.mark.anyio
async def test_client_that_leaves_is_seen_by_the_upstream(library: Any, serve: Serve) -> None:
    left = Gate()

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": ROLE + HELLO, "more_body": True})
        if (await receive())["type"] == "http.disconnect":
            left.open()

    url = serve(app)
    async with library.AsyncClient(transport=NormalizingTransport()) as client:
        async with client.stream("POST", url + CHAT, json=STREAMED) as response:
            async for _ in response.aiter_bytes():
                break
        # The client stays open: it must be the stream that was closed.
        assert await anyio.to_thread.run_sync(left.wait)
    assert response.extensions["normalizer"].end == "closed"


@both
@pytest.mark.anyio
async def test_cancelled_client_closes_the_upstream(library: Any) -> None:
    class Silent(Upstream):
        async def handle_async_request(self, request: Any) -> Any:
            upstream = self

            class Body(library.AsyncByteStream):  # type: ignore[misc]
                async def __aiter__(self) -> AsyncIterator[bytes]:
                    yield STOP
                    scope.cancel()
                    await anyio.sleep_forever()

                async def aclose(self) -> None:
                    upstream.log.append("body closed")

            return library.Response(200, headers=EVENT_STREAM, stream=Body())

    upstream = Silent(library)
    with anyio.CancelScope() as scope:
        transport = NormalizingTransport(upstream, finish_timeout=PATIENCE)
        async with library.AsyncClient(transport=transport) as client:
            await client.post(URL, json=STREAMED)
    assert scope.cancelled_caught
    assert "body closed" in upstream.log


@both
def test_done_ends_the_body_while_the_socket_stays_open(library: Any, serve: Serve) -> None:
    closed = Gate()

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": STREAM, "more_body": True})
        assert (await receive())["type"] == "http.disconnect"
        closed.open()

    url = serve(app)
    with library.Client(transport=NormalizingTransport()) as client:
        assert client.post(url + CHAT, json=STREAMED).content == STREAM
        assert closed.wait()


@both
@pytest.mark.anyio
async def test_done_ends_the_body_while_the_socket_stays_open_async(
    library: Any, serve: Serve
) -> None:
    closed = Gate()

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": STREAM, "more_body": True})
        assert (await receive())["type"] == "http.disconnect"
        closed.open()

    url = serve(app)
    async with library.AsyncClient(transport=NormalizingTransport()) as client:
        assert (await client.post(url + CHAT, json=STREAMED)).content == STREAM
        assert await anyio.to_thread.run_sync(closed.wait)


def counting(ports: list[int]) -> ASGIApp:
    stream = answering(STREAM)

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        ports.append(scope["client"][1])
        await stream(scope, receive, send)

    return app


@both
def test_connection_is_used_again(
    library: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bodies, "_GRACE", PATIENCE)
    ports: list[int] = []
    url = serve(counting(ports))
    with library.Client(transport=NormalizingTransport()) as client:
        for _ in range(3):
            assert client.post(url + CHAT, json=STREAMED).content == STREAM
    assert len(ports) == 3
    assert len(set(ports)) == 1


@both
@pytest.mark.anyio
async def test_connection_is_used_again_async(
    library: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bodies, "_GRACE", PATIENCE)
    ports: list[int] = []
    url = serve(counting(ports))
    async with library.AsyncClient(transport=NormalizingTransport()) as client:
        for _ in range(3):
            assert (await client.post(url + CHAT, json=STREAMED)).content == STREAM
    assert len(ports) == 3
    assert len(set(ports)) == 1


# --- a held finish ------------------------------------------------------------------------------


@both
@pytest.mark.anyio
async def test_held_finish_leaves_in_a_silence_and_the_read_goes_on(
    library: Any, serve: Serve
) -> None:
    gate = Gate()
    url = serve(answering(ROLE, HELLO, STOP, gate.passed, DONE))
    got = b""
    transport = NormalizingTransport(finish_timeout=0.01)
    async with (
        library.AsyncClient(transport=transport) as client,
        client.stream("POST", url + CHAT, json=STREAMED) as response,
    ):
        async for part in response.aiter_bytes():
            got += part
            if b'"stop"' in got:
                gate.open()
    assert gate.in_time == [True]
    assert got == ROLE + HELLO + STOP + DONE


@left_early
@both
@pytest.mark.anyio
async def test_client_that_leaves_in_the_silence_leaves_no_read_behind(library: Any) -> None:
    log: list[str] = []

    class Silent(Upstream):
        async def handle_async_request(self, request: Any) -> Any:
            class Body(library.AsyncByteStream):  # type: ignore[misc]
                async def __aiter__(self) -> AsyncIterator[bytes]:
                    yield ROLE + STOP
                    try:
                        await anyio.sleep_forever()
                    finally:
                        log.append("read cancelled")
                        raise library.ReadError("closed")  # nobody waits to hear of it

                async def aclose(self) -> None:
                    log.append("body closed")

            return library.Response(200, headers=EVENT_STREAM, stream=Body())

    transport = NormalizingTransport(Silent(library), finish_timeout=0.01)
    async with library.AsyncClient(transport=transport) as client:
        async with client.stream("POST", URL, json=STREAMED) as response:
            async for part in response.aiter_bytes():
                if b'"stop"' in part:
                    break
        assert log == ["read cancelled", "body closed"]


@both
def test_held_finish_leaves_before_what_comes_late(library: Any) -> None:
    late = Upstream(library, ROLE + STOP, b": still here\n\n", DONE)
    # So short that it is over when the next read is.
    transport = NormalizingTransport(late, finish_timeout=1e-9)
    with (
        library.Client(transport=transport) as client,
        client.stream("POST", URL, json=STREAMED) as response,
    ):
        parts = list(response.iter_bytes())
    assert parts == [ROLE, STOP + b": still here\n\n", DONE]


# --- reports ------------------------------------------------------------------------------------


@both
def test_report_is_given_once_and_is_at_the_response(library: Any) -> None:
    reports: list[Report] = []
    response = post(Upstream(library, ROLE, HELLO, STOP), library, on_report=reports.append)
    assert reports == [response.extensions["normalizer"]]
    assert reports[0].end == "done"
    assert reports[0].repairs


@both
def test_report_is_complete_when_done_arrives(library: Any) -> None:
    # openai-python stops reading at [DONE]; its user need not close anything to get the report.
    reports: list[Report] = []
    request = library.Request("POST", URL, json=STREAMED)
    transport = NormalizingTransport(Upstream(library, STREAM), on_report=reports.append)
    body = iter(transport.handle_request(request).stream)
    got = b""
    while not got.endswith(DONE):
        got += next(body)
    assert [report.end for report in reports] == ["done"]


@both
def test_what_on_report_raises_is_logged(library: Any, caplog: pytest.LogCaptureFixture) -> None:
    def on_report(report: Report) -> None:
        raise RuntimeError("full disk")

    response = post(Upstream(library, STREAM), library, on_report=on_report)
    assert response.content == STREAM
    assert "full disk" in caplog.text


@both
def test_repairs_are_logged_without_content(library: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "normalizer")
    clean = post(Upstream(library, STREAM), library)
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert clean.extensions["normalizer"].repairs == {}
    caplog.clear()
    repaired = post(Upstream(library, ROLE, HELLO, STOP), library)
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert CHAT in record.getMessage()
    for code in repaired.extensions["normalizer"].codes:
        assert code in record.getMessage()
    assert "Hello" not in record.getMessage()


# --- options and inner transports ---------------------------------------------------------------


def test_options_are_fields_or_whole() -> None:
    with pytest.raises(OptionError, match="no such option: resoning"):
        NormalizingTransport(resoning="both")  # type: ignore[call-arg]
    with pytest.raises(OptionError, match="reasoning beside it"):
        NormalizingTransport(options=Options(), reasoning="both")


@both
def test_options_reach_the_stream(library: Any) -> None:
    commented = ROLE + b": ping\n\n" + HELLO + STOP + DONE
    kept = post(Upstream(library, commented), library)
    dropped = post(Upstream(library, commented), library, comments="drop")
    whole = post(Upstream(library, commented), library, options=Options(comments="drop"))
    assert b": ping" in kept.content
    assert dropped.content == whole.content == commented.replace(b": ping\n\n", b"")


@both
def test_report_mode_touches_nothing(library: Any) -> None:
    raw = ROLE + STOP + STOP + DONE + b"data: after\n\n" + DONE
    headers = [("content-type", "text/event-stream"), ("content-length", str(len(raw)))]
    upstream = Upstream(library, raw, headers=headers)
    reports: list[Report] = []
    response = post(upstream, library, mode="report", on_report=reports.append)
    assert response.content == raw
    assert len(reports) == 1
    assert response.headers.multi_items() == headers
    assert response.extensions["normalizer"].repairs


def proxied(requests: list[str]) -> ASGIApp:
    stream = answering(STREAM)

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        requests.append(scope["path"])
        await stream(scope, receive, send)

    return app


@both
def test_proxies_of_the_environment_are_used(
    library: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_proxy: list[str] = []
    direct: list[str] = []
    monkeypatch.setenv("HTTP_PROXY", serve(proxied(by_proxy)))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with library.Client(transport=NormalizingTransport()) as client:
        assert client.post(URL, json=STREAMED).content == STREAM
        assert client.post(serve(proxied(direct)) + CHAT, json=STREAMED).content == STREAM
    assert by_proxy == [URL]
    assert direct == [CHAT]


@both
@pytest.mark.anyio
async def test_proxies_of_the_environment_are_used_async(
    library: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_proxy: list[str] = []
    direct: list[str] = []
    monkeypatch.setenv("ALL_PROXY", serve(proxied(by_proxy)))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with library.AsyncClient(transport=NormalizingTransport()) as client:
        assert (await client.post(URL, json=STREAMED)).content == STREAM
        assert (await client.post(serve(proxied(direct)) + CHAT, json=STREAMED)).content == STREAM
    assert by_proxy == [URL]
    assert direct == [CHAT]


@both
def test_a_transport_of_ones_own_is_used_as_it_is(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    upstream = Upstream(library, STREAM)
    assert post(upstream, library).content == STREAM
    assert len(upstream.requests) == 1
    assert upstream.log == ["entered", "body closed", "left"]


@both
def test_mock_transport_is_wrapped(library: Any) -> None:
    def answer(request: Any) -> Any:
        return library.Response(200, content=STREAM, headers=EVENT_STREAM)

    response = post(library.MockTransport(answer), library)
    assert response.content == STREAM
    assert "content-length" not in response.headers


@both
@pytest.mark.anyio
async def test_closing_closes_a_transport_of_ones_own(library: Any) -> None:
    upstream = Upstream(library)
    async with library.AsyncClient(transport=NormalizingTransport(upstream)):
        assert upstream.log == ["entered"]
    assert upstream.log == ["entered", "left"]
    await NormalizingTransport(upstream).aclose()
    NormalizingTransport(upstream).close()
    assert upstream.log == ["entered", "left", "closed", "closed"]


def test_one_instance_serves_both_libraries(serve: Serve) -> None:
    url = serve(answering(STREAM))
    transport = NormalizingTransport()
    for library in (httpx, httpx2):
        client: Any = library.Client(transport=transport)
        response = client.post(url + CHAT, json=STREAMED)
        assert isinstance(response, library.Response)
        assert response.content == STREAM
    transport.close()
    gc.collect()


def test_threads_share_one_transport(serve: Serve) -> None:
    url = serve(answering(STREAM))
    got: list[bytes] = []
    with httpx2.Client(transport=NormalizingTransport()) as client:

        def read() -> None:
            got.append(client.post(url + CHAT, json=STREAMED).content)

        threads = [threading.Thread(target=read) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert got == [STREAM] * 10


def test_wrong_kinds_are_named() -> None:
    class SyncOnly:
        def handle_request(self, request: Any) -> Any:
            raise NotImplementedError

    request = httpx2.Request("POST", URL, json=STREAMED)
    with pytest.raises(TypeError, match="neither httpx nor httpx2"):
        NormalizingTransport().handle_request(object())
    with pytest.raises(TypeError, match="no handle_async_request, which AsyncClient needs"):
        anyio.run(NormalizingTransport(SyncOnly()).handle_async_request, request)


def test_no_library_is_imported_before_it_is_used() -> None:
    code = (
        "import sys, normalizer.doors.transport as t; t.NormalizingTransport();"
        "print(sorted({'httpx', 'httpx2', 'anyio', 'trio'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
