"""Work on many files, in several processes.

What comes back has the order of the files, however long each of them takes. Ctrl-C ends the
processes, and what they were doing is undone (`finally`). The work returns its errors: one file
that cannot be read does not end the others.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import click

from normalizer.cli.group import Failure

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor
    from multiprocessing.process import BaseProcess

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_WORTH = 1024 * 1024  # bytes: starting the processes takes as long as reading these
_AT_ONCE = 16  # files at most that a process gets together
_AHEAD = 4  # such portions for each process that may be under way
_PATIENCE = 2.0  # seconds for a process to undo what it was doing
_TRIES = 4  # to end a process in that time
_INTERRUPTED = 130  # the exit code of a shell for Ctrl-C


def jobs_flag(function: Callable[..., Any]) -> Any:
    """Add ``--jobs``. The command gets ``jobs: int | None``."""
    return click.option(
        "--jobs",
        "-j",
        type=click.IntRange(1),
        metavar="N",
        help="Processes that work on several files.  [default: the number of cores]",
    )(function)


class Jobs:
    """Some processes, for as long as the ``with`` block runs.

    ``wanted`` is their number. None: one for each core, if the files are worth it. One process is
    this one.

    Example::

        with Jobs(4, files) as jobs:
            for size in jobs.in_order(os.path.getsize, files): ...
    """

    def __init__(self, wanted: int | None, files: Sequence[str]) -> None:
        number = _cores() if wanted is None and _are_worth_it(files) else wanted or 1
        self._number = min(number, len(files))
        self._pool: ProcessPoolExecutor | None = None
        self._others: set[BaseProcess] = set()

    def __enter__(self) -> Self:
        if self._number > 1:
            # One file needs none of these.
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor

            self._others = set(multiprocessing.active_children())
            self._pool = ProcessPoolExecutor(
                self._number, mp_context=_context(), initializer=_begin_process
            )
            try:
                # They are forked here, before there is any other thread.
                self._pool.submit(int)
            except BaseException:
                self._stop()
                raise
        return self

    def in_order(
        self, work: Callable[[_Item], _Result], items: Sequence[_Item]
    ) -> Iterator[_Result]:
        """Yield what ``work`` returns for each item, in their order.

        Raises `Failure` if a process dies.
        """
        if self._pool is None:
            yield from map(work, items)
            return
        from concurrent.futures.process import BrokenProcessPool

        size = max(1, min(_AT_ONCE, len(items) // (self._number * _AHEAD)))
        portions = iter([items[at : at + size] for at in range(0, len(items), size)])
        under_way: collections.deque[Future[list[_Result]]] = collections.deque()
        do = functools.partial(_do, work)
        try:
            for portion in itertools.islice(portions, self._number * _AHEAD):
                under_way.append(self._pool.submit(do, portion))
            while under_way:
                done = under_way.popleft().result()
                under_way.extend(
                    self._pool.submit(do, portion) for portion in itertools.islice(portions, 1)
                )
                yield from done
        except BrokenProcessPool:
            raise Failure("a process was killed: is there too little memory?") from None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            self._stop()
        elif self._pool is not None:
            self._pool.shutdown()

    def _stop(self) -> None:
        """End the processes, whatever they do."""
        if self._pool is None:
            return
        with _deaf():
            self._end_processes()
            self._pool.shutdown(cancel_futures=True)

    def _end_processes(self) -> None:
        import multiprocessing

        processes = set(multiprocessing.active_children()) - self._others
        for _ in range(_TRIES):
            # A signal that comes right before a read waits for the end of the read.
            for process in processes:
                process.terminate()
            for process in processes:
                process.join(_PATIENCE / _TRIES)
            processes = {process for process in processes if process.is_alive()}
        for process in processes:
            process.kill()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """End the command on Ctrl-C with the exit code of a shell and without a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        raise click.exceptions.Exit(_INTERRUPTED) from None


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Ignore Ctrl-C: a second one must not leave processes behind that nobody ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _do(work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    return [work(item) for item in items]


def _begin_process() -> None:
    # Ctrl-C goes to all processes of a terminal: the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def _context() -> Any:
    import multiprocessing

    # macOS' own libraries do not survive a fork
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def _cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _are_worth_it(files: Sequence[str]) -> bool:
    total = 0
    for name in files:
        with contextlib.suppress(OSError):
            total += os.stat(name).st_size
        if total >= _WORTH:
            return True
    return False
