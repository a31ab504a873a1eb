"""Whole messages: repaired in place, as streams, and made of streams."""

from __future__ import annotations

import json
from typing import Any

import pytest

from normalizer import Normalizer
from tests.wires.messages.streams import (
    PARIS,
    STOP,
    TEXT,
    THINKING,
    Event,
    kinds,
    opened,
    piece,
    read,
    reason,
    request,
    said,
    signed,
    start,
    stopped,
    text,
    thought,
    tool,
    written,
)

ASKED = {"stream": False, "tools": [{"name": "get_weather"}]}
CALL = tool(0)["content_block"]
PARISIAN = {**CALL, "input": {"city": "Paris"}}


def message(**members: Any) -> Event:
    """A whole message; a member that is ``...`` is missing."""
    value = {**start()["message"], "stop_reason": "end_turn"}
    value |= {"content": [{"type": "text", "text": "Hi"}], **members}
    return {key: item for key, item in value.items() if item is not ...}


def answered(body: bytes, *, status: int = 200, **asked: Any) -> tuple[int, bytes]:
    """The status and the bytes that answer a request."""
    normalizer = Normalizer(request(**{**ASKED, **asked}), status=status)
    out = normalizer.feed(body) + normalizer.close()
    return normalizer.status, out


def repaired(**members: Any) -> Event:
    """What leaves of a whole message."""
    status, out = answered(json.dumps(message(**members)).encode())
    assert status == 200
    value: Event = json.loads(out)
    return value


# ---------------------------------------------------------------- repaired in place


def test_a_message_without_a_fault_leaves_byte_for_byte() -> None:
    body = json.dumps(message(extra=None), indent=1).encode()
    assert answered(body) == (200, body)


@pytest.mark.parametrize(
    ("members", "leaves"),
    [
        ({"stop_reason": "stop"}, {"stop_reason": "end_turn", "native_stop_reason": "stop"}),
        ({"stop_reason": None}, {"stop_reason": "end_turn"}),
        ({"stop_sequence": ...}, {"stop_sequence": None}),
        ({"usage": ...}, {"usage": {"input_tokens": 0, "output_tokens": 0}}),
        ({"content": "Hi"}, {"content": [{"type": "text", "text": "Hi"}]}),
        ({"content": None}, {"content": []}),
        ({"model": None}, {"model": "m"}),
        ({"content": [{**CALL, "input": PARIS}]}, {"content": [PARISIAN]}),
        ({"content": [CALL]}, {"stop_reason": "tool_use", "native_stop_reason": "end_turn"}),
        ({"content": [CALL, CALL]}, {"content": [CALL]}),
        ({"content": [{**CALL, "input": "{"}]}, {"content": [{**CALL, "input": "{"}]}),
    ],
)
def test_a_message_is_repaired_in_place(members: Event, leaves: Event) -> None:
    value = repaired(**members)
    assert {name: value[name] for name in leaves} == leaves
    assert list(value)[:4] == list(message())[:4]


def test_ids_of_calls_are_made_up() -> None:
    first, second = repaired(content=[CALL, {**CALL, "name": "x"}])["content"]
    assert first["id"] == "toolu_1"
    assert second["id"].startswith("toolu_")
    assert second["id"] != "toolu_1"


def test_a_word_of_failure_has_the_message_beside_it() -> None:
    status, out = answered(json.dumps(message(stop_reason="error")).encode())
    value = json.loads(out)
    assert status == 502
    assert value["error"]["code"] == "upstream_error"
    assert value["message"]["content"] == message()["content"]


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        ({"error": {"message": "x", "code": "400"}}, 400, "invalid_request_error"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, 529, None),
        ({"error": "x"}, 500, "api_error"),
        ({"choices": [{"message": {"content": "x"}}]}, 502, "api_error"),
        ({"id": "x"}, 502, "api_error"),
    ],
)
def test_an_error_has_its_status(error: Event, status: int, kind: str | None) -> None:
    got, out = answered(json.dumps(error).encode())
    value = json.loads(out)
    assert (got, value["type"]) == (status, "error")
    assert value["error"]["type"] == (kind or error["error"]["type"])


def test_the_body_of_an_error_status_gets_the_apis_shape_or_passes() -> None:
    proper = b'{"type": "error", "error": {"type": "not_found_error", "message": "x"}}'
    assert answered(proper, status=404) == (404, proper)
    status, out = answered(b'{"error": {"message": "x", "code": 404}}', status=404, stream=True)
    assert status == 404
    assert json.loads(out)["error"]["type"] == "not_found_error"
    assert answered(b"<html>", status=502) == (502, b"<html>")


# ---------------------------------------------------------------- as a stream


def test_a_message_becomes_a_stream() -> None:
    content = [
        {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
        {"type": "text", "text": "x" * 10_000, "citations": [{"cited_text": "y"}]},
        {"type": "redacted_thinking", "data": "z"},
        {**CALL, "input": {"city": "Paris"}},
        {**CALL, "id": "toolu_2"},
    ]
    whole = message(content=content, stop_reason="tool_use", container=None)
    _, out = answered(json.dumps(whole).encode(), stream=True)
    sent = read(out)
    short = "0 0d 0d 0. 1 1d 1d 1d 1d 1. 2 2. 3 3d 3. 4 4d 4."
    assert kinds(sent) == f"message_start {short} message_delta message_stop"
    assert (said(sent), said(sent, "partial_json", 3)) == ("x" * 10_000, '{"city":"Paris"}')
    assert sent[0]["message"]["usage"] == {"input_tokens": 25, "output_tokens": 0}
    assert sent[-2] == {**reason("tool_use", 1)}
    # and back
    _, again = answered(out)
    assert json.loads(again) == whole


@pytest.mark.parametrize("content", ["Hi", [], None])
def test_odd_content_becomes_a_stream_too(content: Any) -> None:
    _, out = answered(json.dumps(message(content=content)).encode(), stream=True)
    assert said(read(out)) == (content or "")


def test_a_message_that_failed_is_delivered_and_then_an_error() -> None:
    _, out = answered(json.dumps(message(stop_reason="abort")).encode(), stream=True)
    assert kinds(read(out)) == "message_start 0 0d 0. error"


@pytest.mark.parametrize("body", [{"error": "x"}, {"choices": []}, {"a": 1}, [], 7])
def test_what_is_no_message_is_an_error_event(body: Any) -> None:
    _, out = answered(json.dumps(body).encode(), stream=True)
    assert [one["type"] for one in read(out)] == ["error"]


# ---------------------------------------------------------------- of a stream


def test_a_stream_becomes_a_message() -> None:
    events = [start(), opened(0, THINKING), thought(0), thought(0), signed(0), stopped(0)]
    events += [opened(1, TEXT), text(1), text(1, " you"), stopped(1)]
    events += [tool(2), piece(2, '{"city": '), piece(2, '"Paris"}'), stopped(2)]
    status, out = answered(written({"type": "ping"}, *events, reason("tool_use"), STOP))
    assert status == 200
    assert json.loads(out) == message(
        content=[
            {"type": "thinking", "thinking": "HmHm", "signature": "c2ln"},
            {"type": "text", "text": "Hi you"},
            {**CALL, "input": {"city": "Paris"}},
        ],
        stop_reason="tool_use",
        usage={"input_tokens": 25, "output_tokens": 5},
    )


@pytest.mark.parametrize(
    ("last", "status"),
    [
        ([], 502),
        ([{"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}], 429),
    ],
)
def test_a_stream_that_fails_becomes_an_error_with_its_status(
    last: list[Event], status: int
) -> None:
    got, out = answered(written(start(), opened(0, TEXT), text(0), *last))
    assert (got, json.loads(out)["type"]) == (status, "error")
