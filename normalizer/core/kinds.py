"""What kind of body an answer is. Its first bytes tell, not its headers.

    stream   events, or one JSON object a line: the first line shows it
    JSON     one object, or a list: read whole
    page     HTML or plain text: read as a stream, which it is not

A stream's first line that begins as JSON is a line of JSON if an event is on it, and else the
beginning of one object over several lines. Of a body the beginning is looked at once: no byte is
read again, however the bytes were split.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from normalizer.core.findings import Deviation
from normalizer.core.lenient import loads

COMPLETION_FOR_STREAM = Deviation(
    code="B801",
    name="completion-for-stream",
    fault="A JSON completion answers `stream: true`.",
    repair="The completion becomes a stream.",
    structural=True,
)
ERROR_BODY_FOR_STREAM = Deviation(
    code="B802",
    name="error-body-for-stream",
    fault="A JSON error with status 200 answers `stream: true`.",
    repair="The error becomes an error event.",
    structural=True,
)
LINES_FOR_EVENTS = Deviation(
    code="B803",
    name="lines-for-events",
    fault="Chunks arrive as lines of JSON or as one JSON list.",
    repair="The chunks become events.",
    structural=True,
)
STREAM_FOR_COMPLETION = Deviation(
    code="B804",
    name="stream-for-completion",
    fault="A stream answers `stream: false`.",
    repair="The stream becomes one completion.",
)
ERROR_WITH_SUCCESS = Deviation(
    code="B805",
    name="error-with-success",
    fault="An error with status 200 answers `stream: false`.",
    repair="The answer gets a status of 4xx or 5xx.",
)
ERROR_BODY_SHAPE = Deviation(
    code="B806",
    name="error-body-shape",
    fault="The body of an error status has a form of its own.",
    repair='The body becomes `{"error": {…}}`.',
)
_BLANK = b" \t\r\n"
_START_BYTES = 16  # in which it shows whether a body begins as JSON, behind a byte order mark
_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data:", b"event:")


class Beginning:
    """The first line of a body, as it comes.

    ``is_event`` says whether a JSON value is an event of the wire, and so its line one of several.
    ``alone`` says whether an event and a whole answer look the same: then a second line tells.

    Example::

        beginning = Beginning(lambda value: "delta" in value, alone=False)
        assert beginning.shows_stream(b"data: {")
    """

    __slots__ = ("_alone", "_is_event", "_line", "lines")

    def __init__(self, is_event: Callable[[Any], bool], *, alone: bool) -> None:
        self._is_event = is_event
        self._alone = alone
        self._line: list[bytes] | None = []  # None once the first line was JSON, and no event
        self.lines = False  # it is a stream of JSON lines

    def shows_stream(self, data: bytes) -> bool:
        """Take more of the body; whether what has come shows that it is a stream."""
        line = self._line
        if line is None:
            return False
        if not line and data.startswith(_FIELDS):
            return True  # as most
        if line and len(line[0]) > _START_BYTES:
            ended = line[0].endswith(b"\n")
            if not data.strip(_BLANK) if ended else b"\n" not in data:
                if not ended:
                    line.append(data)
                return False
        start = (b"".join(line) + data).lstrip(_BLANK)
        mark = _BOM if start.startswith(_BOM) else b""
        start = start[len(mark) :].lstrip(_BLANK)
        # blanks in front say nothing, and of those behind the first line its end is enough
        ends = b"\n" in start and not start.partition(b"\n")[2].strip(_BLANK)
        line[:] = [mark + (start.partition(b"\n")[0] + b"\n" if ends else start)]
        if not start or (len(start) < 3 and _BOM.startswith(start)):
            return False
        json = start[:1] in (b"{", b"[", b'"') and start[:5] != b"[DONE"
        if json:
            return self._is_line_of_events(start)
        self._line = None  # all is known: the line need not be kept
        return True

    def _is_line_of_events(self, start: bytes) -> bool:
        line, newline, behind = start.partition(b"\n")
        if not newline or (self._alone and not behind.strip()):
            return False
        self._line = None
        try:
            value, _ = loads(line)
        except ValueError:
            return False
        self.lines = self._is_event(value)
        return self.lines
