"""The whole: raw bytes of one answer in, canonical bytes out.

Of an answer the first bytes say what it is, not its headers:

    stream   events, or one JSON chunk a line         -> through the stages, event by event
    JSON     one object, or Google's list of one      -> read whole, then through the stages
    page     HTML, plain text                         -> an error

and the request says what leaves: a stream for `stream: true`, one object for `stream: false`,
the same kind as came where nothing is known. An answer with an error status is read whole and gets
the API's form of an error if it is JSON in another one, or events that say one; else it passes.
"""

from __future__ import annotations

import re
from typing import Any

from normalizer.catalogue import covered, switched_off
from normalizer.core.draft import Draft
from normalizer.core.failure import log_failure
from normalizer.core.findings import Findings
from normalizer.core.lenient import clean, dumps, loads
from normalizer.core.options import Options
from normalizer.core.report import Report
from normalizer.core.request import RequestInfo
from normalizer.core.sse import EventReader, Kind
from normalizer.core.stream import EventStream, own
from normalizer.wires.chat import errors
from normalizer.wires.chat.body import Body, is_error
from normalizer.wires.chat.chunk import as_list
from normalizer.wires.chat.gathered import Gathered
from normalizer.wires.chat.kinds import (
    ANSWER_IN_ENVELOPE,
    COMPLETION_FOR_STREAM,
    COMPLETION_FORM,
    ERROR_BODY_FOR_STREAM,
    ERROR_BODY_SHAPE,
    ERROR_WITH_SUCCESS,
    LINES_FOR_EVENTS,
    STREAM_FOR_COMPLETION,
    has_choices,
    is_completion,
    taken_out,
)
from normalizer.wires.chat.streamed import chunks_of

EVENT_STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json"
_BLANK = b" \t\r\n"
_FIELD = re.compile(rb"^[ \t]*(?:data|event|error):", re.MULTILINE)
_START_BYTES = 16  # in which it shows whether a body begins as JSON, behind a byte order mark
_BOM = b"\xef\xbb\xbf"
_DEFAULTS = Options()


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

    Example::

        n = Normalizer(RequestInfo.parse("/v1/chat/completions", {"stream": True}))
        out = n.feed(b'data:{"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}')
        out += n.close()
    """

    __slots__ = (
        "_body",
        "_found",
        "_line",
        "_report",
        "_size",
        "_stream",
        "_streams",
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
    ) -> None:
        self.request = request or RequestInfo(endpoint="chat")
        self.options = options or _DEFAULTS
        self.status = status
        self.content_type: str | None = None
        self.ended = False
        self.passes = self.options.mode == "report" or self.request.endpoint is None
        chosen = self.options
        off = switched_off(tuple(chosen.select), tuple(chosen.ignore))
        self._report = Report()
        self._found = Findings(self._report, off, covered(tuple(chosen.silence)))
        self._stream = EventStream(self.request, self.options, self._found, self._report)
        self._body: list[bytes] | None = []  # until the kind of body is known, and of JSON ones
        self._line: list[bytes] | None = []  # the body's first, until it has ended
        self._size = 0
        # whether a stream leaves; None: whatever comes
        self._streams = self.request.stream
        if status >= 300:
            self._streams = False
        elif self._streams and not self.passes:
            self.content_type = EVENT_STREAM

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the body as they came; the bytes that may leave, if any."""
        stream, body, passed = self._stream, self._body, self.passes
        try:
            if body is not None:
                out = b"" if self.ended else self._first(body, data)
            else:
                out = stream.feed(data)
                if stream.ended and not self.ended:
                    out = self._end(out)
        except Exception as error:  # broad on purpose: see _failed
            out = self._failed(error)
        if not passed:
            return out
        return data

    def flush(self) -> bytes:
        """What a timer may let go: a finish held for ``options.finish_timeout`` seconds of silence.

        The end itself is not let go: should the upstream say more, it is delivered.
        """
        waiting = self.waiting
        if waiting is None or waiting > 0:
            return b""
        try:
            self._stream.flush()
            out = self._stream.leave()
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
        return b"" if self.passes else out

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
        ident, model = self._stream.pipeline.names
        self._report.id = ident or self._report.id
        self._report.model = model or self._report.model or self.request.model

    @property
    def waiting(self) -> float | None:
        """Seconds until `flush` lets go of a held finish; None while none is held."""
        return self._stream.waiting

    def _close(self, broken: str | None) -> bytes:
        if self._body is not None and not self.ended:
            return self._whole(b"".join(self._body), broken)
        self._stream.close(broken)
        if self._stream.ended and not self.ended:
            return self._end(self._stream.leave())
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
        stream = self._stream
        if self.status >= 300 and body is not None:
            # the upstream's own words about its error are worth more than ours
            self._report.end = "error"
            return self._pass(b"".join(body))
        self._streams = bool(self._streams)
        if not (self._streams and stream.ended):
            message = f"The answer could not be normalized any further ({type(error).__name__})."
            stream.abort(own("normalizer_error", message))
        return self._end(stream.leave())

    def _end(self, out: bytes) -> bytes:
        """The stream has ended: what leaves, of ``out`` and of what was gathered."""
        stream = self._stream
        if self._streams is False:
            if stream.error is not None:
                out = self._error_body(stream.error)
                # what had arrived before the error does not leave
                report = self._report
                report.characters_out, report.finish, report.usage = {}, {}, None
                report.events_out = 1
            elif stream.gathered is not None:
                out = dumps(stream.gathered.completion())
            if not self.passes:
                self.content_type = JSON
        self.ended = True
        return out

    def _error_body(self, event: dict[str, Any]) -> bytes:
        """An error in answer to `stream: false`: it has a status of its own."""
        code = event["error"].get("code")
        if not self.passes:
            self.status = code if type(code) is int and 400 <= code < 600 else 502
        return dumps(event)

    # ------------------------------------------------------------------ the kind of body

    def _first(self, body: list[bytes], data: bytes) -> bytes:
        """Take bytes of a body of which it is not known, or not a stream, what it is."""
        body.append(data)
        self._size += len(data)
        if self.status < 300 and self._line is not None and self._is_stream(self._line, data):
            return self._begin_stream(body)
        if self._size <= self.options.max_event_bytes:
            return b""
        return self._too_large(body)

    def _is_stream(self, line: list[bytes], data: bytes) -> bool:
        """Whether a body is a stream, as far as its beginning tells; no byte is read again."""
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
        return not json or self._chunk_line(start)

    def _chunk_line(self, start: bytes) -> bool:
        """Whether the first line is a chunk: JSON lines, not one object."""
        line, newline, behind = start.partition(b"\n")
        if not newline:
            return False
        if self.request.endpoint == "completions" and not behind.strip():
            return False  # chunk and whole answer look the same: what is behind tells
        self._line = None
        try:
            value, _ = loads(line)
        except ValueError:
            return False
        if not isinstance(value, dict) or is_completion(value):
            return False
        choices = as_list(value.get("choices"))
        chunk = value.get("object") == "chat.completion.chunk" or any(
            "delta" in choice or "text" in choice for choice in choices
        )
        if chunk:
            self._found(LINES_FOR_EVENTS)
        return chunk

    def _too_large(self, body: list[bytes]) -> bytes:
        self._body = None
        if self._streams and self.status < 300:
            self._found(errors.TOO_LARGE)
            message = f"The answer's JSON is not whole after {self._size} bytes."
            self._stream.fail(own("upstream_too_large", message), "error")
            return self._end(self._stream.leave())
        # nobody streams it: what cannot be held cannot be repaired, and passes
        self.passes = True
        return b"".join(body)

    def _begin_stream(self, body: list[bytes]) -> bytes:
        self._body = None
        if self._streams is False and self._found(STREAM_FOR_COMPLETION):
            self._stream.gather(Gathered(self.request.endpoint or "chat"))
        else:
            self._streams = True
            if not self.passes:
                self.content_type = EVENT_STREAM
        out = self._stream.feed(b"".join(body))
        return self._end(out) if self._stream.ended else out

    # ------------------------------------------------------------------ bodies that are JSON

    def _whole(self, raw: bytes, broken: str | None) -> bytes:
        """A body that was read whole: JSON, nothing, or what belongs to an error status."""
        text = raw.removeprefix(_BOM).strip(_BLANK)
        if self.status >= 300:
            return self._error_status(raw, text)
        stream = self._stream
        try:
            value, lenient = loads(text) if text else (None, False)
        except ValueError:
            if broken is None and b"\n" in text:
                # JSON with something behind it: read as lines, nothing of it is lost
                out = self._begin_stream([raw])
                stream.close(None)
                return out if self.ended else self._end(out + stream.leave())
            return self._broken_json(len(raw), broken)
        if value is None:
            if self._streams is None:
                self._streams = True
                self.content_type = None if self.passes else EVENT_STREAM
            stream.empty(broken or "its body is empty")
            return self._end(stream.leave())
        self._report.events_in += 1
        inner = taken_out(value)
        if inner is not None and self._found(ANSWER_IN_ENVELOPE):
            value, lenient = inner, True
        error = stream.pipeline.error(_without_empty_error(value), "")
        if error is not None:
            return self._whole_error(clean(error) if lenient else error, raw)
        if self._streams:
            self._whole_stream(value)
            return self._end(stream.leave())
        return self._whole_completion(value, raw, lenient=lenient)

    def _broken_json(self, size: int, broken: str | None) -> bytes:
        self._streams = bool(self._streams)
        self._found(errors.TRUNCATED if broken else errors.INVALID)
        how = f" ({broken})" if broken else ""
        kind = "upstream_truncated" if broken else "upstream_invalid"
        message = f"The upstream's JSON ends or breaks off within {size} bytes{how}."
        self._stream.fail(own(kind, message), "truncated" if broken else "error")
        return self._end(self._stream.leave())

    def _whole_error(self, error: dict[str, Any], raw: bytes) -> bytes:
        if self._streams:
            self._found(ERROR_BODY_FOR_STREAM)
            error.pop("choices", None)
        else:
            self._streams = False
            if not self._found(ERROR_WITH_SUCCESS):
                self._report.end, self._report.error = "error", error["error"]
                return self._pass(raw)
        self._stream.fail(error, "error")
        return self._end(self._stream.leave())

    def _whole_stream(self, value: Any) -> None:
        stream = self._stream
        if type(value) is list and value and all(isinstance(item, dict) for item in value):
            self._found(LINES_FOR_EVENTS)
            for chunk in value:
                stream.take(chunk)
            stream.cut_or_done(None)
        elif not has_choices(value):
            stream.take(value if isinstance(value, dict) else {}, lenient=True)
            stream.empty("its JSON has no choices")
        else:
            self._found(COMPLETION_FOR_STREAM)
            self._take_chunks_of(Draft(value))

    def _take_chunks_of(self, draft: Draft) -> None:
        """Take a whole answer as the chunks that say it, to their end."""
        stream, request = self._stream, self.request
        # the markup is read in the chunks, as that of any stream
        error = Body(request, self.options, self._found).repair(draft, markup=False)
        endpoint, apart = request.endpoint or "chat", request.include_usage is True
        for chunk in chunks_of(draft.value, endpoint, apart=apart, failed=error is not None):
            stream.take(chunk)
        if error is not None:
            stream.fail({"error": error["error"]}, "error")
        elif stream.outlet.failure is not None:
            stream.failed_word()
        else:
            stream.pipeline.done()
            stream.finish("done")

    def _whole_completion(self, value: Any, raw: bytes, *, lenient: bool) -> bytes:
        self._streams = False
        if not has_choices(value):
            if not lenient or not self._found(COMPLETION_FORM):
                return self._pass(raw)
            self.ended, self.content_type = True, None if self.passes else JSON
            return dumps(clean(value))
        if lenient and not self._found.any:
            lenient = self._found(COMPLETION_FORM)
        draft = Draft(value, None if lenient else raw)
        body = Body(self.request, self.options, self._found)
        error = body.repair(draft)
        if error is not None:
            return self._whole_error(error, raw)
        body.tell(self._report, draft.value)
        self._report.end = "done"
        if draft.raw is not None:
            return self._pass(raw)
        self.ended = True
        self.content_type = None if self.passes else JSON
        return draft.json()

    def _error_status(self, raw: bytes, text: bytes) -> bytes:
        self._streams = False
        streamed = False
        try:
            value, lenient = loads(text)
        except ValueError:
            value, lenient = self._error_in_events(raw)
            streamed = value is not None
        error = self._stream.pipeline.error(value, "error" if isinstance(value, dict) else "")
        self._report.end = "error"
        self._report.error = error["error"] if error else None
        as_it_came = error is None or (error is value and not lenient and not streamed)
        if as_it_came or not self._found(ERROR_BODY_SHAPE):
            return self._pass(raw)
        self.ended = True
        self.content_type = None if self.passes else JSON
        return dumps(clean(error))

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


def _without_empty_error(value: Any) -> Any:
    """The answer without an `error` that says nothing: in a whole answer it is none, and stays."""
    if not isinstance(value, dict) or "error" not in value:
        return value
    error = value["error"]
    if not error or (isinstance(error, dict) and not is_error(error)):
        return {key: item for key, item in value.items() if key != "error"}
    return value
