"""`stream-normalizer rules`: every rule can be explained."""

from __future__ import annotations

import json

import pytest

from normalizer.catalogue import rules
from tests.cli.conftest import Run


def test_all_are_listed(run: Run) -> None:
    result = run("rules")
    assert result.exit_code == 0
    for rule in rules():
        assert f"{rule.deviation.code}  {rule.deviation.name}" in result.stdout


def test_a_prefix_lists_its_own(run: Run) -> None:
    said = run("rules", "t40").stdout
    assert "T401" in said
    assert "T410" not in said
    assert "Framing" not in said


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.deviation.code)
def test_one_is_explained(run: Run, rule: object) -> None:
    one = next(each for each in rules() if each is rule)
    said = run("rules", one.deviation.code).stdout
    said_flat = " ".join(said.split())
    for words in (one.deviation.fault, one.deviation.repair, one.seen, one.breaks, one.traps):
        # textwrap breaks at hyphens too
        assert "".join(words.split()) in said_flat.replace(" ", "")
    for url in one.sources:
        assert url in said
    assert "Output" in said


def test_by_name_and_several(run: Run) -> None:
    said = run("rules", "stop-after-calls", "F101").stdout
    assert said.index("S505") < said.index("F101")


def test_as_json(run: Run) -> None:
    found = json.loads(run("rules", "T404", "--format", "json").stdout)
    assert [one["code"] for one in found] == ["T404"]
    assert found[0]["repaired"] is True
    everything = json.loads(run("rules", "--format", "json").stdout)
    assert len(everything) == len(rules())


@pytest.mark.parametrize(
    ("name", "hint"), [("stop-after", "did you mean stop-after-calls"), ("zzzz", "lists all")]
)
def test_one_that_is_none(run: Run, name: str, hint: str) -> None:
    result = run("rules", name)
    assert result.exit_code == 2
    assert f"There is no rule {name}: " in result.stderr
    assert hint in result.stderr
