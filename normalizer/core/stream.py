"""A stream of events: through the wire, the short cuts and the pipeline, to its one right end."""

from __future__ import annotations

import re
import time
from typing import Any

from normalizer.core import errors
from normalizer.core.event import Event, Kind
from normalizer.core.event_data import DONE_VARIANT, KEEP_ALIVE_AS_DATA
from normalizer.core.failure import log_failure
from normalizer.core.findings import Findings
from normalizer.core.kept import Kept
from normalizer.core.lenient import clean, dumps
from normalizer.core.options import Options
from normalizer.core.report import End, Report
from normalizer.core.request import RequestInfo
from normalizer.core.sse import COMMENT as COMMENT_DROPPED
from normalizer.core.sse import JUNK_LINE, EventReader
from normalizer.core.template import Frames
from normalizer.wires.chat import markup
from normalizer.wires.chat.chunk import CHOICE_KEYS, Chunk, as_list
from normalizer.wires.chat.completion import LINES_FOR_EVENTS, Gathered
from normalizer.wires.chat.wire import Pipeline

KEEP_ALIVE = b": keep-alive"
DONE = b"data: [DONE]\n\n"
_TAG = re.compile(r"<[^<>]*>")
_DONE_LINES = (b"data: [DONE]", b"data:[DONE]")


class EventStream:
    """Takes the bytes of a stream, or chunks that did not come as one; gives canonical events.

    * ``out``: what may leave; who takes it clears it.
    * ``ended``: the end has come, and the event of an error if it is one is in ``error``.
    * ``gathered``: chunks go there and not to ``out``; a completion is made of them.
    """

    __slots__ = (
        "_behind",
        "_found",
        "_frames",
        "_kept",
        "_lacks_done",
        "_left",
        "_options",
        "_reader",
        "_report",
        "_since",
        "ended",
        "error",
        "gathered",
        "out",
        "outlet",
        "pipeline",
    )

    def __init__(
        self, request: RequestInfo, options: Options, found: Findings, report: Report
    ) -> None:
        self.out: list[bytes] = []
        self.ended = False
        self.error: dict[str, Any] | None = None
        self.gathered: Gathered | None = None
        self._kept = Kept(options.max_held_bytes)
        self.pipeline = Pipeline(request, options, found, report, self._emit, self._kept)
        self.outlet = self.pipeline.out
        self._options = options
        self._found = found
        self._report = report
        self._reader = EventReader(found, options.max_event_bytes)
        self._frames = Frames(found, report, self.pipeline.take_usage, options.max_event_bytes)
        if markup.wanted(options):
            self._frames.give_up()
        self._left: list[bytes] = []  # the JSON that the event at hand made leave
        self._behind: bytes | None = b""  # the end: what came there; None once that was reported
        self._lacks_done = False  # an error was the end, and no `[DONE]` has come behind it
        self._since = 0.0

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came; those that may leave."""
        frame = self._frames.last
        position = 0
        if frame is not None:
            position = frame.take(data, 0, self.out)
            self._reader.received += position
            if position == len(data):
                if frame.full:
                    self._frames.settle()
                return data if frame.same else self.leave()
            if position and frame.same:
                self.out.append(data[:position])
            framed = self._frames.take(data, position, self.out)
            self._reader.received += framed - position
            position = framed
        if self.ended:
            self._after_end(data)
        elif position < len(data):
            self._reader.receive(data[position:] if position else data)
            self._read()
            self._frames.align(self._reader.aligned)
        return self.leave()

    def leave(self) -> bytes:
        """What may leave, which leaves."""
        out = self.out
        if not out:
            return b""
        whole = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return whole

    def take(self, chunk: Chunk, *, lenient: bool = False) -> None:
        """Take a chunk that did not come as an event."""
        self._found.begin(touched=lenient)
        self.pipeline.chunk(chunk, b"" if lenient else dumps(chunk), lenient=lenient)

    def gather(self, gathered: Gathered) -> None:
        """From now on chunks are gathered into a completion."""
        self.gathered = gathered
        self.pipeline.gathers()

    def settle(self) -> None:
        """Bring the report up to date."""
        self._frames.settle()

    def flush(self) -> None:
        """Let go of the finish that is held; the end itself may yet be preceded by more."""
        self.outlet.release()
        self.outlet.released = True

    def close(self, broken: str | None) -> None:
        """The bytes have ended; ``broken`` says how, if it was the connection that did."""
        self._frames.settle()
        if not self.ended:
            self._reader.close()
            self._read(closing=True)
            if not self.ended:
                self.cut_or_done(broken)
        if self._lacks_done and self._behind is not None:
            self._found.note(errors.ERROR_WITHOUT_DONE)
            self._lacks_done = False

    @property
    def waiting(self) -> float | None:
        """Seconds until a held finish has been held for long enough; None while none is."""
        if self.ended or not self.outlet.holding or self.gathered is not None:
            return None
        return max(0.0, self._since + self._options.finish_timeout - time.monotonic())

    # ------------------------------------------------------------------ events

    def _read(self, *, closing: bool = False) -> None:
        reader = self._reader
        while not self.ended:
            if self._frames.any and reader.position < len(reader.data) and reader.aligned:
                reader.position = self._frames.take(reader.data, reader.position, self.out)
            event = reader.next()
            if event is None:
                break
            self._event(event, closing=closing)
        if self.ended:
            self._after_end(reader.rest())

    def _event(self, event: Event, *, closing: bool) -> None:
        kind = event.otherwise
        self._frames.settle()
        if self.outlet.finished and event.kind is Kind.END_WORD:
            self._found(DONE_VARIANT)
            kind = Kind.DONE
        if kind is Kind.DATA:
            self._report.events_in += 1
            self._kept.arrived = len(event.data)
            self._data(event)
            if self._kept.size > self._kept.limit and not self.ended:
                self._over(event)
            if self.outlet.holding:
                self._since = time.monotonic()
        elif kind is Kind.COMMENT:
            self._comment(event.data)
        elif kind is Kind.NOTHING:
            self._comment(KEEP_ALIVE)
        elif kind is Kind.DONE:
            self._done()
        elif kind is Kind.TOO_LARGE:
            self._found(errors.TOO_LARGE)
            limit = self._options.max_event_bytes
            self.fail(
                own("upstream_too_large", f"The event at byte {event.at} is over {limit} bytes."),
                "error",
            )
        elif closing and kind is Kind.INVALID and self.outlet.finished:
            self._found(JUNK_LINE)  # a torn tail: the answer was complete
        elif closing and kind is Kind.INVALID and event.data[:1] in (b"{", b"["):
            self._truncated(f"in the middle of an event, at byte {event.at}")
        elif self._found(errors.INVALID):
            what = "a page of HTML" if kind is Kind.PAGE else "data that is no JSON"
            said = words(event.data)
            self.fail(
                own("upstream_invalid", f"The upstream sent {what} at byte {event.at}: {said}"),
                "error",
            )

    def _over(self, event: Event) -> None:
        """More is kept than may be: comments leave, and for the rest the stream ends."""
        self.outlet.let_comments_go()
        if not self._kept.over:
            return
        self._found(errors.TOO_LARGE)
        what = "the choices, calls and fragments that have to be kept"
        limit = f"max_held_bytes, {self._kept.limit} bytes"
        message = f"With the event at byte {event.at} {what} are over {limit}."
        self.fail(own("upstream_too_large", message), "error")

    def _data(self, event: Event) -> None:
        value, pipeline, found = event.value, self.pipeline, self._found
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
            self._comment(KEEP_ALIVE)
            return
        self._left.clear()
        usage = value.get("usage")
        pipeline.chunk(value, event.data, lenient=event.lenient)
        text = None
        if len(self._left) == 1 and not event.lenient and self.gathered is None:
            text = pipeline.one_text() if self._frames.wanted else None
        if text is None:
            self._frames.clear()
        else:
            self._frames.learn(event.data, self._left[0], self.outlet.last, usage, text)

    def _no_object(self, inner: list[Chunk]) -> None:
        """Data that is JSON and no object: chunks in a list, or nothing that could be one."""
        self._found(LINES_FOR_EVENTS if inner else JUNK_LINE)
        for chunk in inner:
            self._found.begin(touched=True)
            self.pipeline.chunk(chunk, b"", lenient=True)

    def _comment(self, text: bytes) -> None:
        if self.gathered is not None:
            return
        if self._options.comments == "drop" and self._found(COMMENT_DROPPED):
            return
        if self.outlet.comment(text):
            self.out.append(text + b"\n\n")

    def _emit(self, chunk: Chunk, raw: bytes | None) -> None:
        if not chunk:
            self.out.append((raw or b"") + b"\n\n")
            return
        self._report.events_out += 1
        if self.gathered is not None:
            self.gathered.add(chunk)
            return
        data = dumps(chunk) if raw is None else raw
        self._left.append(data)
        self.out.append(b"data: " + data + b"\n\n")

    # ------------------------------------------------------------------ the ends

    def _done(self) -> None:
        if self.outlet.failure is not None:
            self.failed_word()
        elif self.outlet.opened or self.outlet.only_usage:
            self.pipeline.done()
            self.finish("done")
        else:
            self.empty("it sent only [DONE]", mark=True)

    def cut_or_done(self, broken: str | None) -> None:
        """End without `[DONE]`: an end that is as good, or a cut."""
        if self.outlet.failure is not None:
            self.failed_word()
        elif self.outlet.finished:
            mark = self._found.note(errors.DONE_MISSING)
            self.pipeline.done()
            self.finish("done", mark=mark)
        elif self.outlet.opened:
            self._truncated(broken or "before its answer was finished")
        else:
            self.empty(broken or "it sent nothing")

    def failed_word(self) -> None:
        """End with the error that a choice's finish is."""
        word = self.outlet.failure
        if not self._found(errors.FAILURE_WORD):
            self.pipeline.done()
            self.finish("done")
            return
        message = f"The upstream finished with {word!r}."
        self.fail(own("upstream_error", message, word), "error")

    def _truncated(self, how: str) -> None:
        if not self._found(errors.TRUNCATED):
            self.pipeline.close()
            self.outlet.release()
            self.outlet.cut()
            self.finish("truncated", mark=False)
            return
        self.fail(own("upstream_truncated", f"The upstream's stream ended {how}."), "truncated")

    def empty(self, how: str, *, mark: bool = False) -> None:
        """End with the error that an answer without a choice is."""
        if not self._found(errors.EMPTY):
            self.finish("empty", mark=mark)
            return
        junk = b" ".join(self._reader.junk)
        said = f"; what it sent is: {words(junk)}" if junk else ""
        self.fail(own("upstream_empty", f"The upstream answered nothing: {how}{said}."), "empty")

    def _upstream_error(self, error: dict[str, Any], value: Any, event: Event) -> None:
        if isinstance(value, dict) and isinstance(error.get("choices"), list):
            said = {key: value[key] for key in ("id", "object", "created", "model") if key in value}
            if any(_speaks(choice) for choice in error["choices"]):
                self.take({**said, "choices": error["choices"]}, lenient=True)
            beside = (choice for choice in error["choices"] if isinstance(choice, dict))
            own_members = [
                (key, item)
                for choice in beside
                for key, item in choice.items()
                if key not in CHOICE_KEYS and item is not None
            ]
            error = {key: item for key, item in error.items() if key != "choices"}
            for key, item in own_members:
                error.setdefault(key, item)
        elif event.lenient:
            error = clean(error)
        self._lacks_done = True
        as_it_came = error is value or not self._found.on(errors.ERROR_SHAPE)
        if as_it_came and not event.lenient:
            self.fail(error, "error", event.data)
        else:
            self.fail(clean(error) if event.lenient else error, "error")

    def fail(self, event: dict[str, Any], end: End, raw: bytes | None = None) -> None:
        """End with an error event; ``raw`` is its JSON as it came, if it did."""
        if not self._lacks_done:
            self._behind = None  # what goes on behind an error of ours is no news
        self.pipeline.close()
        self.outlet.cut()
        before = len(event)
        self.outlet.ride_on_error(event)
        self.error = event
        self._report.error = event["error"]
        self._report.events_out += 1
        data = raw if raw is not None and len(event) == before else dumps(event)
        if self.gathered is None:
            self.out.append(b"data: " + data + b"\n\n")
        self.finish(end)

    def abort(self, event: dict[str, Any]) -> None:
        """End with the event of an error of ours, of which it is not known what it left undone."""
        self.forget()
        bare = {**event}
        try:
            self.pipeline.close()
            self.outlet.cut()
            self.outlet.ride_on_error(event)
            data = dumps(event)
        except Exception as error:  # broad on purpose: what cannot leave must not keep the end back
            log_failure(error)
            event, data = bare, dumps(bare)
        self.error = event
        self._report.error = event["error"]
        self._report.events_out += 1
        self._behind = None
        if self.gathered is None:
            self.out.append(b"data: " + data + b"\n\n")
        self.finish("error")

    def forget(self) -> None:
        """Forget what left in frames and is not counted yet."""
        self._frames.clear()

    def finish(self, end: End, *, mark: bool = True) -> None:
        """Nothing more leaves; ``mark``: `[DONE]` does."""
        self.ended = True
        self._frames.give_up()
        self._report.end = end
        if self.gathered is None and mark:
            self.out.append(DONE)

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


def own(kind: str, message: str, code: str | None = None) -> dict[str, Any]:
    """The event of an error that is our own."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def words(data: bytes) -> str:
    """The beginning of what an upstream said, without markup, for a message."""
    text = data[:4000].decode("utf-8", "replace")
    return " ".join(_TAG.sub(" ", text).split())[:500]


def _speaks(choice: Any) -> bool:
    delta = choice.get("delta") if isinstance(choice, dict) else None
    said = delta if isinstance(delta, dict) else choice if isinstance(choice, dict) else {}
    keys = ("content", "reasoning", "reasoning_content", "tool_calls", "refusal", "text")
    return any(said.get(key) for key in keys)
