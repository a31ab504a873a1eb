"""Numbers as their upstream spelt them.

JSON does not say how exact a number is, and its readers differ: 12345678901234567890123 becomes
1.2345678901234568e+22 where an event is parsed and written again, 1.10 becomes 1.1 and 1e400
becomes nothing at all. Nobody asked us to round somebody's price or seed. An event whose bytes
leave as they came keeps its spelling anyway. In one that is changed, the few numbers that would be
spelt otherwise are replaced by a `Spelt` before the first change, so that they keep their text
wherever the value goes from there. All others, nearly always all, cost one search in the bytes.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import Any

import orjson

# One byte for each kind that numbers are made of, or begin behind: they are found faster so.
_KINDS = bytes.maketrans(b"123456789E+,[ \t\r\n", b"000000000e-::::::")
_MAYBE_ODD = re.compile(rb":-?(?:0++[.e]|0{19})")
_NUMBER = re.compile(rb"[:,\[\s](-?\d++(?:\.\d++)?+(?:[eE][-+]?\d++)?+)")
_LARGEST = sys.float_info.max
_DIGITS_OF_64_BITS = 20  # at most, a sign among them


class Spelt(float):
    """A number that keeps the text that it was spelt with, for as long as nobody computes with it.

    Example::

        Spelt("1.10").spelling  # "1.10"
        Spelt("1.10") == 1.1  # True
    """

    __slots__ = ("spelling",)

    spelling: str

    def __new__(cls, spelling: str) -> Spelt:
        value = float(spelling)
        # one beyond a double's range is its end: infinity would raise where it becomes an integer
        number = super().__new__(cls, max(-_LARGEST, min(value, _LARGEST)))
        number.spelling = spelling
        return number

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]
        return (self.spelling,)  # for copies


def loads_spelt(text: str) -> Any:
    """Parse JSON leniently; the numbers whose spelling would be lost are `Spelt`.

    Raises ValueError, whose message names the position.
    """
    try:
        return json.loads(text, strict=False, parse_float=_decimal, parse_int=_integer)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def keep_spelling(value: Any, data: bytes) -> None:
    """Make the numbers in ``value`` keep the spelling that they have in ``data``, its JSON.

    ``value`` is changed in place and must be as it was parsed. Raises nothing.

    Example::

        keep_spelling(value := {"price": 1.1}, b'{"price": 1.10}')
        value["price"].spelling  # "1.10"
    """
    if _is_written_so(value, data) or _MAYBE_ODD.search(data.translate(_KINDS)) is None:
        return
    if not any(map(_is_odd, _NUMBER.findall(data))):
        return
    try:
        spelt = loads_spelt(data.decode("utf-8", "replace"))
    except ValueError:
        return  # deeper than the standard library reads
    todo = [(value, spelt)]
    while todo:
        into, other = todo.pop()
        if type(into) is not type(other):
            continue
        for key, item in _members(other):
            if isinstance(item, (dict, list)):
                todo.append((into[key], item))
            elif isinstance(item, Spelt) and type(into[key]) is float:
                into[key] = item


def _is_written_so(value: Any, data: bytes) -> bool:
    """Whether ``data`` is what we write for its value: most upstreams write no blanks either."""
    try:
        return orjson.dumps(value) == data
    except TypeError:
        return False  # nested too deeply


def _members(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


def _is_odd(number: bytes) -> bool:
    """Whether orjson would spell a number otherwise, or not read it."""
    if number.removeprefix(b"-").isdigit():
        return _is_beyond_64_bits(number)
    return orjson.dumps(float(number)) != number


def _is_beyond_64_bits(number: bytes | str) -> bool:
    if len(number) <= _DIGITS_OF_64_BITS - 2:
        return False
    return len(number) > _DIGITS_OF_64_BITS or not -(2**63) <= int(number) < 2**64


def _decimal(text: str) -> float:
    return Spelt(text) if _is_odd(text.encode()) else float(text)


def _integer(text: str) -> float:
    return Spelt(text) if _is_beyond_64_bits(text) else int(text)
