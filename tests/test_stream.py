"""The whole: errors, ends, the kinds of body, options, and what leaves when."""

from __future__ import annotations

import json
from typing import Any

import pytest

from normalizer import Normalizer, Options, RequestInfo
from tests.streams import (
    CHAT,
    COMPLETIONS,
    DONE,
    ENVELOPE,
    STREAM,
    USAGE,
    WITH_USAGE,
    Outcome,
    chunk,
    event,
    normalize,
    raw,
    text,
)

STOP = chunk({}, "stop")
PLAIN = {"model": "m"}


def after_text(error: bytes, **arguments: Any) -> Outcome:
    outcome = normalize(raw(*text("Hi"), error, done=False), **arguments)
    assert outcome.said() == "Hi"
    assert outcome.finish() is None
    assert outcome.out.endswith(DONE)
    return outcome


# --- errors --------------------


@pytest.mark.parametrize(
    ("value", "message", "code"),
    [
        ({"error": {"message": "no", "type": "t", "param": None, "code": 4}}, "no", 4),
        ({"error": {"message": "no"}}, "no", None),
        ({"error": "no"}, "no", None),
        ({"error": ["no"]}, '["no"]', None),
        ({"error": [{"message": "no"}]}, "no", None),
        ({"error": 500}, "500", 500),
        ({"error": True, "message": "no"}, "no", None),
        ({"error": {"code": 11200, "message": "AppIdNoAuthError"}}, "AppIdNoAuthError", 11200),
        ({"object": "error", "message": "no", "type": "T", "code": 400}, "no", 400),
        ({"base_resp": {"status_code": 1004, "status_msg": "no"}}, "no", 1004),
        ({"error_code": 336002, "error_msg": "no"}, "no", 336002),
        ({"text": "no", "error_code": 50002}, "no", 50002),
        ({"detail": "no"}, "no", None),
        ({"detail": [{"loc": ["a"], "msg": "no"}]}, '[{"loc":["a"],"msg":"no"}]', None),
        ({"code": 10013, "message": "no"}, "no", 10013),
        ([{"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}], "no", 503),
    ],
)
def test_shapes_of_errors(value: Any, message: str, code: Any) -> None:
    outcome = after_text(event(value))
    assert (outcome.error["message"], outcome.error["code"]) == (message, code)
    assert set(outcome.error) >= {"message", "type", "param", "code"}
    assert outcome.report.end == "error"
    assert outcome.report.error == outcome.error


@pytest.mark.parametrize(
    "line",
    [
        b'event: error\ndata: {"code": 400, "details": "no"}\n\n',
        b'event: error\ndata: {"error": {"message": "no"}}\n\n',
        b'error: {"code": 400, "message": "no"}\n\n',
        b"error: no\n\n",
        b'{"error": {"message": "no"}}\n',
        b'{\n  "error": {\n    "message": "no"\n  }\n}\n',
    ],
)
def test_errors_that_no_decoder_shows(line: bytes) -> None:
    assert "no" in after_text(line).error["message"]


def test_an_error_s_other_members_are_kept() -> None:
    error = {"error": {"message": "no", "code": "tool_use_failed", "failed_generation": "{}"}}
    assert after_text(event(error)).error["failed_generation"] == "{}"


def test_openrouter_s_error_has_choices_beside_it() -> None:
    value = {
        **chunk({"role": "assistant", "content": " and more"}),
        "provider": "P",
        "error": {"code": 400, "message": "Token limit reached"},
        "usage": USAGE,
    }
    value["choices"][0]["native_finish_reason"] = "length"
    outcome = normalize(raw(*text("Hi"), value))
    assert outcome.said() == "Hi and more"
    assert outcome.chunks[-1]["provider"] == "P"
    assert outcome.chunks[-1]["native_finish_reason"] == "length"
    assert outcome.error["code"] == 400


def test_a_canonical_error_leaves_as_it_came() -> None:
    error = {"error": {"message": "no", "type": None, "param": None, "code": None}}
    body = raw(*text("Hi"), error)
    assert normalize(body).out == body


@pytest.mark.parametrize(
    "value",
    [
        {"error": None},
        {"error": {}},
        {"error": ""},
        {"error": {"code": 0, "message": ""}},
        {"code": 0, "message": "Success"},
        {"base_resp": {"status_code": 0, "status_msg": "unknown field"}},
        {"error_code": 0},
    ],
)
def test_what_looks_like_an_error_and_is_none(value: dict[str, Any]) -> None:
    outcome = normalize(raw(*text(), {**chunk({"content": "Hi"}), **value}, STOP))
    assert (outcome.said(), outcome.finish()) == ("Hi", "stop")
    assert all("error" not in c for c in outcome.chunks)


def test_nothing_is_made_up_after_an_error() -> None:
    outcome = normalize(raw(*text("Hi"), STOP, event({"error": "no"}), *text("more")), WITH_USAGE)
    assert outcome.finish() is None
    assert outcome.said() == "Hi"
    assert "X704" in outcome.codes


def test_a_page_of_html_is_an_error_with_its_words() -> None:
    page = b"<html>\n<head><title>502 Bad Gateway</title></head>\n<body>nginx</body>\n</html>\n"
    error = after_text(page).error
    assert error["type"] == "upstream_invalid"
    assert "502 Bad Gateway nginx" in error["message"]


@pytest.mark.parametrize("line", [b"data: {oops}\n\n", b"data: upstream timed out\n\n"])
def test_data_that_is_no_json_is_an_error_with_its_place(line: bytes) -> None:
    error = after_text(line).error
    assert error["type"] == "upstream_invalid"
    assert line[6:].strip().decode() in error["message"]
    at = len(raw(*text("Hi"), done=False))
    assert f"byte {at}" in error["message"]


def test_the_place_does_not_depend_on_the_split() -> None:
    before = raw(*text(*"abcdefgh"), done=False)
    body = before + b"data: {oops}\n\n"
    whole = normalize(body).error["message"]
    assert f"byte {len(before)}" in whole
    for size in (1, 7, 300):
        pieces = [body[i : i + size] for i in range(0, len(body), size)]
        assert normalize(b"", pieces=pieces).error["message"] == whole


def test_an_event_over_the_limit_is_an_error() -> None:
    big = event(chunk({"content": "x" * 500}))
    error = after_text(big, max_event_bytes=400).error
    assert error["type"] == "upstream_too_large"
    assert "400 bytes" in error["message"]


# --- ends --------------------


def test_a_missing_done_is_added() -> None:
    outcome = normalize(raw(*text("Hi"), STOP, done=False))
    assert outcome.out == raw(*text("Hi"), STOP)
    assert set(outcome.codes) == {"X705"}


@pytest.mark.parametrize("behind", [DONE, event(chunk({"content": "late"})), b"data: x\n\n"])
def test_the_first_done_is_the_end(behind: bytes) -> None:
    body = raw(*text("Hi"), STOP)
    for pieces in ([body + behind], [body, behind]):
        outcome = normalize(b"", pieces=pieces)
        assert outcome.out == body
        assert "X706" in outcome.codes


def test_the_end_is_known_at_done() -> None:
    normalizer = Normalizer(RequestInfo.parse(CHAT, STREAM), Options())
    normalizer.feed(raw(*text("Hi"), STOP, done=False))
    assert not normalizer.ended
    normalizer.feed(DONE)
    assert normalizer.ended


@pytest.mark.parametrize("rest", [b"", b'data: {"id": "chatcm', b"data: ", b": ping"])
def test_a_stream_that_was_cut_is_an_error(rest: bytes) -> None:
    outcome = after_text(rest)
    assert outcome.error["type"] == "upstream_truncated"
    assert outcome.report.end == "truncated"


def test_a_broken_connection_is_named() -> None:
    outcome = normalize(raw(*text("Hi"), done=False), broken="ReadError: reset by peer")
    assert "ReadError: reset by peer" in outcome.error["message"]


def test_half_an_event_behind_the_finish_is_no_error() -> None:
    outcome = normalize(raw(*text("Hi"), STOP, b'data: {"usage": {', done=False))
    assert (outcome.said(), outcome.finish(), outcome.report.error) == ("Hi", "stop", None)


@pytest.mark.parametrize("body", [b"", b"\n\n", DONE, b": ping\n\n" + DONE, b"nothing to see"])
def test_an_answer_with_nothing_in_it_is_an_error(body: bytes) -> None:
    outcome = normalize(body)
    assert outcome.error["type"] == "upstream_empty"
    assert outcome.out.endswith(DONE)
    assert outcome.report.end == "empty"


def test_the_words_of_an_answer_that_is_none_are_in_the_error() -> None:
    assert "upstream connect error" in normalize(b"upstream connect error\n").error["message"]


def test_an_unterminated_last_event_counts() -> None:
    outcome = normalize(raw(*text("Hi"), STOP, done=False).rstrip())
    assert (outcome.said(), outcome.finish()) == ("Hi", "stop")


# --- comments --------------------


def test_comments_pass_at_once_and_in_their_place() -> None:
    normalizer = Normalizer(RequestInfo.parse(CHAT, STREAM), Options())
    assert normalizer.feed(b": OPENROUTER PROCESSING\n\n") == b": OPENROUTER PROCESSING\n\n"
    comments = [b": a\n\n", b": b\n\n", b": c\n\n"]
    body = b"".join([comments[0], raw(*text("Hi"), comments[1], STOP, comments[2])])
    assert normalize(body).out == body


def test_comments_can_be_dropped() -> None:
    body = b": a\n\n" + raw(*text("Hi"), b": b\n\n", STOP)
    assert normalize(body, comments="drop").out == raw(*text("Hi"), STOP)


@pytest.mark.parametrize(
    "line",
    [
        *(b"data:\n\n", b"data: null\n\n", b"data: {}\n\n", b"data: : keepalive\n\n"),
        *(b"event: ping\n\n", b'event: ping\ndata: {"type": "ping"}\n\n', b"data: [PING]\n\n"),
    ],
)
def test_signs_of_life_are_comments(line: bytes) -> None:
    outcome = normalize(raw(*text("Hi"), line, STOP))
    assert outcome.out == raw(*text("Hi"), b": keep-alive\n\n", STOP)


# --- bodies --------------------

CALLS = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}]
MESSAGE = {"role": "assistant", "content": "Hello", "refusal": None}
CHOICE = {"index": 0, "message": MESSAGE, "logprobs": None, "finish_reason": "stop"}
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "m",
    "choices": [CHOICE],
    "usage": USAGE,
}


def completion(message: dict[str, Any], finish: Any = "stop", **members: Any) -> bytes:
    choice = {**CHOICE, "message": {**MESSAGE, **message}, "finish_reason": finish}
    return json.dumps({**COMPLETION, "choices": [choice], **members}).encode()


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("before", ["", "\ufeff", "\n  "])
def test_a_completion_in_answer_to_a_stream_becomes_one(indent: int | None, before: str) -> None:
    body = (before + json.dumps(COMPLETION, indent=indent)).encode()
    outcome = normalize(body, WITH_USAGE)
    assert outcome.said() == "Hello"
    assert outcome.deltas[0] == {"role": "assistant", "content": ""}
    assert [c["usage"] for c in outcome.chunks if c.get("usage")] == [USAGE]
    assert outcome.finish() == "stop"
    assert set(outcome.codes) == {"B801"}
    assert outcome.normalizer.content_type == "text/event-stream; charset=utf-8"


def test_everything_of_it_is_streamed() -> None:
    message = {"content": "Hi", "reasoning": "Hm", "tool_calls": CALLS, "annotations": [{"u": 1}]}
    outcome = normalize(completion(message, "tool_calls", system_fingerprint="fp"), STREAM)
    assert (outcome.said("reasoning_content"), outcome.said()) == ("Hm", "Hi")
    assert outcome.calls == [("a", "f", '{"x":1}')]
    assert outcome.finish() == "tool_calls"
    assert [d["annotations"][0]["u"] for d in outcome.deltas if "annotations" in d] == [1]
    assert outcome.chunks[0]["system_fingerprint"] == "fp"


def test_a_long_answer_is_streamed_in_pieces() -> None:
    outcome = normalize(completion({"content": "ä" * 10_000}), STREAM)
    assert outcome.said() == "ä" * 10_000
    assert max(len(d.get("content") or "") for d in outcome.deltas) <= 4096


def test_several_choices_are_streamed_each_with_its_finish() -> None:
    choices = [{**CHOICE, "index": n, "message": {**MESSAGE, "content": "ab"[n]}} for n in (0, 1)]
    outcome = normalize(json.dumps({**COMPLETION, "choices": choices}).encode(), {**STREAM, "n": 2})
    assert [outcome.said(index=n) for n in (0, 1)] == ["a", "b"]
    assert [outcome.finish(n) for n in (0, 1)] == ["stop", "stop"]


def test_optillm_s_oldest_answer() -> None:
    choice = {"message": {"content": "4"}, "index": 0, "finish_reason": "stop"}
    body = {"model": "gpt-4o-mini", "choices": [choice]}
    outcome = normalize(json.dumps(body).encode())
    assert (outcome.said(), outcome.finish()) == ("4", "stop")
    assert {c["model"] for c in outcome.chunks} == {"gpt-4o-mini"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "no"}}',
        b'{"error": "no"}',
        b'[{"error": {"message": "no"}}]',
        b'{"detail": "no"}',
    ],
)
def test_a_json_error_with_status_200_is_an_error_event(body: bytes) -> None:
    outcome = normalize(body)
    assert outcome.error["message"] == "no"
    assert outcome.out.endswith(DONE)


def test_json_that_breaks_off_is_an_error() -> None:
    assert normalize(b'{"id": "x", "choices": [{').error["type"] == "upstream_invalid"
    broken = normalize(b'{"id": "x", "choices": [{', broken="ReadError")
    assert broken.error["type"] == "upstream_truncated"


def test_json_without_choices_is_an_error_that_carries_it() -> None:
    outcome = normalize(b'{"foo": 1}')
    assert outcome.error["type"] == "upstream_empty"
    assert outcome.chunks[-1]["foo"] == 1


def test_lines_of_json_are_events() -> None:
    lines = b"\n".join(json.dumps(one).encode() for one in [*text("Hi"), STOP]) + b"\n"
    outcome = normalize(lines)
    assert (outcome.said(), outcome.finish()) == ("Hi", "stop")
    assert "B803" in outcome.codes


def test_lines_of_json_leave_as_they_come() -> None:
    normalizer = Normalizer(RequestInfo.parse(CHAT, STREAM), Options())
    out = normalizer.feed(json.dumps(text("Hi")[1]).encode() + b"\n")
    assert b'"Hi"' in out


def test_a_completion_with_done_behind_it() -> None:
    """9router."""
    outcome = normalize(json.dumps(COMPLETION).encode() + b"\n\ndata: [DONE]\n\n")
    assert (outcome.said(), outcome.finish()) == ("Hello", "stop")


def test_a_text_completion_both_ways() -> None:
    value = {**COMPLETION, "object": "text_completion"}
    value["choices"] = [{"index": 0, "text": "Hi", "logprobs": None, "finish_reason": "stop"}]
    body = json.dumps(value).encode()
    streamed = normalize(body, STREAM, COMPLETIONS)
    assert [c["choices"][0]["text"] for c in streamed.chunks] == ["Hi"]
    assert normalize(body, PLAIN, COMPLETIONS).out == body
    gathered = json.loads(normalize(streamed.out, PLAIN, COMPLETIONS).out)
    assert gathered == value


# --- stream: false --------------------


def answer(body: bytes, status: int = 200, **options: Any) -> tuple[int, Any, str | None]:
    outcome = normalize(body, PLAIN, status=status, **options)
    return outcome.normalizer.status, json.loads(outcome.out), outcome.normalizer.content_type


def test_a_stream_in_answer_to_a_plain_request_is_gathered() -> None:
    logprobs = [chunk({"content": word}) for word in ("Hel", "lo")]
    for n, one in enumerate(logprobs):
        one["choices"][0]["logprobs"] = {"content": [{"token": str(n)}], "refusal": None}
    fragments = [chunk({"tool_calls": [{"index": 0, **CALLS[0]}]}, p="x")]
    body = raw(
        chunk({"role": "assistant", "content": ""}),
        *logprobs,
        *fragments,
        chunk({}, "stop", usage=USAGE),
    )
    status, value, content_type = answer(body)
    assert (status, content_type) == (200, "application/json")
    assert value == {
        **COMPLETION,
        "choices": [
            {
                "index": 0,
                "message": {**MESSAGE, "tool_calls": CALLS},
                "logprobs": {"content": [{"token": "0"}, {"token": "1"}], "refusal": None},
                "finish_reason": "tool_calls",
            }
        ],
        "p": "x",
    }


def test_its_head_is_held_until_the_outcome_is_known() -> None:
    normalizer = Normalizer(RequestInfo.parse(CHAT, PLAIN), Options())
    assert normalizer.feed(raw(*text("Hi"), done=False)) == b""
    assert normalizer.content_type is None
    normalizer.feed(raw(STOP))
    assert normalizer.content_type == "application/json"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"message": "no", "code": 429}, 429),
        ({"message": "no", "code": "x"}, 502),
        ({"code": 200}, 502),
    ],
)
def test_an_error_in_it_has_a_status_of_its_own(error: dict[str, Any], status: int) -> None:
    for body in (raw(*text("Hi"), event({"error": error})), json.dumps({"error": error}).encode()):
        got, value, content_type = answer(body)
        assert (got, content_type) == (status, "application/json")
        assert value["error"]["code"] == error["code"]


def test_a_cut_stream_is_a_bad_gateway() -> None:
    status, value, _ = answer(raw(*text("Hi"), done=False))
    assert (status, value["error"]["type"]) == (502, "upstream_truncated")


def test_a_plain_completion_leaves_as_it_came() -> None:
    body = completion({}, system_fingerprint="fp")
    outcome = normalize(body, PLAIN)
    assert outcome.out == body
    assert not outcome.codes


@pytest.mark.parametrize(
    ("given", "repaired"),
    [
        ({"finish_reason": "eos"}, {"finish_reason": "stop"}),
        ({"message": {"content": None, "tool_calls": CALLS}}, {"finish_reason": "tool_calls"}),
        ({"message": {"content": [{"type": "text", "text": "Hi"}]}}, {"content": "Hi"}),
        ({"message": {"content": "Hi", "reasoning": "Hm"}}, {"reasoning_content": "Hm"}),
        ({"finish_reason": "tool_calls"}, {"finish_reason": "stop"}),
    ],
)
def test_a_plain_completion_is_repaired(given: dict[str, Any], repaired: dict[str, Any]) -> None:
    body = json.dumps({**COMPLETION, "choices": [{**CHOICE, **given}]}).encode()
    _, value, content_type = answer(body)
    (choice,) = value["choices"]
    flat = {**choice, **choice["message"]}
    assert {key: flat.get(key) for key in repaired} == repaired
    assert content_type == "application/json"
    assert value["usage"] == USAGE


def test_arguments_of_a_plain_completion_are_text() -> None:
    calls = [{"index": 0, "function": {"name": "f", "arguments": {"x": 1}}}]
    _, value, _ = answer(completion({"content": None, "tool_calls": calls}, "tool_calls"))
    (call,) = value["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "f", "arguments": '{"x":1}'}
    assert (call["type"], call["index"]) == ("function", 0)
    assert call["id"].startswith("call_")


def test_json_that_is_no_completion_passes() -> None:
    assert normalize(b'{"foo": 1}', PLAIN).out == b'{"foo": 1}'


def test_a_plain_answer_that_is_none_is_a_bad_gateway() -> None:
    for body in (b"", b"<html>oops</html>", b"oops"):
        status, value, _ = answer(body)
        assert status == 502
        assert "error" in value


# --- error statuses --------------------


@pytest.mark.parametrize("request_body", [STREAM, PLAIN, None])
def test_the_body_of_an_error_status_gets_the_api_s_form(request_body: Any) -> None:
    outcome = normalize(b'{"detail": "no"}', request_body, status=422)
    assert json.loads(outcome.out)["error"]["message"] == "no"
    assert (outcome.normalizer.status, outcome.normalizer.content_type) == (422, "application/json")


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "no", "type": "t", "param": null, "code": null}}',
        b"<html>Bad Gateway</html>",
        b"",
        b"Internal Server Error",
    ],
)
def test_other_bodies_of_an_error_status_pass(body: bytes) -> None:
    outcome = normalize(body, STREAM, status=500)
    assert outcome.out == body
    assert outcome.normalizer.content_type is None


# --- nothing known, nothing touched --------------------


def test_where_nothing_is_known_of_the_request_the_kind_stays() -> None:
    stream, plain = raw(*text("Hi"), STOP), completion({})
    assert normalize(stream, None).out == stream
    assert normalize(plain, None).out == plain


def test_other_paths_pass() -> None:
    body = b'data: {"choices": null}\n\nwhatever\r\n'
    assert normalize(body, STREAM, "/v1/embeddings").out == body


def test_the_mode_report_touches_nothing() -> None:
    body = b'\xef\xbb\xbfdata:{"choices":[{"delta":{"content":"Hi"}}]}\r\n\r\nrest'
    pieces = [body[i : i + 1] for i in range(len(body))]
    outcome = normalize(b"", mode="report", pieces=pieces)
    assert outcome.out == body
    assert {"F101", "F102", "F103", "E201", "C301"} <= outcome.codes
    assert outcome.normalizer.content_type is None


def test_codes_can_be_switched_off_and_on() -> None:
    body = raw({**chunk({"content": "Hi"}), "model": ""}, STOP)
    assert {"C301", "E207"} <= normalize(body).codes
    assert normalize(body, ignore=("C3",)).codes == {"E207"}
    assert normalize(body, select=("C3",)).codes == {"C301"}
    assert normalize(body, select=("C", "E2"), ignore=("E207",)).codes == {"C301"}


def test_the_report_counts() -> None:
    parts = [chunk({"role": "assistant", "content": word}) for word in ("Hél", "lo", "!")]
    report = normalize(raw(*parts, STOP)).report
    assert (report.events_in, report.events_out) == (4, 4)
    assert report.characters_in == report.characters_out == {"content": 6}
    assert report.codes == {"C302": 2}
    assert report.repairs["C302"].first == 2
    assert report.finish == {0: "stop"}
    assert report.end == "done"


def test_first_events_leave_when_they_come() -> None:
    normalizer = Normalizer(RequestInfo.parse(CHAT, STREAM), Options())
    for one in text("a", "b", "c"):
        assert normalizer.feed(event(one)) == event(one)


def test_the_envelope_of_all_this_is_the_tests_own() -> None:
    assert ENVELOPE["id"] == COMPLETION["id"]
