"""The stage of the reasoning alone: names, mirrors and numbers."""

from __future__ import annotations

from typing import Any

import pytest

from normalizer.wires.chat.reasoning import Reasoning, text_of
from tests.wires.chat.parts import codes, finder, part


@pytest.mark.parametrize(
    ("policy", "delta", "left", "found"),
    [
        ("reasoning_content", {"reasoning": "a"}, {"reasoning_content": "a"}, {"C311"}),
        ("reasoning_content", {"thinking": None}, {"reasoning_content": None}, {"C311"}),
        ("reasoning_content", {"reasoning_content": None}, {"reasoning_content": None}, set()),
        ("reasoning", {"reasoning_content": "a"}, {"reasoning": "a"}, {"C311"}),
        ("keep", {"thinking": "a", "reasoning": "a"}, {"thinking": "a", "reasoning": "a"}, set()),
        ("both", {"reasoning": "a"}, {"reasoning_content": "a", "reasoning": "a"}, {"C311"}),
        (
            "reasoning_content",
            {"reasoning": "a", "reasoning_content": "ab", "content": ""},
            {"reasoning_content": "ab", "content": ""},
            {"C312"},
        ),
        ("reasoning_content", {"content": "a"}, {"content": "a"}, set()),
    ],
)
def test_names(policy: str, delta: dict[str, Any], left: dict[str, Any], found: set[str]) -> None:
    finding = finder()
    one = part({"index": 0, "delta": dict(delta)})
    Reasoning(finding, policy).read(one)
    assert one.delta == left
    assert list(one.delta) == list(left)
    assert codes(finding) == found
    assert one.changed == bool(found)


def test_objects_are_numbered_on_by_choice_and_member() -> None:
    stage = Reasoning(finder(), "reasoning_content")
    numbers = []
    for index, key in [(0, "annotations"), (0, "annotations"), (1, "annotations"), (0, "x")]:
        one = part({"delta": {key: [{"a": 1}, {"a": 2}]}}, index)
        stage.read(one)
        numbers.append([item["index"] for item in one.delta[key]])
    assert numbers == [[0, 1], [2, 3], [0, 1], [0, 1]]


def test_in_a_whole_answer_nothing_is_numbered() -> None:
    stage = Reasoning(finder(), "reasoning_content")
    stage.numbers = False
    one = part({"delta": {"annotations": [{"a": 1}]}})
    stage.read(one)
    assert not one.changed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([{"text": "a"}, {"thinking": "b"}, {"summary": "c"}], "abc"),
        ({"summary": [{"text": "a"}, {"text": "b"}]}, "ab"),
        ([{"data": "secret"}], ""),
        ("x", ""),
        (None, ""),
    ],
)
def test_the_text_of_details(value: Any, text: str) -> None:
    assert text_of(value) == text
