"""The lines of a body that is read piece by piece, and those shortly before them.

Of a body that may be longer than the memory only the piece at hand is kept, with a few lines in
front of it: a finding is shown with its line, and some are known only some lines later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_SHOWN = 4  # lines with text that are kept of what was read
_LINES_IN = 4096  # bytes in which so many lines are looked for first


class Lines:
    r"""The bytes of a body, line by line. Lines end in LF, CR or CRLF.

    * ``data``, ``at``: the bytes at hand, and where the next line begins in them.
    * ``whole``: where the last whole line of them ends.
    * ``number``: the number of the next line, from 1.

    A line of more than ``longest`` bytes is given in parts.

    Example::

        lines = Lines([b"data: 1\n\nda", b"ta: 2\n\n"], longest=100)
        while lines.more():
            lines.pass_to(lines.end_of_line())
    """

    __slots__ = ("_has_cr", "_longest", "_pieces", "at", "data", "number", "whole")

    def __init__(self, pieces: Iterable[bytes], *, longest: int) -> None:
        self._pieces = iter(pieces)
        self._longest = longest
        self._has_cr = False
        self.data = b""
        self.at = self.whole = 0
        self.number = 1

    def more(self) -> bool:
        """Return whether there is a line, and read until it is whole."""
        while self.at == self.whole:
            piece = next(self._pieces, None)
            if piece is None:
                # the last line may have no end
                self.whole = len(self.data)
                return self.at < self.whole
            kept = b"".join(self._last())
            self.data = kept + self.data[self.at :] + piece
            self.at = len(kept)
            self._has_cr = b"\r" in self.data
            self.whole = self._end_of_lines()
        return True

    def end_of_line(self) -> int:
        """Return where the next line ends."""
        if not self._has_cr:
            return self.data.find(b"\n", self.at, self.whole) + 1 or self.whole
        match = _LINE.match(self.data, self.at, self.whole)
        return match.end() if match else self.whole

    def pass_to(self, end: int) -> None:
        """Pass over the lines up to ``end``."""
        if self._has_cr:
            passed = self.data[self.at : end]
            self.number += len(passed.splitlines()) - _is_open(passed)
        else:
            self.number += self.data.count(b"\n", self.at, end)
        self.at = end

    def passed(self) -> list[tuple[int, str]]:
        """Return the last lines with text that were passed over, with their numbers."""
        last = self._last()
        first = self.number - len(last) + (_is_open(last[-1]) if last else 0)
        texts = [(first + n, line.decode("utf-8", "replace")) for n, line in enumerate(last)]
        return [(number, text) for number, text in texts if text.strip()][-_SHOWN:]

    def _last(self) -> list[bytes]:
        """Return the last lines that were passed over, some of them blank."""
        size = _LINES_IN
        while True:
            lines = self.data[max(self.at - size, 0) : self.at].splitlines(keepends=True)
            if size >= self.at:
                return lines
            # the first one may have lost its beginning
            del lines[:1]
            if sum(1 for line in lines if line.strip()) >= _SHOWN:
                return lines
            size *= 4

    def _end_of_lines(self) -> int:
        data = self.data
        # a CR at the end may be the first half of a CRLF
        end = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
        if end <= self.at:
            return len(data) if len(data) - self.at > self._longest else self.at
        return end


def _is_open(data: bytes) -> bool:
    """Return whether the last line has no end."""
    return not data.endswith((b"\n", b"\r"))
