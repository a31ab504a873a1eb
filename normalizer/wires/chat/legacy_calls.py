"""Calls as `function_call`, which `tool_calls` replaced in 2023, and the form that a request gets.

A request with `functions` gets a `function_call`; one with `tools` gets `tool_calls`. A client
reads only the form that it asked for. llama-cpp-python sends each call in both forms at once, and a
client that reads both would run the call twice.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.core.request import RequestInfo
from normalizer.wires.chat.call import Call
from normalizer.wires.chat.call_identity import Calls
from normalizer.wires.chat.call_members import CallMembers
from normalizer.wires.chat.chunk import Delta, Part, as_list
from normalizer.wires.chat.later_fragments import MEMBER_AGAIN, NAME_REPEATED

CALL_TWICE_OVER = Deviation(
    code="T418",
    name="call-twice-over",
    fault="A delta has one call as `tool_calls` and as `function_call`.",
    repair="Only the kind that the request uses is delivered.",
)
LEGACY_CALL = Deviation(
    code="T419",
    name="legacy-call",
    fault="`function_call` answers a request with `tools`.",
    repair="It becomes a tool call.",
)
MODERN_CALL = Deviation(
    code="T420",
    name="modern-call",
    fault="`tool_calls` answers a request with `functions`.",
    repair="The first call becomes a `function_call`.",
)

_FUNCTION = ("name", "arguments")


class LegacyCalls:
    """Reads the `function_call` of deltas, and gives calls the form that the request used."""

    __slots__ = ("_found", "_functions", "_members", "_tools")

    def __init__(self, found: Findings, members: CallMembers, request: RequestInfo) -> None:
        self._found = found
        self._members = members
        self._tools = request.tools
        self._functions = request.functions and not request.tools

    def read(
        self, part: Part, calls: Calls, function: dict[str, Any], fragments: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Read a `function_call`; return the tool calls of its delta.

        ``fragments`` are those that stand beside it. If it is a call of its own and nothing makes
        it a tool call, it stays in the delta.
        """
        delta, found = part.delta, self._found
        # only the same call: two different ones are both to be run
        if _mirrors(function, fragments) and found(CALL_TWICE_OVER):
            part.edit()
            if not self._functions:
                del delta["function_call"]
                return fragments
            del delta["tool_calls"]
            fragments = []
        elif self._tools and not fragments and found(LEGACY_CALL):
            part.edit()
            del delta["function_call"]
            first = {} if calls.all else {"type": "function"}
            made = delta["tool_calls"] = [{"index": 0, **first, "function": function}]
            return made
        self._read_function(part, calls, function)
        return fragments

    def _read_function(self, part: Part, calls: Calls, function: dict[str, Any]) -> None:
        """Read a `function_call` that stays one."""
        call, opens = calls.legacy, calls.legacy is None
        if call is None:
            call = self._open(calls)
        if "arguments" in function and not isinstance(function["arguments"], str):
            members = self._members.read({"function": function}, part)
            function["arguments"] = members.text
        self._read_name(part, call, function, opens=opens)
        if isinstance(function.get("arguments"), str):
            call.arguments.add(function["arguments"])

    def _open(self, calls: Calls) -> Call:
        call = calls.legacy = Call("", "", 0)
        calls.all.append(call)
        calls.version += 1
        if self._functions:
            # it is call 0 for those who asked for functions; tool calls beside it come after
            call.number = 0
            calls.by_number.setdefault(0, call)
            calls.count = 1
        return call

    def _read_name(self, part: Part, call: Call, function: dict[str, Any], *, opens: bool) -> None:
        name = function.get("name")
        if name and isinstance(name, str):
            again = NAME_REPEATED if call.name == name else None
            call.name = call.name or name
        else:
            again = MEMBER_AGAIN if "name" in function and not opens else None
        if again is not None and self._found(again):
            part.edit()
            del function["name"]

    def as_requested(self, calls: Calls | None, delta: Delta) -> Delta:
        """Return a delta with its first call as a `function_call`, if the request used `functions`.

        Return ``delta`` itself if nothing changes.
        """
        fragments = as_list(delta.get("tool_calls")) if self._functions else []
        if not fragments or calls is None:
            return delta
        first = calls.by_number.get(0)
        mine = [one for one in fragments if one.get("index") == 0 and "function" in one]
        # a `function_call` holds one call: the others stay tool calls, so that none is lost
        if first is None or not mine or not self._found(MODERN_CALL):
            return delta
        calls.legacy = first
        return _with_function_call(delta, mine)


def _with_function_call(delta: Delta, fragments: list[dict[str, Any]]) -> Delta:
    """The delta with the ``fragments`` of call 0 as its `function_call`."""
    before = delta.get("function_call")
    function = dict(before) if isinstance(before, dict) else {}
    for fragment in fragments:
        function |= {k: v for k, v in fragment["function"].items() if k in _FUNCTION}
    made = {key: value for key, value in delta.items() if key != "tool_calls"}
    made["function_call"] = function
    given = delta["tool_calls"]
    items = given if isinstance(given, list) else as_list(given)
    others = [one for one in items if not (isinstance(one, dict) and one.get("index") == 0)]
    if others:
        made["tool_calls"] = others
    return made


def _mirrors(legacy: dict[str, Any], fragments: list[dict[str, Any]]) -> bool:
    """Return whether a `function_call` has what the one tool call beside it has."""
    if len(fragments) != 1:
        return False
    function = fragments[0].get("function")
    return isinstance(function, dict) and all(
        (legacy.get(key) or "") == (function.get(key) or "") for key in _FUNCTION
    )
