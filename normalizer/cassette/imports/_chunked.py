"""Take the frames of HTTP/1.1's chunked transfer coding out of the pieces of a body."""

from __future__ import annotations

from normalizer.cassette._checks import CassetteError

_LONGEST_LINE = 4096  # bytes of a length, with its extensions


class Chunked:
    """Decode the pieces of one body. ``is_over`` says whether the last chunk was there."""

    def __init__(self) -> None:
        self.is_over = False
        self._left = 0  # bytes of the chunk that are still to come
        self._line = b""  # of what stands between two chunks
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """Return the bytes of the body in a piece. Raises `CassetteError` for a bad frame."""
        body = []
        while data and not self.is_over:
            if self._left:
                body.append(data[: self._left])
                self._left -= len(body[-1])
                data = data[len(body[-1]) :]
                continue
            line, feed, data = data.partition(b"\n")
            self._line += line
            if feed:
                self._take(self._line.strip())
                self._line = b""
            elif len(self._line) > _LONGEST_LINE:
                raise CassetteError(f"chunked body: {self._line[:20]!r} is no length of a chunk")
        return b"".join(body)

    def _take(self, line: bytes) -> None:
        if not line and self._begun:
            self._begun = False  # the end of the line behind a chunk
            return
        digits = line.partition(b";")[0].strip()
        try:
            self._left = int(digits, 16) if digits.isalnum() else -1
        except ValueError:
            self._left = -1
        if self._left < 0:
            self._left = 0
            raise CassetteError(f"chunked body: {line[:20]!r} is no length of a chunk")
        self._begun = True
        self.is_over = not self._left
