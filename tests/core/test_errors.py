"""The shapes of errors: each is read into the API's, and what only looks like one is none."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer.core.error_shapes import says_something
from normalizer.core.errors import presumed_error, read_error, words_of_page
from tests.core.values import JSON

CHOICES = [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def error(message: str = "boom", kind: str | None = None, code: Any = None, **more: Any) -> Any:
    return {"message": message, "type": kind, "param": None, "code": code, **more}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"error": "boom"}, {"error": error()}),
        ({"error": {"message": "boom", "n": 1}}, {"error": error(n=1)}),
        ({"error": 503}, {"error": error("503", code=503)}),
        ({"error": True, "message": "boom"}, {"error": error(), "message": "boom"}),
        ({"error": "boom", "status": 429}, {"error": error(code=429), "status": 429}),
        ({"error": ["boom"]}, {"error": error('["boom"]')}),
        ({"error": {"code": 502}}, {"error": error('{"code":502}', code=502)}),
        ({"error": {"message": "boom", "param": ["a"]}}, {"error": error() | {"param": '["a"]'}}),
        ([{"error": {"message": "boom"}}], {"error": error()}),
        ({"object": "error", "message": "boom", "code": 400}, {"error": error(code=400)}),
        ({"detail": "boom"}, {"error": error()}),
        (
            {"text": "boom", "error_code": 50002},
            {"error": error(code=50002, error_code=50002)},
        ),
        (
            {"base_resp": (came := {"status_code": 1008, "status_msg": "boom"}), "id": "x"},
            {"error": error(code=1008, status_code=1008), "base_resp": came, "id": "x"},
        ),
        (
            {"success": False, "errors": [{"code": 7, "message": "boom"}]},
            {"error": error(code=7), "success": False},
        ),
        ({"message": "boom"}, {"error": error()}),
        ({"message": "boom", "request_id": "r"}, {"error": error(request_id="r")}),
        ({"statusCode": 429, "message": "boom"}, {"error": error(code=429, statusCode=429)}),
        (
            {"fault": {"faultstring": "boom", "detail": {"errorcode": "x.y"}}},
            {"error": error(code="x.y", detail={"errorcode": "x.y"})},
        ),
        ({"Error": {"Message": "boom"}}, {"error": error()}),
        (
            {"throttlingException": {"message": "boom"}},
            {"error": error(kind="throttlingException")},
        ),
        ({"__type": "a#B", "message": "boom"}, {"error": error(kind="a#B", __type="a#B")}),
        (
            {"type": "response.failed", "response": {"id": "r", "error": {"message": "boom"}}},
            {"error": error(), "type": "response.failed", "response": {"id": "r"}},
        ),
        (
            {"Response": {"Error": {"Code": "A", "Message": "boom"}, "RequestId": "r"}},
            {"error": error(code="A", Code="A"), "Response": {"RequestId": "r"}},
        ),
        (
            {"header": {"code": 10013, "message": "boom"}},
            {"error": error(code=10013)},
        ),
        (
            {"type": "error", "code": "server_error", "message": "boom", "param": None},
            {"error": error(kind="error", code="server_error")},
        ),
        (
            {"event": "error", "status": 400, "message": "boom"},
            {"error": error(code=400, event="error", status=400)},
        ),
        ({"errorMessage": "boom", "errorType": "X"}, {"error": error(kind="X", errorType="X")}),
        ({"choices": [], "code": 500, "message": "boom"}, {"error": error(code=500)}),
        (
            {"success": False, "errors": ["boom", {"message": "bang"}]},
            {"error": error("bang", errors=["boom", {"message": "bang"}]), "success": False},
        ),
    ],
)
def test_a_shape_is_read_into_the_api_s(value: Any, expected: Any) -> None:
    before = copy.deepcopy(value)
    assert read_error(value) == expected
    assert value == before


@pytest.mark.parametrize(
    "value",
    [
        {"error": error()},
        {"error": error("x", "t", "c", failed_generation="{"), "id": "1", "choices": CHOICES},
    ],
)
def test_an_error_in_the_api_s_shape_is_the_same_object(value: Any) -> None:
    assert read_error(value) is value


@pytest.mark.parametrize(
    "value",
    [
        {"error": None, "choices": CHOICES},
        {"error": {}},
        {"error": ""},
        {"error": False},
        {"error": {"code": 0, "message": ""}},
        {"error": {"code": 0, "message": "ok"}},
        {"code": 0, "message": "Success", "choices": CHOICES},
        {"code": 20000, "message": "ok"},
        {"code": "Success", "message": "Success"},
        {"code": 200, "msg": "操作成功"},
        {"code": 1, "message": "success"},
        {"message": "Connected"},
        {"message": "Stream started"},
        {"status": "starting"},
        {"type": "ping"},
        {"header": {"code": 0, "message": "Success"}, "payload": {}},
        {"base_resp": {"status_code": 0, "status_msg": "Invalid parameters"}, "choices": CHOICES},
        {"choices": CHOICES, "code": 7, "message": "warm"},
        {"choices": CHOICES, "success": False, "detail": "low", "status": "failed"},
        {"usage": USAGE, "code": 7, "message": "warm"},
        {"choices": [{"delta": {"content": "x", "error": {"message": "of the answer's own"}}}]},
        {"choices": [{"delta": {}, "error": None}]},
        {"message": {"role": "assistant", "content": "Hi"}, "done": False, "created_at": "t"},
        {"type": "response.code_interpreter_call_code.done", "code": "print(1)", "text": "x"},
        {"type": "response.mcp_call.failed", "item_id": "i"},
        {"type": "message_start", "message": {"id": "m"}},
        {"prompt_progress": {"total": 1}},
        {"message": "Loading weights", "progress": 5},
        [{"choices": CHOICES}],
        [],
        "boom",
        7,
        None,
    ],
)
def test_what_only_looks_like_one_is_none(value: Any) -> None:
    assert read_error(value) is None


def test_an_error_beside_choices_keeps_them() -> None:
    value = {"id": "1", "error": {"code": 400, "message": "boom"}, "choices": CHOICES}
    assert read_error(value) == {"error": error(code=400), "id": "1", "choices": CHOICES}


@pytest.mark.parametrize("inner", [{"code": 502, "message": "boom"}, "boom"])
@pytest.mark.parametrize("finish", [None, "stop", "error"])
def test_an_error_in_a_choice_is_taken_out_of_it(inner: Any, finish: str | None) -> None:
    code = inner["code"] if isinstance(inner, dict) else None
    bare = {"index": 0, "delta": {}, "finish_reason": finish}
    for choice in ({**bare, "error": inner}, {**bare, "delta": {"error": inner}}):
        found = read_error({"id": "1", "choices": [*CHOICES, choice]})
        assert found == {"error": error(code=code), "id": "1", "choices": [*CHOICES, bare]}


@pytest.mark.parametrize("value", ["boom", {"message": "boom"}, {"error": "boom"}])
def test_a_named_event_is_one_whatever_it_holds(value: Any) -> None:
    assert read_error(value, "error") == {"error": error()}
    assert read_error({"a": 1}, "error") == {"error": error('{"a":1}', a=1)}
    assert read_error(None, "error") == {"error": error("null")}


def test_an_object_without_an_answer_may_be_the_only_explanation() -> None:
    notice = {"notice": "You are out of credits."}
    assert read_error(notice) is None
    assert presumed_error(notice) == {"error": error("You are out of credits.")}
    assert presumed_error({"code": 0, "message": "boom"}) == {"error": error(code=0)}
    assert presumed_error({"error": "boom"}) == {"error": error()}


@pytest.mark.parametrize(
    "value",
    [
        {"conversation_id": "c1"},
        {"type": "ping"},
        {"code": 20000, "message": "ok"},
        {"message": {"role": "assistant"}},
        {"choices": [], "note": "a moderation of the prompt"},
        {"choices": CHOICES, "note": "it is an answer"},
        {"usage": USAGE, "note": "it is an answer"},
        {"prompt_progress": {"total": 1}},
        {"type": "message_start", "message": {}},
        ["a b"],
    ],
)
def test_what_explains_nothing_is_no_presumed_error(value: Any) -> None:
    assert presumed_error(value) is None


def test_a_page_s_words_come_once() -> None:
    page = b"<html><title>502 Bad</title><style>a{b:c}</style><h1>502\nBad</h1><p>nginx</p></html>"
    assert words_of_page(page) == "502 Bad nginx"


@given(JSON, st.sampled_from(["", "error", "open"]))
def test_any_value_is_read_and_what_is_found_has_the_api_s_form(value: Any, name: str) -> None:
    before = repr(value)
    found = read_error(value, name)
    presumed = presumed_error(value)
    assert repr(value) == before
    for one in (found, presumed):
        if one is None:
            continue
        inner = one["error"]
        assert isinstance(inner["message"], str)
        assert inner["type"] is None or isinstance(inner["type"], str)
        assert inner["param"] is None or isinstance(inner["param"], str)
        assert inner["code"] is None or type(inner["code"]) in (int, str)
        assert read_error(one) is one or not says_something(inner)


@pytest.mark.parametrize("empty", [None, {}, ""])
def test_an_empty_error_beside_an_exception_does_not_hide_it(empty: Any) -> None:
    value = {"error": empty, "throttlingException": {"message": "slow down"}}
    found = read_error(value)
    assert found is not None
    assert found["error"]["message"] == "slow down"
    assert found["error"]["type"] == "throttlingException"
