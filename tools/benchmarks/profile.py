"""Which modules take the time of the recorded streams of each API."""

from __future__ import annotations

import cProfile
import pstats
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import normalizer
from tools.benchmarks import recorded
from tools.benchmarks.timing import Stream, normalize

_PACKAGE = Path(normalizer.__file__ or "").parent
_LEAST = 0.03  # of the time, to be named


def shares() -> Iterator[str]:
    """Yield the lines of a table: of each API, the share of its time that each module takes.

    A profiler makes calls dearer than they are, so that modules with many small functions look
    worse than they are. Functions written in C count for the module that calls them.
    """
    yield "| | events | share of the time |"
    yield "|---|---|---|"
    for api, size, streams in recorded.chosen():
        if size == "all":
            events = sum(len(one.pieces) for one in streams)
            parts = ", ".join(f"{name} {share:.0%}" for name, share in _modules(streams))
            yield f"| {api} | {events:,} | {parts} |"


def _modules(streams: list[Stream]) -> Iterator[tuple[str, float]]:
    normalize(streams)  # what only the first stream costs
    profiler = cProfile.Profile()
    profiler.runcall(normalize, streams)
    times: Counter[str] = Counter()
    for (file, _, _), (_, _, own, _, callers) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        if file == "~":  # written in C
            for (caller, _, _), (_, _, spent, _) in callers.items():
                times[_name(caller)] += spent
        else:
            times[_name(file)] += own
    total = times.total()
    for name, spent in times.most_common():
        if spent >= _LEAST * total:
            yield name, spent / total


def _name(file: str) -> str:
    path = Path(file)
    return path.relative_to(_PACKAGE).as_posix() if path.is_relative_to(_PACKAGE) else "others"
