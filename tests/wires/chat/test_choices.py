"""The stage of the choices alone: which indexes it gives to which chunks."""

from __future__ import annotations

from typing import Any

import pytest

from normalizer.core.draft import Draft
from normalizer.wires.chat.choices import Choices
from normalizer.wires.chat.words import Word
from tests.wires.chat.parts import codes, draft, finder

SAYS = {"content": "x"}
CALLS: dict[str, Any] = {"tool_calls": [{}]}


def choice(index: Any, delta: Any = SAYS) -> dict[str, Any]:
    return {"index": index, "delta": delta}


@pytest.mark.parametrize(
    ("n", "chunks", "indexes", "found"),
    [
        (1, [choice(0), choice(0)], [0, 0], set()),
        (1, [choice(None), choice(-1), choice("0")], [0, 0, 0], {"E211"}),
        (1, [choice(7), choice(8), choice(9)], [0, 0, 0], {"E212"}),
        (1, [choice(0), choice(1), choice(2)], [0, 0, 0], {"E212"}),
        (1, [choice(0), choice(0), choice(1), choice(1)], [0, 0, 1, 1], set()),
        (1, [choice(0), choice(0), choice(1, CALLS)], [0, 0, 0], {"E213"}),
        (1, [choice(0), choice(1, {})], [0, None], set()),
        (2, [choice(0), choice(1), choice(2)], [0, 1, 2], set()),
        (None, [choice(0), choice({}), choice([])], [0, 0, 0], {"E211"}),
    ],
)
def test_indexes(n: int | None, chunks: list[Any], indexes: list[Any], found: set[str]) -> None:
    finding = finder()
    stage = Choices(finding, "chat", n)
    placed = [stage.place(stage.parts(draft(one))) for one in chunks]
    assert [parts[0].index if parts else None for parts in placed] == indexes
    assert codes(finding) == found
    for parts in placed:
        assert all(one.choice["index"] == one.index for one in parts)


def test_a_choice_that_says_nothing_and_nobody_asked_for_is_silent() -> None:
    stage = Choices(finder(), "chat", 1)
    stage.place(stage.parts(draft(choice(0))))
    assert stage.place(stage.parts(draft(choice(1, {})))) == []
    assert stage.silent is not None
    assert stage.silent.index == 1
    stage.place(stage.parts(draft(choice(0))))
    assert stage.silent is None


def test_a_choice_behind_a_finish_counts_no_tokens() -> None:
    stage = Choices(finder(), "chat", 1)
    (first,) = stage.parts(draft(choice(0)))
    first.word = Word("stop")
    stage.place([first])
    (second,) = stage.place(stage.parts(draft(choice(1))))
    assert second.index == 1


@pytest.mark.parametrize(
    ("given", "left"),
    [(None, []), ("x", []), ({"index": 0}, [{"index": 0}]), ([1, {"index": 0}], [{"index": 0}])],
)
def test_choices_become_a_list_of_objects(given: Any, left: list[Any]) -> None:
    finding = finder()
    one = Draft({"choices": given}, b"as it came")
    assert [part.choice for part in Choices(finding, "chat", 1).parts(one)] == left
    assert one.value["choices"] == left
    assert one.raw is None
    assert codes(finding) == {"E209"}
