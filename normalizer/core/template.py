"""The clean fast path: a chunk whose bytes differ from the last one's in one text only.

Most chunks of a stream are the same bytes around another piece of text. Once the stages have
settled one such chunk, what they did to the bytes around its text is known: the next chunk with the
same bytes around it needs no parsing. Comparing costs half of what parsing does.

Beside the text a frame may have two more holes: OpenAI's padding (`obfuscation`), which leaves as
it is, and a usage that is taken off every chunk, of which the last one is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from normalizer.core.findings import Findings
from normalizer.core.lenient import dumps, loads
from normalizer.core.report import Report
from normalizer.wires.chat.chunk import PADDING_KEYS, Chunk

# a JSON string's inside that ends where the frame goes on: no quote that ends it, no escape that
# could be half a surrogate pair, nothing that JSON does not allow
_PLAIN = re.compile(
    rb'(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}))+'
).fullmatch
# and with the escapes only that we write: what leaves must not depend on the path it took
_WRITTEN = re.compile(rb'(?:[^"\\\x00-\x1f]|\\["\\bfnrt])+').fullmatch
_PADDING = re.compile(rb"[\w+/=-]*").fullmatch
# an object of numbers, one of them nested at the most
_USAGE = re.compile(rb"\{[^{}\[\]]*(?:\{[^{}\[\]]*\}[^{}\[\]]*)*\}")
_CHOICES = 4  # frames at a time: one for each choice
_MISSES = 8  # frames learnt in vain before a stream is taken to be one that has none
_KEPT = 64  # texts that are taken together when they are counted


class OneText(NamedTuple):
    """The one text that a settled chunk has, and its kind in the report."""

    text: str
    kind: str
    choice: int
    hear: Callable[[str], None] | None  # who wants to know of the texts that follow


class Frame:
    """The bytes around a text, as they come and as they leave; what was repaired in them.

    `take` reads events as long as they are in the frame. What it read is in ``heard`` until
    `settle` is called.
    """

    __slots__ = (
        "_after",
        "_before",
        "_hole",
        "_hole_first",
        "_leaves_after",
        "_leaves_before",
        "_limit",
        "_middle",
        "_plain",
        "codes",
        "hear",
        "heard",
        "kind",
        "same",
        "usage",
    )

    def __init__(
        self,
        came: list[bytes],
        left: list[bytes],
        hole: str,
        text: OneText,
        codes: tuple[str, ...],
        limit: int,
    ) -> None:
        self._limit = limit
        self.kind = text.kind
        self.hear = text.hear
        self.codes = codes
        self.same = came == left and hole != "usage"
        self._plain = _PLAIN if self.same else _WRITTEN
        self.heard: list[bytes] = []
        self.usage: dict[str, Any] | None = None  # the last one that was taken off
        self._hole = hole  # "", or what the other hole is: "padding", "usage", "usage first"
        self._hole_first = hole == "usage first"
        self._before, self._after = came[0], came[-1]
        self._middle = came[1] if hole else b""
        self._leaves_before, self._leaves_after = left[0], left[-1]

    @property
    def takes_usage(self) -> bool:
        """Whether a usage is taken off each event."""
        return self._hole.startswith("usage")

    @property
    def full(self) -> bool:
        """Whether it is time to `settle`."""
        return len(self.heard) >= _KEPT

    def take(self, data: bytes, position: int, out: list[bytes]) -> int:
        """Read events that begin at ``position``; where the first one begins that is not mine.

        What leaves is put on ``out``, unless it is the `same` bytes as came.
        """
        if self._hole:
            return self._take_two(data, position, out)
        before, after = self._before, self._after
        start, tail, same = len(before), len(after), self.same
        heard, plain = self.heard, self._plain
        while data.startswith(before, position):
            at = position + start
            # not for what stands behind the text: it may be far away, or nowhere
            end = data.find(b"\n", at) + 2 - tail
            if end < at or end > position + self._limit or not data.startswith(after, end):
                break
            inside = data[at:end]
            if plain(inside) is None:
                break
            if not (inside.isascii() or _is_utf_8(inside)):
                break
            heard.append(inside)
            if not same:
                out.append(self._leaves_before + inside + self._leaves_after)
            position = end + tail
        return position

    def _take_two(self, data: bytes, position: int, out: list[bytes]) -> int:
        before, middle, after = self._before, self._middle, self._after
        while data.startswith(before, position):
            at = position + len(before)
            last = data.find(b"\n", at) + 2 - len(after)
            if last < at or last > position + self._limit or not data.startswith(after, last):
                break
            end = data.find(middle, at, last)
            second = end + len(middle)
            if end < 0:
                break
            inside, other = data[at:end], data[second:last]
            if self._hole_first:
                inside, other = other, inside
            if self._plain(inside) is None or not (inside.isascii() or _is_utf_8(inside)):
                break
            if self._hole == "padding":
                if _PADDING(other) is None:
                    break
            elif (usage := _usage(other)) is None:
                break
            self.heard.append(inside)
            if self._hole == "padding":
                if not self.same:
                    leaves = (self._leaves_before, inside, middle, other, self._leaves_after)
                    out.append(b"".join(leaves))
            else:
                self.usage = usage
                out.append(self._leaves_before + inside + self._leaves_after)
            position = last + len(after)
        return position

    def settle(self) -> tuple[int, str]:
        """How many events were read since the last time, and their text."""
        events = len(self.heard)
        inside = b"".join(self.heard)
        self.heard.clear()
        text = loads(b'"' + inside + b'"')[0] if b"\\" in inside else inside.decode()
        return events, text


class Frames:
    """The frames of one stream: one for each choice, as long as nothing but texts differs.

    ``last`` is the frame that was learnt last while the next byte begins an event, else None.
    """

    __slots__ = ("_found", "_frames", "_limit", "_misses", "_report", "_take_usage", "last")

    def __init__(
        self,
        found: Findings,
        report: Report,
        take_usage: Callable[[dict[str, Any]], None],
        limit: int,
    ) -> None:
        self.last: Frame | None = None
        self._frames: dict[int, Frame] = {}
        self._found = found
        self._report = report
        self._take_usage = take_usage
        self._limit = limit
        self._misses = 0  # frames learnt since one was of use

    @property
    def wanted(self) -> bool:
        """Whether the stream is one in which frames are of use, as far as is known."""
        return self._misses < _MISSES

    @property
    def any(self) -> bool:
        """Whether there is a frame."""
        return bool(self._frames)

    def give_up(self) -> None:
        """Learn no more frames."""
        self.settle()
        self.clear()
        self._misses = _MISSES

    def clear(self) -> None:
        """Forget the frames: the next chunk's fate is not the last one's."""
        self._frames.clear()
        self.last = None

    def align(self, aligned: bool) -> None:
        """Say whether the next byte begins an event."""
        self.last = next(reversed(self._frames.values())) if aligned and self._frames else None

    def take(self, data: bytes, position: int, out: list[bytes]) -> int:
        """Take events that are in a frame, from ``position`` on; where those end."""
        end, moved = position, True
        while moved:
            moved = False
            for frame in self._frames.values():
                start, end = end, frame.take(data, end, out)
                if end > start:
                    moved = len(self._frames) > 1
                    if frame.same:
                        out.append(data[start:end])
                    if frame.full:
                        self._settle(frame)
        return end

    def settle(self) -> None:
        """Count what was read in the frames, as if it had gone through the stages."""
        for frame in self._frames.values():
            if frame.heard:
                self._settle(frame)

    def _settle(self, frame: Frame) -> None:
        events, text = frame.settle()
        self._misses = 0
        self._report.count(frame.kind, events, len(text))
        self._found.again(frame.codes, events)
        if frame.hear is not None:
            frame.hear(text)
        if frame.usage is not None:
            self._take_usage(frame.usage)
            frame.usage = None

    def learn(self, raw: bytes, left: bytes, chunk: Chunk, usage: Any, text: OneText) -> None:
        """Take the frame of a chunk that came as ``raw``, with ``usage``, and left as ``left``."""
        self._misses += 1
        codes = tuple(self._found.log)
        learnt = _learn(raw, left, chunk, usage, text, codes, self._limit)
        self._frames.pop(text.choice, None)
        if len(self._frames) >= _CHOICES or any(one.takes_usage for one in self._frames.values()):
            # of the usages that several frames would hold nobody knew which was the last
            self._frames.clear()
        if learnt is not None and not (learnt.takes_usage and self._frames):
            self._frames[text.choice] = learnt


def _learn(
    raw: bytes,
    left: bytes,
    chunk: Chunk,
    usage: Any,
    text: OneText,
    codes: tuple[str, ...],
    limit: int,
) -> Frame | None:
    """The frame of ``chunk``, which came as ``raw`` and left as ``left``, around its one text."""
    inside = dumps(text.text)
    if raw == left and inside not in raw:
        inside = json.dumps(text.text).encode()
    if len(inside) < 3 or raw.count(inside) != 1 or left.count(inside) != 1:
        return None
    came = [part + quote for part, quote in zip(raw.split(inside), (b'"', b""), strict=True)]
    goes = [part + quote for part, quote in zip(left.split(inside), (b'"', b""), strict=True)]
    came[1], goes[1] = b'"' + came[1], b'"' + goes[1]
    hole = ""
    if usage and not chunk.get("usage"):
        hole = _usage_hole(came)
        if not hole:
            return None
    elif any(chunk.get(key) for key in PADDING_KEYS):
        hole = _padding_hole(came, goes, chunk)
    came = [b"data: " + came[0], *came[1:-1], came[-1] + b"\n\n"]
    goes = [b"data: " + goes[0], *goes[1:-1], goes[-1] + b"\n\n"]
    return Frame(came, goes, hole, text, codes, limit)


def _usage_hole(came: list[bytes]) -> str:
    for number, part in enumerate(came):
        start = part.find(b'"usage":')
        match = _USAGE.search(part, start) if start >= 0 else None
        if match is not None and part[start + 8 : match.start()].strip() == b"":
            came[number : number + 1] = [part[: match.start()], part[match.end() :]]
            return "usage" if number else "usage first"
    return ""


def _usage(data: bytes) -> dict[str, Any] | None:
    """The usage that the bytes in a hole are; None if they are none, half of one, or several."""
    try:
        usage, lenient = loads(data)
    except ValueError:
        return None
    if lenient or not isinstance(usage, dict):
        return None
    half = usage.get("prompt_tokens") is None or usage.get("completion_tokens") is None
    return None if half else usage


def _padding_hole(came: list[bytes], goes: list[bytes], chunk: Chunk) -> str:
    padding = next(chunk[key] for key in PADDING_KEYS if chunk.get(key))
    inside = dumps(padding)[1:-1] if isinstance(padding, str) else b""
    if not inside or came[1] != goes[1] or came[1].count(b'"' + inside + b'"') != 1:
        return ""
    middle, _, after = came[1].partition(b'"' + inside + b'"')
    came[1:] = [middle + b'"', b'"' + after]
    goes[1:] = came[1:]
    return "padding"


def _is_utf_8(inside: bytes) -> bool:
    try:
        inside.decode()
    except UnicodeDecodeError:
        return False
    return True
