"""What a finish word means, and where an upstream puts it.

The API knows five reasons: `stop`, `length`, `tool_calls`, `content_filter`, `function_call`.
Upstreams send dozens of other words. A word is read once, first, by `read`; nobody else looks at
the raw one.

1. Nothing (`null`, `""`, `"null"`, an empty list or object) is no word: the choice goes on.
2. An object is read by its `type`, else by its `reason`; a list by its first member that is a word.
3. A word of the API, or one of the table of synonyms, is looked up; upper case, and `-` for `_`,
   make no difference.
4. A word whose first part is `stop`, `end` or `eos` is `stop` (`eos_token_id`).
5. Other words belong to a family by a part of them (`max_new_tokens`, `blocked_by_policy`). Of
   several families the loudest claims the word: failure, content filter, length. An answer that
   failed must not look complete; one that is cut must not look whole.
6. What is left is `stop`: the upstream did end the choice.

Of `a: b` each part is read alone, and the weightiest one counts: it tells more than the other.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from normalizer.core.lenient import dumps

# Of two finishes of one choice, the one with the greater weight is told.
WEIGHTS = {"content_filter": 3, "length": 2, "tool_calls": 1, "function_call": 1, "stop": 0}

_FAILURE = "failure"
_FAILURE_WEIGHT = 4

_SYNONYMS = {
    **dict.fromkeys(
        (
            *("stop", "eos", "eos_token", "stop_sequence", "stop_token"),
            *("end", "end_turn", "complete"),
        ),
        "stop",
    ),
    **dict.fromkeys(("length", "max_tokens", "max_output_reached"), "length"),
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use"), "tool_calls"),
    **dict.fromkeys(
        (
            *("content_filter", "content_filtered", "safety", "sensitive"),
            # Gemini's
            *("spii", "recitation"),
        ),
        "content_filter",
    ),
    "function_call": "function_call",
    # DeepSeek's; no part of it tells its family
    "insufficient_system_resource": _FAILURE,
}

_STOPS = re.compile(r"(?:eos|stop|end)(?:_|$)")

# In the order in which they claim a word. `rate` counts only as a word of its own: `moderated` is
# no failure.
_FAMILIES = (
    (
        _FAILURE,
        re.compile(
            "error|abort|cancel|fail|crash|timeout|malformed|unexpected_tool_call"
            "|overload|engine|server|(?<![a-z])rate(?![a-z])"
        ),
    ),
    ("content_filter", re.compile("filter|safety|block|refus|guardrail|prohibited|policy")),
    ("length", re.compile("max|length|limit|token|truncat|incomplete|context")),
)


class Word(NamedTuple):
    """A finish word that was read.

    * ``reason``: one of the API's five; the upstream's own word where ``failed`` is true.
    * ``failed``: the word means that the answer failed. It is an error, never a finish.
    * ``native``: what came, where it differs from ``reason``; else None.
    """

    reason: str
    failed: bool = False
    native: Any = None


class Place(NamedTuple):
    """Where a finish word stands: ``holder[key]``."""

    holder: dict[str, Any]
    key: str


_PLAIN = {reason: Word(reason) for reason in WEIGHTS}


def plain(value: Any) -> Word | None:
    """Return the word of the API that a value is as it stands; None for all others."""
    return _PLAIN.get(value) if isinstance(value, str) else None


def read(value: Any) -> Word | None:
    """Read a finish word; None where ``value`` is none.

    ``value`` is whatever the upstream sent: text, null, a number, an object, a list. Never raises.

    Example::

        read("max_tokens")  # Word(reason="length", failed=False, native="max_tokens")
        read("rate_limit")  # Word(reason="rate_limit", failed=True, native=None)
        read("null")  # None
    """
    word = plain(value)
    if word is not None:
        return word
    text = _text(value)
    if text is None:
        return None
    meaning = _meaning(text)
    if meaning == _FAILURE:
        return Word(text, failed=True, native=None if text == value else value)
    return Word(meaning, native=value)


def where(choice: dict[str, Any], chunk: dict[str, Any]) -> Place | None:
    """Find the finish word of a choice; None where no place has one.

    ``chunk`` is the chunk, or the whole answer, that holds ``choice``. The API's own place comes
    first, then `finishReason`, the delta or message, and the top level of the chunk.

    Example::

        chunk = {"choices": [{"delta": {}}], "finish_reason": "length"}
        where(chunk["choices"][0], chunk)  # Place(holder=chunk, key="finish_reason")
    """
    if choice.get("finish_reason") and _text(choice["finish_reason"]) is not None:
        return Place(choice, "finish_reason")
    for holder in (choice, choice.get("delta"), choice.get("message"), chunk):
        if not isinstance(holder, dict):
            continue
        for key in ("finish_reason", "finishReason"):
            if key in holder and _text(holder[key]) is not None:
                return Place(holder, key)
    return None


def weight(reason: str) -> int:
    """Return the weight of a reason; a word that is none of the API's weighs nothing."""
    return WEIGHTS.get(reason, 0)


def _text(value: Any) -> str | None:
    """The text of a finish word, None where there is none."""
    value = _innermost(value)
    if value is None or value is False:
        return None
    text = value if isinstance(value, str) else dumps(value).decode()
    return None if text == "null" or not text.strip() else text


def _innermost(value: Any) -> Any:
    """What an object or a list holds as its word."""
    # a loop, not recursion: the upstream decides how deep this is
    while isinstance(value, (dict, list)):
        if isinstance(value, dict):
            value = value.get("type") or value.get("reason")
        else:
            value = next((item for item in value if item and item != "null"), None)
    return value


def _meaning(text: str) -> str:
    parts = [part.strip() for part in text.lower().replace("-", "_").split(":")]
    meanings = [_meaning_of_part(part) for part in parts if part]
    return max(meanings, key=lambda one: WEIGHTS.get(one, _FAILURE_WEIGHT), default="stop")


def _meaning_of_part(part: str) -> str:
    known = _SYNONYMS.get(part)
    if known is not None:
        return known
    if _STOPS.match(part):
        return "stop"
    return next((family for family, stems in _FAMILIES if stems.search(part)), "stop")
