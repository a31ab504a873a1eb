"""The whole: raw bytes of one answer in, canonical bytes out.

Of an answer the first bytes say what it is, not its headers:

    stream   events, or one JSON chunk a line         -> through the stages, event by event
    JSON     one object, or Google's list of one      -> read whole, then through the stages
    page     HTML, plain text                         -> an error

and the request says what leaves: a stream for `stream: true`, one object for `stream: false`,
the same kind as came where nothing is known. An answer with an error status is read whole and gets
the API's form of an error if it is JSON in another one; else it passes.
"""

from __future__ import annotations

import time
from typing import Any

from normalizer.chunk import Chunk, as_list
from normalizer.completion import (
    COMPLETION_FOR_STREAM,
    COMPLETION_FORM,
    ERROR_BODY_FOR_STREAM,
    ERROR_BODY_SHAPE,
    ERROR_WITH_SUCCESS,
    LINES_FOR_EVENTS,
    STREAM_FOR_COMPLETION,
    Gathered,
    chunks_of,
    is_completion,
)
from normalizer.deviation import Findings, switched_off
from normalizer.deviations import CODES
from normalizer.frame import Frame, learn
from normalizer.lenient import clean, dumps, loads
from normalizer.options import Options
from normalizer.pipeline import Pipeline
from normalizer.report import Report
from normalizer.request import RequestInfo
from normalizer.sse import COMMENT as COMMENT_DROPPED
from normalizer.sse import JUNK_LINE, KEEP_ALIVE_AS_DATA, Event, EventReader, Kind
from normalizer.stages import errors, markup

EVENT_STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json"
KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"
_DONE_LINES = (b"data: [DONE]", b"data:[DONE]")

_BLANK = b" \t\r\n"
_CHOICES = 4  # frames at a time: one for each choice
_MISSES = 8  # frames learnt in vain before a stream is taken to be one that has none


class Normalizer:
    """Raw bytes of one answer in, canonical bytes out. No I/O; one object for each answer.

    ``request`` is what is known of the request (`RequestInfo.parse`), ``options`` what the user
    chose, ``status`` the upstream's status. `feed` each piece of the body as it comes, then
    `close`; both give the bytes that may leave. Neither raises on what the bytes hold: what is
    wrong with them becomes repairs in `report` and error events.

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
        "_aligned",
        "_behind",
        "_body",
        "_body_size",
        "_found",
        "_frame",
        "_frames",
        "_gathered",
        "_lacks_done",
        "_left",
        "_misses",
        "_out",
        "_outlet",
        "_pipeline",
        "_reader",
        "_report",
        "_since",
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
        self._report = Report()
        self.passes = self.options.mode == "report" or self.request.endpoint is None
        off = switched_off(CODES, self.options.select, self.options.ignore)
        self._found = Findings(self._report, off)
        self._out: list[bytes] = []
        self._gathered: Gathered | None = None
        self._frames: dict[int, Frame] = {}  # by choice
        self._frame: Frame | None = None  # the last one, while the next byte begins an event
        self._aligned = False  # it does, and there are frames
        self._left: list[bytes] = []  # the JSON that the event at hand made leave
        self._misses = _MISSES if markup.wanted(self.options) else 0
        self._behind: bytes | None = b""  # the end: what came there; None once that was reported
        self._lacks_done = False  # an error was the end, and no `[DONE]` has come behind it
        self._since = 0.0
        self._body: list[bytes] | None = []  # until the kind of body is known, and of JSON ones
        self._body_size = 0
        self._reader = EventReader(self._found, self.options.max_event_bytes)
        self._pipeline = Pipeline(self.request, self.options, self._found, self._report, self._emit)
        self._outlet = self._pipeline.out
        # whether a stream leaves; None: whatever comes
        self._streams = self.request.stream
        if status >= 300:
            self._streams = False
        elif self._streams and not self.passes:
            self.content_type = EVENT_STREAM

    # ------------------------------------------------------------------ in

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the body as they came; the bytes that may leave, if any."""
        frame = self._frame
        if frame is not None and (end := frame.take(data, 0, self._out)) == len(data):
            if frame.full:
                self._settle(frame)
            return data if frame.same else self._leave(data)
        if self._aligned:
            # what the one frame took of the bytes it took for good
            if frame is not None and end:
                self._out += [data[:end]] if frame.same else []
            position = self._framed(data, end if frame is not None else 0)
            if position:
                if position < len(data):
                    self._events(data[position:])
                return self._leave(data)
        if self.ended:
            self._after_end(data)
        elif self._body is not None:
            passed = self.passes
            self._first(data)
            if self.passes and not passed:
                data = b"".join(self._out)  # with what was held until it was too much
        else:
            self._events(data)
        return self._leave(data)

    @property
    def report(self) -> Report:
        """What was repaired so far, what went in and out, how it ended."""
        self._settle_frames()
        return self._report

    def flush(self) -> bytes:
        """What a timer may let go: a finish held for ``options.finish_timeout`` seconds of silence.

        The end itself is not let go: should the upstream say more, it is delivered.
        """
        self._settle_frames()
        waiting = self.waiting
        if waiting is None or waiting > 0:
            return b""
        self._outlet.release()
        self._outlet.released = True
        return self._leave(b"")

    def close(self, broken: str | None = None) -> bytes:
        """The body has ended; ``broken`` says how, if it was the connection that did."""
        self._settle_frames()
        if self._body is not None and not self.ended:
            self._whole(broken)
        elif not self.ended:
            self._reader.close()
            self._read(closing=True)
            if not self.ended:
                self._cut_or_done(broken)
        if self._lacks_done and self._behind is not None:
            self._found.note(errors.ERROR_WITHOUT_DONE)
            self._lacks_done = False
        if self._report.end is None:
            self._report.end = "done"
        return self._leave(b"")

    @property
    def waiting(self) -> float | None:
        """Seconds until `flush` lets go of a held finish; None while none is held."""
        if self.ended or not self._outlet.holding or self._gathered is not None:
            return None
        return max(0.0, self._since + self.options.finish_timeout - time.monotonic())

    def _leave(self, data: bytes) -> bytes:
        out = self._out
        if self.passes:
            out.clear()
            return data
        if not out:
            return b""
        whole = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return whole

    # ------------------------------------------------------------------ the kind of body

    def _first(self, data: bytes) -> None:
        """Bytes of a body of which it is not known, or not a stream, what it is."""
        body = self._body
        if body is None:
            return
        if data:
            body.append(data)
            self._body_size += len(data)
        if self.status >= 300:
            self._bounded()
            return
        start = (body[0] if len(body) == 1 else b"".join(body)).lstrip(_BLANK)
        if len(start) < 3 and b"\xef\xbb\xbf".startswith(start[:3]):
            return
        start = start.removeprefix(b"\xef\xbb\xbf").lstrip(_BLANK)
        if not start:
            return
        if start[:1] in (b"{", b"["):
            if start[:5] == b"[DONE" or self._chunk_line(start):
                self._begin_stream(body)
            else:
                self._bounded()
        else:
            self._begin_stream(body)

    def _chunk_line(self, start: bytes) -> bool:
        """Whether the first line is a chunk: JSON lines, not one object."""
        line, newline, behind = start.partition(b"\n")
        if not newline or len(line) > self.options.max_event_bytes:
            return False
        if self.request.endpoint == "completions" and not behind.strip():
            return False  # chunk and whole answer look the same: what is behind tells
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

    def _bounded(self) -> None:
        if self._body_size <= self.options.max_event_bytes or self._body is None:
            return
        if self._streams and self.status < 300:
            at = f"after {self._body_size} bytes"
            self._found(errors.TOO_LARGE)
            self._fail(_own("upstream_too_large", f"The answer's JSON is not whole {at}."), "error")
            return
        # nobody streams it: what cannot be held cannot be repaired, and passes
        self._out += self._body
        self._body = None
        self.passes = True

    def _begin_stream(self, body: list[bytes]) -> None:
        self._body = None
        if self._streams is False and self._found(STREAM_FOR_COMPLETION):
            self._gathered = Gathered(self.request.endpoint or "chat")
            self._pipeline.gathers()
        elif not self.passes:
            self._streams = True
            self.content_type = EVENT_STREAM
        self._events(b"".join(body))

    # ------------------------------------------------------------------ events

    def _events(self, data: bytes) -> None:
        self._reader.receive(data)
        self._read()
        self._aligned = bool(self._frames) and self._reader.aligned
        self._frame = next(reversed(self._frames.values())) if self._aligned else None

    def _framed(self, data: bytes, position: int) -> int:
        """Take events that are in a frame, from ``position`` on; where those end."""
        end, moved = position, True
        while moved:
            moved = False
            for one in self._frames.values():
                start, end = end, one.take(data, end, self._out)
                if end > start:
                    moved = True
                    if one.same:
                        self._out.append(data[start:end] if end - start < len(data) else data)
                    if one.full:
                        self._settle(one)
            moved = moved and len(self._frames) > 1
        return end

    def _settle(self, frame: Frame) -> None:
        """Count what was read in a frame, as if it had gone through the stages."""
        if not frame.heard:
            return
        events, text = frame.settle()
        self._misses = 0
        self._report.count(frame.kind, events, len(text))
        self._found.again(frame.codes, events)
        if frame.hear is not None:
            frame.hear(text)
        if frame.usage is not None:
            self._pipeline.take_usage(frame.usage)
            frame.usage = None

    def _settle_frames(self) -> None:
        for one in self._frames.values():
            self._settle(one)

    def _read(self, *, closing: bool = False) -> None:
        reader = self._reader
        while not self.ended:
            if self._frames and reader.position < len(reader.data) and reader.aligned:
                reader.position = self._framed(reader.data, reader.position)
            event = reader.next()
            if event is None:
                break
            self._event(event, closing=closing)
        if self.ended:
            self._after_end(reader.rest())

    def _event(self, event: Event, *, closing: bool) -> None:
        kind = event.kind
        self._settle_frames()
        if kind is Kind.DATA:
            self._report.events_in += 1
            self._data(event)
            if self._outlet.holding:
                self._since = time.monotonic()
        elif kind is Kind.COMMENT:
            self._comment(event.data)
        elif kind is Kind.NOTHING:
            self._comment(KEEP_ALIVE.rstrip())
        elif kind is Kind.DONE:
            self._done()
        elif kind is Kind.TOO_LARGE:
            self._found(errors.TOO_LARGE)
            limit = self.options.max_event_bytes
            self._fail(
                _own("upstream_too_large", f"The event at byte {event.at} is over {limit} bytes."),
                "error",
            )
        elif closing and kind is Kind.INVALID and event.data[:1] in (b"{", b"["):
            self._truncated(f"in the middle of an event, at byte {event.at}")
        elif self._found(errors.INVALID):
            what = "a page of HTML" if kind is Kind.PAGE else "data that is no JSON"
            said = _words(event.data)
            self._fail(
                _own("upstream_invalid", f"The upstream sent {what} at byte {event.at}: {said}"),
                "error",
            )

    def _data(self, event: Event) -> None:
        value, pipeline, found = event.value, self._pipeline, self._found
        found.begin(touched=event.lenient)
        error = pipeline.error(value, event.name)
        if error is not None:
            self._upstream_error(error, value, event)
            return
        if not isinstance(value, dict):
            self._no_object(as_list(value))
            return
        if event.name == "ping" or value == {"type": "ping"}:
            found(KEEP_ALIVE_AS_DATA)
            self._comment(KEEP_ALIVE.rstrip())
            return
        self._left.clear()
        given = {"usage": value.get("usage")} if self._misses < _MISSES else {}
        pipeline.chunk(value, event.data, lenient=event.lenient)
        if self._misses < _MISSES and len(self._left) == 1 and not event.lenient:
            self._learn(event.data, given)
        else:
            self._frames.clear()

    def _no_object(self, inner: list[Chunk]) -> None:
        """Data that is JSON and no object: chunks in a list, or nothing that could be one."""
        self._found(LINES_FOR_EVENTS if inner else JUNK_LINE)
        for chunk in inner:
            self._found.begin(touched=True)
            self._pipeline.chunk(chunk, b"", lenient=True)

    def _learn(self, raw: bytes, given: dict[str, Any]) -> None:
        """Take the frame of the chunk that was just settled, if all that it has is one text."""
        text = self._pipeline.one_text()
        if text is None or self._gathered is not None:
            self._frames.clear()
            return
        self._misses += 1
        last = self._outlet.last
        limit = self.options.max_event_bytes
        learnt = learn(raw, self._left[0], last, given, text, self._found.log, limit)
        self._frames.pop(text.choice, None)
        if len(self._frames) >= _CHOICES or any(one.takes_usage for one in self._frames.values()):
            # of the usages that several frames would hold nobody knew which was the last
            self._frames.clear()
        if learnt is not None and not (learnt.takes_usage and self._frames):
            self._frames[text.choice] = learnt

    def _comment(self, text: bytes) -> None:
        if self._gathered is not None:
            return
        if self.options.comments == "drop" and self._found(COMMENT_DROPPED):
            return
        if self._outlet.comment(text):
            self._out.append(text + b"\n\n")

    def _emit(self, chunk: Chunk, raw: bytes | None) -> None:
        if not chunk:
            self._out.append((raw or b"") + b"\n\n")
            return
        self._report.events_out += 1
        if self._gathered is not None:
            self._gathered.add(chunk)
            return
        data = dumps(chunk) if raw is None else raw
        self._left.append(data)
        self._out.append(b"data: " + data + b"\n\n")

    # ------------------------------------------------------------------ the ends

    def _done(self) -> None:
        if self._outlet.failure is not None:
            self._failed_word()
        elif self._outlet.opened or self._outlet.only_usage:
            self._pipeline.done()
            self._finish("done")
        else:
            self._empty("it sent only [DONE]", mark=True)

    def _cut_or_done(self, broken: str | None) -> None:
        if self._outlet.failure is not None:
            self._failed_word()
        elif self._outlet.finished:
            mark = self._found.note(errors.DONE_MISSING)
            self._pipeline.done()
            self._finish("done", mark=mark)
        elif self._outlet.opened:
            self._truncated(broken or "before its answer was finished")
        else:
            self._empty(broken or "it sent nothing")

    def _failed_word(self) -> None:
        word = self._outlet.failure
        if not self._found(errors.FAILURE_WORD):
            self._pipeline.done()
            self._finish("done")
            return
        message = f"The upstream finished with {word!r}."
        self._fail(
            {"error": {"message": message, "type": "upstream_error", "param": None, "code": word}},
            "error",
        )

    def _truncated(self, how: str) -> None:
        if not self._found(errors.TRUNCATED):
            self._pipeline.close()
            self._outlet.release()
            self._outlet.cut()
            self._finish("truncated", mark=False)
            return
        self._fail(_own("upstream_truncated", f"The upstream's stream ended {how}."), "truncated")

    def _empty(self, how: str, *, mark: bool = False) -> None:
        if not self._found(errors.EMPTY):
            self._finish("empty", mark=mark)
            return
        junk = b" ".join(self._reader.junk)
        said = f"; what it sent is: {_words(junk)}" if junk else ""
        self._fail(_own("upstream_empty", f"The upstream answered nothing: {how}{said}."), "empty")

    def _upstream_error(self, error: dict[str, Any], value: Any, event: Event) -> None:
        if isinstance(value, dict) and isinstance(error.get("choices"), list):
            said = {key: value[key] for key in ("id", "object", "created", "model") if key in value}
            if any(_speaks(choice) for choice in error["choices"]):
                self._take_whole({**said, "choices": error["choices"]}, lenient=True)
            error = {key: item for key, item in error.items() if key != "choices"}
        elif event.lenient:
            error = clean(error)
        self._lacks_done = True
        as_it_came = error is value or not self._found.on(errors.ERROR_SHAPE)
        if as_it_came and not event.lenient:
            self._fail(error, "error", event.data)
        else:
            self._fail(clean(error) if event.lenient else error, "error")

    def _fail(self, event: dict[str, Any], end: Any, raw: bytes | None = None) -> None:
        if not self._lacks_done:
            self._behind = None  # what goes on behind an error of ours is no news
        self._pipeline.close()
        self._outlet.cut()
        before = len(event)
        self._outlet.ride_on_error(event)
        self._report.error = event["error"]
        self._report.events_out += 1
        data = raw if raw is not None and len(event) == before else dumps(event)
        if self._gathered is not None or (self._streams is False and self._body is not None):
            self._error_body(event)
        else:
            self._out.append(b"data: " + data + b"\n\n")
        self._finish(end)

    def _finish(self, end: Any, *, mark: bool = True) -> None:
        """Nothing more leaves; ``mark``: `[DONE]` does."""
        self.ended = True
        self._frames.clear()
        self._frame, self._aligned = None, False
        self._report.end = end
        if self._gathered is None:
            if self._streams is not False and mark:
                self._out.append(DONE)
        elif end == "done" or (end == "truncated" and not mark):
            self.content_type = None if self.passes else JSON
            self._out.append(dumps(self._gathered.completion()))

    def _after_end(self, data: bytes) -> None:
        if self._behind is None or not data:
            return
        behind = self._behind = (self._behind + data).lstrip()[:64]
        if self._report.error is None:
            deviation = errors.AFTER_DONE
        else:
            deviation = errors.AFTER_ERROR
            whole = behind.rstrip()
            self._lacks_done = self._lacks_done and whole not in _DONE_LINES
            if any(line.startswith(whole) for line in _DONE_LINES):
                return  # the `[DONE]` that belongs there, or a piece of it
        if behind:
            self._behind = None
            self._found.note(deviation)

    # ------------------------------------------------------------------ bodies that are JSON

    def _whole(self, broken: str | None) -> None:
        """A body that was read whole: JSON, nothing, or what belongs to an error status."""
        raw = b"".join(self._body or [])
        text = raw.removeprefix(b"\xef\xbb\xbf").strip(_BLANK)
        if self.status >= 300:
            self._error_status(raw, text)
            return
        try:
            value, lenient = loads(text) if text else (None, False)
        except ValueError:
            if broken is None and b"\n" in text and self._lines(raw):
                return
            self._broken_json(raw, broken)
            return
        if value is None:
            self._streams = self._streams if self._streams is not None else True
            self.content_type = EVENT_STREAM if self._streams else None
            self._empty(broken or "its body is empty")
            return
        error = self._pipeline.error(value, "")
        self._report.events_in += 1
        if error is not None:
            self._whole_error(clean(error) if lenient else error, raw)
        elif self._streams:
            self._whole_stream(value)
        else:
            self._whole_completion(value, raw, lenient=lenient)

    def _lines(self, raw: bytes) -> bool:
        """JSON with something behind it: read it as lines, which loses nothing."""
        self._begin_stream([raw])
        if not self.ended:
            self._reader.close()
            self._read(closing=True)
            if not self.ended:
                self._cut_or_done(None)
        return True

    def _broken_json(self, raw: bytes, broken: str | None) -> None:
        if self._streams is None:
            self._streams = False
        self._found(errors.TRUNCATED if broken else errors.INVALID)
        how = f" ({broken})" if broken else ""
        kind = "upstream_truncated" if broken else "upstream_invalid"
        message = f"The upstream's JSON ends or breaks off within {len(raw)} bytes{how}."
        self._fail(_own(kind, message), "truncated" if broken else "error")

    def _whole_error(self, error: dict[str, Any], raw: bytes) -> None:
        if self._streams:
            self._found(ERROR_BODY_FOR_STREAM)
            error.pop("choices", None)
        else:
            self._streams = False
            if not self._found(ERROR_WITH_SUCCESS):
                self._pass(raw)
                self._report.end, self._report.error = "error", error["error"]
                return
        self._fail(error, "error")

    def _error_body(self, event: dict[str, Any]) -> None:
        """An error in answer to `stream: false`: it has a status of its own."""
        code = event["error"].get("code")
        fits = type(code) is int and 400 <= code < 600
        if not self.passes:
            self.status = code if fits else 502
            self.content_type = JSON
        self._out.append(dumps(event))

    def _take_whole(self, chunk: Chunk, *, lenient: bool = False) -> None:
        """Take a chunk of an answer that did not come as a stream."""
        self._found.begin(touched=lenient)
        self._pipeline.chunk(chunk, dumps(chunk) if not lenient else b"", lenient=lenient)

    def _whole_stream(self, value: Any) -> None:
        if type(value) is list and value and all(isinstance(item, dict) for item in value):
            self._found(LINES_FOR_EVENTS)
            self._body = None
            for chunk in value:
                self._take_whole(chunk)
            self._cut_or_done(None)
            return
        if not isinstance(value, dict) or not value.get("choices"):
            self._body = None
            self._take_whole(value if isinstance(value, dict) else {}, lenient=True)
            self._empty("its JSON has no choices")
            return
        self._found(COMPLETION_FOR_STREAM)
        self._body = None
        apart = self.request.include_usage is True
        for chunk in chunks_of(value, self.request.endpoint or "chat", apart=apart):
            self._take_whole(chunk)
        if self._outlet.failure is not None:
            self._failed_word()
        else:
            self._pipeline.done()
            self._finish("done")

    def _whole_completion(self, value: Any, raw: bytes, *, lenient: bool) -> None:
        self._streams = False
        if not isinstance(value, dict) or not value.get("choices"):
            self._pass(raw)
            return
        gathered = self._gathered = Gathered(self.request.endpoint or "chat", of=value)
        self._pipeline.gathers()
        for chunk in chunks_of(value, self.request.endpoint or "chat", apart=False):
            self._take_whole(chunk, lenient=lenient)
        if self._outlet.failure is not None:
            self._failed_word()
            return
        self._pipeline.done()
        repaired = bool(self._report.repairs) or lenient
        if not repaired and gathered.has_form(value):
            self._gathered = None
            self._pass(raw)
        elif self._found(COMPLETION_FORM):
            self._finish("done")
        else:
            self._gathered = None
            self._pass(raw)

    def _error_status(self, raw: bytes, text: bytes) -> None:
        self._streams = False
        try:
            value, lenient = loads(text)
        except ValueError:
            value, lenient = None, False
        error = self._pipeline.error(value, "error" if isinstance(value, dict) else "")
        if error is None or (error is value and not lenient):
            self._pass(raw)
            self._report.error = error["error"] if error else None
            self._report.end = "error"
            return
        if self._found(ERROR_BODY_SHAPE):
            self.content_type = None if self.passes else JSON
            self._out.append(dumps(clean(error)))
            self._report.error = error["error"]
            self.ended = True
            self._report.end = "error"
        else:
            self._pass(raw)

    def _pass(self, raw: bytes) -> None:
        self.ended = True
        if not self.passes:
            self._out.append(raw)
        self._report.end = self._report.end or "done"


_DEFAULTS = Options()


def _own(kind: str, message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _words(data: bytes) -> str:
    """The beginning of what an upstream said, without markup, for a message."""
    text = data[:4000].decode("utf-8", "replace")
    plain = []
    depth = 0
    for part in text.replace("<", "\0<").replace(">", ">\0").split("\0"):
        if part.startswith("<") and part.endswith(">"):
            continue
        if part.strip() and depth == 0:
            plain.append(part.strip())
    return " ".join(" ".join(plain).split())[:500]


def _speaks(choice: Any) -> bool:
    delta = choice.get("delta") if isinstance(choice, dict) else None
    said = delta if isinstance(delta, dict) else choice if isinstance(choice, dict) else {}
    keys = ("content", "reasoning", "reasoning_content", "tool_calls", "refusal", "text")
    return any(said.get(key) for key in keys)
