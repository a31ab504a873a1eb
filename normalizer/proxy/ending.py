"""How an exchange learns that its client has disconnected.

ASGI has `receive` for it. Who waits in it needs a task for as long as the answer takes: memory for
each open stream, and a cancellation at the end of each. The server of `stream-normalizer serve`
knows without a task when `receive` has something to tell, and puts an `Ending` into the scope. Then
the task is started only when it has something to receive. Under any other server it waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from normalizer.doors.asgi import Receive, Scope

# The name in the scope's extensions.
EXTENSION = "normalizer.ending"


class Ending:
    """The end of one exchange, for the server's side.

    ``call`` is called once, when the client has disconnected or the answer is complete.
    """

    __slots__ = ("call", "happened")

    def __init__(self) -> None:
        self.call: Callable[[], object] | None = None
        self.happened = False

    def happen(self) -> None:
        """Tell it. The second time has no effect."""
        self.happened = True
        call, self.call = self.call, None
        if call is not None:
            call()


class Watch:
    """Call ``on_left`` when the client has disconnected, or the answer is complete.

    ``left`` is True from then on.
    """

    __slots__ = ("_ending", "_on_left", "_receive", "_task", "left")

    def __init__(self, scope: Scope, receive: Receive, on_left: Callable[[], object]) -> None:
        self._ending: Ending | None = (scope.get("extensions") or {}).get(EXTENSION)
        self._receive = receive
        self._on_left: Callable[[], object] | None = on_left
        self._task: asyncio.Task[None] | None = None
        self.left = False

    def start(self) -> None:
        """Begin, when the whole body of the request was received."""
        if self._ending is None or self._ending.happened:
            self._wait()
        else:
            self._ending.call = self._ended

    def _ended(self) -> None:
        # An answer that is complete ends its exchange at once, almost always: no task for that.
        asyncio.get_running_loop().call_soon(self._wait)

    def _wait(self) -> None:
        if self._on_left is not None:
            self._task = asyncio.ensure_future(self._until_left())

    async def _until_left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.left = True
        if self._on_left is not None:
            self._on_left()

    async def stop(self) -> None:
        """End. ``on_left`` is not called any more."""
        self._on_left = None  # it holds this watch in turn
        if self._ending is not None:
            self._ending.call = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
