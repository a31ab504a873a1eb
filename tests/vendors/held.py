"""What the user of a client holds when an answer is over."""

from __future__ import annotations

import dataclasses
import json
from typing import Any


@dataclasses.dataclass(frozen=True)
class Held:
    """An answer that the client gave for a whole one."""

    # as it was shown while it came
    text: str = ""
    # as the client keeps it in the end
    answer: str = ""
    # name and arguments of each call; arguments are parsed if they are JSON
    calls: tuple[tuple[str, Any], ...] = ()


@dataclasses.dataclass(frozen=True)
class Failed:
    """The client told its user that there is no whole answer, in words with these in them."""

    words: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Failed) and (
            self.words in other.words or other.words in self.words
        )

    __hash__ = None  # type: ignore[assignment]


Outcome = Held | Failed

# Seconds after which a client has hung: few where that is expected, many where it would be a fault.
SOON, LATE = 5.0, 60.0


def call(name: str, arguments: str) -> tuple[str, Any]:
    """A call as it is held."""
    try:
        return name, json.loads(arguments)
    except ValueError:
        return name, arguments


def parsed(got: dict[str, Any]) -> Outcome:
    """The outcome that a script printed as JSON."""
    if "error" in got:
        return Failed(got["error"])
    calls = tuple(call(name, arguments) for name, arguments in got["calls"])
    return Held(got["text"], got["answer"], calls)
