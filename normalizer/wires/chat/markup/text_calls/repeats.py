"""Calls that an upstream gives twice: in its text, and beside it as calls."""

from __future__ import annotations

from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.core.lenient import dumps, loads

CALL_IN_BOTH = Deviation(
    code="T435",
    name="call-in-text-and-beside-it",
    fault="A call is in the text and in `tool_calls`.",
    repair="The call is delivered once.",
    option={"text_tool_calls": ("react",)},
)


class CallsMade:
    """The calls that were made of a choice's text: a number for each, never its arguments.

    Example::

        made = CallsMade()
        made.add({"name": "add", "arguments": '{"a": 1}'})
        {"name": "add", "arguments": '{"a":1}'} in made  # True
    """

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers: set[int] = set()

    def add(self, function: dict[str, Any]) -> None:
        """A call was made, with all of its arguments."""
        self._numbers.add(_number(function))

    def __contains__(self, function: object) -> bool:
        return isinstance(function, dict) and _number(function) in self._numbers

    def left_of(self, delta: dict[str, Any], found: Findings) -> None:
        """Take the calls out of a delta that were made of the text before."""
        if not self._numbers:
            return
        if delta.get("function_call") in self and found(CALL_IN_BOTH):
            del delta["function_call"]
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            kept = [one for one in calls if not self._is_repeat(one, found)]
            if not kept and calls:
                del delta["tool_calls"]
            elif len(kept) != len(calls):
                delta["tool_calls"] = kept

    def _is_repeat(self, fragment: Any, found: Findings) -> bool:
        function = fragment.get("function") if isinstance(fragment, dict) else None
        return function in self and found(CALL_IN_BOTH)


def _number(function: dict[str, Any]) -> int:
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = loads(arguments.encode("utf-8", "surrogatepass"))[0]
        except ValueError:
            arguments = arguments.strip()
    return hash((str(function.get("name")), dumps(arguments)))
