"""JSON as upstreams write it: parsed leniently where it has to be, strict on the way out."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

# OpenAI's own value for "very unlikely"; a null there crashes clients that compute with it
UNLIKELY = -9999.0

_SURROGATE = re.compile("[\ud800-\udfff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def loads(data: bytes) -> tuple[Any, bool]:
    """Parse JSON; the second value is True if only lenient parsing could.

    Lenient are invalid UTF-8 (U+FFFD), NaN and infinities, lone surrogates and raw control
    characters in strings. What comes of them is for `clean` to settle. Raises ValueError, whose
    message names the position.

    Example::

        loads(b'{"a": NaN}')  # ({"a": nan}, True)
    """
    try:
        return orjson.loads(data), False
    except orjson.JSONDecodeError:
        try:
            return json.loads(data.decode("utf-8", "replace"), strict=False), True
        except RecursionError:
            raise ValueError("nested too deeply") from None


def dumps(value: Any) -> bytes:
    """Strict JSON on one line. Example: ``dumps({"a": 1}) == b'{"a":1}'``."""
    try:
        return orjson.dumps(value)
    except TypeError:
        # integers beyond 64 bits, nesting beyond orjson's: the standard library has no such bound
        text = json.dumps(clean(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode()


def clean(value: Any, within: str = "") -> Any:
    """The value without NaN, infinities and lone surrogates; pairs of them are joined."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return UNLIKELY if within == "logprobs" else None
    if isinstance(value, dict):
        return {
            clean_text(key): clean(item, "logprobs" if "logprob" in key else within)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [clean(item, within) for item in value]
    return value


def clean_text(text: str) -> str:
    """Text without lone surrogates: a pair is one character, an orphan is U+FFFD."""
    if _SURROGATE.search(text) is None:
        return text
    joined = _PAIR.sub(
        lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text
    )
    return _SURROGATE.sub("\ufffd", joined)
