"""The middleware before applications that tell on it, called directly and in a real uvicorn."""

from __future__ import annotations

import asyncio
import gzip
import importlib
import json
import logging
import zlib
from collections.abc import AsyncIterator, Callable, MutableMapping
from typing import Any

import anyio
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from normalizer import OptionError, Options, Report
from normalizer.doors.asgi import NormalizingMiddleware
from normalizer.proxy import Upstream
from tests.conftest import (
    CHAT,
    DONE,
    EVENT_STREAM,
    HELLO,
    ROLE,
    STOP,
    STREAM,
    STREAMED,
    WORLD,
    ASGIApp,
    Gate,
    Message,
    Receive,
    Send,
    answering,
)

Serve = Callable[[ASGIApp], str]

JSON = (b"content-type", b"application/json")
PLAIN = {"model": "m", "messages": []}


class Call:
    """One request to an application, as a server would make it; what the application sent."""

    def __init__(
        self,
        body: Any = STREAMED,
        *,
        path: str = CHAT,
        method: str = "POST",
        headers: tuple[tuple[bytes, bytes], ...] = (JSON,),
        **scope: Any,
    ) -> None:
        self.scope: MutableMapping[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": list(headers),
            "state": {},
            **scope,
        }
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.requests: list[Message] = [
            {"type": "http.request", "body": content[:9], "more_body": True},
            {"type": "http.request", "body": content[9:], "more_body": False},
        ]
        self.sent: list[Message] = []
        self.left = anyio.Event()

    async def receive(self) -> Message:
        if self.requests:
            return self.requests.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await anyio.lowlevel.checkpoint()
        assert self.more_body, "the answer was complete"
        self.sent.append(message)

    async def to(self, app: ASGIApp) -> Call:
        await app(self.scope, self.receive, self.send)
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.sent[0]["headers"])

    @property
    def parts(self) -> list[bytes]:
        return [message["body"] for message in self.sent if message["type"].endswith(".body")]

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def more_body(self) -> bool:
        bodies = [message for message in self.sent if message["type"] == "http.response.body"]
        return not bodies or bool(bodies[-1].get("more_body", False))

    @property
    def report(self) -> Report:
        report = self.scope["state"]["normalizer"]
        assert isinstance(report, Report)
        return report


def normalized(app: ASGIApp, **options: Any) -> NormalizingMiddleware:
    return NormalizingMiddleware(app, **options)


# --- that it streams ---------------------------------------------------------------------------


def test_first_event_arrives_before_the_second_is_made(serve: Serve) -> None:
    gate = Gate()
    url = serve(normalized(answering(ROLE + HELLO, gate.passed, WORLD, STOP, DONE)))
    got = b""
    with httpx2.Client() as client, client.stream("POST", url + CHAT, json=STREAMED) as response:
        for part in response.iter_bytes():
            got += part
            if b"Hello" in got:
                gate.open()
    assert gate.in_time == [True]
    assert got == STREAM


def test_head_arrives_before_the_first_event_is_made(serve: Serve) -> None:
    gate = Gate()
    url = serve(normalized(answering(gate.passed, STREAM)))
    with httpx2.Client() as client, client.stream("POST", url + CHAT, json=STREAMED) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        gate.open()
        response.read()
    assert gate.in_time == [True]
    assert response.content == STREAM


@pytest.mark.anyio
async def test_application_waits_for_a_slow_client() -> None:
    log: list[str] = []
    taken = anyio.Event()

    class Slow(Call):
        async def send(self, message: Message) -> None:
            await super().send(message)
            if message.get("body") == HELLO:
                await anyio.wait_all_tasks_blocked()
                log.append("client took Hello")
                taken.set()

    async def note() -> None:
        log.append("application goes on")

    await Slow().to(normalized(answering(ROLE, HELLO, note, WORLD, STOP, DONE)))
    assert taken.is_set()
    assert log == ["client took Hello", "application goes on"]


@pytest.mark.anyio
async def test_many_streams_at_once_share_nothing() -> None:
    async def echo(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        first, rest = await receive(), await receive()
        text = json.loads(first["body"] + rest["body"])["model"].encode()
        said = HELLO.replace(b"Hello", text)
        await answering(ROLE, *[said] * 9, STOP, DONE)(scope, done, send)

    async def done() -> Message:
        return {"type": "http.request", "more_body": False}

    calls = {
        f"text-{number}": Call({**STREAMED, "model": f"text-{number}"}) for number in range(20)
    }
    app = normalized(echo)
    async with anyio.create_task_group() as group:
        for call in calls.values():
            group.start_soon(call.to, app)
    for text, call in calls.items():
        assert call.body == ROLE + HELLO.replace(b"Hello", text.encode()) * 9 + STOP + DONE
        assert call.report.characters_out["content"] == 9 * len(text)


# --- what is touched, and what is not -----------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    "scope",
    [
        {"type": "lifespan"},
        {"type": "websocket", "path": CHAT, "headers": [JSON]},
        {"type": "http", "method": "GET", "path": CHAT, "headers": [JSON]},
        {"type": "http", "method": "HEAD", "path": CHAT, "headers": [JSON]},
        {"type": "http", "method": "POST", "path": "/v1/embeddings", "headers": [JSON]},
        {"type": "http", "method": "POST", "path": "/app/events", "headers": [JSON]},
    ],
    ids=lambda scope: "-".join(str(scope.get(key)) for key in ("type", "method", "path")),
)
async def test_everything_else_gets_the_very_same_objects(scope: dict[str, Any]) -> None:
    got: list[object] = []

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        got.extend((scope, receive, send))

    async def receive() -> Message:
        raise NotImplementedError

    async def send(message: Message) -> None:
        raise NotImplementedError

    before = dict(scope)
    await normalized(app)(scope, receive, send)
    assert got[0] is scope
    assert got[1] is receive
    assert got[2] is send
    assert scope == before


@pytest.mark.anyio
@pytest.mark.parametrize("status", [204, 205, 206, 304, 307])
async def test_answers_without_a_message_pass(status: int) -> None:
    headers = ((b"content-length", b"3"), (b"etag", b"e"))
    call = await Call().to(normalized(answering(b"abc", status=status, headers=headers)))
    assert (call.status, call.headers, call.body) == (status, list(headers), b"abc")
    assert "normalizer" not in call.scope["state"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path",
    [CHAT, "/v1/completions", "//chat/completions", "/openai/deployments/x/chat/completions"],
)
async def test_every_path_of_the_api_is_touched(path: str) -> None:
    call = await Call(path=path, query_string=b"api-version=1").to(normalized(answering(STREAM)))
    assert isinstance(call.report, Report)
    assert (call.body == STREAM) is path.endswith("/chat/completions")


@pytest.mark.anyio
async def test_json_without_a_content_type_is_touched_and_other_bodies_are_not() -> None:
    app = normalized(answering(ROLE, STOP))
    assert (await Call(headers=()).to(app)).body == ROLE + STOP + DONE
    assert (await Call(b"model=m&stream=true", headers=()).to(app)).body == ROLE + STOP


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["application/x-www-form-urlencoded", "text/plain", "", "x"])
async def test_a_body_that_begins_as_json_is_json(name: str) -> None:
    headers = ((b"content-type", name.encode()),)
    app = normalized(answering(ROLE, STOP))
    body = b" \r\n" * 9 + json.dumps(STREAMED).encode()
    assert (await Call(body, headers=headers).to(app)).body == ROLE + STOP + DONE


@pytest.mark.anyio
async def test_json_is_known_before_all_of_it_was_read() -> None:
    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await answering(ROLE, STOP)(scope, rest_is_empty, send)

    headers = ((b"content-type", b"text/plain"),)
    call = await Call(headers=headers).to(normalized(app))
    assert call.body == ROLE + STOP + DONE


async def rest_is_empty() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "content_type", "status", "told"),
    [
        (b"--x\r\nmodel=m", b"multipart/form-data", 200, "no JSON (content type: multipart/form-"),
        (STREAMED, b"application/json", 304, "status 304 holds no message"),
    ],
)
async def test_what_is_left_alone_is_logged(
    body: Any, content_type: bytes, status: int, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "normalizer")
    app = normalized(answering(ROLE, STOP, status=status))
    call = await Call(body, headers=((b"content-type", content_type),)).to(app)
    assert call.body == ROLE + STOP
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert record.getMessage().startswith(f"{CHAT}: left alone, ")
    assert told in record.getMessage()


@pytest.mark.anyio
async def test_paths_of_ones_own_are_touched() -> None:
    app = normalized(answering(ROLE, STOP), paths=["/api/chat", "/complete=completions"])
    for path in ("/api/chat", "/x/api/chat/"):
        assert (await Call(path=path).to(app)).body == ROLE + STOP + DONE
    for path in ("/api/chats", "/myapi/chat", "/api/chat/1"):
        call = await Call(path=path).to(app)
        assert call.body == ROLE + STOP
    legacy = b'data: {"choices":[{"index":0,"text":"Hi","finish_reason":"stop"}]}\n\n'
    texts = normalized(answering(legacy), paths="/api/chat,/complete=completions")
    assert b'"text":"Hi"' in (await Call(path="/v2/complete").to(texts)).body


@pytest.mark.anyio
async def test_an_asynchronous_on_report_is_awaited(caplog: pytest.LogCaptureFixture) -> None:
    reports: list[Report] = []

    async def on_report(report: Report) -> None:
        await anyio.lowlevel.checkpoint()
        reports.append(report)
        raise ValueError("its own")

    call = await Call().to(normalized(answering(ROLE, STOP), on_report=on_report))
    assert call.body == ROLE + STOP + DONE
    assert reports == [call.report]
    assert "on_report failed" in caplog.text


@pytest.mark.anyio
async def test_an_asynchronous_on_report_is_awaited_where_the_request_is_cancelled() -> None:
    reports: list[Report] = []
    over = anyio.Event()

    async def on_report(report: Report) -> None:
        await anyio.lowlevel.checkpoint()
        reports.append(report)
        over.set()

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": ROLE, "more_body": True})
        scope_of_task.cancel()
        await anyio.lowlevel.checkpoint()

    with anyio.CancelScope() as scope_of_task:
        await Call().to(normalized(app, on_report=on_report))
    with anyio.fail_after(10):
        await over.wait()
    assert [report.end for report in reports] == ["closed"]


@pytest.mark.anyio
async def test_the_report_says_what_it_is_about() -> None:
    call = await Call().to(normalized(answering(ROLE, HELLO, STOP, DONE)))
    report = call.report
    first = json.loads(ROLE.removeprefix(b"data: "))
    assert (report.path, report.id, report.model) == (CHAT, first["id"], first["model"])
    assert report.upstream is None
    upstream = Upstream(url="http://upstream.test:8000/v1")
    told = await Call(state={"upstream": upstream}).to(normalized(answering(STREAM)))
    assert told.report.upstream == "upstream.test:8000"
    assert report.started is not None
    assert report.first_event is not None
    assert report.elapsed is not None
    assert 0 <= report.first_event <= report.elapsed


@pytest.mark.anyio
async def test_request_messages_reach_the_application_as_they_are() -> None:
    got: list[Message] = []

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        got.extend((await receive(), await receive()))
        await answering(STREAM)(scope, receive, send)

    call = Call()
    call.left.set()
    expected = list(call.requests)
    await call.to(normalized(app))
    assert [id(message) for message in got] == [id(message) for message in expected]


@pytest.mark.anyio
async def test_nothing_is_received_before_the_application_asks() -> None:
    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [EVENT_STREAM]})
        await send({"type": "http.response.body", "body": STREAM})

    call = await Call().to(normalized(app))
    assert len(call.requests) == 2
    assert call.body == STREAM


@pytest.mark.anyio
async def test_a_request_too_long_to_note_is_answered_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("normalizer.doors.asgi._MAX_REQUEST_BYTES", 20)
    call = await Call(PLAIN).to(normalized(answering(STREAM)))
    assert call.body == STREAM  # and not one completion, which such a request gets


# --- heads and messages -------------------------------------------------------------------------


@pytest.mark.anyio
async def test_headers_of_the_body_are_dropped_and_others_kept_in_order() -> None:
    headers = (
        (b"set-cookie", b"a=1"),
        (b"Content-Length", b"12345"),
        (b"Content-Type", b"text/plain"),
        (b"etag", b"e"),
        (b"set-cookie", b"b=2"),
    )
    call = await Call().to(normalized(answering(STREAM, headers=headers)))
    assert call.headers == [
        (b"set-cookie", b"a=1"),
        (b"Content-Type", b"text/event-stream; charset=utf-8"),
        (b"set-cookie", b"b=2"),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),
    ]


@pytest.mark.anyio
async def test_headers_against_buffering_are_not_overruled() -> None:
    own = ((b"Cache-Control", b"no-store"), (b"X-Accel-Buffering", b"yes"), EVENT_STREAM)
    call = await Call().to(normalized(answering(STREAM, headers=own)))
    assert call.headers == list(own)


@pytest.mark.anyio
async def test_error_of_another_shape_keeps_its_status_and_gets_its_length() -> None:
    body = b'{"detail": "no such model"}'
    headers = (JSON, (b"content-length", str(len(body)).encode()))
    call = await Call().to(normalized(answering(body, status=404, headers=headers)))
    assert call.status == 404
    assert json.loads(call.body)["error"]["message"] == "no such model"
    assert dict(call.headers)[b"content-length"] == str(len(call.body)).encode()
    assert b"x-accel-buffering" not in dict(call.headers)


@pytest.mark.anyio
async def test_stream_for_a_plain_request_that_fails_gets_the_errors_status() -> None:
    error = b'data: {"error": {"message": "slow down", "code": 429}}\n\n'
    call = await Call(PLAIN).to(normalized(answering(error)))
    assert call.status == 429
    assert json.loads(call.body)["error"]["message"] == "slow down"
    assert not call.more_body


@pytest.mark.anyio
async def test_body_too_large_to_hold_passes_whole() -> None:
    headers = (JSON, (b"content-length", b"9"), (b"etag", b"e"))
    app = answering(b'{"choices"', b": [{}]", b"}", headers=headers)
    call = await Call(PLAIN).to(normalized(app, max_event_bytes=12))
    assert (call.headers, call.body) == (list(headers), b'{"choices": [{}]}')


@pytest.mark.anyio
async def test_the_applications_message_is_not_changed() -> None:
    start: Message = {"type": "http.response.start", "status": 200, "headers": [(b"etag", b"e")]}

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await send(start)
        await send({"type": "http.response.body", "body": STREAM})

    await Call().to(normalized(app))
    assert start == {"type": "http.response.start", "status": 200, "headers": [(b"etag", b"e")]}


@pytest.mark.anyio
async def test_other_messages_pass() -> None:
    hint = {"type": "http.response.early_hint", "links": []}
    debug = {"type": "http.response.debug", "info": {}}
    trailers = {"type": "http.response.trailers", "headers": []}

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await send(hint)
        await send(debug)
        await send({"type": "http.response.start", "status": 200, "trailers": True})
        await send({"type": "http.response.body", "body": STREAM})
        await send(trailers)

    class Trailing(Call):
        async def send(self, message: Message) -> None:
            self.sent.append(message)

    call = await Trailing().to(normalized(app))
    assert call.sent[0] is hint
    assert call.sent[1] is debug
    assert call.sent[2]["trailers"] is True
    assert call.body == STREAM
    assert call.sent[-1] is trailers


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["http.response.pathsend", "http.response.zerocopysend"])
async def test_sending_files_is_not_offered_and_passes_all_the_same(name: str) -> None:
    file = {"type": name, "path": "/x"}
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]}
    offered: list[str] = []

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        offered.extend(scope["extensions"])
        await receive()
        await receive()
        await send(start)
        await send(file)

    extensions: dict[str, Any] = {name: {}, "http.response.debug": {}}
    call = await Call(PLAIN, extensions=extensions).to(normalized(app))
    assert offered == ["http.response.debug"]
    assert name in extensions
    assert call.sent[0] is start
    assert call.sent[1] is file
    assert len(call.sent) == 2


# --- codings ------------------------------------------------------------------------------------


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def brotli(data: bytes) -> bytes:
    packed: bytes = pytest.importorskip("brotli").compress(data)
    return packed


def zstd(data: bytes) -> bytes:
    packed: bytes = pytest.importorskip("zstandard").compress(data)
    return packed


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        (b"gzip", gzip.compress),
        (b"gzip", lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:])),
        (b"deflate", zlib.compress),
        (b"deflate", raw_deflate),
        (b"br", brotli),
        (b"zstd", zstd),
        (b"zstd", lambda data: zstd(data[:50]) + zstd(data[50:])),
        (b"deflate, gzip", lambda data: gzip.compress(zlib.compress(data))),
        (b"identity", bytes),
    ],
)
async def test_a_coding_is_undone(coding: bytes, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(STREAM)
    headers = (EVENT_STREAM, (b"content-encoding", coding), (b"content-length", b"99"))
    parts = [packed[at : at + 7] for at in range(0, len(packed), 7)]
    call = await Call().to(normalized(answering(*parts, headers=headers)))
    assert call.body == STREAM
    assert not {b"content-encoding", b"content-length"} & dict(call.headers).keys()


@pytest.mark.anyio
async def test_compressed_events_leave_as_they_come() -> None:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)

    def pack(data: bytes) -> bytes:
        return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)

    bodies: list[bytes] = []
    call = Call()

    async def look() -> None:
        bodies.append(call.body)

    headers = (EVENT_STREAM, (b"content-encoding", b"gzip"))
    steps = (pack(ROLE + HELLO), look, pack(WORLD + STOP + DONE))
    await call.to(normalized(answering(*steps, headers=headers)))
    assert bodies == [ROLE + HELLO]
    assert call.body == STREAM


@pytest.mark.anyio
async def test_an_unknown_coding_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    headers = (EVENT_STREAM, (b"content-encoding", b"sdch"), (b"content-length", b"3"))
    call = await Call().to(normalized(answering(b"???", headers=headers)))
    assert (call.headers, call.body) == (list(headers), b"???")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "sdch" in caplog.text


@pytest.mark.anyio
async def test_broken_coding_is_an_error_of_the_stream() -> None:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    good = packer.compress(ROLE + HELLO) + packer.flush(zlib.Z_SYNC_FLUSH)
    headers = (EVENT_STREAM, (b"content-encoding", b"gzip"))
    call = await Call().to(normalized(answering(good, b"\xff" * 9, headers=headers)))
    assert call.body.startswith(ROLE + HELLO)
    assert b'"upstream_truncated"' in call.body
    assert not call.more_body


def test_gzip_middleware_inside_and_outside(serve: Serve) -> None:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi" * 999}}]}

    async def chat(request: Request) -> Response:
        await request.body()
        return JSONResponse(body)

    app: ASGIApp = Starlette(routes=[Route(CHAT, chat, methods=["POST"])])
    inside = GZipMiddleware(normalized(GZipMiddleware(app)))
    with httpx2.Client() as client:
        response = client.post(serve(inside) + CHAT, json=PLAIN)
    assert response.headers["content-encoding"] == "gzip"
    assert response.json()["choices"][0]["message"]["content"] == "Hi" * 999
    assert response.json()["choices"][0]["finish_reason"] == "stop"


# --- ends ---------------------------------------------------------------------------------------


def test_client_that_leaves_is_seen_by_the_application(serve: Serve) -> None:
    left = Gate()
    reports: list[Report] = []

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": ROLE + HELLO, "more_body": True})
        if (await receive())["type"] == "http.disconnect":
            left.open()
        raise asyncio.CancelledError

    reported = Gate()

    def on_report(report: Report) -> None:
        reports.append(report)
        reported.open()

    url = serve(normalized(app, on_report=on_report))
    with httpx2.Client() as client, client.stream("POST", url + CHAT, json=STREAMED) as response:
        next(response.iter_bytes())
    assert left.wait()
    assert reported.wait()
    assert [report.end for report in reports] == ["closed"]


def test_application_that_raises_is_delivered_and_cut(serve: Serve) -> None:
    async def crash() -> None:
        raise RuntimeError("a secret")

    url = serve(normalized(answering(ROLE, HELLO, crash)))
    got = b""
    with httpx2.Client() as client, client.stream("POST", url + CHAT, json=STREAMED) as response:
        parts = response.iter_bytes()
        with pytest.raises(httpx2.RemoteProtocolError):  # noqa: PT012  # counts what came before
            for part in parts:
                got += part
    assert got.startswith(ROLE + HELLO)
    assert b'"upstream_truncated"' in got
    assert b"ended because the application raised an exception" in got
    assert b"a secret" not in got
    assert b"RuntimeError" not in got


@pytest.mark.anyio
async def test_what_the_application_raises_is_raised_again() -> None:
    error = RuntimeError()

    async def crash() -> None:
        raise error

    call = Call()
    with pytest.raises(RuntimeError) as raised:
        await call.to(normalized(answering(ROLE, crash)))
    assert raised.value is error
    assert call.body.endswith(DONE)
    assert call.more_body
    assert call.report.end == "truncated"


@pytest.mark.anyio
async def test_application_that_raises_before_its_head_is_the_servers_business() -> None:
    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        raise RuntimeError

    call = Call()
    with pytest.raises(RuntimeError):
        await call.to(normalized(app))
    assert call.sent == []


@pytest.mark.anyio
async def test_application_that_raises_while_the_head_is_held_gets_a_whole_error() -> None:
    async def crash() -> None:
        raise RuntimeError

    call = Call(PLAIN)
    with pytest.raises(RuntimeError):
        await call.to(normalized(answering(ROLE + HELLO, crash)))
    assert call.status == 502
    assert json.loads(call.body)["error"]["type"] == "upstream_truncated"
    assert not call.more_body


@pytest.mark.anyio
async def test_application_that_returns_too_early_is_cut() -> None:
    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [EVENT_STREAM]})
        await send({"type": "http.response.body", "body": ROLE + HELLO, "more_body": True})

    call = await Call().to(normalized(app))
    assert b'"upstream_truncated"' in call.body
    assert call.more_body


def test_done_ends_the_body_while_the_application_goes_on(serve: Serve) -> None:
    gate = Gate()
    done = Gate()

    async def events() -> AsyncIterator[bytes]:
        yield STREAM
        # Starlette would cancel us here, were it told that the answer is complete.
        await gate.passed()
        yield b": nobody reads this\n\n"
        done.open()

    async def chat(request: Request) -> Response:
        await request.body()
        return StreamingResponse(events(), media_type="text/event-stream")

    app = Starlette(routes=[Route(CHAT, chat, methods=["POST"])])
    url = serve(normalized(app, finish_timeout=1000))
    with httpx2.Client() as client:
        assert client.post(url + CHAT, json=STREAMED).content == STREAM
        assert not done.is_open
        gate.open()
        assert done.wait()
    assert gate.in_time == [True]


@pytest.mark.anyio
async def test_application_that_never_ends_is_told_in_the_end() -> None:
    told: list[str] = []
    call = Call()

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": STREAM, "more_body": True})
        call.left.set()
        told.append((await receive())["type"])

    await call.to(normalized(app, finish_timeout=0.01))
    assert told == ["http.disconnect"]
    assert call.body == STREAM
    assert not call.more_body


# --- a held finish ------------------------------------------------------------------------------


def test_held_finish_leaves_in_a_silence(serve: Serve) -> None:
    gate = Gate()
    app = answering(ROLE, HELLO, STOP, gate.passed, DONE)
    url = serve(normalized(app, finish_timeout=0.01))
    got = b""
    with httpx2.Client() as client, client.stream("POST", url + CHAT, json=STREAMED) as response:
        for part in response.iter_bytes():
            got += part
            if b'"stop"' in got:
                gate.open()
    assert gate.in_time == [True]
    assert got == ROLE + HELLO + STOP + DONE


@pytest.mark.anyio
async def test_what_the_application_sends_waits_for_a_flush_under_way() -> None:
    flushing = anyio.Event()

    class Slow(Call):
        async def send(self, message: Message) -> None:
            if message.get("body") == STOP:
                flushing.set()
                await anyio.wait_all_tasks_blocked()
            await super().send(message)

    call = await Slow().to(
        normalized(answering(ROLE, STOP, flushing.wait, DONE), finish_timeout=0.01)
    )
    assert call.parts == [ROLE, STOP, DONE]


@pytest.mark.anyio
async def test_a_flush_that_fails_is_raised_to_the_application() -> None:
    flushing = anyio.Event()
    seen: list[BaseException] = []

    class Gone(Call):
        async def send(self, message: Message) -> None:
            if message.get("body") == STOP:
                flushing.set()
                raise OSError
            await super().send(message)

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        try:
            await answering(ROLE, STOP, flushing.wait, DONE)(scope, receive, send)
        except OSError as error:
            seen.append(error)
            raise

    with pytest.raises(OSError):  # noqa: PT011  # it has no message
        await Gone().to(normalized(app, finish_timeout=0.01))
    assert len(seen) == 1


def tasks(backend: str) -> int:
    if backend == "asyncio":
        return len(asyncio.all_tasks())
    trio = importlib.import_module("trio")
    return int(trio.lowlevel.current_statistics().tasks_living)


@pytest.mark.anyio
async def test_no_task_is_left_behind(anyio_backend: str) -> None:
    async def count() -> None:
        await anyio.lowlevel.checkpoint()
        counts.append(tasks(anyio_backend))

    counts: list[int] = []
    before = tasks(anyio_backend)
    await Call().to(normalized(answering(ROLE, STOP, count, DONE, count)))
    # A held finish needs a task on trio; asyncio has timers, and no task before one is due.
    assert counts == [before + (anyio_backend == "trio"), before]
    assert tasks(anyio_backend) == before

    async def crash() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await Call().to(normalized(answering(ROLE, STOP, crash)))
    assert tasks(anyio_backend) == before


@pytest.mark.anyio
async def test_cancelled_in_the_silence(anyio_backend: str) -> None:
    call = Call()
    before = tasks(anyio_backend)
    with anyio.CancelScope() as scope:

        async def cancel() -> None:
            scope.cancel()
            await anyio.sleep_forever()

        await call.to(normalized(answering(ROLE, STOP, cancel)))
    assert scope.cancelled_caught
    assert call.report.end == "closed"
    await anyio.wait_all_tasks_blocked()
    assert tasks(anyio_backend) == before


# --- reports and options ------------------------------------------------------------------------


@pytest.mark.anyio
async def test_report_is_given_once_and_is_in_the_state() -> None:
    reports: list[Report] = []
    call = await Call().to(normalized(answering(ROLE, HELLO, STOP), on_report=reports.append))
    assert reports == [call.report]
    assert reports[0].end == "done"
    assert reports[0].repairs


@pytest.mark.anyio
async def test_report_is_there_before_the_last_bytes_are() -> None:
    reports: list[Report] = []

    class Watching(Call):
        async def send(self, message: Message) -> None:
            await super().send(message)
            if not self.more_body:
                assert len(reports) == 1

    call = await Watching().to(normalized(answering(STREAM), on_report=reports.append))
    assert not call.more_body


@pytest.mark.anyio
async def test_state_is_made_where_there_is_none_and_shared_with_starlette() -> None:
    seen: list[Any] = []

    async def chat(request: Request) -> Response:
        await request.body()
        request.state.own = "kept"

        async def events() -> AsyncIterator[bytes]:
            yield STREAM
            seen.append(request.state.normalizer)

        return StreamingResponse(events(), media_type="text/event-stream")

    # The extension makes for a second scope, whose state has to be the same.
    extensions: dict[str, Any] = {"http.response.pathsend": {}}
    call = Call(root_path="", query_string=b"", extensions=extensions)
    del call.scope["state"]
    app = Starlette(routes=[Route(CHAT, chat, methods=["POST"])])
    await call.to(normalized(app))
    assert seen == [call.report]
    assert call.scope["state"]["own"] == "kept"


@pytest.mark.anyio
async def test_repairs_are_logged_without_content(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "normalizer")
    await Call().to(normalized(answering(STREAM)))
    call = await Call().to(normalized(answering(ROLE, HELLO, STOP)))
    assert [record.levelname for record in caplog.records] == ["DEBUG", "INFO"]
    assert CHAT in caplog.records[1].getMessage()
    for code in call.report.codes:
        assert code in caplog.records[1].getMessage()
    assert "Hello" not in caplog.text


@pytest.mark.anyio
async def test_constructed_with_the_application_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    app = answering(ROLE, b": ping\n\n", STOP, DONE)
    monkeypatch.setenv("NORMALIZER_COMMENTS", "drop")
    assert (await Call().to(NormalizingMiddleware(app))).body == ROLE + STOP + DONE
    kept = NormalizingMiddleware(app, comments="keep")
    assert b": ping" in (await Call().to(kept)).body
    whole = NormalizingMiddleware(app, options=Options())
    assert b": ping" in (await Call().to(whole)).body


def test_options_are_fields_or_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    app = answering(STREAM)
    with pytest.raises(OptionError, match="no such option: resoning"):
        NormalizingMiddleware(app, resoning="both")  # type: ignore[call-arg]
    with pytest.raises(OptionError, match="reasoning beside it"):
        NormalizingMiddleware(app, options=Options(), reasoning="both")
    monkeypatch.setenv("NORMALIZER_REASONING", "loud")
    with pytest.raises(OptionError, match="loud"):
        NormalizingMiddleware(app)


@pytest.mark.anyio
async def test_report_mode_touches_nothing() -> None:
    raw = ROLE + STOP + STOP + DONE
    after = b"data: after\n\n" + DONE
    headers = ((b"content-type", b"text/event-stream"), (b"content-length", b"9999"))
    call = await Call().to(normalized(answering(raw, after, headers=headers), mode="report"))
    assert (call.headers, call.body) == (list(headers), raw + after)
    assert call.report.repairs
