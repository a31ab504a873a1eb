"""The life of a response: its first event, its terminal one, and what ends it instead.

    response.created  [response.queued]  [response.in_progress]
    …                                                             items
    [error]
    response.completed | response.incomplete | response.failed    exactly one, last

``response.created`` is made up when something needs it. Events of unknown types that come before it
wait for it. An error has failed the response: the ``response.failed`` that must follow it is the
upstream's, or is made up at the end. A failed response without a reason waits for an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.errors import INVALID
from normalizer.core.findings import Deviation, Findings
from normalizer.core.kept import CHUNK, Kept
from normalizer.core.options import Options
from normalizer.core.own_error import own
from normalizer.core.report import End, Report
from normalizer.core.request import RequestInfo
from normalizer.wires.responses import failure
from normalizer.wires.responses.ends import Ends
from normalizer.wires.responses.envelope import Envelope
from normalizer.wires.responses.names import (
    COMPLETED,
    CREATED,
    ERROR,
    FAILED,
    IN_PROGRESS,
    INCOMPLETE,
    STATUS,
    TERMINAL,
    as_text,
)
from normalizer.wires.responses.outlet import Outlet
from normalizer.wires.responses.reading import Reading
from normalizer.wires.responses.text_events import TWICE
from normalizer.wires.responses.unknown import Unknown

CREATED_MISSING = Deviation(
    code="R201",
    name="responses-created-missing",
    fault="The first event is not `response.created`.",
    repair="`response.created` is made up before it, of what that event holds.",
    structural=True,
)
BEFORE_CREATED = Deviation(
    code="R107",
    name="responses-event-before-created",
    fault="An event of an unknown type comes before `response.created`.",
    repair="It follows it.",
    structural=True,
)
TERMINAL_MISSING = Deviation(
    code="R505",
    name="responses-done-without-terminal",
    fault="`[DONE]` comes, and no terminal event before it.",
    repair="Open items are closed, and `response.completed` is made up.",
    structural=True,
)
STATUS_DIFFERS = Deviation(
    code="R506",
    name="responses-completed-with-incomplete",
    fault="`response.completed` holds a response with the status `incomplete`.",
    repair='The event stays, as clients fail on the other one, unless `terminal="strict"`.',
    reported=True,
)


class ResponseLifecycle:
    """Begins and ends the response.

    * ``begun``: `response.created` has left.
    * ``end``: how the answer ended, None while it goes on; ``error``: the error that ended it.
    * ``skipped``: the upstream's `response.created` was broken, and was left out.
    * ``waits``: a failed response waits for its error.
    * ``response``: the terminal event's.
    """

    __slots__ = (
        "_ends",
        "_failed",
        "_found",
        "_held",
        "_kept",
        "_made_up",
        "_options",
        "_outlet",
        "_reading",
        "_report",
        "_unknown",
        "begun",
        "end",
        "envelope",
        "error",
        "failure",
        "response",
        "skipped",
    )

    def __init__(
        self,
        request: RequestInfo,
        options: Options,
        found: Findings,
        report: Report,
        kept: Kept,
        outlet: Outlet,
        ends: Ends,
    ) -> None:
        self.begun = False
        self._made_up = False  # `response.created` was ours
        self.skipped = False
        self.end: End | None = None
        self.error: dict[str, Any] | None = None
        self.response: dict[str, Any] | None = None
        self.envelope = Envelope(request, found)
        self.failure = failure.Failure(found)
        self._options = options
        self._found = found
        self._report = report
        self._kept = kept
        self._outlet = outlet
        self._ends = ends
        self._reading = Reading(found)
        self._unknown = Unknown(outlet, request, options, found)
        self._held: list[tuple[Draft, str]] = []  # unknown events, until `created` has left
        self._failed: Draft | None = None  # a failed response without a reason

    @property
    def runs(self) -> bool:
        """Whether nothing has come that could be its end."""
        return self.end is None and self._failed is None

    @property
    def waits(self) -> bool:
        """Whether a failed response waits for its error."""
        return self._failed is not None

    def hold(self, draft: Draft, kind: str) -> None:
        """Keep an event of an unknown type until `response.created` has left."""
        self._found(BEFORE_CREATED)
        self._held.append((draft, kind))
        self._kept.size += _size(draft)

    def created(self, draft: Draft, kind: str) -> None:
        response = self._reading.response(draft)
        if self.begun:
            self._found(TWICE)
            if self._made_up:  # what it holds was not sent yet
                self._made_up = False
                draft.edit()["type"] = IN_PROGRESS
                self.progress(draft, IN_PROGRESS)
            return
        self.begun = True
        self.envelope.fit(draft, response, STATUS[kind])
        self._outlet.send(draft, kind)
        self._follow()

    def progress(self, draft: Draft, kind: str) -> None:
        response = self._reading.response(draft)
        self.begin(response)
        self.envelope.fit(draft, response, STATUS[kind])
        self._outlet.send(draft, kind)

    def terminal(self, draft: Draft, kind: str) -> None:
        response = self._reading.response(draft)
        self.begin(response)
        if kind == COMPLETED and response.get("status") == "incomplete":
            if self._found.on(STATUS_DIFFERS):
                self._found.note(STATUS_DIFFERS)
                if self._options.terminal == "strict":
                    kind = draft.edit()["type"] = INCOMPLETE
        status = TERMINAL[kind]
        self._ends.gather(draft, response, status)
        self.envelope.fit(draft, response, status)
        self._ends.nameless(response, draft)
        if kind == FAILED and not self.failure.fill(draft, response):
            self._failed = draft
            self.response = response
            return
        self._terminate(draft, kind, response)

    def _terminate(self, draft: Draft, kind: str, response: dict[str, Any]) -> None:
        """Send the terminal event."""
        self.response = response
        self._outlet.send(draft, kind)
        self.note(response)
        if kind == FAILED:
            self._over("error", {"error": failure.of_body(response.get("error"))})
        else:
            self._over("done")

    def begin(self, response: dict[str, Any], *, own: bool = False) -> None:
        """Make up the `response.created` that something needs; ``own``: an error of ours."""
        if self.begun:
            return
        self.begun = self._made_up = True
        made = self.envelope.created(response)
        if not own and not self.skipped:
            self._found(CREATED_MISSING)
        self._outlet.make(CREATED, {"response": made})
        self._follow()

    def _follow(self) -> None:
        """Send what waited for `response.created`."""
        held, self._held = self._held, []
        for draft, kind in held:
            self._kept.size -= _size(draft)
            if not self._unknown.takes(kind, draft):
                self._outlet.send(draft, kind, moved=True)

    def upstream_error(self, draft: Draft) -> None:
        """Send an error of the upstream's: the answer has failed."""
        self.begin({})
        self.failure.error = failure.of_event(draft.value)
        self._outlet.send(draft, ERROR)
        self.release()

    def release(self) -> None:
        """Send a failed response that waited for its error."""
        draft, self._failed = self._failed, None
        if draft is not None and self.response is not None:
            error = self.failure.error or {"error": None}
            self.failure.put(draft, self.response, error["error"])
            self._terminate(draft, FAILED, self.response)

    def fail(self, error: dict[str, Any], end: End) -> None:
        """End with an error of the core's own; see `Wire.fail`."""
        self.release()
        if self.end is None:
            self.begin({}, own=True)
            self._outlet.make(ERROR, failure.event(error))
            self._make_failed(error, end)

    def close(self, broken: str | None, junk: Sequence[bytes] = ()) -> None:
        """The body has ended: the answer was complete, or was cut; ``junk``: lines of no event."""
        self.release()
        if self.end is None:
            self._cut(broken, junk)

    def _cut(self, broken: str | None, junk: Sequence[bytes] = ()) -> None:
        """The body has ended without a terminal event."""
        how = f" ({broken})" if broken else ""
        if self.failure.error is not None:
            if self._found(failure.NOT_FAILED):
                self._make_failed(self.failure.error, "error")
            self._over("error", self.failure.error)
        elif self.begun or self._held:
            self._found(failure.TRUNCATED)
            message = f"The upstream's stream ended {broken or 'before `response.completed`'}."
            self.fail(own("upstream_truncated", message), "truncated")
        elif junk:
            self._found(INVALID)
            words = b" ".join(junk)[:500].decode("utf-8", "replace")
            self.fail(
                own("upstream_invalid", f"The upstream's answer is no events: {words}"), "error"
            )
        else:
            self._found(failure.EMPTY)
            message = f"The upstream's answer is empty{how}."
            self.fail(own("upstream_empty", message), "empty")

    def finish(self) -> None:
        """`[DONE]` has come: it ends the answer, with or without a terminal event."""
        self.release()
        if self.end is not None:
            return
        if self.failure.error is not None:
            self._cut(None)
        elif not self._ends.streamed:
            self._found(failure.EMPTY)
            message = "The upstream's answer ends without any output."
            self.fail(own("upstream_empty", message), "empty")
        else:
            self._found(TERMINAL_MISSING)
            output = self._ends.close("completed")
            response = self.envelope.ending("completed", {"output": output})
            self._ends.nameless(response, Draft(response))
            self.response = response
            self._outlet.make(COMPLETED, {"response": response})
            self.note(response)
            self._over("done")

    def _make_failed(self, error: dict[str, Any], end: End) -> None:
        """Make up the `response.failed` that an error asks for."""
        members = {
            "error": failure.of_response(error["error"]),
            "output": self._ends.close("failed"),
        }
        response = self.envelope.ending("failed", members)
        self._ends.nameless(response, Draft(response))
        self.response = response
        self._outlet.make(FAILED, {"response": response})
        self.note(response)
        self._over(end, {"error": error["error"]})

    def abort(self, error: dict[str, Any]) -> None:
        """End with an error event and nothing else."""
        if self.end is None:
            self._outlet.make(ERROR, failure.event(error))
        self._over("error", error)

    def _over(self, end: End, error: dict[str, Any] | None = None) -> None:
        self.end, self.error = end, error
        self._report.end = end
        self._report.error = error["error"] if error is not None else None

    def note(self, response: dict[str, Any]) -> None:
        """Put into the report how the answer ended."""
        report = self._report
        report.finish[0] = as_text(response.get("status"))
        usage = response.get("usage")
        report.usage = usage if isinstance(usage, dict) else None


def _size(draft: Draft) -> int:
    return CHUNK + len(draft.raw or b"")
