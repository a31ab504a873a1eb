"""Locate a deviation in an event. `check` puts marks under the place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from normalizer.catalogue import messages_places

_DELTA = "choices.*.delta"
_CALL = f"{_DELTA}.tool_calls.*"
_REASONING = (f"{_DELTA}.reasoning", f"{_DELTA}.reasoning_content", f"{_DELTA}.reasoning_details")
_CONTENT = (f"{_DELTA}.content", "choices.*.text", "choices.*.message.content")
_FINISH = ("choices.*.finish_reason!", "choices.*.finish_reason")
_ARGUMENTS = (f"{_CALL}.function.arguments", f"{_DELTA}.function_call")
_ENVELOPE = ("data", "final_result", "result", "response", "choices")
_WHOLE_CALL = "choices.*.message.tool_calls.*"
_LEGACY = (f"{_DELTA}.function_call", f"{_DELTA}.tool_calls")
_NAME = f"{_CALL}.function.name"
_CALL_MEMBERS = ("type", "id", "function.name")
_OUTPUT = "response.output.*"
_ERROR = ("error!", "detail", "base_resp", "error_code", "object", "message")

# The best place first. `*` is any member. `!` needs a value that is not empty, `?` an empty one. If
# the member is missing, the object that should have it is marked.
_MEMBERS: dict[str, tuple[str, ...]] = {
    "B801": ("choices.*.message", "choices"),
    "B802": _ERROR,
    "B803": ("choices",),
    "B805": _ERROR,
    "B806": _ERROR,
    "B807": ("choices.*.message", "choices"),
    "B808": _ENVELOPE,
    "B809": ("choices.*.message.content", "choices.*.message", "choices"),
    "C301": (f"{_DELTA}.role",),
    "C302": (f"{_DELTA}.role",),
    "C303": (f"{_DELTA}.*?",),
    "C304": (_DELTA, "choices.*.text"),
    "C305": (_DELTA,),
    "C306": _CONTENT,
    "C307": _CONTENT,
    "C308": ("choices.*.message", "message"),
    "C309": ("choices.*.message", "message"),
    "C310": _CONTENT,
    "C311": _REASONING,
    "C312": _REASONING,
    "C313": (f"{_DELTA}.reasoning_details.*", f"{_DELTA}.annotations.*", _DELTA),
    "C314": (f"{_DELTA}.role",),
    "C315": ("choices.*.message",),
    "C316": (f"{_DELTA}.extra_content", *_CONTENT),
    "C32": _CONTENT,
    "E201": ("id",),
    "E202": ("id",),
    "E203": ("object",),
    "E204": ("created",),
    "E205": ("created",),
    "E206": ("created",),
    "E207": ("model",),
    "E208": ("model",),
    "E209": ("choices",),
    "E210": ("choices",),
    "E211": ("choices.*.index",),
    "E212": ("choices.*.index",),
    "E213": ("choices.*.index",),
    "E214": ("choices.*.index",),
    "E215": ("choices.*.text", _DELTA),
    "E217": ("value", "response", "text", "content"),
    "E218": _ENVELOPE,
    "R102": ("type",),
    "R104": ("sequence_number",),
    "R106": ("status", "id"),
    "R1": ("type",),
    "R204": ("text", "arguments", "input", "type"),
    "R208": ("part.text", "item.content", "item.summary", "item.arguments", "item.input"),
    "R211": ("delta",),
    "R212": ("item.name", "type"),
    "R2": ("type",),
    "R301": ("response.id",),
    "R302": ("item_id", "output_index"),
    "R303": ("item.id",),
    "R304": ("content_index", "summary_index"),
    "R305": ("output_index",),
    "R401": ("item.status", "item"),
    "R402": ("part.type", "item.content.*.type", f"{_OUTPUT}.content.*.type"),
    "R403": (f"{_OUTPUT}.content.*", "item.content.*", "part"),
    "R404": ("item.arguments", "item.input", f"{_OUTPUT}.arguments"),
    "R405": ("item.call_id",),
    "R406": ("response.created_at", "response"),
    "R407": ("response.text",),
    "R501": ("text", "part.text", _OUTPUT),
    "R502": ("text", "part.text", "arguments", _OUTPUT),
    "R503": ("delta",),
    "R504": ("response.output",),
    "R506": ("response.status",),
    "R6": ("response.usage", "usage"),
    "R701": _ERROR,
    "R702": ("type",),
    "R703": ("response.error",),
    "R707": ("object", "type", "choices"),
    "S502": _FINISH,
    "S509": _CONTENT,
    "S512": (
        "finish_reason!",
        "finishReason!",
        "choices.*.finishReason!",
        f"{_DELTA}.finish_reason!",
    ),
    "S5": _FINISH,
    "T401": (f"{_CALL}.index",),
    "T402": (f"{_CALL}.index",),
    "T403": (f"{_CALL}.id",),
    "T404": (f"{_CALL}.id",),
    "T405": (f"{_CALL}.id",),
    "T406": (f"{_CALL}.id",),
    "T407": (f"{_CALL}.id",),
    "T408": (_NAME,),
    "T409": (_NAME,),
    "T410": (_CALL,),
    "T411": (f"{_CALL}.type",),
    "T412": tuple(f"{_CALL}.{name}" for name in _CALL_MEMBERS),
    "T413": _ARGUMENTS,
    "T414": _ARGUMENTS,
    "T415": _ARGUMENTS,
    "T416": (f"{_DELTA}.tool_calls",),
    "T417": (f"{_CALL}.function.id",),
    "T418": _LEGACY,
    "T419": _LEGACY,
    "T420": (f"{_DELTA}.tool_calls",),
    "T421": (_CALL,),
    "T422": _FINISH,
    "T423": _FINISH,
    "T424": (_NAME,),
    "T425": (
        f"{_CALL}.function.parameters",
        f"{_WHOLE_CALL}.function.parameters",
        _CALL,
        _WHOLE_CALL,
    ),
    "T426": (_NAME, f"{_WHOLE_CALL}.function.name"),
    "T427": _ARGUMENTS,
    "T428": _ARGUMENTS,
    "T429": _ARGUMENTS,
    "T43": _CONTENT,
    # where the text had to end to be a call, that is where it is known
    "T44": (*_CONTENT, *_FINISH),
    "U604": ("choices.*.usage",),
    "U605": ("x_groq.usage", "x_groq"),
    "U6": ("usage!", "usage"),
    "X701": _ERROR,
    "X702": ("error?", "error"),
    "X704": ("choices",),
    "X711": _FINISH,
    "X714": ("type", "object", "candidates", "message"),
    **messages_places.MEMBERS,
}

# Framing: places by the text of the line.
_TEXTS = {
    "F101": "\ufeff",
    "F102": r"\r\n?|\n\r",
    "F103": r"^data:",
    "F104": r"^data:",
    "F105": r"^event:.*",
    "F106": r"^(?:id|retry):.*",
    "F107": r"^data:.*",
    "F108": r"^data:.*",
    "F109": r"^error:",
    "F110": r"^ *\{",
    "F111": r"^\{",
    "F112": r"\S.*\S",
    "F113": r".$",
    "F114": r"^data:",
    "F115": r"^data: *data:",
    "F116": r".*\[DONE.*",
    "F117": r"^:.*",
    "F118": "\ufffd",
    "F119": r"-?\b(?:NaN|Infinity)\b",
    "F120": r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}",
    "F121": r"[\x00-\x1f]",
    "F122": r"\}\s*(?:data:)?\s*\{",
    "B804": r"^data:",
    "R101": r"^data:",
    "R505": r".*\[DONE.*",
    "R704": r".(?=\s*$)",
    "R706": r"^data:.*",
    "X705": r".(?=\s*$)",
    "X706": r"\S.*",
    "X707": r".(?=\s*$)",
    "X709": r"\S.*",
    "X713": r".(?=\s*$)",
    **messages_places.TEXTS,
}
_LONGEST = 48


class Span(NamedTuple):
    """Characters of a line, from ``start`` up to ``end``."""

    start: int
    end: int


class _Member(NamedTuple):
    path: tuple[str, ...]
    span: Span  # with its key
    value: int  # where its value begins
    says: bool


def place(code: str, line: str) -> Span | None:
    """Return the place of the deviation ``code`` in a line, or None if there is not one place.

    Example::

        place("E202", 'data: {"id":"x2"}')  # Span(start=7, end=16), which is `"id":"x2"`
    """
    pattern = _TEXTS.get(code)
    if pattern is not None:
        found = re.search(pattern, line)
        return Span(*found.span()) if found else None
    wanted = _wanted(code)
    begin = _BEGIN.search(line)
    if not wanted or begin is None:
        return None
    try:
        members = list(_members(line, begin.start()))
    except (ValueError, IndexError, RecursionError):
        return None  # not JSON: that has a code of its own
    for path in wanted:
        for member in members:
            if _fits(member, path):
                return Span(member.span.start, min(member.span.end, member.span.start + _LONGEST))
    return _owner(members, wanted[0])


def known(code: str) -> bool:
    """Return whether the tables have a place for the deviation ``code``, or for its family."""
    return code in _TEXTS or bool(_wanted(code))


def _wanted(code: str) -> tuple[str, ...]:
    return _MEMBERS.get(code) or _MEMBERS.get(code[:3]) or _MEMBERS.get(code[:2]) or ()


def _fits(member: _Member, path: str) -> bool:
    names = path.rstrip("!?").split(".")
    if len(names) != len(member.path):
        return False
    if (path.endswith("!") and not member.says) or (path.endswith("?") and member.says):
        return False
    return all(name in ("*", one) for name, one in zip(names, member.path, strict=True))


def _owner(members: list[_Member], path: str) -> Span | None:
    """Return the beginning of the object that should have the member."""
    names = path.rstrip("!?").split(".")
    while names := names[:-1]:
        for member in members:
            if _fits(member, ".".join(names)):
                return Span(member.span.start, member.value + 1)
    return Span(members[0].value, members[0].value + 1)


def _members(text: str, at: int) -> Iterator[_Member]:
    """Yield all values of the JSON at ``at``, outer values first. The whole has an empty path."""
    found: list[_Member] = []
    end = _value(text, at, (), at, found)
    yield _Member((), Span(at, end), at, says=True)
    yield from sorted(found, key=lambda member: member.span.start)


_BEGIN = re.compile(r"\{|\[(?!DONE)")
_SPACE = re.compile(r"[ \t\r\n]*")
_PLAIN = re.compile(r"[^,\]}\s]+")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _token(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    if match is None:
        raise ValueError(f"neither a value nor a name at {at}")
    return match.end()


def _value(text: str, at: int, path: tuple[str, ...], start: int, found: list[_Member]) -> int:
    """Read a value, collect it, and return its end. Raises ValueError or IndexError."""
    at = _skip(text, at)
    begin = at
    if text[at] in "{[":
        at = _container(text, at, path, found)
    elif text[at] == '"':
        at = _token(_STRING, text, at)
    else:
        at = _token(_PLAIN, text, at)
    if path:
        says = text[begin:at] not in ("null", '""', '"null"', "[]", "{}", "false", "0")
        found.append(_Member(path, Span(start, at), begin, says))
    return at


def _container(text: str, at: int, path: tuple[str, ...], found: list[_Member]) -> int:
    closing = "}" if text[at] == "{" else "]"
    at = _skip(text, at + 1)
    number = 0
    while text[at] != closing:
        start, name = at, str(number)
        if closing == "}":
            at = _token(_STRING, text, at)
            name = text[start + 1 : at - 1]
            at = _skip(text, at)
            if text[at] != ":":
                raise ValueError(f"no colon at {at}")
            at += 1
        at = _skip(text, _value(text, at, (*path, name), start, found))
        number += 1
        if text[at] == ",":
            at = _skip(text, at + 1)
        elif text[at] != closing:
            raise ValueError(f"no comma at {at}")
    return at + 1


def one_line(body: str) -> str:
    """Return a JSON body on one line. Another body is joined on one line."""
    try:
        return json.dumps(json.loads(body), ensure_ascii=False, separators=(",", ":"))
    except ValueError:
        return " ".join(body.split())
