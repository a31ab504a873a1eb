"""A real proxy in a process of its own, in front of applications in a real uvicorn."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import PATIENCE, STREAMED, ASGIApp, Receive, Send, answering

ServeApp = Callable[[ASGIApp], str]


class Recorder:
    """An application that notes the requests it gets and hands them on to ``app``."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.requests: list[MutableMapping[str, Any]] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self.requests.append(scope)
        await self.app(scope, receive, send)

    def header(self, name: str, number: int = -1) -> str | None:
        """A header of a request, all its lines joined."""
        headers = self.requests[number]["headers"]
        values = [value for key, value in headers if key == name.encode()]
        return b", ".join(values).decode() if values else None


class Proxied:
    """A running `stream-normalizer serve`: its URL, its process, and what it says on stderr."""

    def __init__(self, *args: str, environ: dict[str, str] | None = None) -> None:
        self.said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "normalizer", "serve", "--port", "0", *args],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NO_PROXY": "*", **(environ or {})},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        match = re.search(r"http://\S+", self.wait_for("Listening on"))
        assert match is not None
        self.url = match[0]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, text: str) -> str:
        """The next line on stderr with ``text``; fails if there will be none."""
        while True:
            line = self._lines.get(timeout=PATIENCE)
            if line is None:
                self._lines.put(None)
                raise AssertionError(f"never said {text!r}, but:\n{''.join(self.said)}")
            self.said.append(line)
            if text in line:
                return line

    def stop(self, number: int = signal.SIGTERM) -> str:
        """End it gracefully; all that it said."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> str:
        """Wait for its end; all that it said."""
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join()
            assert self.process.stderr is not None
            self.process.stderr.close()
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            self.said.append(line)
        self._lines.put(None)
        return "".join(self.said)


def read_broken(
    client: httpx2.Client,
    url: str,
    on_data: Callable[[], object] = lambda: None,
    *,
    request: dict[str, Any] = STREAMED,
) -> bytes:
    """What arrives of a stream that does not end as an answer ends; fails if it does."""
    came = b""
    with client.stream("POST", url, json=request) as response:
        try:
            for data in response.iter_raw():
                came += data
                on_data()
        except httpx2.RemoteProtocolError:
            return came
    raise AssertionError("the answer ended as if it were whole")


@pytest.fixture
def proxied() -> Iterator[Callable[..., Proxied]]:
    """Starts `stream-normalizer serve` with arguments."""
    running: list[Proxied] = []

    def proxied(*args: str, environ: dict[str, str] | None = None) -> Proxied:
        running.append(Proxied(*args, environ=environ))
        return running[-1]

    yield proxied
    for one in running:
        if one.process.returncode is None:
            one.stop()


@pytest.fixture(scope="module")
def upstream() -> Recorder:
    """What stands behind `proxy`: a test puts its own application there."""
    return Recorder(answering())


@pytest.fixture(scope="module")
def proxy(upstream: Recorder, serve_module: ServeApp) -> Iterator[Proxied]:
    """A `stream-normalizer serve` before `upstream`, one for a module."""
    running = Proxied("--upstream", serve_module(upstream), "--read-timeout", "5")
    yield running
    running.stop()


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=PATIENCE, trust_env=False) as client:
        yield client


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write
