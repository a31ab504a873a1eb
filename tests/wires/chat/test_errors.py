"""An upstream's error ends the stream in the API's shape, with the upstream's words and code."""

from __future__ import annotations

import json
from typing import Any

import pytest

from normalizer import Normalizer, Options, RequestInfo

CHAT = RequestInfo.parse("/v1/chat/completions", {"model": "m", "stream": True})


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, **more}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**head, "choices": [choice]}


HELLO = chunk({"role": "assistant", "content": "Hi"})
STOP = chunk({}, "stop")


def last(*events: dict[str, Any]) -> dict[str, Any]:
    """The last object that leaves in front of ``[DONE]``."""
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    normalizer = Normalizer(CHAT)
    out = normalizer.feed(body + b"data: [DONE]\n\n") + normalizer.close()
    *_, found, done, _ = out.split(b"\n\n")
    assert done == b"data: [DONE]"
    value: dict[str, Any] = json.loads(found.removeprefix(b"data: "))
    return value


@pytest.mark.parametrize("finish", [None, "stop", "error"])
@pytest.mark.parametrize("where", ["choice", "delta"])
def test_an_error_in_a_choice_is_the_stream_s(where: str, finish: str | None) -> None:
    inner = {"code": 502, "message": "boom"}
    in_choice, in_delta = chunk({}, finish, error=inner), chunk({"error": inner}, finish)
    error = last(HELLO, in_choice if where == "choice" else in_delta)["error"]
    assert (error["message"], error["code"]) == ("boom", 502)


@pytest.mark.parametrize(
    "value",
    [
        {"success": False, "errors": [{"code": 7, "message": "boom"}]},
        {"message": "boom"},
        {"statusCode": 429, "message": "boom"},
        {"fault": {"faultstring": "boom"}},
        {"Error": {"Message": "boom"}},
        {"throttlingException": {"message": "boom"}},
        {"type": "response.failed", "response": {"error": {"message": "boom"}}},
        {"Response": {"Error": {"Code": "A", "Message": "boom"}}},
        {"header": {"code": 10013, "message": "boom"}},
    ],
)
def test_a_shape_of_a_gateway_s_own_is_an_error(value: dict[str, Any]) -> None:
    assert last(HELLO, value)["error"]["message"] == "boom"


@pytest.mark.parametrize(
    "value", [{"code": 20000, "message": "ok"}, {"code": "Success", "message": "Success"}]
)
def test_a_greeting_that_says_success_is_none(value: dict[str, Any]) -> None:
    assert last(value, HELLO, STOP)["choices"][0]["finish_reason"] == "stop"


def test_the_error_of_the_report_is_an_object_though_a_text_leaves() -> None:
    normalizer = Normalizer(CHAT, Options(ignore=("X7",)))
    out = normalizer.feed(b'data: {"error":"busy"}\n\n') + normalizer.close()
    assert out == b'data: {"error":"busy"}\n\ndata: [DONE]\n\n'
    assert normalizer.report.error == {"error": "busy"}
