"""The README's first command: every stream comes out right, on a screen of 100 columns."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from normalizer.cli.demo import program as demo
from normalizer.doors.transport import NormalizingTransport

COLLECTION = Path(__file__).parents[1] / "cassettes"


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


def test_its_cassettes_are_those_of_the_collection() -> None:
    """They are copies, because the collection is not in the wheel."""
    copies = {path.relative_to(demo.CASSETTES) for path in demo.CASSETTES.glob("*/*.yaml")}
    assert copies == {Path(f"{each.cassette}.yaml") for each in demo.SHOWN}
    for path in copies:
        assert (demo.CASSETTES / path).read_bytes() == (COLLECTION / path).read_bytes(), path
