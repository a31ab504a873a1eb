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
    """Work that `start` started."""

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


def start(work: Callable[[], Coroutine[Any, Any, T]]) -> Task[T]:
    """Start ``work`` on the event loop of the caller."""
    trio = _trio()
    return _AsyncioTask(work) if trio is None else _TrioTask(trio, work)


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
    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._task = asyncio.get_running_loop().create_task(work())
        self._task.add_done_callback(_retrieve)

    async def wait(self, seconds: float | None = None) -> bool:
        done, _ = await asyncio.wait({self._task}, timeout=seconds)
        return bool(done)

    async def cancel(self) -> bool:
        self._task.cancel()
        await asyncio.wait({self._task})
        return self._task.cancelled()

    def result(self) -> T:
        return self._task.result()


def _retrieve(task: asyncio.Task[Any]) -> None:
    # Work that was given up may still fail; asyncio would complain that nobody looked.
    if not task.cancelled():
        task.exception()


class _TrioTask(Generic[T]):
    # A system task, for a nursery must not stay open over a yield or over two calls of `send`.

    def __init__(self, trio: Any, work: Callable[[], Awaitable[T]]) -> None:
        self._trio = trio
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._value: list[T] = []
        self._error: Exception | None = None
        trio.lowlevel.spawn_system_task(self._run, work, context=contextvars.copy_context())

    async def _run(self, work: Callable[[], Awaitable[T]]) -> None:
        try:
            with self._scope:
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
