"""Replay to each client, in the process and from a real server: the stream that was recorded."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from normalizer.cassette import (
    Cassette,
    CassetteError,
    Interaction,
    Metadata,
    RecordedRequest,
    RecordedResponse,
    RecordingTransport,
    ReplayTransport,
    UnmatchedRequestError,
    _playing,
    dump,
    load,
    replay_app,
)
from normalizer.cassette.faults import Cut, Garbage, Ping, Stall
from normalizer.cassette.format import End
from tests.cassette.reading import CLIENTS, Client
from tests.conftest import CHAT, DONE, PATIENCE, STREAMED, ASGIApp, Gate, answering

Serve = Callable[[ASGIApp], str]
EVENTS = [b'data: {"n": %d}\n\n' % n for n in range(5)]
URL = f"http://127.0.0.1:1{CHAT}"

clients = pytest.mark.parametrize("client", CLIENTS)


def recorded(
    *chunks: bytes,
    end: End = "complete",
    times: tuple[float, ...] = (),
    request: Any = STREAMED,
    headers: tuple[tuple[str, str], ...] = (("content-type", "text/event-stream"),),
    **response: Any,
) -> Interaction:
    return Interaction(
        RecordedRequest(
            method="POST",
            uri=f"http://upstream:8000{CHAT}",
            headers=(("content-type", "application/json"),),
            body=json.dumps(request).encode(),
        ),
        RecordedResponse.from_chunks(chunks, headers=headers, times=times, end=end, **response),
    )


def cassette(*interactions: Interaction) -> Cassette:
    return Cassette(Metadata(), interactions)


FIVE = cassette(recorded(*EVENTS, times=(100, 200, 300, 400, 500)))


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        if seconds:
            self.slept.append(round(seconds, 6))

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for name in ("now", "sleep", "asleep"):
        monkeypatch.setattr(_playing, name, getattr(clock, name))
    return clock


# ---------------------------------------------------------------- boundaries and pace


@clients
def test_five_events_are_five_reads_at_the_recorded_pace(client: Client, clock: Clock) -> None:
    got = client.read(URL, ReplayTransport(FIVE, pace="recorded"))

    assert got.pieces == EVENTS
    assert got.error is None
    assert clock.slept == [0.1] * 5


@clients
def test_five_events_are_five_reads_from_a_server(
    client: Client, serve: Serve, clock: Clock
) -> None:
    got = client.read(serve(replay_app(FIVE, pace="recorded")) + CHAT)

    assert got.pieces == EVENTS
    assert got.headers["content-type"] == "text/event-stream"
    assert clock.slept == [0.1] * 5


@pytest.mark.parametrize("client", CLIENTS)
def test_what_was_recorded_plays_as_it_came(client: Client, serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    gates = [Gate() for _ in EVENTS]
    steps = [step for pair in zip(EVENTS, gates, strict=True) for step in (pair[0], pair[1].passed)]
    waiting = iter(gates)
    live = client.read(
        serve(answering(*steps)) + CHAT,
        RecordingTransport(path, client.transport()),
        each=lambda _: next(waiting).open(),
    )

    assert client.read(URL, ReplayTransport(path)).pieces == live.pieces == EVENTS
    assert client.read(serve(replay_app(path)) + CHAT).pieces == live.pieces


def test_the_pace_is_kept_for_real(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "monotonic", lambda: 7.0)

    httpx.Client(transport=ReplayTransport(FIVE, pace=2.0)).post(URL, json=STREAMED)

    assert slept == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25])


@pytest.mark.parametrize(("pace", "slept"), [("instant", []), (10, [0.01] * 5), (0.5, [0.2] * 5)])
def test_the_pace_is_a_speed(pace: Any, slept: list[float], clock: Clock) -> None:
    httpx.Client(transport=ReplayTransport(FIVE, pace)).post(URL, json=STREAMED)

    assert clock.slept == slept


def test_a_reader_that_is_slow_does_not_put_the_rest_off(clock: Clock) -> None:
    client = Client(httpx, None)

    client.read(URL, ReplayTransport(FIVE, "recorded"), each=lambda _: clock.slept.append(0.25))

    # due at 0.1; it reads until 0.35, when two more are there; until 0.85, when all are
    assert clock.slept == [0.1, *[0.25] * 5]


def test_without_times_there_is_no_waiting(clock: Clock) -> None:
    transport = ReplayTransport(cassette(recorded(*EVENTS)), "recorded")
    httpx.Client(transport=transport).post(URL, json=STREAMED)

    assert clock.slept == []


BODY = b"".join(EVENTS[:2]) + "data: 你\r\n\r\nrest".encode()


@pytest.mark.parametrize(
    ("split", "pieces"),
    [
        (None, [BODY[:3], BODY[3:]]),
        ("bytes", [BODY[at : at + 1] for at in range(len(BODY))]),
        ("events", [EVENTS[0], EVENTS[1], "data: 你\r\n\r\n".encode(), b"rest"]),
    ],
)
def test_split_cuts_the_same_bytes_anew(
    split: str | None, pieces: list[bytes], serve: Serve, clock: Clock
) -> None:
    source = cassette(recorded(BODY[:3], BODY[3:], times=(100, 300)))
    client = Client(httpx, None)

    got = client.read(URL, ReplayTransport(source, "recorded", split=split))
    served = client.read(serve(replay_app(source, split=split)) + CHAT)

    assert got.pieces == served.pieces == pieces
    # a piece comes when its last byte came
    assert clock.slept == ([0.3] if split == "events" else [0.1, 0.2])


def test_split_at_random_is_the_same_each_time() -> None:
    source = cassette(recorded(b"".join(EVENTS) * 20))
    client = Client(httpx, None)

    def pieces(seed: str) -> list[bytes]:
        return client.read(URL, ReplayTransport(source, split=f"random:{seed}")).pieces

    assert pieces("7") == pieces("7") != pieces("8")
    assert b"".join(pieces("7")) == b"".join(EVENTS) * 20
    assert len(pieces("7")) > 5


# ---------------------------------------------------------------- ends

ENDS: dict[End, str] = {
    "cut": "RemoteProtocolError",
    "reset": "ReadError",
    "timeout": "ReadTimeout",
    "closed": "RemoteProtocolError",
}


@pytest.mark.parametrize("end", ENDS)
@clients
def test_a_broken_stream_breaks_again_with_the_same_exception(client: Client, end: End) -> None:
    got = client.read(URL, ReplayTransport(cassette(recorded(*EVENTS[:3], end=end))))

    assert got.pieces == EVENTS[:3]
    assert type(got.error) is getattr(client.library, ENDS[end])


@pytest.mark.parametrize("end", ["cut", "reset", "closed"])
@clients
def test_a_server_breaks_the_connection(client: Client, end: End, serve: Serve) -> None:
    got = client.read(serve(replay_app(cassette(recorded(*EVENTS[:3], end=end)))) + CHAT)

    assert got.pieces == EVENTS[:3]
    assert isinstance(got.error, client.library.RemoteProtocolError)


@clients
def test_a_server_is_silent_where_it_was(client: Client, serve: Serve) -> None:
    url = serve(replay_app(cassette(recorded(*EVENTS[:3], end="timeout")))) + CHAT

    got = client.read(url, timeout=client.library.Timeout(5, read=0.2))

    assert got.pieces == EVENTS[:3]
    assert isinstance(got.error, client.library.ReadTimeout)


@clients
def test_a_stream_cut_after_three_gives_three_at_every_turn(
    client: Client, serve: Serve, tmp_path: Path
) -> None:
    async def breaks() -> None:
        raise ConnectionAbortedError

    path = tmp_path / "chat.yaml"
    live = client.read(
        serve(answering(*EVENTS[:3], breaks)) + CHAT, RecordingTransport(path, client.transport())
    )

    again = client.read(URL, ReplayTransport(path))
    served = client.read(serve(replay_app(path)) + CHAT)

    assert live.pieces == again.pieces == served.pieces == EVENTS[:3]
    assert type(live.error) is type(again.error) is type(served.error)
    assert isinstance(live.error, client.library.RemoteProtocolError)


def test_a_broken_answer_with_a_length_says_how_much_is_missing(serve: Serve) -> None:
    headers = (("content-length", "100"), ("content-type", "application/json"))
    source = cassette(recorded(b'{"a":', end="cut", headers=headers))

    got = Client(httpx, None).read(serve(replay_app(source)) + CHAT)

    assert got.pieces == [b'{"a":']
    assert "received 5 bytes, expected 100" in str(got.error)


# ---------------------------------------------------------------- heads


def test_the_head_is_the_recorded_one(serve: Serve) -> None:
    headers = (
        ("content-type", "application/json"),
        ("content-length", "2"),
        ("x-ratelimit-limit", "7"),
        ("retry-after", "1"),
    )
    of_the_connection = (
        ("Transfer-Encoding", "chunked"),
        ("connection", "close"),
        ("server", "uvicorn"),
        ("date", "yesterday"),
    )
    source = cassette(
        recorded(b"{}", status=429, reason="Slow Down", headers=(*headers, *of_the_connection))
    )

    response = httpx.Client(transport=ReplayTransport(source)).post(URL, json=STREAMED)
    served = httpx.post(serve(replay_app(source)) + CHAT, json=STREAMED)

    assert (response.status_code, response.reason_phrase) == (429, "Slow Down")
    assert tuple(response.headers.multi_items()) == tuple(
        (name.lower(), value) for name, value in (*headers, *of_the_connection)
    )
    assert served.status_code == 429
    kept = [(name, value) for name, value in served.headers.multi_items() if name != "date"]
    assert kept == [("server", "uvicorn"), *headers]
    assert served.headers["date"] != "yesterday"


def test_a_length_that_is_no_longer_true_is_left_out(serve: Serve) -> None:
    headers = (("content-type", "text/event-stream"), ("content-length", str(len(EVENTS[0]))))
    source = cassette(recorded(EVENTS[0], headers=headers))
    faults = [Ping(after_events=0)]

    response = httpx.Client(transport=ReplayTransport(source, faults=faults)).post(
        URL, json=STREAMED
    )
    served = httpx.post(serve(replay_app(source, faults=faults)) + CHAT, json=STREAMED)

    assert "content-length" not in response.headers
    assert response.content == served.content == b": ping\n\n" + EVENTS[0]


# ---------------------------------------------------------------- which answer


def ask(transport: Any, body: Any = STREAMED, url: str = URL) -> bytes:
    with httpx.Client(transport=transport) as client:
        return client.post(url, json=body).content


def test_each_is_played_once_in_its_order() -> None:
    source = cassette(recorded(b"one"), recorded(b"two"), recorded(b"other", request={"a": 1}))
    transport = ReplayTransport(source)
    assert len(transport.unplayed) == 3

    assert [ask(transport), ask(transport, {"a": 1}), ask(transport)] == [b"one", b"other", b"two"]
    assert not transport.unplayed
    with pytest.raises(UnmatchedRequestError, match="recorded twice and played as often"):
        ask(transport)


def test_the_last_is_repeated_if_that_is_allowed() -> None:
    source = cassette(recorded(b"one"), recorded(b"two"))
    transport = ReplayTransport(source, allow_playback_repeats=True)

    assert [ask(transport) for _ in range(4)] == [b"one", b"two", b"two", b"two"]


def test_json_bodies_match_as_json() -> None:
    transport = ReplayTransport(cassette(recorded(b"one", request={"a": 1, "b": [2, "你"]})))
    content = '{"b": [2, "\\u4f60"],\n "a": 1}'

    with httpx2.Client(transport=transport) as client:
        headers = {"content-type": "application/json"}
        assert client.post(URL, content=content, headers=headers).content == b"one"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_server_matches_as_the_transport_does(chunked: bool, serve: Serve) -> None:
    url = serve(replay_app(cassette(recorded(b"one")))) + CHAT
    content = json.dumps(STREAMED, indent=1).encode()

    response = httpx.post(
        url,
        content=iter([content[:5], content[5:]]) if chunked else content,
        headers={"content-type": "application/json"},
    )

    assert response.content == b"one"


def test_several_cassettes_are_one(tmp_path: Path) -> None:
    dump(cassette(recorded(b"one")), tmp_path / "one.yaml")
    dump(cassette(recorded(b"two")), tmp_path / "two.yaml")
    transport = ReplayTransport([tmp_path / "one.yaml", str(tmp_path / "two.yaml")])

    assert [ask(transport), ask(transport)] == [b"one", b"two"]


def test_a_miss_says_what_is_nearest_and_what_differs(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "hello"}]
    near = {"model": "m", "messages": messages, "stream": True, "temperature": 0}
    far = {"model": "other", "input": [1, 2, 3]}
    path = tmp_path / "chat.yaml"
    dump(cassette(recorded(b"one", request=far), recorded(b"two", request=near)), path)
    asked = {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "n": 1,
    }

    with pytest.raises(UnmatchedRequestError) as raised:
        ask(ReplayTransport(path), asked)

    assert raised.value.nearest is not None
    assert raised.value.nearest.response.body == b"two"
    assert raised.value.differences == (
        'body.messages[0].content: "hello" was recorded, "hi" is asked',
        "body.temperature: 0 was recorded, nothing is asked",
        "body.n: nothing was recorded, 1 is asked",
    )
    assert f"{path}: interactions[1]" in str(raised.value)
    assert all(difference in str(raised.value) for difference in raised.value.differences)


@pytest.mark.parametrize(
    ("match_on", "url", "said"),
    [
        (
            ("path",),
            "http://h/v1/models",
            'path: "/v1/chat/completions" was recorded, "/v1/models"',
        ),
        (("host", "port"), URL, 'host: "upstream" was recorded, "127.0.0.1" is asked'),
        (("uri",), f"http://upstream:8000{CHAT}?a=b", 'uri query: "" was recorded, "a=b" is asked'),
        (("query",), f"{URL}?a=b", "query: 0 items were recorded, 1 are asked"),
        (("headers",), URL, 'headers.accept: nothing was recorded, "*/*" is asked'),
        ((lambda *_: False,), URL, "<lambda>: differs"),
    ],
)
def test_match_on_is_vcrpys(match_on: Any, url: str, said: str) -> None:
    transport = ReplayTransport(cassette(recorded(b"one")), match_on=match_on)

    with pytest.raises(UnmatchedRequestError) as raised:
        ask(transport, url=url)

    assert said in str(raised.value)


def test_a_body_that_is_no_json_differs_as_bytes() -> None:
    transport = ReplayTransport(cassette(recorded(b"one")))

    with pytest.raises(UnmatchedRequestError, match=r"body: .* was recorded, .* is asked"):
        httpx.Client(transport=transport).post(URL, content=b"abc")


def test_an_empty_cassette_has_nothing() -> None:
    with pytest.raises(UnmatchedRequestError, match="nothing was recorded"):
        ask(ReplayTransport(cassette()))


def test_a_miss_is_a_404_in_openais_form(serve: Serve) -> None:
    app = replay_app(cassette(recorded(b"one", request={"a": 1})))
    url = serve(app)

    response = httpx.post(url + CHAT, json={"a": 2})
    models = httpx.get(f"{url}/v1/models")

    assert response.status_code == models.status_code == 404
    error = response.json()["error"]
    assert error["code"] == "not_recorded"
    assert error["type"] == "invalid_request_error"
    assert "body.a: 1 was recorded, 2 is asked" in error["message"]
    assert 'method: "POST" was recorded, "GET" is asked' in models.json()["error"]["message"]
    assert len(app.state.recordings.unplayed) == 1


def test_below_a_mount_the_path_is_the_recorded_one(serve: Serve) -> None:
    app = Starlette(routes=[Mount("/one two", replay_app(cassette(recorded(b"one"))))])

    assert httpx.post(f"{serve(app)}/one two{CHAT}", json=STREAMED).content == b"one"


def test_threads_share_what_is_left() -> None:
    answers = [b"%d" % number for number in range(50)]
    transport = ReplayTransport(cassette(*(recorded(each) for each in answers)))
    got: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: got.extend(ask(transport) for _ in range(10)))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert sorted(got) == sorted(answers)


# ---------------------------------------------------------------- record modes


def recording(path: Path, mode: Any, said: str) -> ReplayTransport:
    inner = httpx.MockTransport(lambda _: httpx.Response(200, text=said))
    return ReplayTransport(path, record_mode=mode, transport=inner)


def test_none_sends_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        recording(tmp_path / "chat.yaml", "none", "live")


@pytest.mark.parametrize("mode", ["once", "new_episodes", "all", "rewrite"])
def test_without_a_file_it_is_recorded(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"

    assert ask(recording(path, mode, "live")) == b"live"
    assert ask(ReplayTransport(path)) == b"live"


def test_once_only_plays_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    ask(recording(path, "once", "first"))
    transport = recording(path, "once", "second")

    assert ask(transport) == b"first"
    with pytest.raises(UnmatchedRequestError):
        ask(transport, {"a": 1})


def test_new_episodes_adds_what_has_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    ask(recording(path, "once", "first"))
    transport = recording(path, "new_episodes", "second")

    assert [ask(transport), ask(transport), ask(transport, {"a": 1})] == [
        b"first",
        b"second",
        b"second",
    ]
    assert [each.response.body for each in load(path).interactions] == [
        b"first",
        b"second",
        b"second",
    ]


@pytest.mark.parametrize("mode", ["all", "rewrite"])
def test_all_and_rewrite_begin_anew(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    ask(recording(path, "once", "first"))

    transport = recording(path, mode, "second")
    assert [ask(transport), ask(transport)] == [b"second", b"second"]
    assert [each.response.body for each in load(path).interactions] == [b"second", b"second"]


@clients
def test_a_miss_is_recorded_as_it_comes(client: Client, serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    gate = Gate()
    url = serve(answering(EVENTS[0], gate.passed, DONE)) + CHAT
    transport = ReplayTransport(path, record_mode="new_episodes", transport=client.transport())

    got = client.read(url, transport, each=lambda _: gate.open())

    assert got.pieces == [EVENTS[0], DONE]
    assert gate.in_time == [True]
    assert load(path).interactions[0].response.chunks == [EVENTS[0], DONE]


def test_what_is_ignored_goes_to_the_server() -> None:
    inner = httpx.MockTransport(lambda _: httpx.Response(200, text="live"))
    transport = ReplayTransport(cassette(), transport=inner, ignore_hosts=["live.example"])

    assert ask(transport, url="http://live.example/v1/x") == b"live"
    with pytest.raises(UnmatchedRequestError):
        ask(transport)


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"pace": "slow"}, ValueError, "pace: 'slow' is none of"),
        ({"pace": 0}, ValueError, "pace: 0 is none of"),
        ({"pace": float("inf")}, ValueError, "pace: inf is none of"),
        ({"split": "lines"}, ValueError, "split: 'lines' is none of"),
        ({"split": "random:"}, ValueError, "split: 'random:' is none of"),
        ({"match_on": ["method", "boddy"]}, ValueError, "match_on: 'boddy' is none of body"),
        ({"record_mode": "always"}, ValueError, "record_mode: 'always' is none of none, once"),
        ({"record_mode": "once"}, ValueError, "record_mode: 'once' needs the path"),
        ({"filter_head": 1}, TypeError, "no such option: filter_head"),
    ],
)
def test_bad_options_are_told(options: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        ReplayTransport(FIVE, **options)


def test_a_fault_without_a_place_is_told_when_it_is_played() -> None:
    transport = ReplayTransport(FIVE, faults=[Cut(after_events=6)])

    with pytest.raises(CassetteError, match=r"Cut\(after_events=6.*\): the stream has 5 events"):
        ask(transport)


# ---------------------------------------------------------------- faults


@clients
def test_faults_are_laid_over_in_their_order(client: Client, serve: Serve, clock: Clock) -> None:
    faults = [
        Ping(after_events=1),
        Stall(after_events=2, seconds=3),
        Garbage(after_events=3, data=b"<html>\n\n"),
        Cut(after_events=4),
    ]
    pieces = [EVENTS[0], b": ping\n\n", EVENTS[1], b"<html>\n\n"]

    got = client.read(URL, ReplayTransport(FIVE, faults=faults))
    assert clock.slept == [3]
    served = client.read(serve(replay_app(FIVE, faults=faults)) + CHAT)

    assert clock.slept == [3, 3]
    assert got.pieces == served.pieces == pieces
    assert isinstance(got.error, client.library.RemoteProtocolError)
    assert isinstance(served.error, client.library.RemoteProtocolError)


def test_a_stall_comes_on_top_of_the_recorded_pace(clock: Clock) -> None:
    faults = [Stall(after_events=1, seconds=3), Stall(after_events=5, seconds=2)]

    ask(ReplayTransport(FIVE, "recorded", faults=faults))

    assert clock.slept == [0.1, 3.1, 0.1, 0.1, 0.1, 2]


def test_a_client_that_leaves_ends_the_waiting_of_the_server(serve: Serve) -> None:
    app = replay_app(cassette(recorded(EVENTS[0], end="timeout")))
    returned = threading.Event()

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)
        returned.set()

    with httpx.stream("POST", serve(watched) + CHAT, json=STREAMED) as response:
        next(response.iter_raw())

    assert returned.wait(PATIENCE)


# ---------------------------------------------------------------- for front ends


PAGE = {"origin": "http://localhost:3000"}
PREFLIGHT = {
    **PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}


@pytest.fixture
def web(serve: Serve) -> Callable[..., httpx.Client]:
    def client(**options: Any) -> httpx.Client:
        app = replay_app(FIVE, allow_playback_repeats=True, **options)
        return httpx.Client(base_url=serve(app), trust_env=False, timeout=PATIENCE)

    return client


def test_a_page_of_another_origin_may_ask(web: Callable[..., httpx.Client]) -> None:
    with web() as client:
        asked = client.options(CHAT, headers=PREFLIGHT)
        got = client.post(CHAT, json=STREAMED, headers=PAGE)
        missed = client.post(CHAT, json={"model": "other"}, headers=PAGE)

    assert asked.status_code == 200
    assert asked.headers["access-control-allow-methods"] == "POST"
    assert asked.headers["access-control-allow-headers"] == "authorization,content-type"
    assert got.content == b"".join(EVENTS)
    assert missed.status_code == 404
    for each in (asked, got, missed):
        assert each.headers.get_list("access-control-allow-origin") == [PAGE["origin"]]
        assert each.headers["vary"] == "origin"


@pytest.mark.parametrize(
    ("cors", "origin", "allowed"),
    [
        ("*", "null", True),
        ("http://localhost:3000", "http://localhost:3000", True),
        ("http://localhost:3000/", "http://localhost:3000", True),
        ("http://localhost:3000", "http://localhost:3001", False),
        (None, "http://localhost:3000", False),
    ],
)
def test_who_may_ask(
    cors: str | None, origin: str, allowed: bool, web: Callable[..., httpx.Client]
) -> None:
    headers = {**PREFLIGHT, "origin": origin}
    with web(cors=cors) as client:
        asked = client.options(CHAT, headers=headers)
        got = client.post(CHAT, json=STREAMED, headers=headers)

    assert ("access-control-allow-origin" in asked.headers) is allowed
    assert ("access-control-allow-origin" in got.headers) is allowed
    assert got.content == b"".join(EVENTS)


def test_what_was_recorded_of_another_origin_is_not_sent(serve: Serve) -> None:
    old = recorded(EVENTS[0], headers=(("access-control-allow-origin", "https://old.example"),))
    url = serve(replay_app(cassette(old), allow_playback_repeats=True)) + CHAT

    with httpx.Client(trust_env=False) as client:
        of_page = client.post(url, json=STREAMED, headers=PAGE)
        of_program = client.post(url, json=STREAMED)

    name = "access-control-allow-origin"
    assert of_page.headers.get_list(name) == [PAGE["origin"]]
    assert of_program.headers.get_list(name) == ["https://old.example"]


def test_the_models_are_those_of_the_recorded_requests(web: Callable[..., httpx.Client]) -> None:
    model = {"id": STREAMED["model"], "object": "model", "created": 0, "owned_by": "cassette"}
    with web() as client:
        assert client.get("/v1/models").json() == {"object": "list", "data": [model]}
        assert client.get(f"/v1/models/{model['id']}").json() == model
        missed = client.get("/v1/models/other")
        posted = client.post("/v1/models", json={})

    assert (missed.status_code, posted.status_code) == (404, 404)
    assert missed.json()["error"]["code"] == "not_recorded"


def test_recorded_models_are_played(serve: Serve) -> None:
    asked = RecordedRequest(method="GET", uri="https://api.openai.com/v1/models")
    answer = RecordedResponse.from_chunks([b'{"object":"list","data":[]}'])
    app = replay_app(Cassette(Metadata(), (Interaction(asked, answer),)))

    with httpx.Client(base_url=serve(app), trust_env=False) as client:
        assert client.get("/v1/models").content == b'{"object":"list","data":[]}'


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain;charset=UTF-8"},
        {"content-type": "application/x-www-form-urlencoded"},
    ],
    ids=["none", "text", "form"],
)
def test_json_is_json_whatever_its_content_type(headers: Any, serve: Serve) -> None:
    body = json.dumps(dict(reversed(STREAMED.items())), indent=3)
    url = serve(replay_app(FIVE)) + CHAT

    with httpx.Client(trust_env=False) as client:
        assert client.post(url, content=body, headers=headers).content == b"".join(EVENTS)
    with httpx.Client(transport=ReplayTransport(FIVE)) as client:
        assert client.post(URL, content=body, headers=headers).content == b"".join(EVENTS)
        with pytest.raises(UnmatchedRequestError, match=r"body\.more: nothing was recorded"):
            client.post(URL, content=json.dumps({**STREAMED, "more": 1}), headers=headers)
