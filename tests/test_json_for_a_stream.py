"""One JSON completion in answer to `stream: true`: all that it says is streamed, in order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.streams import (
    COMPLETIONS,
    DONE,
    ENVELOPE,
    STREAM,
    USAGE,
    WITH_USAGE,
    Outcome,
    normalize,
)

LONG = "0123456789" * 1000
TOOLS = {**STREAM, "tools": [{"type": "function", "function": {"name": "look"}}]}


def streamed(*choices: dict[str, Any], request: Any = STREAM, **members: Any) -> Outcome:
    body = {**ENVELOPE, "object": "chat.completion", "choices": list(choices), **members}
    outcome = normalize(json.dumps(body).encode(), request)
    assert outcome.out.endswith(DONE)
    assert all(one["object"] == "chat.completion.chunk" for one in outcome.chunks)
    assert "B801" in outcome.codes
    return outcome


def choice(index: int = 0, finish: Any = "stop", **members: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Hi", **members.pop("message", {})}
    return {"index": index, "message": message, "finish_reason": finish, **members}


def test_the_parts_come_in_the_order_of_a_stream() -> None:
    function = {"name": "look", "arguments": '{"q":1}'}
    message = {
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        "refusal": "No.",
        "annotations": [{"index": 0, "type": "url_citation"}],
        "reasoning": "why",
        "audio": {"id": "a"},
    }
    outcome = streamed(choice(message=message, finish="tool_calls"), request=TOOLS)
    parts = ["reasoning_content", "annotations", "audio", "content", "refusal", "tool_calls"]
    said = [key for delta in outcome.deltas for key, value in delta.items() if value]
    assert list(dict.fromkeys(key for key in said if key != "role")) == parts
    assert outcome.deltas[0]["role"] == "assistant"
    assert (outcome.said(), outcome.said("refusal")) == ("Hi", "No.")
    assert outcome.calls == [("call_1", "look", '{"q":1}')]
    assert outcome.finish() == "tool_calls"


@pytest.mark.parametrize(
    "name", ["content", "refusal", "reasoning_content", "reasoning", "arguments"]
)
def test_long_texts_are_cut_in_deltas_and_none_is_lost(name: str) -> None:
    message: dict[str, Any] = {name: LONG}
    if name == "arguments":
        arguments = json.dumps({"q": LONG})
        function = {"name": "look", "arguments": arguments}
        message = {"tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
    outcome = streamed(choice(message={"content": None, **message}), request=TOOLS)
    if name == "arguments":
        assert outcome.calls == [("call_1", "look", arguments)]
    else:
        kind = "reasoning_content" if "reasoning" in name else name
        assert outcome.said(kind) == LONG
    assert max(len(json.dumps(one)) for one in outcome.chunks) < 5000


def test_logprobs_stay_with_the_whole_of_their_text() -> None:
    logprobs = {"content": [{"token": "0", "logprob": -0.1, "bytes": None, "top_logprobs": []}]}
    outcome = streamed(choice(message={"content": LONG}, logprobs=logprobs))
    (one,) = [c for c in outcome.chunks if c["choices"][0].get("logprobs")]
    assert one["choices"][0]["logprobs"] == logprobs
    assert one["choices"][0]["delta"]["content"] == LONG


def test_logprobs_without_a_text_are_not_lost() -> None:
    logprobs = {"content": [], "refusal": [{"token": "N", "logprob": -0.1}]}
    outcome = streamed(choice(message={"content": None, "refusal": "No."}, logprobs=logprobs))
    assert [c["choices"][0].get("logprobs") for c in outcome.chunks].count(logprobs) == 1


@pytest.mark.parametrize("finish", ["length", None])
def test_what_a_choice_has_beside_its_message_is_not_lost(finish: Any) -> None:
    outcome = streamed(
        choice(finish=finish, stop_reason=7, seed=3, content_filter_results={"a": 1})
    )
    for member, value in (("stop_reason", 7), ("seed", 3), ("content_filter_results", {"a": 1})):
        found = [c["choices"][0][member] for c in outcome.chunks if c["choices"][0].get(member)]
        assert found == [value]


def test_scalars_beside_the_choices_are_on_all_chunks_and_others_on_one() -> None:
    """A client that reads `chunk.provider` on each chunk finds it on each."""
    members = {"provider": "P", "tier": None, "citations": ["c"], "prompt": "p" * 5000}
    outcome = streamed(choice(), choice(1), request={**WITH_USAGE, "n": 2}, usage=USAGE, **members)
    assert [(one["provider"], one["tier"]) for one in outcome.chunks] == [("P", None)] * 7
    assert [one["citations"] for one in outcome.chunks if "citations" in one] == [["c"]]
    assert [one["prompt"] for one in outcome.chunks if "prompt" in one] == ["p" * 5000]
    assert [outcome.said(index=i) for i in (0, 1)] == ["Hi", "Hi"]
    assert [outcome.finish(i) for i in (0, 1)] == ["stop", "stop"]


@pytest.mark.parametrize("request_body", [STREAM, WITH_USAGE])
def test_the_usage_comes_last_and_once(request_body: Any) -> None:
    request = {**request_body, "n": 2}
    outcome = streamed(choice(), choice(1), request=request, usage=USAGE)
    usages = [one["usage"] for one in outcome.chunks if one.get("usage")]
    assert usages == [USAGE]
    assert outcome.chunks[-1]["usage"] == USAGE
    assert bool(outcome.chunks[-1]["choices"]) == (request_body is STREAM)


def test_content_blocks_and_details_of_reasoning() -> None:
    blocks = [{"type": "text", "text": "Hi "}, {"type": "text", "text": "there"}]
    details = [{"type": "reasoning.text", "text": "why", "index": 0}]
    message = {"content": blocks, "reasoning": "why", "reasoning_details": details}
    outcome = streamed(choice(message=message))
    assert outcome.said() == "Hi there"
    assert outcome.said("reasoning_content") == "why"
    assert [d["reasoning_details"] for d in outcome.deltas if "reasoning_details" in d] == [details]


def test_mirrored_reasoning_is_said_once() -> None:
    outcome = streamed(choice(message={"reasoning": LONG, "reasoning_content": LONG}))
    assert outcome.said("reasoning_content") == LONG


@pytest.mark.parametrize("where", ["message", "delta", "text"])
def test_a_choice_says_its_answer_in_another_place(where: str) -> None:
    said: dict[str, Any] = {"content": "Hi"}
    one = {"index": 0, where: "Hi" if where == "text" else said, "finish_reason": "length"}
    outcome = streamed(one)
    assert (outcome.said(), outcome.finish()) == ("Hi", "length")
    assert outcome.deltas[0]["role"] == "assistant"


def test_arguments_that_are_an_object_and_a_legacy_call() -> None:
    function = {"name": "look", "arguments": {"q": 1}}
    message: dict[str, Any] = {
        "content": None,
        "tool_calls": [{"id": "call_1", "function": function}],
    }
    outcome = streamed(choice(message=message, finish="tool_calls"), request=TOOLS)
    (one,) = outcome.calls
    assert (one[:2], json.loads(one[2])) == (("call_1", "look"), {"q": 1})
    old = {"name": "look", "arguments": '{"q":1}'}
    request = {**STREAM, "functions": [{"name": "look"}]}
    message = {"content": None, "function_call": old}
    outcome = streamed(choice(message=message, finish="function_call"), request=request)
    said = [delta["function_call"] for delta in outcome.deltas if "function_call" in delta]
    joined = {key: "".join(one.get(key, "") for one in said) for key in old}
    assert (joined, outcome.finish()) == (old, "function_call")


@pytest.mark.parametrize("where", ["text", "message"])
def test_a_legacy_completion(where: str) -> None:
    said = "Hi" if where == "text" else {"role": "assistant", "content": "Hi"}
    one = {"index": 0, where: said, "logprobs": None, "finish_reason": "length"}
    body = {**ENVELOPE, "object": "text_completion", "choices": [one], "usage": USAGE}
    outcome = normalize(json.dumps(body).encode(), path=COMPLETIONS)
    assert "".join(c["choices"][0]["text"] for c in outcome.chunks) == "Hi"
    assert outcome.chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert [c["usage"] for c in outcome.chunks if c.get("usage")] == [USAGE]
    assert all(one["object"] == "text_completion" for one in outcome.chunks)
