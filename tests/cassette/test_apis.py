"""The Responses and the Messages API, recorded and played as chat completions are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest

from normalizer.cassette import (
    Cassette,
    Interaction,
    Metadata,
    RecordedResponse,
    RecordingTransport,
    ReplayTransport,
    load,
    replay_app,
)
from normalizer.cassette.format import End
from normalizer.cassette.server import BrokenRecordingError
from normalizer.doors.asgi import NormalizingMiddleware
from normalizer.doors.transport import NormalizingTransport
from tests.cassette.reading import CLIENTS, Client
from tests.conftest import ASGIApp, Gate, answering

Serve = Callable[[ASGIApp], str]
CASSETTES = Path(__file__).parents[2] / "cassettes"
KEY = "sk-ant-api03-0123456789abcdefghijABCDEFGHIJ"

pytest_plugins = ["pytester"]

clients = pytest.mark.parametrize("client", CLIENTS)
apis = pytest.mark.parametrize(
    "name", ["openai/responses-reasoning-call", "anthropic/messages-thinking-text-call"]
)
# httpx and httpx2 leave generators unfinished that they read from, and trio tells.
early = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def of(name: str) -> Interaction:
    (interaction,) = load(CASSETTES / f"{name}.yaml").interactions
    return interaction


def path_of(interaction: Interaction) -> str:
    return urlsplit(interaction.request.uri).path


@clients
@apis
def test_what_was_recorded_plays_as_it_came(
    client: Client, name: str, serve: Serve, tmp_path: Path
) -> None:
    asked = of(name)
    url = serve(answering(*asked.response.chunks)) + path_of(asked)
    body = json.loads(asked.request.body)
    path = tmp_path / "x.yaml"

    client.read(url, RecordingTransport(path, client.transport()), json=body)

    (kept,) = load(path).interactions
    assert kept.response.chunks == asked.response.chunks
    assert kept.response.end == "complete"
    assert json.loads(kept.request.body) == body
    played = client.read(url, ReplayTransport(path), json=body)
    assert played.pieces == asked.response.chunks
    normalized = client.read(url, NormalizingTransport(ReplayTransport(path)), json=body)
    assert normalized.body == asked.response.body


def asked_of(app: Any, method: str, path: str, **given: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://h") as client:
            return await client.request(method, path, **given)

    return anyio.run(ask)


@apis
def test_another_request_is_not_answered(name: str) -> None:
    asked = of(name)
    body = {**json.loads(asked.request.body), "model": "another"}

    missed = asked_of(
        replay_app(CASSETTES / f"{name}.yaml"), "POST", path_of(asked), content=json.dumps(body)
    )

    assert missed.status_code == 404
    error = missed.json()["error"]
    assert "body.model" in error["message"]
    if path_of(asked).endswith("/messages"):
        assert missed.json() == {
            "type": "error",
            "error": {"type": "not_found_error", "message": error["message"]},
        }
    else:
        assert (error["type"], error["code"]) == ("invalid_request_error", "not_recorded")
        assert set(missed.json()) == {"error"}


@pytest.mark.parametrize(
    ("path", "headers", "theirs"),
    [
        ("/v1/messages", {}, True),
        ("/v1/messages/count_tokens", {}, True),
        ("/v1/complete", {"anthropic-version": "2023-06-01"}, True),
        ("/v1/threads/thread_1/messages", {}, False),
        ("/v1/responses", {}, False),
        ("/v1/chat/completions", {}, False),
    ],
)
def test_a_miss_has_the_form_of_the_api(path: str, headers: Any, theirs: bool) -> None:
    app = replay_app(CASSETTES / "anthropic" / "messages-thinking-text-call.yaml")

    missed = asked_of(app, "POST", path, headers=headers, json={})

    assert missed.status_code == 404
    assert (missed.json().get("type") == "error") == theirs


def test_the_models_in_anthropics_form() -> None:
    app = replay_app(CASSETTES / "anthropic" / "messages-thinking-text-call.yaml")
    theirs = {"anthropic-version": "2023-06-01"}

    listed = asked_of(app, "GET", "/v1/models", headers=theirs).json()

    (model,) = listed["data"]
    assert model["type"] == "model"
    assert (listed["first_id"], listed["last_id"]) == (model["id"], model["id"])
    assert listed["has_more"] is False
    assert asked_of(app, "GET", f"/v1/models/{model['id']}", headers=theirs).json() == model
    assert asked_of(app, "GET", "/v1/models").json()["data"][0]["id"] == model["id"]


@apis
def test_real_clients_read_a_miss(name: str, serve: Serve) -> None:
    url = serve(replay_app(CASSETTES / f"{name}.yaml"))
    if name.startswith("openai"):
        openai = pytest.importorskip("openai")
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        with pytest.raises(openai.NotFoundError, match="no recorded request is the same"):
            client.responses.create(model="x", input="y")
    else:
        anthropic = pytest.importorskip("anthropic")
        client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)
        with pytest.raises(anthropic.NotFoundError, match="no recorded request is the same"):
            client.messages.create(model="x", max_tokens=1, messages=[])


def ends() -> list[Any]:
    def event(kind: str, more: str = "") -> bytes:
        return f'event: {kind}\ndata: {{"type":"{kind}"{more}}}\n\n'.encode()

    long = ',"response":{"output":"' + "x" * 200 + '"}'
    return [
        pytest.param([event("message_stop")], "complete", id="message_stop"),
        *(
            pytest.param([event(f"response.{word}", long)], "complete", id=word)
            for word in ("completed", "incomplete", "failed")
        ),
        pytest.param(
            [(whole := event("response.completed", long))[:12], whole[12:90], whole[90:]],
            "complete",
            id="in pieces",
        ),
        pytest.param([event("response.completed", long)[:-2]], "closed", id="not all of it"),
        pytest.param([event("message_delta")], "closed", id="another event"),
        pytest.param(
            [b'event: x\ndata: {"text":"event: message_stop\\n"}\n\n'], "closed", id="in a text"
        ),
    ]


@early
@pytest.mark.parametrize(("last", "end"), ends())
def test_who_leaves_at_the_last_event_has_had_all(
    last: list[bytes], end: str, serve: Serve, tmp_path: Path
) -> None:
    gates = [Gate() for _ in last]
    steps = [step for piece, gate in zip(last, gates, strict=True) for step in (piece, gate.passed)]
    url = serve(answering(b": first\n\n", *steps)) + "/v1/responses"
    waiting = iter(gates[:-1])

    def go(piece: bytes) -> None:
        if piece in last[:-1]:
            next(waiting).open()

    Client(httpx, None).read(
        url, RecordingTransport(tmp_path / "x.yaml"), each=go, stop_after=len(last) + 1
    )
    gates[-1].open()

    assert load(tmp_path / "x.yaml").interactions[0].response.end == end


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
@apis
def test_no_key_is_in_the_file(name: str, header: str, serve: Serve, tmp_path: Path) -> None:
    asked = of(name)
    url = serve(answering(*asked.response.chunks)) + path_of(asked)
    path = tmp_path / "x.yaml"
    with httpx.Client(transport=RecordingTransport(path)) as client:
        client.post(url, content=asked.request.body, headers={header: KEY})

    assert KEY not in path.read_text()
    assert load(path).interactions[0].response.body == asked.response.body


@apis
def test_the_pytest_plugin_records_and_plays(
    name: str, pytester: pytest.Pytester, serve: Serve
) -> None:
    asked = of(name)
    count = 0
    upstream = answering(*asked.response.chunks)

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        nonlocal count
        count += 1
        await upstream(scope, receive, send)

    url, sent, got = serve(counting) + path_of(asked), asked.request.body, asked.response.body
    pytester.makepyfile(
        test_it=f"""
        import httpx

        def test_one(stream_cassette):
            with httpx.Client(transport=stream_cassette.transport) as client:
                assert client.post({url!r}, content={sent!r}).content == {got!r}
        """
    )
    for mode in ("once", "none"):
        pytester.runpytest(
            "-Wdefault", "-pno:hypothesispytest", f"--stream-record-mode={mode}"
        ).assert_outcomes(passed=1)
    assert count == 1
    (kept,) = load(pytester.path / "cassettes" / "test_it" / "test_one.yaml").interactions
    assert kept.response.body == asked.response.body


@pytest.mark.parametrize("end", ["cut", "reset"])
def test_a_server_of_replays_tells_how_the_body_broke_as_the_transport_does(end: End) -> None:
    request = of("anthropic/messages-overloaded").request
    broken = RecordedResponse.from_chunks(
        [b": x\n\n"], headers=(("content-type", "text/event-stream"),), end=end
    )
    cassette = Cassette(Metadata(), (Interaction(request, broken),))
    app = NormalizingMiddleware(replay_app(cassette))

    async def ask() -> bytes:
        sent: list[Any] = []
        received = iter([{"type": "http.request", "body": request.body}])

        async def receive() -> Any:
            message = next(received, None)
            if message is None:
                await anyio.sleep_forever()
            return message

        async def send(message: Any) -> None:
            sent.append(message)

        path = urlsplit(request.uri).path
        scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
        with pytest.raises(BrokenRecordingError):
            await app(scope, receive, send)
        return b"".join(one.get("body", b"") for one in sent)

    transport = NormalizingTransport(ReplayTransport(cassette))
    got = Client(httpx, None).read(request.uri, transport, content=request.body)
    assert b"its connection broke (" in got.body
    assert anyio.run(ask) == got.body
