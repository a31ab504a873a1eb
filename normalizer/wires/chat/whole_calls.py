"""The tool calls of a whole message: in a list, each element is a call.

Nothing has to be guessed here, as it has to in a stream: no element continues another one. So an id
that two calls share is one id too few, and the second call gets its own.

The request decides which kind of call is sent: `function_call` if it used `functions` and no
`tools`, else `tool_calls`. A call that comes under both names is one call. Without `tools` and
`functions` a call of either kind stays what it is. A `function_call` holds one call only: of
several, the first one becomes it, and the others stay `tool_calls`.

What has no name is no call: a client would run nothing for it. It moves to `nameless_tool_calls` on
the choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from normalizer.core.findings import Deviation
from normalizer.core.lenient import dumps, loads
from normalizer.core.request import RequestInfo
from normalizer.wires.chat import call_members, legacy_calls
from normalizer.wires.chat import tool_calls as calls_stage
from normalizer.wires.chat.call import TEXT_OF, made_up_id
from normalizer.wires.chat.call_members import kind_of, meant_name, usable
from normalizer.wires.chat.chunk import as_list

# Notes a deviation. True: it is to be repaired, and the bytes that the answer came as are void.
Mend = Callable[[Deviation], bool]
Call = dict[str, Any]


class WholeCalls:
    """Repairs the calls of one message, in place.

    Example::

        calls = WholeCalls(mend, request)
        calls.repair(choice, choice["message"], cut=False)
        calls.kind  # "tool_calls", "function_call", or None for no call
    """

    __slots__ = ("_functions", "_mend", "_names", "_tools", "kind", "names")

    def __init__(self, mend: Mend, request: RequestInfo) -> None:
        self._mend = mend
        self._tools = request.tools
        self._functions = request.functions and not request.tools
        self._names = request.tool_names
        self.kind: str | None = None
        self.names: set[str] = set()  # of the tools that the client is to run

    def repair(self, choice: dict[str, Any], message: dict[str, Any], *, cut: bool) -> None:
        """Repair the calls of ``message``; ``cut``: by its finish they may be incomplete."""
        self._make_list(choice, message)
        for call in _calls_in(message):
            self._place(call)
        legacy = self._legacy(message)
        if legacy is not None:
            self._place_text(legacy, "function")
            self._place_name(legacy)
        self._take_nameless(choice, message, legacy)
        self._one_kind(message)
        self._complete(message, fill=not cut and not choice.get("nameless_tool_calls"))

    # ------------------------------------------------------------------ the form of each call

    def _make_list(self, choice: dict[str, Any], message: dict[str, Any]) -> None:
        """Make a list of objects of what is another thing."""
        given = message.get("tool_calls")
        if not given or (isinstance(given, list) and all(isinstance(one, dict) for one in given)):
            return
        items = _items(given)
        if not self._mend(calls_stage.CALLS_NOT_A_LIST):
            return
        calls = as_list(items)
        others = [one for one in items if one is not None and not isinstance(one, dict)]
        if calls:
            message["tool_calls"] = calls
        else:
            del message["tool_calls"]
        _set_aside(choice, others)

    def _place(self, call: Call) -> None:
        """Put the members of one call where the API has them."""
        kind = kind_of(call)
        holder = self._holder(call, kind)
        if kind == "function":
            self._place_name(holder)
        self._place_text(holder, kind)
        self._place_id(call, holder)
        given = call.get("type")
        if not (isinstance(given, str) and given) and self._mend(calls_stage.TYPE_MISSING):
            call["type"] = kind

    def _holder(self, call: Call, kind: str) -> dict[str, Any]:
        """The object that has the name and the text of a call."""
        holder = call.get(kind)
        if not isinstance(holder, dict):
            name = {"name": holder} if isinstance(holder, str) and holder else {}
            if not self._mend(call_members.MISPLACED):
                return name
            call[kind] = holder = name
        for key in ("name", TEXT_OF[kind]):
            if (
                holder.get(key) is None
                and call.get(key) is not None
                and self._mend(call_members.MISPLACED)
            ):
                holder[key] = call.pop(key)
        return holder

    def _place_name(self, holder: dict[str, Any]) -> None:
        name = holder.get("name")
        if isinstance(name, str) and (meant := meant_name(name, self._names)) != name:
            if self._mend(call_members.NAME_MARKED):
                holder["name"] = meant

    def _place_text(self, holder: dict[str, Any], kind: str) -> None:
        """Make text of the arguments."""
        member = TEXT_OF[kind]
        text = holder.get(member)
        if text is None and kind == "function" and holder.get("parameters") is not None:
            if self._mend(call_members.MISPLACED):
                text = holder[member] = holder.pop("parameters")
        if text is None or isinstance(text, str):
            return
        if self._mend(call_members.ARGUMENTS_OBJECT):
            holder[member] = dumps(text).decode()

    def _place_id(self, call: Call, holder: dict[str, Any]) -> None:
        if not usable(call.get("id")) and usable(holder.get("id")):
            if self._mend(call_members.ID_IN_FUNCTION):
                call["id"] = holder.pop("id")
        if type(call.get("id")) is int and self._mend(call_members.ID_NOT_TEXT):
            call["id"] = str(call["id"])

    # ------------------------------------------------------------------ which calls there are

    def _legacy(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """The `function_call` of a message, if it has a value."""
        legacy = message.get("function_call")
        return legacy if isinstance(legacy, dict) and any(legacy.values()) else None

    def _take_nameless(
        self, choice: dict[str, Any], message: dict[str, Any], legacy: dict[str, Any] | None
    ) -> None:
        """Take what has no name off the calls."""
        calls = _calls_in(message)
        named = [call for call in calls if _name(call)]
        nameless = [call for call in calls if not _name(call)]
        alone = _nameless_one(legacy, named)
        if not (nameless or alone) or not self._mend(calls_stage.GHOST_CALL):
            return
        if nameless:
            _keep_named(message, named)
        if alone is not None:
            del message["function_call"]
            _add_new(nameless, alone)
        _set_aside(choice, nameless)

    def _one_kind(self, message: dict[str, Any]) -> None:
        """Give the calls the kind that the request used, each once."""
        calls, legacy = _calls_in(message), self._legacy(message)
        if calls and legacy is not None:
            self._one_of_both(message, calls, legacy)
        elif self._fits_legacy(calls):
            if self._mend(legacy_calls.MODERN_CALL):
                self._make_legacy(message, calls)
        elif legacy is not None and self._tools and self._mend(legacy_calls.LEGACY_CALL):
            self._make_modern(message, legacy)

    def _one_of_both(
        self, message: dict[str, Any], calls: list[Call], legacy: dict[str, Any]
    ) -> None:
        mirrored = _is_among(legacy, calls)
        if self._functions and not mirrored:
            return  # of several calls only the first fits into a `function_call`
        if not self._mend(legacy_calls.CALL_TWICE_OVER):
            return
        del message["function_call"]
        if not mirrored:
            calls.append({"id": made_up_id(), "type": "function", "function": legacy})
            message["tool_calls"].append(calls[-1])
        if self._fits_legacy(calls):
            self._make_legacy(message, calls)

    def _fits_legacy(self, calls: list[Call]) -> bool:
        """Return whether the first call is to become a `function_call`.

        Not if another one is the same: beside it, the two would be taken for one.
        """
        function = calls[0].get("function") if self._functions and calls else None
        return isinstance(function, dict) and not _is_among(function, calls[1:])

    def _make_legacy(self, message: dict[str, Any], calls: list[Call]) -> None:
        """Make a `function_call` of the first call; what does not fit in there stays beside it."""
        function = calls[0]["function"]
        named = {key: function[key] for key in ("name", "arguments") if key in function}
        others = {"tool_calls": calls[1:]} if calls[1:] else {}
        if "function_call" in message:
            message["function_call"] = named
            rename(message, "tool_calls", others)
        else:
            rename(message, "tool_calls", {"function_call": named, **others})

    def _make_modern(self, message: dict[str, Any], legacy: dict[str, Any]) -> None:
        ident = legacy.pop("id") if usable(legacy.get("id")) else made_up_id()
        made = [{"id": str(ident), "type": "function", "function": legacy}]
        if "tool_calls" in message:
            message["tool_calls"] = made
            del message["function_call"]
        else:
            rename(message, "function_call", {"tool_calls": made})

    def _complete(self, message: dict[str, Any], *, fill: bool) -> None:
        """Give each call an id of its own and its arguments; ``fill``: `{}` where it has none."""
        legacy = self._legacy(message)
        given: set[str] = set()
        answered = _answered(message)
        for call in _calls_in(message):
            self._own_id(call, given)
            kind = kind_of(call)
            holder = call.get(kind)
            if isinstance(holder, dict):
                self._own_text(holder, kind, fill=fill and kind == "function")
            # agents would run a second time what the server has run
            if answered is None or (answered and str(call.get("id")) not in answered):
                self.names.add(_name(call))
            self.kind = "tool_calls"
        if legacy is not None:
            self._own_text(legacy, "function", fill=fill)
            self.names.add(str(legacy.get("name")))
            self.kind = "function_call"

    def _own_id(self, call: Call, given: set[str]) -> None:
        ident = call.get("id")
        if not isinstance(ident, str) or not usable(ident):
            if self._mend(calls_stage.ID_MISSING):
                call["id"] = made_up_id()
        elif ident in given and self._mend(calls_stage.ID_SHARED):
            call["id"] = made_up_id()
        given.add(str(call.get("id")))

    def _own_text(self, holder: dict[str, Any], kind: str, *, fill: bool) -> None:
        member = TEXT_OF[kind]
        text = holder.get(member)
        empty = text is None or (isinstance(text, str) and not text.strip())
        if empty and fill and self._mend(calls_stage.ARGUMENTS_MISSING):
            holder[member] = "{}"
        elif text is None and self._mend(call_members.ARGUMENTS_NULL):
            holder[member] = ""


def rename(holder: dict[str, Any], key: str, members: dict[str, Any]) -> None:
    """Put ``members`` where ``key`` stands; the other members stay in their order."""
    items = list(holder.items())
    holder.clear()
    for name, value in items:
        holder.update(members if name == key else {name: value})


def _calls_in(message: dict[str, Any]) -> list[Call]:
    """The calls of a message that are objects; others are there if their repair is off."""
    listed = message.get("tool_calls")
    return as_list(listed) if isinstance(listed, list) else []


def _name(call: Call) -> str:
    holder = call.get(kind_of(call))
    name = holder.get("name") if isinstance(holder, dict) else None
    return name if isinstance(name, str) and _is_name(name) else ""


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and bool(name.strip())


def _nameless_one(legacy: dict[str, Any] | None, named: list[Call]) -> dict[str, Any] | None:
    """Return a `function_call` that has no name and is none of the calls that have one."""
    if legacy is None or _is_name(legacy.get("name")) or _is_among(legacy, named):
        return None
    return legacy


def _add_new(nameless: list[Call], legacy: dict[str, Any]) -> None:
    if not _is_among(legacy, nameless):
        nameless.append(legacy)


def _keep_named(message: dict[str, Any], named: list[Call]) -> None:
    """Remove the calls without a name; what is no object stays, its repair being off."""
    others = [one for one in message["tool_calls"] if not isinstance(one, dict)]
    if named or others:
        message["tool_calls"] = [*named, *others]
    else:
        del message["tool_calls"]


def _answered(message: dict[str, Any]) -> set[str] | None:
    """The ids of the calls that the server ran itself: an empty set is all, None is no call."""
    results = as_list(message.get("tool_results"))
    if not results:
        return None
    idents = [one.get("tool_call_id") for one in results]
    return {ident for ident in idents if isinstance(ident, str) and ident}


def _is_among(legacy: dict[str, Any], calls: list[Call]) -> bool:
    """Return whether a `function_call` is one of the calls; it may lack the name or arguments."""
    name, said = legacy.get("name"), _bare(legacy.get("arguments"))
    functions = [call["function"] for call in calls if isinstance(call.get("function"), dict)]
    named = [one for one in functions if not name or name == one.get("name")]
    return any(said in ("", _bare(one.get("arguments"))) for one in named)


def _bare(arguments: Any) -> str:
    """Arguments as they are compared: without white space, and `{}` is nothing."""
    text = "".join(arguments.split()) if isinstance(arguments, str) else ""
    return "" if text == "{}" else text


def _set_aside(choice: dict[str, Any], others: list[Any]) -> None:
    """Keep on the choice what is no call."""
    if others:
        before = choice.get("nameless_tool_calls")
        choice["nameless_tool_calls"] = [*(before if isinstance(before, list) else []), *others]


def _items(given: Any) -> list[Any]:
    """The elements of what stands in place of a list of calls; it may be JSON in a text."""
    read = _json(given) if isinstance(given, str) else given
    if isinstance(read, dict):
        return [read]
    return read if isinstance(read, list) else [given]


def _json(text: str) -> Any:
    try:
        return loads(text.encode("utf-8", "surrogatepass"))[0]
    except ValueError:
        return None
