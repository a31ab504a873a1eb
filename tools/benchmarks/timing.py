"""How a cost is measured: in CPU time, in turn with what it is compared to, as a median.

A machine that other people use has no absolute speed. What is compared runs in turn within one
process, many rounds, so that noise and clock fall out of the ratio of the medians. The base of a
stream is the least that anybody does with it: split its bytes into events and parse each once.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import orjson

from normalizer import Normalizer, Options, RequestInfo

OPTIONS = Options()


class Stream(NamedTuple):
    """What is fed: the pieces of one answer, and the request that it answers."""

    request: RequestInfo
    pieces: list[bytes]


def parse_once(streams: list[Stream]) -> None:
    for stream in streams:
        for piece in stream.pieces:
            for one in piece.split(b"\n\n"):
                parse(one)


def parse(one: bytes) -> None:
    if one.startswith(b"event:"):
        one = one.partition(b"\n")[2]
    if one.startswith(b"data:") and not one.endswith(b"[DONE]"):
        try:
            orjson.loads(one[5:])
        except ValueError:
            return  # some recorded ones are no JSON


def normalize(streams: list[Stream]) -> None:
    for request, pieces in streams:
        normalizer = Normalizer(request, OPTIONS)
        for piece in pieces:
            normalizer.feed(piece)
        normalizer.close()


def cpu(work: Callable[[list[Stream]], None], streams: list[Stream]) -> float:
    began = time.process_time_ns()
    work(streams)
    return (time.process_time_ns() - began) / 1000


def measure(streams: list[Stream], rounds: int) -> tuple[float, float]:
    """Medians, in microseconds, of parsing once and of normalising."""
    base, ours = [], []
    for _ in range(rounds):
        base.append(cpu(parse_once, streams))
        ours.append(cpu(normalize, streams))
    return statistics.median(base), statistics.median(ours)


def medians(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Run each work once a round, in turn; the median of each, in microseconds of CPU."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            began = time.process_time_ns()
            work()
            times[name].append((time.process_time_ns() - began) / 1000)
    return {name: statistics.median(each) for name, each in times.items()}
