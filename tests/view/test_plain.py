"""What a plain program ends up with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from normalizer.view.plain import PROGRAMS, run, source
from tests.streams import call, chunk, raw, text

HEAD = {"id": "a", "type": "function", "name": "f"}


def test_a_good_stream() -> None:
    got = run("chat", raw(*text("Hi", "!"), chunk({}, "stop")))
    assert (got.text, got.finish, got.complaint) == ("Hi!", "stop", "")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (raw({"choices": []}), "IndexError: list index out of range"),
        (b'{"choices":[]}', "nothing at all: no event, no exception"),
        (raw(*text("Hi")), "it never ends"),
        (raw({"error": {"message": "busy"}}), "StreamError: {'message': 'busy'}"),
        (raw(call(**HEAD), call('{"a"'), chunk({}, "tool_calls")), "arguments that are no JSON"),
        (raw(call(**HEAD), call("{}"), chunk({}, "stop")), "the calls are never made"),
        (raw(chunk({}, "tool_calls")), "calls nothing"),
        (raw(chunk({"role": "assistant"}), chunk({}, "stop")), "no text"),
        (b"data: {\n\n", "JSONDecodeError"),
    ],
)
def test_what_is_wrong(body: bytes, complaint: str) -> None:
    assert run("chat", body).complaint.startswith(complaint)


def typed(*events: dict[str, Any]) -> bytes:
    return b"".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events)


def test_responses() -> None:
    item = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
    body = typed(
        {"type": "response.output_text.delta", "delta": "Hi"},
        {"type": "response.output_item.done", "item": item},
        {"type": "response.completed", "response": {"status": "completed"}},
    )
    got = run("responses", body)
    assert (got.text, got.calls, got.complaint) == ("Hi", {"a": ["f", "{}"]}, "")


def test_messages() -> None:
    block = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    body = typed(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_start", "index": 1, "content_block": block},
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": "{}"},
        },
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    )
    got = run("messages", body)
    assert (got.text, got.calls, got.complaint) == ("Hi", {1: ["f", "{}"]}, "")


def test_a_legacy_completion() -> None:
    choice = {"index": 0, "text": "Hi", "finish_reason": "length"}
    assert run("completions", raw({"choices": [choice]})).as_json()["complaint"] == ""


def test_the_source_that_is_shown_is_the_program() -> None:
    assert {source(endpoint).partition("(")[0] for endpoint in PROGRAMS} == {
        "def read_chat",
        "def read_completions",
        "def read_responses",
        "def read_messages",
    }
