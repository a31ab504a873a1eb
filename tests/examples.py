"""What leaves of an example in the catalogue, for the tests that tools/add-deviation writes."""

from __future__ import annotations

import json
from typing import Any

from normalizer.catalogue import rule
from tools.add_deviation import lines_of
from tools.deviations import run


def assert_leaves(code: str, lines: list[Any]) -> None:
    """Compare what leaves, line by line: JSON data as its value, other lines as text."""
    one = rule(code)
    ran = run(one)
    # as JSON, because for Python 1, 1.0 and True are equal
    left, right = ([json.dumps(each) for each in each_of] for each_of in (lines_of(ran.out), lines))
    assert left == right
    assert set(ran.report.codes) == {code, *one.also}
