"""The command line of `tools/bench`."""

from __future__ import annotations

import argparse
from functools import partial

from normalizer import RequestInfo
from tools.benchmarks import compared, profile, recorded
from tools.benchmarks.growth import LENGTHS
from tools.benchmarks.synthetic import ASKED, PATHS, SHAPES, WORDS, event
from tools.benchmarks.table import machine, table
from tools.benchmarks.timing import Stream, measure, medians, normalize

_ANSWERS = 100  # in one measurement of the set-up


def main(description: str | None) -> None:
    """Print what was measured, fast or, with ``--table``, as the tables of docs/performance.md."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--events", type=int, default=400, help="of a synthetic stream")
    parser.add_argument("--table", action="store_true", help="everything, in Markdown")
    parser.add_argument("--megabytes", type=int, default=100, help="of the file for `check`")
    parser.add_argument("--longest", type=int, default=LENGTHS[-1], help="events of an answer")
    parser.add_argument("--profile", action="store_true", help="where the time goes, in Markdown")
    parser.add_argument("--compiled", metavar="PYTHON", help="compare with the package of PYTHON")
    given = parser.parse_args()
    if given.compiled:
        for line in compared.table(given.compiled, given.rounds):
            print(line)
        return
    if given.profile:
        for line in profile.shares():
            print(line)
        return
    if given.table:
        lengths = tuple(length for length in LENGTHS if length <= given.longest)
        for line in table(given.rounds, given.megabytes, lengths):
            print(line, flush=True)
        return
    print(machine())
    synthetic(given.events, given.rounds)
    from_recordings(max(given.rounds // 5, 3))
    print("\nset-up; µs of CPU per answer without any event")
    for api, path in PATHS.items():
        empty = [Stream(RequestInfo.parse(path, ASKED), [])] * _ANSWERS
        cost = medians({api: partial(normalize, empty)}, given.rounds)[api]
        print(f"{api:22}{cost / _ANSWERS:8.2f}")


def synthetic(count: int, rounds: int) -> None:
    words = [WORDS[number % len(WORDS)] for number in range(count)]
    request = RequestInfo.parse(PATHS["chat"], {"model": "gpt-4o", "stream": True})
    print(f"{count} events, medians of {rounds} rounds; µs of CPU per event\n")
    print(f"{'':22}{'event by event':>26}{'in one piece':>26}")
    print(f"{'':22}{'parse':>8}{'ours':>8}{'ratio':>10}{'parse':>8}{'ours':>8}{'ratio':>10}")
    for name, shape in SHAPES.items():
        events = [event(one) for one in shape(words)] + [b"data: [DONE]\n\n"]
        row = f"{name:22}"
        for pieces in (events, [b"".join(events)]):
            row += _cells([Stream(request, pieces)], len(events), rounds)
        print(row)


def from_recordings(rounds: int) -> None:
    print("\nrecorded")
    for api, size, streams in recorded.chosen():
        count = sum(len(one.pieces) for one in streams)
        row = _cells(streams, count, rounds)
        print(f"{f'{api}, {size}':22}{row}  {len(streams)} streams, {count} events")


def _cells(streams: list[Stream], events: int, rounds: int) -> str:
    base, ours = measure(streams, rounds)
    return f"{base / events:8.2f}{ours / events:8.2f}{ours / base:9.2f}x"
