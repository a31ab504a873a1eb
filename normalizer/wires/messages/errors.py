"""Errors in the API's form, `{"type": "error", "error": {"type", "message"}}`, and their types.

The type is what clients decide by whether to try again, so it is always one of the API's. An error
in the API's own form keeps its type if that ends in ``_error``: the API gets new ones.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.dialects import MESSAGES
from normalizer.core.errors import read_error
from normalizer.core.findings import Deviation, Findings
from normalizer.core.lenient import dumps

ERROR_SHAPE = Deviation(
    code="M701",
    name="messages-error-shape",
    fault="An error has another shape than the API's.",
    repair='It becomes `{"type": "error", "error": {"type", "message"}}`.',
    structural=True,
)
STOP_MISSING = Deviation(
    code="M702",
    name="message-stop-missing",
    fault="The stream ends behind the stop reason, without `message_stop`.",
    repair="`message_stop` is added.",
    structural=True,
)
TRUNCATED = Deviation(
    code="M703",
    name="message-truncated",
    fault="The stream ends before its stop reason.",
    repair="It ends in an error.",
    structural=True,
)
EMPTY = Deviation(
    code="M704",
    name="message-empty",
    fault="The answer is empty.",
    repair="It is an error, not an empty success.",
    structural=True,
)
NOT_MESSAGES = Deviation(
    code="M705",
    name="not-messages",
    fault="The answer is in another API's form.",
    repair="It becomes an error that names that API.",
    structural=True,
)

BEHIND_END = Deviation(
    code="M706",
    name="data-behind-message-stop",
    fault="Data comes behind `message_stop` or an error.",
    repair="It is left out.",
    structural=True,
)

TYPES = frozenset(
    (
        *("invalid_request_error", "authentication_error", "billing_error", "permission_error"),
        *("not_found_error", "request_too_large", "rate_limit_error", "api_error"),
        *("overloaded_error", "timeout_error", "conflict_error"),
    )
)
_BY_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
STATUSES = {kind: status for status, kind in _BY_STATUS.items()} | {
    "api_error": 500,
    "conflict_error": 409,
}
# types of errors that are this package's own
OURS = frozenset(
    (
        *("upstream_error", "upstream_truncated", "upstream_empty", "upstream_invalid"),
        *("upstream_too_large", "normalizer_error"),
    )
)


def own(code: str, message: str) -> dict[str, Any]:
    """An error of this package's. Example: ``own("upstream_empty", "It answered nothing.")``."""
    return {"type": "error", "error": {"type": "api_error", "message": message, "code": code}}


def failed(word: str) -> str:
    """The message of an error that a stop reason is."""
    return f"The upstream stopped with {word!r}."


def other_api(dialect: str | None) -> str:
    """The message of an error that an answer of another API is."""
    return f"The upstream answered in the form of {dialect}, not of {MESSAGES}."


def status_of(error: dict[str, Any]) -> int:
    """The status of an error that answers `stream: false`."""
    inner = error["error"]
    code, kind = inner.get("code"), inner.get("type")
    if isinstance(code, str) and code in OURS:
        return 502
    return STATUSES.get(kind, 502) if isinstance(kind, str) else 502


class Errors:
    """Recognises an upstream's error and gives it the API's form."""

    __slots__ = ("_found",)

    def __init__(self, found: Findings) -> None:
        self._found = found

    def read(self, value: Any, name: str = "") -> dict[str, Any] | None:
        """The error that a value is, ``value`` itself where it has the form; None if it is none."""
        if isinstance(value, dict) and value.get("type") == "error" and _has_form(value):
            return value
        named = isinstance(value, dict) and value.get("type") == "error"
        if named and "error" not in value and isinstance(value.get("message"), dict):
            # claude-code-router puts the error there: its type is not one of the API's own
            names = {"message": "error"}
            value = {names.get(key, key): one for key, one in value.items() if key != "type"}
        read = read_error(value, "error" if named else name)
        if read is None and named:
            read = {"error": {"message": dumps(value).decode()}}
        if read is None:
            return None
        self._found(ERROR_SHAPE)
        return in_form(read)


def in_form(read: dict[str, Any]) -> dict[str, Any]:
    """An error in the API's form. ``read`` is what `read_error` gives, or the core's own error."""
    error = {key: item for key, item in read["error"].items() if item is not None}
    beside = {key: item for key, item in read.items() if key not in ("type", "error")}
    given, code = error.get("type"), error.get("code")
    if given in OURS and isinstance(given, str):
        return {**own(given, error["message"]), **beside}
    own_form = read.get("type") == "error"
    kind = given if isinstance(given, str) and _is_type(given, own_form=own_form) else None
    if kind is None:
        statuses = (code, error.get("status"), beside.get("status"), beside.get("code"))
        kind = next((found for one in statuses if (found := _by_status(one))), "api_error")
    others = {key: item for key, item in error.items() if key not in ("type", "message")}
    inner: dict[str, Any] = {"type": kind, "message": error["message"], **others}
    if isinstance(given, str) and given and given != kind:
        inner.setdefault("native_type", given)
    return {"type": "error", "error": inner, **beside}


def _has_form(value: dict[str, Any]) -> bool:
    error = value.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return False
    kind = error.get("type")
    return isinstance(kind, str) and _is_type(kind, own_form=True)


def _is_type(kind: str, *, own_form: bool) -> bool:
    return kind in TYPES or (own_form and kind.endswith("_error"))


def _by_status(value: Any) -> str:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 4:
        value = int(value)
    return _BY_STATUS.get(value, "") if type(value) is int else ""
