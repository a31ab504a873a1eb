"""What all chunks share, which choice is which, and what rides along."""

from __future__ import annotations

import json
from typing import Any

import pytest

from normalizer import Normalizer, Options, RequestInfo
from normalizer.wires.chat.envelope import Envelope, Riders
from tests.streams import COMPLETIONS, ENVELOPE, STREAM, chunk, event, normalize, raw, text
from tests.wires.chat.parts import codes, draft, finder

STOP = chunk({}, "stop")
FILTER = {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]}
AZURE = {"id": "", "object": "", "created": 0, "model": "", "choices": [], **FILTER}


def envelopes(*chunks: Any, **request: Any) -> set[tuple[Any, ...]]:
    out = normalize(raw(*chunks), {"stream": True, **request}).chunks
    return {(c["id"], c["object"], c["created"], c["model"]) for c in out}


def test_azure_s_first_chunk_rides_on_the_next() -> None:
    first = normalize(raw(AZURE, *text("Hi"), STOP)).chunks[0]
    assert first == {**text()[0], **FILTER}


def test_its_empty_envelope_is_nobody_s() -> None:
    assert envelopes(AZURE, *text("Hi"), STOP) == {tuple(ENVELOPE.values())}


def test_an_id_and_a_time_are_made_up_once_and_the_model_is_the_request_s() -> None:
    bare = {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}
    ((ident, kind, created, model),) = envelopes(bare, bare, model="asked")
    assert ident.startswith("chatcmpl-")
    assert (kind, model) == ("chat.completion.chunk", "asked")
    assert created > 1_700_000_000


def test_a_model_nobody_names_is_unknown() -> None:
    ((_, _, _, model),) = envelopes({"choices": [{"index": 0, "delta": {"content": "Hi"}}]})
    assert model == "unknown"


def test_the_first_id_time_and_model_stay() -> None:
    other = {**chunk({"content": "Hi"}), "id": "x", "created": 1, "model": "y", "object": "z"}
    assert envelopes(*text(), other, STOP) == {tuple(ENVELOPE.values())}


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (1746709563.49, 1746709563),
        ("1746709563", 1746709563),
        (1746709563492, 1746709563),
        ("1746709563.9", 1746709563),
        (1746709563.0, 1746709563),
    ],
)
def test_times_are_whole_seconds(given: Any, seconds: int) -> None:
    out = normalize(raw({**chunk({"role": "assistant"}), "created": given}, STOP)).chunks
    assert {c["created"] for c in out} == {seconds}
    assert type(out[0]["created"]) is int


@pytest.mark.parametrize("given", [0, None, "", "soon", True, [], -5])
def test_a_time_that_is_none_is_when_the_stream_began(given: Any) -> None:
    out = normalize(raw({**chunk({"role": "assistant"}), "created": given})).chunks
    assert out[0]["created"] > 1_700_000_000


# --- choices --------------------


@pytest.mark.parametrize("choices", [None, 1, "x", {}])
def test_choices_that_are_none(choices: Any) -> None:
    broken = {**ENVELOPE, "choices": choices, "hook_results": {"a": 1}}
    out = normalize(raw(broken, *text("Hi"), STOP)).chunks
    assert out[0] == {**text()[0], "hook_results": {"a": 1}}


@pytest.mark.parametrize("index", [None, -1, "x", 0.5, "0"])
def test_an_index_that_is_none_is_0(index: Any) -> None:
    parts = [chunk({"content": "a"}), chunk({"content": "b"})]
    for one in parts:
        one["choices"][0]["index"] = index
    outcome = normalize(raw(*parts, STOP))
    assert outcome.said() == "ab"
    assert outcome.finish() == "stop"


@pytest.mark.parametrize("start", [0, 1])
def test_an_index_that_counts_tokens_is_0(start: int) -> None:
    parts = [chunk({"content": word}, index=start + n) for n, word in enumerate("abcd")]
    parts[-1]["choices"][0]["finish_reason"] = "length"
    outcome = normalize(raw(*parts))
    assert (outcome.said(), outcome.finish()) == ("abcd", "length")


def test_an_index_is_an_index_where_several_choices_were_asked_for() -> None:
    parts = [chunk({"role": "assistant", "content": word}, index=n) for n, word in enumerate("abc")]
    outcome = normalize(raw(*parts), {**STREAM, "n": 3})
    assert [outcome.said(index=n) for n in range(3)] == ["a", "b", "c"]


def test_a_second_answer_nobody_asked_for_stays_one() -> None:
    """OptiLLM's `re2|cot` answers twice."""
    parts = [
        chunk({"role": "assistant", "content": word}, "stop", index=n)
        for n, word in enumerate("ab")
    ]
    outcome = normalize(raw(*parts))
    assert (outcome.said(index=0), outcome.said(index=1)) == ("a", "b")
    assert (outcome.finish(0), outcome.finish(1)) == ("stop", "stop")


def test_interleaved_answers_nobody_asked_for_stay_apart() -> None:
    roles = [chunk({"role": "assistant", "content": ""}, index=n) for n in (0, 1)]
    words = [chunk({"content": word}, index=n % 2) for n, word in enumerate("aAbB")]
    stops = [chunk({}, "stop", n) for n in (0, 1)]
    body = raw(*roles, *words, *stops)
    outcome = normalize(body)
    assert (outcome.said(index=0), outcome.said(index=1)) == ("ab", "AB")


def test_calls_in_a_second_choice_join_the_first() -> None:
    """GitHub Copilot streams Claude's text in choice 0 and its calls in choice 1."""
    fragment = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    parts = [*text("Hi"), chunk({"tool_calls": [fragment]}, index=1), chunk({}, "tool_calls", 1)]
    outcome = normalize(raw(*parts, chunk({}, "stop")))
    assert outcome.calls == [("a", "f", "{}")]
    assert outcome.finish() == "tool_calls"
    assert {c["choices"][0]["index"] for c in outcome.chunks} == {0}


def test_both_choices_of_one_chunk_are_settled() -> None:
    pair = {**ENVELOPE, "choices": [{"index": n, "delta": {"content": "ab"[n]}} for n in (0, 1)]}
    outcome = normalize(raw(pair, pair), {**STREAM, "n": 2})
    assert (outcome.said(index=0), outcome.said(index=1)) == ("aa", "bb")
    assert (outcome.finish(0), outcome.finish(1)) == ("stop", "stop")


def test_chunks_of_the_other_endpoint() -> None:
    legacy = {**ENVELOPE, "choices": [{"index": 0, "text": "Hi", "finish_reason": None}]}
    assert normalize(raw(legacy, STOP)).said() == "Hi"
    modern = normalize(raw(*text("Hi"), STOP), path=COMPLETIONS).chunks
    assert "".join(c["choices"][0]["text"] for c in modern) == "Hi"
    assert {c["object"] for c in modern} == {"text_completion"}


def test_text_without_choices_is_text() -> None:
    """Writer's completions and Cloudflare's own API have no choices."""
    parts = [b'data: {"value":"Hel"}\n\n', b'data: {"value":"lo"}\n\n']
    chunks = normalize(raw(*parts), path=COMPLETIONS).chunks
    assert "".join(c["choices"][0]["text"] for c in chunks) == "Hello"


# --- riders --------------------


def test_a_chunk_with_nothing_new_is_not_sent() -> None:
    empty = {**ENVELOPE, "choices": [], "system_fingerprint": None, "obfuscation": "abc"}
    outcome = normalize(raw(*text("Hi"), empty, STOP))
    assert outcome.out == raw(*text("Hi"), STOP)
    assert "E210" in outcome.codes


def test_late_riders_ride_on_the_finish() -> None:
    late = {**ENVELOPE, "choices": [], "moderation": {"input": 1}}
    chunks = normalize(raw(*text("Hi"), STOP, late)).chunks
    assert chunks[-1] == {**STOP, "moderation": {"input": 1}}


def test_a_rider_whose_place_is_taken_gets_a_chunk_before_the_finish() -> None:
    late = {**ENVELOPE, "choices": [], "x": 2, "y": 3}
    chunks = normalize(raw(*text("Hi"), {**STOP, "x": 1}, late)).chunks
    assert chunks[-2] == {**chunk({}), "x": 2, "y": 3}
    assert chunks[-1] == {**STOP, "x": 1}


def test_riders_of_one_name_are_all_delivered() -> None:
    events: list[Any] = [{"choices": [], "note": number} for number in (1, 2, 3)]
    chunks = normalize(raw(*events, *text("Hi"), STOP)).chunks
    assert sorted(c["note"] for c in chunks if "note" in c) == [1, 2, 3]


def test_riders_without_a_choice_ride_on_the_error() -> None:
    outcome = normalize(raw({**AZURE}))
    assert outcome.error["type"] == "upstream_empty"
    assert outcome.chunks[-1]["prompt_filter_results"] == FILTER["prompt_filter_results"]


def test_riders_ride_on_an_upstream_s_error() -> None:
    outcome = normalize(raw(AZURE, event({"error": {"message": "no"}})))
    assert outcome.error["message"] == "no"
    assert outcome.chunks[-1]["prompt_filter_results"] == FILTER["prompt_filter_results"]


def test_unknown_members_stay_where_they_are() -> None:
    one = {**chunk({"content": "Hi", "channel": "final"}), "x_groq": {"id": "r"}, "p": "ab"}
    one["choices"][0]["native_finish_reason"] = None
    body = raw(*text(), one, STOP)
    assert normalize(body).out == body


def test_the_policy_drop_takes_them_away() -> None:
    one = {**chunk({"content": "Hi"}), "x_groq": {"id": "r"}, "service_tier": "default"}
    one["choices"][0]["seed"] = 7
    last = normalize(raw(*text(), one, STOP), extras="drop").chunks[1]
    assert last == {**chunk({"content": "Hi"}), "service_tier": "default"}


def test_a_whole_answer_is_gathered_of_envelopes_that_are_ignored_too() -> None:
    chunk = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "delta": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
        ],
    }
    body = b"data: " + json.dumps({"data": chunk}).encode() + b"\n\ndata: [DONE]\n\n"
    request = RequestInfo.parse("/v1/chat/completions", {"model": "m", "messages": []})
    normalizer = Normalizer(request, Options(ignore=("E218",)))
    out = json.loads(normalizer.feed(body) + normalizer.close())
    assert out["choices"][0]["message"]["content"] == "Hi"


# --- the stage alone --------------------


@pytest.mark.parametrize(
    ("members", "left", "found"),
    [
        ({}, {}, set()),
        ({"id": ""}, {"id": "chatcmpl-1"}, {"E201"}),
        ({"id": "other"}, {"id": "chatcmpl-1"}, {"E202"}),
        ({"model": None}, {"model": "m"}, {"E207"}),
        ({"created": "1700000000"}, {"created": 1700000000}, {"E205"}),
    ],
)
def test_the_second_chunk_gets_the_members_of_the_first(
    members: dict[str, Any], left: dict[str, Any], found: set[str]
) -> None:
    finding = finder()
    stage = Envelope(finding, "chat", None)
    stage.read(draft())
    one = draft(**members)
    stage.read(one)
    assert one.value == {**ENVELOPE, "choices": [], **left}
    assert codes(finding) == found
    assert (one.raw is None) == bool(found)


def test_a_chunk_of_our_own_has_what_every_chunk_had() -> None:
    stage = Envelope(finder(), "chat", None)
    stage.read(draft(provider="P", tier=1, x=None, obfuscation="a"))
    stage.read(draft(provider="P", tier=2, x=None, y=3, obfuscation="b"))
    assert stage.chunk([]).value == {
        **ENVELOPE,
        "provider": "P",
        "tier": None,
        "x": None,
        "choices": [],
    }


def test_riders_wait_one_value_a_key_and_mount_the_next_chunk() -> None:
    stage = Riders(finder(), 1000, 1000)
    assert not stage.take({"id": "c", "x": None, "obfuscation": "a"}, {})
    assert stage.take({"x": 1}, {})
    assert not stage.take({"x": 1}, {})
    assert stage.take({"x": 2}, {})
    assert stage.count == 2
    chunks: list[dict[str, Any]] = [{"x": None}, {"y": 1}, {"x": 5}]
    assert [stage.mount(one) for one in chunks] == [True, True, False]
    assert chunks == [{"x": 1}, {"y": 1, "x": 2}, {"x": 5}]
    assert stage.count == 0


def test_riders_collide_with_another_value() -> None:
    stage = Riders(finder(), 1000, 1000)
    stage.take({"x": 1}, {})
    assert not stage.collides({"x": 1})
    assert not stage.collides({"x": None})
    assert stage.collides({"x": 2})
    assert not stage.full
    stage.take({"y": "a" * 1000}, {})
    assert stage.full
