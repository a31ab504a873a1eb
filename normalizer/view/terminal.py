"""The trace in a terminal: what came on the left, what left on the right, like a diff."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from rich.cells import cell_len, set_cell_size

from normalizer.core.findings import Deviation
from normalizer.trace import Record
from normalizer.view.lines import line_of

_NARROWEST = 40  # columns of the terminal
_GUTTER = " │ "


class SideBySide:
    """Writes the records of a `Trace` as lines of two columns, each as soon as it is complete.

    What is yellow was changed, green is new, blue waits or has waited. Below an event are the codes
    of what was found in it. The last line names the events of which nothing left.

    * ``write`` takes each line, with its colours. ``width``: columns of the terminal.
    * ``names``: the deviations by their codes.

    Example::

        trace = Trace(SideBySide(click.echo, width=100, names=CODES))
    """

    def __init__(
        self, write: Callable[[str], object], *, width: int, names: dict[str, Deviation]
    ) -> None:
        self._write = write
        self._half = (max(width, _NARROWEST) - len(_GUTTER)) // 2
        self._names = names
        self._came: Record | None = None
        self._left: list[Record] = []
        self._waits: dict[int, None] = {}  # numbers of events of which nothing has left

    def __call__(self, record: Record) -> None:
        """Take a record."""
        if record["type"] == "left":
            self._left.append(record)
            return
        self._show()
        if record["type"] == "came":
            self._came = record
        elif record["type"] == "end":
            self._end(record["report"])

    def _end(self, report: dict[str, Any]) -> None:
        codes = len(report["repairs"])
        found = f"{codes} kind{'' if codes == 1 else 's'} of fault"
        gone = ", ".join(f"#{number}" for number in self._waits)
        self._write("")
        self._write(f"ended {report['end']}; {found}; not sent: {gone or 'nothing'}")

    def _show(self) -> None:
        came, self._came = self._came, None
        left = list(self._left)
        self._left.clear()
        if came is not None and _colour(came, left) == "blue":
            self._waits[came["n"]] = None
        for one in left:
            for source in one["from"]:
                self._waits.pop(source, None)
        for number in range(max(len(left), came is not None)):
            behind = left[number] if number < len(left) else None
            self._row(came if number == 0 else None, behind, left)
        if came is not None:
            for code in dict.fromkeys(found["code"] for found in came["found"]):
                self._write(click.style(f"     {code} {self._names[code].name}", fg="yellow"))

    def _row(self, came: Record | None, left: Record | None, all_left: list[Record]) -> None:
        first = self._cell(came, _colour(came, all_left)) if came else " " * self._half
        second = ""
        if left is not None:
            held = [number for number in left["from"] if number < left["after"]]
            after = f"  (#{', #'.join(map(str, held))})" if held else ""
            colour = None
            if left["kind"] == "data":
                colour = "green" if not left["from"] else "blue" if held else None
                changed = came is not None and left["data"] != came["data"]
                colour = colour or ("yellow" if changed else None)
            second = self._cell(left, colour, after).rstrip()
        self._write(f"{first}{click.style(_GUTTER, dim=True)}{second}".rstrip())

    def _cell(self, record: Record, colour: str | None, after: str = "") -> str:
        line = line_of(record["kind"], record["event"], record["data"]).replace("\n", " ")
        text = f"{'#' + str(record['n']):<5}{line}"
        room = self._half - cell_len(after)
        if cell_len(text) > room:
            text = set_cell_size(text, room - 1) + "…"
        text += after
        return click.style(text + " " * (self._half - cell_len(text)), fg=colour)


def _colour(came: Record, left: list[Record]) -> str | None:
    """The colour of an event that came, by what left behind it."""
    if came["kind"] not in ("data", "body"):
        return None
    mine = [one for one in left if came["n"] in one["from"]]
    if not mine:
        return (
            "yellow" if any(one["kind"] == "data" and not one["from"] for one in left) else "blue"
        )
    return None if [one["data"] for one in mine] == [came["data"]] else "yellow"
