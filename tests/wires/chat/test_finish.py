"""One finish for each choice: which word, where, and what goes before it."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from normalizer import Normalizer, Options, RequestInfo
from normalizer.wires.chat.finish import Finish
from tests.streams import (
    COMPLETIONS,
    ENVELOPE,
    STREAM,
    USAGE,
    call,
    chunk,
    event,
    normalize,
    raw,
    text,
)
from tests.wires.chat.parts import codes, finder, part

A = '{"a":1}'
CALL = call(A, id="a", name="f")
FORCED = {**STREAM, "tool_choice": {"type": "function", "function": {"name": "f"}}}


def finish_of(*finishes: Any, calls: bool = False, request: dict[str, Any] = STREAM) -> str | None:
    before = [CALL] if calls else text("Hi")
    outcome = normalize(raw(*before, *(chunk({}, finish) for finish in finishes)), request)
    return outcome.finish()


@pytest.mark.parametrize("word", ["stop", "length", "content_filter"])
def test_the_api_s_words_stay(word: str) -> None:
    body = raw(*text("Hi"), chunk({}, word))
    assert normalize(body).out == body


@pytest.mark.parametrize(
    ("word", "known"),
    [
        *((w, "stop") for w in ("eos", "eos_token", "stop_sequence", "stop_token", "end")),
        *((w, "stop") for w in ("end_turn", "STOP", "Stop", "COMPLETE", "whatever", 7)),
        *((w, "length") for w in ("max_tokens", "MAX_TOKENS", "max_output_reached")),
        *((w, "length") for w in ("model_length", "model_context_window_exceeded")),
        *((w, "content_filter") for w in ("SAFETY", "sensitive", "RECITATION")),
        *((w, "content_filter") for w in ("content_filtered", "PROHIBITED_CONTENT")),
    ],
)
def test_other_words(word: Any, known: str) -> None:
    outcome = normalize(raw(*text("Hi"), chunk({}, word)))
    assert outcome.finish() == known
    assert outcome.chunks[-1]["choices"][0]["native_finish_reason"] == word
    assert "S503" in outcome.codes


@pytest.mark.parametrize("word", ["tool_use", "tool_call", "TOOL_CALL"])
def test_other_words_for_calls(word: str) -> None:
    assert finish_of(word, calls=True) == "tool_calls"


def test_an_upstream_s_own_native_word_stays() -> None:
    one = chunk({}, "eos")
    one["choices"][0]["native_finish_reason"] = "its own"
    last = normalize(raw(*text("Hi"), one)).chunks[-1]
    assert last["choices"][0]["native_finish_reason"] == "its own"


@pytest.mark.parametrize("word", ["", "null"])
def test_empty_words_are_none(word: str) -> None:
    """Ollama 0.1 and SGLang send "" with every chunk."""
    parts = [chunk({"content": "Hi"}, word), chunk({"content": " there"}, word), chunk({}, "stop")]
    outcome = normalize(raw(*parts))
    assert [c["choices"][0]["finish_reason"] for c in outcome.chunks] == [None, None, "stop"]


@pytest.mark.parametrize(
    ("finishes", "calls", "weightiest"),
    [
        (["stop", "stop"], False, "stop"),
        (["length", "stop"], False, "length"),
        (["stop", "length"], False, "length"),
        (["stop", "content_filter"], False, "content_filter"),
        (["length", "content_filter"], False, "content_filter"),
        (["content_filter", "length"], False, "content_filter"),
        (["tool_calls", "stop"], True, "tool_calls"),
        (["stop", "tool_calls"], True, "tool_calls"),
        (["tool_calls", "length"], True, "length"),
        (["length", "tool_calls"], True, "length"),
    ],
)
def test_of_two_finishes_the_weightiest_leaves(
    finishes: list[str], calls: bool, weightiest: str
) -> None:
    assert finish_of(*finishes, calls=calls) == weightiest


def test_stop_after_a_call_is_tool_calls() -> None:
    assert finish_of("stop", calls=True) == "tool_calls"


@pytest.mark.parametrize("word", ["length", "content_filter"])
def test_a_cut_call_stays_cut(word: str) -> None:
    assert finish_of(word, calls=True) == word


def test_a_forced_call_ends_with_stop_as_the_api_s_own_does() -> None:
    assert finish_of("stop", calls=True, request=FORCED) == "stop"


def test_tool_calls_without_a_call_is_stop() -> None:
    """Else agents loop: the call that is to be answered does not exist."""
    assert finish_of("tool_calls") == "stop"


def test_a_tool_that_the_server_ran_is_not_run_again() -> None:
    """LiteLLM's MCP: calls, their finish, the answer made with them, `stop`."""
    body = raw(CALL, chunk({}, "tool_calls"), chunk({"content": "It rains."}), chunk({}, "stop"))
    outcome = normalize(body)
    assert outcome.finish() == "stop"
    assert outcome.said() == "It rains."


def test_text_after_a_plain_finish_does_not_hide_a_call() -> None:
    body = raw(CALL, chunk({}, "stop"), chunk({"content": "Hi"}), chunk({}, "stop"))
    assert normalize(body).finish() == "tool_calls"


def test_calls_after_a_finish_are_calls() -> None:
    body = raw(chunk({"content": "Hi"}, "tool_calls"), CALL, chunk({}, "stop"))
    assert normalize(body).finish() == "tool_calls"


def test_a_finish_with_content_is_parted_from_it() -> None:
    one = chunk({"content": "Hi"}, "length", usage=USAGE, service_tier="x")
    one["choices"][0].update(logprobs={"content": []}, stop_reason=7, content_filter_results={})
    first, second = normalize(raw(*text(), one)).chunks[1:]
    assert first["choices"] == [
        {
            "index": 0,
            "delta": {"content": "Hi"},
            "logprobs": {"content": []},
            "content_filter_results": {},
            "finish_reason": None,
        }
    ]
    assert second["choices"] == [
        {"index": 0, "delta": {}, "finish_reason": "length", "stop_reason": 7, "logprobs": None}
    ]
    assert ("usage" in first, second["usage"]) == (False, USAGE)
    assert first["service_tier"] == "x"


def test_the_policy_keep_leaves_them_together() -> None:
    outcome = normalize(raw(*text(), chunk({"content": "Hi"}, "stop")), finish="keep")
    last = outcome.chunks[-1]["choices"][0]
    assert (last["delta"], last["finish_reason"]) == ({"content": "Hi"}, "stop")


def test_the_policy_keep_still_delivers_what_comes_later_in_order() -> None:
    parts = [chunk({"content": "A"}, "stop"), chunk({"content": "B"}, "stop")]
    outcome = normalize(raw(*text(), *parts), finish="keep")
    assert outcome.said() == "AB"
    assert outcome.finish() == "stop"


def test_what_comes_after_a_finish_is_delivered_before_it() -> None:
    """Open WebUI says `stop` with every piece of reasoning."""
    parts = [chunk({"content": word}, "stop") for word in ("a", "b", "c")]
    outcome = normalize(raw(*parts))
    assert outcome.said() == "abc"
    assert [c["choices"][0]["finish_reason"] for c in outcome.chunks] == [None] * 3 + ["stop"]


def test_a_late_verdict_is_the_finish() -> None:
    """Azure's asynchronous filter speaks after the text is finished."""
    verdict = chunk({}, "content_filter", id="", created=0, model="", object="")
    del verdict["choices"][0]["delta"]
    verdict["choices"][0]["content_filter_offsets"] = {"check_offset": 1}
    outcome = normalize(raw(*text("Hi"), chunk({}, "stop"), verdict))
    assert outcome.finish() == "content_filter"
    assert outcome.chunks[-1]["choices"][0]["content_filter_offsets"] == {"check_offset": 1}


def test_what_two_finishes_disagree_about_is_kept() -> None:
    first, second = chunk({}, "stop", x=1), chunk({}, "stop", x=2, y=3)
    chunks = normalize(raw(*text("Hi"), first, second)).chunks
    assert [c["x"] for c in chunks if "x" in c] == [2, 1]
    assert chunks[-1]["y"] == 3


def test_done_without_a_finish() -> None:
    outcome = normalize(raw(*text("Hi")))
    assert outcome.finish() == "stop"
    assert "S510" in outcome.codes
    assert normalize(raw(CALL)).finish() == "tool_calls"


def test_a_choice_that_begins_with_its_finish_gets_a_role_before_it() -> None:
    chunks = normalize(raw(chunk({}, "stop"))).chunks
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[1]["choices"][0]["finish_reason"] == "stop"


def test_each_choice_has_its_own_finish() -> None:
    parts = [
        chunk({"role": "assistant", "content": "b"}, index=1),
        chunk({"role": "assistant", "content": "a"}),
        chunk({}, "length", 1),
        chunk({"content": "a"}),
        chunk({}, "stop"),
    ]
    outcome = normalize(raw(*parts), {**STREAM, "n": 2})
    assert (outcome.finish(0), outcome.finish(1)) == ("stop", "length")
    assert (outcome.said(index=0), outcome.said(index=1)) == ("aa", "b")


def test_a_choice_that_never_finishes_is_finished_by_done_and_cut_without_it() -> None:
    parts = [*text("a"), chunk({"role": "assistant", "content": "b"}, index=1), chunk({}, "stop")]
    request = {**STREAM, "n": 2}
    assert normalize(raw(*parts), request).finish(1) == "stop"
    assert normalize(raw(*parts, done=False), request).error["type"] == "upstream_truncated"


@pytest.mark.parametrize(
    "word", ["error", "abort", "cancelled", "MALFORMED_FUNCTION_CALL", "TIMEOUT"]
)
def test_words_of_failure_are_errors(word: str) -> None:
    outcome = normalize(raw(*text("Hi"), chunk({}, word)))
    assert (outcome.error["type"], outcome.error["code"]) == ("upstream_error", word)
    assert outcome.said() == "Hi"
    assert outcome.report.end == "error"


def test_a_failure_of_one_choice_does_not_cut_the_other() -> None:
    parts = [*text("a"), chunk({}, "abort"), chunk({"role": "assistant", "content": "b"}, index=1)]
    outcome = normalize(raw(*parts, chunk({}, "stop", 1)), {**STREAM, "n": 2})
    assert outcome.said(index=1) == "b"
    assert outcome.error["code"] == "abort"


# --- completions --------------------


def piece(said: str, finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "text": said, "logprobs": None, "finish_reason": finish}
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m"}
    return {**head, "choices": [choice]}


def test_a_completion_s_finish_stays_where_it_is() -> None:
    body = raw(piece("Hello"), piece(" world"), piece("!", "length"))
    assert normalize(body, path=COMPLETIONS).out == body


def test_a_completion_s_finish_on_every_chunk_is_on_the_last() -> None:
    """api-for-open-llm says `stop` with every piece."""
    body = raw(piece("a", "stop"), piece("b", "stop"), piece("", "stop"))
    chunks = normalize(body, path=COMPLETIONS).chunks
    said = [(c["choices"][0]["text"], c["choices"][0]["finish_reason"]) for c in chunks]
    assert "".join(text for text, _ in said) == "ab"
    assert [finish for _, finish in said if finish] == ["stop"]
    assert said[-1][1] == "stop"


# --- held --------------------


def test_a_finish_is_let_go_when_the_upstream_falls_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("normalizer.core.stream.time.monotonic", lambda: now[0])
    normalizer = Normalizer(RequestInfo.parse("/v1/chat/completions", STREAM), Options())
    assert normalizer.waiting is None
    normalizer.feed(raw(*text("Hi"), done=False))
    assert normalizer.waiting is None
    assert normalizer.feed(event(chunk({}, "stop"))) == b""
    assert normalizer.waiting == 2.0
    assert normalizer.flush() == b""
    now[0] += 2.0
    assert b'"finish_reason":"stop"' in normalizer.flush()
    assert not normalizer.ended
    assert normalizer.waiting is None
    late = normalizer.feed(event(chunk({"content": "late"})))
    assert b"late" in late
    assert normalizer.feed(b"data: [DONE]\n\n") == b"data: [DONE]\n\n"
    assert "S511" in normalizer.report.repairs


def test_comments_do_not_prolong_the_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("normalizer.core.stream.time.monotonic", lambda: now[0])
    normalizer = Normalizer(RequestInfo.parse("/v1/chat/completions", STREAM), Options())
    normalizer.feed(raw(*text("Hi"), chunk({}, "stop"), done=False))
    now[0] += 1.5
    normalizer.feed(b": ping\n\n")
    assert normalizer.waiting == 0.5


@pytest.mark.parametrize("finish", ["split", "keep"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_text_that_comes_with_a_finish_when_one_has_left_is_not_lost(
    path: str, finish: Literal["split", "keep"]
) -> None:
    options = Options(finish=finish, finish_timeout=1e-9)
    normalizer = Normalizer(RequestInfo.parse(path, STREAM), options)
    said = {"delta": {"content": "Hi"}} if "chat" in path else {"text": "Hi"}
    last = event({**ENVELOPE, "choices": [{"index": 0, **said, "finish_reason": "stop"}]})
    out = normalizer.feed(last) + normalizer.flush() + normalizer.feed(last) + normalizer.close()
    assert out.count(b'"Hi"') == 2
    assert normalizer.report.characters_out == normalizer.report.characters_in == {"content": 4}


# --- the stage alone --------------------


@pytest.mark.parametrize(
    ("choice", "members", "reason", "found"),
    [
        ({"finish_reason": "stop"}, {}, "stop", set()),
        ({"finish_reason": None}, {}, None, set()),
        ({}, {}, None, {"S502"}),
        ({"finish_reason": ""}, {}, None, {"S501"}),
        ({"finish_reason": "eos"}, {}, "stop", {"S503"}),
        ({"finishReason": "STOP"}, {}, "stop", {"S503", "S512"}),
        ({"delta": {"finish_reason": "length"}}, {}, "length", {"S512"}),
        ({"finish_reason": None}, {"finish_reason": "length"}, "length", {"S512"}),
    ],
)
def test_the_word_is_read_wherever_it_stands(
    choice: dict[str, Any], members: dict[str, Any], reason: str | None, found: set[str]
) -> None:
    finding = finder()
    one = part({"index": 0, **choice}, **members)
    Finish(finding, RequestInfo(endpoint="chat")).read(one)
    assert (one.word.reason if one.word else None) == reason
    assert one.choice["finish_reason"] == reason
    assert "finish_reason" not in one.draft.value
    assert codes(finding) == found
    assert one.changed == bool(found)


def test_a_failure_is_no_finish() -> None:
    stage = Finish(finder(), RequestInfo(endpoint="chat"))
    for word in ("error", "timeout"):
        stage.read(part({"index": 0, "finish_reason": word}))
    assert stage.failure == "error"


@pytest.mark.parametrize(
    ("held", "texts", "final"),
    [
        (["stop", "length"], False, "length"),
        (["length", "stop"], False, "length"),
        (["tool_calls", "stop"], False, "tool_calls"),
        (["tool_calls", "stop"], True, "stop"),
        (["length", "content_filter", "tool_calls"], True, "content_filter"),
    ],
)
def test_of_the_words_of_a_choice_one_stands(held: list[str], texts: bool, final: str) -> None:
    stage = Finish(finder(), RequestInfo(endpoint="chat"))
    for word in held:
        stage.hold(0, word)
        if texts:
            assert stage.spoke(0, text=True)
    assert stage.final(0, "tool_calls", {"look"}) == final


@pytest.mark.parametrize(
    ("word", "called", "to_be_run", "final"),
    [
        ("stop", "tool_calls", True, "tool_calls"),
        ("stop", "tool_calls", False, "stop"),
        ("stop", "function_call", True, "function_call"),
        ("length", "tool_calls", True, "length"),
        ("tool_calls", None, True, "stop"),
        ("tool_calls", "function_call", True, "function_call"),
    ],
)
def test_the_word_that_calls_give(
    word: str, called: str | None, to_be_run: bool, final: str
) -> None:
    stage = Finish(finder(), RequestInfo(endpoint="chat"))
    stage.hold(0, word)
    assert stage.final(0, called, {"look"} if to_be_run else ()) == final
