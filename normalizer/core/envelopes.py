"""Answers that a gateway put into an object of its own, or into a string.

Some gateways answer every request in one form, ``{"success": true, "data": {…}}``, and put each
chunk of a stream, or the whole completion, into it. Others write the JSON twice, so that a chunk
comes as a JSON string. No client reads either. What is inside is the answer; what stood beside it
travels with it.

Only one level is taken off, and only where there is no doubt: the object itself has no choices, and
exactly one of the members that are known for it holds some.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.findings import Deviation
from normalizer.core.lenient import loads

ENVELOPE = Deviation(
    code="E218",
    name="envelope-around",
    fault="A chunk is inside an envelope, or is a JSON string.",
    repair="The chunk is taken out, and the members beside it move to it.",
)

# The members that gateways put an answer into.
ENVELOPES = (
    *("data", "final_result", "result", "response", "completion", "output", "body", "payload"),
    "chunk",
)
_ENVELOPES = frozenset(ENVELOPES)


def unwrapped(value: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """A chunk or completion out of its envelope, and what stood beside it; None: it is in none.

    The JSON of what is inside may have been read leniently: its bytes cannot leave as they are.
    A string of JSON is one level too, whatever its object holds. Raises nothing.

    Example::

        unwrapped({"data": {"choices": []}, "ok": True})  # ({"choices": []}, {"ok": True})
    """
    if isinstance(value, str):
        inner = _object_in(value)
        return (inner, {}) if inner else None
    if not isinstance(value, dict) or _ENVELOPES.isdisjoint(value) or _has_choices(value):
        return None
    found = [
        (name, inner)
        for name in ENVELOPES
        if name in value and _has_choices(inner := _object_in(value[name]))
    ]
    if len(found) != 1:
        return None
    name, inner = found[0]
    return inner, {key: item for key, item in value.items() if key != name}


def _object_in(value: Any) -> dict[str, Any]:
    """The object that a value is, or that its text is the JSON of; empty if it is none."""
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        try:
            # a lone half of a surrogate pair is no UTF-8: it is read as U+FFFD
            value, _ = loads(value.encode("utf-8", "surrogatepass"))
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _has_choices(value: dict[str, Any]) -> bool:
    return isinstance(value.get("choices"), list)
