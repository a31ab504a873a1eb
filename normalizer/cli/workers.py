"""Several uvicorn servers on one socket, each in its own process."""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import logging.config
import multiprocessing
import signal
import socket
import time
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

import uvicorn

from normalizer.cli.group import Failure
from normalizer.proxy import Proxy, ProxyConfig

logger = logging.getLogger("normalizer")

_LIVES = 1.0  # seconds; a worker that ends sooner will fail again
# allocations more than there were releases, until the garbage collector looks (Python: 700)
_ALLOCATIONS = 20_000
_TICK = 0.2  # seconds between two checks for signals


def serve_alone(proxy: ProxyConfig, settings: dict[str, Any], listening: socket.socket) -> None:
    """Run one server in this process until a signal ends it. ``settings`` are for uvicorn."""
    # The proxy is made here, so a worker process needs only its configuration.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _terminate)
    config = uvicorn.Config(functools.partial(Proxy, proxy), factory=True, **settings)
    config.load()
    _collect_less()
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])


def _collect_less() -> None:
    """Look for garbage less often, and never in what is there from the start.

    A stream leaves no garbage in cycles. With Python's own threshold the collector looks through
    all open streams again and again while new ones are opened.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, 20, 20)


def _terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    signal.raise_signal(signal.SIGTERM)


class Workers:
    """Run ``count`` servers, each in its own process. A process that dies is replaced.

    uvicorn's own supervisor keeps the socket open while its workers end. A client that connects
    then waits for ever. So this is our own.
    """

    def __init__(
        self, count: int, proxy: ProxyConfig, settings: dict[str, Any], listening: socket.socket
    ) -> None:
        self._count = count
        self._given = (proxy, settings, listening)
        self._listening = listening
        self._running: dict[BaseProcess, float] = {}  # and when each was started
        self._stopping = False
        self._failed = False

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT or SIGHUP, then until all workers have ended.

        Raises `Failure` if a worker fails as soon as it is started.
        """
        logging.config.dictConfig(self._given[1]["log_config"])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._stop)
        for _ in range(self._count):
            self._start()
        while self._running:
            wait([process.sentinel for process in self._running], timeout=_TICK)
            for process in [each for each in self._running if not each.is_alive()]:
                self._ended(process)
        if self._failed:
            raise Failure("the workers fail when they start; see above")

    def _start(self) -> None:
        process = multiprocessing.get_context("spawn").Process(target=serve_alone, args=self._given)
        process.start()
        self._running[process] = time.monotonic()

    def _ended(self, process: BaseProcess) -> None:
        lived = time.monotonic() - self._running.pop(process)
        if self._stopping:
            return
        logger.error("worker %s died (exit code %s)", process.pid, process.exitcode)
        if lived < _LIVES and process.exitcode != -signal.SIGKILL:
            self._failed = True
            self._stop(signal.SIGTERM, None)
        else:
            self._start()

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        # A second Ctrl-C reaches the workers from the terminal, and ends them at once.
        if self._stopping:
            return
        self._stopping = True
        self._listening.close()
        for process in self._running:
            process.terminate()
