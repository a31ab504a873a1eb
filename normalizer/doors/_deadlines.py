"""Limit the time of a read: when it is over, the socket is shut down.

A blocking read keeps the timeout with which it started. To end it earlier, the connection must end.
While another thread reads, only `shutdown` is safe: the descriptor stays, and the reader sees the
end of the stream.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

# Seconds between two looks at what is due, and how many of them find nothing before it stops.
_TICK = 0.01
_IDLE_TICKS = 100


class Deadlines:
    """The reads in progress. One thread watches them while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: dict[object, tuple[float, socket.socket]] = {}
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def within(self, seconds: float, reading: socket.socket) -> Iterator[None]:
        """Shut ``reading`` down if the block takes longer than ``seconds``.

        It is never shut down after the block.

        Raises RuntimeError if no thread can be started.
        """
        mark = object()
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name="normalizer", daemon=True)
                thread.start()
                self._thread = thread
            self._due[mark] = (time.monotonic() + seconds, reading)
        try:
            yield
        finally:
            with self._lock:
                self._due.pop(mark, None)

    def _run(self) -> None:
        idle = 0
        while True:
            time.sleep(_TICK)
            with self._lock:
                idle = 0 if self._due else idle + 1
                if idle > _IDLE_TICKS:
                    self._thread = None
                    return
                now = time.monotonic()
                for mark, (until, reading) in [*self._due.items()]:
                    if until <= now:
                        del self._due[mark]
                        # the method of the plain socket: that of TLS changes what its reader uses
                        with contextlib.suppress(OSError):
                            socket.socket.shutdown(reading, socket.SHUT_RDWR)


DEADLINES = Deadlines()
if hasattr(os, "register_at_fork"):
    # a child has neither the thread nor, as a reader, the sockets
    os.register_at_fork(after_in_child=DEADLINES.__init__)  # type: ignore[misc]
