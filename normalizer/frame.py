"""The clean fast path: a chunk whose bytes differ from the last one's in one text only.

Most chunks of a stream are the same bytes around another piece of text. Once the stages have
settled one such chunk, what they did to the bytes around the text is known; a next chunk with the
same bytes around needs no parsing. Comparing costs half of what parsing does.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from normalizer.lenient import dumps

# a JSON string's inside that ends where the frame goes on: no quote that ends it, no escape that
# could be half a surrogate pair, nothing that JSON does not allow
_TEXT = re.compile(rb'(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])+')


class OneText(NamedTuple):
    """The one text that a settled chunk has: whose it is, and what it is."""

    text: str
    kind: str  # "content", "reasoning" or "arguments", for the report


class Frame(NamedTuple):
    """The bytes around a text, as they come and as they leave; what was repaired in them."""

    before: bytes
    after: bytes
    leaves_before: bytes
    leaves_after: bytes
    same: bool  # an event leaves as the bytes that it came as
    text: OneText
    codes: tuple[str, ...]


class Text(NamedTuple):
    """A text that was found in a frame, and where in the bytes its event ends."""

    inside: bytes
    characters: int
    end: int


def read(frame: Frame, data: bytes, position: int) -> Text | None:
    """The text of the event that begins at ``position``, if it is in the frame."""
    before, after = frame.before, frame.after
    if not data.startswith(before, position):
        return None
    end = data.find(after, position + len(before))
    if end < 0:
        return None
    inside = data[position + len(before) : end]
    if _TEXT.fullmatch(inside) is None:
        return None
    if inside.isascii():
        characters = len(inside)
    else:
        try:
            characters = len(inside.decode())
        except UnicodeDecodeError:
            return None
    if b"\\" in inside:
        characters -= inside.count(b"\\") - inside.count(b"\\\\")
    return Text(inside, characters, end + len(after))


def learn(raw: bytes, left: bytes, text: OneText, codes: tuple[str, ...]) -> Frame | None:
    """The frame of a chunk that came as ``raw`` and left as ``left``, around its one text."""
    inside = dumps(text.text)
    if len(inside) < 3 or raw.count(inside) != 1 or left.count(inside) != 1:
        return None
    before, _, after = raw.partition(inside)
    leaves_before, _, leaves_after = left.partition(inside)
    return Frame(
        b"data: " + before + b'"',
        b'"' + after + b"\n\n",
        b"data: " + leaves_before + b'"',
        b'"' + leaves_after + b"\n\n",
        raw == left,
        text,
        codes,
    )
