"""The Dockerfile, read strictly: only instructions in the forms that it uses."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]

_EXEC = ("ENTRYPOINT", "CMD")
_WORDS = ("COPY", "ENV")
_PLAIN = ("ARG", "FROM", "WORKDIR", "RUN", "USER", "EXPOSE", "STOPSIGNAL")
_HEALTH = re.compile(r"((?:--(?:interval|timeout|start-period|retries)=\w+ )+)CMD (\[.*\])")


class Instruction(NamedTuple):
    """``value`` is a list of words for the exec form, COPY and ENV, else the text."""

    name: str
    value: Any


def instructions() -> list[Instruction]:
    """Raises ValueError for a line that is none of these."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    return [_instruction(line) for line in lines if line and not line.startswith("#")]


def _instruction(line: str) -> Instruction:
    name, _, rest = line.partition(" ")
    if name in _PLAIN:
        return Instruction(name, rest)
    if name in _WORDS:
        return Instruction(name, shlex.split(rest))
    if name == "HEALTHCHECK" and (found := _HEALTH.fullmatch(rest)):
        rest = found[2]
    elif name not in _EXEC:
        raise ValueError(f"unknown instruction: {line}")
    words = json.loads(rest)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"not the exec form: {line}")
    return Instruction(name, words)


def stages() -> list[list[Instruction]]:
    """The instructions of each stage; each begins with its FROM."""
    found: list[list[Instruction]] = []
    for one in instructions():
        if one.name == "FROM":
            found.append([])
        if found:
            found[-1].append(one)
    return found
