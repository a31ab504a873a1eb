"""Finds calls in the text of one choice and gives what is around them as text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from normalizer.core.findings import Findings
from normalizer.wires.chat.markup.source import Part, Reading, TextSource, beginning_at_end
from normalizer.wires.chat.markup.text_calls.dialect import Dialect, Tools, Where
from normalizer.wires.chat.markup.text_calls.repeats import CallsMade

# characters that may wait for the end of a call; a runaway answer must not show nothing
CALL_CHARACTERS = 64 * 1024
# characters of white space behind a call that may wait for the next call
_BLANK_CHARACTERS = 256

_BLANKS = re.compile(r"\s*")


class Place:
    """Where in the text the next character is, as far as that decides about openers.

    * ``empty``: only white space was before.
    """

    __slots__ = ("_fenced", "_last", "_line", "empty")

    def __init__(self) -> None:
        self.empty = True
        self._line = ""  # the beginning of the line, enough to see a fence
        self._last = ""
        self._fenced = False

    def read(self, text: str) -> None:
        """Text is given out."""
        if not text:
            return
        self._last = text[-1]
        self.empty = self.empty and text.isspace()
        first, *others = text.split("\n")
        self._line += first[: 16 - len(self._line)]
        for line in others:
            if self._is_fence:
                # only a bare one ends a block
                self._fenced = not (self._fenced and not self._line.strip(" `\r"))
            self._line = line[:16]

    @property
    def _is_fence(self) -> bool:
        return self._line.lstrip(" ").startswith("```")

    def allows(self, where: Where) -> bool:
        """Whether an opener can be one here: not in a code block, not behind a backtick."""
        if self._fenced or self._is_fence or self._last == "`":
            return False
        if where is Where.LINE:
            return not self._line
        return where is Where.ANYWHERE or self.empty


class Search:
    """What readers look for: the same for all choices of a stream.

    * ``dialects``: those that are looked for; ``openers``: what they begin with anywhere.
    * ``at_start``: first characters of answers that are calls as a whole.
    """

    __slots__ = ("at_start", "dialects", "found", "longest", "openers", "pattern", "tools")

    def __init__(self, found: Findings, dialects: Iterable[Dialect], tools: Tools) -> None:
        self.found = found
        self.tools = tools
        self.dialects = [one for one in dialects if found.on(one.deviation)]
        self.at_start = self._opening(Where.START)
        self.openers = sorted(self._opening(Where.ANYWHERE, Where.LINE))
        self.longest = max(map(len, self.openers), default=0)
        self.pattern = re.compile("|".join(map(re.escape, self.openers)) or r"(?!)")

    def _opening(self, *where: Where) -> set[str]:
        chosen = [one for one in self.dialects if one.where in where]
        return {opener for one in chosen for opener in one.openers}


class CallsInText:
    """Calls of the request's own tools that a model wrote into its text.

    Text leaves at once, but for what an opener may begin with. Behind an opener each dialect that
    has it reads in its turn, and the first that finds a call has it. If none does, the opener is
    text. White space between two calls, and behind the last one, is part of the markup.
    """

    __slots__ = (
        "_behind_call",
        "_called",
        "_dialect",
        "_kind",
        "_made",
        "_place",
        "_reading",
        "_search",
        "_source",
        "_tried",
    )

    def __init__(self, search: Search, made: CallsMade, kind: str = "content") -> None:
        self._search = search
        self._made = made
        self._kind = kind
        self._source = TextSource()
        self._place = Place()
        self._reading: Reading[bool] | None = None
        self._dialect = 0  # the number of the one that reads
        self._tried: set[int] = set()  # those that found no call here
        self._called = False  # the reader at hand has given a call
        self._behind_call = False  # nothing but white space came since the last call

    def feed(self, text: str) -> list[Part]:
        """What is known of the text so far and was not given before."""
        self._source.feed(text)
        return self._read()

    def close(self) -> list[Part]:
        """The rest: no more text comes, or something that is no text comes first."""
        if self._reading is None and not self._source.held:
            return []
        self._source.ended = True
        parts = self._read()
        self._source = TextSource()
        return parts

    def _read(self) -> list[Part]:
        parts: list[Part] = []
        more = True
        while more:
            reading = self._reading
            more = self._outside(parts) if reading is None else self._inside(reading, parts)
        return parts

    # ------------------------------------------------------------------ outside of calls

    def _outside(self, parts: list[Part]) -> bool:
        """Give the text before the next opener, and begin to read behind it; False to wait."""
        source, text, start = self._source, self._source.text, self._source.at
        opener = self._next_opener(text, start)
        if opener is None:
            end = len(text) if source.ended else self._without_beginning(text, start)
        else:
            end = opener
        between = self._behind_call and end - start <= _BLANK_CHARACTERS
        if between and self._blank(text, start, end):
            if opener is None and not source.ended:
                return False
            source.at = end
        else:
            self._give(end, parts)
        source.commit()
        if opener is None:
            return False
        self._begin(parts)
        return True

    def _blank(self, text: str, start: int, end: int) -> bool:
        match = _BLANKS.match(text, start, end)
        return match is not None and match.end() == end

    def _next_opener(self, text: str, start: int) -> int | None:
        if self._search.at_start and self._place.empty:
            match = _BLANKS.match(text, start)
            first = match.end() if match else start
            if text[first : first + 1] in self._search.at_start:
                return first
        found = self._search.pattern.search(text, start)
        return found.start() if found else None

    def _without_beginning(self, text: str, start: int) -> int:
        last = text[max(start, len(text) - self._search.longest) :]
        return len(text) - beginning_at_end(last, self._search.openers)

    def _begin(self, parts: list[Part]) -> None:
        """Let the next dialect read that may begin here; without one the opener is text."""
        source = self._source
        for number, dialect in enumerate(self._search.dialects):
            if number in self._tried or not self._place.allows(dialect.where):
                continue
            opener = self._opener(dialect)
            if opener:
                # the opener of a whole answer is its own first character
                source.at += 0 if dialect.where is Where.START else len(opener)
                self._reading = dialect.read(source, self._search.tools, opener)
                self._dialect, self._called = number, False
                return
        self._give(source.at + 1, parts)
        source.commit()

    def _opener(self, dialect: Dialect) -> str:
        text, at = self._source.text, self._source.at
        return next((one for one in dialect.openers if text.startswith(one, at)), "")

    def _give(self, end: int, parts: list[Part]) -> None:
        source = self._source
        text = source.text[source.at : end]
        source.at = end
        if text:
            self._tried.clear()
            self._behind_call = False
            self._place.read(text)
            parts.append(Part(self._kind, text))

    # ------------------------------------------------------------------ inside of calls

    def _inside(self, reading: Reading[bool], parts: list[Part]) -> bool:
        """Run the reader up to the next part; False to wait for more text."""
        try:
            part = next(reading)
        except StopIteration as end:
            self._end(ended_well=bool(end.value))
            return True
        if part is not None:
            self._call(part, parts)
        elif self._source.ended or self._source.held > CALL_CHARACTERS:
            self._end(ended_well=False)
        else:
            return False
        return True

    def _call(self, part: Part, parts: list[Part]) -> None:
        fragment: dict[str, Any] = part.call or {}
        if "type" in fragment:
            self._search.found(self._search.dialects[self._dialect].deviation)
            if fragment["function"]["arguments"]:
                self._made.add(fragment["function"])
        parts.append(part)
        self._source.commit()
        self._called = True

    def _end(self, *, ended_well: bool) -> None:
        self._reading = None
        if ended_well and self._called:
            self._source.commit()
        else:
            self._source.rewind()
        if self._called:
            self._behind_call = True
            self._tried.clear()
            self._place.empty = False
        else:
            self._tried.add(self._dialect)
