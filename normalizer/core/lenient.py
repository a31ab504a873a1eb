"""JSON as upstreams write it: lenient parsing if it is needed, and strict output."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from normalizer.core.spelling import Spelt, loads_spelt

# OpenAI's own value for "very unlikely"; a null there crashes clients that compute with it
UNLIKELY = -9999.0

_NO_VALUE = object()

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_PAIR = re.compile(r"[\ud800-\udbff][\udc00-\udfff]")
# the first and the last of those that begin a pair
_FIRST_HALF, _LAST_HALF = chr(0xD800), chr(0xDBFF)


def loads(data: bytes) -> tuple[Any, bool]:
    """Parse JSON. The second value is True if only lenient parsing succeeded.

    Lenient parsing accepts invalid UTF-8 (U+FFFD), NaN and infinities, lone surrogates, and
    unescaped control characters in strings. Repair the result with `clean`. Raises ValueError with
    the position.

    Example::

        loads(b'{"a": NaN}')  # ({"a": nan}, True)
    """
    try:
        return orjson.loads(data), False
    except orjson.JSONDecodeError:
        return loads_spelt(data.decode("utf-8", "replace")), True


def dumps(value: Any) -> bytes:
    """Write strict JSON on one line. Example: ``dumps({"a": 1}) == b'{"a":1}'``."""
    try:
        return orjson.dumps(value)
    except TypeError:
        # numbers that keep their spelling, integers beyond 64 bits, and nesting beyond orjson's,
        # which the standard library bounds too
        return "".join(_written(clean(value))).encode()


def ends_in_half(text: str) -> bool:
    """Whether the text ends in the first half of a surrogate pair: its end comes later."""
    return _FIRST_HALF <= text[-1:] <= _LAST_HALF


def clean(value: Any, within: str = "") -> Any:
    """Return the value without NaN, infinities and lone surrogates. Pairs are joined."""
    return rewritten(value, _clean_leaf, within)


def rewritten(value: Any, leaf: Callable[[Any, str], Any], within: str = "") -> Any:
    """Copy a JSON value with clean keys, and convert its leaves.

    ``leaf(item, within)`` converts a value that contains no other values.

    ``within`` is "logprobs" inside a key with that name. Any depth works: an upstream's nesting may
    be deeper than Python's stack.
    """
    todo: list[tuple[Any, Any, str]] = []  # empty copies, what they are to hold, and within what

    def begun(item: Any, within: str) -> Any:
        if not isinstance(item, (dict, list)):
            return leaf(item, within)
        copy: Any = {} if isinstance(item, dict) else []
        todo.append((copy, item, within))
        return copy

    whole = begun(value, within)
    while todo:
        copy, item, within = todo.pop()
        if isinstance(item, dict):
            for key, inner in item.items():
                copy[clean_text(key)] = begun(inner, "logprobs" if "logprob" in key else within)
        else:
            copy += [begun(inner, within) for inner in item]
    return whole


def without_spelling(value: Any) -> Any:
    """A JSON value whose numbers are plain, for whoever computes with them or writes JSON."""
    return rewritten(value, lambda leaf, _: float(leaf) if isinstance(leaf, Spelt) else leaf)


def _clean_leaf(value: Any, within: str) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return UNLIKELY if within == "logprobs" else None
    return value


def _written(value: Any) -> Iterator[str]:
    """Yield the JSON of a clean value in pieces. Any depth works."""
    todo: list[tuple[str, Any]] = [("", value)]  # a text to be written, and a value behind it
    while todo:
        text, item = todo.pop()
        yield text
        if item is _NO_VALUE:
            continue
        if isinstance(item, dict):
            yield "{"
            todo.append(("}", _NO_VALUE))
            keys = [json.dumps(key, ensure_ascii=False) + ":" for key in item]
            keys[1:] = ["," + key for key in keys[1:]]
            todo += reversed(list(zip(keys, item.values(), strict=True)))
        elif isinstance(item, list):
            yield "["
            todo.append(("]", _NO_VALUE))
            todo += [("," if number else "", item[number]) for number in reversed(range(len(item)))]
        else:
            spelt = isinstance(item, Spelt)
            yield item.spelling if spelt else json.dumps(item, ensure_ascii=False, allow_nan=False)


def clean_text(text: str) -> str:
    """Return text without lone surrogates: a pair is one character, a lone half is U+FFFD."""
    if text.isascii() or _SURROGATE.search(text) is None:
        return text
    joined = _PAIR.sub(
        lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text
    )
    return _SURROGATE.sub("\ufffd", joined)
