"""The limit for the silence of an upstream within its answer.

aiohttp has such a limit, but it starts a timer for each piece that comes. That was a tenth of what
an event of a paced stream costs. Here a read writes down when it begins to wait, and one timer for
all streams looks at them from time to time. So a silence may last a little longer than the limit.
"""

from __future__ import annotations

import asyncio

import aiohttp

# The timer looks so many times within the limit, but not more often than each `_LEAST` seconds.
_LOOKS = 20
_LEAST = 0.02


class Reading:
    """The reads of one answer. ``since`` is the time at which the read that waits began.

    None: nobody waits. The time is that of the event loop.
    """

    __slots__ = ("content", "since")

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self.content = content
        self.since: float | None = None


class Silence:
    """End each read of an answer that waits for ``seconds``: it raises SocketTimeoutError."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._readings: set[Reading] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, response: aiohttp.ClientResponse) -> Reading:
        """Watch the reads of an answer from now on, in place of aiohttp."""
        connection = response.connection
        if connection is not None and connection.protocol is not None:
            connection.protocol.read_timeout = None
        reading = Reading(response.content)
        self._readings.add(reading)
        if self._timer is None:
            self._start()
        return reading

    def end(self, reading: Reading) -> None:
        """Watch them no longer."""
        self._readings.discard(reading)

    def _start(self) -> None:
        every = max(self._seconds / _LOOKS, _LEAST)
        self._timer = asyncio.get_running_loop().call_later(every, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._readings:
            return
        latest = asyncio.get_running_loop().time() - self._seconds
        for reading in self._readings:
            if reading.since is not None and reading.since <= latest:
                reading.content.set_exception(aiohttp.SocketTimeoutError("nothing was read"))
        self._start()
