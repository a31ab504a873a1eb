"""The Responses and the Messages API through a real proxy, in front of a real upstream."""

from __future__ import annotations

import json
from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.conftest import Gate, Receive, Send, answering
from tests.proxy.conftest import Proxied, Recorder, ServeApp, read_broken
from tests.wires.messages import streams as messages
from tests.wires.responses import streams as responses

JSON = (b"content-type", b"application/json")
ERROR = {"type": "invalid_request_error", "message": "no such model"}


class Wire(NamedTuple):
    """One API: its path, a request, a clean stream, and the same stream with a fault.

    ``text`` is the first part of the clean stream, up to its first text. ``whole`` is a whole
    answer. ``failure`` are the types of the events that a cut stream ends with.
    """

    path: str
    request: dict[str, Any]
    clean: bytes
    broken: bytes
    code: str
    text: bytes
    whole: dict[str, Any]
    failure: list[str]


def framed(events: list[Any]) -> bytes:
    """Events with their `event:` lines, and no white space in their JSON."""
    return b"".join(
        f"event: {one['type']}\ndata: {json.dumps(one, separators=(',', ':'))}\n\n".encode()
        for one in events
    )


def up_to_text(stream: bytes) -> bytes:
    """The beginning of a stream, up to the event with its first delta."""
    end = stream.index(b"\n\n", stream.index(b'delta"')) + 2
    return stream[:end]


R_EVENTS = [
    responses.created(),
    *responses.message_events("Hi"),
    responses.ended(responses.message("Hi")),
]
R_CLEAN = framed([{**one, "sequence_number": n} for n, one in enumerate(R_EVENTS)])
M_CLEAN = framed(
    [
        messages.start(),
        messages.opened(0, messages.TEXT),
        messages.text(0),
        messages.stopped(0),
        *messages.END,
    ]
)
WIRES = (
    Wire(
        path="/v1/responses",
        request=responses.STREAM,
        clean=R_CLEAN,
        broken=R_CLEAN.replace(b"event: response.output_text.delta\n", b""),
        code="R101",
        text=up_to_text(R_CLEAN),
        whole=responses.response("completed", (responses.message("Hi"),)),
        failure=["error", "response.failed"],
    ),
    Wire(
        path="/v1/messages",
        request={"model": "m", "max_tokens": 9, "stream": True, "messages": []},
        clean=M_CLEAN,
        broken=M_CLEAN.replace(b"event: content_block_delta\n", b""),
        code="M101",
        text=up_to_text(M_CLEAN),
        whole={
            **messages.start()["message"],
            "content": [{"type": "text", "text": "Hi"}],
            "stop_reason": "end_turn",
        },
        failure=["error"],
    ),
)
both = pytest.mark.parametrize("wire", WIRES, ids=["responses", "messages"])


def types(stream: bytes) -> list[str]:
    lines = stream.decode().splitlines()
    return [json.loads(line[5:])["type"] for line in lines if line.startswith("data:")]


@both
def test_a_clean_stream_passes_and_the_log_names_its_path(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client, wire: Wire
) -> None:
    upstream.app = answering(wire.clean)
    assert client.post(proxy.url + wire.path, json=wire.request).content == wire.clean
    line = proxy.wait_for(wire.path)
    assert f'"POST {wire.path}" 200' in line
    assert "end=done repairs=-" in line


@both
def test_a_fault_is_repaired(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client, wire: Wire
) -> None:
    upstream.app = answering(wire.broken)
    assert client.post(proxy.url + wire.path, json=wire.request).content == wire.clean
    assert f"end=done repairs={wire.code}x1" in proxy.wait_for(wire.path)


@both
def test_text_arrives_before_the_next_event_is_sent(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client, wire: Wire
) -> None:
    gate = Gate()
    upstream.app = answering(wire.text, gate.passed, wire.clean[len(wire.text) :])
    came = b""
    with client.stream("POST", proxy.url + wire.path, json=wire.request) as response:
        for data in response.iter_raw():
            came += data
            if came == wire.text:
                gate.open()
    assert (came, gate.in_time) == (wire.clean, [True])


@both
def test_a_whole_answer(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client, wire: Wire
) -> None:
    body = json.dumps(wire.whole).encode()
    upstream.app = answering(body, headers=(JSON,))
    request = {**wire.request, "stream": False}
    assert client.post(proxy.url + wire.path, json=request).content == body


@both
def test_each_kind_of_body_in_answer_to_the_other(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client, wire: Wire
) -> None:
    upstream.app = answering(json.dumps(wire.whole).encode(), headers=(JSON,))
    streamed = client.post(proxy.url + wire.path, json=wire.request)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert types(streamed.content)[-1] == types(wire.clean)[-1]
    assert b'"Hi"' in streamed.content
    upstream.app = answering(wire.clean)
    whole = client.post(proxy.url + wire.path, json={**wire.request, "stream": False})
    assert whole.headers["content-type"].startswith("application/json")
    assert (whole.json()["id"], whole.json()["model"]) == (wire.whole["id"], "m")
    assert "Hi" in whole.text


@both
@pytest.mark.parametrize("status", [400, 404, 429, 529])
def test_an_error_status_keeps_its_status_and_message(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client, wire: Wire, status: int
) -> None:
    retry = (b"retry-after", b"7")
    upstream.app = answering(
        json.dumps({"error": ERROR}).encode(), status=status, headers=(JSON, retry)
    )
    response = client.post(proxy.url + wire.path, json=wire.request)
    assert (response.status_code, response.headers["retry-after"]) == (status, "7")
    assert response.json()["error"]["message"] == "no such model"


@both
def test_a_cut_stream_ends_with_an_error(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client, wire: Wire
) -> None:
    async def cut() -> None:
        raise ConnectionAbortedError("the worker died")

    upstream.app = answering(wire.text, cut)
    came = read_broken(client, proxy.url + wire.path, request=wire.request)
    assert came.startswith(wire.text)
    rest = came[len(wire.text) :]
    assert types(rest) == wire.failure
    assert b"upstream_truncated" in rest


@both
def test_an_unreachable_upstream_is_an_error_of_the_api(
    proxied: Callable[..., Proxied], client: httpx2.Client, wire: Wire
) -> None:
    running = proxied("--upstream", "http://127.0.0.1:9")
    response = client.post(running.url + wire.path, json=wire.request)
    assert response.status_code == 502
    assert "cannot be reached" in response.json()["error"]["message"]
    if wire.path == "/v1/messages":
        assert response.json()["type"] == "error"


@both
def test_a_client_that_leaves_closes_the_upstream(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client, wire: Wire
) -> None:
    left = Gate()

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": wire.text, "more_body": True})
        if (await receive())["type"] == "http.disconnect":
            left.open()

    upstream.app = app
    with client.stream("POST", proxy.url + wire.path, json=wire.request) as response:
        next(response.iter_raw())
    assert left.wait()
    assert wire.path in proxy.wait_for("end=closed")


@both
def test_the_model_chooses_the_upstream(
    proxied: Callable[..., Proxied], serve: ServeApp, client: httpx2.Client, wire: Wire
) -> None:
    default, routed = Recorder(answering(wire.clean)), Recorder(answering(wire.broken))
    running = proxied("--upstream", serve(default), "--route", f"big-*={serve(routed)}/v1")
    for model in ("small", "big-1"):
        request = {**wire.request, "model": model}
        assert client.post(running.url + wire.path, json=request).content == wire.clean
    assert [one.requests[0]["path"] for one in (default, routed)] == [wire.path] * 2


@both
def test_metrics_name_the_api(
    proxied: Callable[..., Proxied], serve: ServeApp, client: httpx2.Client, wire: Wire
) -> None:
    running = proxied("--upstream", serve(answering(wire.clean)))
    client.post(running.url + wire.path, json=wire.request)
    running.wait_for("end=done")
    endpoint = wire.path.rpartition("/")[2]
    page = client.get(running.url + "/metrics").text
    assert f'normalizer_streams_total{{end="done",endpoint="{endpoint}"}} 1.0' in page


@pytest.mark.parametrize(
    ("wire", "name", "value"),
    [
        (WIRES[0], "originator", "codex_cli_rs"),
        (WIRES[0], "user-agent", "codex_cli_rs/0.169.0"),
        (WIRES[0], "session_id", "0199"),
        (WIRES[1], "anthropic-version", "2023-06-01"),
        (WIRES[1], "anthropic-beta", "interleaved-thinking-2025-05-14"),
        (WIRES[1], "x-api-key", "theirs"),
        (WIRES[1], "user-agent", "claude-cli/2.0"),
    ],
)
def test_headers_of_the_client_pass(
    upstream: Recorder,
    proxy: Proxied,
    client: httpx2.Client,
    wire: Wire,
    name: str,
    value: str,
) -> None:
    upstream.app = answering(wire.clean)
    client.post(proxy.url + wire.path, json=wire.request, headers={name: value})
    assert upstream.header(name) == value


def test_a_key_of_ours_goes_where_the_messages_api_reads_it(
    proxied: Callable[..., Proxied], serve: ServeApp, client: httpx2.Client
) -> None:
    wire = WIRES[1]
    upstream = Recorder(answering(wire.clean))
    running = proxied(
        "--upstream", serve(upstream), "--key-env", "OWN_KEY", environ={"OWN_KEY": "own"}
    )
    client.post(running.url + wire.path, json=wire.request, headers={"x-api-key": "theirs"})
    assert (upstream.header("x-api-key"), upstream.header("authorization")) == ("own", None)
    bearer = {"authorization": "Bearer theirs"}
    client.post(running.url + wire.path, json=wire.request, headers=bearer)
    assert (upstream.header("x-api-key"), upstream.header("authorization")) == (None, "Bearer own")


UNTOUCHED: tuple[tuple[str, str, Wire, dict[str, Any] | None], ...] = (
    ("GET", "/v1/responses/resp_1?stream=true&starting_after=3", WIRES[0], None),
    ("GET", "/v1/responses/resp_1", WIRES[0], None),
    ("DELETE", "/v1/responses/resp_1", WIRES[0], None),
    ("GET", "/v1/responses/resp_1/input_items", WIRES[0], None),
    ("POST", "/v1/responses/resp_1/cancel", WIRES[0], {}),
    ("POST", "/v1/responses/compact", WIRES[0], WIRES[0].request),
    ("POST", "/v1/responses/input_tokens", WIRES[0], WIRES[0].request),
    ("POST", "/v1/messages/count_tokens", WIRES[1], WIRES[1].request),
    ("POST", "/v1/messages/batches", WIRES[1], {"requests": []}),
    ("GET", "/v1/messages/batches/msgbatch_1/results", WIRES[1], None),
    ("POST", "/v1/threads/thread_1/messages", WIRES[1], WIRES[1].request),
    ("GET", "/v1/threads/thread_1/messages", WIRES[1], None),
)


@pytest.mark.parametrize(
    ("method", "path", "wire", "body"), UNTOUCHED, ids=[f"{m} {p}" for m, p, _, _ in UNTOUCHED]
)
def test_other_paths_pass(
    upstream: Recorder,
    proxy: Proxied,
    client: httpx2.Client,
    method: str,
    path: str,
    wire: Wire,
    body: dict[str, Any] | None,
) -> None:
    part = wire.broken[len(wire.text) // 2 :]
    upstream.app = answering(part)
    answer = client.request(method, proxy.url + path, json=body)
    assert answer.content == part
    query = path.partition("?")[2]
    assert upstream.requests[-1]["query_string"].decode() == query
    assert "repairs=" not in proxy.wait_for(f'"{method} {path.partition("?")[0]}"')
