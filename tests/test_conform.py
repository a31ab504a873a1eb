"""The judge that shares no code with the package, on every stream that was recorded.

The contract was revised, and the code follows it not everywhere yet. `conform_open.txt` names each
stream with the rules of the contract that it still breaks. It may only become shorter: a fault not
named there fails the test, and so does a line whose fault is gone. After a repair, write it anew:

    python -m tests.test_conform
"""

from __future__ import annotations

import collections
import re
import subprocess
import sys
from pathlib import Path

from tests.shared import beside

ROOT = Path(__file__).parents[1]
OPEN = Path(__file__).with_name("conform_open.txt")

# Streams about which the judge is wrong, each with the reason in one line. There is none.
JUDGE_IS_WRONG: dict[str, str] = {}


def judged() -> dict[str, set[str]]:
    """The rules that each stream breaks: whole, byte by byte, and in the chunks it came in."""
    done = subprocess.run(
        [sys.executable, str(beside("conform.py")), "--all"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    *lines, _, last = done.stdout.splitlines()
    broken: dict[str, set[str]] = collections.defaultdict(set)
    for line in lines:
        stream, rule, _ = line.split(": ", 2)
        if stream not in JUDGE_IS_WRONG:
            broken[stream].add(rule)
    # the last line counts the streams: a judge that looked at none must not pass
    counts = re.fullmatch(r"(\d+) of (\d+) streams without fault", last)
    assert counts is not None
    assert int(counts[1]) == int(counts[2]) - len(broken) - len(JUDGE_IS_WRONG)
    assert int(counts[2]) > 600
    return broken


def still_open() -> dict[str, set[str]]:
    lines = OPEN.read_text(encoding="utf-8").splitlines()
    return {stream: set(rules.split()) for stream, rules in (line.split(": ") for line in lines)}


def test_nothing_is_found_but_what_is_open() -> None:
    assert judged() == still_open()


if __name__ == "__main__":
    OPEN.write_text(
        "".join(
            f"{stream}: {' '.join(sorted(rules))}\n" for stream, rules in sorted(judged().items())
        ),
        encoding="utf-8",
    )
