"""A stream of events: bytes to events, events to the wire.

An event of the form that the last ones had leaves by the template, without being parsed. All others
go to the wire as a `Draft`. The wire says when the answer has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.envelopes import ENVELOPE
from normalizer.core.errors import INVALID, TOO_LARGE, read_error, words_of_page
from normalizer.core.event import DATA, Event, Kind
from normalizer.core.event_data import DONE_VARIANT
from normalizer.core.findings import Findings
from normalizer.core.holes import Example
from normalizer.core.kept import Kept
from normalizer.core.kinds import LINES_FOR_EVENTS
from normalizer.core.lenient import loads
from normalizer.core.options import Options
from normalizer.core.own_error import own
from normalizer.core.report import Report
from normalizer.core.sse import COMMENT as COMMENT_DROPPED
from normalizer.core.sse import JUNK_LINE, EventReader
from normalizer.core.template import FULL
from normalizer.core.templates import Templates
from normalizer.core.wire import Wire
from normalizer.core.writer import Writer

KEEP_ALIVE = b": keep-alive"


class EventStream:
    """Reads the events of one stream and gives them to its wire.

    * ``holding``: something waited that silence lets go when the wire was last asked.
    """

    __slots__ = (
        "_found",
        "_kept",
        "_options",
        "_reader",
        "_report",
        "_since",
        "_templates",
        "_wire",
        "_writer",
        "holding",
    )

    def __init__(
        self,
        wire: Wire,
        writer: Writer,
        options: Options,
        found: Findings,
        report: Report,
        kept: Kept,
    ) -> None:
        self._wire = wire
        self._writer = writer
        self._options = options
        self._found = found
        self._report = report
        self._kept = kept
        self._reader = EventReader(found, options.max_event_bytes, named=wire.names_events)
        wire.junk = self._reader.junk
        self._templates = Templates(found, report, options.max_event_bytes)
        if not wire.has_templates:
            self._templates.give_up()
        self._since = 0.0
        self.holding = False

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came; return those that are ready to send."""
        templates, out = self._templates, self._writer.out
        last = templates.last
        position = 0
        if last is not None:
            position = last.read(data, 0, out) if data.startswith(last.before) else 0
            if position == len(data):
                self._reader.received += position
                if len(last.rows) >= FULL:
                    templates.empty(last)
                    templates.align(aligned=True)
                if last.same:
                    return data
                return out.pop() if len(out) == 1 else self.ready()
            if position and last.same:
                out.append(data[:position])
            position = templates.take(data, position, out)
            self._reader.received += position
            if position == len(data):
                templates.align(aligned=True)
                return out.pop() if len(out) == 1 else self.ready()
        if self._wire.ended:
            self._wire.behind(data)
        elif self._reader.receive(data[position:] if position else data):
            self._read(tried=last is not None)
            if templates.kept:
                templates.align(self._reader.drained or self._reader.aligned)
        else:
            templates.last = None
        return out.pop() if len(out) == 1 else self.ready()

    def feed_alike(self, data: bytes, position: int) -> int:
        """Read events of the last one's form from ``position`` on, and return where they end.

        What would leave is dropped.
        """
        last = self._templates.last
        # What such a one finds in its values, it finds in some of the events only.
        if last is None or last.ordered:
            return position
        end = last.read(data, position, self._writer.out)
        self._reader.received += end - position
        self._writer.out.clear()
        return end

    def ready(self) -> bytes:
        """Take and return the bytes that are ready to send."""
        out = self._writer.out
        if not out:
            return b""
        whole = b"".join(out)
        out.clear()
        return whole

    def settle(self) -> None:
        """Bring the report up to date."""
        self._templates.settle()

    def forget(self) -> None:
        """Forget what left by a template and is not counted yet."""
        self._templates.clear()

    def without_templates(self) -> None:
        """From now on every event goes to the wire."""
        self._templates.give_up()

    def flush(self) -> None:
        """The upstream has been silent for long: send what silence lets go."""
        self._templates.settle()
        self._wire.release()
        self.holding = self._wire.holding

    def close(self, broken: str | None) -> None:
        """The bytes have ended; ``broken`` says how, if it was the connection that did."""
        self._templates.settle()
        if not self._wire.ended:
            self._reader.close()
            self._read(closing=True)
        self._wire.close(broken)
        self.holding = self._wire.holding

    @property
    def waiting(self) -> float | None:
        """Seconds until what is held has been held for long enough; None while nothing is."""
        if self._wire.ended or not self._wire.holding:
            return None
        return max(0.0, self._since + self._options.finish_timeout - time.monotonic())

    # ------------------------------------------------------------------ events

    def _read(self, *, closing: bool = False, tried: bool = False) -> None:
        """Take the events that have come; ``tried``: the first one is in no template."""
        reader, templates, wire = self._reader, self._templates, self._wire
        while not wire.ended:
            if templates.kept and reader.position < len(reader.data):
                if not tried and reader.aligned:
                    out = self._writer.out
                    reader.position = templates.take(reader.data, reader.position, out)
                # the reader's findings name the number of their event
                templates.settle()
            event = reader.next()
            if event is None:
                break
            if templates.kept:
                templates.doubt()
            self._take(event, closing=closing)
            # most pieces are one event, and all of it was read
            if reader.drained:
                break
            tried = False
        if wire.ended:
            templates.give_up()
            wire.behind(reader.rest())

    def _take(self, event: Event, *, closing: bool) -> None:
        if event.kind is not DATA:
            self._take_no_data(event, closing=closing)
            return
        wire, kept, value = self._wire, self._kept, event.value
        self._report.events_in += 1
        kept.arrived = len(event.data)
        self._found.begin()
        if type(value) is dict:
            self._object(event, value)
        else:
            self._no_object(event)
        if kept.size > kept.limit and not wire.ended:
            self._over(event)
        self.holding = wire.holding
        if self.holding and event.name != "ping":  # which does not break a silence
            self._since = time.monotonic()

    def _take_no_data(self, event: Event, *, closing: bool) -> None:
        kind, wire = event.otherwise, self._wire
        if event.kind is Kind.END_WORD and wire.complete:
            self._found(DONE_VARIANT)
            wire.done()
        elif closing and kind is Kind.INVALID and wire.complete:
            self._found(JUNK_LINE)  # a torn tail: the answer was complete
        elif closing and kind is Kind.INVALID and event.data[:1] in (b"{", b"["):
            wire.close(f"in the middle of an event, at byte {event.at}")
        else:
            _TAKEN[kind](self, event)
        self.holding = wire.holding

    def _object(self, event: Event, value: dict[str, Any]) -> None:
        sent, out = self._writer.sent, self._writer.out
        sent.clear()
        before = len(out)
        self._wire.event(Draft(value, None if event.lenient else event.data), event.name)
        if len(sent) < 2 and not event.lenient and self._templates.wants():
            # a comment may have left too, and an end may have come
            if len(out) - before == len(sent) and not self._wire.ended:
                self._learn(event, sent, out)

    def _learn(self, event: Event, sent: list[bytes], out: list[bytes]) -> None:
        """Learn the template of the event that the wire took last, if it is one."""
        form = self._wire.form()
        frame = self._reader.frame if form is not None else b""
        if form is not None and frame and form.sends == bool(sent):
            self._found.log += self._reader.framing
            # bytes that nobody changed are passed on, not copied
            left, rewritten = (out[-1], sent[0] is not event.data) if sent else (b"", False)
            self._templates.learn(Example(frame, self._reader.ident, left, rewritten), form)

    def _no_object(self, event: Event) -> None:
        """Data that is JSON and no object: objects in a list, or nothing that could be one."""
        value, wire = event.value, self._wire
        if isinstance(value, str):
            value = _json_in(value)
            if isinstance(value, dict):
                if not self._found(ENVELOPE):
                    self._found(LINES_FOR_EVENTS)  # a string cannot leave as an event
                wire.event(Draft(value), event.name)
                return
        error = read_error(value, event.name)
        if error is not None:
            wire.fail(error, "error")
            return
        inner = value if isinstance(value, list) else [value]
        objects = [one for one in inner if isinstance(one, dict)]
        self._found(LINES_FOR_EVENTS if objects else JUNK_LINE)
        for one in objects:
            if not wire.ended:
                wire.event(Draft(one), event.name)

    def _over(self, event: Event) -> None:
        """More is kept than may be: the stream ends."""
        self._found(TOO_LARGE)
        what = "the choices, calls and fragments that have to be kept"
        limit = f"max_held_bytes, {self._kept.limit} bytes"
        message = f"With the event at byte {event.at} {what} are over {limit}."
        self._wire.fail(own("upstream_too_large", message), "error")

    def _nothing(self, event: Event) -> None:
        if event.name in self._wire.bare_events:
            self._report.events_in += 1
            self._wire.event(Draft({}), event.name)
        else:
            self._comment(event)

    def _comment(self, event: Event) -> None:
        if self._options.comments == "drop" and self._found(COMMENT_DROPPED):
            return
        self._wire.comment(event.data if event.kind is Kind.COMMENT else KEEP_ALIVE)

    def _done(self, _event: Event) -> None:
        self._wire.done()

    def _too_large(self, event: Event) -> None:
        self._found(TOO_LARGE)
        limit = self._options.max_event_bytes
        message = f"The event at byte {event.at} is over {limit} bytes."
        self._wire.fail(own("upstream_too_large", message), "error")

    def _invalid(self, event: Event) -> None:
        if self._wire.skips(event.data, event.name):
            return
        if event.name == "error" and event.kind is Kind.INVALID:
            words = event.data.decode("utf-8", "replace")
            self._wire.fail(read_error(words, "error") or own("upstream_error", words), "error")
            return
        if not self._found(INVALID):
            return
        what = "a page of HTML" if event.kind is Kind.PAGE else "data that is no JSON"
        message = f"The upstream sent {what} at byte {event.at}: {words_of_page(event.data)}"
        self._wire.fail(own("upstream_invalid", message), "error")


_TAKEN: dict[Kind, Callable[[EventStream, Event], None]] = {
    Kind.COMMENT: EventStream._comment,
    Kind.NOTHING: EventStream._nothing,
    Kind.DONE: EventStream._done,
    Kind.TOO_LARGE: EventStream._too_large,
    Kind.INVALID: EventStream._invalid,
    Kind.PAGE: EventStream._invalid,
}


def _json_in(text: str) -> Any:
    """The JSON that a JSON string holds; the string itself if it holds none."""
    try:
        value, _ = loads(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return text
    return value if isinstance(value, (dict, list)) else text
