"""What leaves: each event gets its number here, and takes along what waits to ride.

``sequence_number`` is a cursor: a client that lost its connection asks for what comes after it. So
the upstream's number stays wherever it is greater than the last one that left, gaps and all. Only
another one becomes the last + 1. A number that is too small because of events that we added is no
fault of the upstream's, and is not reported.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.core.form import Rising
from normalizer.core.kept import Kept
from normalizer.core.wire import Output

SEQUENCE = Deviation(
    code="R104",
    name="responses-sequence-number",
    fault="`sequence_number` is missing, is no integer or does not rise.",
    repair="The event gets the number after the last one that left.",
)


class Nowhere:
    """The `Output` of events that become one whole answer: that is the terminal's response."""

    def send(self, draft: Draft, name: str = "") -> None:
        """Drop an event: the terminal's response holds its content."""

    def comment(self, text: bytes) -> None:
        """Drop a comment: JSON has none."""

    def done(self) -> None:
        """Drop `[DONE]`."""


class Outlet:
    """Sends events to the `Output`, numbered.

    * ``numbers``: of the upstream's last event, and of the last one that left; -1 before the first.
    """

    __slots__ = ("_found", "_kept", "_output", "_riders", "_rode", "_size", "numbers")

    def __init__(self, output: Output, found: Findings, kept: Kept) -> None:
        self.numbers = Rising()
        self._riders: dict[str, list[Any]] = {}  # members that the next event takes along
        self._size = 0  # of them
        self._kept = kept
        self._rode = -1  # the number of the last event that took riders along
        self._output: Output = output
        self._found = found

    def mute(self) -> None:
        """From now on nothing is sent: the events become one whole answer."""
        self._output = Nowhere()

    def send(self, draft: Draft, kind: str, *, moved: bool = False) -> None:
        """Send an event of the upstream's; ``kind`` is its type, ``moved``: it had to wait."""
        number = draft.value.get("sequence_number")
        numbers = self.numbers
        if type(number) is int and number > numbers.left:
            numbers.left = numbers.came = number
        elif type(number) is int and number > numbers.came:
            numbers.came = number
            numbers.left += 1
            draft.edit()["sequence_number"] = numbers.left
        else:
            numbers.came += not moved
            numbers.left += 1
            if moved or self._found(SEQUENCE):
                draft.edit()["sequence_number"] = numbers.left
        if self._riders:
            self._ride(draft)
        self._output.send(draft, kind)

    def make(self, kind: str, members: dict[str, Any]) -> None:
        """Send an event that we made."""
        self.numbers.left += 1
        draft = Draft({"type": kind, "sequence_number": self.numbers.left, **members})
        if self._riders:
            self._ride(draft)
        self._output.send(draft, kind)

    def comment(self, text: bytes) -> None:
        """Send a comment."""
        self._output.comment(text)

    def done(self) -> None:
        """Send `[DONE]`."""
        self._output.done()

    def ride(self, key: str, value: Any, size: int) -> None:
        """Let the next event take a member along; ``size`` is the bytes that it came in."""
        self._riders.setdefault(key, []).append(value)
        self._size += size
        self._kept.size += size

    @property
    def steady(self) -> bool:
        """Whether nothing rode on the last event, and nothing will on the next."""
        return self._rode < self.numbers.left and not self._riders

    def _ride(self, draft: Draft) -> None:
        self._rode = self.numbers.left
        value = draft.edit()
        for key in [key for key in self._riders if key not in value]:
            riders = self._riders.pop(key)
            value[key] = riders[0] if len(riders) == 1 else riders
        if not self._riders:
            self._kept.size -= self._size
            self._size = 0
