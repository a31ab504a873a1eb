"""The data of events: from what their lines hold to what they are.

Upstreams put more into the data of an event than one JSON object on one line, and less. What the
data is shows in this order:

* the end (``[DONE]``), another word for it, or a keep-alive: told by their words;
* one JSON value on one line, which is handed on at the end of that line;
* several JSON objects side by side on one line: each is an event. They are read one by one as they
  are asked for, because a long line may hold millions;
* JSON over several lines. Its lines wait until all its brackets are closed: then it is whole, or
  never will be. A line that is whole JSON for itself may well be a part of it, and is taken for an
  event of its own only where it cannot go on with the line before it;
* what is none of these until the event ends is no JSON: an error, or, in an event that has a name
  of its own, a keep-alive.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from normalizer.core.brackets import Brackets
from normalizer.core.event import Event, Kind, has_name_of_its_own
from normalizer.core.findings import Deviation
from normalizer.core.lenient import loads

EMPTY_DATA = Deviation(
    code="F107",
    name="empty-data",
    fault="An event has no data, `null` or `{}`.",
    repair="A keep-alive comment replaces the event.",
    structural=True,
)
KEEP_ALIVE_AS_DATA = Deviation(
    code="F108",
    name="keep-alive-as-data",
    fault="A keep-alive is sent as data.",
    repair="A keep-alive comment replaces the event.",
    structural=True,
)
SEVERAL_LINES = Deviation(
    code="F114",
    name="json-over-several-lines",
    fault="The JSON of one event is spread over several `data:` lines.",
    repair="The JSON is joined on one line.",
    structural=True,
)
DONE_VARIANT = Deviation(
    code="F116",
    name="done-variant",
    fault="`[DONE]` has no `data:`, has text after it, or is spelled differently.",
    repair="It becomes `data: [DONE]`.",
    structural=True,
)
INVALID_UTF_8 = Deviation(
    code="F118",
    name="invalid-utf-8",
    fault="The body has bytes that are not valid UTF-8.",
    repair="Each invalid sequence becomes U+FFFD.",
)
NON_FINITE = Deviation(
    code="F119",
    name="non-finite-number",
    fault="A number is NaN or Infinity, which JSON does not have.",
    repair="It becomes -9999.0 in log probabilities, and null elsewhere.",
)
LONE_SURROGATE = Deviation(
    code="F120",
    name="lone-surrogate",
    fault="A string has half of a surrogate pair.",
    repair="The two halves are joined, or the lone half becomes U+FFFD.",
)
CONTROL_CHARACTER = Deviation(
    code="F121",
    name="raw-control-character",
    fault="A JSON string has unescaped control characters.",
    repair="The characters are escaped.",
)
SIDE_BY_SIDE = Deviation(
    code="F122",
    name="json-side-by-side",
    fault="One `data:` line has several JSON objects.",
    repair="Each object becomes an event of its own.",
    structural=True,
)

_HEARTBEAT = re.compile(rb"(?i)[\[(]?(?:ping|pong|heart-?beat|keep-?alive)[\])]?")
_DONE = re.compile(rb'"?\[(?:ALL )?DONE\]?')
_END_WORD = re.compile(
    rb"(?i)\[?(?:all )?"
    rb"(?:done|end(?:ed)?|finish(?:ed)?|completed?|eof|end[ _-]of[ _-]stream)\]?[.!]?"
)
_LONGEST_WORD = 24
_BLANK = re.compile(rb"\s*")
# What may stand between two JSON values that touch, where no comma could.
_TOUCHING = re.compile(rb"[}\]]\s*+(?:data:\s*+)*+[{\[]")
_SEPARATOR = re.compile(rb"\s*+(?:data:\s*+)*+")
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
_CONTROL = re.compile(rb"[\x00-\x1f]")
_PAGE_BYTES = 64 * 1024
_OPENING = (b"{", b"[")


class EventData:
    """The data of the event at hand, line by line.

    What is known to be an event is taken by `next`. ``waits`` says whether data that has come is no
    event yet. ``found`` is told of each deviation; data over ``limit`` bytes is a TOO_LARGE event.
    ``named``: an event's name may say all, so that ``{}`` is its data.

    Example::

        data = EventData(found, limit=1000)
        data.line(b'{"a":', "", 0)
        data.line(b"1}", "", 12)
        assert data.next().value == {"a": 1}
    """

    __slots__ = (
        "_at",
        "_brackets",
        "_empty",
        "_found",
        "_held",
        "_limit",
        "_lines",
        "_named",
        "_page",
        "_ready",
        "_row",
        "waits",
    )

    def __init__(
        self, found: Callable[[Deviation], bool], limit: int, *, named: bool = False
    ) -> None:
        self.waits = False
        self._named = named
        self._found = found
        self._limit = limit
        self._ready: list[Event] = []  # a few: the next line is read when they are given
        self._at = 0  # where the first line began of what waits
        self._empty = False  # a line without data was the last
        self._lines: list[bytes] = []  # of JSON that is not whole yet
        self._brackets: Brackets | None = None  # and which of theirs are open
        self._page: list[bytes] = []
        self._held = 0  # bytes of what waits
        self._row: tuple[bytes, int, str, int] | None = None  # values side by side; see `_next_of`

    @property
    def busy(self) -> bool:
        """Whether anything is here: data that waits, or events that `next` has not given."""
        return self.waits or self._row is not None or bool(self._ready)

    @property
    def unfinished(self) -> bool:
        """Whether lines of JSON or of a page wait for more."""
        return bool(self._lines or self._page)

    @property
    def in_page(self) -> bool:
        """Whether the lines are those of a page, which has not ended."""
        return bool(self._page)

    @property
    def in_lines(self) -> bool:
        """Whether lines of JSON wait for more of it."""
        return bool(self._lines)

    @property
    def in_empty(self) -> bool:
        """Whether a line without data was the last."""
        return self._empty

    def next(self) -> Event | None:
        """The next event that is known to be one."""
        if self._row is not None and not self._ready:
            self._next_of(*self._row)
        return self._ready.pop(0) if self._ready else None

    def line(self, value: bytes, name: str, at: int, *, bare: bool = False) -> bool:
        """Take the data of a line; False if it waits for more lines.

        ``name`` is the event's, ``at`` where the line began, in bytes of the stream; ``bare``: it
        had no field name.
        """
        if self._lines:
            return self._another_line(value, name, at)
        if bare and value == b"[DONE]":
            self._found(DONE_VARIANT)
        kind = self._kind_by_words(value, name)
        if kind is not None:
            self._hand_on(Event(kind, b"" if kind is Kind.DONE else value, name=name, at=at))
        elif len(value) > self._limit:
            self.too_large(at)
        else:
            return self._first_line(value, name, at)
        return True

    def empty_line(self, at: int) -> None:
        """Take a line without data."""
        if not self._lines:
            self._at = at
            self._empty = self.waits = True

    def page_line(self, line: bytes, at: int) -> None:
        """Take a line of a page of HTML, or the first one."""
        if not self._page:
            self._at, self._held = at, 0
            self.waits = True
        self._page.append(line)
        self._held += len(line) + 1
        if b"</html>" in line.lower() or self._held > min(_PAGE_BYTES, self._limit):
            self.end("", at)

    def comment(self, text: bytes, name: str, at: int) -> None:
        """Take a comment, which may stand between the lines of an event."""
        self._ready.append(Event(Kind.COMMENT, text, name=name, at=at))

    def too_large(self, at: int) -> None:
        """Give up an event that is over the limit; what of it waits is dropped with it."""
        self._hand_on(Event(Kind.TOO_LARGE, b"", at=at))

    def end(self, name: str, at: int) -> None:
        """The event has ended; ``name`` without data is an event too, which began ``at``."""
        if self._page:
            self._hand_on(Event(Kind.PAGE, b"\n".join(self._page), name=name, at=self._at))
        elif self._lines:
            self._hand_on(self._no_json(name))
        elif self._empty or name:
            self._found(EMPTY_DATA)
            kind = Kind.END_WORD if _is_end_word(name.encode()) else Kind.NOTHING
            self._hand_on(Event(kind, b"", name=name, at=self._at if self._empty else at))

    def not_strict(self, data: bytes) -> bool:
        """Say what is not strict in the JSON; True if it is to be written anew.

        Nothing need be: a number beyond any double, nesting beyond our parser's.
        """
        signs = [
            (INVALID_UTF_8, not _is_utf_8(data)),
            (NON_FINITE, b"NaN" in data or b"Infinity" in data),
            (LONE_SURROGATE, b"\\ud" in data.lower()),
        ]
        seen = [deviation for deviation, sign in signs if sign]
        if not seen and _CONTROL.search(data):
            seen.append(CONTROL_CHARACTER)
        to_repair = [self._found(deviation) for deviation in seen]
        return True in to_repair

    def _hand_on(self, event: Event) -> None:
        self._ready.append(event)
        self._lines.clear()
        self._page.clear()
        self._empty = self.waits = False

    def _kind_by_words(self, value: bytes, name: str) -> Kind | None:
        """What data is that is told by its words alone."""
        if is_done(value):
            if value != b"[DONE]":
                self._found(DONE_VARIANT)
            return Kind.DONE
        if value in (b"null", b"{}", b'""', b"[]"):
            if _is_end_word(name.encode()):
                return Kind.END_WORD
            if self._named and name and value == b"{}":
                return None
            self._found(EMPTY_DATA)
            return Kind.NOTHING
        if value[:1] == b":" or _HEARTBEAT.fullmatch(value):
            self._found(KEEP_ALIVE_AS_DATA)
            return Kind.NOTHING
        return Kind.END_WORD if _is_end_word(value) else None

    def _no_json(self, name: str) -> Event:
        """What lines are that became no JSON before their event ended."""
        data = b"\n".join(self._lines)
        kind = Kind.INVALID
        if has_name_of_its_own(name) and data[:1] not in (b"{", b"[", b"<"):
            self._found(KEEP_ALIVE_AS_DATA)
            kind = Kind.NOTHING
        return Event(kind, data, name=name, at=self._at)

    # ------------------------------------------------------------------ JSON on one line

    def _first_line(self, value: bytes, name: str, at: int) -> bool:
        try:
            parsed, lenient = loads(value)
        except ValueError:
            if _TOUCHING.search(value) and 0 < _end_of_json(value, 0) < len(value):
                self._next_of(value, 0, name, at)
            else:
                self._wait(value, at)
            return not self._lines
        if lenient:
            lenient = self.not_strict(value)
        self._hand_on(Event(Kind.DATA, value, parsed, lenient, name, at))
        return True

    def _next_of(self, row: bytes, position: int, name: str, at: int) -> None:
        """Hand on the value that begins at ``position`` of a line that holds several."""
        self._row = None
        end = _end_of_json(row, position)
        if not end:
            self.line(row[position:], name, at)
            return
        self._found(SIDE_BY_SIDE)
        if not self.line(row[position:end], name, at):
            self._lines.clear()
            self._wait(row[position:], at)
            return
        separator = _SEPARATOR.match(row, end)
        behind = separator.end() if separator else end
        if behind < len(row):
            self._row = (row, behind, name, at)

    # ------------------------------------------------------------------ JSON over several lines

    def _wait(self, value: bytes, at: int) -> None:
        self._lines.append(value)
        self._at, self._held = at, len(value)
        self._empty, self.waits = False, True
        self._brackets = Brackets()
        self._brackets.read(value)

    def _another_line(self, last: bytes, name: str, at: int) -> bool:
        if self._begins_anew(last):
            self._hand_on(self._no_json(name))
            return self.line(last, name, at)
        self._lines.append(last)
        self._held += len(last) + 1
        if self._held > self._limit:
            self.too_large(self._at)
            return True
        if self._brackets is None or not self._brackets.read(last):
            return False
        try:
            parsed, lenient = loads(b"\n".join(self._lines))
        except ValueError:
            return False
        self._found(SEVERAL_LINES)
        # the lines' ends are white space between JSON's tokens: a space says the same
        whole = b" ".join(self._lines)
        if lenient:
            lenient = self.not_strict(whole)
        self._hand_on(Event(Kind.DATA, whole, parsed, lenient, name, self._at))
        return True

    def _begins_anew(self, last: bytes) -> bool:
        """Whether a line cannot go on with the JSON of the lines that wait.

        Behind a value JSON goes on with a comma or a closing bracket. A string goes on with
        anything, but none that was ever sent goes on with a line that is an object.
        """
        if last[:1] not in _OPENING:
            return False
        if self._brackets is not None and self._brackets.quoted:
            return last[-1:] in (b"}", b"]")
        return self._lines[-1][-1:] not in (b",", b":", b"[")


def is_done(value: bytes) -> bool:
    """Whether data is `[DONE]`, in one of its spellings."""
    return _DONE.match(value) is not None


def without_field_names(value: bytes) -> bytes:
    """What is behind the `data:` that a value begins with, however often."""
    start = 0
    while value.startswith(b"data:", start):
        # no copy for each: a line may hold nothing else
        blank = _BLANK.match(value, start + 5)
        start = blank.end() if blank else start + 5
    return value[start:]


def _end_of_json(data: bytes, start: int) -> int:
    """Where the object or list ends that begins at ``start``; 0 if it does not, or none begins."""
    depth = 0
    if data[start : start + 1] not in _OPENING:
        return 0
    for match in _STRING_OR_BRACKET.finditer(data, start):
        found = match[0]
        if found in (b"{", b"["):
            depth += 1
        elif found in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return match.end()
    return 0


def _is_end_word(value: bytes) -> bool:
    return len(value) <= _LONGEST_WORD and _END_WORD.fullmatch(value) is not None


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
