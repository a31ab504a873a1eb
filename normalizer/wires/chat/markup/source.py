"""Text that comes in pieces, for readers that read it in order and may go back.

A reader is a generator. It asks a `TextSource` for what comes next. It yields None to wait for more
text, and a `Part` for what it has recognized. Whoever runs it commits the source after each `Part`:
all text before is finished. A reader that returns False was wrong, and the source goes back to the
last commit. The same text may then be something else, or plain text.

Each character is read a bounded number of times, whatever the text is. Two notes make it so. The
source remembers where a marker comes next, beyond the reader that searched it (`TextSource.until`).
And a reader may note a place as `TextSource.dead`: from there on nothing was what it looks for.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from typing import Any, NamedTuple, TypeVar


class Part(NamedTuple):
    """A piece of an answer: text of one kind, or a fragment of a tool call.

    * ``kind``: ``"content"``, the name of a member for reasoning, or ``"call"``.
    * ``text``: the text; "" for a call.
    * ``call``: a fragment as it stands in ``delta.tool_calls``. One with a name begins a call.
    """

    kind: str
    text: str
    call: dict[str, Any] | None = None


_Result = TypeVar("_Result")
Reading = Generator[Part | None, None, _Result]

# characters of a name or a key; what is longer is neither
NAME_CHARACTERS = 256

_BLANKS = re.compile(r"\s*")


class Syntax(NamedTuple):
    """Brackets and quotes of a notation; ``plain`` are the other characters outside of strings."""

    plain: re.Pattern[str]
    quotes: str
    opening: str
    closing: str


# the letters are those of true, false, null, NaN, Infinity and exponents
JSON = Syntax(re.compile(r"[\s0-9aefilnrstuyEIN,:.+-]*"), '"', "{[", "}]")
PYTHON = Syntax(re.compile(r"[\s\w,:.+=-]*"), "\"'", "([{", ")]}")
_IN_STRING = {quote: re.compile(rf"[^\\{quote}]*") for quote in "\"'"}


class _Nesting:
    """Follows brackets and strings up to the bracket that closes the first one."""

    __slots__ = ("_depth", "_escaped", "_quote", "_syntax", "closed", "wrong")

    def __init__(self, syntax: Syntax, depth: int) -> None:
        self._syntax = syntax
        self._depth = depth
        self._quote = ""
        self._escaped = False
        self.closed = False
        self.wrong = False  # a character that the notation has in strings only

    def read(self, text: str, at: int, end: int) -> int:
        """Read up to ``end`` or to the end of the value; where that is."""
        while at < end and not (self.closed or self.wrong):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            plain = _IN_STRING[self._quote] if self._quote else self._syntax.plain
            match = plain.match(text, at, end)
            at = match.end() if match else at
            if at < end:
                self._mark(text[at])
                at += not self.wrong
        return at

    def _mark(self, character: str) -> None:
        syntax = self._syntax
        if self._quote:
            self._escaped = character == "\\"
            self._quote = self._quote if self._escaped else ""
        elif character in syntax.quotes:
            self._quote = character
        elif character in syntax.opening:
            self._depth += 1
        elif character in syntax.closing:
            self._depth -= 1
            self.closed = self._depth == 0
        else:
            self.wrong = True


class TextSource:
    """The text of one choice that has come and is not finished.

    * ``text``, ``at``: what has come, and where in it the next character is.
    * ``ended``: no more text comes.
    * ``dead``: what a reader is, with a place in the whole text where it cannot go on.

    Example::

        source = TextSource()
        source.feed("<tool_ca")
        source.feed("ll>{}")
    """

    __slots__ = ("_base", "_before", "_last_dead", "_mark", "_next", "at", "dead", "ended", "text")

    def __init__(self) -> None:
        self.text = ""
        self.at = 0
        self.ended = False
        self.dead: set[tuple[object, int]] = set()
        self._last_dead = 0
        self._base = 0  # where in the whole text ``text`` begins
        self._mark = 0  # where in the whole text the last commit is
        self._before: list[str] = []  # what was read between the two
        self._next: dict[str, tuple[int, int, bool]] = {}

    # ------------------------------------------------------------------ for who runs a reader

    def feed(self, piece: str) -> None:
        """Add text."""
        read = self.text[max(self._mark - self._base, 0) : self.at]
        if read:
            self._before.append(read)
        self._base += self.at
        self.text = self.text[self.at :] + piece
        self.at = 0

    def commit(self) -> None:
        """Finish what was read."""
        self._mark = self.position
        self._before.clear()
        if self.at == len(self.text):
            self._base, self.text, self.at = self._mark, "", 0
        if self._mark > self._last_dead:
            self.dead.clear()

    def rewind(self) -> None:
        """Go back to the last commit."""
        if self._before:
            self.text = "".join([*self._before, self.text])
            self._base = self._mark
            self._before.clear()
        self.at = self._mark - self._base

    @property
    def position(self) -> int:
        """Where in the whole text the next character is."""
        return self._base + self.at

    @property
    def held(self) -> int:
        """Characters that are not committed, read or not."""
        return self._base + len(self.text) - self._mark

    @property
    def over(self) -> bool:
        """Whether the text has ended and all of it is read."""
        return self.ended and self.at == len(self.text)

    # ------------------------------------------------------------------ for readers

    def since(self, position: int) -> str:
        """What was read since a position behind the last commit."""
        if position >= self._base:
            return self.text[position - self._base : self.at]
        pieces = [self.text[: self.at]]
        start = self._base
        for piece in reversed(self._before):
            pieces.append(piece)
            start -= len(piece)
            if start <= position:
                break
        pieces.reverse()
        return "".join(pieces)[position - start :]

    def give_up(self, reader: object, positions: Iterable[int]) -> None:
        """Note that a reader cannot go on from these positions, wherever it began."""
        for position in positions:
            self.dead.add((reader, position))
            self._last_dead = max(self._last_dead, position)

    def peek(self) -> Reading[str]:
        """Look at the next character; "" at the end."""
        while self.at == len(self.text) and not self.ended:
            yield None
        return self.text[self.at : self.at + 1]

    def blanks(self) -> Reading[None]:
        """Read white space."""
        while True:
            match = _BLANKS.match(self.text, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.text) or self.ended:
                return
            yield None

    def look(self, *markers: str) -> Reading[str]:
        """Look which of the markers comes next; "" for none. None begins with another one."""
        while True:
            rest = self.text[self.at : self.at + NAME_CHARACTERS]
            marker = next((one for one in markers if rest.startswith(one)), "")
            waits = not self.ended and any(one.startswith(rest) for one in markers)
            if marker or not waits:
                return marker
            yield None

    def take(self, *markers: str) -> Reading[str]:
        """Read one of the markers; "" if none comes next."""
        marker = yield from self.look(*markers)
        self.at += len(marker)
        return marker

    def word(self, characters: re.Pattern[str]) -> Reading[str]:
        """Read the characters that a pattern matches; "" if there are none, or too many."""
        while True:
            match = characters.match(self.text, self.at)
            end = match.end() if match else self.at
            if end - self.at > NAME_CHARACTERS:
                return ""
            if end < len(self.text) or self.ended:
                word, self.at = self.text[self.at : end], end
                return word
            yield None

    def until(self, *markers: str, limit: int | None = None) -> Reading[tuple[str, str]]:
        """Read up to the first of the markers, and it: the text before it, and the marker.

        The marker is "" if the text ends before, or more than ``limit`` characters come before it.
        """
        start = self.position
        while True:
            end, marker = self.next_of(markers)
            if marker and (limit is None or self._base + end - start <= limit):
                self.at = end
                text = self.since(start)
                self.at += len(marker)
                return text, marker
            if marker or self.ended or (limit is not None and self._base + end - start > limit):
                self.at = len(self.text) if self.ended else self.at
                return self.since(start), ""
            self.at = end
            yield None

    def value(
        self,
        syntax: Syntax = JSON,
        *,
        depth: int = 0,
        stops: tuple[str, ...] = (),
        live: bool = False,
    ) -> Reading[bool]:
        """Read a value in brackets up to its last one; False if there is none.

        * ``depth``: brackets that are open already.
        * ``stops``: markers that end it wherever they are, in a string too.
        * ``live``: yield each piece as a fragment of a call's arguments, as it comes.
        """
        nesting = _Nesting(syntax, depth)
        while True:
            end, marker = self.next_of(stops)
            start, self.at = self.at, nesting.read(self.text, self.at, end)
            if live and self.at > start:
                yield arguments(self.text[start : self.at])
            if nesting.closed or nesting.wrong or marker or self.ended:
                return nesting.closed
            yield None

    def next_of(self, markers: tuple[str, ...]) -> tuple[int, str]:
        """Where in ``text`` the first of the markers is, and which.

        Without one: up to where none can begin, and "".
        """
        places = [(at, one) for one in markers if (at := self._find(one)) >= 0]
        if places:
            return min(places)
        tail = 0 if self.ended else beginning_at_end(self.text, markers)
        return max(len(self.text) - tail, self.at), ""

    def _find(self, marker: str) -> int:
        """Where in ``text`` the next marker is, -1 for none; nothing is searched twice."""
        here = self.position
        start, searched, found = self._next.get(marker, (here, here, False))
        if not start <= here <= searched:
            start, searched, found = here, here, False
        if found:
            return searched - self._base
        at = self.text.find(marker, searched - self._base)
        end = at if at >= 0 else max(len(self.text) - len(marker) + 1, self.at)
        self._next[marker] = (start, max(self._base + end, searched), at >= 0)
        return at


def arguments(text: str) -> Part:
    """A fragment of the arguments of the last call."""
    return Part("call", "", {"function": {"arguments": text}})


def beginning_at_end(text: str, markers: Iterable[str]) -> int:
    """The length of the longest end of ``text`` that one of the markers begins with."""
    longest = 0
    for marker in markers:
        for size in range(min(len(marker) - 1, len(text)), longest, -1):
            if text.endswith(marker[:size]):
                longest = size
                break
    return longest
