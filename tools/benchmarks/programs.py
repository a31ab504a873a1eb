"""Whole programs: what an import costs, and the speed of `check` and `normalize`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tools.benchmarks.synthetic import chat, chunk, event

IMPORTS = {
    "python -c pass": ("-c", "pass"),
    "import normalizer": ("-c", "import normalizer"),
    "from normalizer import Normalizer": ("-c", "from normalizer import Normalizer"),
    "both doors": ("-c", "from normalizer import NormalizingMiddleware, NormalizingTransport"),
    "stream-normalizer --help": ("-m", "normalizer", "--help"),
    "stream-normalizer --version": ("-m", "normalizer", "--version"),
}
BULK = {"check": ("-m", "normalizer", "check"), "normalize": ("-m", "normalizer", "normalize")}


class Run(NamedTuple):
    """One run of a program: seconds of CPU, and its highest memory in KiB."""

    seconds: float
    memory: int


def run(*arguments: str) -> Run:
    """Run Python with these arguments, and bytecode that is written once."""
    environment = {**os.environ}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    child = subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, 1):  # 1: `check` found something
        raise RuntimeError(f"{' '.join(arguments)} ended with {child.returncode}")
    return Run(used.ru_utime + used.ru_stime, used.ru_maxrss)


def imports(rounds: int) -> dict[str, float]:
    """The median of each of `IMPORTS`, in seconds of CPU, in turn."""
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for number in range(rounds + 1):
        for name, arguments in IMPORTS.items():
            seconds = run(*arguments).seconds
            if number:  # the first writes bytecode
                times[name].append(seconds)
    return {name: statistics.median(each) for name, each in times.items()}


class Bulk(NamedTuple):
    """Of one command: MB a second of CPU, and the memory in KiB above that for a short file."""

    command: str
    speed: float
    kept: int


def bulk(megabytes: int, rounds: int) -> Iterator[Bulk]:
    """`check` and `normalize` of one answer of that size, less what they take for a short one."""
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "short.sse", Path(folder) / "long.sse"
        short.write_bytes(b"".join(chat(10)))
        with long.open("wb") as file:
            file.writelines(chat(megabytes * 1_000_000 // len(event(chunk({"content": " word"})))))
        size = long.stat().st_size / 1e6
        runs: dict[tuple[str, Path], list[Run]] = {}
        for _ in range(rounds):
            for name, arguments in BULK.items():
                for path in (short, long):
                    runs.setdefault((name, path), []).append(run(*arguments, str(path)))
        for name in BULK:
            seconds, memory = (
                [
                    statistics.median(one[field] for one in runs[name, path])
                    for path in (short, long)
                ]
                for field in (0, 1)
            )
            yield Bulk(name, size / (seconds[1] - seconds[0]), int(memory[1] - memory[0]))
