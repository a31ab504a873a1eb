"""The CPU that the doors add to a stream, beside that of the core.

    tools/bench-doors [--rounds N] [--events N]

A stream of one event a message goes three ways, in turn, within one process: straight to its
reader, through the core alone (`Normalizer.feed`), and through a door. A door is the middleware, or
the transport in a synchronous or an asynchronous client. Nothing here opens a socket.

* `adds`: through the door, less straight to the reader.
* `beside core`: of it what the core does not explain. It is the cost of the door itself.

The costs of an event come from a long stream, less a short one, so that no set-up is in them. The
set-up is the short stream whole. `idle` is the memory of one stream that is open and waits.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from typing import Any, NamedTuple

import httpx2
import orjson

from normalizer import Normalizer, NormalizingMiddleware, NormalizingTransport, Options, RequestInfo

PATH = "/v1/chat/completions"
BODY = orjson.dumps(
    {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
)
SHORT = 3  # events
OPTIONS = Options()
HEAD = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"date", b"Sat, 21 Nov 2026 20:00:00 GMT"),
    (b"server", b"uvicorn"),
    (b"transfer-encoding", b"chunked"),
    (b"x-request-id", b"req_0123456789abcdef"),
]
ASKED = [
    (b"host", b"127.0.0.1:8000"),
    (b"accept", b"application/json"),
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(BODY)),
    (b"user-agent", b"OpenAI/Python 3.51.0"),
    (b"authorization", b"Bearer none"),
    (b"x-stainless-lang", b"python"),
]
URL = httpx2.URL(f"http://127.0.0.1:8000{PATH}")

Message = MutableMapping[str, Any]
Work = Callable[[list[bytes], int], None]


class Row(NamedTuple):
    """The costs of one door, in microseconds of CPU."""

    door: str
    straight: float
    core: float
    through: float

    @property
    def added(self) -> float:
        return self.through - self.straight

    @property
    def beside_core(self) -> float:
        return self.added - self.core


def stream(events: int) -> list[bytes]:
    """A clean stream, one event a piece."""
    return [_event({"role": "assistant", "content": ""}), *map(_word, range(events - 3)), *_ENDS]


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    envelope = {
        "id": "chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012",
        "object": "chat.completion.chunk",
        "created": 1731000000,
        "model": "gpt-4o-2024-08-06",
        "system_fingerprint": "fp_159d8341cc",
    }
    return b"data: " + orjson.dumps({**envelope, "choices": [choice]}) + b"\n\n"


_WORDS = [_event({"content": word}) for word in (" the", " quick", " brown", " fox", ".\n\n")]
_ENDS = [_event({}, "stop"), b"data: [DONE]\n\n"]


def _word(number: int) -> bytes:
    return _WORDS[number % len(_WORDS)]


# ------------------------------------------------------------------ the ways of a stream


def core(pieces: list[bytes], answers: int) -> None:
    for _ in range(answers):
        request = RequestInfo.parse(PATH, BODY)
        normalizer = Normalizer(request, OPTIONS)
        for piece in pieces:
            normalizer.feed(piece)
        normalizer.close()


def straight_asgi(pieces: list[bytes], answers: int) -> None:
    asyncio.run(_calls(_application(pieces), answers))


def through_asgi(pieces: list[bytes], answers: int) -> None:
    middleware = NormalizingMiddleware(_application(pieces), options=OPTIONS)
    asyncio.run(_calls(middleware, answers))


def straight_sync(pieces: list[bytes], answers: int) -> None:
    _reads(_Upstream(pieces), answers)


def through_sync(pieces: list[bytes], answers: int) -> None:
    _reads(NormalizingTransport(_Upstream(pieces), options=OPTIONS), answers)


def straight_async(pieces: list[bytes], answers: int) -> None:
    asyncio.run(_areads(_Upstream(pieces), answers))


def through_async(pieces: list[bytes], answers: int) -> None:
    asyncio.run(_areads(NormalizingTransport(_Upstream(pieces), options=OPTIONS), answers))


DOORS: dict[str, tuple[Work, Work]] = {
    "middleware": (straight_asgi, through_asgi),
    "transport, sync": (straight_sync, through_sync),
    "transport, async": (straight_async, through_async),
}


def _application(pieces: list[bytes]) -> Callable[..., Awaitable[None]]:
    async def application(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": HEAD})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return application


async def _calls(application: Callable[..., Awaitable[None]], answers: int) -> None:
    for _ in range(answers):
        await application(_scope(), _receive, _send)


def _scope() -> Message:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": PATH,
        "query_string": b"",
        "headers": ASKED,
        "state": {},
    }


async def _receive() -> Message:
    return {"type": "http.request", "body": BODY, "more_body": False}


async def _send(message: Message) -> None:
    pass


class _Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


class _Upstream(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def handle_request(self, _request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers=HEAD, stream=_Body(self._pieces))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return self.handle_request(request)


def _request() -> httpx2.Request:
    return httpx2.Request("POST", URL, headers=ASKED, content=BODY)


def _reads(transport: httpx2.BaseTransport, answers: int) -> None:
    for _ in range(answers):
        body: Any = transport.handle_request(_request()).stream
        for _ in body:
            pass
        body.close()


async def _areads(transport: httpx2.AsyncBaseTransport, answers: int) -> None:
    for _ in range(answers):
        body: Any = (await transport.handle_async_request(_request())).stream
        async for _ in body:
            pass
        await body.aclose()


# ------------------------------------------------------------------ measuring


def _cpu(work: Work, pieces: list[bytes], answers: int) -> float:
    began = time.process_time_ns()
    work(pieces, answers)
    return (time.process_time_ns() - began) / 1000 / answers


def rows(events: int = 1000, rounds: int = 25) -> tuple[list[Row], list[Row]]:
    """Return the costs of one event, and of one answer of `SHORT` events, for each door."""
    works = {"core": core, **dict(_ways())}
    long, short = stream(events), stream(SHORT)
    for work in works.values():
        work(short, 100)  # what only the first answer costs
    whole: dict[str, list[float]] = {name: [] for name in works}
    set_up: dict[str, list[float]] = {name: [] for name in works}
    gc.collect()
    for _ in range(rounds):
        for name, work in works.items():
            set_up[name].append(_cpu(work, short, 100))
            whole[name].append(_cpu(work, long, 3))
    answer = {name: statistics.median(times) for name, times in set_up.items()}
    event = {
        name: (statistics.median(times) - answer[name]) / (events - SHORT)
        for name, times in whole.items()
    }
    return _table(event), _table(answer)


def _ways() -> Iterator[tuple[str, Work]]:
    for name, (straight, through) in DOORS.items():
        yield f"{name} -", straight
        yield f"{name} +", through


def _table(costs: dict[str, float]) -> list[Row]:
    return [Row(name, costs[f"{name} -"], costs["core"], costs[f"{name} +"]) for name in DOORS]


def idle_bytes(streams: int = 1000) -> dict[str, tuple[int, int]]:
    """Return the bytes of one open stream that waits, straight and through, for each door."""

    def measure(*, through: bool) -> tuple[int, int, int]:
        return (
            asyncio.run(_open_calls(streams, through=through)),
            _open_reads(streams, through=through),
            asyncio.run(_open_areads(streams, through=through)),
        )

    before, after = measure(through=False), measure(through=True)
    sizes = dict(zip(DOORS, zip(before, after, strict=True), strict=True))
    return {**sizes, "core": (0, _open_cores(streams))}


_OPEN = stream(20)[:10]


def _open_cores(streams: int) -> int:
    core(_OPEN, 1)
    kept = []
    tracemalloc.start()
    for _ in range(streams):
        normalizer = Normalizer(RequestInfo.parse(PATH, BODY), OPTIONS)
        for piece in _OPEN:
            normalizer.feed(piece)
        kept.append(normalizer)
    return _traced(streams)


async def _open_calls(streams: int, *, through: bool) -> int:
    over = asyncio.Event()

    async def application(_scope: Any, receive: Any, send: Any) -> None:
        await _application_begins(receive, send)
        await over.wait()

    app: Any = NormalizingMiddleware(application, options=OPTIONS) if through else application
    warm = asyncio.create_task(app(_scope(), _receive, _send))
    await asyncio.sleep(0)
    tracemalloc.start()
    tasks = [asyncio.create_task(app(_scope(), _receive, _send)) for _ in range(streams)]
    await asyncio.sleep(0)
    size = _traced(streams)
    over.set()
    await asyncio.gather(warm, *tasks)
    return size


async def _application_begins(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": HEAD})
    for piece in _OPEN:
        await send({"type": "http.response.body", "body": piece, "more_body": True})


def _open_reads(streams: int, *, through: bool) -> int:
    transport: Any = _Upstream(stream(20))
    if through:
        transport = NormalizingTransport(transport, options=OPTIONS)
    kept = []
    for number in range(streams + 1):
        response = transport.handle_request(_request())
        body = iter(response.stream)
        for _ in _OPEN:
            next(body)
        kept.append((response, body))
        if not number:
            tracemalloc.start()
    return _traced(streams)


async def _open_areads(streams: int, *, through: bool) -> int:
    transport: Any = _Upstream(stream(20))
    if through:
        transport = NormalizingTransport(transport, options=OPTIONS)
    kept = []
    for number in range(streams + 1):
        response = await transport.handle_async_request(_request())
        body = aiter(response.stream)
        for _ in _OPEN:
            await anext(body)
        kept.append((response, body))
        if not number:
            tracemalloc.start()
    size = _traced(streams)
    for response, _ in kept:
        await response.aclose()
    return size


def _traced(streams: int) -> int:
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size // streams


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--events", type=int, default=1000)
    given = parser.parse_args()
    events, answers = rows(given.events, given.rounds)
    for title, table in (("one event", events), (f"one answer of {SHORT} events", answers)):
        print(f"\n{title}; µs of CPU, medians of {given.rounds} rounds")
        print(f"{'':18}{'straight':>10}{'core':>10}{'through':>10}{'adds':>10}{'beside core':>13}")
        for row in table:
            numbers = f"{row.straight:10.2f}{row.core:10.2f}{row.through:10.2f}{row.added:10.2f}"
            print(f"{row.door:18}{numbers}{row.beside_core:13.2f}")
    print(f"\nidle; bytes of one open stream\n{'':18}{'straight':>10}{'through':>10}")
    for name, (straight, through) in idle_bytes().items():
        print(f"{name:18}{straight:10}{through:10}")


if __name__ == "__main__":
    main()
