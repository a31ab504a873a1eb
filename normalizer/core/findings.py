"""Deviations, and the record of those that are found in one stream."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from normalizer.core.report import Repair, Report


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One way in which an upstream departs from the canonical form.

    The stage that repairs a deviation declares it.

    * ``code``: ``F1xx`` framing, ``E2xx`` envelope, ``C3xx`` content and reasoning, ``T4xx`` tool
      calls, ``S5xx`` finish, ``U6xx`` usage, ``X7xx`` errors and ends, ``B8xx`` kind of body,
      ``Mnxx`` the Messages API.
    * ``name``: kebab-case.
    * ``fault``: one sentence: what the upstream sends wrong.
    * ``repair``: one sentence: what the client gets instead.
    * ``option``: the option that turns the repair on, if the repair needs a guess.
    * ``reported``: it is only reported, because nothing behind the upstream can repair it.
    * ``structural``: it is always repaired, because the output cannot be written without it. It can
      only be silenced.

    `normalizer.catalogue.Rule` has the notes: who sends it, who breaks, an example.
    """

    code: str
    name: str
    fault: str
    repair: str
    option: Mapping[str, Any] | None = None
    reported: bool = False
    structural: bool = False


class Findings:
    """Record the deviations of one stream, and decide whether to repair each.

    Detecting and repairing is one act: a stage writes ``if found(DEVIATION):`` and repairs only
    then. So every repair has a code, and ``ignore`` turns off both.
    """

    __slots__ = ("_off", "_repairs", "_silent", "log", "report", "touched")

    def __init__(
        self,
        report: Report,
        off: frozenset[str] = frozenset(),
        silent: frozenset[str] = frozenset(),
    ) -> None:
        self.report = report
        self.touched = False  # since the stream last cleared it: the bytes that came are void
        self.log: list[str] = []  # codes, since the stream last cleared it
        self._off = off
        self._silent = silent
        # All of them; the report's are the same, without those that are not to be told.
        self._repairs = {} if silent else report.repairs

    def __call__(self, deviation: Deviation) -> bool:
        code = deviation.code
        if code in self._off:
            return False
        self.touched = True
        self.log.append(code)
        repair = self._repairs.get(code)
        if repair is None:
            repair = Repair(count=1, first=max(self.report.events_in, 1))
            self._repairs[code] = repair
            if code not in self._silent:
                self.report.repairs[code] = repair
        else:
            repair.count += 1
        return True

    def on(self, deviation: Deviation) -> bool:
        """Return whether the deviation would be repaired, if a stage must know it in advance."""
        return deviation.code not in self._off

    @property
    def any(self) -> bool:
        """Whether anything was found, reported or not."""
        return bool(self._repairs)

    def begin(self, *, touched: bool = False) -> None:
        """Start a new chunk. Nothing in it was changed yet."""
        self.touched = touched
        self.log.clear()

    def again(self, codes: tuple[str, ...], times: int) -> None:
        """Count the same codes in ``times`` more events."""
        for code in codes:
            self._repairs[code].count += times

    def note(self, deviation: Deviation) -> bool:
        """Record a deviation without a change of the current event."""
        touched = self.touched
        on = self(deviation)
        self.touched = touched
        return on
