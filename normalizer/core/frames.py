"""Whole events in one of the framings that upstreams use, beside the one that most use.

Each upstream frames all of its events in one way: with CRLF, without a space after ``data:``, with
an ``id:`` or an ``event:`` line. Such an event is read at once if it has come whole; all others are
read line by line (`core/sse.py`).
"""

from __future__ import annotations

import re
from typing import NamedTuple

_FRAME = re.compile(
    rb"(?:id:(?P<before>[^\r\n]*)\r?\n)?"
    rb"(?:event:(?P<name>[^\r\n]*)\r?\n)?"
    rb"(?:id:(?P<behind>[^\r\n]*)\r?\n)?"
    rb"(?P<data>data:)(?P<space> ?)(?P<payload>\{[^\r\n]*)\r?\n\r?\n"
).match
STARTS = (b"data:", b"event:", b"id:")


class Frame(NamedTuple):
    """One event as it came.

    * ``payload``: its JSON. ``name``: of its ``event:`` line, None if it has none.
    * ``ident``: where the value of its ``id:`` line begins and ends; (0, 0) if it has none.
    * ``space``: one stands behind ``data:``.
    * ``returns``: how many of its lines end in CRLF: none or all.
    * ``at``, ``end``: where the line with its data begins, and where the next event does.
    """

    payload: bytes
    name: bytes | None
    ident: tuple[int, int]
    space: bool
    returns: int
    at: int
    end: int


def read_frame(data: bytes, position: int) -> Frame | None:
    """The event that begins at ``position``, None if it is not whole or in another framing."""
    match = _FRAME(data, position)
    if match is None:
        return None
    end = match.end()
    returns = data.count(b"\r", position, end)
    if returns and returns != data.count(b"\n", position, end):
        return None
    before, behind = match.span("before"), match.span("behind")
    if before[0] >= 0 and behind[0] >= 0:
        return None
    ident = max(before, behind, (0, 0))
    payload = match["payload"].rstrip()
    space, at = bool(match["space"]), match.start("data")
    return Frame(payload, match["name"], ident, space, returns, at, end)
