"""Stages of other packages: the one of docs/stages.md, installed."""

from __future__ import annotations

import json
import logging
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from normalizer import Normalizer, OptionError, Options, RequestInfo, catalogue, stages
from normalizer.cli.group import normalizer as command_line
from tests.streams import CHAT, STREAM, chunk, raw

PAGE = (Path(__file__).parents[1] / "docs" / "stages.md").read_text(encoding="utf-8")
STAGE, USE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(PROJECT,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
BODY = raw(
    chunk({"role": "assistant", "markdown": "Hi"}),
    chunk({"markdown": " there"}),
    chunk({"markdown": "!"}),
    chunk({}, "stop"),
)
BROKEN = """
class Raises:
    rules = ()
    def __init__(self, request, found): pass
    def __call__(self, draft): raise KeyError("sec" + "ret")
class Odd:
    rules = ()
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package of the page, and one whose stages are wrong."""
    entries = tomllib.loads(PROJECT)["project"]["entry-points"][stages.GROUP]
    entries |= {"raises": "broken_stage:Raises", "gone": "broken_stage:Gone"}
    (tmp_path / "markdown_stage.py").write_text(STAGE)
    (tmp_path / "broken_stage.py").write_text(BROKEN)
    info = tmp_path / "markdown_stage-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: markdown-stage\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = {target}" for name, target in entries.items())
    (info / "entry_points.txt").write_text(f"[{stages.GROUP}]\n{lines}\n")
    caches = (stages.load, stages.rules, catalogue.covered, catalogue.switched_off)
    monkeypatch.syspath_prepend(tmp_path)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def run(body: bytes = BODY, **options: Any) -> tuple[str, dict[str, int]]:
    """The text that a client reads, and the codes of the report."""
    n = Normalizer(RequestInfo.parse(CHAT, json.dumps(STREAM).encode()), Options(**options))
    out = n.feed(body) + n.close()
    lines = [line[6:] for line in out.decode().splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"] for line in lines for choice in json.loads(line)["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas), n.report.codes


def test_it_repairs_each_event_and_is_in_the_report() -> None:
    assert run() == ("", {"X712": 1})
    assert run(stages=["markdown"]) == ("Hi there!", {"Z101": 3})


def test_the_code_of_the_page_runs() -> None:
    names: dict[str, Any] = {}
    exec(compile(USE, "stages.md", "exec"), names)  # noqa: S102
    names["transport"].close()


def test_its_code_is_one_of_ours_in_ignore_select_and_silence() -> None:
    assert run(stages="markdown", ignore="Z101") == run()
    assert run(stages="markdown", ignore="text-in-markdown") == run()
    assert run(stages="markdown", select="Z") == ("Hi there!", {"Z101": 3})
    assert run(stages="markdown", silence="Z1") == ("Hi there!", {})
    assert "Z101" not in run(stages="markdown", select="S")[1]
    with pytest.raises(OptionError, match="Z999"):
        Options(ignore="Z999")


def test_rules_and_check_know_it(tmp_path: Path) -> None:
    shown = CliRunner().invoke(command_line, ["rules", "Z101"])
    assert shown.exit_code == 0, shown.output
    assert "text-in-markdown" in shown.output
    assert '"content":"Hi"' in shown.output
    (tmp_path / "answer.sse").write_bytes(BODY)
    found = CliRunner().invoke(
        command_line, ["check", str(tmp_path / "answer.sse"), "--stages", "markdown"]
    )
    assert found.exit_code == 1, found.output
    assert "Z101" in found.output


def test_a_whole_answer_passes_it_too() -> None:
    seen: list[Any] = []

    class Seeing:
        rules = ()

        def __init__(self, request: RequestInfo, found: stages.Findings) -> None:
            del found
            seen.append(request.endpoint)

        def __call__(self, draft: stages.Draft) -> None:
            seen.append(draft.value["id"])

    message = {"role": "assistant", "content": "Hi"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    answer = {"id": "a", "object": "chat.completion", "created": 1, "model": "m"}
    body = json.dumps({**answer, "choices": [choice]}).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "load", lambda _name: Seeing)
        for stream in (False, True):
            request = RequestInfo.parse(CHAT, json.dumps({"stream": stream}).encode())
            n = Normalizer(request, Options(stages="seeing"))
            assert b"Hi" in n.feed(body) + n.close()
    assert seen == ["chat", "a"] * 2


def test_one_that_raises_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "normalizer"):
        text, codes = run(stages=["raises", "markdown"])
    assert (text, codes) == ("Hi there!", {"Z101": 3})
    (record,) = caplog.records
    assert "Raises" in record.getMessage()
    assert "KeyError" in record.getMessage()
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("name", "told"),
    [("nope", "not installed"), ("gone", "cannot be loaded"), ("odd", "Z and three digits")],
)
def test_a_stage_that_cannot_run_is_told(
    name: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "odd":
        other = catalogue.rule("E201")
        import markdown_stage  # type: ignore[import-not-found]

        monkeypatch.setattr(markdown_stage.MarkdownStage, "rules", (other,))
        name = "markdown"
    with pytest.raises(OptionError, match=told):
        Options(stages=[name])
    # and who does not name it has nothing to do with it
    assert run(ignore="E201")[1] == {"X712": 1}


def test_a_package_is_imported_only_for_who_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "load", None)
    assert run(ignore="X712", select=("X", "S505"), silence="E2") == ("", {})
    with pytest.raises(TypeError):
        Options(ignore="Z101")
