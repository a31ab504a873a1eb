"""deploy/ray_serve.py in real Ray Serve: canonical, streamed, by two replicas, and cancelled."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import httpx2
import pytest

from normalizer import Normalizer, RequestInfo
from normalizer.cassette.format import load
from tests.conftest import CHAT, EVENT_STREAM, PATIENCE, ASGIApp, Gate, Receive, Send, answering
from tests.ray.conftest import ROOT

# Ray warns of its own code.
pytestmark = pytest.mark.filterwarnings("ignore")

JSON = {"content-type": "application/json"}

Answering = Callable[[ASGIApp], None]


class Recorded:
    """A recorded stream that deviates, in two halves, and what is canonical for each."""

    def __init__(self, name: str) -> None:
        (one,) = load(ROOT / "cassettes" / f"{name}.yaml").interactions
        self.path = httpx2.URL(one.request.uri).path
        self.request = one.request.body
        events = [part + b"\n\n" for part in one.response.body.split(b"\n\n") if part]
        self.halves = b"".join(events[: len(events) // 2]), b"".join(events[len(events) // 2 :])
        normalizer = Normalizer(RequestInfo.parse(self.path, self.request))
        self.canonical = (
            normalizer.feed(self.halves[0]),
            normalizer.feed(self.halves[1]) + normalizer.close(),
        )
        assert normalizer.report.codes


CALL = Recorded("llama-cpp-python/tools-forced")
WIRES = {
    "chat": CALL,
    "responses": Recorded("llama-server/responses-text"),
    "messages": Recorded("vllm/messages-thinking-calls"),
}


@pytest.fixture(scope="module")
def behind(
    started: None, serve_module: Callable[[ASGIApp], str]
) -> Iterator[tuple[str, Answering]]:
    """Run the example, with one request at a time for each replica. The URL, and how to set the
    application that is its upstream."""
    import ray_serve
    from ray import serve

    now: list[ASGIApp] = []

    async def upstream(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await now[-1](scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    forward = ray_serve.Forward.options(
        max_ongoing_requests=1,
        graceful_shutdown_timeout_s=1,
        ray_actor_options={"num_cpus": 0.1},
    )
    try:
        serve.run(forward.bind(serve_module(upstream)))
        yield f"http://127.0.0.1:{port}", now.append
    finally:
        serve.shutdown()


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(trust_env=False, timeout=PATIENCE) as one:
        yield one


def read(pieces: Iterator[bytes], size: int) -> bytes:
    """Read until so many bytes have come; more may be beside them."""
    came = b""
    while len(came) < size:
        came += next(pieces)
    return came


def timeless(body: bytes) -> bytes:
    """Without the times that are made up where a stream lacks them."""
    return re.sub(rb'"created_at":\d+', b'"created_at":0', body)


@pytest.mark.parametrize("wire", WIRES)
def test_it_is_canonical_and_streamed(
    behind: tuple[str, Answering], client: httpx2.Client, wire: str
) -> None:
    one, gate = WIRES[wire], Gate()
    url, set_upstream = behind
    set_upstream(answering(one.halves[0], gate.passed, one.halves[1]))
    with client.stream("POST", url + one.path, content=one.request, headers=JSON) as answer:
        pieces = answer.iter_raw()
        begun = read(pieces, len(one.canonical[0]))
        assert timeless(begun) == timeless(one.canonical[0])
        # The second half does not exist yet: what came was not collected.
        gate.open()
        assert timeless(b"".join(pieces)) == timeless(one.canonical[1])
    assert gate.in_time == [True]


def test_two_replicas_answer(behind: tuple[str, Answering]) -> None:
    gate = Gate()
    url, set_upstream = behind
    set_upstream(answering(CALL.halves[0], gate.passed, CALL.halves[1]))
    with contextlib.ExitStack() as stack:
        open_streams = []
        for _ in range(2):
            # A replica has one request at a time, so two that are open at once are of two.
            client = stack.enter_context(httpx2.Client(trust_env=False, timeout=PATIENCE))
            stream = client.stream("POST", url + CHAT, content=CALL.request, headers=JSON)
            pieces = stack.enter_context(stream).iter_raw()
            assert read(pieces, len(CALL.canonical[0])) == CALL.canonical[0]
            open_streams.append(pieces)
        gate.open()
        for pieces in open_streams:
            assert b"".join(pieces) == CALL.canonical[1]
    assert gate.in_time == [True, True]


def test_a_cut_stream_ends_with_an_error(
    behind: tuple[str, Answering], client: httpx2.Client
) -> None:
    async def cut(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await answering(CALL.halves[0], fail)(scope, receive, send)

    async def fail() -> None:
        raise ConnectionResetError

    url, set_upstream = behind
    set_upstream(cut)
    came = b""
    stream = client.stream("POST", url + CHAT, content=CALL.request, headers=JSON)
    with contextlib.suppress(httpx2.RemoteProtocolError), stream as answer:
        for piece in answer.iter_raw():
            came += piece
    assert came.startswith(CALL.canonical[0])
    error, done = came.removesuffix(b"\n\n").split(b"\n\n")[-2:]
    assert b'data: {"error":{' in error
    assert done == b"data: [DONE]"


def test_a_client_that_leaves_ends_the_upstream(
    behind: tuple[str, Answering], client: httpx2.Client
) -> None:
    left = threading.Event()

    async def watching(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [EVENT_STREAM]})
        body = {"type": "http.response.body", "body": CALL.halves[0], "more_body": True}
        await send(body)
        if (await receive())["type"] == "http.disconnect":
            left.set()

    url, set_upstream = behind
    set_upstream(watching)
    with client.stream("POST", url + CHAT, content=CALL.request, headers=JSON) as answer:
        assert read(answer.iter_raw(), len(CALL.canonical[0])) == CALL.canonical[0]
        assert not left.is_set()
    assert left.wait(PATIENCE)
