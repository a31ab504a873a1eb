"""Which call a fragment belongs to: each rule of CANONICAL.md, section 4, and its counterpart."""

from __future__ import annotations

from typing import Any

import pytest

from normalizer import Normalizer, Options, RequestInfo
from tests.streams import STREAM, call, chunk, event, normalize, raw, text

A = '{"city":"Paris"}'
B = '{"city":"Rome"}'
TOOLS = {**STREAM, "tools": [{"type": "function", "function": {"name": "f"}}]}
FUNCTIONS = {**STREAM, "functions": [{"name": "f"}]}
FINISH = chunk({}, "tool_calls")


def calls(*fragments: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What the fragments come to. Ids that were made up are "made up"."""
    outcome = normalize(raw(*fragments, FINISH))
    given = {f["choices"][0]["delta"]["tool_calls"][0].get("id") for f in fragments}
    return [
        (ident if ident in given else "made up", name, arguments)
        for ident, name, arguments in outcome.calls
    ]


def test_rule_1_an_unseen_id_with_a_name_opens_a_call() -> None:
    """Ollama sends every call with index 0."""
    two = (call(A, id="a", name="f"), call(B, id="b", name="g"))
    assert calls(*two) == [("a", "f", A), ("b", "g", B)]


def test_rule_1_not_when_the_head_was_sent_twice() -> None:
    twice = (call("", id="a", name="f"), call("", id="b", name="f"), call(A, index=0))
    assert calls(*twice) == [("a", "f", A)]


def test_rule_1_the_same_name_on_another_index_is_another_call() -> None:
    two = (call("", id="a", name="f"), call("", id="b", name="f", index=1), call(B, index=1))
    assert calls(*two) == [("a", "f", "{}"), ("b", "f", B)]


def test_rule_2_a_seen_id_continues_its_call() -> None:
    parts = (call("", id="a", name="f"), call(A[:5], id="a", name="f"), call(A[5:], id="a"))
    assert calls(*parts) == [("a", "f", A)]


def test_rule_2_a_seen_id_continues_its_call_between_others() -> None:
    parts = (
        call(A[:5], id="a", name="f"),
        call(B[:5], id="b", name="g", index=1),
        call(A[5:], id="a"),
        call(B[5:], id="b", index=1),
    )
    assert calls(*parts) == [("a", "f", A), ("b", "g", B)]


def test_rule_2_with_a_new_index_and_another_name_it_opens_a_call() -> None:
    two = (call(A, id="x", name="f"), call(B, id="x", name="g", index=1))
    assert calls(*two) == [("x", "f", A), ("made up", "g", B)]


def test_rule_2_an_id_that_is_the_name_does_not_fuse_two_calls_of_a_function() -> None:
    """api-for-open-llm gives the function's name as id."""
    two = (call(A, id="f", name="f"), call(B, id="f", name="f", index=1))
    assert calls(*two) == [("f", "f", A), ("made up", "f", B)]


def test_rule_2_a_new_index_alone_opens_nothing() -> None:
    parts = (call(A[:5], id="x", name="f"), call(A[5:], id="x", name="f", index=1))
    assert calls(*parts) == [("x", "f", A)]


def test_rule_3_an_unseen_id_without_a_name_continues_the_call() -> None:
    """The GLM-4 reference server makes up an id for each fragment."""
    parts = (call("", id="a", name="f"), call(A[:5], id="b"), call(A[5:], id="c", name=""))
    assert calls(*parts) == [("a", "f", A)]


def test_rule_4_another_name_opens_a_call_once_there_are_arguments() -> None:
    two = (call(A, name="f"), call(B, name="g"))
    assert calls(*two) == [("made up", "f", A), ("made up", "g", B)]


def test_rule_4_another_name_before_any_arguments_is_a_piece_of_the_name() -> None:
    pieces = (call(name="edit_ex"), call(name="isting_file"), call(A))
    assert calls(*pieces) == [("made up", "edit_existing_file", A)]


def test_rule_4_a_whole_call_opens_a_call() -> None:
    two = (call(A, name="f"), call(B, name="f"))
    assert calls(*two) == [("made up", "f", A), ("made up", "f", B)]


def test_rule_4_a_repeated_name_with_a_part_of_the_arguments_opens_nothing() -> None:
    parts = (call(A[:5], name="f"), call(A[5:], name="f"))
    assert calls(*parts) == [("made up", "f", A)]


def test_whole_json_so_far_never_splits_a_call() -> None:
    parts = (call("1", id="a", name="f"), call("2"), call("{}"), call("{}"))
    assert calls(*parts) == [("a", "f", "12{}{}")]


def test_without_an_index_the_last_call_is_the_candidate() -> None:
    """Gemini sends each call in a chunk of its own, without an index."""
    parts = (
        call(A, id="a", name="f", index=None),
        call(B[:5], id="b", name="g", index=None),
        call(B[5:], index=None),
    )
    assert calls(*parts) == [("a", "f", A), ("b", "g", B)]


def test_an_index_that_comes_after_a_head_without_one_is_that_call_s() -> None:
    parts = (call("", id="a", name="f", index=None), call(A, index=0))
    assert calls(*parts) == [("a", "f", A)]


@pytest.mark.parametrize("first", [1, 7, None, "0", -1])
def test_calls_are_numbered_as_they_appear(first: Any) -> None:
    parts = (call("", id="a", name="f", index=first), call(A, index=first))
    assert calls(*parts) == [("a", "f", A)]


@pytest.mark.parametrize("ident", ["", " ", "null", None])
def test_an_id_that_is_none_is_made_up_once(ident: Any) -> None:
    outcome = normalize(raw(call("", id=ident, name="f"), call(A, id=ident), FINISH))
    ((made_up, name, arguments),) = outcome.calls
    assert made_up.startswith("call_")
    assert (name, arguments) == ("f", A)


def test_an_integer_id_is_its_text() -> None:
    assert normalize(raw(call(A, id=123, name="f"), FINISH)).calls == [("123", "f", A)]


def test_an_id_inside_the_function_is_the_call_s() -> None:
    fragment = {"index": 0, "function": {"id": "a", "name": "f", "arguments": A}}
    outcome = normalize(raw(chunk({"tool_calls": [fragment]}), FINISH))
    assert outcome.calls == [("a", "f", A)]
    assert "id" not in outcome.deltas[0]["tool_calls"][0]["function"]


@pytest.mark.parametrize(
    ("names", "whole"),
    [
        (["f", "f"], "f"),
        (["get", "get_weather"], "get_weather"),
        (["get_", "weather"], "get_weather"),
        (["f", ""], "f"),
        (["", "f"], "f"),
    ],
)
def test_a_name_before_the_arguments(names: list[str], whole: str) -> None:
    parts = [call(id="a" if not n else None, name=name) for n, name in enumerate(names)]
    assert calls(*parts, call(A)) == [("a", whole, A)]


def test_a_name_that_comes_late_comes_first() -> None:
    outcome = normalize(raw(call(A[:5], id="a"), call(A[5:], name="f"), FINISH))
    assert outcome.calls == [("a", "f", A)]
    first = next(delta["tool_calls"][0] for delta in outcome.deltas if "tool_calls" in delta)
    assert first["function"] == {"name": "f", "arguments": ""}


def test_the_first_fragment_has_no_arguments_and_the_others_nothing_else() -> None:
    whole = call(A, id="a", name="f")
    again = call(B, id="a", type="function")
    deltas = normalize(raw(whole, again, FINISH)).deltas
    first, second, third = (delta["tool_calls"] for delta in deltas[:3])
    function = {"name": "f", "arguments": ""}
    assert first == [{"index": 0, "id": "a", "function": function, "type": "function"}]
    assert second == [{"index": 0, "function": {"arguments": A}}]
    assert third == [{"index": 0, "function": {"arguments": B}}]


def test_a_head_leaves_once_its_name_is_known_to_be_whole() -> None:
    normalizer = Normalizer(RequestInfo.parse("/v1/chat/completions", STREAM), Options())
    assert normalizer.feed(event(call("", id="a", name="f"))) == b""
    assert normalizer.feed(event(call(A[:3]))).count(b"data: ") == 2


def test_text_before_a_call_does_not_wait_for_its_name() -> None:
    normalizer = Normalizer(RequestInfo.parse("/v1/chat/completions", STREAM), Options())
    one = call("", id="a", name="f")
    one["choices"][0]["delta"]["content"] = "Let me see."
    assert b"Let me see." in normalizer.feed(event(one))


def test_calls_in_one_delta_are_each_whole() -> None:
    """Mistral and Gemini put all calls in one delta."""
    fragments = [
        {"id": "a", "function": {"name": "f", "arguments": A}},
        {"id": "b", "function": {"name": "g", "arguments": B}},
    ]
    outcome = normalize(raw(chunk({"role": "assistant", "tool_calls": fragments}), FINISH))
    assert outcome.calls == [("a", "f", A), ("b", "g", B)]
    for delta in outcome.deltas[:4]:
        assert len(delta["tool_calls"]) == 1


@pytest.mark.parametrize(
    ("arguments", "joined"),
    [(None, "{}"), ({"city": "Köln"}, '{"city":"Köln"}'), ([1], "[1]"), ("", "{}")],
)
def test_arguments_are_text(arguments: Any, joined: str) -> None:
    fragment = {"index": 0, "id": "a", "function": {"name": "f", "arguments": arguments}}
    outcome = normalize(raw(chunk({"tool_calls": [fragment]}), FINISH))
    assert outcome.calls == [("a", "f", joined)]


def test_null_arguments_are_no_empty_object() -> None:
    outcome = normalize(raw(call(id="a", name="f"), call(A), FINISH))
    assert outcome.calls == [("a", "f", A)]


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a_call_that_was_cut_gets_no_arguments(finish: str) -> None:
    outcome = normalize(raw(call("", id="a", name="f"), chunk({}, finish)))
    assert outcome.calls == [("a", "f", "")]
    assert outcome.finish() == finish


def test_arguments_that_are_incomplete_are_reported_not_mended() -> None:
    outcome = normalize(raw(call('{"a": "b', id="a", name="f"), FINISH))
    assert outcome.calls == [("a", "f", '{"a": "b')]
    assert "T423" in outcome.codes


@pytest.mark.parametrize("whole", ['{"a":"}"}', '{"a":"\\""}', '{"a":"\\\\"}', '{"a":[{}]}', "{}"])
def test_complete_arguments_are_not_reported(whole: str) -> None:
    for size in (1, 2, len(whole)):
        parts = [call(whole[i : i + size]) for i in range(0, len(whole), size)]
        outcome = normalize(raw(call("", id="a", name="f"), *parts, FINISH))
        assert "T423" not in outcome.codes


def test_a_nameless_call_is_none() -> None:
    """LM Studio sends `{"id": "", "type": "function"}` before it answers in text."""
    ghost = chunk({"role": "assistant", "tool_calls": [{"id": "", "type": "function"}]})
    outcome = normalize(raw(ghost, chunk({"content": "Hi"}), FINISH))
    assert outcome.calls == []
    assert outcome.finish() == "stop"
    assert outcome.said() == "Hi"
    (finish,) = outcome.chunks[-1]["choices"]
    assert finish["nameless_tool_calls"][0]["type"] == "function"


def test_tool_calls_that_are_an_object_are_a_list() -> None:
    fragment = {"index": 0, "id": "a", "function": {"name": "f", "arguments": A}}
    assert normalize(raw(chunk({"tool_calls": fragment}), FINISH)).calls == [("a", "f", A)]


def test_unknown_members_stay_with_their_call() -> None:
    """Gemini 3 answers 400 to the next request without the thought signature."""
    extra = {"google": {"thought_signature": "s"}}
    outcome = normalize(raw(call(A, id="a", name="f", extra_content=extra), FINISH))
    assert outcome.deltas[0]["tool_calls"][0]["extra_content"] == extra


def test_custom_calls_pass() -> None:
    custom = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "sh", "input": "ls"}}
    later = {"index": 0, "custom": {"input": " -l"}}
    outcome = normalize(
        raw(*text(), chunk({"tool_calls": [custom]}), chunk({"tool_calls": [later]}), FINISH)
    )
    head, *inputs = (delta["tool_calls"][0] for delta in outcome.deltas[1:4])
    assert head == {**custom, "custom": {"name": "sh", "input": ""}}
    assert inputs == [{"index": 0, "custom": {"input": part}} for part in ("ls", " -l")]
    assert normalize(outcome.out).out == outcome.out


LEGACY = chunk({"role": "assistant", "function_call": {"name": "f", "arguments": A}})


@pytest.mark.parametrize("request_body", [FUNCTIONS, STREAM])
def test_a_legacy_call_stays_for_those_who_asked_so(request_body: dict[str, Any]) -> None:
    outcome = normalize(raw(LEGACY, chunk({}, "stop")), request_body)
    assert outcome.deltas[0]["function_call"] == {"name": "f", "arguments": A}
    assert outcome.finish() == "function_call"


def test_a_legacy_call_is_a_tool_call_for_those_who_gave_tools() -> None:
    outcome = normalize(raw(LEGACY, chunk({}, "function_call")), TOOLS)
    ((_, name, arguments),) = outcome.calls
    assert (name, arguments) == ("f", A)
    assert outcome.finish() == "tool_calls"


def test_a_tool_call_is_a_legacy_call_for_those_who_gave_functions() -> None:
    outcome = normalize(raw(call(A, id="a", name="f"), FINISH), FUNCTIONS)
    legacy = [delta["function_call"] for delta in outcome.deltas if "function_call" in delta]
    assert [part.get("name") for part in legacy] == ["f", None]
    assert "".join(part["arguments"] for part in legacy) == A
    assert outcome.finish() == "function_call"


@pytest.mark.parametrize(
    ("request_body", "kind"), [(FUNCTIONS, "function_call"), (TOOLS, "tool_calls")]
)
def test_one_call_given_twice_leaves_once(request_body: dict[str, Any], kind: str) -> None:
    """llama-cpp-python sends each fragment under both names."""
    both = [
        chunk(
            {
                "function_call": {"name": "f", "arguments": part},
                "tool_calls": [
                    {"index": 0, "id": "a", "function": {"name": "f", "arguments": part}}
                ],
            }
        )
        for part in (A[:4], A[4:])
    ]
    outcome = normalize(raw(*text(), *both, chunk({}, "tool_calls")), request_body)
    assert outcome.finish() == kind
    present = {key for delta in outcome.deltas for key in delta if key != "role"}
    assert present == {"content", kind}
    if kind == "tool_calls":
        assert outcome.calls == [("a", "f", A)]


def test_calls_of_two_choices_do_not_mix() -> None:
    parts = []
    for index in (0, 1):
        one = call(A, id=f"id{index}", name="f")
        one["choices"][0]["index"] = index
        parts.append(one)
    outcome = normalize(raw(*parts, chunk({}, "stop"), chunk({}, "stop", 1)), {**STREAM, "n": 2})
    for index in (0, 1):
        heads = [
            fragment
            for one in outcome.chunks
            for choice in one["choices"]
            if choice["index"] == index
            for fragment in choice["delta"].get("tool_calls", [])
            if "id" in fragment
        ]
        assert [(head["index"], head["id"]) for head in heads] == [(0, f"id{index}")]
        assert outcome.finish(index) == "tool_calls"


def test_a_fragment_that_waits_for_its_name_does_not_leave_with_the_role() -> None:
    fragment = {"index": 0, "id": "a", "type": "function", "function": {"arguments": ""}}
    head = chunk({"role": "assistant", "content": None, "tool_calls": [fragment]})
    outcome = normalize(raw(head, call("", name="f"), call(A), FINISH))
    assert outcome.deltas[0] == {"role": "assistant", "content": None}
    assert outcome.calls == [("a", "f", A)]


def test_arguments_before_the_name_are_followed_once() -> None:
    parts = [call('{"a":', id="a", type="function"), call("1}", name="f")]
    outcome = normalize(raw(*parts, FINISH))
    assert outcome.calls == [("a", "f", '{"a":1}')]
    assert "T423" not in outcome.codes


def test_fragments_with_an_id_that_two_calls_share_go_to_the_one_with_their_index() -> None:
    heads = [call("", id="a", name="f"), call("", id="a", name="g", index=1)]
    parts = [call('{"a":1}', id="a"), call('{"a":2}', id="a", index=1)]
    first, second = normalize(raw(heads[0], parts[0], heads[1], parts[1], FINISH)).calls
    assert first == ("a", "f", '{"a":1}')
    assert second[0] != "a"
    assert second[1:] == ("g", '{"a":2}')


def test_a_legacy_call_in_pieces_is_one_call_and_no_more() -> None:
    pieces = [{"name": "f", "arguments": ""}, {"arguments": "{}"}]
    parts = [chunk({"function_call": piece}) for piece in pieces]
    outcome = normalize(raw(*parts, chunk({}, "function_call")), TOOLS)
    assert [call[1:] for call in outcome.calls] == [("f", "{}")]
    assert outcome.codes == {"C301", "S507", "T403", "T419"}
