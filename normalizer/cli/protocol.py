"""uvicorn's HTTP protocol with a time limit for the head of a request."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from normalizer.proxy.forward import error_body


class Protocol(HttpToolsProtocol):
    """Close a connection if no complete head arrives within ``header_timeout`` seconds.

    The time starts with the connection, or with the first byte after an answer. An incomplete head
    is answered with status 408.
    """

    def __init__(self, *args: Any, header_timeout: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_timeout = header_timeout
        self._timer: asyncio.TimerHandle | None = None
        self._begun = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(self._header_timeout, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._begun = False
        self._stop()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        answering = self.cycle is not None and not self.cycle.response_complete
        if self._timer is None and not answering and not self.transport.is_closing():
            self._timer = self.loop.call_later(self._header_timeout, self._too_slow)

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
