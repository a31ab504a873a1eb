"""The terminal event, usage, errors and cuts."""

from __future__ import annotations

from typing import Any

import pytest

from normalizer import Normalizer, Options, RequestInfo
from tests.wires.responses.streams import (
    DONE,
    PATH,
    STREAM,
    USAGE,
    arguments_delta,
    call,
    created,
    ended,
    event,
    events_of,
    message,
    message_events,
    normalize,
    raw,
    response,
)

OPEN = [created(), *message_events("Hello")[:3]]
ERROR = {"type": "error", "code": "server_error", "message": "boom", "param": None}


@pytest.mark.parametrize("kind", ["completed", "incomplete"])
def test_open_items_are_closed_with_the_status_of_the_response(kind: str) -> None:
    outcome = normalize(raw(OPEN, event(kind, response=response(kind))))
    assert outcome.types[-4:] == [
        *("output_text.done", "content_part.done", "output_item.done", kind),
    ]
    assert outcome.output[0]["status"] == kind


def test_a_failed_response_leaves_items_open() -> None:
    error = {"code": "c", "message": "m"}
    outcome = normalize(raw(OPEN, event("failed", response=response("failed", None, error=error))))
    assert "output_item.done" not in outcome.types
    assert outcome.output[0]["status"] == "incomplete"
    assert outcome.output[0]["content"][0]["text"] == "Hello"
    assert outcome.report.end == "error"


@pytest.mark.parametrize("text", ["", "Hel", "llo"])
def test_a_part_of_the_text_in_the_terminal_is_filled(text: str) -> None:
    outcome = normalize(raw(created(), message_events("Hello"), ended(message(text))))
    assert outcome.output == [message("Hello")]
    assert outcome.codes == {"R501"}


def test_completed_with_incomplete_stays_unless_it_is_strict() -> None:
    last = event("completed", response=response("incomplete", (message("Hi"),)))
    body = raw(created(), message_events("Hi"), last)
    assert normalize(body).out == body
    assert normalize(body).codes == {"R506"}
    assert normalize(body, terminal="strict").types[-1] == "incomplete"


@pytest.mark.parametrize(
    ("usage", "leaves"),
    [
        (USAGE, USAGE),
        (None, None),
        ({k: v for k, v in USAGE.items() if k != "total_tokens"}, USAGE),
        ({"input_tokens": 3, "output_tokens": 4}, USAGE),
        ({**USAGE, "input_tokens_details": {"cached_tokens": None}}, USAGE),
        ({**USAGE, "output_tokens_details": {}}, USAGE),
        (
            {"prompt_tokens": 3, "completion_tokens": 4},
            {**USAGE, "prompt_tokens": 3, "completion_tokens": 4},
        ),
        ({"input_tokens": None, "output_tokens": 4}, None),
        ("many", None),
    ],
)
def test_usage(usage: Any, leaves: Any) -> None:
    outcome = normalize(raw(created(), message_events("Hi"), ended(message("Hi"), usage=usage)))
    last = outcome.events[-1]["response"]
    assert last["usage"] == leaves
    assert last.get("native_usage") == (usage if leaves is None and usage is not None else None)
    assert outcome.report.usage == leaves


def test_usage_beside_the_response_moves_in() -> None:
    last = {**ended(message("Hi"), usage=None), "usage": USAGE}
    outcome = normalize(raw(created(), message_events("Hi"), last))
    assert outcome.events[-1]["response"]["usage"] == USAGE
    assert "usage" not in outcome.events[-1]


def test_the_end_of_the_body_is_no_end_of_the_answer() -> None:
    outcome = normalize(raw(created(), message_events("Hello")))
    assert outcome.types[-2:] == ["error", "failed"]
    assert outcome.report.end == "truncated"
    assert outcome.events[-2]["error"]["type"] == "upstream_truncated"
    assert outcome.events[-1]["response"]["error"]["code"] == "upstream_truncated"
    assert outcome.output == [message("Hello")]


def test_a_broken_connection_is_named() -> None:
    outcome = normalize(raw(OPEN), broken="the connection was reset")
    assert "the connection was reset" in outcome.events[-1]["response"]["error"]["message"]


def test_done_without_a_terminal_event_completes() -> None:
    outcome = normalize(raw(OPEN, done=True))
    assert outcome.types[-1] == "completed"
    assert outcome.output == [message("Hello")]
    assert outcome.events[-1]["response"]["usage"] is None
    assert outcome.out.endswith(DONE)


@pytest.mark.parametrize("body", [b"", b"\n", b": hello\n\n", DONE, raw(created(), done=True)])
def test_nothing_is_an_error(body: bytes) -> None:
    outcome = normalize(body)
    assert outcome.types == ["created", "error", "failed"]
    assert outcome.events[1]["error"]["type"] == "upstream_empty"
    assert outcome.report.end == "empty"
    assert outcome.out.endswith(DONE) is (DONE in body)


@pytest.mark.parametrize(
    "error", [ERROR, {"type": "error", "error": {"type": "t", "code": None, "message": "boom"}}]
)
def test_the_apis_errors_pass_and_are_followed_by_failed(error: dict[str, Any]) -> None:
    outcome = normalize(raw(OPEN, error))
    assert outcome.out.startswith(raw(OPEN, error))
    assert outcome.types[-2:] == ["error", "failed"]
    assert outcome.events[-1]["response"]["error"]["message"] == "boom"
    assert "R702" in outcome.codes


def test_an_error_and_its_failed_pass_byte_for_byte() -> None:
    last = event(
        "failed", response=response("failed", error={"code": "server_error", "message": "boom"})
    )
    body = raw(created(), ERROR, last)
    assert normalize(body).out == body
    assert normalize(body).report.end == "error"


@pytest.mark.parametrize(
    "error",
    [
        b'data: {"error":"boom"}\n\n',
        b'data: {"error":{"message":"boom","code":500}}\n\n',
        b'data: {"detail":"boom"}\n\n',
        b'data: {"object":"error","message":"boom","code":400}\n\n',
        b'data: [{"error":{"code":429,"message":"boom","status":"X"}}]\n\n',
        b'event: error\ndata: "boom"\n\n',
        b"event: error\ndata: boom\n\n",
        b'error: {"message":"boom"}\n\n',
    ],
)
def test_errors_of_any_shape_become_the_apis(error: bytes) -> None:
    outcome = normalize(raw(OPEN) + error)
    assert outcome.types[-2:] == ["error", "failed"]
    first, last = outcome.events[-2:]
    assert "boom" in first["message"]
    assert "boom" in first["error"]["message"]
    assert "boom" in last["response"]["error"]["message"]
    assert isinstance(last["response"]["error"]["code"], str)


def test_a_failed_response_waits_for_its_error() -> None:
    silent = event("failed", response=response("failed"))
    outcome = normalize(raw(created(), silent, ERROR))
    assert outcome.types == ["created", "error", "failed"]
    assert outcome.events[-1]["response"]["error"]["message"] == "boom"


def test_a_failed_response_waits_for_two_seconds_at_most() -> None:
    normalizer = Normalizer(RequestInfo.parse(PATH, STREAM), Options(finish_timeout=1e-9))
    silent = event("failed", response=response("failed"))
    assert b"response.failed" not in normalizer.feed(raw(created(), silent))
    assert normalizer.waiting is not None
    last = events_of(normalizer.flush())[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["error"]["message"]
    assert normalizer.ended


def test_the_error_beside_a_failed_response_is_copied_into_it() -> None:
    last = {**event("failed", response=response("failed")), "error": {"message": "boom"}}
    outcome = normalize(raw(created(), last))
    assert outcome.events[-1]["response"]["error"]["message"] == "boom"
    # Grok Build reads it there, and asks again where it is missing
    assert outcome.events[-1]["error"] == {"message": "boom"}


def test_an_error_behind_a_complete_answer_is_left_out() -> None:
    body = raw(created(), message_events("Hi"), ended(message("Hi")))
    assert normalize(body + raw(ERROR)).out == body


def test_no_json_ends_the_stream() -> None:
    outcome = normalize(raw(OPEN) + b'data: {"type":"response.outp\n\n' + raw(ended(message("Hi"))))
    assert outcome.types[-2:] == ["error", "failed"]
    assert outcome.events[-2]["error"]["type"] == "upstream_invalid"


@pytest.mark.parametrize("line", [b"event: response.created\n", b""])
def test_a_broken_created_is_made_anew(line: bytes) -> None:
    broken = line + b'data: {"type":"response.created","response":{"id":"resp_1","ins\n\n'
    outcome = normalize(broken + raw(message_events("Hi"), ended(message("Hi"))))
    assert outcome.types[0] == "created"
    assert outcome.types[-1] == "completed"
    assert "R706" in outcome.codes


def test_text_that_is_no_event_is_an_error_with_its_words() -> None:
    outcome = normalize(b"upstream connect error\n")
    assert outcome.types == ["created", "error", "failed"]
    assert "upstream connect error" in outcome.events[1]["message"]
    assert outcome.events[1]["error"]["type"] == "upstream_invalid"


def test_a_page_is_an_error_with_its_words() -> None:
    outcome = normalize(b"<html><h1>502 Bad Gateway</h1></html>")
    assert outcome.types == ["created", "error", "failed"]
    assert "502 Bad Gateway" in outcome.events[1]["message"]


@pytest.mark.parametrize(
    ("came", "name"),
    [
        (
            b'data: {"object":"chat.completion.chunk","choices":[{"delta":{"content":"x"}}]}\n\n',
            "Chat",
        ),
        (b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n', "Anthropic"),
    ],
)
def test_another_protocol_is_named(came: bytes, name: str) -> None:
    outcome = normalize(came + DONE)
    assert outcome.types == ["created", "error", "failed"]
    assert name in outcome.events[1]["message"]
    assert "R707" in outcome.codes


def test_a_call_that_was_cut_stays_cut() -> None:
    head = event("output_item.added", output_index=0, item=call(status="in_progress"))
    outcome = normalize(raw(created(), head, arguments_delta('{"a":')))
    assert outcome.types[-1] == "failed"
    assert outcome.output[0]["arguments"] == '{"a":'
    assert outcome.output[0]["status"] == "incomplete"


def test_a_failed_response_that_is_made_up_repeats_the_settings_of_the_stream() -> None:
    settings = {"temperature": 0.5, "top_p": 0.9, "tools": [{"type": "web_search"}], "store": False}
    outcome = normalize(raw(created(**settings), OPEN[1:]))
    failed = outcome.events[-1]["response"]
    assert failed["status"] == "failed"
    assert {key: failed[key] for key in settings} == settings


def test_a_break_is_told_in_words_that_complete_a_sentence() -> None:
    outcome = normalize(raw(OPEN), broken="because its connection broke")
    assert outcome.events[-2]["message"] == (
        "The upstream's stream ended because its connection broke."
    )
