"""The wire: bytes to events. Incremental, no I/O, knows nothing of models.

The rules are WHATWG's for event streams (https://html.spec.whatwg.org/multipage/server-sent-events.html),
with four departures that real upstreams ask for:

* An event is handed on at the end of a `data:` line that is whole JSON, not at the blank line
  after it: events that only one newline parts are events all the same, and none waits for a blank
  line that is late. JSON over several lines is the exception that waits.
* Lines that are no field, which the standard ignores, are looked at: errors hide in them.
* An unterminated last event counts; it often holds the finish.
* `error:` is a field (llama.cpp until 2025 sends it).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from normalizer.core.brackets import Brackets
from normalizer.core.findings import Deviation
from normalizer.core.lenient import loads

BYTE_ORDER_MARK = Deviation(
    code="F101",
    name="byte-order-mark",
    fault="A byte order mark stands before the first line.",
    repair="The mark is removed.",
    structural=True,
)
LINE_ENDING = Deviation(
    code="F102",
    name="line-ending",
    fault="Lines end in CR or CRLF.",
    repair="They end in LF.",
    structural=True,
)
NO_SPACE = Deviation(
    code="F103",
    name="no-space-after-data",
    fault="`data:` has no space after its colon.",
    repair="`data:` gets one space, which hand-written parsers need.",
    structural=True,
)
SINGLE_NEWLINE = Deviation(
    code="F104",
    name="single-newline",
    fault="A single newline separates two events.",
    repair="A blank line separates them.",
    structural=True,
)
EVENT_FIELD = Deviation(
    code="F105",
    name="event-field",
    fault="An event has an `event:` line.",
    repair="The line is removed and the data of an `event: error` becomes an error event.",
    structural=True,
)
ID_OR_RETRY_FIELD = Deviation(
    code="F106",
    name="id-or-retry-field",
    fault="An event has an `id:` or `retry:` line.",
    repair="The line is removed.",
    structural=True,
)
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
ERROR_FIELD = Deviation(
    code="F109",
    name="error-field",
    fault="An error is sent in an `error:` line.",
    repair="The value of the line becomes an error event.",
    structural=True,
)
DATA_ON_NEXT_LINE = Deviation(
    code="F110",
    name="data-on-next-line",
    fault="`data:` is empty and its JSON is on the next line.",
    repair="The JSON is put on the `data:` line.",
    structural=True,
)
BARE_JSON = Deviation(
    code="F111",
    name="bare-json-line",
    fault="A line of JSON has no field name.",
    repair="The line gets the field name `data:`.",
    structural=True,
)
JUNK_LINE = Deviation(
    code="F112",
    name="junk-line",
    fault="A line is no field, comment or JSON, or its data is no object.",
    repair="The line is removed.",
    structural=True,
)
UNTERMINATED = Deviation(
    code="F113",
    name="unterminated-event",
    fault="The last event does not end in a blank line.",
    repair="The blank line is added.",
    structural=True,
)
SEVERAL_LINES = Deviation(
    code="F114",
    name="json-over-several-lines",
    fault="The JSON of one event is spread over several `data:` lines.",
    repair="The JSON is joined on one line.",
    structural=True,
)
NESTED_DATA = Deviation(
    code="F115",
    name="data-within-data",
    fault="A line begins with `data: data:`.",
    repair="The second field name is removed.",
    structural=True,
)
DONE_VARIANT = Deviation(
    code="F116",
    name="done-variant",
    fault="`[DONE]` has no `data:`, has text after it, or is spelled differently.",
    repair="It becomes `data: [DONE]`.",
    structural=True,
)
COMMENT = Deviation(
    code="F117",
    name="comment",
    fault="The stream has comments.",
    repair='`comments="drop"` removes them.',
    option={"comments": "drop"},
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

_END_OF_LINE = re.compile(rb"\r\n|\n|\r")
_HEARTBEAT = re.compile(rb"(?i)[\[(]?(?:ping|pong|heart-?beat|keep-?alive)[\])]?")
_DONE = re.compile(rb"\[(?:ALL )?DONE\]?")
_BLANK = re.compile(rb"\s*")
_BOM = b"\xef\xbb\xbf"
_PAGE_BYTES = 64 * 1024
_FIELD = len(b"data: ")  # what a line may have beside its data


class Kind(enum.Enum):
    """What an `Event` is: `value` holds the JSON of DATA, `data` the bytes of all others."""

    DATA = enum.auto()
    COMMENT = enum.auto()
    NOTHING = enum.auto()  # it says nothing, but it keeps a connection alive
    DONE = enum.auto()
    INVALID = enum.auto()  # neither JSON nor anything else that is known
    PAGE = enum.auto()  # HTML
    TOO_LARGE = enum.auto()


class Event(NamedTuple):
    """One event. ``data`` is its bytes on one line; ``lenient`` data has to be written anew."""

    kind: Kind
    data: bytes
    value: Any = None
    lenient: bool = False
    name: str = ""
    at: int = 0  # bytes of the stream before the event's end, or its line if that is TOO_LARGE


class EventReader:
    """Reads events out of bytes that come split anywhere.

    ``found`` is told of each framing deviation. Nothing is raised for what the bytes hold: data
    that is no JSON is an INVALID event, one over ``limit`` bytes a TOO_LARGE one.

    Example::

        reader = EventReader(found, limit=8 * 1024 * 1024)
        reader.receive(b'data: {"a": 1}')
        assert reader.next() is None
        reader.receive(b"\\n\\n")
        assert reader.next().value == {"a": 1}
    """

    __slots__ = (
        "_after_cr",
        "_brackets",
        "_empty",
        "_ended",
        "_found",
        "_held",
        "_limit",
        "_line_at",
        "_lines",
        "_name",
        "_page",
        "_page_size",
        "_parts",
        "_ready",
        "_size",
        "_started",
        "_unparted",
        "data",
        "junk",
        "position",
        "received",
    )

    def __init__(self, found: Callable[[Deviation], bool], limit: int) -> None:
        self.data = b""  # what is to be read, from `position` on
        self.position = 0
        self.junk: list[bytes] = []  # the first lines that meant nothing, for messages
        self._found = found
        self._limit = limit
        self._line_at = 0  # bytes of the stream before the line at hand
        self.received = 0  # bytes, of the whole stream; who reads some instead adds them
        self._parts: list[bytes] = []  # of a line whose end has not come
        self._size = 0
        self._started = False
        self._after_cr = False  # the last line ended in CR at the end of what had come
        self._name = ""
        self._lines: list[bytes] = []  # of JSON that is not whole yet
        self._held = 0  # bytes of these lines
        self._brackets = Brackets()  # and which of theirs are open
        self._empty = False  # an empty `data:` line was the last
        self._unparted = False  # an event was handed on and its blank line has not come
        self._page: list[bytes] = []
        self._page_size = 0
        self._ready: list[Event] = []
        self._ended = False

    @property
    def aligned(self) -> bool:
        """Whether the next byte begins a new event, nothing of another one waiting."""
        return not (self._lines or self._empty or self._unparted or self._ready or self._page) and (
            self._started and not self._name and not self._after_cr and not self._parts
        )

    def receive(self, data: bytes) -> None:
        """Take bytes; call `next` until it gives None before the next call."""
        self.received += len(data)
        if self._after_cr and data:
            self._after_cr = False
            if data[:1] == b"\n":
                data = data[1:]
        self.position = 0
        if b"\n" not in data and b"\r" not in data:
            self.data = b""
            if data:
                self._parts.append(data)
                self._size += len(data)
            if self._size > self._limit + _FIELD:
                self._line_at = self.received - self._size
                self._too_large()
            return
        if self._parts:
            data = b"".join([*self._parts, data])
            self._parts.clear()
            self._size = 0
        self.data = data
        if not self._started:
            self._start()

    def next(self) -> Event | None:
        """The next event, or None if more bytes are needed."""
        if self._ready:
            return self._ready.pop(0)
        data = self.data
        while self.position < len(data):
            if data.startswith(b"data: {", self.position) and not (
                self._lines or self._name or self._unparted or self._empty or self._page
            ):
                end = data.find(b"\n", self.position)
                if end > 0 and data[end + 1 : end + 2] == b"\n":
                    payload = data[self.position + 6 : end]
                    if payload[-1:] == b"}" and 2 < len(payload) <= self._limit:
                        try:
                            value, lenient = loads(payload)
                        except ValueError:
                            pass
                        else:
                            self.position = end + 2
                            if lenient:
                                lenient = self._not_strict(payload)
                            return Event(Kind.DATA, payload, value, lenient)
            match = _END_OF_LINE.search(data, self.position)
            self._line_at = self.received - len(data) + self.position
            if match is None:
                rest = data[self.position :]
                self.position = len(data)
                self._parts.append(rest)
                self._size = len(rest)
                if self._size > self._limit + _FIELD:
                    self._too_large()
                    return self.next()
                return None
            line = data[self.position : match.start()]
            self.position = match.end()
            if len(line) > self._limit + _FIELD:
                self._too_large()
                return self.next()
            if match[0] != b"\n":
                self._found(LINE_ENDING)
                self._after_cr = match[0] == b"\r" and self.position == len(data)
            self._line(line)
            if self._ready:
                return self._ready.pop(0)
        return None

    def close(self) -> None:
        """The bytes have ended; call `next` for what they still held."""
        if self._ended:
            return
        self._ended = True
        if self._parts:
            line = b"".join(self._parts)
            self._parts.clear()
            if not self._started:
                self._started = True
                if line.startswith(_BOM):
                    self._found(BYTE_ORDER_MARK)
                    line = line[3:]
            if line.strip():
                self._found(UNTERMINATED)
                self._line(line)
        if self._lines or self._page:
            self._found(UNTERMINATED)
        self._blank()

    def rest(self) -> bytes:
        """What has come and was not read: the bytes of an unfinished line among them."""
        return self.data[self.position :] + b"".join(self._parts)

    def _start(self) -> None:
        self._started = True
        if self.data.startswith(_BOM):
            self._found(BYTE_ORDER_MARK)
            self.position = 3

    def _too_large(self) -> None:
        self._parts.clear()
        self._size = 0
        self._ready.append(Event(Kind.TOO_LARGE, b"", at=self._line_at))

    def _at(self) -> int:
        return self.received - len(self.data) + self.position

    def _not_strict(self, data: bytes) -> bool:
        """Say what is not strict in the JSON; True if it is to be written anew."""
        signs = [
            (INVALID_UTF_8, not _is_utf_8(data)),
            (NON_FINITE, b"NaN" in data or b"Infinity" in data),
            (LONE_SURROGATE, b"\\ud" in data.lower()),
        ]
        seen = [deviation for deviation, sign in signs if sign] or [CONTROL_CHARACTER]
        to_repair = [self._found(deviation) for deviation in seen]
        return True in to_repair

    def _hand_on(self, kind: Kind, data: bytes, value: Any = None, lenient: bool = False) -> None:
        if lenient:
            lenient = self._not_strict(data)
        self._ready.append(Event(kind, data, value, lenient, self._name, self._at()))
        self._lines.clear()
        self._empty = False

    def _line(self, line: bytes) -> None:
        if self._page:
            self._page_line(line)
        elif not line:
            self._blank()
        elif line[:1] == b":":
            self._hand_on_comment(line)
        else:
            field, colon, value = line.partition(b":")
            if field == b"data":
                self._data(value)
            elif field == b"event":
                self._found(EVENT_FIELD)
                self._name = value.strip().decode("utf-8", "replace")
            elif field in (b"id", b"retry") and colon:
                self._found(ID_OR_RETRY_FIELD)
            elif field == b"error" and colon:
                self._found(ERROR_FIELD)
                self._name = "error"
                self._payload(value.strip())
            else:
                self._no_field(line)

    def _hand_on_comment(self, line: bytes) -> None:
        waiting, empty = self._lines, self._empty
        self._lines = []
        self._hand_on(Kind.COMMENT, line)
        self._lines, self._empty = waiting, empty

    def _blank(self) -> None:
        if self._page:
            self._hand_on(Kind.PAGE, b"\n".join(self._page))
            self._page.clear()
            self._page_size = 0
        elif self._lines:
            self._hand_on(Kind.INVALID, b"\n".join(self._lines))
        elif self._empty or (self._name and not self._unparted):
            self._found(EMPTY_DATA)
            self._hand_on(Kind.NOTHING, b"")
        self._name = ""
        self._unparted = False

    def _data(self, value: bytes) -> None:
        if value[:1] == b" ":
            value = value[1:]
        elif value:
            self._found(NO_SPACE)
        value = value.strip()
        if value[:5] == b"data:":
            self._found(NESTED_DATA)
            value = _without_field_names(value)
        if self._unparted and value:
            self._found(SINGLE_NEWLINE)
            self._unparted = False
        if value:
            self._payload(value)
        else:
            self._empty = not self._lines

    def _payload(self, value: bytes) -> None:
        """Data of an event, or a line of it: hand it on as soon as it is whole."""
        if self._lines:
            self._lines.append(value)
            self._several_lines(value)
            return
        if _DONE.match(value):
            if value != b"[DONE]":
                self._found(DONE_VARIANT)
            self._hand_on(Kind.DONE, b"")
        elif value[:1] == b":" or _HEARTBEAT.fullmatch(value):
            self._found(KEEP_ALIVE_AS_DATA)
            self._hand_on(Kind.NOTHING, value)
        elif value in (b"null", b"{}", b'""', b"[]"):
            self._found(EMPTY_DATA)
            self._hand_on(Kind.NOTHING, value)
        elif len(value) > self._limit:
            self._too_large()
            return
        else:
            try:
                parsed, lenient = loads(value)
            except ValueError:
                self._lines.append(value)
                self._held = len(value)
                self._brackets = Brackets()
                self._brackets.read(value)
                return
            self._hand_on(Kind.DATA, value, parsed, lenient)
        self._unparted = True

    def _several_lines(self, last: bytes) -> None:
        self._held += len(last) + 1
        if self._held > self._limit:
            self._lines.clear()
            self._too_large()
            return
        if self._brackets.read(last):
            # the first time that all are closed: it is whole now, or never will be
            try:
                parsed, lenient = loads(b"\n".join(self._lines))
            except ValueError:
                pass
            else:
                self._found(SEVERAL_LINES)
                # the lines' ends are white space between JSON's tokens: a space says the same
                self._hand_on(Kind.DATA, b" ".join(self._lines), parsed, lenient)
                self._unparted = True
                return
        if last[:1] in (b"{", b"[") and last[-1:] in (b"}", b"]", b'"'):
            self._lines.pop()
            self._blank()
            self._payload(last)

    def _no_field(self, line: bytes) -> None:
        text = line.strip()
        if not text:
            # a line of blanks parts events no worse than an empty one
            self._blank()
        elif self._lines and not self._empty:
            self._lines.append(text)
            self._several_lines(text)
        elif text[:1] in (b"{", b"["):
            if not _DONE.match(text):
                self._found(DATA_ON_NEXT_LINE if self._empty else BARE_JSON)
            elif text == b"[DONE]":
                self._found(DONE_VARIANT)  # other variants are found as such in `_payload`
            self._empty = False
            self._unparted = False
            self._payload(text)
        elif text[:1] == b"<":
            self._page_line(text)
        elif line[:1] in b" \t" and text.partition(b":")[0] in (b"data", b"event", b"error"):
            self._found(JUNK_LINE)
            self._line(text)
        else:
            self._found(JUNK_LINE)
            if len(self.junk) < 20:
                self.junk.append(text[:500])

    def _page_line(self, line: bytes) -> None:
        self._page.append(line)
        self._page_size += len(line) + 1
        if b"</html>" in line.lower() or self._page_size > min(_PAGE_BYTES, self._limit):
            self._blank()


def _without_field_names(value: bytes) -> bytes:
    """What is behind the `data:` that a value begins with, however often."""
    start = 0
    while value.startswith(b"data:", start):
        # no copy for each: a line may hold nothing else
        blank = _BLANK.match(value, start + 5)
        start = blank.end() if blank else start + 5
    return value[start:]


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
