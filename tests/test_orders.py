"""What waits, and its order: heads, finishes, usage, comments, riders, errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from normalizer import Normalizer, Options, RequestInfo
from tests.streams import (
    CHAT,
    COMPLETIONS,
    DONE,
    STREAM,
    USAGE,
    WITH_USAGE,
    call,
    chunk,
    event,
    normalize,
    raw,
    text,
)

HEAD = call("", id="call_1", name="look", type="function")
ERROR = event({"error": {"message": "boom"}})


def piece(said: Any, finish: str | None = None, index: int = 0, **members: Any) -> dict[str, Any]:
    """A chunk of a legacy completion."""
    choice = {"index": index, "text": said, "logprobs": None, "finish_reason": finish}
    envelope = {"id": "cmpl-1", "object": "text_completion", "created": 1700000000, "model": "m"}
    return {**envelope, "choices": [choice], **members}


def kinds(chunks: list[Any]) -> list[str]:
    """What each chunk is, in a word."""
    words = []
    for one in chunks:
        choice = one["choices"][0] if one.get("choices") else {}
        delta = choice.get("delta") or {}
        says = [key for key in ("content", "tool_calls") if delta.get(key)]
        rest = "usage" if one.get("usage") else "error" if "error" in one else "nothing"
        words.append("+".join(says) or choice.get("finish_reason") or choice.get("text") or rest)
    return words


# --- the head of a call --------------------


def test_text_behind_a_head_leaves_behind_it() -> None:
    outcome = normalize(raw(*text(), HEAD, chunk({"content": "Wait."}), chunk({}, "tool_calls")))
    assert kinds(outcome.chunks[1:]) == ["tool_calls", "content", "tool_calls", "tool_calls"]
    assert outcome.calls == [("call_1", "look", "{}")]


def test_a_finish_behind_a_head_leaves_behind_it_at_once() -> None:
    # with the last fragment and its finish on one chunk, too
    last = chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}, "tool_calls")
    for body in (raw(*text(), HEAD, last), raw(*text(), HEAD, chunk({}, "tool_calls"))):
        outcome = normalize(body)
        assert kinds(outcome.chunks[1:]) == ["tool_calls"] * 3
        assert outcome.chunks[-1]["choices"][0]["delta"] == {}
        assert outcome.calls == [("call_1", "look", "{}")]


def test_a_head_on_the_chunk_of_the_finish_leaves_before_it() -> None:
    head = chunk(HEAD["choices"][0]["delta"], "tool_calls", usage=USAGE)
    outcome = normalize(raw(*text(), head))
    assert kinds(outcome.chunks[1:]) == ["tool_calls"] * 3
    assert [one.get("usage") for one in outcome.chunks[1:]] == [None, None, USAGE]
    assert outcome.calls == [("call_1", "look", "{}")]


def test_a_head_that_waits_leaves_before_an_error() -> None:
    outcome = normalize(raw(*text("Hi"), HEAD, ERROR, done=False))
    assert kinds(outcome.chunks[2:]) == ["tool_calls", "error"]
    assert outcome.calls == [("call_1", "look", "")]


def test_an_empty_fragment_of_a_clean_call_passes_and_one_that_only_repeats_does_not() -> None:
    clean = raw(*text(), HEAD, call(""), call("{}"), chunk({}, "tool_calls"))
    assert normalize(clean).out == raw(*text(), HEAD, call("{}"), chunk({}, "tool_calls"))
    clean = raw(*text(), HEAD, call("{"), call(""), call("}"), chunk({}, "tool_calls"))
    assert normalize(clean).out == clean
    repeats = call("", id="call_1", name="look", type="function")
    body = raw(*text(), HEAD, call("{"), repeats, call("}"), chunk({}, "tool_calls"))
    assert kinds(normalize(body).chunks[1:]) == ["tool_calls"] * 4


# --- a finish --------------------


@pytest.mark.parametrize("policy", ["split", "keep"])
def test_text_held_with_a_finish_leaves_first_when_more_comes(policy: Any) -> None:
    body = raw(*text(), chunk({"content": "a"}, "stop"), chunk({"content": "b"}, "stop"))
    outcome = normalize(body, finish=policy)
    assert outcome.said() == "ab"
    assert outcome.finish() == "stop"


def test_a_bare_finish_leaves_nothing_behind_when_more_comes() -> None:
    outcome = normalize(raw(*text("a"), chunk({}, "stop"), chunk({"content": "b"}), DONE))
    assert kinds(outcome.chunks[1:]) == ["content", "content", "stop"]
    said = [piece("a"), piece("", "stop"), piece("b")]
    outcome = normalize(raw(*said), path=COMPLETIONS)
    assert [one["choices"][0]["text"] for one in outcome.chunks] == ["a", "b", ""]


def test_the_text_of_a_legacy_finish_comes_before_the_text_behind_it() -> None:
    said = [piece("a", "stop"), piece("b", "length"), piece("c", "stop")]
    outcome = normalize(raw(*said), path=COMPLETIONS)
    assert "".join(one["choices"][0]["text"] for one in outcome.chunks) == "abc"
    finishes = [one["choices"][0]["finish_reason"] for one in outcome.chunks]
    assert (finishes[-1], set(finishes[:-1])) == ("length", {None})


def test_a_finish_that_is_not_to_be_parted_stays_with_its_text() -> None:
    body = raw(*text("a"), chunk({"content": "b"}, "stop"))
    assert normalize(body, ignore=("S504",)).out == body
    last = chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}, "tool_calls")
    body = raw(*text(), HEAD, last)
    assert normalize(body, ignore=("S504",)).out == body


def test_text_and_call_with_a_finish_that_is_not_to_be_parted_are_all_delivered() -> None:
    delta = {"content": "b", **HEAD["choices"][0]["delta"]}
    outcome = normalize(raw(*text("a"), chunk(delta, "tool_calls")), ignore=("S504",))
    assert outcome.said() == "ab"
    assert [one[:2] for one in outcome.calls] == [("call_1", "look")]


@pytest.mark.parametrize("policy", ["split", "keep"])
def test_text_held_with_a_finish_leaves_before_an_error(policy: Any) -> None:
    outcome = normalize(raw(*text("a"), chunk({"content": "b"}, "stop"), ERROR), finish=policy)
    assert kinds(outcome.chunks[1:]) == ["content", "content", "error"]
    assert outcome.said() == "ab"


@pytest.mark.parametrize("word", ["eos", "end_turn"])
def test_a_word_that_is_not_to_be_changed_stays(word: str) -> None:
    body = raw(*text("a"), chunk({}, word))
    assert normalize(body, ignore=("S503",)).out == body


@pytest.mark.parametrize("word", ["", "null", [], False])
def test_what_is_no_word_is_no_finish(word: Any) -> None:
    empty = chunk({"content": "a"}, word)
    outcome = normalize(raw(*text(), empty, chunk({"content": "b"}), chunk({}, "length")))
    assert (outcome.said(), outcome.finish()) == ("ab", "length")
    assert "S501" in outcome.codes
    assert all("native_finish_reason" not in one["choices"][0] for one in outcome.chunks)


def test_the_finish_of_a_first_answer_leaves_before_a_second_that_nobody_asked_for() -> None:
    first = [chunk({"role": "assistant", "content": "a"}), chunk({}, "stop")]
    second = [chunk({"role": "assistant", "content": "b"}, index=1), chunk({}, "length", index=1)]
    outcome = normalize(raw(*first, *second))
    assert kinds(outcome.chunks) == ["content", "stop", "content", "length"]


# --- usage --------------------


def test_a_usage_that_left_with_its_finish_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    normalizer = Normalizer(RequestInfo.parse(CHAT, STREAM), Options())
    normalizer.feed(raw(*text("a"), chunk({}, "stop", usage=USAGE), done=False))
    seconds[0] = 5.0
    assert b'"usage":{' in normalizer.flush()
    assert normalizer.feed(DONE) + normalizer.close() == DONE
    assert normalizer.report.usage == USAGE
    assert normalizer.report.codes == {}


def test_a_usage_that_left_with_one_finish_is_not_on_the_next() -> None:
    request = {**STREAM, "n": 2}
    first = [chunk({"role": "assistant", "content": "a"}, index=i) for i in (0, 1)]
    last = [chunk({}, "stop", usage=USAGE), chunk({}, "stop", index=1, usage=USAGE)]
    outcome = normalize(raw(*first, *last), request)
    assert [bool(one.get("usage")) for one in outcome.chunks] == [False, False, False, True]
    assert "usage" not in outcome.chunks[2]


@pytest.mark.parametrize("where", ["finish", "own chunk", "both"])
def test_a_usage_asked_for_is_on_no_chunk_but_its_own(where: str) -> None:
    finish = chunk({}, "stop") if where == "own chunk" else chunk({}, "stop", usage=USAGE)
    own = {**chunk({}), "choices": [], "usage": USAGE}
    outcome = normalize(raw(*text("a"), finish, *([] if where == "finish" else [own])), WITH_USAGE)
    assert [one.get("usage") for one in outcome.chunks] == [None, None, None, USAGE]
    assert outcome.chunks[-1]["choices"] == []


def test_half_a_usage_goes_by_its_other_name_only_where_no_whole_one_is() -> None:
    half = {"completion_tokens": 3}
    alone = normalize(raw(*text("a"), chunk({}, "stop", usage=half)))
    assert alone.chunks[-1]["native_usage"] == half
    assert "usage" not in alone.chunks[-1]
    both = normalize(
        raw(*text("a"), chunk({"content": "b"}, usage=half), chunk({}, "stop", usage=USAGE))
    )
    assert both.chunks[-1]["usage"] == USAGE
    assert "native_usage" not in both.chunks[-1]


# --- the halves of a character --------------------


@pytest.mark.parametrize(
    ("path", "half"),
    [
        (CHAT, chunk({"content": "a\ud83d"})),
        (CHAT, chunk({"reasoning_content": "a\ud83d"})),
        (CHAT, call('{"a":"\ud83d')),
        (COMPLETIONS, piece("a\ud83d")),
    ],
)
@pytest.mark.parametrize("end", ["finish", "error"])
def test_half_a_character_leaves_before_what_ends_its_choice(
    path: str, half: dict[str, Any], end: str
) -> None:
    broken = b"data: " + json.dumps(half).encode() + b"\n\n"
    begin = (
        [piece("x")]
        if path == COMPLETIONS
        else [*text(), HEAD]
        if "tool_calls" in str(half)
        else text()
    )
    finish = piece("", "length") if path == COMPLETIONS else chunk({}, "length")
    outcome = normalize(raw(*begin, broken, finish if end == "finish" else ERROR), path=path)
    orphans = [n for n, one in enumerate(outcome.chunks) if "\ufffd" in str(one)]
    assert len(orphans) == 1
    assert orphans[0] == len(outcome.chunks) - 2
    choice = outcome.chunks[-2]["choices"][0]
    assert ("delta" in choice, "text" in choice) == (path == CHAT, path == COMPLETIONS)


# --- comments --------------------


def test_a_comment_behind_a_finish_that_waits_leaves_behind_it() -> None:
    body = raw(*text("a"), chunk({}, "stop"), b": ping\n\n")
    assert normalize(body).out == body
    own = {**chunk({}), "choices": [], "usage": USAGE}
    for tail in ([b": 1\n\n", event(own), b": 2\n\n"], [event(own), b": 1\n\n"]):
        body = raw(*text("a"), chunk({}, "stop"), *tail)
        assert normalize(body, WITH_USAGE).out == body


def test_comments_that_wait_leave_before_an_error() -> None:
    outcome = normalize(raw(*text("a"), chunk({}, "stop"), b": ping\n\n", ERROR, done=False))
    assert outcome.out.index(b": ping") < outcome.out.index(b'"error"')
    assert outcome.finish() is None


# --- riders and errors --------------------


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_riders_of_one_name_each_get_a_chunk_before_the_finish(path: str) -> None:
    make = (
        piece
        if path == COMPLETIONS
        else (lambda said, *a, **m: chunk({"content": said} if said else {}, *a, **m))
    )
    begin = [piece("x")] if path == COMPLETIONS else text("x")
    late: list[Any] = [{"choices": [], "cost": cost} for cost in (2, 3)]
    outcome = normalize(raw(*begin, make("", "stop", cost=1), *late), path=path)
    costs = [one["cost"] for one in outcome.chunks if "cost" in one]
    assert costs == [2, 3, 1]
    assert outcome.chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_of_a_held_finish_an_error_gets_what_is_the_upstream_s_own() -> None:
    held = chunk({}, "eos", provider="P")
    held["choices"][0]["stop_reason"] = 7
    outcome = normalize(raw(*text("a"), held, ERROR))
    assert outcome.finish() is None
    assert (outcome.chunks[-1]["provider"], outcome.chunks[-1]["stop_reason"]) == ("P", 7)
    assert "native_finish_reason" not in outcome.chunks[-1]
    assert "usage" not in outcome.chunks[-1]


def test_riders_of_one_name_before_an_error_have_left_as_progress() -> None:
    riders: list[Any] = [{"choices": [], "cost": cost} for cost in (1, 2)]
    outcome = normalize(raw(*riders, ERROR, done=False))
    assert [one["cost"] for one in outcome.chunks[:-1]] == [1, 2]
    assert "error" in outcome.chunks[-1]


def test_riders_of_one_name_without_choices_are_progress() -> None:
    riders: list[Any] = [{"cost": cost} for cost in (1, 2)]
    outcome = normalize(raw(*riders, ERROR, done=False))
    assert [one.get("cost") for one in outcome.chunks] == [1, 2, None]
    assert "error" in outcome.chunks[-1]


def test_fragments_without_a_name_are_on_the_error() -> None:
    nameless = call('{"a":1}', id="call_1")
    outcome = normalize(raw(*text("a"), nameless, ERROR))
    assert kinds(outcome.chunks[1:]) == ["content", "error"]
    (fragment,) = outcome.chunks[-1]["nameless_tool_calls"]
    assert fragment["function"]["arguments"] == '{"a":1}'


# --- what is canonical --------------------


def spaced(*chunks: dict[str, Any]) -> bytes:
    """Chunks as JSON that we would write otherwise: rewritten, they would differ."""
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in chunks) + DONE


def test_a_clean_call_leaves_byte_for_byte_and_a_repaired_chunk_of_two_choices_does_not() -> None:
    body = spaced(*text(), HEAD, call("{}"), chunk({}, "tool_calls"))
    assert normalize(body).out == body
    both = [{"index": i, "delta": {"content": "x"}, "finish_reason": None} for i in (0, 1)]
    said = [chunk({"role": "assistant", "content": ""}, index=i) for i in (0, 1)]
    ends = [chunk({}, "stop", index=i) for i in (0, 1)]
    shared = {**chunk({}), "choices": both}
    request = {**STREAM, "n": 2}
    outcome = normalize(spaced(*said, {**shared, "created": 1700000000.0}, *ends), request)
    assert b"1700000000.0" not in outcome.out
    assert [outcome.said(index=i) for i in (0, 1)] == ["x", "x"]
