"""Whether an event costs the same in a long answer as in a short one, and what the answer keeps.

Each length runs in an interpreter of its own, because the highest memory of a process never falls.
The events are made a thousand at a time, outside the measured time.
"""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from normalizer import Normalizer, RequestInfo
from tools.benchmarks.synthetic import ANSWERS, ASKED, PATHS
from tools.benchmarks.timing import OPTIONS

LENGTHS = (100, 1_000, 10_000, 100_000, 1_000_000)
_AT_ONCE = 1000  # events
_SHORTEST = 20_000  # events, of as many answers as that takes: a clock is coarse


class Cost(NamedTuple):
    """Of one API and length: µs of CPU an event, and KiB above a process that has seen 100."""

    api: str
    events: int
    each: float
    kept: int


def costs(lengths: tuple[int, ...] = LENGTHS) -> Iterator[Cost]:
    """Measure each API at each length."""
    for api in ANSWERS:
        for events in lengths:
            done = subprocess.run(
                [sys.executable, "-m", __name__, api, str(events)],
                env=_environment(),
                stdout=subprocess.PIPE,
                check=True,
            )
            each, kept = json.loads(done.stdout)
            yield Cost(api, events, each, kept)


def _environment() -> dict[str, str]:
    # the interpreter's own path, in its order: a compiled package stays before this tree's
    return {"PYTHONPATH": ":".join(path for path in sys.path if path), "PYTHONSAFEPATH": "1"}


def _answer(api: str, events: int) -> int:
    """Normalize one answer; the nanoseconds of CPU that it took."""
    spent = 0
    normalizer = Normalizer(RequestInfo.parse(PATHS[api], ASKED), OPTIONS)
    made = ANSWERS[api](events)
    while pieces := list(itertools.islice(made, _AT_ONCE)):
        began = time.process_time_ns()
        for piece in pieces:
            normalizer.feed(piece)
        spent += time.process_time_ns() - began
    normalizer.close()
    return spent


def _highest() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux


def _measured(api: str, events: int) -> tuple[float, int]:
    for _ in range(20):
        _answer(api, 100)
    before = _highest()
    answers = max(_SHORTEST // events, 1)
    spent = sum(_answer(api, events) for _ in range(answers))
    return spent / 1000 / events / answers, _highest() - before


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1], int(sys.argv[2]))))
