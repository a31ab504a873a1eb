"""Role, text and reasoning: each said once, in order, and by its one name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from normalizer.wires.chat.content import Content
from normalizer.wires.chat.sent import Sent
from tests.streams import DONE, ENVELOPE, STREAM, chunk, event, normalize, raw, text
from tests.wires.chat.parts import codes, finder, part

STOP = chunk({}, "stop")


def test_the_role_is_said_once() -> None:
    parts = [chunk({"role": "assistant", "content": word}) for word in ("a", "b")]
    deltas = normalize(raw(*parts, STOP)).deltas
    assert deltas == [{"role": "assistant", "content": "a"}, {"content": "b"}, {}]


@pytest.mark.parametrize("role", [None, "", "user"])
def test_the_first_delta_says_the_role(role: Any) -> None:
    first = chunk({"role": role, "content": "a"} if role is not None else {"content": "a"})
    assert normalize(raw(first, STOP)).deltas[0] == {"role": "assistant", "content": "a"}


def test_a_first_delta_that_says_nothing_is_the_role_s() -> None:
    assert normalize(raw(chunk({}), STOP)).deltas[0] == {"role": "assistant", "content": ""}


def test_nulls_of_a_first_delta_are_legal() -> None:
    first = chunk({"role": "assistant", "content": None, "refusal": None})
    body = raw(first, chunk({"content": "Hi"}), STOP)
    assert normalize(body).out == body


def test_what_says_nothing_is_left_out_of_later_deltas() -> None:
    noise: dict[str, Any] = {
        "role": None,
        "content": "b",
        "tool_calls": [],
        "refusal": "",
        "annotations": [],
    }
    # what the API does not declare is somebody's, who may read it
    left = {"content": "b", "annotations": []}
    assert normalize(raw(*text(), chunk(noise), STOP)).deltas[1] == left


@pytest.mark.parametrize("delta", [{}, {"content": ""}, {"content": None, "role": None}, None])
def test_a_later_chunk_that_says_nothing_is_not_sent(delta: Any) -> None:
    body = raw(*text("a"), chunk(delta), STOP)
    assert normalize(body).out == raw(*text("a"), STOP)


def test_a_chunk_with_news_is_sent_though_its_delta_is_empty() -> None:
    news = [chunk({"content": ""}, timings={"ms": 1}), chunk({})]
    news[1]["choices"][0]["logprobs"] = {"content": [{"token": "a"}]}
    body = raw(*text("a"), *news, STOP)
    assert normalize(body).out == body


def test_a_delta_that_is_missing_is_empty() -> None:
    """Azure's asynchronous filter."""
    one = chunk({})
    del one["choices"][0]["delta"]
    one["choices"][0]["content_filter_offsets"] = {"check_offset": 3}
    last = normalize(raw(*text("a"), one, STOP)).chunks[-2]["choices"][0]
    assert (last["delta"], last["content_filter_offsets"]) == ({}, {"check_offset": 3})


# --- blocks --------------------


def test_blocks_become_text_and_reasoning() -> None:
    blocks = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "m."}]},
        {"type": "text", "text": "Four"},
        {"type": "reference", "reference_ids": [1]},
    ]
    outcome = normalize(raw(*text(), chunk({"content": blocks}), STOP))
    assert (outcome.said("reasoning_content"), outcome.said()) == ("Hmm.", "Four")
    assert outcome.deltas[1]["content_blocks"] == [
        {"type": "reference", "reference_ids": [1], "index": 0}
    ]


def test_signatures_of_blocks_are_kept() -> None:
    block = {"type": "thinking", "thinking": "Hm", "signature": "abc"}
    delta = normalize(raw(*text(), chunk({"content": [block]}), STOP)).deltas[1]
    assert delta["reasoning_content"] == "Hm"
    assert delta["content_blocks"] == [{"type": "thinking", "signature": "abc", "index": 0}]


# --- message --------------------


def closing(content: str, **members: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {**ENVELOPE, "object": "chat.completion", "choices": [choice], **members}


def test_a_closing_message_is_not_said_again() -> None:
    """MiniMax's last frame is the whole answer, with the only real usage."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    outcome = normalize(raw(*text("Hello", " world"), closing("Hello world", usage=usage)))
    assert outcome.said() == "Hello world"
    assert outcome.chunks[-1]["usage"] == usage
    assert outcome.finish() == "stop"


def test_a_closing_message_is_used_as_far_as_it_was_not_said() -> None:
    assert normalize(raw(*text("Hello"), closing("Hello world"))).said() == "Hello world"


def test_a_message_that_says_everything_is_the_answer() -> None:
    assert normalize(raw(closing("Hello world"))).said() == "Hello world"


def test_a_message_that_begins_otherwise_is_reported_and_not_used() -> None:
    outcome = normalize(raw(*text("Hello"), closing("Good day")))
    assert outcome.said() == "Hello"
    assert "C309" in outcome.codes


@pytest.mark.parametrize("cumulative", [True, False])
def test_a_message_beside_each_delta(cumulative: bool) -> None:
    """Perplexity's is the whole text so far, Writer's the delta once more."""
    said, parts = "", []
    for word in ("Hel", "lo", " world"):
        said += word
        one = chunk({"content": word})
        one["choices"][0]["message"] = {"content": said if cumulative else word}
        parts.append(one)
    outcome = normalize(raw(*text(), *parts, STOP))
    assert outcome.said() == "Hello world"
    assert all("message" not in c["choices"][0] for c in outcome.chunks)


def test_calls_of_a_closing_message_are_used_once() -> None:
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    last = closing("")
    last["choices"][0]["message"]["tool_calls"] = calls
    assert normalize(raw(*text(), last)).calls == [("a", "f", "{}")]
    streamed = chunk({"tool_calls": [{"index": 0, **calls[0]}]})
    assert normalize(raw(*text(), streamed, last)).calls == [("a", "f", "{}")]


# --- surrogates --------------------


def split_pair(*parts: str) -> bytes:
    events = [event(one) for one in text()]
    for half in parts:
        template = event(chunk({"content": "@"})).decode()
        events.append(template.replace("@", half).encode())
    return b"".join(events) + event(STOP) + DONE


def test_a_pair_that_two_deltas_hold_is_one_character() -> None:
    outcome = normalize(split_pair(r"a\ud83d", r"\ude00b"))
    assert outcome.said() == "a😀b"
    assert "C310" in outcome.codes


@pytest.mark.parametrize("parts", [(r"a\ud83d", "b"), (r"a\ude00",), (r"a\ud83d",)])
def test_an_orphan_is_the_replacement_character(parts: tuple[str, ...]) -> None:
    outcome = normalize(split_pair(*parts))
    assert "\ufffd" in outcome.said()
    assert outcome.said().replace("\ufffd", "") == "".join(parts).replace("\\ud83d", "").replace(
        "\\ude00", ""
    )


def test_a_pair_in_arguments_is_joined_too() -> None:
    head = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    events = [event(chunk({"role": "assistant", "tool_calls": [head]}))]
    for half in (r"{\"a\":\"\ud83d", r"\ude00\"}"):
        one = event(chunk({"tool_calls": [{"index": 0, "function": {"arguments": "@"}}]}))
        events.append(one.replace(b"@", half.encode()))
    outcome = normalize(b"".join(events) + event(chunk({}, "tool_calls")) + DONE)
    assert json.loads(outcome.calls[0][2]) == {"a": "😀"}


def test_numbers_that_json_has_not() -> None:
    one = event(chunk({"content": "a"})).decode()
    logprobs = '"logprobs":{"content":[{"token":"a","logprob":-Infinity}]},"score":NaN'
    body = raw(*text(), one.replace('"index":0', '"index":0,' + logprobs).encode(), STOP)
    choice = normalize(body).chunks[1]["choices"][0]
    assert choice["logprobs"]["content"][0]["logprob"] == -9999.0
    assert choice["score"] is None


# --- reasoning --------------------

NAMES = ["reasoning_content", "reasoning", "thinking", "reasoning_text"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("policy", ["reasoning_content", "reasoning"])
def test_reasoning_by_one_name(name: str, policy: Any) -> None:
    outcome = normalize(raw(*text(), chunk({name: "Hm"}), STOP), reasoning=policy)
    assert outcome.deltas[1] == {policy: "Hm"}


def test_reasoning_by_both_names() -> None:
    outcome = normalize(raw(*text(), chunk({"reasoning": "Hm"}), STOP), reasoning="both")
    assert outcome.deltas[1] == {"reasoning_content": "Hm", "reasoning": "Hm"}


def test_reasoning_as_it_came() -> None:
    body = raw(*text(), chunk({"reasoning": "Hm"}), STOP)
    assert normalize(body, reasoning="keep").out == body


def test_mirrored_reasoning_is_said_once() -> None:
    details = [{"type": "reasoning.text", "text": "Hm", "index": 0, "signature": "s"}]
    delta = {"reasoning": "Hm", "reasoning_content": "Hm", "reasoning_details": details}
    got = normalize(raw(*text(), chunk(delta), STOP)).deltas[1]
    assert got == {"reasoning_content": "Hm", "reasoning_details": details}


def test_reasoning_that_only_the_details_have_is_said() -> None:
    """Snowflake."""
    details = [{"type": "reasoning.text", "text": "15", "index": 0}]
    got = normalize(raw(*text(), chunk({"reasoning_details": details}), STOP)).deltas[1]
    assert got == {"reasoning_details": details, "reasoning_content": "15"}


def test_objects_in_lists_get_a_running_index() -> None:
    parts = [chunk({"annotations": [{"url": n}]}) for n in ("a", "b")]
    got = normalize(raw(*text(), *parts, STOP)).deltas
    assert [d["annotations"][0]["index"] for d in got[1:3]] == [0, 1]


def test_reasoning_stays_before_the_text() -> None:
    parts = [chunk({"reasoning": "a"}), chunk({"content": "b"}), chunk({"reasoning": "c"})]
    got = normalize(raw(*text(), *parts, STOP), STREAM).deltas[1:4]
    assert got == [{"reasoning_content": "a"}, {"content": "b"}, {"reasoning_content": "c"}]


# --- the stage alone --------------------


@pytest.mark.parametrize(
    ("delta", "first", "later"),
    [
        ({"content": "a"}, {"role": "assistant", "content": "a"}, {"content": "a"}),
        ({}, {"role": "assistant", "content": ""}, {}),
        ({"role": "assistant", "refusal": None}, {"role": "assistant", "refusal": None}, {}),
        (
            {"content": "a", "x": None},
            {"role": "assistant", "content": "a", "x": None},
            {"content": "a", "x": None},
        ),
        ({"content": 7}, {"role": "assistant", "content": "7"}, {"content": "7"}),
        (None, {"role": "assistant", "content": ""}, {}),
        ("a", {"role": "assistant", "content": "a"}, {"content": "a"}),
    ],
)
def test_first_and_later_deltas(delta: Any, first: dict[str, Any], later: dict[str, Any]) -> None:
    stage = Content(finder())
    for expected in (first, later):
        one = part({"index": 0, "delta": dict(delta) if isinstance(delta, dict) else delta})
        stage.read(one, called=False)
        assert one.delta == one.choice["delta"] == expected
        assert one.changed == (expected != delta)
        stage.open(0)


def test_halves_of_a_pair_wait_by_choice_and_member() -> None:
    finding = finder()
    stage = Content(finding)
    said = []
    for index, key, piece in [
        (0, "content", "a\ud83d"),
        (1, "content", "b"),
        (0, "refusal", "\ude00"),
        (0, "content", "\ude00c"),
        (1, "content", "\ud83d"),
    ]:
        stage.open(index)
        one = part({"index": index, "delta": {key: piece}}, index)
        one.edit()
        stage.read(one, called=False)
        said.append(one.delta.get(key))
    assert said == ["a", "b", "\ufffd", "😀c", ""]
    assert "C310" in codes(finding)
    assert stage.waits
    assert stage.halves(1) == ["content"]
    assert not stage.waits


def test_what_was_sent_is_known_again() -> None:
    sent = Sent()
    for piece in ("Hel", "", "lo"):
        sent.add(piece)
    assert [sent.begins(text) for text in ("Hello", "Hello!", "Hell", "Hallo")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("delta", [[{"content": "Hi"}], [{"type": "text", "text": "Hi"}], 7, "Hi"])
def test_what_stands_for_a_delta_is_not_lost(delta: Any) -> None:
    odd = {**ENVELOPE, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    out = normalize(raw(odd, chunk({}, "stop"))).out
    assert (b"7" if delta == 7 else b'"Hi"') in out
