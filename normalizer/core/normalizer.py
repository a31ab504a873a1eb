"""One answer: raw bytes in, canonical bytes out.

The first bytes of an answer tell what it is (kinds.py), and the request says what leaves: a stream
for `stream: true`, one object for `stream: false`, the kind that came where nothing is known. An
answer with an error status is read whole; it gets the API's form of an error if it is JSON in
another one, or events that hold one error; else it passes.
"""

from __future__ import annotations

import re
from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.errors import INVALID, TOO_LARGE, TRUNCATED, read_error
from normalizer.core.event import Event, Kind
from normalizer.core.failure import log_failure
from normalizer.core.findings import Findings
from normalizer.core.kept import Kept
from normalizer.core.kinds import (
    ERROR_BODY_SHAPE,
    ERROR_WITH_SUCCESS,
    LINES_FOR_EVENTS,
    STREAM_FOR_COMPLETION,
    Beginning,
)
from normalizer.core.lenient import clean, dumps, loads
from normalizer.core.options import Options
from normalizer.core.own_error import own
from normalizer.core.report import Report
from normalizer.core.request import RequestInfo
from normalizer.core.sse import EventReader
from normalizer.core.stream import EventStream
from normalizer.core.tracing import BODY, Guard, Listener, TracedStream, TracedWriter
from normalizer.core.writer import Writer
from normalizer.wires import wire_for

EVENT_STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json"
_BLANK = b" \t\r\n"
_FIELD = re.compile(rb"^[ \t]*(?:data|event|error):", re.MULTILINE)
_BOM = b"\xef\xbb\xbf"
_DEFAULTS = Options()


def _findings(report: Report, options: Options) -> Findings:
    select, ignore, silence = options.select, options.ignore, options.silence
    if not (select or ignore or silence):
        return Findings(report)
    # The table of all deviations: only who names some of them pays for it.
    from normalizer.catalogue import covered, switched_off

    off = switched_off(tuple(select), tuple(ignore), staged=bool(options.stages))
    return Findings(report, off, covered(tuple(silence)))


class Normalizer:
    """Raw bytes of one answer in, canonical bytes out. No I/O; one object for each answer.

    ``request`` is what is known of the request (`RequestInfo.parse`), ``options`` what the user
    chose, ``status`` the upstream's status. `feed` each piece of the body as it comes, then
    `close`; both give the bytes that may leave. Neither raises on what the bytes hold: what is
    wrong with them becomes repairs in `report` and error events. Should a fault of ours raise all
    the same, the answer ends with an error of type ``normalizer_error``, and the logger
    ``normalizer`` says where.

    * ``content_type``: what the answer now is; None until that is known. Still None after `close`:
      the bytes left as they came, and so does the upstream's own header.
    * ``status``: the status to answer with, once ``content_type`` is known.
    * ``passes``: the bytes leave as they came, with the upstream's own head.
    * ``ended``: the answer is complete; the upstream may be closed, nothing more comes out.
    * ``waiting``: seconds after which `flush` may let go of something held, None if nothing is.
    * ``report``: what was repaired; complete after `close`.

    ``trace`` is told what becomes of each event (`normalizer.trace.Trace`).

    Example::

        n = Normalizer(RequestInfo.parse("/v1/chat/completions", {"stream": True}))
        out = n.feed(b'data:{"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}')
        out += n.close()
    """

    __slots__ = (
        "_beginning",
        "_body",
        "_found",
        "_report",
        "_size",
        "_stream",
        "_streams",
        "_trace",
        "_wire",
        "content_type",
        "ended",
        "options",
        "passes",
        "request",
        "status",
    )

    def __init__(
        self,
        request: RequestInfo | None = None,
        options: Options | None = None,
        *,
        status: int = 200,
        trace: Listener | None = None,
    ) -> None:
        self.request = request or RequestInfo(endpoint="chat")
        self.options = options or _DEFAULTS
        self.status = status
        self.content_type: str | None = None
        self.ended = False
        self.passes = self.options.mode == "report" or self.request.endpoint is None
        chosen = self.options
        report = self._report = Report()
        found = self._found = _findings(report, chosen)
        kept = Kept(chosen.max_held_bytes)
        trace = None if trace is None else Guard(trace)
        writer = Writer(report) if trace is None else TracedWriter(report, trace)
        self._wire = wire_for(self.request, chosen, found, report, kept, writer)
        self._trace = trace
        if trace is None:
            self._stream = EventStream(self._wire, writer, chosen, found, report, kept)
        else:
            trace.begins(self.request, chosen, status)
            self._stream = TracedStream(self._wire, writer, chosen, found, report, kept, trace)
        alone = self.request.endpoint == "completions"
        self._beginning = Beginning(self._wire.is_event, alone=alone)
        self._body: list[bytes] | None = []  # until the kind of body is known, and of JSON ones
        self._size = 0
        # whether a stream leaves; None: whatever comes
        self._streams = self.request.stream
        if status >= 300:
            self._streams = False
        elif self._streams and not self.passes:
            self.content_type = EVENT_STREAM

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the body as they came; return those that are ready to send, if any."""
        body, passed = self._body, self.passes
        try:
            if body is not None:
                out = b"" if self.ended else self._first(body, data)
            else:
                out = self._stream.feed(data)
                if self._wire.ended and not self.ended:
                    out = self._end(out)
        except Exception as error:  # broad on purpose: see _failed
            out = self._failed(error)
        if self._trace is not None:
            self._tell_whole(self._trace, out)
        return data if passed else out

    def feed_alike(self, data: bytes, position: int) -> int:
        """Take the events from ``position`` on that have the form of the last one.

        Return where they end: ``position`` if there is none, or if the answer is repaired and not
        only checked. Each of them has the same codes, so who numbers the occurrences of a code need
        not look at every event.
        """
        if not self.passes or self._body is not None or self.ended:
            return position
        try:
            return self._stream.feed_alike(data, position)
        except Exception as error:  # broad on purpose: see _failed
            self._failed(error)
            return position

    def flush(self) -> bytes:
        """What a timer may let go: a finish held for ``options.finish_timeout`` seconds of silence.

        The end itself is not let go: should the upstream send more, it is delivered.
        """
        waiting = self.waiting
        if waiting is None or waiting > 0:
            return b""
        try:
            self._stream.flush()
            out = self._stream.ready()
            if self._wire.ended and not self.ended:
                out = self._end(out)
        except Exception as error:  # broad on purpose: see _failed
            out = self._failed(error)
        return b"" if self.passes else out

    def close(self, broken: str | None = None) -> bytes:
        """The body has ended; ``broken`` says how, if it was the connection that did."""
        try:
            out = self._close(broken)
        except Exception as error:  # broad on purpose: see _failed
            out = self._failed(error)
        self._report.end = self._report.end or "done"
        self._name()
        if self._trace is not None:
            self._tell_whole(self._trace, out)
            self._trace.ends(self._report)
        return b"" if self.passes else out

    def _tell_whole(self, trace: Listener, out: bytes) -> None:
        if out and self._streams is False:
            trace.left(BODY, "", out, None)
            trace.taken(list(self._found.log))

    @property
    def report(self) -> Report:
        """What was repaired so far, what went in and out, how it ended."""
        try:
            self._stream.settle()
        except Exception as error:  # broad on purpose: see _failed
            log_failure(error)
            self._stream.forget()
        self._name()
        return self._report

    def _name(self) -> None:
        ident, model = self._wire.names
        self._report.id = ident or self._report.id
        self._report.model = model or self._report.model or self.request.model

    @property
    def waiting(self) -> float | None:
        """Seconds until `flush` lets go of what is held; None while nothing is."""
        return self._stream.waiting if self._stream.holding else None

    def _close(self, broken: str | None) -> bytes:
        if self._body is not None and not self.ended:
            return self._whole(b"".join(self._body), broken)
        self._stream.close(broken)
        if self._wire.ended and not self.ended:
            return self._end(self._stream.ready())
        return b""

    def _failed(self, error: Exception) -> bytes:
        """The last guard: an exception that nobody foresaw is a fault of ours, and an answer's end.

        It is caught broadly because an answer that breaks off without a word is the one thing that
        must not become of it, whatever the fault is.
        """
        log_failure(error)
        body, self._body = self._body, None
        if self.ended:
            return b""
        if self.status >= 300 and body is not None:
            # the upstream's own words about its error are worth more than ours
            self._report.end = "error"
            return self._pass(b"".join(body))
        self._streams = bool(self._streams)
        message = f"The answer could not be normalized any further ({type(error).__name__})."
        event = own("normalizer_error", message)
        if not self._wire.ended:
            self._abort(event)
        elif not self._streams and self._wire.error is None:
            self._wire.abort(event)  # all was gathered, and the whole answer cannot be written
        return self._end(self._stream.ready())

    def _abort(self, event: dict[str, Any]) -> None:
        """End with an error of ours, of which it is not known what it left undone."""
        self._stream.forget()
        try:
            self._wire.fail(event, "error")
        except Exception as error:  # broad on purpose: what cannot leave must not keep the end back
            log_failure(error)
            self._wire.abort(own("normalizer_error", event["error"]["message"]))

    def _end(self, out: bytes) -> bytes:
        """The answer has ended: return what leaves, of ``out`` and of what was gathered."""
        wire = self._wire
        if self._streams is False:
            if wire.error is not None:
                # what had arrived before the error does not leave
                report = self._report
                report.characters_out, report.finish, report.usage = {}, {}, None
                report.events_out = 1
                out = self._error_body(wire.error)
            elif (whole := wire.whole()) is not None:
                out = dumps(whole)
            if not self.passes:
                self.content_type = JSON
        self.ended = True
        return out

    def _error_body(self, event: dict[str, Any]) -> bytes:
        """An error in answer to `stream: false`: it has a status of its own."""
        status, body = self._wire.error_body(event)
        if not self.passes:
            self.status = status
        return dumps(body)

    # ------------------------------------------------------------------ the kind of body

    def _first(self, body: list[bytes], data: bytes) -> bytes:
        """Take bytes of a body that is not known to be a stream."""
        body.append(data)
        self._size += len(data)
        if self.status < 300 and self._beginning.shows_stream(data):
            if self._beginning.lines:
                self._found(LINES_FOR_EVENTS)
            return self._begin_stream(body)
        if self._size <= self.options.max_event_bytes:
            return b""
        return self._too_large(body)

    def _too_large(self, body: list[bytes]) -> bytes:
        self._body = None
        if self._streams and self.status < 300:
            self._found(TOO_LARGE)
            message = f"The answer's JSON is not whole after {self._size} bytes."
            self._wire.fail(own("upstream_too_large", message), "error")
            return self._end(self._stream.ready())
        # nobody streams it: what cannot be held cannot be repaired, and passes
        self.passes = True
        return b"".join(body)

    def _begin_stream(self, body: list[bytes]) -> bytes:
        self._body = None
        if self._streams is False and self._found(STREAM_FOR_COMPLETION):
            self._gather()
        else:
            self._streams = True
            if not self.passes:
                self.content_type = EVENT_STREAM
        out = self._stream.feed(b"".join(body))
        return self._end(out) if self._wire.ended else out

    def _gather(self) -> None:
        self._wire.gather()
        self._stream.without_templates()

    # ------------------------------------------------------------------ bodies that are JSON

    def _whole(self, raw: bytes, broken: str | None) -> bytes:
        """A body that was read whole: JSON, nothing, or what belongs to an error status."""
        text = raw.removeprefix(_BOM).strip(_BLANK)
        if self._trace is not None:
            self._trace.came(BODY, raw, Event(Kind.DATA, text))
        out = self._whole_body(raw, text, broken)
        if self._trace is not None and self._streams is not False:
            self._trace.taken(list(self._found.log))
        return out

    def _whole_body(self, raw: bytes, text: bytes, broken: str | None) -> bytes:
        if self.status >= 300:
            return self._error_status(raw, text)
        try:
            value, lenient = loads(text) if text else (None, False)
        except ValueError:
            if broken is None and b"\n" in text:
                # JSON with something behind it: read as lines, nothing of it is lost
                out = self._begin_stream([raw])
                self._stream.close(None)
                return out if self.ended else self._end(out + self._stream.ready())
            return self._broken_json(len(raw), broken)
        if value is None:
            return self._nothing(broken)
        self._report.events_in += 1
        if self._streams:
            self._stream_of(value)
            return self._end(self._stream.ready())
        self._streams = False
        return self._whole_answer(value, raw, lenient=lenient)

    def _nothing(self, broken: str | None) -> bytes:
        if self._streams is None:
            self._streams = True
            self.content_type = None if self.passes else EVENT_STREAM
        self._wire.close(broken or "its body is empty")
        return self._end(self._stream.ready())

    def _broken_json(self, size: int, broken: str | None) -> bytes:
        self._streams = bool(self._streams)
        self._found(TRUNCATED if broken else INVALID)
        how = f" ({broken})" if broken else ""
        kind = "upstream_truncated" if broken else "upstream_invalid"
        message = f"The upstream's JSON ends or breaks off within {size} bytes{how}."
        self._wire.fail(own(kind, message), "truncated" if broken else "error")
        return self._end(self._stream.ready())

    def _stream_of(self, value: Any) -> None:
        """Make a stream of a whole answer, or of a list of events."""
        wire = self._wire
        events = type(value) is list and value and all(isinstance(item, dict) for item in value)
        if not events or read_error(value) is not None:
            wire.answer(value)
            return
        self._found(LINES_FOR_EVENTS)
        for one in value:
            if not wire.ended:
                wire.event(Draft(one), "")
        wire.close(None)

    def _whole_answer(self, value: Any, raw: bytes, *, lenient: bool) -> bytes:
        """Repair a whole answer in place."""
        draft = Draft(value, None if lenient else raw)
        error = self._wire.body(draft)
        if error is not None:
            if not self._found(ERROR_WITH_SUCCESS):
                self._report.end, self._report.error = "error", error["error"]
                return self._pass(raw)
            self._wire.fail(clean(error) if lenient else error, "error")
            return self._end(b"")
        self._report.end = "done"
        if draft.raw is not None or (lenient and not self._found.any):
            return self._pass(raw)
        if not self.passes:
            self.content_type = JSON
        return self._pass(draft.json())

    def _error_status(self, raw: bytes, text: bytes) -> bytes:
        self._streams = False
        streamed = False
        try:
            value, lenient = loads(text)
        except ValueError:
            value, lenient = self._error_in_events(raw)
            streamed = value is not None
        error = self._wire.error_in(value, "error" if isinstance(value, dict) else "")
        self._report.end = "error"
        self._report.error = error["error"] if error else None
        body = self._wire.error_body(error)[1] if error else None
        as_it_came = body is None or (body is value and not lenient and not streamed)
        if as_it_came or not self._found(ERROR_BODY_SHAPE):
            return self._pass(raw)
        self.ended = True
        self.content_type = None if self.passes else JSON
        return dumps(clean(body))

    def _error_in_events(self, raw: bytes) -> tuple[dict[str, Any] | None, bool]:
        """What an event stream with an error status says, if it says one thing and no answer."""
        if _FIELD.search(raw) is None:
            return None, False
        reader = EventReader(lambda _: True, self.options.max_event_bytes)
        reader.receive(raw)
        reader.close()
        said: tuple[dict[str, Any] | None, bool] = None, False
        while (event := reader.next()) is not None:
            value = event.value
            if event.kind is Kind.INVALID and event.name == "error":
                value = {"error": {"message": event.data.decode("utf-8", "replace")}}
            if not isinstance(value, dict):
                continue
            if value.get("choices"):
                return None, False  # a part of an answer, which would be lost
            if said[0] is None or ("error" in value and "error" not in said[0]):
                said = value, event.lenient
        return said

    def _pass(self, raw: bytes) -> bytes:
        self.ended = True
        return raw
