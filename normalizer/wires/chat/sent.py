"""How much text each choice of a stream has sent: enough to know it when it comes again whole."""

from __future__ import annotations

import zlib

from normalizer.wires.chat.chunk import REASONING_KEYS, Delta

_KINDS = {"content": "content", **dict.fromkeys(REASONING_KEYS, "reasoning")}


class Sent:
    """The length and a running sum of the text of one kind that a choice has sent.

    The text itself is not kept: it grows with the stream.
    """

    __slots__ = ("characters", "sum")

    def __init__(self) -> None:
        self.characters = 0
        self.sum = 0

    def add(self, text: str) -> None:
        """Add another piece."""
        self.characters += len(text)
        self.sum = zlib.crc32(text.encode("utf-8", "surrogatepass"), self.sum)

    def begins(self, text: str) -> bool:
        """Return whether a text begins with all that was sent."""
        if len(text) < self.characters:
            return False
        head = text[: self.characters].encode("utf-8", "surrogatepass")
        return zlib.crc32(head) == self.sum


class SentTexts:
    """What all choices of a stream have sent, by choice and kind.

    Example::

        sent = SentTexts()
        sent.add(0, {"content": "Hel"})
        sent.of(0, "content").begins("Hello")  # True
    """

    __slots__ = ("_sent",)

    def __init__(self) -> None:
        self._sent: dict[tuple[int, str], Sent] = {}

    def add(self, index: int, delta: Delta) -> None:
        """Add the text and the reasoning of a delta."""
        for key in ("content", "reasoning_content", "reasoning"):
            text = delta.get(key)
            if text and isinstance(text, str):
                self.of(index, key).add(text)

    def of(self, index: int, key: str) -> Sent:
        """Return what a choice has sent of the kind of text that ``key`` is a name of."""
        # one entry for all names of reasoning: a stream may change the name
        at = (index, _KINDS[key])
        if at not in self._sent:
            self._sent[at] = Sent()
        return self._sent[at]
