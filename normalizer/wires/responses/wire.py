"""The wire of ``POST …/responses``: one answer's events in their order.

    response.created  [response.queued]  [response.in_progress]
      for each item   output_item.added … output_item.done          (item_events.py)
                      with its parts and texts inside                (text_events.py)
    [error]
    response.completed | response.incomplete | response.failed      exactly one, last (ends.py)

Items may overlap in time, and nothing is ever put in another order. An event that is missing is
made up at the moment when the next one needs it, from what is known then.

What is held, and until when:

* events of unknown types before ``response.created``: until that has left. They follow it.
* a call's head without a name, and what belongs to it: until the name comes, or the terminal.
* a ``response.failed`` without a reason: until the next event, which may be the error, or
  until the end, or two seconds of silence.

Text is never held, but for half a surrogate pair. A terminal event ends the answer. What comes
behind it is left out, but for ``[DONE]``, comments and events that are not the API's. A body that
ends without one was cut: it gets an ``error`` and a ``response.failed``, whatever it held.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from normalizer.core.dialects import RESPONSES, dialect_of
from normalizer.core.draft import Draft
from normalizer.core.errors import read_error
from normalizer.core.findings import Deviation, Findings
from normalizer.core.form import Form
from normalizer.core.kept import Kept
from normalizer.core.kinds import COMPLETION_FOR_STREAM, ERROR_BODY_FOR_STREAM
from normalizer.core.lenient import clean
from normalizer.core.options import Options
from normalizer.core.own_error import own
from normalizer.core.report import End, Report
from normalizer.core.request import RequestInfo
from normalizer.core.wire import Output
from normalizer.wires.responses import failure
from normalizer.wires.responses.body import Body, is_response
from normalizer.wires.responses.delta_form import DeltaForms
from normalizer.wires.responses.ends import Ends
from normalizer.wires.responses.item_events import ItemEvents
from normalizer.wires.responses.item_lifecycle import ItemLifecycle
from normalizer.wires.responses.item_texts import ItemTexts
from normalizer.wires.responses.items import Items
from normalizer.wires.responses.names import (
    ADDED,
    CREATED,
    DELTAS,
    DONE,
    DONES,
    ERROR,
    EVENTFUL,
    IN_PROGRESS,
    PART_ADDED,
    PART_DONE,
    SILENT,
    STATUS,
    SUMMARY_ADDED,
    SUMMARY_DONE,
    TERMINAL,
    as_text,
    is_known,
)
from normalizer.wires.responses.outlet import Outlet
from normalizer.wires.responses.part_texts import PartTexts
from normalizer.wires.responses.reading import Reading
from normalizer.wires.responses.response_lifecycle import ResponseLifecycle
from normalizer.wires.responses.streamed import events_of
from normalizer.wires.responses.text_events import TextEvents
from normalizer.wires.responses.unknown import Unknown

AFTER_TERMINAL = Deviation(
    code="R110",
    name="responses-event-after-terminal",
    fault="Events of the response follow its terminal event.",
    repair="They are left out.",
    structural=True,
)

_KEEP_ALIVE = b": keep-alive"
_STATUSES = frozenset(str(status) for status in range(400, 600))


class ResponsesWire:
    """One answer of the Responses API; see `normalizer.core.wire.Wire`."""

    names_events = True
    bare_events: frozenset[str] = frozenset()
    has_templates = True

    __slots__ = (
        "_body",
        "_done",
        "_forms",
        "_found",
        "_gathers",
        "_items",
        "_late",
        "_life",
        "_outlet",
        "_reading",
        "_unknown",
        "ended",
        "junk",
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
        self.ended = False
        self.junk: list[bytes] = []
        self._found = found
        self._done = False  # `[DONE]` has left
        self._gathers = False
        self._late = False  # something came behind the end
        memory = Kept(options.max_response_bytes)
        self._outlet = outlet = Outlet(output, found, kept)
        items = Items(kept)
        parts = PartTexts(outlet, items, found, report, memory)
        texts = TextEvents(outlet, parts, found)
        lifecycle = ItemLifecycle(
            outlet, items, ItemTexts(outlet, parts, found), texts, found, kept, memory
        )
        self._items = events = ItemEvents(outlet, lifecycle, texts, found)
        ends = Ends(lifecycle, found)
        self._life = ResponseLifecycle(request, options, found, report, kept, outlet, ends)
        self._forms = DeltaForms(events, items, parts, self._life, outlet, found)
        self._body = Body(self._life.envelope, found)
        self._reading = Reading(found)
        self._unknown = Unknown(outlet, request, options, found)

    @property
    def end(self) -> End | None:
        """How the answer ended; None while it goes on."""
        return self._life.end

    @property
    def error(self) -> dict[str, Any] | None:
        """The error that ended the answer, if one did."""
        return self._life.error

    @property
    def complete(self) -> bool:
        """Whether the terminal event has come: what can only mean the end is the end."""
        return self._life.end is not None

    @property
    def names(self) -> tuple[str, str]:
        """The response's id and model, as they leave; else empty."""
        return self._life.envelope.id, self._life.envelope.model or ""

    # ------------------------------------------------------------------ the upstream's events

    def event(self, draft: Draft, name: str) -> None:
        """Take one event; ``name`` is that of its ``event:`` line, "" for none."""
        value, life = draft.value, self._life
        kind = value.get("type")
        # of an event in its usual place, nothing that is looked for below can be true
        if name == kind and life.runs:
            if name in DELTAS and self._items.send_next(draft, DELTAS[name]):
                return
            if name in _OF_ITEMS and life.begun:
                self._items.other()
                _OF_ITEMS[name](self._items, draft, name)
                return
            if name in _OF_LIFE and type(value.get("response")) is dict and value["response"]:
                self._items.other()
                _OF_LIFE[name](life, draft, name)
                return
        self._items.other()
        kind = self._reading.type_of(draft, name)
        if self._reading.is_silent(kind, value):
            self._outlet.comment(_KEEP_ALIVE)
        elif life.end is not None:
            self._after(draft, kind)
        elif life.failure.takes(draft, kind, name):
            life.upstream_error(draft)
        elif life.waits:
            life.release()
            self._after(draft, kind)
        else:
            self._event(draft, kind)

    def _event(self, draft: Draft, kind: str) -> None:
        """An event of an answer that goes on."""
        life = self._life
        if kind in _OF_LIFE:
            _OF_LIFE[kind](life, draft, kind)
        elif kind in _OF_ITEMS:
            life.begin({})
            _OF_ITEMS[kind](self._items, draft, kind)
        elif not life.begun and (dialect := _foreign(draft.value)):
            self._found(failure.OTHER_DIALECT)
            life.fail(own("upstream_invalid", failure.in_dialect(dialect)), "error")
        elif kind:
            self._other(draft, kind)
        else:
            self._unknown.untyped(draft)

    def _other(self, draft: Draft, kind: str) -> None:
        """An event of an item's own kind, or of a type that nobody knows."""
        stem = kind.removeprefix("response.").rpartition(".")[0]
        if not self._life.begun and not is_known(kind) and stem not in EVENTFUL:
            self._life.hold(draft, kind)
            return
        self._life.begin({})
        if self._unknown.takes(kind, draft):
            return
        if kind.startswith("response."):
            self._items.own(draft, kind)
        else:
            self._outlet.send(draft, kind)

    def _after(self, draft: Draft, kind: str) -> None:
        """An event behind the terminal one."""
        if not kind or kind.startswith("response.") or kind == ERROR:
            self._found(AFTER_TERMINAL)
        elif not self._unknown.takes(kind, draft):
            self._outlet.send(draft, kind)

    def skips(self, data: bytes, name: str) -> bool:
        """Whether data that is no JSON is left out: it was a head, which is made anew."""
        head = data[:200]
        broken = name in (CREATED, IN_PROGRESS) or any(
            f'"{kind}"'.encode() in head for kind in (CREATED, IN_PROGRESS)
        )
        if broken and self.end is None:
            self._found(failure.CREATED_BROKEN)
            self._life.skipped = True
            return True
        return False

    def comment(self, text: bytes) -> None:
        """Take a comment, or what means nothing but keeps a connection alive."""
        self._outlet.comment(text)

    def done(self) -> None:
        """Take ``[DONE]``."""
        if not self._done:
            self._life.finish()
            self._done = self.ended = True
            self._outlet.done()

    @property
    def holding(self) -> bool:
        """Whether silence lets something go: a failed response, or the connection behind one."""
        return self._life.waits or (self.end == "error" and not self.ended)

    def release(self) -> None:
        """The upstream has been silent: a failed response leaves, and nothing follows it."""
        self._life.release()
        if self.end == "error":
            self.ended = True

    def close(self, broken: str | None) -> None:
        """The body has ended: the answer was complete, or was cut."""
        self._life.close(broken, self.junk)
        self.ended = True

    def behind(self, data: bytes) -> None:
        """Take bytes that came behind the end: nothing more leaves."""
        if data.strip() and not self._late:
            self._late = True
            self._found(AFTER_TERMINAL)

    def fail(self, error: dict[str, Any], end: End) -> None:
        """End with an error of the core's own."""
        self._life.fail(error, end)
        self.ended = True

    def abort(self, error: dict[str, Any]) -> None:
        """End with an error and nothing else."""
        self._life.abort(error)
        self.ended = True

    def form(self) -> Form | None:
        """What may differ in the next event: the text of a delta."""
        return self._forms.form()

    # ------------------------------------------------------------------ whole answers

    def is_event(self, value: Any) -> bool:
        """Whether a JSON value is an event, and no whole answer."""
        kind = as_text(value.get("type")) if isinstance(value, dict) else ""
        return kind.startswith("response.") or kind in SILENT

    def gather(self) -> None:
        """From now on no event is sent: the terminal's response is the answer."""
        self._gathers = True
        self._outlet.mute()

    def whole(self) -> Any:
        """The whole JSON answer: the response of the terminal event; None if events were sent."""
        return self._life.response if self._gathers else None

    def answer(self, value: Any) -> None:
        """Take a whole JSON answer where a stream was asked for: its events leave, to the end."""
        value = _unwrapped(value)
        draft = Draft(value)
        error = self._body.repair(draft)
        if error is not None:
            self._found(ERROR_BODY_FOR_STREAM)
            self.fail(clean(error), "error")
        elif isinstance(value, dict) and is_response(value):
            self._found(COMPLETION_FOR_STREAM)
            for one in events_of(clean(value)):
                self.event(Draft(one), one["type"])
            self.close(None)
        else:
            self._found(ERROR_BODY_FOR_STREAM)
            message = "The upstream's JSON is no response."
            self.fail(own("upstream_invalid", message), "error")

    def body(self, draft: Draft) -> dict[str, Any] | None:
        """Repair a whole JSON answer in place; the error that it is instead, if it is one."""
        error = self._body.repair(draft)
        if error is None and isinstance(draft.value, dict):
            self._life.note(draft.value)
        return error

    def error_in(self, value: Any, name: str = "") -> dict[str, Any] | None:
        """The error that a JSON value is, ``value`` itself if it has the API's form; or None."""
        return read_error(value, name)

    def error_body(self, error: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and the JSON of an error in answer to a request without a stream."""
        code = error["error"].get("code") if isinstance(error.get("error"), dict) else None
        code = int(code) if isinstance(code, str) and code in _STATUSES else code
        return code if type(code) is int and 400 <= code < 600 else 502, error


def _unwrapped(value: Any) -> Any:
    """The response in a whole answer that is an event, or a list of one."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    nested = value.get("response") if isinstance(value, dict) else None
    return nested if isinstance(nested, dict) and is_response(nested) else value


def _foreign(value: dict[str, Any]) -> str | None:
    """The other protocol that an object belongs to."""
    dialect = dialect_of(value)
    return None if dialect == RESPONSES else dialect


_OF_LIFE: dict[str, Callable[[ResponseLifecycle, Draft, str], None]] = {
    CREATED: ResponseLifecycle.created,
    **dict.fromkeys(STATUS.keys() - TERMINAL.keys() - {CREATED}, ResponseLifecycle.progress),
    **dict.fromkeys(TERMINAL, ResponseLifecycle.terminal),
}
_OF_ITEMS: dict[str, Callable[[ItemEvents, Draft, str], None]] = {
    ADDED: ItemEvents.added,
    DONE: ItemEvents.done,
    **dict.fromkeys(DELTAS, ItemEvents.delta),
    **dict.fromkeys(DONES, ItemEvents.text_done),
    **dict.fromkeys((PART_ADDED, PART_DONE, SUMMARY_ADDED, SUMMARY_DONE), ItemEvents.part),
    "response.output_text.annotation.added": ItemEvents.annotation,
}
