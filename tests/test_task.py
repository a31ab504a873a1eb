"""Work beside its caller, on event loops of every age."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from normalizer.doors import _task


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
