"""What leaves: each event to the writer, or into one whole message.

Some events cannot leave although they hold members that nobody else has said: a second
`message_start`, the stop of a block that is not open. These members ride on the last
`message_delta`, or on the error that ends the stream.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.kept import CHUNK, COMMENT, Kept
from normalizer.core.report import Report
from normalizer.core.wire import Output
from normalizer.wires.messages.blocks import TEXT, THINKING, TOOL
from normalizer.wires.messages.gathered import Gathered

# comments that wait behind a stop reason; those beyond leave at once
HELD_COMMENTS = 64
COUNTED = {TEXT: "content", THINKING: "reasoning", TOOL: "arguments"}


class Outgoing:
    """Sends the events of one message; ``gathered``: they become one message instead."""

    __slots__ = ("_comments", "_kept", "_output", "_report", "_riders", "gathered")

    def __init__(self, output: Output, report: Report, kept: Kept) -> None:
        self._output = output
        self._report = report
        self._kept = kept
        self._riders: dict[str, Any] = {}
        self._comments: list[bytes] = []
        self.gathered: Gathered | None = None

    def send(self, draft: Draft) -> None:
        """Send an event; its ``event:`` line is its type."""
        if self.gathered is None:
            self._output.send(draft, draft.value["type"])
        else:
            self._report.events_out += 1
            self.gathered.add(draft.value)

    def comment(self, text: bytes, *, waits: bool) -> None:
        """Send a comment, or keep it until `send_comments`."""
        if self.gathered is not None:
            return
        if not waits or len(self._comments) >= HELD_COMMENTS:
            self._output.comment(text)
            return
        self._kept.size += COMMENT + len(text)
        self._comments.append(text)

    def send_comments(self) -> None:
        """Send the comments that waited."""
        for text in self._comments:
            self._output.comment(text)
        self._comments.clear()

    def ride(self, members: dict[str, Any], known: tuple[str, ...] = ()) -> None:
        """Keep members of an event that does not leave, but for those that are ``known``."""
        for name, item in members.items():
            if name not in known and item not in (None, "", [], {}) and name not in self._riders:
                self._kept.keep(CHUNK)
                self._riders[name] = item

    def add_riders(self, draft: Draft) -> None:
        """Give an event the members that ride, where it has none of that name."""
        for name, item in self._riders.items():
            if name not in draft.value:
                draft.edit()[name] = item

    def count(self, group: str, said: str) -> None:
        """Count the characters of a delta."""
        kind = COUNTED[group]
        counted, sent = self._report.characters_in, self._report.characters_out
        counted[kind] = counted.get(kind, 0) + len(said)
        sent[kind] = sent.get(kind, 0) + len(said)
