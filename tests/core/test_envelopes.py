"""Answers in an object of a gateway's own, or in a string."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from normalizer import Normalizer, RequestInfo
from normalizer.core.envelopes import ENVELOPES, unwrapped
from tests.core.values import JSON

CHUNK = {"id": "c", "choices": [{"index": 0, "delta": {"content": "Hi"}}]}


@pytest.mark.parametrize("name", ENVELOPES)
def test_it_is_taken_out_and_what_stood_beside_it_stays(name: str) -> None:
    assert unwrapped({"success": True, name: CHUNK}) == (CHUNK, {"success": True})


def test_a_string_of_json_is_an_envelope() -> None:
    assert unwrapped(json.dumps(CHUNK)) == (CHUNK, {})
    assert unwrapped({"statusCode": 200, "body": json.dumps(CHUNK)}) == (CHUNK, {"statusCode": 200})
    assert unwrapped(json.dumps({"error": "boom"})) == ({"error": "boom"}, {})


@pytest.mark.parametrize(
    "value",
    [
        CHUNK,
        {"choices": [], "data": CHUNK},
        {"data": {"data": CHUNK}},
        {"data": CHUNK, "result": CHUNK},
        {"data": {"choices": None}},
        {"data": None},
        {"data": "{"},
        {"anything": CHUNK},
        "",
        "{}",
        "{",
        "[DONE]",
        None,
        [CHUNK],
    ],
)
def test_nothing_else_is_one(value: Any) -> None:
    assert unwrapped(value) is None


def test_half_a_surrogate_pair_in_the_string_raises_nothing() -> None:
    taken = unwrapped('{"choices": [], "a": "\ud83d"}')
    assert taken is not None
    assert taken[0]["choices"] == []


@given(JSON)
def test_any_value_is_read(value: Any) -> None:
    unwrapped(value)
    unwrapped({"data": value})


def test_a_chunk_as_a_json_string_is_one_in_an_envelope() -> None:
    chunk = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hi"}}]}
    normalizer = Normalizer(RequestInfo.parse("/v1/chat/completions", {"stream": True}))
    out = normalizer.feed(b"data: " + json.dumps(json.dumps(chunk)).encode() + b"\n\n")
    assert b'"content":"Hi"' in out
    assert normalizer.report.codes["E218"] == 1
    assert "B803" not in normalizer.report.codes
