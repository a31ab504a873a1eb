"""The members of a fragment of a call, each in its place.

A fragment has up to five members: its index, the id of its call, the name of its call, a piece of
the arguments, and which kind of call it is. Upstreams put them in other places and in other types.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.core.lenient import dumps
from normalizer.wires.chat.call import TEXT_OF
from normalizer.wires.chat.chunk import Part

ID_NOT_TEXT = Deviation(
    code="T404",
    name="call-id-not-text",
    fault="The id of a call is a number.",
    repair="The id is converted to text.",
)
ARGUMENTS_NULL = Deviation(
    code="T413",
    name="arguments-null",
    fault="The arguments of a call are null or missing.",
    repair='They become `""`.',
)
ARGUMENTS_OBJECT = Deviation(
    code="T414",
    name="arguments-object",
    fault="The arguments of a call are an object.",
    repair="They are converted to their JSON text.",
)
ID_IN_FUNCTION = Deviation(
    code="T417",
    name="call-id-in-function",
    fault="The id of a call is inside `function`.",
    repair="The id moves to the call.",
)
MISPLACED = Deviation(
    code="T425",
    name="call-members-misplaced",
    fault="The name or arguments of a call are beside `function`, or in `parameters`.",
    repair="They move to `function.name` and `function.arguments`.",
)
NAME_MARKED = Deviation(
    code="T426",
    name="call-name-marked",
    fault="The name of a call has markers of the model around the name of a tool.",
    repair="The call gets the name of that tool of the request.",
)

_MISPLACED = frozenset({"name", "arguments"})  # where they stand beside `function`
_BEHIND = re.compile(r"^(?:.*\bto=)?functions\.", re.DOTALL)


@dataclasses.dataclass(slots=True)
class Members:
    """The members of a fragment; ``text`` is a piece of arguments, ``holder`` has it and the name.

    ``place`` is its index, None, ``ident`` and ``name`` are empty where the fragment has none.
    """

    place: int | None
    ident: str
    name: str
    text: str
    kind: str
    holder: dict[str, Any]


class CallMembers:
    """Reads fragments, and puts their members where the API has them."""

    __slots__ = ("_found", "_tools")

    def __init__(self, found: Findings, tools: frozenset[str]) -> None:
        self._found = found
        self._tools = tools

    def read(self, fragment: dict[str, Any], part: Part) -> Members:
        """The members of a fragment of ``part``."""
        kind = kind_of(fragment)
        holder = self._holder(fragment, kind, part)
        index = fragment.get("index")
        return Members(
            index if type(index) is int and index >= 0 else None,
            self._ident(fragment, holder, part),
            self._name(holder, part),
            self._text(holder, TEXT_OF[kind], part),
            kind,
            holder,
        )

    def _holder(self, fragment: dict[str, Any], kind: str, part: Part) -> dict[str, Any]:
        holder = fragment.get(kind)
        if type(holder) is dict and _MISPLACED.isdisjoint(fragment) and "parameters" not in holder:
            return holder  # as most
        beside = [key for key in ("name", "arguments") if fragment.get(key) is not None]
        if isinstance(holder, dict) and not beside and "parameters" not in holder:
            return holder
        if not isinstance(holder, dict):
            part.edit()
            holder = {"name": holder} if isinstance(holder, str) and holder else {}
            fragment[kind] = holder
        self._move_into(holder, fragment, beside, part)
        if kind == "function":
            self._rename_parameters(holder, part)
        return holder

    def _move_into(
        self, holder: dict[str, Any], fragment: dict[str, Any], beside: list[str], part: Part
    ) -> None:
        """Move what stands beside `function` into it."""
        for key in beside:
            # a value that is in the right place already counts more (Cloudflare has no `function`)
            if holder.get(key) is None and self._found(MISPLACED):
                part.edit()
                holder[key] = fragment.pop(key)

    def _rename_parameters(self, holder: dict[str, Any], part: Part) -> None:
        # servers that copy Llama 3's own JSON
        if holder.get("arguments") is not None or holder.get("parameters") is None:
            return
        if self._found(MISPLACED):
            part.edit()
            holder["arguments"] = holder.pop("parameters")

    def _ident(self, fragment: dict[str, Any], holder: dict[str, Any], part: Part) -> str:
        ident = fragment.get("id")
        if ident is None and "id" not in holder:
            return ""
        # llama.cpp's server in May 2025; an id of the call's own counts more
        if not usable(ident) and usable(holder.get("id")) and self._found(ID_IN_FUNCTION):
            part.edit()
            ident = fragment["id"] = holder.pop("id")
        # LangChain and the AI SDK refuse an id that is a number
        if type(ident) is int and self._found(ID_NOT_TEXT):
            part.edit()
            ident = fragment["id"] = str(ident)
        return ident if isinstance(ident, str) and usable(ident) else ""

    def _name(self, holder: dict[str, Any], part: Part) -> str:
        name = holder.get("name")
        if not isinstance(name, str) or not name.strip():
            return ""
        if not self._tools or name in self._tools:
            return name
        # some servers leave the markers of gpt-oss in the name, and no client knows such a tool
        meant = meant_name(name, self._tools)
        if meant != name and self._found(NAME_MARKED):
            part.edit()
            name = holder["name"] = meant
        return name

    def _text(self, holder: dict[str, Any], member: str, part: Part) -> str:
        text = holder.get(member)
        if isinstance(text, str):
            return text
        if text is None:
            # null is not `{}`: fragments may follow, and ogx made `{}{"location":…` of it
            if (member in holder or member == "arguments") and self._found(ARGUMENTS_NULL):
                part.edit()
                holder[member] = ""
            return ""
        # JavaScript adds an object up to `[object Object]`; a text that is JSON is not encoded
        # again
        spelt = dumps(text).decode()
        if self._found(ARGUMENTS_OBJECT):
            part.edit()
            holder[member] = spelt
        return spelt


def usable(ident: Any) -> bool:
    """Whether a value can be a call's id."""
    if isinstance(ident, str):
        return bool(ident.strip()) and ident != "null"
    return type(ident) is int


def kind_of(fragment: dict[str, Any]) -> str:
    """Return the kind of a call, which its member is named after: `function` or `custom`."""
    custom = "custom" in fragment and "function" not in fragment
    return "custom" if custom or fragment.get("type") == "custom" else "function"


def meant_name(name: str, tools: frozenset[str]) -> str:
    """Return the tool that a name means: itself, or a tool of the request between markers.

    Example::

        meant_name("functions.look<|channel|>commentary", frozenset({"look"}))  # "look"
    """
    if not tools or name in tools:
        return name
    bare = name.partition("<|")[0].strip()
    return next((one for one in (bare, _BEHIND.sub("", bare)) if one in tools), name)
