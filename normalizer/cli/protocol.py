"""uvicorn's HTTP protocol, with a time limit for the head of a request.

It also saves work for each request: it tells the proxy when an exchange ends (`Ending`), so that no
task waits for that, and writes the head of an answer together with the bytes that follow at once.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from normalizer.proxy.answers import error_body
from normalizer.proxy.ending import EXTENSION, Ending


class Protocol(HttpToolsProtocol):
    """Close a connection if no complete head arrives within ``header_timeout`` seconds.

    The time starts with the connection, or with the first byte after an answer. An incomplete head
    is answered with status 408.
    """

    # uvicorn's own attributes fill the dictionary that all connections share the keys of. A few
    # more, and each connection has a dictionary of its own, of 1.2 kB.
    __slots__ = ("_begun", "_ending", "_header_timeout", "_timer")

    def __init__(self, *args: Any, header_timeout: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_timeout = header_timeout
        self._timer: asyncio.TimerHandle | None = None
        self._begun = False
        self._ending: Ending | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(self._header_timeout, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)
        self._end()

    def on_message_begin(self) -> None:
        self._begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._begun = False
        self._stop()
        super().on_headers_complete()
        if not self.pipeline:
            # A request that waits for the one before it has no ending yet: a task watches it.
            self._ending = Ending()
            extensions: Any = {EXTENSION: self._ending}
            self.scope["extensions"] = extensions
            self.cycle.transport = _HeadWithBody(self.cycle, self.loop)  # type: ignore[assignment]

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._end()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        answering = self.cycle is not None and not self.cycle.response_complete
        if self._timer is None and not answering and not self.transport.is_closing():
            self._timer = self.loop.call_later(self._header_timeout, self._too_slow)

    def _end(self) -> None:
        ending, self._ending = self._ending, None
        if ending is not None:
            ending.happen()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._begun and not self.transport.is_closing():
            message = f"No complete request head came within {self._header_timeout:g} seconds."
            body = json.dumps(error_body(message, "request_timeout")).encode()
            self.transport.write(
                b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\n"
                b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            )
        self.transport.close()


class _HeadWithBody:
    """Stand in for the transport of a cycle until its second write.

    The first write is the head of the answer. It waits until the event loop comes round, for the
    bytes of the body that are there already: one system call for both.
    """

    __slots__ = ("_cycle", "_flush", "_head", "_loop", "_transport")

    def __init__(self, cycle: RequestResponseCycle, loop: asyncio.AbstractEventLoop) -> None:
        self._cycle = cycle
        self._transport = cycle.transport
        self._loop = loop
        self._head = b""
        self._flush: asyncio.Handle | None = None

    def write(self, data: bytes) -> None:
        if self._flush is None:
            self._head = data
            self._flush = self._loop.call_soon(self._write_head)
        else:
            self._flush.cancel()
            head, self._head = self._head, b""
            self._cycle.transport = self._transport
            self._transport.write(head + data)

    def _write_head(self) -> None:
        self._cycle.transport = self._transport
        self._transport.write(self._head)

    def close(self) -> None:
        if self._flush is not None and self._head:
            self._flush.cancel()
            self._write_head()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
