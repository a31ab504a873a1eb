"""The pages that are made of the deviations are fresh."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import deviations

ROOT = Path(__file__).parents[1]
PAGES = ("docs/faults.md", "docs/deviations.md")


def test_the_pages_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "deviations", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that has these pages only."""
    (tmp_path / "docs").mkdir()
    for page in PAGES:
        shutil.copy(ROOT / page, tmp_path / page)
    monkeypatch.setattr(deviations, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_a_stale_page_is_told_and_written(
    copied: Path, page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied / page
    fresh = path.read_text(encoding="utf-8")
    path.write_text(fresh.replace("F101", "F999"), encoding="utf-8")

    assert deviations.main(["--check"]) == 1
    assert capsys.readouterr().err == f"{page} is stale: run tools/deviations\n"
    assert deviations.main([]) == 0
    assert path.read_text(encoding="utf-8") == fresh
    assert deviations.main(["--check"]) == 0


def test_a_page_without_marks_is_told(copied: Path) -> None:
    (copied / "docs" / "faults.md").write_text("# no marks\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"faults\.md lacks"):
        deviations.main([])


def test_each_code_is_in_one_row_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deviations, "ROWS", deviations.ROWS[1:])
    with pytest.raises(ValueError, match="F101"):
        deviations.table()


def test_what_has_no_picture_is_named() -> None:
    assert deviations.visible("\ufeffdata: a\tb\r\n".encode()) == "⟨BOM⟩data: a⟨TAB⟩b⟨CR⟩"
    assert deviations.visible(b"caf\xe9") == "caf⟨E9⟩⟨end⟩"
