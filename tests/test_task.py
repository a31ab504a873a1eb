"""Work beside its caller, on event loops of every age."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from normalizer.doors import _task
from tests.conftest import PATIENCE


async def answer() -> int:
    return 42


@pytest.mark.anyio
async def test_work_with_a_trio_that_tells_not_whether_it_runs(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only newer ones have `in_trio_task`.
    trio = pytest.importorskip("trio")
    monkeypatch.delattr(trio.lowlevel, "in_trio_task", raising=False)
    task = _task.start(answer)
    assert await task.wait()
    assert task.result() == 42


def test_a_trio_that_is_still_being_imported_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished: Any = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "trio", unfinished)
    assert _task._trio() is None


@pytest.mark.anyio
async def test_work_may_begin_later(anyio_backend: str) -> None:
    begun = anyio.Event()

    async def work() -> int:
        begun.set()
        return 42

    task = _task.start(work, after=1e-3)
    assert not task.begun
    with anyio.fail_after(PATIENCE):
        await begun.wait()
        assert task.begun
        assert await task.wait()
    assert task.result() == 42
    assert not await task.cancel()


@pytest.mark.anyio
async def test_work_that_has_not_begun_is_cancelled(anyio_backend: str) -> None:
    begun: list[str] = []

    async def work() -> None:
        begun.append("work")

    task = _task.start(work, after=PATIENCE)
    assert await task.cancel()
    await anyio.wait_all_tasks_blocked()
    assert begun == []


@pytest.mark.anyio
async def test_work_that_takes_too_long_is_cancelled(anyio_backend: str) -> None:
    log: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append("cancelled")

    with pytest.raises(Exception):  # noqa: B017, PT011  # each loop has its own
        await _task.within(1e-3, work)
    assert log == ["cancelled"]
    await _task.within(PATIENCE, anyio.lowlevel.checkpoint)
