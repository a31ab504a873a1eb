"""What leaves of a deviation's example in the catalogue. Tests of tools/add-deviation use it."""

from __future__ import annotations

from typing import Any

from normalizer.catalogue import rule
from tools.add_deviation import lines_of
from tools.deviations import run


def left(code: str) -> list[Any]:
    """Return the lines that leave: JSON data as its value, other lines as text."""
    ran = run(rule(code))
    assert set(ran.report.codes) == {code, *rule(code).also}
    return list(lines_of(ran.out))
