"""Find the scalars of JSON in bytes, with the names above them and the place of each.

`json` gives values without places, so a value could not be replaced without writing the rest
anew. JSON that is cut or broken is read up to there; nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# A string, a sign, or another scalar.
_TOKEN = re.compile(rb'\s*(?:("(?:[^"\\]|\\.)*")|([{}\[\],:])|([^\s{}\[\],:"]+))', re.DOTALL)

# What is deeper is no answer of an API; it is not looked at.
_MOST_LEVELS = 64


class Member(NamedTuple):
    """A scalar: the object that it is in (a number), the names above it, and its place."""

    holder: int
    names: tuple[str, ...]
    start: int
    end: int


class _Open:
    """An object or a list that is not closed yet."""

    __slots__ = ("is_object", "key", "number", "wants_key")

    def __init__(self, number: int, *, is_object: bool) -> None:
        self.number = number
        self.is_object = is_object
        self.wants_key = is_object
        self.key = ""


def members(data: bytes, start: int, end: int) -> Iterator[Member]:
    """Yield the scalars of the JSON documents between two offsets that have a name."""
    stack: list[_Open] = []
    count, at = 0, start
    while token := _TOKEN.match(data, at, end):
        at = token.end()
        text, sign, _ = token.groups()
        if sign in (b"{", b"["):
            if len(stack) >= _MOST_LEVELS:
                return
            stack.append(_Open(count := count + 1, is_object=sign == b"{"))
        elif sign in (b"}", b"]"):
            if not stack:
                return
            stack.pop()
        elif not stack:
            if sign is None:
                return  # text
        elif sign is not None:
            stack[-1].wants_key = sign == b"," and stack[-1].is_object
        elif stack[-1].wants_key:
            if text is None:
                return
            stack[-1].key = text[1:-1].decode("utf-8", "replace")
        else:
            yield Member(stack[-1].number, _names(stack), at - len(token[0].lstrip()), at)


def _names(stack: list[_Open]) -> tuple[str, ...]:
    return tuple(each.key for each in stack if each.is_object)
