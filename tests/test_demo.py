"""The README's first command: every stream comes out right, on a screen of 100 columns."""

from __future__ import annotations

import functools

import pytest

from normalizer.doors.transport import NormalizingTransport
from tools import demo


def test_every_stream_comes_out_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith(f"{len(demo.SHOWN)} of {len(demo.SHOWN)}.")
    assert max(demo.columns(line) for line in lines) <= 100
    for each in demo.SHOWN:
        assert any(line.startswith(each.title) for line in lines)


def test_a_stream_that_does_not_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # it lets every byte pass
    idle = functools.partial(NormalizingTransport, mode="report")
    monkeypatch.setattr(demo, "NormalizingTransport", idle)
    assert demo.main() == 1
    raw, ours = capsys.readouterr().out.splitlines()[-1].split(". ")
    assert ours.endswith(f"{raw.removeprefix('Right raw: ')}.")
