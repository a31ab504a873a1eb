"""Recordings with ``stable``: what differs each time has the same name each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from normalizer.cassette import RecordingTransport, ReplayTransport, _journal
from normalizer.cassette._volatile import _MOST_IDS, Volatile
from normalizer.cassette.format import (
    Cassette,
    Interaction,
    Metadata,
    RecordedRequest,
    RecordedResponse,
    dumps,
    load,
    loads,
)
from normalizer.cassette.scrub import scrub
from tests.conftest import answering

pytest_plugins = ["pytester"]

COLLECTION = Path(__file__).parents[2] / "cassettes"
URL = "http://h/v1/chat/completions"


def answer(*chunks: bytes, **headers: str) -> RecordedResponse:
    return RecordedResponse.from_chunks(
        chunks,
        headers=tuple((name.replace("_", "-"), value) for name, value in headers.items()),
        times=range(len(chunks)),
    )


def stable(body: bytes | dict[str, Any], number: int = 0) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Volatile().response(answer(data), number).body


def event(**members: Any) -> bytes:
    return b"data: " + json.dumps(members, separators=(",", ":")).encode() + b"\n\n"


def test_ids_and_times_of_a_stream() -> None:
    body = event(id="chatcmpl-9f2c41d7", created=1763757600, system_fingerprint="fp_44709d6fcb")
    body += event(id="chatcmpl-9f2c41d7", created=1763757601, system_fingerprint=None)
    body += b"data: [DONE]\n\n"

    assert stable(body, 3) == (
        b'data: {"id":"chatcmpl-3-1","created":0,"system_fingerprint":"fp_3-2"}\n\n'
        b'data: {"id":"chatcmpl-3-1","created":0,"system_fingerprint":null}\n\n'
        b"data: [DONE]\n\n"
    )


@pytest.mark.parametrize(
    ("was", "is_now"),
    [
        ({"id": "550e8400-e29b-41d4-a716-446655440000"}, {"id": "id-0-1"}),
        ({"id": "chatcmpl-tool-0a1b2c3d4e"}, {"id": "chatcmpl-tool-0-1"}),
        ({"id": "toolu_vrtx_01AbCdEfGh"}, {"id": "toolu_vrtx_0-1"}),
        ({"id": "chatcmpl-417"}, {"id": "chatcmpl-0-1"}),
        ({"id": "aBcDeFgHi"}, {"id": "id-0-1"}),
        ({"id": "a/b+c1d2e3=="}, {"id": "id-0-1"}),
        ({"encrypted_content": "gAAAAB0123456-_="}, {"encrypted_content": "encrypted-0-1"}),
        ({"created_at": "2026-11-21T20:00:00.1Z"}, {"created_at": "1970-01-01T00:00:00Z"}),
        ({"created_at": 1763757600.5}, {"created_at": 0.0}),
        ({"usage": {"total_time": 0.25, "n": 3}}, {"usage": {"total_time": 0.0, "n": 3}}),
        ({"obfuscation": "aB3"}, {"obfuscation": "*"}),
    ],
)
def test_what_is_replaced(was: dict[str, Any], is_now: dict[str, Any]) -> None:
    assert json.loads(stable(was)) == is_now
    assert json.loads(stable(json.dumps(was).replace("/", "\\/").encode())) == is_now


@pytest.mark.parametrize(
    "body",
    [
        {"id": ""},
        {"id": None, "created": None},
        {"id": 5, "index": 12345678},
        {"id": "call_1"},
        {"id": "functions.get_weather:0"},
        {"object": "list", "data": [{"id": "gpt-4o-2024-08-06", "object": "model"}]},
        {"content": "id chatcmpl-9f2c41d7 created 1763757600"},
        {"input": {"id": "order-12345678", "created": 1763757600}},
        {"arguments": '{"id": "order-12345678"}'},
        {"tools": [{"parameters": {"id": "aB34567890"}}]},
        {"created_at": "yesterday"},
    ],
)
def test_what_stays(body: dict[str, Any]) -> None:
    assert stable(body) == json.dumps(body).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"text with an id chatcmpl-9f2c41d7",
        b"data: \xff\n\n",
        b'{"id": "chatcmpl-',
        b'{"a": ' + b"[" * 100,
        b"[[[]]]]]}}",
        b'{"id" "x" : , }',
        b'{1: "chatcmpl-9f2c41d7"}',
        b"data: {]\n\n",
    ],
)
def test_what_is_no_json_stays(body: bytes) -> None:
    chunks = (body,) if body else ()
    assert Volatile().response(answer(*chunks), 0).body == body


def test_a_broken_end_does_not_hide_the_rest() -> None:
    assert stable(b'data: {"id":"chatcmpl-9f2c41d7","x"') == b'data: {"id":"chatcmpl-0-1","x"'


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 33, 34, 64, 1000])
def test_chunks_after_it_are_those_before(size: int) -> None:
    body = event(id="chatcmpl-9f2c41d7", created=1763757600, x="y") * 3
    chunks = [body[at : at + size] for at in range(0, len(body), size)]

    response = Volatile().response(answer(*chunks), 0)

    assert sum(response.lengths) == len(response.body)
    assert response.body == stable(body)
    assert response.times == ()
    if size == 1000:
        assert len(response.lengths) == 1
    if size == len(body) // 3:
        assert response.lengths == (len(response.body) // 3,) * 3


def test_an_event_a_chunk_stays_an_event_a_chunk() -> None:
    one, two = event(id="chatcmpl-9f2c41d7", n=1), event(id="chatcmpl-9f2c41d7", n=2)
    response = Volatile().response(answer(one, two), 0)

    assert response.chunks == [event(id="chatcmpl-0-1", n=1), event(id="chatcmpl-0-1", n=2)]


def test_headers() -> None:
    body = event(id="chatcmpl-9f2c41d7")
    response = Volatile().response(
        answer(
            body,
            date="Sat, 21 Nov 2026 20:50:59 GMT",
            content_length=str(len(body)),
            openai_processing_ms="12",
            x_ratelimit_remaining_requests="9",
            content_type="text/event-stream",
            retry_after="20",
        ),
        0,
    )

    assert dict(response.headers) == {
        "content-length": str(len(response.body)),
        "content-type": "text/event-stream",
        "retry-after": "20",
    }


# ---------------------------------------------------------------- recording


class Server:
    """Answer with a call of a tool, and then with a text that names it; new ids each time."""

    def __init__(self, run: int) -> None:
        self._run = run

    def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        ident = f"chatcmpl-{self._run}aaaa{len(asked['messages']):08d}"
        call = f"call_{self._run}bbbb0000cccc"
        body = event(id=ident, created=17637576 + self._run, call=[{"id": call, "index": 0}])
        if len(asked["messages"]) > 1:
            assert asked["messages"][-1]["tool_call_id"] == call
            body = event(id=ident, created=17637576 + self._run, content=f"from {call}")
        headers = {"date": f"day {self._run}", "content-type": "text/event-stream"}
        return httpx.Response(200, headers=headers, content=body)


def converse(transport: Any) -> list[bytes]:
    """Ask, and send the id of the call back, as clients do."""
    with httpx.Client(transport=transport) as client:
        said: list[dict[str, Any]] = [{"role": "user", "content": "x"}]
        first = client.post(URL, json={"messages": said}).content
        call = json.loads(first.removeprefix(b"data: "))["call"][0]["id"]
        said.append({"role": "tool", "tool_call_id": call})
        return [first, client.post(URL, json={"messages": said}).content]


def test_recording_again_changes_nothing(tmp_path: Path) -> None:
    one, two = tmp_path / "1.yaml", tmp_path / "2.yaml"
    for run, path in enumerate([one, two], 1):
        live = converse(RecordingTransport(path, httpx.MockTransport(Server(run)), stable=True))
        # who records gets what came
        assert f"call_{run}bbbb".encode() in live[0]

    assert one.read_bytes() == two.read_bytes()
    first, second = load(one).interactions
    assert b'"call":[{"id":"call_0-2","index":0}]' in first.response.body
    # what refers to it still does
    assert json.loads(second.request.body)["messages"][1]["tool_call_id"] == "call_0-2"
    assert b"from call_0-2" in second.response.body
    assert b'"id":"chatcmpl-1-1"' in second.response.body
    assert first.response.times == ()
    assert not one.with_name("1.yaml.journal").exists()


def test_what_was_recorded_plays(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    converse(RecordingTransport(path, httpx.MockTransport(Server(1)), stable=True))

    for options in ({}, {"stable": True}):
        transport = ReplayTransport(path, **options)  # type: ignore[arg-type]
        converse(transport)
        assert transport.unplayed == ()


def test_a_second_run_adds_ids_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for run in (1, 2):
        converse(RecordingTransport(path, httpx.MockTransport(Server(run)), stable=True))

    bodies = [each.response.body for each in load(path).interactions]
    assert [b"chatcmpl-%d-1" % number in body for number, body in enumerate(bodies)] == [True] * 4


def test_the_ids_that_are_kept_are_limited() -> None:
    volatile = Volatile()
    many = b"".join(event(id=f"call_{number:08d}") for number in range(_MOST_IDS + 5))
    volatile.response(answer(many), 0)

    def asked(number: int) -> bytes:
        body = f'{{"x": "call_{number:08d}"}}'.encode()
        return volatile.request(RecordedRequest(method="POST", uri=URL, body=body)).body

    assert b"call_00000000" in asked(0)
    assert b"call_0-" in asked(_MOST_IDS + 4)


def test_ids_in_urls_are_named() -> None:
    volatile = Volatile()
    volatile.response(answer(b'{"id": "resp_0123456789abcdef"}'), 0)
    for uri in ("http://h/v1/responses/{}", "http://h/v1/responses?after={}&x=1"):
        asked = RecordedRequest(method="GET", uri=uri.format("resp_0123456789abcdef"))
        assert volatile.request(asked).uri == uri.format("resp_0-1")


def test_the_collection_is_stable_and_as_long() -> None:
    for path in sorted(COLLECTION.rglob("*.yaml")):
        cassette = load(path)
        made = scrub(cassette, {"stable": True})
        assert loads(dumps(made)) == made
        assert scrub(made, {"stable": True}) == made, path
        for was, each in zip(cassette.interactions, made.interactions, strict=True):
            events = was.response.body.count(b"\n"), each.response.body.count(b"\n")
            assert events[0] == events[1]


def test_an_import_can_be_stable() -> None:
    response = answer(event(id="chatcmpl-9f2c41d7"))
    asked = RecordedRequest(method="POST", uri=URL)
    cassette = Cassette(Metadata(), (Interaction(asked, response),))

    (made,) = scrub(cassette, {"stable": True}).interactions

    assert made.response.body == event(id="chatcmpl-0-1")


def test_a_journal_of_a_stable_recording_has_no_times(tmp_path: Path) -> None:
    head = _journal.head(RecordedRequest(method="POST", uri=URL), answer())
    lines = [
        ["before", 0, None],
        ["begun", 0, head],
        ["chunk", 0, None, 3],
        ["bytes", 0, "abc"],
        ["ended", 0, "complete"],
    ]
    path = tmp_path / "x.yaml"
    _journal.path_of(path).write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    left = _journal.read(path)

    assert left is not None
    (response,) = (each.response for each in left.interactions)
    assert (response.chunks, response.times, response.end) == ([b"abc"], (), "complete")


def test_the_plugin_records_stable(pytester: pytest.Pytester, serve: Callable[[Any], str]) -> None:
    url = serve(answering(event(id="chatcmpl-417")))
    pytester.makepyfile(
        test_it=f"""
        import httpx, pytest

        @pytest.fixture
        def stream_cassette_config():
            return {{"stable": True}}

        def test_answer(stream_cassette):
            client = httpx.Client(transport=stream_cassette.transport)
            assert client.post({url!r} + "/v1/chat/completions", json={{}}).status_code == 200
        """
    )
    arguments = ("-pno:hypothesispytest", "--stream-record-mode=once")
    assert pytester.runpytest(*arguments).ret == 0
    assert pytester.runpytest("-pno:hypothesispytest").ret == 0
    (path,) = pytester.path.rglob("*.yaml")
    assert b'"id":"chatcmpl-0-1"' in load(path).interactions[0].response.body
