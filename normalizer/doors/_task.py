"""Work that runs beside its caller, on asyncio and on trio.

We wait for a long read with a limit, and must not cancel it at the limit, because that closes the
connection. Both event loops can do this, each in its own way. anyio covers both, but not in a
generator or between two calls of `send`.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Task(Protocol[T_co]):
    """Work that `start` started.

    ``begun``: whether its time has come. Before, it can be cancelled, and not be waited for.
    """

    @property
    def begun(self) -> bool: ...

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait until the work ends, at most ``seconds``. Returns whether it has ended."""
        ...

    async def cancel(self) -> bool:
        """Cancel the work and wait until it ends. Returns False if it had already ended."""
        ...

    def result(self) -> T_co:
        """Return the result of the work, or raise its exception.

        Call it after `wait` returned True.
        """
        ...


def start(work: Callable[[], Coroutine[Any, Any, T]], *, after: float = 0.0) -> Task[T]:
    """Start ``work`` on the event loop of the caller, ``after`` so many seconds."""
    trio = _trio()
    return _AsyncioTask(work, after) if trio is None else _TrioTask(trio, work, after)


async def within(seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Await ``work``, and cancel it if it takes longer. Then raise an exception of the loop's."""
    trio = _trio()
    if trio is not None:
        with trio.fail_after(seconds):
            await work()
        return
    async with asyncio.timeout(seconds):
        await work()


async def sleep(seconds: float) -> None:
    """Sleep for ``seconds`` on the event loop of the caller."""
    trio = _trio()
    await (asyncio if trio is None else trio).sleep(seconds)


def _trio() -> Any:
    trio: Any = sys.modules.get("trio")
    lowlevel = getattr(trio, "lowlevel", None)  # not yet there while trio is being imported
    if lowlevel is None:
        return None
    try:
        lowlevel.current_task()  # `in_trio_task` is in the newest versions only
    except RuntimeError:
        return None
    return trio


class _AsyncioTask(Generic[T]):
    # A task costs ten times as much as a timer, and most of what waits is cancelled.

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]], after: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[T] | None = None
        if after > 0:
            self._timer = self._loop.call_later(after, self._begin, work)
        else:
            self._begin(work)

    def _begin(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._task = self._loop.create_task(work())
        self._task.add_done_callback(_retrieve)

    @property
    def begun(self) -> bool:
        return self._task is not None

    async def wait(self, seconds: float | None = None) -> bool:
        done, _ = await asyncio.wait({self._running()}, timeout=seconds)
        return bool(done)

    async def cancel(self) -> bool:
        if self._task is None:
            if self._timer is not None:
                self._timer.cancel()
            return True
        self._task.cancel()
        await asyncio.wait({self._task})
        return self._task.cancelled()

    def result(self) -> T:
        return self._running().result()

    def _running(self) -> asyncio.Task[T]:
        if self._task is None:
            raise RuntimeError("the work has not begun")
        return self._task


def _retrieve(task: asyncio.Task[Any]) -> None:
    # Work that was given up may still fail; asyncio would complain that nobody looked.
    if not task.cancelled():
        task.exception()


class _TrioTask(Generic[T]):
    # A system task, for a nursery must not stay open over a yield or over two calls of `send`.

    def __init__(self, trio: Any, work: Callable[[], Awaitable[T]], after: float) -> None:
        self._trio = trio
        self._after = after
        self.begun = after <= 0
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._value: list[T] = []
        self._error: Exception | None = None
        trio.lowlevel.spawn_system_task(self._run, work, context=contextvars.copy_context())

    async def _run(self, work: Callable[[], Awaitable[T]]) -> None:
        try:
            with self._scope:
                if self._after > 0:
                    await self._trio.sleep(self._after)
                    self.begun = True
                self._value.append(await work())
        except Exception as error:  # a system task that raises ends the program
            self._error = error
        finally:
            self._ended.set()

    async def wait(self, seconds: float | None = None) -> bool:
        with self._trio.move_on_after(float("inf") if seconds is None else seconds):
            await self._ended.wait()
        return bool(self._ended.is_set())

    async def cancel(self) -> bool:
        self._scope.cancel()
        with self._trio.CancelScope(shield=True):
            await self._ended.wait()
        return not self._value and self._error is None

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value[0]
