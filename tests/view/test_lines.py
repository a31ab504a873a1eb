"""The line that each event has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from normalizer.view.lines import line_of
from tests.streams import USAGE, call, chunk

RESPONSE = {"id": "resp_1", "usage": {"input_tokens": 3, "output_tokens": 4}}


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (chunk({"content": "Hel"}), '+"Hel"'),
        (chunk({"role": "assistant", "content": ""}), "role assistant"),
        (chunk({"reasoning_content": "Hm"}), 'reasoning "Hm"'),
        (call(id="a", name="get_weather"), "call get_weather"),
        (call('{"a":', index=1), 'arguments 1 "{\\"a\\":"'),
        (chunk({}, "stop"), "finish stop"),
        (chunk({"content": "Hi"}, index=1), '[1] +"Hi"'),
        (chunk({}), "an empty delta"),
        ({"choices": [], "usage": USAGE}, "no choices, usage 3+4"),
        ({"choices": [{"index": 0, "text": "Hi", "finish_reason": None}]}, '+"Hi"'),
        ({"error": {"message": "too long"}}, "error: too long"),
        ({"error": "too long"}, "error: too long"),
        ({"type": "response.output_text.delta", "delta": "Hel"}, 'output_text.delta, +"Hel"'),
        ({"type": "response.completed", "response": RESPONSE}, "response.completed, usage 3+4"),
        (
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hel"}},
            'content_block_delta, +"Hel", text_delta',
        ),
        (
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
            "message_delta, stop end_turn",
        ),
        ({"choices": [{"delta": 5}, None]}, "an empty delta"),
        ({"something": "else"}, '{"something": "else"}'),
        ([1], "[1]"),
    ],
)
def test_data(value: Any, line: str) -> None:
    assert line_of("data", "", json.dumps(value)) == line


def test_what_is_no_json_is_shown_by_its_beginning() -> None:
    assert line_of("invalid", "", "<html>" + "x" * 200) == "invalid"
    assert line_of("data", "", "x" * 200) == "x" * 80 + "…"


def test_other_kinds() -> None:
    assert line_of("done", "", "[DONE]") == "[DONE]"
    assert line_of("comment", "", ": ping") == ": ping"
    assert line_of("cut", "", "") == "the connection breaks off"
