"""A deviation, as the stage declares it that repairs it, and the record of those that are found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from normalizer.core.report import Repair, Report


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One way in which an upstream leaves the canonical form, declared where it is repaired.

    * ``code``: ``F1xx`` framing, ``E2xx`` envelope, ``C3xx`` content and reasoning, ``T4xx`` tool
      calls, ``S5xx`` finish, ``U6xx`` usage, ``X7xx`` errors and ends, ``B8xx`` kind of body.
    * ``name``: kebab-case.
    * ``fault``: one sentence: what the upstream sends wrong.
    * ``repair``: one sentence: what the client gets instead.
    * ``option``: the option that switches the repair on, for those that need a guess.
    * ``reported``: it cannot be repaired downstream, only be reported.
    * ``structural``: what leaves cannot be written without repairing it, so that it cannot be
      ignored, only be silenced.

    Who sends it, who breaks and an example of it are a `normalizer.catalogue.Rule`.
    """

    code: str
    name: str
    fault: str
    repair: str
    option: Mapping[str, Any] | None = None
    reported: bool = False
    structural: bool = False


class Findings:
    """Notes what is found in one stream, and says whether it is to be repaired.

    Detecting and repairing are one act: a stage asks ``if found(DEVIATION):`` and repairs only
    then, so that nothing is repaired without a code, and ``ignore`` switches off both.
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
        """Whether it would be repaired, where that has to be known before it is found."""
        return deviation.code not in self._off

    @property
    def any(self) -> bool:
        """Whether anything was found, told or not."""
        return bool(self._repairs)

    def begin(self, *, touched: bool = False) -> None:
        """A new chunk: nothing of it is touched yet."""
        self.touched = touched
        self.log.clear()

    def again(self, codes: tuple[str, ...], times: int) -> None:
        """The same codes, found in as many more events."""
        for code in codes:
            self._repairs[code].count += times

    def note(self, deviation: Deviation) -> bool:
        """As calling it, for what changes no byte of the event at hand."""
        touched = self.touched
        on = self(deviation)
        self.touched = touched
        return on
