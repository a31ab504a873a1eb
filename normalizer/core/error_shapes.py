"""The shapes of errors, as tables.

Gateways, clouds and web frameworks each have a shape of their own. They differ in two things only:
where in the object the error stands, and what its members are called. So there are two tables:

* `SHAPES`: members, or paths of members, that hold an error. What stands beside it stays beside it.
* `SIGNS`: members that make the whole object an error, and the question that their value answers.

and three lists of names, for the words, the code and the type of whatever was found. A new shape is
a line in one of them.

Objects that are no errors have such members too: Spark sends ``"code": 0, "message": "Success"``
with every chunk, others greet with ``{"code": 20000, "message": "ok"}``. Therefore a code or a
message that says success is no sign.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from normalizer.core.envelopes import ENVELOPES
from normalizer.core.lenient import dumps

# In the order in which they are asked for. The first three are in the API's own words.
WORDS = (
    *("message", "Message", "status_msg", "error_msg", "error_message", "errorMessage", "errorMsg"),
    *("errmsg", "err_msg", "msg", "Msg", "faultstring", "detail", "details", "title"),
    *("description", "error_description", "text", "reason", "cause"),
)
CODES = (
    *("code", "Code", "status_code", "statusCode", "error_code", "errorCode", "errcode"),
    *("err_code", "status", "http_code", "httpStatus"),
)
_WORDS_AND_CODES = frozenset((*WORDS, *CODES))
TYPES = ("type", "__type", "errorType", "Type")
MEMBERS = ("message", "type", "param", "code")
# What may stand beside a message that is alone: it says who and when, not what.
WHO_AND_WHEN = frozenset(
    {"id", "request_id", "requestId", "trace_id", "traceId", "timestamp", "path", "instance"}
    | {"param", "documentation_url"}
)

_SUBJECT = r"(?:(?:the )?(?:stream|request|connection|operation|response|generation|session|task)"
_GOES_WELL = re.compile(
    rf"(?i)\W*{_SUBJECT}(?: is| was| has been)? )?"
    r"(?:ok(?:ay)?|success(?:ful|fully)?|succeeded|accepted|connected|established|ready|opened"
    r"|start(?:ed|ing)|created|received|queued|pending|processing|running|loading|in[ _-]progress"
    r"|completed?|done|finished|ping|pong|heart-?beat|alive|keep-?alive|no error|none|null"
    r"|(?:请求|操作|调用|连接)?成功)(?: successfully)?\W*"
)
_NO_ERROR = re.compile(r"(?i)\W*(?:ok|success|no error|none|null|false|0)?\W*")
_SUCCESS_CODE = re.compile(r"[A-Z]?0+|2\d\d|20+|")
_FAILED_TYPE = re.compile(r"(?:response\.)?(?:failed|error)|\w*(?:[eE]rror|[eE]xception)")
_FAILED_STATUS = re.compile(r"(?i)error|fail(?:ed|ure)?|[45]\d\d")


# ---------------------------------------------------------------------- what its members say


def words_of(error: dict[str, Any]) -> str | None:
    """What an error says in words; of what is no text, its JSON."""
    for key in WORDS:
        value = error.get(key)
        if value and isinstance(value, (str, dict, list, int)) and value is not True:
            return as_text(value)
    return None


def code_of(error: dict[str, Any]) -> str | int | None:
    """The first code among an error's members; the API's is a text or an integer."""
    return next((error[key] for key in CODES if type(error.get(key)) in (int, str)), None)


def as_text(value: Any) -> str | None:
    """A text as it is, None as None, and the JSON of anything else."""
    return value if value is None or isinstance(value, str) else dumps(value).decode()


# -------------------------------------------------------------- questions about one member's value


def says_something(error: Any) -> bool:
    """Whether the value of a member called `error` is one: not null, empty, or a success."""
    if not isinstance(error, dict):
        return bool(error) and not (isinstance(error, str) and _is_no_error(error))
    words, code = words_of(error), code_of(error)
    if words is None:
        others = (item for key, item in error.items() if key not in _WORDS_AND_CODES)
        return code not in (None, 0, "", "0") or any(others)
    return not (_is_no_error(words) and is_success(code))


def _is_no_error(words: str) -> bool:
    return len(words) < 80 and _NO_ERROR.fullmatch(words) is not None


def is_told(error: Any) -> bool:
    """Whether an object or a text tells of a fault; a number or a list may be anything."""
    return isinstance(error, (dict, str)) and says_something(error)


def _is_list(errors: Any) -> bool:
    return isinstance(errors, (list, dict, str)) and bool(errors)


def _fails_by_code(error: Any) -> bool:
    """Whether an object that every chunk has (`base_resp`) holds a code that is no success."""
    return isinstance(error, dict) and not is_success(code_of(error))


def _fails(code: Any) -> bool:
    return type(code) in (int, str) and not is_success(code)


def is_success(code: str | int | None) -> bool:
    """Whether a code says that all is well, or nothing."""
    text = "" if code is None else str(code)
    return len(text) < 80 and bool(_SUCCESS_CODE.fullmatch(text) or _GOES_WELL.fullmatch(text))


def are_words(value: Any) -> bool:
    """Whether a member of an object that is no answer tells of a fault, and does not greet."""
    # longer words are no greeting, and an upstream's may be as long as an event
    greets = isinstance(value, str) and len(value) < 80 and _GOES_WELL.fullmatch(value)
    return bool(value) and not greets


def has_failed(word: Any) -> bool:
    """Whether the type of an event or object is that of a failure."""
    return (
        isinstance(word, str)
        and word.endswith(("rror", "failed", "xception"))
        and _FAILED_TYPE.fullmatch(word[:200]) is not None
    )


def _is_failed_status(status: Any) -> bool:
    return type(status) in (int, str) and _FAILED_STATUS.fullmatch(str(status)[:200]) is not None


# --------------------------------------------------------------------------------- the two tables


class Shape(NamedTuple):
    """A path to an object's error, and whether what stands there is one."""

    path: tuple[str, ...]
    is_error: Callable[[Any], bool] = is_told
    in_chunks: bool = False  # beside choices or a usage too
    code: tuple[str, ...] = ()  # the path to its code, where that has no name of its own
    stays: bool = False  # every chunk has this member, and clients read it there


SHAPES = (
    Shape(("error",), says_something, in_chunks=True),
    Shape(("base_resp",), _fails_by_code, in_chunks=True, stays=True),  # MiniMax
    Shape(("header",), _fails_by_code),  # Spark
    Shape(("Response", "Error")),  # Tencent
    Shape(("ErrorMsg",)),  # Tencent, in a stream
    Shape(("Error",)),  # AWS
    Shape(("fault",), code=("detail", "errorcode")),  # Apigee
    Shape(("exception",)),
    Shape(("err",)),
    Shape(("errors",), _is_list),  # Cloudflare, GraphQL
    *(Shape((name, "error"), says_something) for name in ENVELOPES),  # `response.failed`
)


class Sign(NamedTuple):
    """A question to one member of an object; where the answer is yes, the object is an error."""

    member: str
    tells: Callable[[Any], bool]
    wants_words: bool = False  # a code alone may mean anything
    in_chunks: bool = False


SIGNS = (
    Sign("object", lambda value: value == "error", in_chunks=True),  # vLLM, Mistral
    Sign("error_code", _fails, in_chunks=True),  # Baidu, FastChat
    Sign("type", has_failed),
    Sign("event", has_failed),  # Dify
    Sign("success", lambda value: value is False),
    Sign("ok", lambda value: value is False),
    Sign("status", _is_failed_status),
    *(Sign(name, _fails, wants_words=True) for name in CODES if name != "status"),
    Sign("__type", are_words, wants_words=True),  # AWS
    Sign("detail", are_words),  # FastAPI
    *(Sign(name, are_words) for name in ("error_message", "errorMessage", "error_msg")),
    *(Sign(name, are_words) for name in ("errorMsg", "errmsg", "err_msg")),
)
ALONE = ("message", "Message", "msg")
SIGNS_IN_CHUNKS = tuple(sign for sign in SIGNS if sign.in_chunks)
# One look at the names of an object's members tells of most that they are no errors; of the names
# that events have too, the value is looked at as well.
TELLING = frozenset(
    {*(shape.path[0] for shape in SHAPES), *(sign.member for sign in SIGNS), *ALONE}
    - {"object", "type"}
)
