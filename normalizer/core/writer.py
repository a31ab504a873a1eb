"""Events to bytes."""

from __future__ import annotations

from normalizer.core.draft import Draft
from normalizer.core.report import Report

DONE = b"data: [DONE]\n\n"


class Writer:
    """The `Output` that makes the bytes of an event stream.

    * ``out``: the bytes that are ready; whoever sends them clears it.
    * ``sent``: the JSON of the events since whoever reads it cleared it.

    Example::

        writer = Writer(report)
        writer.send(Draft({"a": 1}))
        assert writer.out == [b'data: {"a":1}\\n\\n']
    """

    __slots__ = ("_report", "out", "sent")

    def __init__(self, report: Report) -> None:
        self._report = report
        self.out: list[bytes] = []
        self.sent: list[bytes] = []

    def send(self, draft: Draft, name: str = "") -> None:
        """Write one event."""
        self._report.events_out += 1
        data = draft.json()
        self.sent.append(data)
        if name:
            self.out.append(b"event: %b\ndata: %b\n\n" % (name.encode(), data))
        else:
            self.out.append(b"data: %b\n\n" % data)

    def comment(self, text: bytes) -> None:
        """Write a comment; ``text`` begins with its colon."""
        self.out.append(text + b"\n\n")

    def done(self) -> None:
        """Write ``[DONE]``."""
        self.out.append(DONE)
