"""Errors in all the shapes that upstreams give them, read into the one shape in which they leave.

An upstream that fails in the middle of an answer, or instead of one, has no status left to say so:
it sends an object. The API's own is ``{"error": {"message", "type", "param", "code"}}``; the other
shapes are the tables of `error_shapes`.

How much it takes to be an error depends on what else an object is. One that holds a part of an
answer (choices, a usage, an event of any protocol) is an error only where it says so under a name
that means nothing else. One that holds none is an error by any sign of the table. And one without a
sign may still be the only explanation that an upstream gives: `presumed_error` reads it, for the
case that no answer follows.
"""

from __future__ import annotations

import re
from typing import Any

from normalizer.core.dialects import CHAT, dialect_of
from normalizer.core.error_shapes import (
    ALONE,
    MEMBERS,
    SHAPES,
    SIGNS,
    SIGNS_IN_CHUNKS,
    TELLING,
    TYPES,
    WHO_AND_WHEN,
    Shape,
    Sign,
    are_words,
    as_text,
    code_of,
    has_failed,
    is_success,
    is_told,
    words_of,
)
from normalizer.core.findings import Deviation
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

_TAG = re.compile(r"<(?:(?:script|style)\b[^>]*>[^<]*<)?[^<>]*>")
_EXCEPTION = re.compile(r"\w+(?:Exception|Error)")


def read_error(value: Any, name: str = "") -> dict[str, Any] | None:
    """The error that a JSON value is, in the API's shape, with what stood beside it; or None.

    ``name`` is the event's: an ``event: error`` makes an error of whatever it holds. The result is
    ``value`` itself where that has the API's shape already. An error that stands in a choice is
    taken out of it, and the choices stay beside it, for what else they hold. Raises nothing.

    Example::

        read_error({"detail": "no such model"})
        # {"error": {"message": "no such model", "type": None, "param": None, "code": None}}
    """
    named = name.lower() in ("error", "exception")
    if isinstance(value, dict):
        return _of_object(value, named=named)
    if isinstance(value, list):
        found = next(
            (error for item in value if isinstance(item, dict) and (error := read_error(item))),
            None,
        )
        if found is not None:
            return found
    return {"error": _canonical(value, {})} if named else None


def presumed_error(value: Any) -> dict[str, Any] | None:
    """The error that an object without choices is to be taken for, if no answer follows it.

    Some upstreams explain a failure in a shape of their own and then end as if all were well. None
    for what holds a part of an answer, for what says success, and for what has no words.

    Example::

        presumed_error({"notice": "You are out of credits."})["error"]["message"]
    """
    found = read_error(value)
    if found is not None or not isinstance(value, dict) or _has_answer(value):
        return found
    if isinstance(value.get("choices"), list) or dialect_of(value) not in (None, CHAT):
        return None
    texts = [item for item in value.values() if isinstance(item, str)]
    words = words_of(value)
    if words not in texts:
        words = next((text for text in texts if " " in text), "")
    if not are_words(words):
        return None
    return {"error": _canonical({**value, "message": words}, {})}


def words_of_page(data: bytes) -> str:
    """The beginning of what an upstream's text or HTML says: no markup, and each text once.

    Example: ``words_of_page(b"<title>502</title><h1>502</h1>") == "502"``.
    """
    texts = (" ".join(text.split()) for text in _TAG.split(data[:4000].decode("utf-8", "replace")))
    return " ".join(dict.fromkeys(text for text in texts if text))[:500]


def _of_object(value: dict[str, Any], *, named: bool) -> dict[str, Any] | None:
    answers = _has_answer(value)
    if not (named or _may_be_error(value)):
        return _in_a_choice(value) if answers else None
    found = _in_a_member(value, answers=answers)
    if found is not None:
        return found
    if answers:
        whole = _has_sign(value, SIGNS_IN_CHUNKS)
        return _whole(value) if whole else _in_a_choice(value)
    return _exception(value) or (_whole(value) if named or _is_whole_error(value) else None)


def _in_a_member(value: dict[str, Any], *, answers: bool) -> dict[str, Any] | None:
    for shape in SHAPES:
        if shape.in_chunks or not answers:
            error = _at(value, shape.path)
            if error is not None and shape.is_error(error):
                return _taken_out(value, shape, error)
    return None


def _has_answer(value: dict[str, Any]) -> bool:
    return bool(value.get("choices") or value.get("usage"))


def _may_be_error(value: dict[str, Any]) -> bool:
    """Whether an object's names leave it open that it is an error: those of most events do not."""
    return (
        not TELLING.isdisjoint(value)
        or value.get("object") == "error"
        or has_failed(value.get("type"))
        or (len(value) <= 2 and "type" not in value)
    )


def _is_whole_error(value: dict[str, Any]) -> bool:
    if dialect_of(value) not in (None, CHAT) and not has_failed(value.get("type")):
        # an event's members are its own: the code that a tool ran is no error's
        return False
    return _has_sign(value, SIGNS) or _is_alone(value)


def _has_sign(value: dict[str, Any], signs: tuple[Sign, ...]) -> bool:
    has_words = are_words(words_of(value))
    return any(
        sign.tells(value[sign.member])
        for sign in signs
        if sign.member in value and (has_words or not sign.wants_words)
    )


def _is_alone(value: dict[str, Any]) -> bool:
    """Whether an object holds a message and nothing that would say what else it is."""
    words = next((value[name] for name in ALONE if isinstance(value.get(name), str)), "")
    others = (key for key, item in value.items() if item is not None and key not in WHO_AND_WHEN)
    return are_words(words) and all(key in ALONE for key in others)


def _exception(value: dict[str, Any]) -> dict[str, Any] | None:
    """The error of an object whose one member is called after an exception (AWS)."""
    if len(value) > 2:
        return None
    for key, error in value.items():
        if isinstance(error, dict) and _EXCEPTION.fullmatch(key[:200]):
            rest = {name: item for name, item in value.items() if name != key}
            if not rest.get("error"):
                rest.pop("error", None)
            return {"error": _canonical({"type": key, **error}, rest), **rest}
    return None


def _in_a_choice(value: dict[str, Any]) -> dict[str, Any] | None:
    """The error in a choice or its delta, taken out of it."""
    choices = value["choices"] if isinstance(value.get("choices"), list) else []
    for number, choice in enumerate(choices):
        path = _path_in_choice(choice) if isinstance(choice, dict) else ()
        if path:
            others = [*choices[:number], _without(choice, path), *choices[number + 1 :]]
            rest = {key: item for key, item in value.items() if key != "error"}
            return {"error": _canonical(_at(choice, path), {}), **rest, "choices": others}
    return None


def _path_in_choice(choice: dict[str, Any]) -> tuple[str, ...]:
    if "error" in choice and is_told(choice["error"]):
        return ("error",)
    for name in ("delta", "message"):
        inner = choice.get(name)
        # beside a text it is a member of the answer's own
        if isinstance(inner, dict) and "error" in inner and not inner.get("content"):
            if is_told(inner["error"]):
                return (name, "error")
    return ()


# ------------------------------------------------------------------------------ the API's own shape


def _taken_out(value: dict[str, Any], shape: Shape, error: Any) -> dict[str, Any]:
    rest = dict(value) if shape.stays else _without(value, shape.path)
    canonical = _canonical(error, rest)
    if canonical["code"] is None and shape.code:
        canonical["code"] = code_of({"code": _at(error, shape.code)})
    if shape.path == ("error",) and canonical == error:
        return value
    rest.pop("error", None)
    return {"error": canonical, **rest}


def _whole(value: dict[str, Any]) -> dict[str, Any]:
    """An object that is an error as a whole; what it holds of an answer stands beside it."""
    beside = {key: value[key] for key in ("choices", "usage") if value.get(key)}
    error = {key: item for key, item in value.items() if key not in ("choices", "usage")}
    return {"error": _canonical(error, {}), **beside}


def _canonical(error: Any, beside: dict[str, Any]) -> dict[str, Any]:
    """`{"message", "type", "param", "code"}` first, the error's other members behind."""
    came = error
    if not isinstance(error, dict):
        error = _as_object(error, beside)
    words = words_of(error)
    if words is None:
        words = words_of(beside)
    if words is None:
        words = dumps(came).decode()
    kind = next((error[key] for key in TYPES if isinstance(error.get(key), str)), None)
    canonical = {
        "message": words,
        "type": kind,
        "param": as_text(error.get("param")),
        "code": code_of(error),
    }
    others = {
        key: value
        for key, value in error.items()
        if key not in MEMBERS and not (key == "object" and value == "error") and value != words
    }
    return {**canonical, **others}


def _as_object(error: Any, beside: dict[str, Any]) -> dict[str, Any]:
    """An error that is a list, a text, a number or `true`, as an object."""
    if isinstance(error, list):
        first: dict[str, Any] = next((item for item in error if isinstance(item, dict)), {})
        inner = first.get("error")
        first = inner if isinstance(inner, dict) else first or {"message": error}
        return first if len(error) == 1 else {**first, "errors": error}
    if error is True:
        return {"message": words_of(beside), "code": code_of(beside)}
    code = error if type(error) is int else code_of(beside)
    return {"message": error, "code": None if is_success(code) else code}


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _without(value: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """A copy without the member at a path, nor what held nothing else."""
    key, *behind = path
    rest = {name: item for name, item in value.items() if name != key}
    if not behind:
        return rest
    inner = _without(value[key], tuple(behind))
    return {**value, key: inner} if inner or key == "delta" else rest
