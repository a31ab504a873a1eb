"""Errors: the forms that they have here, and the error of a failed response.

Both of OpenAI's own forms of an ``error`` event pass: the nested one that api.openai.com sends,
and the flat one of its documentation. An error in any other shape becomes both at once: flat for
readers by type, nested because openai-python raises on that. A ``response.failed`` follows every
error: some clients wait for it, and take an answer without one for a lost connection.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.errors import read_error
from normalizer.core.findings import Deviation, Findings
from normalizer.wires.responses.names import ERROR, as_text

ERROR_SHAPE = Deviation(
    code="R701",
    name="responses-error-shape",
    fault="An error has a shape of its own.",
    repair="It becomes an `error` event with its words, flat and nested.",
    structural=True,
)
NOT_FAILED = Deviation(
    code="R702",
    name="responses-error-without-failed",
    fault="An `error` event is the last: no `response.failed` follows.",
    repair="`response.failed` is made up, with the words of the error.",
)
FAILED_SILENT = Deviation(
    code="R703",
    name="responses-failed-without-words",
    fault="`response.failed` holds no error: it stands beside the response, in an event before or "
    "behind it, or nowhere.",
    repair="The error is copied into the response.",
)
TRUNCATED = Deviation(
    code="R704",
    name="responses-truncated",
    fault="The body ends without a terminal event.",
    repair="An `error` event and `response.failed` end it, behind the text that came.",
    structural=True,
)
EMPTY = Deviation(
    code="R705",
    name="responses-empty",
    fault="The body holds no event, or no item.",
    repair="It becomes `response.created`, an `error` event and `response.failed`.",
    structural=True,
)
CREATED_BROKEN = Deviation(
    code="R706",
    name="responses-created-broken",
    fault="`response.created` or `response.in_progress` is JSON that breaks off.",
    repair="It is left out, and made up anew when the next event comes.",
    structural=True,
)
OTHER_DIALECT = Deviation(
    code="R707",
    name="responses-other-dialect",
    fault="The upstream answers in another protocol (chat completions, Anthropic's, …).",
    repair="The answer is an error that names what came.",
    structural=True,
)

SILENT_FAILURE = "The upstream's response failed, and the upstream gave no reason."


def in_dialect(dialect: str) -> str:
    """The message of the error that takes the place of an answer in another protocol."""
    return f"The upstream answers in {dialect}, where OpenAI's Responses API was asked for."


def has_words(error: Any) -> bool:
    """Return whether an error has words."""
    return (isinstance(error, str) and error != "") or (
        isinstance(error, dict) and as_text(error.get("message")) != ""
    )


def is_canonical(value: dict[str, Any]) -> bool:
    """Return whether an ``error`` event has one of OpenAI's two forms."""
    if value.get("type") != ERROR:
        return False
    nested = value.get("error")
    if isinstance(nested, dict):
        return has_words(nested)
    return nested is None and as_text(value.get("message")) != ""


def event(error: dict[str, Any]) -> dict[str, Any]:
    """The members of an ``error`` event; ``error`` is ``{"error": {…}}``, and what is beside."""
    inner = error["error"]
    code = inner.get("code") or inner.get("type")
    return {
        "code": str(code) if code is not None else None,
        "message": inner.get("message"),
        "param": inner.get("param"),
        **{key: value for key, value in error.items() if key not in ("type", "sequence_number")},
    }


def of_event(value: dict[str, Any]) -> dict[str, Any]:
    """The error of a canonical ``error`` event: ``{"error": {"message", …}}``."""
    nested = value.get("error")
    if isinstance(nested, dict):
        return {"error": nested}
    keys = ("message", "type", "param", "code")
    return {"error": {key: value.get(key) if key != "type" else None for key in keys}}


def of_response(error: Any) -> dict[str, Any]:
    """The error that a failed response holds: it has a ``code`` and a ``message``, both texts."""
    if not isinstance(error, dict):
        return {"code": "upstream_error", "message": as_text(error) or SILENT_FAILURE}
    code = error.get("code")
    if type(code) is int:
        code = str(code)
    code = as_text(code) or as_text(error.get("type")) or "upstream_error"
    message = as_text(error.get("message")) or SILENT_FAILURE
    others = {k: v for k, v in error.items() if k not in ("code", "message")}
    return {"code": code, "message": message, **others}


def of_body(error: Any) -> dict[str, Any]:
    """The error of a failed response, as the body of an answer of its own."""
    members = error if isinstance(error, dict) else {"message": as_text(error)}
    return {"message": None, "type": None, "param": None, "code": None, **members}


class Failure:
    """What is known of the answer's error, and gives failed responses their words.

    * ``error``: ``{"error": {…}}`` of the last ``error`` event, None if none came.
    """

    __slots__ = ("_found", "error")

    def __init__(self, found: Findings) -> None:
        self.error: dict[str, Any] | None = None
        self._found = found

    def takes(self, draft: Draft, kind: str, name: str) -> bool:
        """Return whether an event is an error; it gets the form of one."""
        value = draft.value
        if kind == ERROR and is_canonical(value):
            return True
        if kind.startswith("response."):
            return False
        error = read_error(value, ERROR if kind == ERROR else name)
        if error is None:
            return False
        self._found(ERROR_SHAPE)
        members = event(error)
        value = draft.edit()
        value.clear()
        value.update({"type": ERROR, **members})
        return True

    def fill(self, draft: Draft, response: dict[str, Any]) -> bool:
        """Fill in the error of a failed response; False if none has come."""
        if not self._found.on(FAILED_SILENT):
            return True
        given = response.get("error")
        source = given
        if not has_words(source):
            source = draft.value.get("error")
        if not has_words(source) and self.error is not None:
            source = self.error["error"]
        if not has_words(source):
            return False
        self.put(draft, response, source)
        return True

    def put(self, draft: Draft, response: dict[str, Any], source: Any) -> None:
        """Put an error into a failed response, in its form."""
        wanted = of_response(source)
        if response.get("error") != wanted and self._found(FAILED_SILENT):
            draft.edit()
            response["error"] = wanted
