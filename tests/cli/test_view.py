"""`view`: which files become a page, and where it goes. tests/stories opens it in a browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.streams import chunk, raw, text

CASSETTES = Path(__file__).parents[2] / "cassettes"
BODY = raw(*text("Hi"), chunk({}, "stop"))


def test_writes_a_page_of_all_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.sse").write_bytes(BODY)
    page = tmp_path / "page.html"
    result = run("view", str(tmp_path / "a.sse"), str(CASSETTES / "ollama"), "-o", str(page))
    assert (result.exit_code, result.output) == (0, f"{page}\n")
    assert "parallel-tool-calls" in page.read_text()


def test_standard_input_and_output(run: Run) -> None:
    result = run("view", "-", "-o", "-", stdin=BODY)
    assert result.output.startswith("<!doctype html>")
    assert "chatcmpl-1" in result.output


def test_opens_a_browser(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def open_page(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", open_page)
    (tmp_path / "a.sse").write_bytes(BODY)
    result = run("view", str(tmp_path / "a.sse"))
    assert opened == [Path(result.output.strip()).as_uri()]


def test_without_a_browser_it_says_where_the_page_is(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    (tmp_path / "a.sse").write_bytes(BODY)
    result = run("view", str(tmp_path / "a.sse"))
    assert "There is no browser" in result.output
    assert "view.html" in result.output


@pytest.mark.parametrize("name", ["missing.sse", "empty.json", "page.yaml"])
def test_what_cannot_be_shown(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty.json").write_text('{"log": {}}')
    (tmp_path / "page.yaml").write_text("- 1\n")
    result = run("view", str(tmp_path / name), "-o", str(tmp_path / "x.html"))
    assert result.exit_code == 2
    assert name in result.output
    assert not (tmp_path / "x.html").exists()
