"""Each call in the form that the API gives it.

A call's head (id, name, no arguments) leaves on its own, once its name is complete: with the first
character of its arguments, another call, other content of the choice, or the finish. The fragments
behind it have an index and arguments only.

Which call a fragment belongs to is decided in call_identity.py; what becomes of fragments that may
be there twice, in call_doubts.py.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.core.kept import CALL, CHUNK, INDEX, Kept
from normalizer.core.lenient import clean_text, dumps, loads
from normalizer.core.request import RequestInfo
from normalizer.wires.chat.call import TEXT_OF, Arguments, Call, Fragment, made_up_id
from normalizer.wires.chat.call_doubts import CALL_AGAIN, HEAD_TWICE, Doubts
from normalizer.wires.chat.call_identity import Calls, Meaning
from normalizer.wires.chat.call_members import CallMembers, Members
from normalizer.wires.chat.chunk import Delta, Part, as_list

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


class ToolCalls:
    """Reads the fragments of each choice's calls, numbers the calls and says which fragments wait.

    What waits is held by the holdback; here is decided what becomes of it.
    """

    __slots__ = ("_choices", "_doubts", "_found", "_functions", "_kept", "_members", "_tools")

    def __init__(self, found: Findings, kept: Kept, request: RequestInfo) -> None:
        self._found = found
        self._kept = kept
        self._tools = request.tools
        self._functions = request.functions and not request.tools
        self._members = CallMembers(found, request.tool_names)
        self._doubts = Doubts(found, kept)
        self._choices: dict[int, Calls] = {}

    # ------------------------------------------------------------------ fragments

    def read(self, part: Part) -> list[Fragment]:
        """Take the calls of a delta: the fragments to be sent, in their order.

        A legacy `function_call` that leaves as such stays in the delta.
        """
        calls = self._choices.setdefault(part.index, Calls())
        given = self._given(part, calls)
        earlier = list(calls.doubts)
        touched: set[Call] = set()
        out: list[Fragment] = []
        for fragment in given:
            out += self._fragment(calls, fragment, part, touched)
        for call in earlier:
            if call not in touched:
                self._doubts.decide(calls, call)
        return out

    def _given(self, part: Part, calls: Calls) -> list[dict[str, Any]]:
        """The fragments that a delta holds, under whatever name."""
        delta, found = part.delta, self._found
        given = delta.get("tool_calls")
        fragments = as_list(given)
        if given is not None and (type(given) is not list or len(fragments) != len(given)):
            if found(CALLS_NOT_A_LIST):
                part.edit()
                fragments = fragments or _from_text(given)
                if fragments or given in ("", {}):
                    delta["tool_calls"] = fragments
                else:
                    delta["native_tool_calls"] = delta.pop("tool_calls")
        legacy = delta.get("function_call")
        if not isinstance(legacy, dict):
            return fragments
        if _mirrors(legacy, fragments) and found(CALL_TWICE_OVER):
            part.edit()
            if self._functions:
                del delta["tool_calls"]
                fragments = []
            else:
                del delta["function_call"]
                return fragments
        elif self._tools and not fragments and found(LEGACY_CALL):
            part.edit()
            del delta["function_call"]
            first = {} if calls.all else {"type": "function"}
            fragments = delta["tool_calls"] = [{"index": 0, **first, "function": legacy}]
            return fragments
        self._legacy(calls, legacy, part)
        return fragments

    def _fragment(
        self, calls: Calls, fragment: dict[str, Any], part: Part, touched: set[Call]
    ) -> list[Fragment]:
        members = self._members.read(fragment, part)
        call, meaning = calls.of(members)
        if part.from_message:
            call, meaning = None, Meaning.OPENS  # of a whole message each element is a call
        elif meaning is Meaning.HEAD_TWICE:
            if not self._found(HEAD_TWICE):
                call, meaning = None, Meaning.OPENS
        opens = call is None
        if call is None:
            call = self._open(calls, members)
        else:
            self._take_members_off(calls, call, fragment, members, part)
        touched.add(call)
        self._remember(calls, call, members, opens=opens)
        text = self._join_halves(call, members, part)
        if not call.name:
            part.edit()
            call.stash.append(fragment)
            call.stashed += self._kept.keep(CHUNK)
            call.arguments.begun = call.arguments.begun or bool(text)
            return []
        if call.stash:
            return self._with_stash(calls, call, fragment, text, part)
        if opens:
            return self._head(calls, call, fragment, text, part)
        return self._more(calls, call, fragment, text, part, meaning)

    def _open(self, calls: Calls, members: Members) -> Call:
        ident = members.ident
        if ident in calls.by_id and self._found(ID_SHARED):
            ident = made_up_id()
        call = Call(ident, members.name, members.place, members.kind)
        call.given = members.ident
        calls.all.append(call)
        calls.answered = False
        self._kept.size += CALL + len(members.ident) + len(members.name)
        if ident:
            calls.by_id[ident] = call
        return call

    def _remember(self, calls: Calls, call: Call, members: Members, *, opens: bool) -> None:
        calls.last = call
        index = members.place
        if index is None or (not opens and not members.name and not members.ident):
            return
        if not opens and index not in calls.by_index:
            self._kept.size += INDEX
        calls.by_index[index] = call

    def _join_halves(self, call: Call, members: Members, part: Part) -> str:
        """The fragment's text; half a surrogate pair at its end waits for the next one."""
        text = members.text
        if not text or not (call.half or "\ud800" <= text[-1] <= "\udbff"):
            return text
        text = call.half + text
        call.half = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
        text = clean_text(text[: len(text) - len(call.half)])
        part.edit()
        members.holder[TEXT_OF[call.kind]] = text
        return text

    def _head(
        self, calls: Calls, call: Call, fragment: dict[str, Any], text: str, part: Part
    ) -> list[Fragment]:
        """The fragment that opens a call: its head, and the arguments behind it."""
        self._name_complete(calls)
        self._number(calls, call, fragment, part)
        if fragment.get("type") != call.kind and self._found(TYPE_MISSING):
            part.edit()
            fragment["type"] = call.kind
        holder, member = fragment[call.kind], TEXT_OF[call.kind]
        head = call.head = Fragment(call, fragment, head=True, waits=not text)
        if not text:
            calls.naming = call
            return [head]
        # arguments that stay an object stay whole
        if not isinstance(holder.get(member), str) or not self._found(ARGUMENTS_WITH_HEAD):
            call.arguments.add(text)
            self._complete(head)
            return [head]
        part.edit()
        holder[member] = ""
        self._complete(head)
        more = {"index": call.number, call.kind: {member: text}}
        return [head, *self._doubts.arguments(calls, call, more, text)]

    def _number(self, calls: Calls, call: Call, fragment: dict[str, Any], part: Part) -> None:
        call.number = calls.count
        calls.by_number[call.number] = call
        calls.count += 1
        self._put_index(call, fragment, part)

    def _put_index(self, call: Call, fragment: dict[str, Any], part: Part) -> None:
        index = fragment.get("index")
        if type(index) is int:
            if index != call.number and self._found(INDEX_WRONG):
                part.edit()
                fragment["index"] = call.number
        elif self._found(INDEX_MISSING):
            part.edit()
            others = {key: value for key, value in fragment.items() if key != "index"}
            fragment.clear()
            fragment.update({"index": call.number, **others})

    def _with_stash(
        self, calls: Calls, call: Call, fragment: dict[str, Any], text: str, part: Part
    ) -> list[Fragment]:
        """The name has come: what waited for it leaves with it."""
        part.edit()
        earlier, member = self._unstash(call), TEXT_OF[call.kind]
        holders = [one.get(call.kind, {}) for one in earlier]
        said = "".join(_spelt(holder.get(member)) for holder in holders) + text
        holder = {**holders[0], **fragment[call.kind], member: said}
        whole = {**earlier[0], **fragment, call.kind: holder}
        fragment.clear()
        fragment.update(whole)
        call.arguments.begun = False
        return self._head(calls, call, fragment, said, part)

    def _more(
        self,
        calls: Calls,
        call: Call,
        fragment: dict[str, Any],
        text: str,
        part: Part,
        meaning: Meaning,
    ) -> list[Fragment]:
        """A fragment of a call whose head has come."""
        if calls.naming is not None and (calls.naming is not call or text):
            self._name_complete(calls)
        if meaning is Meaning.COMES_AGAIN and self._found.on(CALL_AGAIN):
            self._doubts.decide(calls, call)
            part.edit()
            return self._doubts.head_again(calls, call, text)
        bare = fragment.keys() <= {"index", call.kind}
        if not text and bare and fragment.get(call.kind, {}).keys() <= {TEXT_OF[call.kind]}:
            if part.changed or (call.head is not None and call.head.waits):
                return []  # what it had was taken off it, or it was a piece of a name
        self._put_index(call, fragment, part)
        if call in calls.doubts and text.strip():
            return self._doubts.more(calls, call, fragment, text)
        return self._doubts.arguments(calls, call, fragment, text)

    def _take_members_off(
        self,
        calls: Calls,
        call: Call,
        fragment: dict[str, Any],
        members: Members,
        part: Part,
    ) -> None:
        """Take off a later fragment what only the first one of a call has."""
        ident, holder, found = members.ident, members.holder, self._found
        if "id" in fragment:
            if ident and not call.id and (call.head is None or call.head.waits):
                call.id = call.given = ident
                calls.by_id[ident] = call
            known = ID_REPEATED if ident in (call.id, call.given) else ID_CHANGES
            if found(known if ident else MEMBER_AGAIN):
                part.edit()
                del fragment["id"]
        if "type" in fragment and found(MEMBER_AGAIN):
            part.edit()
            del fragment["type"]
        if "name" in holder:
            self._take_name_off(call, holder, members.name, part)

    def _take_name_off(self, call: Call, holder: dict[str, Any], name: str, part: Part) -> None:
        """Take off a name that is the call's, or becomes a part of it."""
        again = _name_again(call, name)
        if again is NAME_LATE:
            self._found(again)
            call.name = name
        elif not self._found(again):
            return
        elif again is NAME_IN_PIECES:
            self._kept.size += len(name)
            call.name = name if name.startswith(call.name) else call.name + name
        part.edit()
        del holder["name"]

    # ------------------------------------------------------------------ what waits

    def _name_complete(self, calls: Calls) -> None:
        """The name of the last head goes on no more."""
        call, calls.naming = calls.naming, None
        if call is not None and call.head is not None:
            self._complete(call.head)

    def _complete(self, head: Fragment) -> None:
        """A head leaves: its name and its id are what they will be."""
        call, value = head.call, head.value
        head.waits = False
        if not call.id and self._found(ID_MISSING):
            call.id = made_up_id()
        if call.id and value.get("id") != call.id:
            others = {key: item for key, item in value.items() if key not in ("index", "id")}
            head.value = {"index": value.get("index"), "id": call.id, **others}
            head.changed = True
        if head.value[call.kind].get("name") != call.name:
            holder = {key: v for key, v in head.value[call.kind].items() if key != "name"}
            head.value[call.kind] = {"name": call.name, **holder}
            head.changed = True

    def decide(self, index: int, *, cut: bool = False) -> None:
        """Decide about all that waits in a choice: something else of it comes, or its end.

        ``cut``: it ends with a finish that cuts arguments off.
        """
        calls = self._choices.get(index)
        if calls is None:
            return
        self._name_complete(calls)
        for call in list(calls.doubts):
            self._doubts.decide(calls, call, cut=cut)

    # ------------------------------------------------------------------ legacy calls

    def _legacy(self, calls: Calls, function: dict[str, Any], part: Part) -> None:
        """Read a `function_call` that leaves as one."""
        first = calls.legacy is None
        if calls.legacy is None:
            calls.legacy = Call("", "", 0)
            calls.all.append(calls.legacy)
            if self._functions:
                # it is call 0 for those who asked for functions; tool calls beside it come after
                calls.legacy.number = 0
                calls.by_number.setdefault(0, calls.legacy)
                calls.count = 1
        call = calls.legacy
        if "arguments" in function and not isinstance(function["arguments"], str):
            members = self._members.read({"function": function}, part)
            function["arguments"] = members.text
        name = function.get("name")
        if name and isinstance(name, str):
            if call.name == name and self._found(NAME_REPEATED):
                part.edit()
                del function["name"]
            call.name = call.name or name
        elif "name" in function and not first and self._found(MEMBER_AGAIN):
            part.edit()
            del function["name"]
        if isinstance(function.get("arguments"), str):
            call.arguments.add(function["arguments"])

    def dress(self, index: int, delta: Delta) -> Delta:
        """The delta in the form that the request used: `functions` get a `function_call`."""
        fragments = delta.get("tool_calls")
        calls = self._choices.get(index)
        if not self._functions or not fragments or calls is None:
            return delta
        first = calls.by_number.get(0)
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

    # ------------------------------------------------------------------ what others ask

    def called(self, index: int) -> str | None:
        """The kind of call that the choice streamed: `tool_calls`, `function_call` or None."""
        calls = self._choices.get(index)
        if calls is None:
            return None
        if calls.legacy is not None or (calls.count and self._functions):
            return "function_call"
        return "tool_calls" if calls.count else None

    def to_be_run(self, index: int) -> bool:
        """Whether a call of the choice is the client's to run: the server has not done it."""
        calls = self._choices.get(index)
        return calls is not None and not calls.answered and any(map(self._named, calls.all))

    def _named(self, call: Call) -> bool:
        return bool(call.name)

    def whole(self, index: int) -> bool:
        """Whether calls were streamed, and the arguments of all of them are complete."""
        calls = self._choices.get(index)
        if calls is None or not calls.count:
            return False
        return all(call.arguments.whole for call in calls.all if call.name)

    def names(self, index: int) -> set[str]:
        """The names of the choice's calls."""
        calls = self._choices.get(index)
        return {call.name for call in calls.all if call.name} if calls is not None else set()

    def answer(self, index: int) -> None:
        """The server answered the calls of the choice itself."""
        calls = self._choices.get(index)
        if calls is not None:
            calls.answered = True

    def cut(self, index: int) -> bool:
        """Whether a call's arguments are incomplete."""
        calls = self._choices.get(index)
        return calls is not None and any(call.arguments.torn for call in calls.all)

    def empty(self, index: int) -> list[dict[str, Any]]:
        """A fragment with `{}` for each call that ended without arguments."""
        calls = self._choices.get(index)
        if calls is None or any(call.stash for call in calls.all):
            return []
        fragments = []
        for call in calls.all:
            silent = call.number is not None and not call.arguments.begun
            if silent and call.kind == "function" and call is not calls.legacy:
                if self._found(ARGUMENTS_MISSING):
                    fragments.append({"index": call.number, "function": {"arguments": "{}"}})
        return fragments

    def halves(self, index: int) -> list[dict[str, Any]]:
        """A fragment with U+FFFD for each call whose arguments end in half a surrogate pair."""
        calls = self._choices.get(index)
        left = [call for call in calls.all if call.half] if calls else []
        for call in left:
            call.half = ""
        return [{"index": call.number, call.kind: {TEXT_OF[call.kind]: "\ufffd"}} for call in left]

    def nameless(self, index: int) -> list[dict[str, Any]]:
        """The fragments that never got a name; they wait no more."""
        calls = self._choices.get(index)
        left = [fragment for call in calls.all for fragment in call.stash] if calls else []
        if left:
            for call in calls.all if calls else ():
                self._unstash(call)
        return left

    def steady(self, index: int, number: int) -> Arguments | None:
        """The arguments of the call with this number, if pieces of them leave without a doubt."""
        calls = self._choices.get(index)
        call = calls.by_number.get(number) if calls else None
        if calls is None or call is None or call is not calls.last or call in calls.doubts:
            return None
        if call.half or call.arguments.whole or not call.arguments.begun:
            return None
        return call.arguments

    def _unstash(self, call: Call) -> list[dict[str, Any]]:
        fragments, call.stash = call.stash, []
        self._kept.size -= call.stashed
        call.stashed = 0
        return fragments


def _name_again(call: Call, name: str) -> Deviation:
    """What a name on a later fragment of a call is."""
    if not name:
        return MEMBER_AGAIN
    if not call.name:
        return NAME_LATE
    if name == call.name or call.head is None or not call.head.waits:
        return NAME_REPEATED
    return NAME_IN_PIECES


def _spelt(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else dumps(arguments).decode()


def _from_text(given: Any) -> list[dict[str, Any]]:
    """The calls that a JSON text is, if it is a list of some."""
    if not isinstance(given, str):
        return []
    try:
        value, _ = loads(given.encode("utf-8", "surrogatepass"))
    except ValueError:
        return []
    return as_list(value)


def _mirrors(legacy: dict[str, Any], fragments: list[dict[str, Any]]) -> bool:
    """Whether a `function_call` says what the one tool call beside it says."""
    if len(fragments) != 1:
        return False
    function = fragments[0].get("function")
    return isinstance(function, dict) and all(
        (legacy.get(key) or "") == (function.get(key) or "") for key in ("name", "arguments")
    )
