"""Errors in all the shapes that upstreams give them, and the ones that are our own."""

from __future__ import annotations

from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.core.lenient import dumps

ERROR_SHAPE = Deviation(
    code="X701",
    name="error-shape",
    fault="An error has a form of its own.",
    repair='It becomes `{"error": {"message", "type", "param", "code"}}`.',
)
ERROR_EMPTY = Deviation(
    code="X702",
    name="error-empty",
    fault="A chunk that is not an error has an empty `error`.",
    repair="The `error` is removed.",
)
ERROR_WITHOUT_DONE = Deviation(
    code="X703",
    name="error-without-done",
    fault="The stream ends after an error without `[DONE]`.",
    repair="`[DONE]` is added.",
    structural=True,
)
AFTER_ERROR = Deviation(
    code="X704",
    name="data-after-error",
    fault="Data arrives after an error.",
    repair="The data is not sent.",
    structural=True,
)
DONE_MISSING = Deviation(
    code="X705",
    name="done-missing",
    fault="All choices have finished, but the stream ends without `[DONE]`.",
    repair="`[DONE]` is added.",
)
AFTER_DONE = Deviation(
    code="X706",
    name="data-after-done",
    fault="Data or a second `[DONE]` arrives after the first `[DONE]`.",
    repair="The data is not sent.",
    structural=True,
)
TRUNCATED = Deviation(
    code="X707",
    name="truncated",
    fault="The stream ends before all choices have finished.",
    repair="The stream ends with an error of type `upstream_truncated`.",
)
EMPTY = Deviation(
    code="X708",
    name="empty",
    fault="The body has no choice.",
    repair="The answer is an error of type `upstream_empty`.",
)
INVALID = Deviation(
    code="X709",
    name="invalid-data",
    fault="Data is not JSON, or is a page of HTML.",
    repair="The stream ends with an error of type `upstream_invalid`.",
)
TOO_LARGE = Deviation(
    code="X710",
    name="event-too-large",
    fault="An event is too large, or too much would have to be kept.",
    repair="The stream ends with an error of type `upstream_too_large`.",
    structural=True,
)
FAILURE_WORD = Deviation(
    code="X711",
    name="failure-as-finish",
    fault="`finish_reason` is a word for a failure, such as `error` or `abort`.",
    repair="The answer ends with an error instead of `stop`.",
)

_MESSAGES = (
    *("message", "status_msg", "error_msg", "error_message", "msg"),
    *("detail", "details", "text", "reason"),
)
_CODES = ("code", "status_code", "error_code", "status", "http_code")
_MEMBERS = ("message", "type", "param", "code")


class Errors:
    """Recognises an upstream's error and gives it the API's shape."""

    __slots__ = ("_found",)

    def __init__(self, found: Findings) -> None:
        self._found = found

    def read(self, value: Any, name: str = "") -> dict[str, Any] | None:
        """The error event that ``value`` is, with what stood beside the error; None if it is none.

        ``name`` is the event's: an `event: error` makes an error of whatever it holds.
        """
        if isinstance(value, list):
            inner = next((error for item in value if (error := self._of(item, ""))), None)
        else:
            inner = self._of(value, name)
        if inner is None:
            if isinstance(value, dict) and "error" in value and self._found(ERROR_EMPTY):
                del value["error"]
            return None
        return inner

    def own(self, kind: str, message: str, code: str | int | None = None) -> dict[str, Any]:
        """An error of ours; ``kind`` is its type, such as `upstream_truncated`."""
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def _of(self, value: Any, name: str) -> dict[str, Any] | None:
        if not isinstance(value, dict):
            if name == "error":
                self._found(ERROR_SHAPE)
                return {"error": _canonical(value, {})}
            return None
        error = value.get("error")
        if error and error != {"code": 0, "message": ""}:
            rest = {key: item for key, item in value.items() if key != "error"}
            canonical = _canonical(error, rest)
            if canonical == error:
                return value
            self._found(ERROR_SHAPE)
            return {"error": canonical, **rest}
        shape = _shape_without_error_key(value, named=name == "error")
        if shape is not None:
            self._found(ERROR_SHAPE)
        return shape


def _shape_without_error_key(value: dict[str, Any], *, named: bool) -> dict[str, Any] | None:
    base = value.get("base_resp")
    if isinstance(base, dict) and base.get("status_code"):
        rest = {key: item for key, item in value.items() if key != "error"}
        return {"error": _canonical(base, {}), **rest}
    if value.get("object") == "error" or (value.get("error_code") and "error_code" in value):
        return {"error": _canonical(value, {})}
    if value.get("choices") or value.get("usage"):
        return None
    fails = type(value.get("code")) in (int, str) and value["code"] not in (0, "0", "", 200, "200")
    said = value.get("detail") or value.get("error_message")
    if named or said or (fails and _message(value) is not None):
        return {"error": _canonical(value, {})}
    return None


def _canonical(error: Any, beside: dict[str, Any]) -> dict[str, Any]:
    """`{"message", "type", "param", "code"}` first, the error's other members behind."""
    if isinstance(error, list):
        error = next((item for item in error if isinstance(item, dict)), {"message": error})
        error = error.get("error", error)
    if not isinstance(error, dict):
        words = _message(beside) if error is True else None
        code = error if type(error) is int else None
        error = {"message": error if words is None else words, "code": code}
    message = _message(error)
    if message is None:
        message = _message(beside)
    code = next((error[key] for key in _CODES if error.get(key) is not None), None)
    kind = error.get("type")
    canonical = {
        "message": message if message is not None else dumps(error).decode(),
        "type": kind if isinstance(kind, str) else None,
        "param": error.get("param"),
        "code": code if type(code) in (int, str) else None,
    }
    others = {
        key: value
        for key, value in error.items()
        if key not in _MEMBERS and not (key == "object" and value == "error") and value != message
    }
    return {**canonical, **others}


def _message(error: dict[str, Any]) -> str | None:
    for key in _MESSAGES:
        value = error.get(key)
        if isinstance(value, str) and value:
            return value
        if value and isinstance(value, (dict, list, int)):
            return dumps(value).decode()
    return None
