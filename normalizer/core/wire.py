"""What the core knows of a protocol.

The core reads bytes into events and finds out what kind of body they are; what the events mean is
a wire's. A wire takes one answer's events in their order and sends what leaves to an `Output`. It
decides alone what is held, and when the answer is over. A fourth wire is a folder in
``normalizer/wires`` and a line in the table of ``normalizer/wires/__init__.py``.
"""

from __future__ import annotations

from typing import Any, Protocol

from normalizer.core.draft import Draft
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

    * ``end``: how the answer ended; None while it goes on. After it only `done`, `comment` and
      `close` may come, and a wire sends nothing more than its protocol allows there.
    * ``ended``: nothing more leaves, and the upstream may be closed.
    * ``error``: the error event that ended the answer, if one did.
    * ``holding``: whether something waits that silence lets go (`release`).
    """

    end: End | None
    ended: bool
    error: dict[str, Any] | None

    @property
    def holding(self) -> bool: ...

    def event(self, draft: Draft, name: str) -> None:
        """Take one event; ``name`` is that of its ``event:`` line, "" for none."""

    def comment(self, text: bytes) -> None:
        """Take a comment, or what says nothing but keeps a connection alive."""

    def done(self) -> None:
        """Take ``[DONE]``."""

    def release(self) -> None:
        """The upstream has been silent for ``finish_timeout``: let go of what it lets go."""

    def fail(self, error: dict[str, Any], end: End) -> None:
        """End with an error, ``{"error": {"message", "type", "param", "code"}}``.

        What had arrived leaves before it. The error is the core's own: bytes that are no event.
        """

    def close(self, broken: str | None) -> None:
        """The body has ended: the answer was complete, or was cut.

        ``broken`` says in words how, if it was the connection that ended.
        """

    def body(self, draft: Draft) -> dict[str, Any] | None:
        """Repair a whole JSON answer in place; the error that it is instead, if it is one."""

    def answer(self, value: Any) -> None:
        """Take a whole JSON answer where a stream was asked for: its events leave, to the end."""

    def whole(self) -> Any:
        """The whole JSON answer that the events said, where the `Output` collected them."""
