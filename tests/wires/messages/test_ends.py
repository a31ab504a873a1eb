"""Stop reasons, usage, errors, and the ends of a stream."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from normalizer import Normalizer
from tests.wires.messages.streams import (
    ASKED,
    STOP,
    TEXT,
    Event,
    codes,
    kinds,
    opened,
    piece,
    read,
    reason,
    request,
    run,
    said,
    start,
    stopped,
    text,
    through,
    tool,
    written,
)

ANSWER = [opened(0, TEXT), text(0), stopped(0)]
CALL = [tool(0), piece(0), stopped(0)]
WHOLE = "message_start 0 0d 0. message_delta message_stop"


def end(*events: Event | bytes, **options: Any) -> Event:
    """The `message_delta` that has the stop reason."""
    *_, last, stop = through(start(), *events, **options)
    assert stop == STOP
    return last


def word(*events: Event | bytes, **options: Any) -> tuple[str, str | None]:
    """The stop reason that leaves, and the one that came in other words."""
    inner = end(*events, **options)["delta"]
    return inner["stop_reason"], inner.get("native_stop_reason")


# ---------------------------------------------------------------- stop reasons


@pytest.mark.parametrize(
    ("came", "leaves"),
    [
        *((name, "end_turn") for name in ("stop", "STOP", "eos", "completed")),
        *((name, "max_tokens") for name in ("length", "MAX_TOKENS", "incomplete")),
        *((name, "refusal") for name in ("content_filter", "SAFETY", "sensitive")),
    ],
)
def test_words_of_other_apis_become_the_apis(came: str, leaves: str) -> None:
    assert word(*ANSWER, reason(came), STOP) == (leaves, came)


@pytest.mark.parametrize("came", ["tool_calls", "function_call", "toolUse"])
def test_words_for_a_call(came: str) -> None:
    assert word(*CALL, reason(came), STOP) == ("tool_use", came)


@pytest.mark.parametrize("came", ["end_turn", "pause_turn", "compaction", "a_new_word", "Length"])
def test_the_apis_own_words_and_unknown_ones_pass(came: str) -> None:
    body = written(start(), *ANSWER, reason(came), STOP)
    assert run(body)[0] == body


def test_end_turn_beside_a_call_is_tool_use() -> None:
    assert word(*CALL, reason(), STOP) == ("tool_use", "end_turn")
    assert word(*CALL, reason("stop"), STOP) == ("tool_use", "stop")


@pytest.mark.parametrize("came", ["max_tokens", "refusal", "pause_turn", "stop_sequence"])
def test_other_words_stand_beside_a_call(came: str) -> None:
    assert word(*CALL, reason(came), STOP) == (came, None)


def test_a_tool_that_the_request_has_not_is_no_call() -> None:
    other = [tool(0, name="other"), piece(0), stopped(0), reason(), STOP]
    assert word(*other) == ("end_turn", None)
    assert word(*CALL, reason(), STOP, asked=request()) == ("end_turn", None)
    server = [tool(0, type="server_tool_use"), piece(0), stopped(0), reason(), STOP]
    assert word(*server) == ("end_turn", None)


def test_tool_use_without_a_call_passes() -> None:
    body = written(start(), reason("tool_use"), STOP)
    out, report = run(body)
    assert (out, set(report.codes)) == (body, {"M503"})


@pytest.mark.parametrize(
    ("words", "leaves"),
    [
        (("tool_use", "end_turn"), "tool_use"),
        (("end_turn", "max_tokens"), "max_tokens"),
        (("refusal", "max_tokens"), "refusal"),
        (("stop_sequence", "end_turn"), "stop_sequence"),
        (("new_word", "stop_sequence"), "new_word"),
        (("pause_turn", "new_word"), "pause_turn"),
    ],
)
def test_of_several_the_weightiest_leaves(words: tuple[str, str], leaves: str) -> None:
    assert word(*CALL, *map(reason, words), STOP)[0] == leaves
    assert word(*CALL, *map(reason, reversed(words)), STOP)[0] == leaves


def test_a_reason_and_then_its_figures_are_one_event() -> None:
    last = {**reason(None), "usage": {"input_tokens": 25, "output_tokens": 15}, "a": 1}
    both = end(*ANSWER, reason(tokens=0), last, STOP)
    assert both == {**reason(), "usage": {"input_tokens": 25, "output_tokens": 15}, "a": 1}


def test_progress_passes_where_it_stands() -> None:
    body = written(start(), reason(None, 3), *ANSWER, reason(), STOP)
    assert run(body)[0] == body


@pytest.mark.parametrize("missing", [[], [reason(None)], [reason("")], [reason(7)]])
def test_a_missing_reason_is_made_up_where_the_answer_is_complete(missing: list[Event]) -> None:
    assert word(*ANSWER, *missing, STOP) == ("end_turn", None)
    assert word(*CALL, *missing, STOP) == ("tool_use", None)
    assert word(*ANSWER, *missing, b"data: [DONE]\n\n") == ("end_turn", None)


def test_a_reason_in_the_start_is_used_where_no_other_comes() -> None:
    early = start(stop_reason="max_tokens")
    assert through(early, *ANSWER, STOP)[-2]["delta"]["stop_reason"] == "max_tokens"
    assert through(early, *ANSWER)[-1]["error"]["code"] == "upstream_truncated"


@pytest.mark.parametrize("failure", ["error", "abort", "MALFORMED_FUNCTION_CALL"])
def test_a_word_of_failure_is_an_error(failure: str) -> None:
    sent = through(start(), *ANSWER, reason(failure), STOP)
    assert kinds(sent) == "message_start 0 0d 0. error"
    assert sent[-1]["error"]["code"] == "upstream_error"


def test_the_upstreams_own_words_win_over_a_word_of_failure() -> None:
    error = {"type": "error", "error": {"type": "api_error", "message": "The worker died."}}
    assert through(start(), *ANSWER, reason("error"), error)[-1] == error


@pytest.mark.parametrize("sequence", ["", 7, ...])
def test_a_stop_sequence_is_a_text_or_null(sequence: Any) -> None:
    event = reason("stop_sequence", stop_sequence=sequence)
    if sequence is ...:
        del event["delta"]["stop_sequence"]
    assert end(*ANSWER, event, STOP)["delta"]["stop_sequence"] is None


# ---------------------------------------------------------------- usage


@pytest.mark.parametrize("usage", [..., None, [], {}, {"output_tokens": None}])
def test_output_tokens_is_the_last_figure_that_is_known(usage: Any) -> None:
    event = {**reason(tokens=None), "usage": usage}
    event = {key: item for key, item in event.items() if item is not ...}
    assert end(*ANSWER, event, STOP)["usage"]["output_tokens"] == 1


def test_usage_inside_the_delta_moves_up() -> None:
    event = reason(tokens=None, usage={"output_tokens": 9})
    assert end(*ANSWER, event, STOP) == reason(tokens=9)


def test_openais_names_are_copied() -> None:
    event = {**reason(tokens=None), "usage": {"prompt_tokens": 25, "completion_tokens": 9}}
    usage = end(*ANSWER, event, STOP)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["prompt_tokens"]) == (25, 9, 25)


def test_a_chats_usage_fills_what_is_missing() -> None:
    chunk = b'data: {"choices":[],"usage":{"prompt_tokens":30,"completion_tokens":7}}\n\n'
    usage = end(*ANSWER, reason(), chunk, STOP)["usage"]
    assert usage == {"output_tokens": 5, "input_tokens": 30}


# ---------------------------------------------------------------- ends


def test_behind_a_stop_reason_the_end_is_added() -> None:
    assert kinds(through(start(), *ANSWER, reason())) == WHOLE
    assert kinds(through(start(), *ANSWER, reason(), cut=True)) == WHOLE
    torn = written(start(), *ANSWER, reason()) + b'event: message_stop\ndata: {"typ'
    assert kinds(through(torn)) == WHOLE


def test_silence_behind_a_stop_reason_is_the_end() -> None:
    normalizer = Normalizer(ASKED)
    out = normalizer.feed(written(start(), *ANSWER, reason()))
    assert kinds(read(out)) == "message_start 0 0d 0."
    assert 0 < (normalizer.waiting or 0) <= 2
    assert normalizer.flush() == b""
    normalizer = Normalizer(ASKED, type(normalizer.options)(finish_timeout=1e-9))
    out = normalizer.feed(written(start(), *ANSWER, reason()))
    time.sleep(0.001)
    assert kinds(read(out + normalizer.flush())) == WHOLE
    assert normalizer.ended


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_without_one_it_was_cut(count: int) -> None:
    events = [start(), *ANSWER][:count]
    sent = through(*events)
    assert sent[:-1] == events
    assert sent[-1]["error"]["code"] == "upstream_truncated"
    assert sent[-1]["error"]["type"] == "api_error"
    torn = read(run(written(*events) + b'event: message_stop\ndata: {"typ')[0])
    assert torn[-1]["error"]["code"] == "upstream_truncated"


@pytest.mark.parametrize("body", [b"", b"data: [DONE]\n\n", b": x\n\n", b"event: ping\n\n"])
def test_nothing_is_an_error(body: bytes) -> None:
    assert through(body)[-1]["error"]["code"] == "upstream_empty"


def test_broken_json_is_an_error_that_says_so() -> None:
    broken = b'event: content_block_delta\ndata: {"type": "content_bl\n\n'
    sent = through(start(), *ANSWER[:2], broken, *ANSWER[1:], reason(), STOP)
    assert kinds(sent) == "message_start 0 0d error"
    assert sent[-1]["error"]["code"] == "upstream_invalid"


# ---------------------------------------------------------------- errors

OVERLOADED = {"type": "error", "error": {"details": None, "type": "overloaded_error"}}
OVERLOADED["error"]["message"] = "Overloaded"  # type: ignore[index]


@pytest.mark.parametrize("before", [[], [start()], [start(), *ANSWER[:2]]])
def test_a_proper_error_passes_and_is_the_last(before: list[Event]) -> None:
    new = {"type": "error", "error": {"type": "new_error", "message": "x"}, "request_id": "r"}
    for error in (OVERLOADED, new):
        body = written(*before, error)
        assert run(body, text(0), STOP)[0] == body


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ({"error": "No more credits."}, "api_error", "No more credits."),
        ({"error": {"message": "Slow down.", "code": 429}}, "rate_limit_error", "Slow down."),
        ({"error": {"message": "x", "type": "rate_limit_error"}}, "rate_limit_error", "x"),
        ({"error": {"message": "x", "code": "401"}}, "authentication_error", "x"),
        ({"error": "Failed.", "status": 503}, "overloaded_error", "Failed."),
        ({"detail": "no such model"}, "api_error", "no such model"),
        ({"type": "error", "message": "x"}, "api_error", "x"),
        (
            {"type": "error", "message": {"type": "overloaded_error", "message": "x"}},
            "overloaded_error",
            "x",
        ),
        ({"type": "error", "message": {"type": "server_error", "message": "x"}}, "api_error", "x"),
    ],
)
def test_errors_of_other_shapes_get_the_apis(error: Event, kind: str, message: str) -> None:
    sent = through(start(), *ANSWER[:2], b"data: " + json.dumps(error).encode() + b"\n\n")
    assert kinds(sent) == "message_start 0 0d error"
    assert (sent[-1]["error"]["type"], sent[-1]["error"]["message"]) == (kind, message)


def test_the_old_type_and_other_members_stay() -> None:
    error = {"error": {"message": "x", "type": "server_error", "code": 500}, "trace": "t"}
    sent = through(start(), b"data: " + json.dumps(error).encode() + b"\n\n")[-1]
    assert sent["error"]["native_type"] == "server_error"
    assert (sent["error"]["code"], sent["trace"]) == (500, "t")


def test_what_is_held_leaves_before_an_error_and_nothing_is_stopped() -> None:
    held = tool(0, input={"city": "Paris"})
    sent = through(start(), held, {**OVERLOADED})
    assert kinds(sent) == "message_start 0 0d error"
    assert said(sent, "partial_json") == '{"city":"Paris"}'


@pytest.mark.parametrize(
    ("chunk", "name"),
    [
        ({"object": "chat.completion.chunk", "choices": [{"delta": {}}]}, "Chat Completions"),
        ({"type": "response.created", "response": {}}, "Responses"),
        ({"candidates": [{"content": {}}]}, "Gemini"),
        ({"model": "m", "created_at": "x", "message": {}, "done": False}, "Ollama"),
    ],
)
def test_another_apis_answer_is_an_error_that_names_it(chunk: Event, name: str) -> None:
    sent = through(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    assert kinds(sent) == "error"
    assert name in sent[0]["error"]["message"]


def test_ignored_words_pass() -> None:
    assert word(*ANSWER, reason("stop"), STOP, ignore=("M501",)) == ("stop", None)
    assert codes(start(), *ANSWER, reason("stop"), STOP, ignore=("M5",)) == set()


def test_a_ping_does_not_break_a_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    normalizer = Normalizer(ASKED)
    normalizer.feed(written(start(), *ANSWER, reason()))
    now[0] += 1.5
    normalizer.feed(written({"type": "ping"}))
    assert normalizer.waiting == 0.5
    now[0] += 1.0
    assert kinds(read(normalizer.flush())) == "message_delta message_stop"


# ---------------------------------------------------------------- progress

PROGRESS: Event = {
    "type": "message_delta",
    "delta": {"stop_reason": None, "stop_sequence": None},
    "usage": {"output_tokens": 15},
}


def test_a_message_delta_without_a_reason_at_the_end_is_the_last_one() -> None:
    """Claude Code adds up the usage of each: one more would count it twice."""
    events = through(start(), *ANSWER, PROGRESS, STOP)
    *_, last, _ = events
    assert [one["type"] for one in events].count("message_delta") == 1
    assert (last["delta"]["stop_reason"], last["usage"]) == ("end_turn", {"output_tokens": 15})


def test_progress_leaves_in_front_of_the_next_event() -> None:
    wire = Normalizer(request())
    wire.feed(written(start(), opened(0, TEXT)))
    assert wire.feed(written(PROGRESS)) == b""
    ping = written({"type": "ping"})
    assert wire.feed(ping) == ping
    assert wire.feed(written(text(0))) == written(PROGRESS, text(0))


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_line_behind_the_end_is_not_counted_however_the_bytes_come(size: int) -> None:
    body = written(start(), *ANSWER, reason(), STOP).replace(b"\n", b"\r\n")
    normalizer = Normalizer(ASKED)
    for at in range(0, len(body), size):
        normalizer.feed(body[at : at + size])
    normalizer.close()
    assert normalizer.report.codes["F102"] == body.count(b"\r") - 1
