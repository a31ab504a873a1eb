"""Whole answers: what is wrong is put right where it stands, and nothing else moves."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer import Normalizer, Options, RequestInfo
from normalizer.catalogue import DEVIATIONS
from tests.shared import beside
from tests.streams import CHAT, COMPLETIONS, DONE, Outcome, chunk, event, normalize, raw, text

PLAIN: dict[str, Any] = {"model": "m", "stream": False}
LOOK = {"type": "function", "function": {"name": "look"}}
TOOLS = {**PLAIN, "tools": [LOOK]}
FUNCTIONS = {**PLAIN, "functions": [{"name": "look"}]}
FUNCTION = {"name": "look", "arguments": '{"q":1}'}
CALL = {"id": "a", "type": "function", "function": FUNCTION}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def answer(message: Any = None, finish: Any = "stop", **members: Any) -> dict[str, Any]:
    message = {"content": "Hi"} if message is None else message
    choice = {
        "index": 0,
        "message": {"role": "assistant", **message},
        "logprobs": None,
        "finish_reason": finish,
    }
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    return {**head, "choices": [choice], **members}


def repaired(
    value: Any, request: dict[str, Any] = PLAIN, path: str = CHAT, **options: Any
) -> tuple[Any, Outcome]:
    """The answer that leaves; it leaves byte for byte when it comes once more."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    normalizer = Normalizer(RequestInfo.parse(path, request), Options(**options))
    out = normalizer.feed(body) + normalizer.close()
    if normalizer.status < 300 and not options:
        assert normalize(out, request, path).out == out
    return json.loads(out), Outcome(out, [], normalizer.report, normalizer)


def choice_of(value: Any, request: dict[str, Any] = PLAIN, **options: Any) -> dict[str, Any]:
    (choice,) = repaired(value, request, **options)[0]["choices"]
    assert isinstance(choice, dict)
    return choice


# --- what is right --------------------


@pytest.mark.parametrize(
    "message",
    [
        {"content": "Hi", "refusal": None, "annotations": []},
        {"content": "Hi", "reasoning": None, "tool_calls": [], "function_call": None},
        {"content": None, "tool_calls": [{"index": 0, **CALL}], "audio": None},
        {"content": "", "reasoning_content": "Hm"},
    ],
)
def test_an_answer_without_a_fault_leaves_byte_for_byte(message: dict[str, Any]) -> None:
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    value = answer(message, finish, prompt_logprobs=None, kv=[], error=None)
    value["choices"][0] |= {"stop_reason": None, "token_ids": None}
    for body in (json.dumps(value).encode(), json.dumps(value, indent=2).encode() + b"\n"):
        outcome = repaired(body, TOOLS)[1]
        assert outcome.out == body
        assert not outcome.codes


def test_what_is_not_repaired_keeps_its_place_and_value() -> None:
    value = answer({"annotations": [], "content": "Hi", "audio": None}, "eos", a=None, b=[1, {}])
    got, outcome = repaired(value)
    assert outcome.codes == {"S503"}
    choice = got["choices"][0]
    assert (choice.pop("finish_reason"), choice.pop("native_finish_reason")) == ("stop", "eos")
    del value["choices"][0]["finish_reason"]
    assert json.dumps(got) == json.dumps(value)


def test_members_that_are_missing_come_first_and_are_told_once_each() -> None:
    value = {"choices": answer()["choices"], "usage": {"completion_tokens": 3}}
    got, outcome = repaired(value)
    assert list(got) == ["id", "object", "created", "model", "choices", "usage"]
    assert got["usage"] == {"completion_tokens": 3}
    assert outcome.report.codes == {"E201": 1, "E203": 1, "E204": 1, "E207": 1}


@pytest.mark.parametrize(
    ("member", "given", "right"),
    [
        ("id", 7, "7"),
        ("object", "chat.completion.chunk", "chat.completion"),
        ("created", "1700000000", 1700000000),
        ("created", 1700000000123, 1700000000),
        ("created", 1700000000.5, 1700000000),
        ("model", "", "m"),
    ],
)
def test_the_envelope(member: str, given: Any, right: Any) -> None:
    got, outcome = repaired(answer(**{member: given}))
    assert got[member] == right
    assert len(outcome.codes) == 1


def test_what_options_leave_out() -> None:
    value = answer(usage=USAGE, provider="P")
    value["choices"][0]["seed"] = 1
    got = repaired(value, extras="drop", usage="drop")[0]
    assert not {"usage", "provider"} & set(got)
    assert "seed" not in got["choices"][0]
    assert repaired(answer({}, "eos"), ignore=("S503", "B809"))[0] == answer({}, "eos")


# --- choices --------------------


def test_choices_that_are_no_list_of_objects() -> None:
    one = answer()["choices"][0]
    assert len(repaired(answer() | {"choices": one})[0]["choices"]) == 1
    got = repaired(answer() | {"choices": [None, "Hi", one]})[0]
    assert [one["message"]["content"] for one in got["choices"]] == ["Hi", "Hi"]


def test_an_index_is_kept_and_a_missing_one_is_made() -> None:
    value = answer()
    one = value["choices"][0]
    indexes: list[Any] = [None, "5", 3, 2, [], -1, 2, "2"]
    value["choices"] = [{**one, "index": index} for index in indexes]
    got = repaired(value, {**PLAIN, "n": 8})[0]
    assert [one["index"] for one in got["choices"]] == [0, 5, 3, 2, 4, 1, 2, 7]
    streamed = normalize(json.dumps(value).encode(), {**PLAIN, "stream": True, "n": 8})
    assert [streamed.said(index=index) for index in range(8)] == ["Hi"] * 8


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"text": "Hi"}, "Hi"),
        ({"delta": {"content": "Hi"}}, "Hi"),
        ({"message": "Hi"}, "Hi"),
        ({"messages": [{"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}]}, "Hi"),
        ({"message": None}, None),
        ({"message": {"role": "assistant"}}, None),
    ],
)
def test_a_choice_without_a_message_gets_one(members: dict[str, Any], said: Any) -> None:
    value = answer()
    value["choices"] = [{"index": 0, **members, "finish_reason": "length"}]
    got, outcome = repaired(value)
    assert outcome.codes == {"B809"}
    message = got["choices"][0]["message"]
    assert (message["role"], message["content"]) == ("assistant", said)
    for key in members.keys() - {"message"}:
        assert got["choices"][0][key] == members[key]


# --- texts --------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([{"type": "text", "text": "Hi "}, {"type": "text", "text": "you"}], "Hi you"),
        ({"type": "text", "text": "Hi"}, "Hi"),
        ([], ""),
        (7, "7"),
    ],
)
def test_content_becomes_text(content: Any, said: str) -> None:
    assert choice_of(answer({"content": content}))["message"]["content"] == said


def test_blocks_that_are_no_text_stay_beside_it() -> None:
    image = {"type": "image", "url": "u"}
    blocks = [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Hi"}, image]
    message = choice_of(answer({"content": blocks, "content_blocks": [1]}))["message"]
    assert message["content"] == "Hi"
    assert message["content_blocks"] == [1, image]
    assert message["reasoning_content"] == "Hm"
    kept = choice_of(answer({"content": blocks}), reasoning="keep")["message"]
    assert kept["reasoning_content"] == "Hm"


def test_a_pair_of_surrogates_in_two_blocks_is_one_character() -> None:
    halves = [{"type": "text", "text": "\\ud83d"}, {"type": "text", "text": "\\ude00"}]
    body = json.dumps(answer({"content": halves})).replace("\\\\u", "\\u").encode()
    assert choice_of(body)["message"]["content"] == "\U0001f600"


REASONING = [
    ({"reasoning": "Hm"}, {"reasoning_content": "Hm"}),
    ({"thinking": "Hm", "x": 1}, {"reasoning_content": "Hm", "x": 1}),
    ({"reasoning_content": None, "reasoning": "Hm"}, {"reasoning_content": "Hm"}),
    ({"reasoning": "", "reasoning_content": "Hm"}, {"reasoning": "", "reasoning_content": "Hm"}),
    ({"reasoning": "Hm", "reasoning_content": "Hm"}, {"reasoning_content": "Hm"}),
    ({"thought": "Hm"}, {"thought": "Hm", "reasoning_content": "Hm"}),
    (
        {"reasoning": {"summary": [{"text": "H"}, {"text": "m"}]}},
        {"reasoning": {"summary": [{"text": "H"}, {"text": "m"}]}, "reasoning_content": "Hm"},
    ),
    (
        {"thinking_blocks": [{"thinking": "Hm", "signature": "s"}]},
        {
            "thinking_blocks": [{"thinking": "Hm", "signature": "s"}],
            "reasoning_content": "Hm",
        },
    ),
    ({"reasoning": "A", "thinking": "other"}, {"reasoning": "A", "reasoning_content": "other"}),
]


@pytest.mark.parametrize(("given", "right"), REASONING)
def test_reasoning_goes_by_one_name(given: dict[str, Any], right: dict[str, Any]) -> None:
    message = choice_of(answer({"content": "Hi", **given}))["message"]
    assert message == {"role": "assistant", "content": "Hi", **right}
    assert [key for key in message if key in given] == [key for key in given if key in message]


@pytest.mark.parametrize(
    ("policy", "names"),
    [("reasoning", {"reasoning"}), ("both", {"reasoning", "reasoning_content"})],
)
def test_the_name_of_reasoning_is_chosen(policy: Any, names: set[str]) -> None:
    message = choice_of(answer({"content": "Hi", "thinking": "Hm"}), reasoning=policy)["message"]
    assert {key for key, value in message.items() if value == "Hm"} == names
    given = {"content": "Hi", "thinking": "Hm"}
    assert choice_of(answer(given), reasoning="keep")["message"]["thinking"] == "Hm"


def test_markup_is_read_beside_reasoning_and_calls_that_are_there() -> None:
    said = '<think>b</think>Hi<tool_call>{"name": "look", "arguments": {"q": 2}}</tool_call>'
    value = answer({"content": said, "reasoning": "a", "tool_calls": [CALL]}, "tool_calls")
    options: dict[str, Any] = {"think_tags": True, "text_tool_calls": ("hermes",)}
    message = choice_of(value, TOOLS, **options)["message"]
    assert message["content"] == "Hi"
    assert (message["reasoning_content"], "reasoning" in message) == ("ab", False)
    arguments = [json.loads(call["function"]["arguments"]) for call in message["tool_calls"]]
    assert sorted(one["q"] for one in arguments) == [1, 2]


# --- calls --------------------


def calls_of(*calls: Any, request: dict[str, Any] = TOOLS, finish: Any = "tool_calls") -> Any:
    message = {"content": None, "tool_calls": list(calls)}
    return choice_of(answer(message, finish), request)["message"].get("tool_calls")


@pytest.mark.parametrize(
    "call",
    [
        {**CALL, "function": {"name": "look", "arguments": {"q": 1}}},
        {**CALL, "function": {"name": "look", "parameters": {"q": 1}}},
        {**CALL, "function": {**FUNCTION, "arguments": None, "parameters": '{"q":1}'}},
        {"id": "a", "name": "look", "arguments": '{"q":1}'},
        {"id": "a", "function": "look", "arguments": {"q": 1}},
        {"function": {**FUNCTION, "id": "a"}},
        {**CALL, "type": None},
        {**CALL, "function": {**FUNCTION, "name": "look<|channel|>commentary"}},
        {**CALL, "function": {**FUNCTION, "name": "functions.look"}},
        {**CALL, "function": {**FUNCTION, "name": "commentary to=functions.look"}},
    ],
)
def test_a_call_gets_the_api_s_form(call: dict[str, Any]) -> None:
    (got,) = calls_of(call)
    assert (got["id"], got["type"], got["function"]) == ("a", "function", FUNCTION)
    assert set(got) == {"id", "type", "function"}


def test_a_name_of_no_tool_stays() -> None:
    other = {**CALL, "function": {**FUNCTION, "name": "functions.other"}}
    assert calls_of(other) == [other]
    assert calls_of(other, request=PLAIN) == [other]


@pytest.mark.parametrize("ident", [None, "", " ", "null", [], {}])
def test_a_call_without_a_usable_id_gets_one(ident: Any) -> None:
    (got,) = calls_of({**CALL, "id": ident})
    assert re.fullmatch(r"call_[0-9a-f]{24}", got["id"])
    assert calls_of({**CALL, "id": 7})[0]["id"] == "7"


def test_each_element_is_a_call_and_has_an_id_of_its_own() -> None:
    other = {**CALL, "function": {"name": "look", "arguments": '{"q":2}'}}
    one, two = calls_of(CALL, other)
    assert (one, two["function"]) == (CALL, other["function"])
    assert two["id"] not in ("", "a")


@pytest.mark.parametrize("arguments", [None, "", " "])
@pytest.mark.parametrize("finish", ["tool_calls", "length", "content_filter"])
def test_arguments_are_filled_in_only_where_none_can_be_lost(arguments: Any, finish: str) -> None:
    call = {**CALL, "function": {"name": "look", "arguments": arguments}}
    (got,) = calls_of(call, finish=finish)
    expected = "{}" if finish == "tool_calls" else (arguments or "")
    assert got["function"]["arguments"] == expected


def test_what_has_no_name_is_no_call() -> None:
    nameless = {"id": "b", "type": "function", "function": {"arguments": "{}"}}
    message = {"content": None, "tool_calls": [nameless, {**CALL, "function": {"name": "look"}}]}
    choice = choice_of(answer(message, "tool_calls"), TOOLS)
    assert choice["nameless_tool_calls"] == [nameless]
    (call,) = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "look", "arguments": ""}  # nothing is made up for it
    choice = choice_of(answer({"content": None, "tool_calls": [nameless]}, "tool_calls"), TOOLS)
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("given", "calls", "aside"),
    [
        (CALL, [CALL], None),
        (json.dumps([CALL]), [CALL], None),
        ([CALL, "x", None], [CALL], ["x"]),
        ("x", None, ["x"]),
    ],
)
def test_calls_that_are_no_list(given: Any, calls: Any, aside: Any) -> None:
    choice = choice_of(answer({"content": None, "tool_calls": given}, "tool_calls"), TOOLS)
    assert choice["message"].get("tool_calls") == calls
    assert choice.get("nameless_tool_calls") == aside


def test_a_custom_call_keeps_its_kind() -> None:
    call = {"id": "a", "type": "custom", "custom": {"name": "look", "input": "x"}}
    assert calls_of(call) == [call]
    assert calls_of({**call, "type": None}) == [call]


@pytest.mark.parametrize("named", ["look", "", None])
@pytest.mark.parametrize(
    ("request_body", "kind"),
    [(TOOLS, "tool_calls"), (PLAIN, "tool_calls"), (FUNCTIONS, "function_call")],
)
@pytest.mark.parametrize("finish", ["tool_calls", "function_call", "stop"])
def test_a_call_under_both_names_is_one(
    named: Any, request_body: dict[str, Any], kind: str, finish: str
) -> None:
    """llama-cpp-python sends both, always; the name in the second one may be empty."""
    message = {"content": None, "tool_calls": [CALL], "function_call": {**FUNCTION, "name": named}}
    choice = choice_of(answer(message, finish), request_body)
    said = {"tool_calls": [CALL], "function_call": FUNCTION}
    assert choice["message"] == {"role": "assistant", "content": None, kind: said[kind]}
    assert choice["finish_reason"] == kind


def test_another_call_beside_it_is_not_lost() -> None:
    other = {"name": "other", "arguments": "{}"}
    message = {"content": None, "tool_calls": [CALL], "function_call": other}
    one, two = choice_of(answer(message, "tool_calls"), TOOLS)["message"]["tool_calls"]
    assert (one, two["function"]) == (CALL, other)


def test_a_call_leaves_as_what_the_request_used() -> None:
    legacy = choice_of(answer({"content": None, "function_call": FUNCTION}, "stop"), TOOLS)
    assert [call["function"] for call in legacy["message"]["tool_calls"]] == [FUNCTION]
    assert (legacy["finish_reason"], "function_call" in legacy["message"]) == ("tool_calls", False)
    modern = choice_of(answer({"content": None, "tool_calls": [CALL]}, "stop"), FUNCTIONS)
    assert modern["message"]["function_call"] == FUNCTION
    assert (modern["finish_reason"], "tool_calls" in modern["message"]) == ("function_call", False)
    neither = choice_of(answer({"content": None, "function_call": FUNCTION}, "stop"))
    assert neither["message"]["function_call"] == FUNCTION
    assert neither["finish_reason"] == "function_call"


# --- the finish --------------------


@pytest.mark.parametrize(
    ("members", "finish"),
    [
        ({"finish_reason": "eos"}, "stop"),
        ({"finish_reason": "token_limit"}, "length"),
        ({"finish_reason": {"type": "length"}}, "length"),
        ({"finish_reason": "refusal"}, "content_filter"),
        ({"finish_reason": "tool_calls"}, "stop"),
        ({"finish_reason": None}, "stop"),
        ({"finish_reason": "null"}, "stop"),
        ({}, "stop"),
        ({"finish_reason": None, "finishReason": "length"}, "length"),
        ({"finishReason": "MAX_TOKENS"}, "length"),
        ({"message": {"content": "Hi", "role": "assistant", "finish_reason": "length"}}, "length"),
    ],
)
def test_the_finish(members: dict[str, Any], finish: str) -> None:
    value = answer()
    del value["choices"][0]["finish_reason"]
    value["choices"][0] |= members
    choice = choice_of(value)
    assert choice["finish_reason"] == finish
    word = members.get("finish_reason", members.get("finishReason"))
    if word not in (None, "null", "tool_calls", "length"):
        assert choice["native_finish_reason"] == word


FORCED = {**TOOLS, "tool_choice": LOOK}
OTHER = {**PLAIN, "tools": [{"type": "function", "function": {"name": "other"}}]}
SEEN = {**PLAIN, "messages": []}


@pytest.mark.parametrize(
    ("request_body", "given", "finish"),
    [
        (TOOLS, "stop", "tool_calls"),
        (TOOLS, "eos", "tool_calls"),
        (TOOLS, None, "tool_calls"),
        (PLAIN, "stop", "tool_calls"),
        (FORCED, "stop", "stop"),
        (OTHER, "stop", "stop"),
        (SEEN, "stop", "stop"),
        (TOOLS, "length", "length"),
        (TOOLS, "content_filter", "content_filter"),
        (TOOLS, "function_call", "tool_calls"),
        (OTHER, "tool_calls", "tool_calls"),
    ],
)
def test_the_finish_behind_a_call(request_body: Any, given: Any, finish: str) -> None:
    value = answer({"content": None, "tool_calls": [CALL]}, given)
    assert choice_of(value, request_body)["finish_reason"] == finish


@pytest.mark.parametrize(
    ("results", "finish"),
    [
        ([{"role": "tool", "tool_call_id": "a", "content": "x"}], "stop"),
        ([{"role": "tool", "content": "x"}], "stop"),
        ([{"role": "tool", "tool_call_id": "b", "content": "x"}], "tool_calls"),
        ([], "tool_calls"),
    ],
)
def test_calls_that_the_server_answered_are_not_run_again(results: Any, finish: str) -> None:
    message = {"content": "Found.", "tool_calls": [CALL], "tool_results": results}
    assert choice_of(answer(message, "stop"), TOOLS)["finish_reason"] == finish
    streamed = normalize(json.dumps(answer(message)).encode(), {**TOOLS, "stream": True})
    said = [one for delta in streamed.deltas for one in delta.get("tool_results", [])]
    assert [one["content"] for one in said] == [one["content"] for one in results]


def test_a_word_of_failure_is_an_error_with_the_message_on_it() -> None:
    value = answer({"content": "half"}, "server_error", usage=USAGE)
    got, outcome = repaired(value)
    assert outcome.normalizer.status == 502
    assert (got["error"]["type"], got["error"]["code"]) == ("upstream_error", "server_error")
    assert got["choices"][0]["message"]["content"] == "half"
    assert outcome.codes == {"B805", "X711"}


@pytest.mark.parametrize("finish", [None, "stop", "error"])
def test_an_error_in_a_choice_is_the_error(finish: Any) -> None:
    value = answer({"content": "half"}, finish)
    value["choices"][0]["error"] = {"code": 429, "message": "boom"}
    got, outcome = repaired(value)
    assert (got["error"]["message"], got["error"]["code"]) == ("boom", 429)
    assert outcome.normalizer.status == 429
    streamed = normalize(json.dumps(value).encode(), {**PLAIN, "stream": True})
    assert (streamed.said(), streamed.error["message"]) == ("half", "boom")
    assert streamed.finish() is None


# --- usage --------------------


@pytest.mark.parametrize(
    ("usage", "right"),
    [
        ({"completion_tokens": 3}, None),
        ({**USAGE, "prompt_tokens_details": None, "x": None}, None),
        ({"prompt_tokens": 3, "completion_tokens": 4}, USAGE),
        (
            {"input_tokens": 3, "output_tokens": 4},
            {"input_tokens": 3, "output_tokens": 4, **USAGE},
        ),
        ([USAGE], USAGE),
    ],
)
def test_usage(usage: Any, right: Any) -> None:
    got, outcome = repaired(answer(usage=usage))
    assert got["usage"] == (right or usage)
    assert outcome.codes == ({"U608"} if right else set())
    assert outcome.report.usage == got["usage"]


def test_usage_that_stands_elsewhere_is_copied() -> None:
    value = answer(x_groq={"usage": USAGE}, usage=None)
    assert repaired(value)[0]["usage"] == USAGE
    value = answer()
    value["choices"][0]["usage"] = USAGE
    got = repaired(value)[0]
    assert got["usage"] == got["choices"][0]["usage"] == USAGE


# --- other bodies --------------------


@pytest.mark.parametrize("name", ["data", "final_result", "result", "response", "body"])
@pytest.mark.parametrize("as_text", [False, True])
def test_an_answer_in_an_envelope_is_taken_out(name: str, as_text: bool) -> None:
    inner: Any = json.dumps(answer()) if as_text else answer()
    got, outcome = repaired({"id": "r", name: inner, "success": True})
    assert got == {**answer(), "success": True, "envelope": {"id": "r"}}
    assert outcome.codes == {"B808"}
    streamed = normalize(json.dumps({name: inner}).encode(), {**PLAIN, "stream": True})
    assert (streamed.said(), streamed.finish()) == ("Hi", "stop")


def test_an_answer_in_a_json_string_is_taken_out() -> None:
    assert repaired(json.dumps(answer()))[0] == answer()


@pytest.mark.parametrize("value", [{"data": {"x": 1}}, {"data": "text"}, "text", [1], {"a": 1}])
def test_what_is_no_answer_passes(value: Any) -> None:
    body = json.dumps(value).encode()
    assert normalize(body, PLAIN).out == body


def test_json_that_is_not_strict_is_written_anew() -> None:
    value = answer()
    value["choices"][0]["logprobs"] = {"content": [{"token": "Hi", "logprob": float("nan")}]}
    got, outcome = repaired(value)
    assert got["choices"][0]["logprobs"]["content"][0]["logprob"] == -9999.0
    assert outcome.codes == {"B807"}


def test_a_legacy_completion() -> None:
    choice = {"index": 0, "text": "Hi", "logprobs": None, "finish_reason": "stop"}
    value = {**answer(), "object": "text_completion", "choices": [choice]}
    got, outcome = repaired(value, PLAIN, COMPLETIONS)
    assert (got, outcome.codes) == (value, set())
    value["choices"] = [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "eos"}]
    got = repaired(value, PLAIN, COMPLETIONS)[0]
    assert (got["choices"][0]["text"], got["choices"][0]["finish_reason"]) == ("Hi", "stop")
    value["choices"] = [{"index": 0, "text": None, "finish_reason": "stop"}]
    assert repaired(value, PLAIN, COMPLETIONS)[0]["choices"][0]["text"] == ""


def test_the_report_of_a_whole_answer() -> None:
    report = repaired(answer({"content": "Hi", "reasoning": "why"}, usage=USAGE))[1].report
    assert (report.id, report.model, report.end) == ("c", "m", "done")
    assert report.characters_out == report.characters_in == {"content": 2, "reasoning": 3}
    assert (report.finish, report.usage) == ({0: "stop"}, USAGE)
    assert (report.events_in, report.events_out) == (1, 1)


def test_text_in_front_of_an_error_is_not_counted_as_gone_out() -> None:
    """With `stream: false` the error is all that leaves."""
    body = raw(*text("Hi"), event({"error": {"message": "boom"}}), done=False)
    report = normalize(body, PLAIN).report
    assert (report.characters_in, report.characters_out) == ({"content": 2}, {})
    assert report.finish == {}


# --- as a stream, and back --------------------


def test_what_chunks_repeat_is_bounded_and_nothing_is_lost() -> None:
    members = {f"k{number}": "v" * 100 for number in range(100)}
    value = answer({"content": "x" * 100_000}, **members) | {"id": "i" * 3000}
    outcome = normalize(json.dumps(value).encode(), {**PLAIN, "stream": True})
    assert outcome.said() == "x" * 100_000
    assert {key for one in outcome.chunks for key in one} >= members.keys()
    assert {one["id"] for one in outcome.chunks} == {"i" * 3000}
    assert max(len(json.dumps(one)) for one in outcome.chunks[1:]) < 11_000


def test_two_calls_with_one_id_are_two_in_a_stream() -> None:
    other = {**CALL, "function": {"name": "look", "arguments": '{"q":2}'}}
    value = answer({"content": None, "tool_calls": [CALL, other]}, "tool_calls")
    request = {**TOOLS, "stream": True}
    for ignored in ((), ("T407",)):
        outcome = normalize(json.dumps(value).encode(), request, ignore=ignored)
        assert [arguments for _, _, arguments in outcome.calls] == ['{"q":1}', '{"q":2}']


def test_of_two_calls_the_first_is_the_function_call_that_was_asked_for() -> None:
    other = {"id": "b", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    value = answer({"content": None, "tool_calls": [CALL, other]}, "tool_calls")
    outcome = normalize(json.dumps(value).encode(), {**FUNCTIONS, "stream": True})
    said = [delta["function_call"] for delta in outcome.deltas if "function_call" in delta]
    assert "".join(one.get("arguments", "") for one in said) == '{"q":1}'
    fragments = [one for delta in outcome.deltas for one in delta.get("tool_calls", [])]
    assert "".join(one["function"]["arguments"] for one in fragments) == "{}"


def test_text_beside_an_error_is_streamed_before_it() -> None:
    value = answer({"content": "half"}, "stop", error={"code": 429, "message": "boom"})
    outcome = normalize(json.dumps(value).encode(), {**PLAIN, "stream": True})
    assert (outcome.said(), outcome.finish(), outcome.error["message"]) == ("half", None, "boom")


def test_a_call_under_both_names_is_one_in_a_stream() -> None:
    value = answer({"content": None, "tool_calls": [CALL], "function_call": FUNCTION}, "tool_calls")
    outcome = normalize(json.dumps(value).encode(), {**TOOLS, "stream": True})
    assert outcome.calls == [("a", "look", '{"q":1}')]
    assert b"function_call" not in outcome.out


def test_a_stream_is_gathered_and_streamed_again() -> None:
    value = answer(
        {"content": "Hi", "refusal": None, "reasoning_content": "Hm", "tool_calls": [CALL]},
        "tool_calls",
        usage=USAGE,
        provider="P",
    )
    streamed = normalize(json.dumps(value).encode(), {**TOOLS, "stream": True})
    assert streamed.out.endswith(DONE)
    assert repaired(streamed.out, TOOLS)[0] == value


def test_a_stream_of_many_pieces_is_gathered_in_order() -> None:
    deep: Any = {"a": "x"}
    for _ in range(300):
        deep = {"a": deep, "n": "y", "l": [1]}
    one = chunk({"content": "ab", "deep": deep})
    (choice,) = repaired(raw(chunk({"role": "assistant"}), *[one] * 50, chunk({}, "stop")))[0][
        "choices"
    ]
    message = choice["message"]
    assert message["content"] == "ab" * 50
    assert message["deep"]["n"] == "y" * 50
    assert message["deep"]["l"] == [1] * 50
    assert message["refusal"] is None


# --- anything --------------------


def bodies() -> Iterator[Any]:
    judge = loaded("conform.py")
    yield from judge.bodies(beside("conform.py").parent)


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("conform_for_bodies", beside(name))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_recorded_answer_leaves_as_it_came_the_second_time() -> None:
    count = 0
    for case in bodies():
        count += 1
        request = {**case.request, "stream": False}
        once = normalize(case.raw, request, case.path).out
        assert normalize(once, request, case.path).out == once
    assert count > 50


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 2)
    | st.floats()
    | st.sampled_from(["", "stop", "length", "null", "look", "error", "\ud83d", '{"q":1}', "[]"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("index", "message", "delta", "text", "finish_reason", "logprobs", "error"),
                    *("role", "content", "tool_calls", "function_call", "reasoning", "id", "type"),
                    *("function", "custom", "name", "arguments", "parameters", "input", "usage"),
                    *("reasoning_details", "messages", "choices", "data", "x_groq", "code"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


SWITCHES = [one.code for one in DEVIATIONS if not one.structural]


@given(choices=VALUES | st.lists(st.dictionaries(st.sampled_from(["message"]), VALUES)))
def test_with_all_repairs_off_an_answer_leaves_as_it_came(choices: Any) -> None:
    body = json.dumps({"choices": choices}).encode()
    outcome = normalize(body, PLAIN, ignore=tuple(SWITCHES))
    assert outcome.out == body or outcome.codes
    assert not set(outcome.codes) & set(SWITCHES)


@given(
    choices=VALUES | st.lists(st.dictionaries(st.sampled_from(["message"]), VALUES), max_size=2),
    members=st.dictionaries(st.sampled_from(["id", "created", "usage", "error", "data"]), VALUES),
    request_body=st.sampled_from([PLAIN, TOOLS, FUNCTIONS, {**TOOLS, "stream": True}]),
    path=st.sampled_from([CHAT, COMPLETIONS]),
    markup=st.booleans(),
    ignored=st.just([]) | st.lists(st.sampled_from(SWITCHES), unique=True),
)
def test_no_answer_raises(
    choices: Any,
    members: dict[str, Any],
    request_body: Any,
    path: str,
    markup: bool,
    ignored: list[str],
) -> None:
    body = json.dumps({**members, "choices": choices}).encode()
    options: dict[str, Any] = {"think_tags": markup, "text_tool_calls": ("hermes",) * markup}
    options["ignore"] = tuple(ignored)
    outcome = normalize(body, request_body, path, **options)
    assert b"normalizer_error" not in outcome.out
    for line in outcome.out.split(b"\n\n"):
        if line and line != b"data: [DONE]":
            json.loads(
                line.removeprefix(b"data: "), parse_constant=None if ignored else pytest.fail
            )
