"""One answer in the Messages API: its events in, canonical events out.

The order in which events leave is fixed:

    message_start
    for each block: content_block_start, content_block_delta …, content_block_stop
    message_delta without a stop reason, wherever it stands: progress
    message_delta with the stop reason
    message_stop

`ping` may come anywhere before the end. An `error` may come at any point, and is the end.

**Added** is only what the form cannot do without: a `message_start` before the first block, the
start of a block that a delta needs, the stop of a block before the next one, a stop reason where
`message_stop` tells that the answer is complete, and `message_stop` behind a stop reason. Nothing
is added before an error, and never a signature or a piece of input.

**Held** is only, each for the reasons that its file gives:

* the `message_delta` with a stop reason, until the message stops (`stop_reason`). Comments that
  come behind it wait with it, so that canonical streams keep their order;
* a `message_delta` without one, until the next event: it may be the last one;
* of a block its start, its stop, or what its start held (`content`);
* an event of a type that we do not know, until `message_start` has left.

Text, thinking and input leave with the event that brings them.

The answer is over with `message_stop`, with `[DONE]` in its place, or with the end of the body
behind a stop reason. It was cut where the body ends before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from normalizer.core.dialects import MESSAGES, dialect_of
from normalizer.core.draft import Draft
from normalizer.core.findings import Findings
from normalizer.core.form import Form
from normalizer.core.kept import Kept
from normalizer.core.options import Options
from normalizer.core.report import End, Report
from normalizer.core.request import RequestInfo
from normalizer.core.wire import Output
from normalizer.wires.messages import errors as rules
from normalizer.wires.messages.body import MESSAGE_FOR_STREAM, Body, events_of
from normalizer.wires.messages.content import Content
from normalizer.wires.messages.errors import Errors, failed, in_form, other_api, own, status_of
from normalizer.wires.messages.events import (
    BARE,
    DONE_SENTINEL,
    PING_FORM,
    TYPES,
    line_found,
    told_type,
    type_of,
)
from normalizer.wires.messages.gathered import Gathered
from normalizer.wires.messages.message_start import MessageStart
from normalizer.wires.messages.outgoing import Outgoing
from normalizer.wires.messages.stop_reason import StopReason
from normalizer.wires.messages.tool_use import Calls
from normalizer.wires.messages.usage import Usage

_PING = {"type": "ping"}
_DONE_LINES = (b"data: [DONE]", b"data:[DONE]")
_START = 64  # bytes behind the end that tell whether they are a `[DONE]`


class MessagesWire:
    """One answer of the Messages API; a `Wire`."""

    has_templates = True

    __slots__ = (
        "_behind",
        "_body",
        "_calls",
        "_content",
        "_errors",
        "_found",
        "_out",
        "_output",
        "_progress",
        "_reason",
        "_report",
        "_start",
        "_usage",
        "bare_events",
        "end",
        "ended",
        "error",
        "junk",
        "names_events",
    )

    def __init__(
        self,
        request: RequestInfo,
        options: Options,
        found: Findings,
        report: Report,
        kept: Kept,
        output: Output,
    ) -> None:
        self.end: End | None = None
        self.ended = False
        self.error: dict[str, Any] | None = None
        self.junk: list[bytes] = []
        self.bare_events = BARE
        self.names_events = True
        self._behind: bytes | None = b""  # what came behind the end; None once that was reported
        self._found = found
        self._report = report
        self._output = output
        names = request.tool_names if request.knows_tools else None
        self._out = Outgoing(output, report, kept)
        self._progress: Draft | None = None  # a `message_delta` without a stop reason
        self._errors = Errors(found)
        self._usage = Usage(found)
        self._reason = StopReason(found)
        self._calls = Calls(found, names)
        self._body = Body(found, self._errors, request.model, names)
        self._start = MessageStart(found, report, kept, self._out, self._usage, request.model)
        self._content = Content(
            found,
            kept,
            self._out,
            self._start,
            self._calls,
            drops_empty=options.empty_blocks == "drop",
        )

    @property
    def holding(self) -> bool:
        """Whether something waits that silence lets go."""
        return (self._reason.waits or self._progress is not None) and not self.ended

    @property
    def complete(self) -> bool:
        """Whether the stop reason has come: what can only mean the end is the end."""
        return self._reason.held is not None

    @property
    def names(self) -> tuple[str, str]:
        """The answer's id and model, as far as they are known; else empty."""
        return self._report.id or "", self._report.model or ""

    # ------------------------------------------------------------------ a stream

    def event(self, draft: Draft, name: str) -> None:
        """Take one event; ``name`` is that of its ``event:`` line, "" for none."""
        kind = draft.value.get("type")
        self._content.forms.said = None
        if self._progress is not None and kind not in ("ping", "message_stop"):
            self._send_progress()
        if kind == "content_block_delta" == name and draft.raw is not None:
            if self._content.passes(draft.value):
                self._out.send(draft)
                return
        if self.ended:
            return
        if kind == name and name in _HANDLERS:
            _HANDLERS[name](self, draft)
        else:
            self._any_event(draft, name)

    def comment(self, text: bytes) -> None:
        """Take a comment, or what means nothing but keeps a connection alive."""
        if not self.ended:
            self._out.comment(text, waits=self._reason.held is not None)

    def done(self) -> None:
        """Take ``[DONE]``: behind `message_stop` it is nothing, in its place it is one."""
        self._found.note(DONE_SENTINEL)
        if self.ended:
            return
        if self._began:
            self._finish(None)
        else:
            self._empty("it sent only [DONE]")

    def release(self) -> None:
        """The upstream has been silent: behind its stop reason the message stops."""
        if self._reason.waits and not self.ended:
            self._finish(None)
        elif self._progress is not None:
            self._send_progress()

    def close(self, broken: str | None) -> None:
        """The body has ended: the message was complete behind a stop reason, or was cut."""
        if self.ended:
            return
        if self._reason.waits:
            self._finish(None)
        elif self._began:
            self._found.note(rules.TRUNCATED)
            how = broken or "before its message was complete"
            self._fail("upstream_truncated", f"The upstream's stream ended {how}.", "truncated")
        else:
            self._empty(broken or "it sent nothing")

    def behind(self, data: bytes) -> None:
        """Take bytes that came behind the end: nothing more leaves."""
        if self._behind is None or not data:
            return
        behind = self._behind = (self._behind + data).lstrip()[:_START]
        whole = behind.rstrip()
        if whole.startswith(_DONE_LINES):
            self._found.note(DONE_SENTINEL)
            self._behind = None
        elif whole and not any(line.startswith(whole) for line in _DONE_LINES):
            self._found.note(rules.BEHIND_END)
            self._behind = None

    def fail(self, error: dict[str, Any], end: End) -> None:
        """End with an error; what had arrived leaves before it."""
        if not self.ended:
            self._end_with(Draft(in_form(error)), end)

    def abort(self, error: dict[str, Any]) -> None:
        """End with an error and nothing else: it is not known what can still leave."""
        self._end_now(Draft(in_form(error)), "error")

    def form(self) -> Form | None:
        """What may differ in the next event: the words or the input of a delta."""
        forms = self._content.forms
        return None if forms.said is None else forms.form(self._goes_on)

    def _goes_on(self) -> bool:
        """Whether no event waits for the next one."""
        return self._progress is None and not self.ended

    # ------------------------------------------------------------------ a whole answer

    def is_event(self, value: Any) -> bool:
        """Whether a JSON value is an event, and no whole answer."""
        return isinstance(value, dict) and type_of(value) in TYPES

    def gather(self) -> None:
        """From now on no event is sent: they become one message."""
        self._out.gathered = Gathered()

    def whole(self) -> Any:
        """The message that the events have become; None if they were sent."""
        return None if self._out.gathered is None else self._out.gathered.message

    def body(self, draft: Draft) -> dict[str, Any] | None:
        """Repair a whole message in place; the error that it is instead, if it is one."""
        error = self._body.error(draft.value)
        if error is not None:
            return error
        failure = self._body.repair(draft)
        if not failure:
            self._report.finish[0] = draft.value.get("stop_reason") or ""
            usage = draft.value.get("usage")
            self._report.usage = usage if isinstance(usage, dict) else None
            return None
        return {**own("upstream_error", failed(failure)), "message": draft.value}

    def answer(self, value: Any) -> None:
        """Take a whole message where a stream was asked for: its events leave, to the end."""
        if self.is_event(value):
            self.event(Draft(value), "")
            self.close(None)
            return
        error = self._body.error(value)
        if error is not None:
            self._end_with(Draft(error), "error")
            return
        self._found(MESSAGE_FOR_STREAM)
        for event in events_of(value):
            self.event(Draft(event), event["type"])

    def skips(self, data: bytes, name: str) -> bool:  # noqa: ARG002 - a `Wire` has it
        """No event is left out: what is no JSON ends the message."""
        return False

    def error_in(self, value: Any, name: str = "") -> dict[str, Any] | None:
        """The error that a JSON value is, ``value`` itself if it has the API's form; or None."""
        return self._errors.read(value, name)

    def error_body(self, error: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and the JSON of an error in answer to a request without a stream."""
        error = error if error.get("type") == "error" else in_form(error)
        return status_of(error), error

    # ------------------------------------------------------------------ events

    @property
    def _began(self) -> bool:
        return self._start.sent or self._start.waits or self._content.any

    def _any_event(self, draft: Draft, name: str) -> None:
        kind = type_of(draft.value)
        if name == "error" or kind not in _HANDLERS:
            if self._is_error(draft, name) or self._is_foreign(draft.value, kind):
                return
            kind = kind or told_type(self._found, draft, name)
        if not kind:
            return
        line_found(self._found, name, kind)
        if kind in _HANDLERS:
            _HANDLERS[kind](self, draft)
        elif self._start.sent:
            self._out.send(draft)
        else:
            self._start.wait(draft)

    def _is_error(self, draft: Draft, name: str) -> bool:
        """Whether an event is an error: the stream ends with it then."""
        kind = type_of(draft.value)
        if kind not in ("", "error") and name != "error":
            return False
        error = self._errors.read(draft.value, name)
        if error is None:
            return False
        as_it_came = error is draft.value
        if as_it_came:
            line_found(self._found, name, "error")
        self._end_with(draft if as_it_came else Draft(error), "error")
        return True

    def _is_foreign(self, value: dict[str, Any], kind: str) -> bool:
        """Whether an event is another API's; a chat's usage chunk is taken for its figures."""
        if kind and self._start.sent:
            return False
        usage = value.get("usage")
        if value.get("choices") == [] and isinstance(usage, dict):
            names = (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens"))
            self._usage.elsewhere({name: usage.get(old) for name, old in names})
            return True
        dialect = dialect_of(value)
        if dialect in (None, MESSAGES):
            return False
        self._found.note(rules.NOT_MESSAGES)
        self._fail("upstream_invalid", other_api(dialect))
        return True

    def _ping(self, draft: Draft) -> None:
        if draft.value != _PING:
            self._found(PING_FORM)
            draft = Draft({"type": "ping"})
        if self._out.gathered is None:
            self._out.send(draft)

    def _message_start(self, draft: Draft) -> None:
        if draft.value.get("type") != "message_start":
            draft.edit()["type"] = "message_start"
        if not self._start.sent:
            self._start.first(draft)
        else:
            spliced = self._start.again(draft, content=self._content.any)
            if spliced:
                what = f"Behind content another answer began: id {spliced}."
                self._fail("upstream_invalid", what)
                return
        self._reason.early = self._start.reason
        self._content.begin()

    def _block_start(self, draft: Draft) -> None:
        self._content.start(draft)

    def _block_stop(self, draft: Draft) -> None:
        self._content.stop(draft)

    def _delta(self, draft: Draft) -> None:
        why = self._content.delta(draft)
        if why:
            self._fail("upstream_invalid", why)

    def _message_delta(self, draft: Draft) -> None:
        self._start.require()
        self._usage.delta(draft)
        delta = self._reason.form(draft)
        held = self._reason.held
        if delta.get("stop_reason") is None and held is None:
            self._progress = draft
            return
        self._content.hold()
        if held is not None:
            self._usage.merge(held, draft.value.get("usage"))
        self._reason.hold(draft, delta)

    def _send_progress(self) -> None:
        """Send the `message_delta` without a stop reason that waits for the next event.

        It waits because it may be the last one. Claude Code adds up the usage of every
        `message_delta`: behind it another one with the same figures would count them twice.
        """
        draft, self._progress = self._progress, None
        if draft is not None:
            self._usage.complete(draft)
            self._out.send(draft)

    # ------------------------------------------------------------------ the ends

    def _finish(self, stop: Draft | None) -> None:
        """Stop the message; ``stop`` is its `message_stop`, if one came."""
        self._reason.use_early()
        if self._reason.failure:
            self._fail("upstream_error", failed(self._reason.failure))
            return
        self._start.require()
        self._content.finish()
        if self._reason.held is None and self._progress is not None:
            self._reason.held, self._progress = self._progress, None
        self._send_reason()
        self._out.send_comments()
        if stop is None:
            self._found.note(rules.STOP_MISSING)
            stop = Draft({"type": "message_stop"})
        self._out.send(stop)
        self._ended("done")

    def _send_reason(self) -> None:
        """Send the `message_delta` that has the stop reason, with all that belongs to it."""
        calls = self._calls
        nameless = calls.without_name()
        draft = self._reason.final(called=calls.called, calls=calls.any, nameless=bool(nameless))
        if self._reason.held is None:
            draft.value["usage"] = self._usage.least()
        self._usage.last(draft)
        if nameless:
            draft.edit()["nameless_tool_use"] = nameless
        self._out.add_riders(draft)
        self._report.finish[0] = self._reason.word
        self._report.usage = {**self._usage.known}
        self._out.send(draft)

    def _end_with(self, draft: Draft, end: End) -> None:
        """End with an error: what had arrived leaves before it, and nothing is added."""
        self._send_progress()
        self._content.fail()
        self._start.send_early()
        self._out.send_comments()
        self._out.add_riders(draft)
        nameless = self._calls.without_name()
        if nameless:
            draft.edit()["nameless_tool_use"] = nameless
        self._end_now(draft, end)

    def _end_now(self, draft: Draft, end: End) -> None:
        self.error = draft.value
        self._report.error = draft.value["error"]
        if self._out.gathered is None:
            self._output.send(draft, "error")
        self._ended(end)

    def _ended(self, end: End) -> None:
        self.end, self.ended = end, True
        self._report.end = end

    def _fail(self, code: str, message: str, end: End = "error") -> None:
        self._behind = None  # what goes on behind an error of ours is no news
        self._end_with(Draft(own(code, message)), end)

    def _empty(self, how: str) -> None:
        self._found.note(rules.EMPTY)
        self._fail("upstream_empty", f"The upstream answered nothing: {how}.", "empty")


_HANDLERS: dict[str, Callable[[MessagesWire, Draft], None]] = {
    "message_start": MessagesWire._message_start,
    "message": MessagesWire._message_start,
    "content_block_start": MessagesWire._block_start,
    "content_block_delta": MessagesWire._delta,
    "content_block_stop": MessagesWire._block_stop,
    "message_delta": MessagesWire._message_delta,
    "message_stop": MessagesWire._finish,
    "ping": MessagesWire._ping,
}
