"""Typed netstrings, the coding of mitmproxy's files: ``5:hello,`` is bytes, ``2:42#`` a number.

A value is the length of its text, a colon, the text, and a sign for the type. Lists and mappings
hold such values, so the length of a value is known before it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from normalizer.cassette._checks import CassetteError

# The flows of mitmproxy are five deep.
_MOST_LEVELS = 32

_LONGEST_LENGTH = 12  # digits, as in mitmproxy


def _number(text: bytes) -> int:
    if len(text) > 20:
        raise ValueError("a number of more than 20 digits")
    return int(text)


def _boolean(text: bytes) -> bool:
    if text not in (b"true", b"false"):
        raise ValueError(f"{text[:20]!r} is neither true nor false")
    return text == b"true"


_SCALARS: dict[bytes, Callable[[bytes], Any]] = {
    b",": bytes,
    b";": bytes.decode,
    b"#": _number,
    b"^": float,
    b"!": _boolean,
}


def values(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the values of a file one after the other, each with its offset.

    Raises `CassetteError`, which names the byte, for a file that is something else or is cut.
    """
    at = 0
    while at < len(data):
        value, end = _value(data, at, len(data), 0)
        yield at, value
        at = end


def _value(data: bytes, start: int, end: int, level: int) -> tuple[Any, int]:
    """Return the value at an offset, and where it ends."""
    if level > _MOST_LEVELS:
        raise CassetteError(f"byte {start}: more than {_MOST_LEVELS} levels")
    colon = data.find(b":", start, min(end, start + _LONGEST_LENGTH + 1))
    length = data[start:colon]
    if colon < 0 or not length.isdigit():
        raise CassetteError(f"byte {start}: no length, found {data[start : start + 20]!r}")
    begin, last = colon + 1, colon + 1 + int(length)
    if last >= end:
        raise CassetteError(f"byte {start}: cut, {int(length)} bytes should follow")
    kind = data[last : last + 1]
    if kind == b"]":
        return _list(data, begin, last, level), last + 1
    if kind == b"}":
        return _mapping(data, begin, last, level), last + 1
    if kind == b"~" and begin == last:
        return None, last + 1
    if kind not in _SCALARS:
        raise CassetteError(f"byte {last}: {kind!r} is no type")
    try:
        return _SCALARS[kind](data[begin:last]), last + 1
    except ValueError as error:
        raise CassetteError(f"byte {begin}: {error}") from error


def _list(data: bytes, start: int, end: int, level: int) -> list[Any]:
    items = []
    while start < end:
        item, start = _value(data, start, end, level + 1)
        items.append(item)
    return items


def _mapping(data: bytes, start: int, end: int, level: int) -> dict[str, Any]:
    found = {}
    while start < end:
        at = start
        key, start = _value(data, start, end, level + 1)
        if isinstance(key, bytes):  # as older versions wrote them
            key = key.decode("latin-1")
        if not isinstance(key, str):
            raise CassetteError(f"byte {at}: {key!r:.40} is no key")
        found[key], start = _value(data, start, end, level + 1)
    return found
