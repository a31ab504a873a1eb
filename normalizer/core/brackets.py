"""Whether the brackets of JSON that comes in pieces are closed. Each byte is read once."""

from __future__ import annotations


class Brackets:
    """Follow the brackets and quotes of JSON that comes line by line.

    Example::

        brackets = Brackets()
        assert not brackets.read(b'{"a": [')
        assert brackets.read(b"1]}")
        assert not brackets.read(b"]")  # only the first time
    """

    __slots__ = ("_closed", "_depth", "_quoted")

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = False
        self._closed = False

    @property
    def quoted(self) -> bool:
        """Whether a string is open behind the last line."""
        return self._quoted

    def read(self, line: bytes) -> bool:
        """Return whether, for the first time, no bracket is open after a line.

        Before that, no JSON is complete. If the text is not JSON then, more lines do not change
        that.
        """
        if self._closed:
            return False
        if b"\\" in line:
            line = line.replace(b"\\\\", b"").replace(b'\\"', b"")
        for number, part in enumerate(line.split(b'"')):
            if number:
                self._quoted = not self._quoted
            if not self._quoted:
                self._depth += part.count(b"{") + part.count(b"[")
                self._depth -= part.count(b"}") + part.count(b"]")
        self._closed = not self._quoted and self._depth <= 0
        return self._closed
