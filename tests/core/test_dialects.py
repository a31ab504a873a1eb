"""Which protocol an object belongs to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from normalizer.core.dialects import (
    BEDROCK,
    CHAT,
    COHERE,
    GEMINI,
    MESSAGES,
    OLLAMA,
    RESPONSES,
    dialect_of,
)
from tests.core.values import JSON


@pytest.mark.parametrize(
    ("value", "dialect"),
    [
        ({"choices": []}, CHAT),
        ({"object": "chat.completion.chunk"}, CHAT),
        ({"type": "message_start", "message": {}}, MESSAGES),
        ({"type": "content_block_delta", "index": 0, "delta": {}}, MESSAGES),
        ({"type": "message", "role": "assistant", "content": []}, MESSAGES),
        ({"type": "response.created", "response": {}}, RESPONSES),
        ({"object": "response", "output": []}, RESPONSES),
        ({"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}, GEMINI),
        ([{"candidates": []}], GEMINI),
        ({"response": {"candidates": []}, "traceId": "t"}, GEMINI),
        ({"usageMetadata": {"promptTokenCount": 1}}, GEMINI),
        (
            {"model": "m", "created_at": "t", "message": {"role": "assistant"}, "done": False},
            OLLAMA,
        ),
        ({"model": "m", "created_at": "t", "response": "Hi", "done": True}, OLLAMA),
        ({"messageStart": {"role": "assistant"}}, BEDROCK),
        ({"contentBlockDelta": {"delta": {"text": "Hi"}}}, BEDROCK),
        ({"output": {"message": {}}, "stopReason": "end_turn"}, BEDROCK),
        ({"type": "message-start", "id": "1"}, COHERE),
        ({"is_finished": False, "event_type": "stream-start"}, COHERE),
        ({"generation_id": "g", "text": "Hi"}, COHERE),
    ],
)
def test_a_protocol_is_named(value: Any, dialect: str) -> None:
    assert dialect_of(value) == dialect


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"type": "ping"},
        {"type": "error", "error": {}},
        {"code": 20000, "message": "ok"},
        {"prompt_progress": {}},
        {"done": True},
        {"type": {}, "object": [], "event_type": 1, "choices": None},
        [],
        "message_start",
        None,
    ],
)
def test_what_any_gateway_may_send_is_nobody_s(value: Any) -> None:
    assert dialect_of(value) is None


@given(JSON)
def test_any_value_is_read(value: Any) -> None:
    dialect_of(value)
