"""The members of calls that are no plain tool calls: legacy ones, custom ones, and both at once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.streams import STREAM, Outcome, chunk, normalize, raw, text

FUNCTIONS = {**STREAM, "functions": [{"name": "look"}]}
TOOLS = {**STREAM, "tools": [{"type": "function", "function": {"name": "look"}}]}


def legacy(**function: Any) -> dict[str, Any]:
    return chunk({"function_call": function})


def custom(index: int | None = None, ident: str | None = None, **members: Any) -> dict[str, Any]:
    fragment = {"index": index, "id": ident, "type": "custom"}
    given = {key: value for key, value in fragment.items() if value is not None}
    return chunk({"tool_calls": [{**given, "custom": members}]})


def inputs(outcome: Outcome) -> dict[int, str]:
    """Name and input of each custom call, added up by index."""
    calls: dict[int, str] = {}
    for delta in outcome.deltas:
        for fragment in delta.get("tool_calls", []):
            members = fragment["custom"]
            so_far = calls.get(fragment["index"], "")
            calls[fragment["index"]] = so_far + members.get("name", "") + members.get("input", "")
    return calls


def test_the_name_of_a_legacy_call_is_on_its_first_fragment_only() -> None:
    first = chunk(
        {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": ""}}
    )
    fragments = [
        legacy(name="", arguments="{"),
        legacy(name="look", arguments="}"),
        legacy(arguments=" "),
    ]
    outcome = normalize(raw(first, *fragments, chunk({}, "function_call")), FUNCTIONS)
    calls = [delta["function_call"] for delta in outcome.deltas if "function_call" in delta]
    assert calls == [
        {"name": "look", "arguments": ""},
        {"arguments": "{"},
        {"arguments": "}"},
        {"arguments": " "},
    ]


def test_a_legacy_call_that_begins_without_a_name_keeps_what_it_has() -> None:
    first = legacy(name=None, arguments="")
    body = raw(*text(), first, legacy(name="look", arguments="{}"), chunk({}, "function_call"))
    assert normalize(body, FUNCTIONS).out == body


@pytest.mark.parametrize("pieces", [1, 2])
def test_fragments_of_custom_calls_go_to_the_call_of_their_id(pieces: int) -> None:
    fragments = [
        custom(5, "call_a", name="x:", input=""),
        custom(7, "call_b", name="y:", input=""),
        custom(None, "call_a", input="1"),
        custom(9, "call_b", input="2"),
        custom(5, None, input="3"),
        custom(7, None, input="4"),
    ]
    body = raw(*text(), *fragments[: 3 * pieces], chunk({}, "tool_calls"))
    outcome = normalize(body)
    assert inputs(outcome) == ({0: "x:1", 1: "y:"} if pieces == 1 else {0: "x:13", 1: "y:24"})
    assert outcome.finish() == "tool_calls"


def test_fragments_of_custom_calls_without_an_id_go_by_their_index() -> None:
    fragments = [
        custom(0, name="x:", input=""),
        custom(input="1"),
        custom(1, name="y:", input=""),
        custom(0, input="2"),
        custom(1, input="3"),
    ]
    outcome = normalize(raw(*text(), *fragments, chunk({}, "tool_calls")))
    assert inputs(outcome) == {0: "x:12", 1: "y:3"}


@pytest.mark.parametrize(
    "function",
    [{"name": "look", "arguments": '{"b":2}'}, {"name": "see", "arguments": '{"a":1}'}],
)
def test_a_legacy_call_that_differs_from_the_tool_call_beside_it_is_not_lost(
    function: dict[str, Any],
) -> None:
    modern = {"name": "look", "arguments": '{"a":1}'}
    fragment = {"index": 0, "id": "call_1", "type": "function", "function": modern}
    both = chunk({"function_call": function, "tool_calls": [fragment]})
    outcome = normalize(raw(*text(), both, chunk({}, "tool_calls")), TOOLS)
    assert outcome.calls == [("call_1", "look", '{"a":1}')]
    legacies = [delta["function_call"] for delta in outcome.deltas if "function_call" in delta]
    assert legacies == [function]


@pytest.mark.parametrize(("given", "said"), [(None, ""), (5, "5"), (True, "true")])
def test_a_text_that_is_none_is_made_one(given: Any, said: str) -> None:
    choice = {"index": 0, "text": given, "logprobs": None, "finish_reason": None}
    one = {"id": "cmpl-1", "object": "text_completion", "created": 1700000000, "model": "m"}
    end = {**choice, "text": "", "finish_reason": "stop"}
    body = raw({**one, "choices": [choice]}, {**one, "choices": [end]})
    outcome = normalize(body, path="/v1/completions")
    assert outcome.chunks[0]["choices"][0]["text"] == said
    assert "C307" in outcome.codes
