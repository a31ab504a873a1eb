"""Which call a fragment belongs to, and each call in the form that the API gives it.

A call's head (id, name, no arguments) leaves on its own, once the name is complete: with the first
character of its arguments, another call, other content, or the finish. The fragments after it have
an index and arguments only.

Which call does a fragment belong to? The *candidate* is the call open on that upstream index;
without an index, the last open call.

1. A non-empty id not seen before, with a name, opens a call, except when the candidate has the same
   name and no arguments yet: its head was sent twice.
2. A seen id continues its call; with a new upstream index, and another name or a whole call when it
   has arguments already, it opens a call with an id of its own.
3. An unseen id without a name continues the candidate: its id changed.
4. No id: another name than the candidate's once that has arguments, or a whole call when it has,
   opens a call; anything else continues the candidate.

Never is a call split merely because the arguments so far are whole JSON.
"""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple

from normalizer.core.findings import Deviation, Findings
from normalizer.core.kept import CALL, CHUNK, INDEX, Kept
from normalizer.core.lenient import clean_text, dumps, loads
from normalizer.wires.chat.call import Call
from normalizer.wires.chat.chunk import Delta

INDEX_MISSING = Deviation(
    code="T401",
    name="call-index-missing",
    fault="A call has no index.",
    repair="The call gets the next index.",
)
INDEX_WRONG = Deviation(
    code="T402",
    name="call-index-wrong",
    fault="The indexes of the calls are not 0, 1, 2 and so on.",
    repair="The calls are numbered in the order in which they appear.",
)
ID_MISSING = Deviation(
    code="T403",
    name="call-id-missing",
    fault="A call has no usable id.",
    repair="The call gets a new id, on its first fragment.",
)
ID_NOT_TEXT = Deviation(
    code="T404",
    name="call-id-not-text",
    fault="The id of a call is a number.",
    repair="The id is converted to text.",
)
ID_REPEATED = Deviation(
    code="T405",
    name="call-id-repeated",
    fault="Later fragments of a call repeat its id.",
    repair="Only the first fragment keeps the id.",
)
ID_CHANGES = Deviation(
    code="T406",
    name="call-id-changes",
    fault="The id of a call changes between its fragments.",
    repair="The call keeps its first id.",
)
ID_SHARED = Deviation(
    code="T407",
    name="call-id-shared",
    fault="Two calls have the same id.",
    repair="The second call gets a new id.",
)
NAME_REPEATED = Deviation(
    code="T408",
    name="call-name-repeated",
    fault="Later fragments of a call repeat its name.",
    repair="Only the first fragment keeps the name.",
)
NAME_IN_PIECES = Deviation(
    code="T409",
    name="call-name-in-pieces",
    fault="The name of a call arrives in pieces.",
    repair="The first fragment has the whole name.",
)
NAME_LATE = Deviation(
    code="T410",
    name="call-name-late",
    fault="Fragments of a call arrive before its name.",
    repair="The fragments wait until the name has arrived.",
    structural=True,
)
TYPE_MISSING = Deviation(
    code="T411",
    name="call-type-missing",
    fault="The first fragment of a call has no type.",
    repair='The fragment gets `"type": "function"`.',
)
MEMBER_AGAIN = Deviation(
    code="T412",
    name="call-member-again",
    fault="Later fragments have a type, an empty name or an empty id.",
    repair="These members are removed.",
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
ARGUMENTS_WITH_HEAD = Deviation(
    code="T415",
    name="arguments-with-head",
    fault="The first fragment of a call already has arguments.",
    repair="The arguments follow in a fragment of their own.",
)
CALLS_NOT_A_LIST = Deviation(
    code="T416",
    name="calls-not-a-list",
    fault="`tool_calls` is an object.",
    repair="It becomes a list with one element.",
)
ID_IN_FUNCTION = Deviation(
    code="T417",
    name="call-id-in-function",
    fault="The id of a call is inside `function`.",
    repair="The id moves to the call.",
)
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
GHOST_CALL = Deviation(
    code="T421",
    name="ghost-call",
    fault="Fragments of a call never get a name.",
    repair="They move to the finish as `nameless_tool_calls`.",
)
ARGUMENTS_MISSING = Deviation(
    code="T422",
    name="arguments-missing",
    fault="A call ends without arguments.",
    repair="The call gets `{}`, unless the answer was cut.",
)
ARGUMENTS_INCOMPLETE = Deviation(
    code="T423",
    name="arguments-incomplete",
    fault="The arguments of a call are incomplete, but the finish is not `length`.",
    repair="Nothing is changed and the report names it.",
    reported=True,
)
HEAD_TWICE = Deviation(
    code="T424",
    name="call-head-twice",
    fault="The first fragment of a call arrives twice.",
    repair="One call is opened.",
)


class Fragment(NamedTuple):
    """A fragment to be sent; the head of a call waits for its name to be complete."""

    call: Call
    value: dict[str, Any]
    head: bool


class _Calls:
    """The calls of one choice."""

    __slots__ = ("all", "by_id", "by_index", "by_number", "count", "last", "legacy")

    def __init__(self) -> None:
        self.all: list[Call] = []
        self.by_id: dict[str, Call] = {}
        self.by_index: dict[int, Call] = {}
        self.by_number: dict[int, Call] = {}
        self.last: Call | None = None
        self.count = 0  # heads that have left
        self.legacy: Call | None = None


class ToolCalls:
    """Settles the tool calls of one stream, by choice."""

    __slots__ = ("_choices", "_found", "_functions", "_kept", "_tools")

    def __init__(self, found: Findings, kept: Kept, *, tools: bool, functions: bool) -> None:
        self._found = found
        self._kept = kept
        self._tools = tools
        self._functions = functions and not tools
        self._choices: dict[int, _Calls] = {}

    def read(self, choice: int, delta: Delta) -> list[Fragment]:
        """Take the calls off a delta: the fragments to be sent, in order.

        Heads among them wait until `complete`; a legacy `function_call` stays in the delta.
        """
        calls = self._choices.setdefault(choice, _Calls())
        legacy = delta.get("function_call")
        given = delta.pop("tool_calls", None)
        if isinstance(given, dict) and self._found(CALLS_NOT_A_LIST):
            given = [given]
        fragments = [f for f in given if isinstance(f, dict)] if isinstance(given, list) else []
        if given is not None and (not isinstance(given, list) or len(fragments) != len(given)):
            self._found(CALLS_NOT_A_LIST)
        if isinstance(legacy, dict):
            if _mirrors(legacy, fragments) and self._found(CALL_TWICE_OVER):
                if self._functions:
                    fragments = []
                else:
                    del delta["function_call"]
                    legacy = None
            elif self._tools and not fragments and self._found(LEGACY_CALL):
                del delta["function_call"]
                first = {} if calls.all else {"type": "function"}
                fragments = [{"index": 0, **first, "function": legacy}]
                legacy = None
        if isinstance(legacy, dict):
            self._legacy(calls, legacy)
        out: list[Fragment] = []
        for fragment in fragments:
            out += self._fragment(calls, fragment)
        return out

    def complete(self, choice: int, call: Call) -> dict[str, Any]:
        """The head of a call, as it leaves: its name is complete, it has its number and id."""
        calls = self._choices[choice]
        head = call.head or {}
        call.head = None
        call.number = calls.count
        calls.by_number.setdefault(call.number, call)
        calls.count += 1
        index = head.get("index")
        if type(index) is not int:
            if self._found(INDEX_MISSING):
                head = {"index": call.number, **{k: v for k, v in head.items() if k != "index"}}
        elif index != call.number and self._found(INDEX_WRONG):
            head["index"] = call.number
        if not call.id and self._found(ID_MISSING):
            call.id = _made_up_id()
        if head.get("id") != call.id and call.id:
            head["id"] = call.id
            self._found.touched = True
        if not call.custom and head["function"].get("name") != call.name:
            head["function"]["name"] = call.name
            self._found.touched = True
        return head

    def called(self, choice: int) -> str | None:
        """The kind of call that the choice streamed: `tool_calls`, `function_call` or None."""
        calls = self._choices.get(choice)
        if calls is None:
            return None
        if calls.legacy is not None or (calls.count and self._functions):
            return "function_call"
        return "tool_calls" if calls.count else None

    def by_number(self, choice: int, number: int) -> Call | None:
        """The call that leaves with this index."""
        calls = self._choices.get(choice)
        return calls.by_number.get(number) if calls else None

    def cut(self, choice: int) -> bool:
        """Whether a call's arguments are incomplete."""
        calls = self._choices.get(choice)
        return calls is not None and any(call.incomplete for call in calls.all)

    def empty(self, choice: int) -> list[dict[str, Any]]:
        """A fragment with `{}` for each call that ended without arguments."""
        calls = self._choices.get(choice)
        if calls is None:
            return []
        fragments = []
        for call in calls.all:
            if call.number is not None and not call.with_arguments and not call.custom:
                if self._found(ARGUMENTS_MISSING):
                    fragments.append({"index": call.number, "function": {"arguments": "{}"}})
        return fragments

    def halves(self, choice: int) -> list[dict[str, Any]]:
        """A fragment with U+FFFD for each call whose arguments end in half a surrogate pair."""
        calls = self._choices.get(choice)
        left = [call for call in calls.all if call.half] if calls else []
        for call in left:
            call.half = ""
        return [{"index": call.number, "function": {"arguments": "\ufffd"}} for call in left]

    def nameless(self, choice: int) -> list[dict[str, Any]]:
        """The fragments that never got a name."""
        calls = self._choices.get(choice)
        left = [fragment for call in calls.all for fragment in call.stash] if calls else []
        if left:
            for call in calls.all if calls else ():
                self._unstash(call)
        return left

    def dress(self, choice: int, delta: Delta) -> Delta:
        """The delta in the form that the request used: `functions` get a `function_call`."""
        fragments = delta.get("tool_calls")
        calls = self._choices.get(choice)
        if not self._functions or not fragments or calls is None:
            return delta
        first = self.by_number(choice, 0)
        mine = [f for f in fragments if f.get("index") == 0 and "function" in f]
        if first is None or not mine or not self._found(MODERN_CALL):
            return delta
        dressed = {key: value for key, value in delta.items() if key != "tool_calls"}
        for fragment in mine:
            members = {k: v for k, v in fragment["function"].items() if k in ("name", "arguments")}
            so_far = dressed.get("function_call")
            so_far = so_far if isinstance(so_far, dict) else {}
            dressed["function_call"] = {**so_far, **members}
        calls.legacy = first
        others = [f for f in fragments if f.get("index") != 0]
        if others:
            dressed["tool_calls"] = others
        return dressed

    def _legacy(self, calls: _Calls, function: dict[str, Any]) -> None:
        first = calls.legacy is None
        if calls.legacy is None:
            calls.legacy = Call("", "", 0)
            calls.all.append(calls.legacy)
            calls.legacy.custom = True
            if self._functions:
                # it is call 0 for those who asked for functions; tool calls beside it come after
                calls.legacy.number = 0
                calls.by_number.setdefault(0, calls.legacy)
                calls.count = 1
        call = calls.legacy
        name = function.get("name")
        if name and isinstance(name, str):
            if call.name == name and self._found(NAME_REPEATED):
                del function["name"]
            call.name = call.name or name
        elif "name" in function and not first and self._found(MEMBER_AGAIN):
            del function["name"]
        function["arguments"] = text = self._arguments(function) if "arguments" in function else ""
        call.hear(text)

    def _fragment(self, calls: _Calls, fragment: dict[str, Any]) -> list[Fragment]:
        function = fragment.get("function")
        if fragment.get("type") == "custom" or ("custom" in fragment and function is None):
            return self._custom(calls, fragment)
        if not isinstance(function, dict):
            function = {}
            fragment["function"] = function
        index, ident, name, text = self._members(fragment, function)
        call = self._call(calls, index, ident, name, text)
        if call is None:
            opens_with = ident
            if ident in calls.by_id and self._found(ID_SHARED):
                opens_with = _made_up_id()
            call = Call(opens_with, name, index)
            call.given = ident
            calls.all.append(call)
            self._kept.size += CALL + len(ident) + len(name)
            if opens_with:
                calls.by_id[opens_with] = call
            new = True
        else:
            new = False
            self._again(calls, call, fragment, function, ident, name)
        calls.last = call
        if index is not None:
            if not new and index not in calls.by_index:
                self._kept.size += INDEX
            calls.by_index[index] = call
        if text and (call.half or "\ud800" <= text[-1] <= "\udbff"):
            text, call.half = _joined(call.half + text)
            function["arguments"] = text
            self._found.touched = True
        if not call.name:
            call.stash.append(fragment)
            call.stashed += self._kept.keep(CHUNK)
            call.with_arguments = call.with_arguments or bool(text)  # heard once it has a name
            return []
        return self._send(call, fragment, function, text, new=new)

    def _send(
        self,
        call: Call,
        fragment: dict[str, Any],
        function: dict[str, Any],
        text: str,
        *,
        new: bool,
    ) -> list[Fragment]:
        out = []
        if call.stash:
            earlier = self._unstash(call)
            self._found.touched = True  # they did not leave with the chunks that they came in
            said = "".join(_spelt(f["function"].get("arguments")) for f in earlier)
            fragment = {**earlier[0], **fragment}
            fragment["function"] = function = {**earlier[0]["function"], **function}
            text = said + text
            function["arguments"] = text
            new = True
        if new:
            if fragment.get("type") != "function" and self._found(TYPE_MISSING):
                fragment["type"] = "function"
            given = function.get("arguments")
            if text and self._found(ARGUMENTS_WITH_HEAD):
                function["arguments"] = ""
            call.head = fragment
            out.append(Fragment(call, fragment, head=True))
            if not text or function["arguments"]:
                call.hear(text)
                return out
            fragment = {"index": fragment.get("index"), "function": {"arguments": given}}
        elif not text and set(fragment) <= {"index", "function"} and self._found.touched:
            # what it had was taken off it, and nothing is left to say
            return out
        elif call.number is None and not text and "name" not in function:
            return out
        call.hear(text)
        out.append(Fragment(call, fragment, head=False))
        return out

    def _unstash(self, call: Call) -> list[dict[str, Any]]:
        """The fragments of a call that waited for its name, which wait no more."""
        fragments, call.stash = call.stash, []
        self._kept.size -= call.stashed
        call.stashed = 0
        return fragments

    def number(self, fragment: Fragment) -> dict[str, Any]:
        """A later fragment as it leaves, with its call's number."""
        index = fragment.value.get("index")
        number = fragment.call.number
        if index != number or type(index) is not int:
            if self._found(INDEX_WRONG if type(index) is int else INDEX_MISSING):
                return {
                    "index": number,
                    **{k: v for k, v in fragment.value.items() if k != "index"},
                }
        return fragment.value

    def _members(
        self, fragment: dict[str, Any], function: dict[str, Any]
    ) -> tuple[int | None, str, str, str]:
        index = fragment.get("index")
        index = index if type(index) is int else None
        ident = fragment.get("id")
        if not _usable(ident) and _usable(function.get("id")) and self._found(ID_IN_FUNCTION):
            ident = fragment["id"] = function.pop("id")
        if type(ident) is int and self._found(ID_NOT_TEXT):
            ident = fragment["id"] = str(ident)
        if not isinstance(ident, str) or not _usable(ident):
            ident = ""
        name = function.get("name")
        name = name if isinstance(name, str) and name.strip() else ""
        text = self._arguments(function)
        return index, ident, name, text

    def _arguments(self, function: dict[str, Any]) -> str:
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            return arguments
        if arguments is None:
            if self._found(ARGUMENTS_NULL):
                function["arguments"] = ""
            return ""
        if self._found(ARGUMENTS_OBJECT):
            function["arguments"] = dumps(arguments).decode()
        return _spelt(function["arguments"])

    def _call(
        self, calls: _Calls, index: int | None, ident: str, name: str, text: str
    ) -> Call | None:
        """The call that a fragment continues, None if it opens one: the rules of this file."""
        candidate = calls.last if index is None else calls.by_index.get(index)
        if candidate is None and not calls.by_index:
            candidate = calls.last
        if not ident:
            if candidate is not None and name and candidate.with_arguments:
                if (name != candidate.name and candidate.name) or _whole(text):
                    return None
            return candidate
        known = calls.by_id.get(ident)
        if known is not None:
            if candidate is not None and candidate.given == ident:
                known = candidate
            if index is not None and known.upstream not in (None, index) and name:
                if name != known.name or (known.with_arguments and _whole(text)):
                    return None
            return known
        if not name:
            return candidate
        if candidate is not None and candidate.name == name and not candidate.with_arguments:
            return candidate if self._found(HEAD_TWICE) else None
        if candidate is not None and not candidate.name and not candidate.id:
            return candidate
        return None

    def _again(
        self,
        calls: _Calls,
        call: Call,
        fragment: dict[str, Any],
        function: dict[str, Any],
        ident: str,
        name: str,
    ) -> None:
        """Take off a later fragment what only the first one of a call has."""
        if "id" in fragment:
            if ident and not call.id and call.number is None:
                call.id = call.given = ident
                calls.by_id[ident] = call
            deviation = (
                MEMBER_AGAIN if not ident else ID_REPEATED if ident == call.id else ID_CHANGES
            )
            if self._found(deviation):
                del fragment["id"]
        if "type" in fragment and self._found(MEMBER_AGAIN):
            del fragment["type"]
        if "name" not in function:
            return
        if not name:
            deviation = MEMBER_AGAIN
        elif name == call.name or call.number is not None:
            deviation = NAME_REPEATED
        elif not call.name:
            deviation = NAME_LATE
            call.name = name
        else:
            deviation = NAME_IN_PIECES
        if self._found(deviation):
            del function["name"]
            if deviation is NAME_IN_PIECES:
                self._kept.size += len(name)
                call.name = name if name.startswith(call.name) else call.name + name

    def _custom(self, calls: _Calls, fragment: dict[str, Any]) -> list[Fragment]:
        index = fragment.get("index")
        index = index if type(index) is int else None
        ident = fragment.get("id") if isinstance(fragment.get("id"), str) else ""
        known = calls.by_id.get(ident) if ident else None
        if known is None and not ident:
            known = calls.last if index is None else calls.by_index.get(index)
        if known is not None:
            return [Fragment(known, fragment, head=False)]
        call = Call(ident or "", "", index)
        call.custom = True
        call.head = fragment
        calls.all.append(call)
        self._kept.size += CALL + len(call.id)
        if ident:
            calls.by_id[ident] = call
        if index is not None:
            calls.by_index[index] = call
        calls.last = call
        return [Fragment(call, fragment, head=True)]


def _spelt(arguments: Any) -> str:
    """Arguments as text, where their own repair is switched off too."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else dumps(arguments).decode()


def _made_up_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


def _usable(ident: Any) -> bool:
    if isinstance(ident, str):
        return bool(ident.strip()) and ident != "null"
    return type(ident) is int


def _mirrors(legacy: dict[str, Any], fragments: list[dict[str, Any]]) -> bool:
    """Whether a `function_call` says what the one tool call beside it says."""
    if len(fragments) != 1:
        return False
    function = fragments[0].get("function")
    return isinstance(function, dict) and all(
        (legacy.get(key) or "") == (function.get(key) or "") for key in ("name", "arguments")
    )


def _joined(text: str) -> tuple[str, str]:
    """Text with its surrogate pairs joined, and the half at its end that waits."""
    half = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
    return clean_text(text[: len(text) - len(half)]), half


def _whole(text: str) -> bool:
    """Whether arguments are a complete JSON object."""
    if text.strip()[:1] != "{":
        return False
    try:
        value, _ = loads(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return False
    return isinstance(value, dict)
