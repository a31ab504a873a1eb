"""Whole answers, and the one kind in answer to the other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from normalizer import RequestInfo
from tests.wires.responses.streams import (
    DONE,
    PATH,
    USAGE,
    call,
    created,
    ended,
    event,
    message,
    message_events,
    normalize,
    raw,
    reasoning,
    response,
)

WHOLE = {"model": "m", "input": "hi"}
ANSWER = response("completed", (reasoning("Hm"), message("Hello"), call('{"a":1}')))


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_a_canonical_answer_passes_byte_for_byte() -> None:
    raw_body = json.dumps(ANSWER, indent=1).encode()
    outcome = normalize(raw_body, WHOLE)
    assert outcome.out == raw_body
    assert outcome.codes == set()
    assert outcome.report.finish == {0: "completed"}
    assert outcome.report.usage == USAGE


def test_a_failed_response_is_an_answer() -> None:
    failed = response("failed", error={"code": "server_error", "message": "boom"})
    outcome = normalize(body(failed), WHOLE)
    assert outcome.out == body(failed)
    assert outcome.normalizer.status == 200


def test_an_answer_is_repaired_in_place() -> None:
    broken = {
        **ANSWER,
        "created_at": 1700000000.5,
        "usage": {"input_tokens": 3, "output_tokens": 4},
        "output": [
            {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]},
            {"type": "function_call", "name": "f", "arguments": {"a": 1}, "call_id": "call_1"},
        ],
        "x": [1],
    }
    answer = normalize(body(broken), WHOLE).json
    assert answer["created_at"] == 1700000000
    assert answer["usage"] == USAGE
    assert answer["x"] == [1]
    text, made = answer["output"]
    assert text["content"] == [{"type": "output_text", "text": "Hello", "annotations": []}]
    assert (text["role"], text["status"]) == ("assistant", "completed")
    assert text["id"].startswith("msg_")
    assert made["arguments"] == '{"a":1}'
    assert made["call_id"] == "call_1"


def test_a_stream_for_one_answer() -> None:
    stream = raw(created(), message_events("Hello"), ended())
    outcome = normalize(stream, WHOLE)
    assert outcome.json["output"] == [message("Hello")]
    assert outcome.normalizer.content_type == "application/json"


@pytest.mark.parametrize(
    "stream",
    [
        raw(created(), message_events("Hello")),
        raw(created(), {"type": "error", "code": "c", "message": "m", "param": None}),
        raw(created(), event("failed", response=response("failed", error={"message": "m"}))),
        raw(created(), done=True),
    ],
)
def test_a_stream_that_failed_for_one_answer(stream: bytes) -> None:
    outcome = normalize(stream, WHOLE)
    assert outcome.json["error"]["message"]
    assert outcome.normalizer.status == 502


def test_one_answer_for_a_stream() -> None:
    outcome = normalize(body(ANSWER))
    assert outcome.types[:2] == ["created", "in_progress"]
    assert outcome.types[-1] == "completed"
    assert outcome.said() == "Hello"
    assert outcome.said("reasoning_summary_text") == "Hm"
    assert outcome.said("function_call_arguments") == '{"a":1}'
    assert outcome.events[-1]["response"] == ANSWER
    assert outcome.codes == {"B801"}
    assert normalize(outcome.out).out == outcome.out


@pytest.mark.parametrize("status", ["incomplete", "failed"])
def test_one_answer_for_a_stream_ends_by_its_status(status: str) -> None:
    error = {"code": "c", "message": "m"} if status == "failed" else None
    outcome = normalize(body(response(status, (message("Hi"),), error=error)))
    assert outcome.types[-1] == status


def test_an_error_for_a_stream() -> None:
    outcome = normalize(body({"error": {"message": "boom", "code": "x"}}))
    assert outcome.types == ["created", "error", "failed"]
    assert outcome.events[-1]["response"]["error"]["message"] == "boom"


def test_an_error_with_status_200_for_one_answer() -> None:
    outcome = normalize(body({"detail": "boom"}), WHOLE)
    assert outcome.json["error"]["message"] == "boom"
    assert outcome.normalizer.status == 502


def test_another_protocols_answer_is_named() -> None:
    chat = {"object": "chat.completion", "choices": [{"message": {"content": "x"}}]}
    for request in (WHOLE, {**WHOLE, "stream": True}):
        outcome = normalize(body(chat), request)
        assert b"Chat Completions" in outcome.out
        assert "R707" in outcome.codes


@pytest.mark.parametrize("value", [[], [1], "x", 1, {"output": 1}, {"object": "response"}])
@pytest.mark.parametrize("request_", [WHOLE, {**WHOLE, "stream": True}])
def test_no_body_makes_it_raise(value: Any, request_: dict[str, Any]) -> None:
    outcome = normalize(body(value), request_)
    assert b"normalizer_error" not in outcome.out


def test_paths() -> None:
    assert RequestInfo.parse(PATH).endpoint == "responses"
    assert RequestInfo.parse("/v1/responses/resp_1").endpoint is None
    assert RequestInfo.parse("/v1/responses/compact").endpoint is None
    assert RequestInfo.parse("/x", paths=("/x=responses",)).endpoint == "responses"
    assert RequestInfo.guess(raw(created())).endpoint == "responses"
    assert RequestInfo.guess(body(ANSWER)).endpoint == "responses"
    assert RequestInfo.guess(b"data: {}").endpoint == "chat"
    assert DONE.endswith(b"\n\n")
