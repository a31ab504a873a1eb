"""A real server on a free local port that answers with recorded streams."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Mapping
from typing import Any, Self

import uvicorn

from normalizer.cassette.format import RecordedResponse

# uvicorn writes these itself, or they spoke of the connection that was recorded
_OF_THE_CONNECTION = {"connection", "content-length", "date", "keep-alive", "server"}
_OF_THE_CONNECTION |= {"content-encoding", "transfer-encoding"}


class Upstream:
    """An ASGI application: ``/<name>/…`` answers with the response of that name, in its pieces."""

    def __init__(self, responses: Mapping[str, RecordedResponse]) -> None:
        self._responses = responses

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        response = self._responses[scope["path"].split("/")[1]]
        while (await receive()).get("more_body"):
            pass
        headers = [
            (name.lower().encode(), value.encode())
            for name, value in response.headers
            if name.lower() not in _OF_THE_CONNECTION
        ]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        for chunk in response.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if response.end != "complete":
            # uvicorn then closes the connection in mid-body
            raise ConnectionAbortedError(f"the recorded stream was {response.end}")
        await send({"type": "http.response.body", "body": b""})


class Server:
    """Runs an ASGI application in uvicorn for the ``with`` block; ``address`` is its URL."""

    def __init__(self, app: Any) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_level="critical", lifespan="off", ws="none")
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    def __enter__(self) -> Self:
        # asyncio warns when a client goes away in mid-stream, which is what some of them do here
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        # The socket listens already: a client that is early waits in its backlog.
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
