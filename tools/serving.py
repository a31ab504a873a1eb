"""The processes around a proxy that is measured: an upstream, and the least that a proxy can be.

    python -m tools.serving upstream        paced or short streams of chat chunks, on plain asyncio
    python -m tools.serving pass-through    aiohttp's client under uvicorn, which relays the chunks

Each prints its port in the first line of its output, and runs until it is terminated.

The upstream answers ``/paced/…`` with the first event of a stream. Then all streams wait until they
are paced together by `POST /go`: it is answered when each of them has sent its events. `POST /end`
ends them all. So what an event costs is measured without the beginnings and the ends. A path of
``/short/…`` is answered with a whole stream of four events in one write.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from typing import Any

import aiohttp
import uvicorn
import uvloop

WORDS = (" the", " quick", " brown", " fox", ".\n\n", " jümps", " 祝你", ' "over"', " lazy", " dog")
ENVELOPE = {
    "id": "chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012",
    "object": "chat.completion.chunk",
    "created": 1731000000,
    "model": "gpt-4o-2024-08-06",
    "service_tier": "default",
    "system_fingerprint": "fp_159d8341cc",
}
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
BACKLOG = 4096
# The settings of `stream-normalizer serve`.
SETTINGS: dict[str, Any] = {
    "http": "httptools",
    "loop": "uvloop",
    "ws": "none",
    "lifespan": "on",
    "access_log": False,
    "log_level": "warning",
    "server_header": False,
    "date_header": False,
    "timeout_keep_alive": 75,
    "backlog": BACKLOG,
}


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """Return an event in a piece of HTTP's chunked coding."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    data = json.dumps({**ENVELOPE, "choices": [choice]}, separators=(",", ":"), ensure_ascii=False)
    return piece(f"data: {data}\n\n".encode())


def piece(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


FIRST = chunk({"role": "assistant", "content": ""})
EVENTS = [chunk({"content": word}) for word in WORDS]
LAST = chunk({}, "stop") + piece(b"data: [DONE]\n\n") + b"0\r\n\r\n"
SHORT = HEAD + FIRST + EVENTS[0] + LAST


class Upstream:
    """The streams that are open."""

    def __init__(self) -> None:
        self.paced: list[asyncio.Transport] = []

    async def go(self, events: int, interval: float) -> None:
        """Send ``events`` on each stream, one each ``interval`` seconds, in turn."""
        streams = [each for each in self.paced if not each.is_closing()]
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number in range(events):
            for place, stream in enumerate(streams):
                # In turn, because the streams of a real server are not in step.
                due = start + interval * (number + place / len(streams))
                if (early := due - loop.time()) > 0:
                    await asyncio.sleep(early)
                stream.write(EVENTS[number % len(EVENTS)])

    def end(self) -> None:
        for stream in self.paced:
            stream.write(LAST)
        self.paced.clear()


class Connection(asyncio.Protocol):
    """One connection of a client to the upstream."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._came = b""
        self._pacing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        head, found, body = self._came.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        self._came = b""
        path = head.split(b" ", 2)[1]
        if path.startswith(b"/short/"):
            self._transport.write(SHORT)
        elif path.startswith(b"/paced/"):
            self._transport.write(HEAD + FIRST)
            self._upstream.paced.append(self._transport)
        elif path == b"/go":
            given = json.loads(body)
            self._pacing = asyncio.ensure_future(
                self._upstream.go(given["events"], given["interval"])
            )
            self._pacing.add_done_callback(lambda _: self._transport.write(WHOLE))
        else:
            self._upstream.end()
            self._transport.write(WHOLE)


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


async def upstream() -> None:
    """Serve the streams until the process is terminated."""
    streams = Upstream()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(streams), "127.0.0.1", 0, backlog=BACKLOG
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class PassThrough:
    """The least that a proxy of aiohttp and ASGI does: it relays a request and its answer."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if self._session is None:
            raise RuntimeError("the lifespan events did not come")
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in scope["headers"]
            if name not in (b"host", b"connection")
        ]
        async with self._session.request(
            scope["method"], self._url + scope["path"], headers=headers, data=body
        ) as response:
            kept = [
                (name, value)
                for name, value in response.raw_headers
                if name.lower() not in (b"transfer-encoding", b"connection")
            ]
            await send({"type": "http.response.start", "status": response.status, "headers": kept})
            while data := await response.content.readany():
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._session.close()
        await send({"type": "lifespan.shutdown.complete"})


def pass_through(url: str) -> None:
    """Serve `PassThrough` until the process is terminated."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(PassThrough(url), **SETTINGS)).run(sockets=[listening])


if __name__ == "__main__":
    if sys.argv[1] == "upstream":
        uvloop.run(upstream())
    else:
        pass_through(sys.argv[2])
