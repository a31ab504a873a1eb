"""`check` as a report for a vendor, for one client, against a baseline, with defaults in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.streams import call, chunk, event, raw, text

CASSETTES = Path(__file__).parents[2] / "cassettes"
OLLAMA = str(CASSETTES / "ollama/parallel-tool-calls.yaml")
AZURE = str(CASSETTES / "azure/opening-chunk.yaml")


def test_markdown(run: Run) -> None:
    result = run("check", OLLAMA, AZURE, "--format", "markdown")
    assert result.exit_code == 1
    said = result.output
    assert f"| {AZURE} | 200 | answered | E210 |" in said
    assert said.index("## Errors") < said.index("### E210") < said.index("## Warnings")
    assert "- **Who breaks**: `IndexError: list index out of range`" in said
    assert "- <https://github.com/" in said
    assert 'data: {"choices":[],' in said


def test_bytes_with_backticks_stay_in_their_fence(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.sse"
    bad.write_bytes(raw(*text("```` # not a heading"), chunk({"content": "````"}, "stop")))
    said = run("check", str(bad), "--format", "markdown").output
    assert "\n`````\n" in said


def test_html(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.sse"
    bad.write_bytes(raw(*text("Hi"), chunk({"content": "<script>alert(1)</script>"}, "stop")))
    said = run("check", str(bad), "--format", "html").output
    assert "<script" not in said
    assert "&lt;script&gt;" in said
    assert "<mark>&quot;finish_reason&quot;:&quot;stop&quot;</mark>" in said
    assert "default-src &#x27;none&#x27;" in said or "default-src 'none'" in said


def test_a_client(run: Run) -> None:
    result = run("check", OLLAMA, "--client", "ai-sdk", "--format", "json")
    assert {one["code"] for one in json.loads(result.output)["findings"]} == {"T402", "C303"}
    none = run("check", AZURE, "--client", "openai-python")
    assert (none.exit_code, "No deviations" in none.output) == (0, True)


def test_a_baseline(run: Run, tmp_path: Path) -> None:
    known = tmp_path / "known.json"
    first = run("check", OLLAMA, "--write-baseline", str(known))
    assert first.exit_code == 1
    assert json.loads(known.read_text())["findings"][OLLAMA][0] == "C302"
    again = run("check", OLLAMA, "--baseline", str(known))
    assert again.exit_code == 0
    assert "Not told" in again.output
    both = run("check", OLLAMA, AZURE, "--baseline", str(known), "--format", "json")
    assert [one["code"] for one in json.loads(both.output)["findings"]] == ["E210"]


@pytest.mark.parametrize("written", ["", "[]", '{"version":2,"findings":{}}', '{"version":1}'])
def test_what_is_no_baseline(run: Run, tmp_path: Path, written: str) -> None:
    known = tmp_path / "known.json"
    known.write_text(written)
    result = run("check", OLLAMA, "--baseline", str(known))
    assert result.exit_code == 2
    assert str(known) in result.output


def test_defaults_in_a_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text('[tool.stream-normalizer]\nignore = ["T4"]\nformat = "json"\n')
    found = json.loads(run("check", OLLAMA).output)["findings"]
    assert [one["code"] for one in found if one["code"].startswith("T")] == []
    given = json.loads(run("check", OLLAMA, "--ignore", "S").output)["findings"]
    assert "T402" in {one["code"] for one in given}


def test_a_key_that_is_none(run: Run, tmp_path: Path) -> None:
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text("[tool.stream-normalizer]\nfrobnicate = 1\n")
    result = run("check", OLLAMA, "--config", str(pyproject))
    assert result.exit_code == 2
    assert "has no key frobnicate" in result.output


def test_a_diff_and_a_trace(run: Run, tmp_path: Path) -> None:
    written = tmp_path / "trace.jsonl"
    body = event(call(id="a", name="f")) + raw(call("{}"), chunk({}, "tool_calls"))
    result = run("normalize", "-", "--diff", "--trace", str(written), stdin=body)
    assert result.exit_code == 0
    assert "data:" not in result.output
    assert "call f" in result.output
    assert "ended done" in result.output
    records = [json.loads(line) for line in written.read_text().splitlines()]
    assert [records[0]["type"], records[-1]["type"]] == ["trace", "end"]


def test_a_trace_beside_what_leaves(run: Run, tmp_path: Path) -> None:
    body = raw(*text("Hi"), chunk({}, "stop"))
    written = tmp_path / "trace.jsonl"
    result = run("normalize", "-", "--trace", str(written), stdin=body)
    assert result.output.encode() == body
    left = [json.loads(line) for line in written.read_text().splitlines()]
    assert [one["type"] for one in left].count("left") == 4


def test_a_trace_is_of_one_answer(run: Run, tmp_path: Path) -> None:
    result = run("normalize", OLLAMA, "--diff", "-o", str(tmp_path))
    assert result.exit_code == 2
    assert "for one answer" in result.output
    result = run("normalize", OLLAMA, "--trace", str(tmp_path / "no" / "folder"))
    assert result.exit_code == 2
