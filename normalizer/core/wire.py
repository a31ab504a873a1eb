"""What the core knows of a protocol.

The core reads bytes into events and finds out what kind of body they are; what the events mean is
a wire's. A wire takes one answer's events in their order and sends what leaves to an `Output`. It
decides alone what is held, and when the answer is over. A fourth wire is a folder in
``normalizer/wires`` and a line in the table of ``normalizer/wires/__init__.py``.
"""

from __future__ import annotations

from typing import Any, Protocol

from normalizer.core.draft import Draft
from normalizer.core.form import Form
from normalizer.core.report import End


class Output(Protocol):
    """Where a wire's events go: to bytes, or into one whole answer."""

    def send(self, draft: Draft, name: str = "") -> None:
        """Take one event; ``name`` is that of its ``event:`` line, "" for none."""

    def comment(self, text: bytes) -> None:
        """Take a comment; ``text`` begins with its colon and has no line ending."""

    def done(self) -> None:
        """Take ``[DONE]``."""


class Wire(Protocol):
    """One answer in one protocol: its events in, canonical events out to its `Output`.

    * ``ended``: nothing more leaves, and the upstream may be closed.
    * ``names_events``: whether events have an ``event:`` line.
    * ``bare_events``: the names of events that mean something without any data.
    * ``has_templates``: whether events of one form may leave without coming here (`form`).
    * ``junk``: the first lines that meant nothing, for messages; the core fills it.
    """

    ended: bool
    names_events: bool
    bare_events: frozenset[str]
    has_templates: bool
    junk: list[bytes]

    @property
    def end(self) -> End | None:
        """How the answer ended; None while it goes on."""

    @property
    def error(self) -> dict[str, Any] | None:
        """The error event that ended the answer, if one did."""

    @property
    def holding(self) -> bool:
        """Whether something waits that silence lets go (`release`)."""

    @property
    def complete(self) -> bool:
        """Whether all that has begun has ended: what can only mean the end is the end."""

    @property
    def names(self) -> tuple[str, str]:
        """The answer's id and model, as far as they are known; else empty."""

    # ------------------------------------------------------------------ a stream

    def event(self, draft: Draft, name: str) -> None:
        """Take one event; ``name`` is that of its ``event:`` line, "" for none."""

    def skips(self, data: bytes, name: str) -> bool:
        """Whether data that is no JSON is left out: the answer goes on without that event."""

    def comment(self, text: bytes) -> None:
        """Take a comment, or what means nothing but keeps a connection alive."""

    def done(self) -> None:
        """Take ``[DONE]``."""

    def release(self) -> None:
        """The upstream has been silent for ``finish_timeout``: send what silence lets go."""

    def close(self, broken: str | None) -> None:
        """The body has ended: the answer was complete, or was cut.

        ``broken`` says in words how, if it was the connection that ended. Called once more for an
        answer that has ended already.
        """

    def behind(self, data: bytes) -> None:
        """Take bytes that came behind the end: nothing more leaves."""

    def fail(self, error: dict[str, Any], end: End) -> None:
        """End with an error, ``{"error": {"message", "type", "param", "code"}}``.

        What had arrived leaves before it.
        """

    def abort(self, error: dict[str, Any]) -> None:
        """End with an error and nothing else: it is not known what can still leave."""

    def form(self) -> Form | None:
        """What may differ in the next event of the form of the one taken last.

        None if an event of that form may be treated in another way. ``texts`` and ``members`` are
        about the event that was sent, or about one that was not sent.
        """

    # ------------------------------------------------------------------ a whole answer

    def is_event(self, value: Any) -> bool:
        """Whether a JSON value is an event, and no whole answer: a line of it is one of several."""

    def gather(self) -> None:
        """From now on no event is sent: they become one whole answer."""

    def whole(self) -> Any:
        """The whole JSON answer that the events have become; None if they were sent."""

    def answer(self, value: Any) -> None:
        """Take a whole JSON answer where a stream was asked for: its events leave, to the end."""

    def body(self, draft: Draft) -> dict[str, Any] | None:
        """Repair a whole JSON answer in place; the error that it is instead, if it is one."""

    def error_in(self, value: Any, name: str = "") -> dict[str, Any] | None:
        """The error that a JSON value is, ``value`` itself if it has the API's form; or None.

        ``name`` is that of the ``event:`` line.
        """

    def error_body(self, error: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and the JSON of an error in answer to a request without a stream."""
