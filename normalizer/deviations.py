"""The table of all deviations, each declared where it is repaired."""

from __future__ import annotations

from normalizer import completion, sse
from normalizer.deviation import Deviation
from normalizer.stages import (
    choices,
    content,
    envelope,
    errors,
    finish,
    reasoning,
    tool_calls,
    usage,
)

_DECLARED_IN = (
    sse,
    envelope,
    choices,
    content,
    reasoning,
    tool_calls,
    finish,
    usage,
    errors,
    completion,
)

DEVIATIONS: tuple[Deviation, ...] = tuple(
    sorted(
        (
            value
            for module in _DECLARED_IN
            for value in vars(module).values()
            if type(value) is Deviation
        ),
        key=lambda deviation: deviation.code,
    )
)
CODES: tuple[str, ...] = tuple(deviation.code for deviation in DEVIATIONS)


def deviation(code: str) -> Deviation:
    """The deviation with this code. Raises KeyError. Example: ``deviation("E210").name``."""
    for one in DEVIATIONS:
        if one.code == code:
            return one
    raise KeyError(code)
