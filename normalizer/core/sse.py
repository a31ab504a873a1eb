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

import re
from collections.abc import Callable

from normalizer.core.event import DATA, Event, Kind
from normalizer.core.event_data import EventData, is_done, without_field_names
from normalizer.core.findings import Deviation
from normalizer.core.frames import STARTS, Frame, read_frame
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
NESTED_DATA = Deviation(
    code="F115",
    name="data-within-data",
    fault="A line begins with `data: data:`.",
    repair="The second field name is removed.",
    structural=True,
)
COMMENT = Deviation(
    code="F117",
    name="comment",
    fault="The stream has comments.",
    repair='`comments="drop"` removes them.',
    option={"comments": "drop"},
)

_END_OF_LINE = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
# numbers: bytes look for a byte string an order of magnitude slower than for a byte
_LF, _CR = 10, 13
_DONE = b"data: [DONE]\n\n"  # in the form that most have
_FIELD = len(b"data: ")  # what a line may have beside its data
_JUNK_LINES = 20  # of those that mean nothing, for messages
_JUNK_BYTES = 500  # of each


class EventReader:
    """Reads events out of bytes that come split anywhere.

    ``found`` is told of each framing deviation. Nothing is raised for what the bytes hold: data
    that is no JSON is an INVALID event, one over ``limit`` bytes a TOO_LARGE one. ``named``: events
    have names in this protocol, and an ``event:`` line is no deviation.

    Example::

        reader = EventReader(found, limit=8 * 1024 * 1024)
        reader.receive(b'data: {"a": 1}')
        assert reader.next() is None
        reader.receive(b"\\n\\n")
        assert reader.next().value == {"a": 1}
    """

    __slots__ = (
        "_after_cr",
        "_between",
        "_blank_returns",
        "_ended",
        "_event_data",
        "_found",
        "_frame",
        "_ident",
        "_limit",
        "_line_at",
        "_name",
        "_name_at",
        "_named",
        "_parts",
        "_size",
        "_started",
        "_unparted",
        "data",
        "drained",
        "framing",
        "junk",
        "position",
        "received",
    )

    def __init__(
        self, found: Callable[[Deviation], bool], limit: int, *, named: bool = False
    ) -> None:
        self.data = b""  # what is to be read, from `position` on
        self.position = 0
        self.junk: list[bytes] = []  # lines that meant nothing: the first ones and the last
        self.framing: list[str] = []  # what was found in the lines around the data of `frame`
        self.received = 0  # bytes, of the whole stream; who reads some instead adds them
        self._found = found
        self._limit = limit
        self._named = named
        self._event_data = EventData(found, limit, named=named)
        self._line_at = 0  # bytes of the stream before the line at hand
        self._parts: list[bytes] = []  # of a line whose end has not come
        self._size = 0
        self._started = False
        self._ident = (0, 0)  # where its `id:` line has its value
        self._frame = -1  # where the event at hand begins, if it came whole and in one piece
        self._blank_returns = False  # the empty line behind it ends in CRLF, which was not told yet
        self._between = True  # no line of an event at hand was read: the fast path may be taken
        self._after_cr = False  # the last line ended in CR at the end of what had come
        self._name = ""
        self._name_at = 0  # where the line with the name began
        self._unparted = False  # an event was handed on and its blank line has not come
        self._ended = False
        self.drained = False  # the event given last was whole, and nothing has come behind it

    @property
    def aligned(self) -> bool:
        """Whether the next byte begins a new event, nothing of another one waiting."""
        return self._started and not (
            self._name or self._unparted or self._event_data.busy or self._after_cr or self._parts
        )

    def receive(self, data: bytes) -> bool:
        """Take bytes; whether `next` may have an event, which it gives until it gives None.

        All that it has must be taken before the next call.
        """
        self.received += len(data)
        if self._after_cr and data:
            self._after_cr = False
            if data[:1] == b"\n":
                data = data[1:]
        self.position = 0
        if _LF not in data and _CR not in data:
            return self._receive_piece(data)
        if self._parts:
            data = b"".join([*self._parts, data])
            self._parts.clear()
            self._size = 0
        self.data = data
        if not self._started:
            self._start()
        return True

    def _receive_piece(self, data: bytes) -> bool:
        """Take bytes of a line whose end has not come; whether the line is too large."""
        self.data = b""
        if data:
            self._parts.append(data)
            self._size += len(data)
        if self._size <= self._limit + _FIELD:
            return False
        self._line_at = self.received - self._size
        self._too_large()
        return True

    @property
    def frame(self) -> bytes:
        """The bytes of the event that `next` gave last, its blank line too, if it came whole."""
        return self.data[self._frame : self.position] if self._frame >= 0 else b""

    @property
    def ident(self) -> tuple[int, int]:
        """Where in `frame` the value of its ``id:`` line begins and ends; (0, 0) if it has none."""
        start, end = self._ident
        return (start - self._frame, end - self._frame) if start else (0, 0)

    def next(self) -> Event | None:
        """The next event, or None if more bytes are needed."""
        data = self.data
        self._frame = -1
        self.drained = False
        if self._blank_returns:
            self._blank_returns = False
            self._found(LINE_ENDING)
        while True:
            if not self._between:
                event = self._event_data.next()
                if event is not None:
                    return event
                self._between = not (self._name or self._unparted or self._event_data.waits)
            if self.position >= len(data):
                return None
            if self._between:
                event = self._clean_event(data, self.position)
                event = event or self._framed_event(data, self.position)
                if event is not None:
                    return event
            if not self._read_line(data):
                return self._event_data.next()

    def _clean_event(self, data: bytes, position: int) -> Event | None:
        """The event at ``position`` if it is whole and in the form that most are: the fast path."""
        start, name = position, b""
        if not data.startswith(b"data: {", position):
            if not data.startswith(b"event: ", position):
                return self._clean_done(data, position)
            start = data.find(b"\n", position) + 1
            if not start or not data.startswith(b"data: {", start):
                return None
            name = data[position + 7 : start - 1]
        end = data.find(b"\n", start)
        if not data.startswith(b"\n\n", end):
            return None
        payload = data[start + 6 : end]
        # CR ends a line too, and `{}` says nothing
        if not 2 < len(payload) <= self._limit or _CR in payload or _CR in name:
            return None
        try:
            value, lenient = loads(payload)
        except ValueError:
            return None
        self.position = end + 2
        self.drained = end + 2 == len(data)
        self._frame, self._ident = position, (0, 0)
        if self.framing:
            self.framing = []
        if lenient:
            lenient = self._event_data.not_strict(payload)
        if start != position and not self._named and self._found(EVENT_FIELD):
            self.framing = [EVENT_FIELD.code]
        at = self.received - len(data) + start
        return Event(DATA, payload, value, lenient, _name_of(name) if name else "", at)

    def _clean_done(self, data: bytes, position: int) -> Event | None:
        if not data.startswith(_DONE, position):
            return None
        self.position = position + len(_DONE)
        return Event(Kind.DONE, b"", at=self.received - len(data) + position)

    def _framed_event(self, data: bytes, position: int) -> Event | None:
        """The event at ``position`` if it is whole and in another of the usual framings."""
        frame = read_frame(data, position) if data.startswith(STARTS, position) else None
        if frame is None or frame.end - position > self._limit or len(frame.payload) <= 2:
            return None
        try:
            value, lenient = loads(frame.payload)
        except ValueError:
            return None
        self.position = frame.end
        self._frame, self._ident = position, frame.ident
        self.framing = self._find_framing(frame)
        if lenient:
            lenient = self._event_data.not_strict(frame.payload)
        at = self.received - len(data) + frame.at
        name = _name_of(frame.name) if frame.name is not None else ""
        return Event(DATA, frame.payload, value, lenient, name, at)

    def _find_framing(self, frame: Frame) -> list[str]:
        """Find what a framing has of its own; the codes of what was found.

        The end of its empty line is told with the next event, as if it had come line by line: it
        belongs to no stream that this event ends.
        """
        seen = [LINE_ENDING] * (frame.returns - 1)
        if frame.name is not None and not self._named:
            seen.append(EVENT_FIELD)
        if frame.ident[0]:
            seen.append(ID_OR_RETRY_FIELD)
        if not frame.space:
            seen.append(NO_SPACE)
        codes = [one.code for one in seen if self._found(one)]
        self._blank_returns = LINE_ENDING.code in codes
        return [*codes, LINE_ENDING.code] if self._blank_returns else codes

    def _read_line(self, data: bytes) -> bool:
        """Read the line at `position`; False if its end has not come."""
        match = _END_OF_LINE.search(data, self.position)
        self._line_at = self.received - len(data) + self.position
        if match is None:
            rest = data[self.position :]
            self.position = len(data)
            self._parts.append(rest)
            self._size = len(rest)
            if self._size > self._limit + _FIELD:
                self._too_large()
            return False
        line = data[self.position : match.start()]
        self.position = match.end()
        if len(line) > self._limit + _FIELD:
            self._too_large()
            return True
        if match[0] != b"\n":
            self._found(LINE_ENDING)
            self._after_cr = match[0] == b"\r" and self.position == len(data)
        self._between = False
        self._line(line)
        return True

    def close(self) -> None:
        """The bytes have ended; call `next` for what they still held."""
        if self._ended:
            return
        self._ended = True
        self._between = False
        if self._parts:
            line = b"".join(self._parts)
            self._parts.clear()
            self._line_at = self.received - len(line)
            if not self._started:
                self._started = True
                if line.startswith(_BOM):
                    self._found(BYTE_ORDER_MARK)
                    self._line_at += len(_BOM)
                    line = line[len(_BOM) :]
            if line.strip():
                self._found(UNTERMINATED)
                self._line(line)
        if self._event_data.unfinished:
            self._found(UNTERMINATED)
        self._blank()

    def rest(self) -> bytes:
        """What has come and was not read: the bytes of an unfinished line among them."""
        return self.data[self.position :] + b"".join(self._parts)

    def _start(self) -> None:
        self._started = True
        if self.data.startswith(_BOM):
            self._found(BYTE_ORDER_MARK)
            self.position = len(_BOM)

    def _too_large(self) -> None:
        self._parts.clear()
        self._size = 0
        self._between = False
        self._event_data.too_large(self._line_at)

    # ------------------------------------------------------------------ lines

    def _line(self, line: bytes) -> None:
        if self._event_data.in_page:
            self._event_data.page_line(line, self._line_at)
        elif not line:
            self._blank()
        elif line[:1] == b":":
            self._event_data.comment(line, self._name, self._line_at)
        else:
            self._field(line)

    def _field(self, line: bytes) -> None:
        field, colon, value = line.partition(b":")
        if field == b"data":
            self._data(value)
        elif field == b"event":
            if not self._named:
                self._found(EVENT_FIELD)
            self._name, self._name_at = _name_of(value), self._line_at
        elif field in (b"id", b"retry") and colon:
            self._found(ID_OR_RETRY_FIELD)
        elif field == b"error" and colon:
            self._found(ERROR_FIELD)
            self._name, self._name_at = "error", self._line_at
            self._payload(value.strip())
        else:
            self._no_field(line)

    def _blank(self) -> None:
        """End the event at hand."""
        if self._event_data.waits or (self._name and not self._unparted):
            self._event_data.end(self._name, self._name_at)
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
            value = without_field_names(value)
        if not value:
            self._event_data.empty_line(self._line_at)
            return
        if self._unparted:
            if not self._event_data.in_lines:
                self._found(SINGLE_NEWLINE)
            self._unparted = False
        self._payload(value)

    def _payload(self, value: bytes) -> None:
        if self._event_data.line(value, self._name, self._line_at):
            self._unparted = True

    def _no_field(self, line: bytes) -> None:
        text = line.strip()
        if not text:
            # a line of blanks parts events no worse than an empty one
            self._blank()
        elif self._event_data.in_lines:
            self._payload(text)
        elif text[:1] in (b"{", b"["):
            self._bare_json(text)
        elif text[:1] == b"<":
            self._event_data.page_line(text, self._line_at)
        elif line[:1] in b" \t" and text.partition(b":")[0] in (b"data", b"event", b"error"):
            self._found(JUNK_LINE)
            self._field(text)
        else:
            self._found(JUNK_LINE)
            del self.junk[_JUNK_LINES - 1 :]
            self.junk.append(text[:_JUNK_BYTES])

    def _bare_json(self, text: bytes) -> None:
        if not is_done(text):
            self._found(DATA_ON_NEXT_LINE if self._event_data.in_empty else BARE_JSON)
        self._unparted = self._event_data.line(text, self._name, self._line_at, bare=True)


def _name_of(value: bytes) -> str:
    return value.strip().decode("utf-8", "replace")
