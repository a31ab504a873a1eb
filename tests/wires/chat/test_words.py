"""What a finish word means, and where it is found."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer.wires.chat.words import WEIGHTS, Place, Word, read, weight, where
from tests.shared import beside

STOP = ("eos", "eos_token", "eos_token_id", "stop_sequence", "stop_token", "end", "end_turn")
LENGTH = (
    *("max_tokens", "MAX_TOKENS", "max_output_reached", "max_new_tokens", "max_output_tokens"),
    *("max_length", "token_limit", "time_limit", "incomplete", "context_length_exceeded"),
    *("model_length", "model_context_window_exceeded", "repetition_truncation", "stop: length"),
)
CALLS = ("tool_use", "tool_call", "TOOL_CALL", "tool-calls", "TOOL-USE")
FILTER = (
    *("SAFETY", "sensitive", "SPII", "RECITATION", "content_filtered", "content-filter"),
    *("refusal", "guardrail_intervened", "blocked_by_policy", "PROHIBITED_CONTENT", "BLOCKLIST"),
    *("content_filter: SAFETY", "content_filter: PROHIBITED_CONTENT", "token_filter"),
)
FAILED = (
    *("error", "ERROR", "abort", "aborted", "cancelled", "canceled", "network_error", "TIMEOUT"),
    *("insufficient_system_resource", "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"),
    *("crash", "failed", "server_error", "engine_overloaded", "error_finish", "error_toxic"),
    *("ERROR_LIMIT", "rate_limit", "rate", "RATE-LIMIT", "error: out of memory"),
    "function_call_filter: MALFORMED_FUNCTION_CALL",
)


@pytest.mark.parametrize("reason", WEIGHTS)
def test_the_api_s_reasons_are_themselves(reason: str) -> None:
    assert read(reason) == Word(reason, failed=False, native=None)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        *((word, "stop") for word in (*STOP, *map(str.upper, STOP), "Stop", "COMPLETE")),
        *((word, "length") for word in LENGTH),
        *((word, "tool_calls") for word in CALLS),
        *((word, "content_filter") for word in FILTER),
        ("FUNCTION-CALL", "function_call"),
    ],
)
def test_other_words_for_a_reason(word: str, reason: str) -> None:
    assert read(word) == Word(reason, failed=False, native=word)


@pytest.mark.parametrize("word", FAILED)
def test_a_failure_keeps_its_word(word: str) -> None:
    assert read(word) == Word(word, failed=True, native=None)


@pytest.mark.parametrize("word", ["moderated", "generated", "whatever", "完成", "stop_limit", "."])
def test_what_no_family_claims_is_stop(word: str) -> None:
    assert read(word) == Word("stop", failed=False, native=word)


@pytest.mark.parametrize("nothing", [None, "", " ", "null", [], {}, False, [None, "null"]])
def test_nothing_is_no_word(nothing: Any) -> None:
    assert read(nothing) is None


@pytest.mark.parametrize("value", [{"type": None}, {"reason": "null"}, {"length": 3}])
def test_an_object_that_says_no_word_is_none(value: Any) -> None:
    assert read(value) is None


@pytest.mark.parametrize(
    ("value", "reason", "failed"),
    [
        ({"type": "length", "length": 8}, "length", False),
        ({"reason": "max_tokens", "details": None}, "length", False),
        ({"type": "", "reason": "eos"}, "stop", False),
        ({"type": "stop"}, "stop", False),
        ({"type": "error"}, "error", True),
        (["null", "length"], "length", False),
        ([{"type": "SAFETY"}], "content_filter", False),
        (7, "stop", False),
        (True, "stop", False),
        (0, "stop", False),
    ],
)
def test_a_word_that_is_no_text_is_read_and_kept(value: Any, reason: str, failed: bool) -> None:
    assert read(value) == Word(reason, failed=failed, native=value)


def test_a_content_filter_weighs_most() -> None:
    assert sorted(WEIGHTS, key=weight, reverse=True)[:2] == ["content_filter", "length"]
    assert weight("tool_calls") == weight("function_call") > weight("stop") == weight("unknown")


def test_the_api_s_place_comes_first() -> None:
    choice = {"delta": {"finish_reason": "length"}, "finish_reason": "stop"}
    assert where(choice, {"choices": [choice]}) == Place(choice, "finish_reason")


@pytest.mark.parametrize("empty", [None, "", "null", [], {"type": "null"}])
@pytest.mark.parametrize("key", ["finish_reason", "finishReason"])
@pytest.mark.parametrize("place", ["choice", "delta", "message", "chunk"])
def test_other_places(place: str, key: str, empty: Any) -> None:
    held: dict[str, dict[str, Any]] = {"delta": {}, "message": {}, "chunk": {}}
    choice = {"finish_reason": empty, "delta": held["delta"], "message": held["message"]}
    held["choice"] = choice
    held[place][key] = "length"
    found = where(choice, held["chunk"])
    assert found is not None
    assert found.holder is held[place]
    assert found.key == key


@pytest.mark.parametrize("delta", [None, "text", [], {}])
def test_no_place(delta: Any) -> None:
    assert where({"delta": delta, "finish_reason": None}, {"finish_reason": "null"}) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["type", "reason"]), inner),
)


@given(JSON)
def test_no_value_raises(value: Any) -> None:
    word = read(value)
    if word is not None:
        assert word.failed or word.reason in WEIGHTS
    where({"finish_reason": value, "delta": value}, {"finish_reason": value})


PARTS = st.sampled_from(
    [
        *("max", "tokens", "token", "limit", "stop", "end", "eos", "error", "rate", "filter"),
        *("tool", "calls", "use", "call", "safety", "server", "incomplete", "moderated", "done"),
    ]
)


@pytest.fixture(scope="module")
def judge() -> ModuleType:
    spec = importlib.util.spec_from_file_location("conform_for_words", beside("conform.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@given(parts=st.lists(PARTS, min_size=1, max_size=3), upper=st.booleans())
def test_the_judge_reads_the_same(judge: ModuleType, parts: list[str], upper: bool) -> None:
    word = "_".join(parts).upper() if upper else "_".join(parts)
    ours = read(word)
    assert ours is not None
    assert ("failure" if ours.failed else ours.reason) in judge.meanings(word)
