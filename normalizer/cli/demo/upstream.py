"""A real server on a free local port that answers with cassettes."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import uvicorn
from starlette.routing import Mount

from normalizer.cassette import Cassette, replay_app


def mounts(cassettes: Mapping[str, Cassette | Path], **options: Any) -> list[Mount]:
    """Routes on which ``/<name>/…`` answers with the cassette of that name, again and again.

    The ``options`` are those of `replay_app`.
    """
    return [
        Mount(f"/{name}", replay_app(each, allow_playback_repeats=True, **options))
        for name, each in cassettes.items()
    ]


def base_path(cassette: Cassette) -> str:
    """The path of a cassette's API, up to where a client puts its own: ``/v1`` or ``/api/v1``."""
    path = urlsplit(cassette.interactions[0].request.uri).path
    return path.removesuffix("/completions").removesuffix("/chat")


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
