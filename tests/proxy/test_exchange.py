"""What an exchange keeps and starts while its answer lasts."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import tracemalloc
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import pytest

from normalizer.cli.protocol import _HeadWithBody
from normalizer.proxy import Proxy, ProxyConfig, Upstream, Upstreams
from normalizer.proxy.ending import EXTENSION, Ending, Watch
from normalizer.proxy.silence import Silence
from tests.conftest import CHAT, DONE, HELLO, PATIENCE, ROLE, STOP

Message = MutableMapping[str, Any]

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
JSON = (b"content-type", b"application/json")
STREAMING = b'{"stream":true}'


class Client:
    """The server's side of one exchange with a proxy, and the upstream behind it."""

    def __init__(self, body: bytes, *, ending: Ending | None = None) -> None:
        self._body = body
        self.ending = ending
        self.came = b""
        self.hello = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.left = asyncio.Event()
        self.upstream_closed = asyncio.Event()
        self.answered = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while length:
            length -= len(await reader.read(min(length, 65536)))
        writer.write(HEAD + ROLE + HELLO)
        waits = asyncio.ensure_future(self.goes_on.wait())
        gone = asyncio.ensure_future(reader.read())
        await asyncio.wait({waits, gone}, return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()
        if gone.done():
            self.upstream_closed.set()
        else:
            gone.cancel()
            writer.write(STOP + DONE)
        await asyncio.wait({waits, gone})
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.answered.set()

    async def receive(self) -> Message:
        if self._body:
            body, self._body = self._body, b""
            return {"type": "http.request", "body": body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.came += message.get("body", b"")
        if HELLO in self.came:
            self.hello.set()

    async def run(self, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Begin an exchange, call ``meanwhile`` in the middle of its answer, and end it."""
        server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        proxy = Proxy(
            ProxyConfig(upstreams=Upstreams(default=Upstream(url=f"http://127.0.0.1:{port}")))
        )
        proxy._forward.open()
        scope: Message = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": CHAT,
            "query_string": b"",
            "headers": [
                (b"host", b"h"),
                JSON,
                (b"content-length", str(len(self._body)).encode()),
            ],
        }
        if self.ending is not None:
            scope["extensions"] = {EXTENSION: self.ending}
        async with asyncio.timeout(PATIENCE):
            exchange = asyncio.ensure_future(proxy(scope, self.receive, self.send))
            await self.hello.wait()
            await meanwhile()
            await exchange
            await self.answered.wait()
        await proxy._forward.close()
        server.close()


def test_the_body_of_a_request_is_not_kept_while_its_answer_lasts() -> None:
    size = 1_000_000
    kept = 0

    async def main() -> None:
        client = Client(b'{"stream":true,"x":"' + b"x" * size + b'"}')

        async def meanwhile() -> None:
            nonlocal kept
            gc.collect()
            kept = tracemalloc.get_traced_memory()[0]
            client.goes_on.set()

        await client.run(meanwhile)
        assert client.came.endswith(STOP + DONE)

    tracemalloc.start()
    try:
        asyncio.run(main())
    finally:
        tracemalloc.stop()
    assert kept < size


@pytest.mark.parametrize("told", [True, False])
def test_no_task_waits_for_the_client_where_the_server_tells(told: bool) -> None:
    tasks: list[str] = []

    async def main() -> None:
        client = Client(STREAMING, ending=Ending() if told else None)

        async def meanwhile() -> None:
            tasks.extend(
                task.get_coro().__qualname__  # type: ignore[union-attr]
                for task in asyncio.all_tasks()
            )
            client.goes_on.set()

        await client.run(meanwhile)
        assert client.came.endswith(STOP + DONE)

    asyncio.run(main())
    assert (Watch._until_left.__qualname__ in tasks) is not told


@pytest.mark.parametrize("told", [True, False])
def test_the_upstream_is_closed_when_the_client_leaves(told: bool) -> None:
    async def main() -> None:
        client = Client(STREAMING, ending=Ending() if told else None)

        async def meanwhile() -> None:
            client.left.set()
            if client.ending is not None:
                client.ending.happen()
            await client.upstream_closed.wait()

        await client.run(meanwhile)
        assert DONE not in client.came

    asyncio.run(main())


def test_an_exchange_leaves_nothing_for_the_garbage_collector() -> None:
    async def main() -> list[object]:
        client = Client(STREAMING, ending=Ending())

        async def meanwhile() -> None:
            client.goes_on.set()

        await client.run(meanwhile)
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        client = Client(STREAMING, ending=Ending())
        await client.run(meanwhile)
        gc.collect()
        return [each for each in gc.garbage if type(each).__module__.startswith("normalizer.proxy")]

    gc.collect()
    gc.disable()
    try:
        left = asyncio.run(main())
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    # The proxy itself holds its parts in a circle; it is there once.
    assert [each for each in left if type(each).__name__ in ("Exchange", "Watch", "Reading")] == []


# --- the limit for a silence ----------------------------------------------------------------------


class Answer:
    """As much of aiohttp's answer as `Silence` needs."""

    connection = None

    def __init__(self) -> None:
        self.content = self
        self.error: BaseException | None = None
        self.raised = asyncio.Event()

    def set_exception(self, error: BaseException) -> None:
        self.error = error
        self.raised.set()


def test_a_read_that_waits_for_too_long_raises() -> None:
    async def main() -> tuple[Any, Any, Any]:
        silence = Silence(0.2)
        waits, paused, over = Answer(), Answer(), Answer()
        for answer in (waits, paused, over):
            reading = silence.begin(answer)  # type: ignore[arg-type]
            if answer is not paused:
                # `paused` writes to a client that does not read: its upstream is not silent
                reading.since = asyncio.get_running_loop().time()
            if answer is over:
                silence.end(reading)
        await waits.raised.wait()
        return waits.error, paused.error, over.error

    waited, paused, over = asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert isinstance(waited, aiohttp.SocketTimeoutError)
    assert (paused, over) == (None, None)


def test_nothing_looks_while_nothing_is_read() -> None:
    async def main() -> None:
        silence = Silence(0.02)
        silence.end(silence.begin(Answer()))  # type: ignore[arg-type]
        # an event loop calls its timers in the order of their times
        await asyncio.sleep(0.1)
        assert silence._timer is None

    asyncio.run(main())


# --- the head and the first bytes -----------------------------------------------------------------


class Transport:
    """Notes what is written. It is the cycle that writes, too."""

    def __init__(self) -> None:
        self.transport: Any = self
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


@pytest.mark.parametrize(
    ("steps", "written"),
    [
        (("head", "first", "second"), [b"headfirst", b"second"]),
        (("head", None, "first", "second"), [b"head", b"first", b"second"]),
        (("head", "close"), [b"head"]),
        (("head", "first", "close"), [b"headfirst"]),
        (("head", None, "close"), [b"head"]),
    ],
)
def test_a_head_leaves_with_the_bytes_that_follow_at_once(
    steps: tuple[str | None, ...], written: list[bytes]
) -> None:
    async def main() -> Transport:
        cycle = transport = Transport()
        cycle.transport = _HeadWithBody(cycle, asyncio.get_running_loop())  # type: ignore[arg-type]
        cycle.transport._transport = transport
        for step in steps:
            if step is None:
                await asyncio.sleep(0)
            elif step == "close":
                cycle.transport.close()
            else:
                cycle.transport.write(step.encode())
        await asyncio.sleep(0)
        return transport

    transport = asyncio.run(main())
    assert transport.written == written
    assert transport.closed is (steps[-1] == "close")
