"""The pure package beside the compiled one: two interpreters, in turn, over the same streams."""

# ruff: noqa: RUF001 - the page has signs of multiplication

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from normalizer import RequestInfo
from tools.benchmarks import recorded
from tools.benchmarks.synthetic import ANSWERS, ASKED, PATHS
from tools.benchmarks.timing import Stream, measure

ROOT = Path(__file__).parents[2]
_TURNS = 3  # of each interpreter
_LONG = 2000  # words of a synthetic answer


def ratios(rounds: int) -> Iterator[tuple[str, float]]:
    """Yield what is measured, and how many times the base it costs."""
    for api, make in ANSWERS.items():
        stream = Stream(RequestInfo.parse(PATHS[api], ASKED), list(make(_LONG)))
        base, ours = measure([stream], rounds)
        yield f"synthetic {api}", ours / base
    for api, size, streams in recorded.chosen():
        base, ours = measure(streams, max(rounds // 5, 1))
        yield f"recorded {api}, {size}", ours / base


def table(compiled: str, rounds: int) -> Iterator[str]:
    """Yield the lines of a table; ``compiled`` is the interpreter that has the compiled package."""
    pythons = {"pure": sys.executable, "compiled": compiled}
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(_TURNS):
        for name, python in pythons.items():
            for what, ratio in _measured(python, rounds, pure=name == "pure"):
                found.setdefault(what, {}).setdefault(name, []).append(ratio)
    yield "| × (split + `orjson.loads`) | pure | compiled | times as fast |"
    yield "|---|---|---|---|"
    for what, each in found.items():
        pure, fast = (statistics.median(each[name]) for name in pythons)
        yield f"| {what} | {pure:.2f} | {fast:.2f} | {pure / fast:.1f} |"


def _measured(python: str, rounds: int, *, pure: bool) -> list[tuple[str, float]]:
    script = (
        "import json, sys; sys.path.append(sys.argv[1]);"
        "from normalizer.core import template; from tools.benchmarks import compared;"
        "print(json.dumps([template.__file__, list(compared.ratios(int(sys.argv[2])))]))"
    )
    done = subprocess.run(
        [python, "-c", script, str(ROOT), str(rounds)],
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    file, found = json.loads(done.stdout)
    if file.endswith(".py") is not pure:
        raise SystemExit(f"{python} has the package at {file}: tools/test --compiled makes it")
    return [(what, ratio) for what, ratio in found]
