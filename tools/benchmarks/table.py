"""The table of docs/performance.md: what is measured, what is to reach, what it is here."""

# ruff: noqa: RUF001 - the page has signs of multiplication

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from normalizer import Normalizer, RequestInfo
from normalizer.core import template
from tools.benchmarks import growth, programs, recorded
from tools.benchmarks.synthetic import (
    ANSWERS,
    ASKED,
    ENVELOPE,
    PATHS,
    SHAPES,
    WORDS,
    event,
)
from tools.benchmarks.timing import OPTIONS, Stream, measure, medians

ROOT = Path(__file__).parents[2]
_SET_UPS = 100  # in one measurement
_WORDS = 400


class Row(NamedTuple):
    what: str
    goal: str
    measured: str


def machine() -> str:
    """The interpreter, the cores, and whether the core is compiled."""
    compiled = "" if str(template.__file__).endswith(".py") else ", compiled with mypyc"
    return (
        f"{platform.python_implementation()} {platform.python_version()}{compiled}, "
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    )


def commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def recorded_rows(rounds: int) -> Iterator[Row]:
    goals = {("chat", ">= 60 events"): "≤ 2.0 ×", ("chat", "<= 10 events"): "–"}
    for api, size, streams in recorded.chosen():
        base, ours = measure(streams, max(rounds // 3, 3))
        goal = goals.get((api, size)) or ("≤ 2.5 ×" if size == "all" else "–")
        events = sum(len(one.pieces) for one in streams)
        what = f"recorded {api}, {size} ({len(streams)} streams, {events:,} events)"
        yield Row(what, goal, f"{ours / base:.2f} × ({ours / events:.1f} µs an event)")


def set_up_rows(rounds: int) -> Iterator[Row]:
    """An answer without a middle: its request, its object, its first event and its last."""
    for api, path in PATHS.items():
        made = list(ANSWERS[api](1))
        first, last = made[0], b"".join(_ends(api, made))

        def answers(path: str = path, first: bytes = first, last: bytes = last) -> None:
            for _ in range(_SET_UPS):
                normalizer = Normalizer(RequestInfo.parse(path, ASKED), OPTIONS)
                normalizer.feed(first)
                normalizer.feed(last)
                normalizer.close()

        cost = medians({"": answers}, rounds)[""] / _SET_UPS
        yield Row(
            f"set-up of one {api} stream: request, first and last event",
            "≤ 60 µs",
            f"{cost:.0f} µs",
        )


def _ends(api: str, made: list[bytes]) -> list[bytes]:
    if api == "chat":
        return made[-2:]
    # of a message and a response without content, what ends them stands alone
    return [one for one in made if b'"message_delta"' in one or b'"message_stop"' in one] or [
        event({"type": "response.completed", "response": _EMPTY, "sequence_number": 1}, _COMPLETED)
    ]


_COMPLETED = "response.completed"
_EMPTY = {"id": "resp_1", "object": "response", "created_at": 1731000000, "model": "m"}
_EMPTY |= {"status": "completed", "output": [], "error": None, "usage": None}


def synthetic_rows(rounds: int) -> Iterator[Row]:
    goals = {"clean": "≤ 1.3 ×", "role in every chunk": "≤ 1.5 ×", "tool fragments": "≤ 1.5 ×"}
    words = [WORDS[number % len(WORDS)] for number in range(_WORDS)]
    request = RequestInfo.parse(PATHS["chat"], {"model": ENVELOPE["model"], "stream": True})
    for name, shape in SHAPES.items():
        events = [event(one) for one in shape(words)] + [b"data: [DONE]\n\n"]
        base, ours = measure([Stream(request, events)], rounds)
        yield Row(f"synthetic chat, {name}", goals.get(name, "–"), f"{ours / base:.2f} ×")


def door_rows(rounds: int) -> Iterator[Row]:
    from tools import bench_doors  # which needs httpx2

    for row in bench_doors.rows(rounds=rounds)[0]:
        measured = f"core + {row.beside_core:.2f} µs (adds {row.added:.2f}, core {row.core:.2f})"
        yield Row(f"{row.door} adds to an event", "core + 1.2 µs", measured)


def import_rows(rounds: int) -> Iterator[Row]:
    goals = {"import normalizer": "≤ 0.08 s"}
    times = programs.imports(rounds)
    for name, seconds in times.items():
        yield Row(f"`{name}`", goals.get(name, "–"), f"{seconds:.3f} s")


def bulk_rows(megabytes: int) -> Iterator[Row]:
    goals = {"check": "≥ 60 MB/s, flat", "normalize": "≥ 120 MB/s, flat"}
    for one in programs.bulk(megabytes, 3):
        measured = f"{one.speed:.0f} MB/s, {one.kept / 1024:.0f} MB more than for 10 events"
        yield Row(f"`{one.command}` of {megabytes} MB", goals[one.command], measured)


def recording_rows() -> Iterator[Row]:
    from tools.benchmarks import recording  # which needs httpx2

    first, last = recording.recording()
    yield Row(
        f"recording adds to an event: answers 1 to 8 of a cassette, and {recording.ANSWERS - 7} to "
        f"{recording.ANSWERS}",
        "≤ 20 µs, flat",
        f"{first:.0f} and {last:.0f} µs",
    )


def growth_table(lengths: tuple[int, ...]) -> Iterator[str]:
    """The lines of the second table: an API in each row, a length in each column."""
    yield "| µs of CPU an event; memory kept |" + "".join(f" {one:,} |" for one in lengths)
    yield "|---|" + "---|" * len(lengths)
    rows: dict[str, list[str]] = {}
    for cost in growth.costs(lengths):
        rows.setdefault(cost.api, []).append(f" {cost.each:.2f}; {cost.kept / 1024:.1f} MB |")
    for api, cells in rows.items():
        yield f"| {api} |" + "".join(cells)


def table(rounds: int, megabytes: int, lengths: tuple[int, ...]) -> Iterator[str]:
    """Measure everything; yield docs/performance.md's lines as they are known."""
    yield f"{machine()}; commit {commit()}; medians of {rounds} interleaved rounds."
    yield ""
    yield "| what (CPU) | to reach | measured |"
    yield "|---|---|---|"
    parts: tuple[Callable[[], Iterator[Row]], ...] = (
        lambda: recorded_rows(rounds),
        lambda: set_up_rows(rounds),
        lambda: synthetic_rows(rounds),
        lambda: door_rows(rounds),
        lambda: bulk_rows(megabytes),
        recording_rows,
        lambda: import_rows(rounds),
    )
    for part in parts:
        for row in part():
            yield f"| {row.what} | {row.goal} | {row.measured} |"
    yield ""
    yield from growth_table(lengths)
