"""Where an event has what the next one may have otherwise; see `core/template.py`.

The text, the members beside it and the usage are found in the bytes by their values, which are
known from the parsed event. A text that stands there more than once is found only under names that
are known to mirror it: elsewhere it is another member's value, which happens to be the same.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from normalizer.core.lenient import dumps

# an object of numbers, one of them nested at the most
_COUNTERS = re.compile(rb"\{[^{}\[\]]*(?:\{[^{}\[\]]*\}[^{}\[\]]*)*\}").match
TEXT, USAGE = "text", "usage"  # the holes that are no member that leaves as it came
# members with their values
Beside = tuple[tuple[str, str | int], ...]


class Hole(NamedTuple):
    """Where in an event the next one may differ: from ``start`` to ``end``."""

    start: int
    end: int
    name: str


def agree(came: list[Hole], left: list[Hole]) -> bool:
    """Whether what leaves has the holes of what came; the text may stand in fewer places."""
    return came is left or {hole.name for hole in came} == {hole.name for hole in left}


def parts(event: bytes, holes: list[Hole]) -> list[bytes]:
    """The bytes around the holes of an event."""
    around, start = [], 0
    for hole in holes:
        around.append(event[start : hole.start])
        start = hole.end
    return [*around, event[start:]]


def find_holes(
    event: bytes, inside: bytes, mirrors: frozenset[bytes], beside: Beside
) -> list[Hole]:
    """Where an event has its text, and what stands beside it; nowhere if that is in doubt."""
    holes = []
    times = event.count(inside)
    at = event.find(inside)
    while at >= 0:
        if times > 1 and _name_before(event, at) not in mirrors:
            return []
        holes.append(Hole(at + 1, at + len(inside) - 1, TEXT))
        at = event.find(inside, at + len(inside))
    if not holes:
        return []
    for name, value in beside:
        hole = _beside_hole(event, name, value)
        if hole is not None:
            holes.append(hole)
    return sorted(holes) if beside else holes


def _name_before(event: bytes, at: int) -> bytes:
    """The name of the member whose value begins at ``at``."""
    end = event.rfind(b'"', 0, at)
    if event[end + 1 : at].strip() != b":":
        return b""
    return event[event.rfind(b'"', 0, end) + 1 : end]


def _value_at(event: bytes, name: str) -> int:
    """Where the value of the only member with a name begins; -1 if there is none, or several."""
    key = b'"' + name.encode() + b'":'
    if event.count(key) != 1:
        return -1
    at = event.find(key) + len(key)
    return at + event.startswith(b" ", at)


def _beside_hole(event: bytes, name: str, value: str | int) -> Hole | None:
    at, written = _value_at(event, name), dumps(value)
    if at < 0 or not event.startswith(written, at):
        return None
    quote = 1 if isinstance(value, str) else 0
    return Hole(at + quote, at + len(written) - quote, name)


def usage_hole(event: bytes, others: list[Hole]) -> Hole | None:
    """Where an event has its one usage; None if it has none, or one with another hole in it."""
    at = _value_at(event, USAGE)
    match = _COUNTERS(event, at) if at >= 0 else None
    if match is None or any(match.start() < one.start < match.end() for one in others):
        return None
    return Hole(match.start(), match.end(), USAGE)
