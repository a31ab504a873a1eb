"""Where an event has what the next one may have otherwise, and what may be there.

Texts and members are found in the bytes by their names and values, which are known from the parsed
event (`core/form.py`). A text that stands under another name too is in doubt: it is that member's
value, which happens to be the same.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import NamedTuple

from normalizer.core.form import PADDING, Form, Member, Rising, Text
from normalizer.core.lenient import dumps, loads

# where the value in a hole ends that begins at a position of an event, given the bytes behind it;
# -1 if something else is there
Reader = Callable[[bytes, int, bytes], int]
Match = Callable[[bytes, int], "re.Match[bytes] | None"]

_CLEAR = rb'[^"\\\x00-\x1f]*'
# a JSON string's inside, not empty: no escape that could be half a surrogate pair, nothing that
# JSON does not allow
PLAIN = re.compile(
    rb'(?!")%b(?:\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4})%b)*' % (_CLEAR, _CLEAR)
).match
# and with the escapes only that we write
is_written = re.compile(rb'%b(?:\\["\\bfnrt]%b)*' % (_CLEAR, _CLEAR)).fullmatch
# arguments without a bracket that closes: what follows the end of arguments is in doubt
_OPEN = rb'[^"\\\x00-\x1f}\]]*'
ARGUMENTS = re.compile(rb'(?!")%b(?:\\["\\/bfnrt]%b)*' % (_OPEN, _OPEN)).match
# what stands beside the text
WORD = re.compile(rb"[!#-\[\]-~]+").match
NUMBER = re.compile(rb"[1-9][0-9]{0,10}(?![0-9])").match
BLANKS = re.compile(rb" *").match
# an object of numbers, one of them nested at the most
_COUNTERS = re.compile(rb"\{[^{}\[\]]*(?:\{[^{}\[\]]*\}[^{}\[\]]*)*\}").match
# the value of an `id:` line: nobody reads it, and it does not leave
IDENT = Member("id:", "")
_LINE = re.compile(rb"[^\r\n]*").match
_BLANK = ord(" ")
_DECODER = json.JSONDecoder()
_LONGEST = 2000  # bytes of such an object, whose expression is kept
_DIGITS = re.compile(rb"(?<=[:,\[ ])(?:0|[1-9][0-9]{0,14})(?=[,}\] ])")


class Example(NamedTuple):
    """An event as it came and as it left, whole: its lines, and the blank one behind them.

    * ``ident``: where the value of its ``id:`` line begins and ends; (0, 0) if it has none.
    * ``left``: b"" for an event that was not sent.
    * ``rewritten``: its JSON was written by us, even if that gave the same bytes.
    """

    came: bytes
    ident: tuple[int, int]
    left: bytes
    rewritten: bool

    @property
    def same(self) -> bool:
        """Whether it leaves in the bytes that it came in."""
        return not self.rewritten and self.came == self.left


class Hole(NamedTuple):
    """Where in an event the next one may differ: from ``start`` to ``end``."""

    start: int
    end: int
    what: Text | Member


def parts(event: bytes, holes: list[Hole]) -> list[bytes]:
    """The bytes around the holes of an event."""
    around, start = [], 0
    for hole in holes:
        around.append(event[start : hole.start])
        start = hole.end
    return [*around, event[start:]]


def find_holes(example: Example, form: Form) -> tuple[list[Hole], list[Hole]] | None:
    """The holes of what came and of what left; None where one of them is in doubt."""
    came_holes: list[Hole] = []
    left_holes: list[Hole] = []
    if form.padded:
        came_holes.append(_padding_hole(example.came))
        if example.same:
            left_holes += came_holes
        elif not example.rewritten:
            left_holes.append(_padding_hole(example.left))
    for member in form.members:
        if not _find_member(example, member, came_holes, left_holes):
            return None
    for text in form.texts:
        holes = _text_holes(example, text, came_holes, left_holes)
        if holes is None:
            return None
        came_holes += holes[0]
        left_holes += holes[1]
    if example.ident[0]:
        came_holes.append(Hole(*example.ident, IDENT))
    if len(came_holes) > 1 or len(left_holes) > 1:
        came_holes.sort(key=_start)
        left_holes.sort(key=_start)
        if _overlap(came_holes) or _overlap(left_holes):
            return None
    return came_holes, left_holes


def _find_member(
    example: Example, member: Member, came_holes: list[Hole], left_holes: list[Hole]
) -> bool:
    """Add the holes of a member; return whether they are beyond doubt, or it needs none."""
    hole = _member_hole(example.came, member)
    if member.rising is not None and not _rises(example.came, hole, member.rising):
        number = _made_number(example, member, member.rising)
        if number is not None:
            left_holes.append(number)
        return number is not None
    leaves = _left_hole(example, hole, member) if hole is not None else None
    if hole is None or (leaves is None and _leaves_as_it_came(member)):
        return not member.needed
    came_holes.append(hole)
    left_holes += [leaves] if leaves is not None else []
    return True


def _start(hole: Hole) -> int:
    return hole.start


def _overlap(holes: list[Hole]) -> bool:
    end = 0
    for hole in holes:
        if hole.start < end:
            return True
        end = hole.end
    return False


def _text_holes(
    example: Example, text: Text, came_holes: list[Hole], left_holes: list[Hole]
) -> tuple[list[Hole], list[Hole]] | None:
    """Where an event has a text, as it came and as it left."""
    inside = ours = dumps(text.said)
    came = _places(example.came, inside, text, came_holes)
    if not came:
        # many servers write ASCII only
        inside = json.dumps(text.said).encode()
        came = _places(example.came, inside, text, came_holes)
    if not came or example.same:
        return (came, came) if came else None
    left = _places(example.left, ours if example.rewritten else inside, text, left_holes)
    return (came, left) if left else None


def _places(event: bytes, inside: bytes, text: Text, others: list[Hole]) -> list[Hole]:
    """Where a text stands in an event, outside of ``others``; nowhere if that is in doubt."""
    holes: list[Hole] = []
    at = event.find(inside)
    while at >= 0:
        end = at + len(inside)
        if not (others and any(one.start <= at < one.end for one in others)):
            if _name_before(event, at) not in text.names:
                return []
            holes.append(Hole(at + 1, end - 1, text))
        at = event.find(inside, end)
    return holes


def _name_before(event: bytes, at: int) -> bytes:
    """The name of the member whose value begins at ``at``."""
    end = event.rfind(b'"', 0, at)
    if event[end + 1 : at].strip() != b":":
        return b""
    return event[event.rfind(b'"', 0, end) + 1 : end]


def _value_at(event: bytes, name: str) -> int:
    """Where the value of the only member with a name, or of the first member of all, begins.

    -1 if there is none, or several.
    """
    key = b'"' + name.encode() + b'":'
    at = event.find(key)
    if at < 0 or (event.find(key, at + 1) >= 0 and event.find(b"{") != at - 1):
        return -1
    at += len(key)
    return at + event.startswith(b" ", at)


def _leaves_as_it_came(member: Member) -> bool:
    return member.instead is None and member.takes is None


def _member_hole(event: bytes, member: Member) -> Hole | None:
    """Where a member has its value in an event that came."""
    at = _value_at(event, member.name)
    if at < 0:
        return None
    if member.takes is not None:
        match = _COUNTERS(event, at)
        whole = match is not None and match.end() - at <= _LONGEST
        return Hole(at, match.end(), member) if match is not None and whole else None
    if type(member.value) in (dict, list):
        return _json_hole(event, at, member)
    if type(member.value) is str:
        match = WORD(event, at + 1) if event.startswith(b'"', at) else None
        whole = match is not None and event.startswith(b'"', match.end())
    else:
        match = NUMBER(event, at)
        whole = match is not None and event[match.end() : match.end() + 1] in (b",", b"}", b" ")
    return Hole(match.start(), match.end(), member) if match is not None and whole else None


def _padding_hole(event: bytes) -> Hole:
    """Where the blanks are, or could be, before the last bracket of an event."""
    end = start = event.rindex(b"}")
    while event[start - 1] == _BLANK:
        start -= 1
    return Hole(start, end, PADDING)


def _rises(event: bytes, hole: Hole | None, rising: Rising) -> bool:
    """Whether an event came with the number that is expected to rise."""
    return hole is not None and event[hole.start : hole.end] == b"%d" % rising.came


def _made_number(example: Example, member: Member, rising: Rising) -> Hole | None:
    """Where an event that came without a number of its own has one when it leaves."""
    at, number = _value_at(example.left, member.name), b"%d" % rising.left
    end = at + len(number)
    whole = example.left.startswith(number, at) and example.left[end : end + 1] in (b",", b"}")
    return Hole(at, end, member) if at >= 0 and whole and not example.same else None


def _json_hole(event: bytes, at: int, member: Member) -> Hole | None:
    """Where a member has an object or a list."""
    if event[at : at + 1] not in (b"{", b"["):
        return None
    try:
        behind = event[at:].decode()
        _, end = _DECODER.raw_decode(behind)
    except (RecursionError, ValueError):
        # it nests deeper than the standard library reads, or has bytes that nobody repaired
        return None
    return Hole(at, at + len(behind[:end].encode()), member)


def _left_hole(example: Example, hole: Hole, member: Member) -> Hole | None:
    """Where a member has its value in the event that left, None if that is not a hole."""
    if example.same:
        return hole
    at = _value_at(example.left, member.name)
    if at < 0 or not _leaves_as_it_came(member):
        return None
    at += type(member.value) is str
    value = example.came[hole.start : hole.end]
    if member.rising is not None:
        value = b"%d" % member.rising.left
    return Hole(at, at + len(value), member) if example.left.startswith(value, at) else None


# ---------------------------------------------------------------------- what may be in a hole


def match_of_text(text: Text) -> Match:
    """What reads a text."""
    return ARGUMENTS if text.kind == "arguments" and not text.closes else PLAIN


def match_of_member(member: Member, value: bytes) -> Match | None:
    """What reads the values of a member that came with ``value``; None if a reader has to."""
    if member is PADDING:
        return BLANKS
    if member is IDENT:
        return _LINE
    if member.takes is not None:
        return counters_like(value)
    if member.rising is not None or member.instead is not None:
        return None
    return {str: WORD, int: NUMBER}.get(type(member.value))


def reader_of(member: Member, *, rewritten: bool) -> Reader:
    """What reads the values of a member that no expression alone can tell."""
    if member.instead is not None:
        match = WORD if type(member.value) is str else NUMBER
        return functools.partial(_read_other, match, str(member.instead).encode())
    return functools.partial(_read_json, rewritten)


def _read_other(match: Match, pinned: bytes, data: bytes, at: int, _after: bytes) -> int:
    found = match(data, at)
    return -1 if found is None or found[0] == pinned else found.end()


def _read_json(rewritten: bool, data: bytes, at: int, after: bytes) -> int:
    """Read an object or a list that is no empty one; rewritten, it is spelt as we write."""
    # not for what stands behind the hole: it may be far away, or nowhere
    line = data.find(b"\n", at)
    end = data.find(after, at, line + 3)
    value = data[at:end]
    if end < 0 or value[:1] not in (b"{", b"["):
        return -1
    try:
        parsed, lenient = loads(value)
    except ValueError:
        return -1
    return end if parsed and not lenient and (not rewritten or dumps(parsed) == value) else -1


@functools.lru_cache(maxsize=64)
def _pattern(literals: bytes) -> Match:
    return re.compile(literals).match


def counters_like(value: bytes) -> Match:
    """What reads an object that differs from ``value`` in its whole numbers only.

    Few forms of a usage are about, so that their expressions are kept.
    """
    around = [re.escape(one) for one in _DIGITS.split(value)]
    return _pattern(rb"(?:0|[1-9][0-9]{0,14})".join(around))
