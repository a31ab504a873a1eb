"""Each call in the form that the API gives it.

A call's head (id, name, no arguments) is sent on its own, once its name is complete. The name is
complete with the first character of the arguments, another call, other content of the choice, or
the finish. Later fragments have an index and arguments only.

* call_members.py finds the id, name and arguments in a fragment.
* call_identity.py decides which call a fragment belongs to.
* later_fragments.py removes what only the head of a call has.
* legacy_calls.py reads `function_call`.
* call_doubts.py decides what becomes of fragments that may be there twice.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.core.kept import CALL, CHUNK, INDEX, Kept
from normalizer.core.lenient import clean_text, dumps, ends_in_half, loads
from normalizer.core.request import RequestInfo
from normalizer.wires.chat.call import TEXT_OF, Call, Fragment, made_up_id
from normalizer.wires.chat.call_doubts import CALL_AGAIN, HEAD_TWICE, Doubts
from normalizer.wires.chat.call_identity import Calls, Meaning
from normalizer.wires.chat.call_members import CallMembers, Members
from normalizer.wires.chat.chunk import Delta, Part, as_list
from normalizer.wires.chat.later_fragments import LaterFragments
from normalizer.wires.chat.legacy_calls import LegacyCalls

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
ID_SHARED = Deviation(
    code="T407",
    name="call-id-shared",
    fault="Two calls have the same id.",
    repair="The second call gets a new id.",
)
TYPE_MISSING = Deviation(
    code="T411",
    name="call-type-missing",
    fault="The first fragment of a call has no type.",
    repair='The fragment gets `"type": "function"`.',
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
    """Reads the fragments of each choice's calls, numbers the calls, and decides which ones wait.

    The holdback holds the chunks of fragments that wait. What becomes of them is decided here.
    """

    __slots__ = (
        "_choices",
        "_doubts",
        "_found",
        "_functions",
        "_kept",
        "_later",
        "_legacy",
        "_members",
    )

    def __init__(self, found: Findings, kept: Kept, request: RequestInfo) -> None:
        self._found = found
        self._kept = kept
        self._functions = request.functions and not request.tools
        self._members = CallMembers(found, request.tool_names)
        self._doubts = Doubts(found, kept)
        self._later = LaterFragments(found, kept)
        self._legacy = LegacyCalls(found, self._members, request)
        self._choices: dict[int, Calls] = {}

    # ------------------------------------------------------------------ fragments

    def read(self, part: Part) -> list[Fragment]:
        """Read the calls of a delta; return the fragments to be sent, in their order.

        A `function_call` that does not become a tool call stays in the delta.
        """
        calls = self._choices.get(part.index)
        if calls is None:
            calls = self._choices[part.index] = Calls()
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
        """The fragments in a delta, under whatever name."""
        fragments = self._listed(part)
        legacy = part.delta.get("function_call")
        if not isinstance(legacy, dict):
            return fragments
        return self._legacy.read(part, calls, legacy, fragments)

    def _listed(self, part: Part) -> list[dict[str, Any]]:
        """The fragments in `tool_calls`, which becomes a list of objects."""
        delta = part.delta
        given = delta.get("tool_calls")
        fragments = as_list(given)
        if given is None or (type(given) is list and len(fragments) == len(given)):
            return fragments
        # TGI through 3.0: LangChain raises "string indices must be integers"
        if not self._found(CALLS_NOT_A_LIST):
            return fragments
        part.edit()
        fragments = fragments or _from_text(given)
        if fragments or given in ("", {}):
            delta["tool_calls"] = fragments
        else:
            delta["native_tool_calls"] = delta.pop("tool_calls")
        return fragments

    def _fragment(
        self, calls: Calls, fragment: dict[str, Any], part: Part, touched: set[Call]
    ) -> list[Fragment]:
        members = self._members.read(fragment, part)
        call, meaning = calls.of(members)
        if part.from_message:
            call, meaning = None, "opens"  # in a whole message each element is a call
        elif meaning == "head twice":
            if not self._found(HEAD_TWICE):
                call, meaning = None, "opens"
        opens = call is None
        if call is None:
            call = self._open(calls, members)
        else:
            self._later.read(calls, call, fragment, members, part)
        touched.add(call)
        self._remember(calls, call, members, opens=opens)
        text = self._join_halves(call, members, part)
        # a name is never made up: fragments that get none are no call
        if not call.name:
            part.edit()
            call.stash.append(fragment)
            call.stashed += self._kept.keep(CHUNK)
            call.arguments.begun = call.arguments.begun or bool(text)
            return []
        if call.stash:
            call.kind = members.kind  # a fragment without a name may not show it
            return self._with_stash(calls, call, fragment, text, part)
        if opens:
            return self._head(calls, call, fragment, text, part)
        return self._more(calls, call, fragment, text, part, meaning)

    def _open(self, calls: Calls, members: Members) -> Call:
        ident = members.ident
        # clients match results by id; the first id stays, since the upstream may need it back
        if ident in calls.by_id and self._found(ID_SHARED):
            ident = made_up_id()
        call = Call(ident, members.name, members.place, members.kind)
        call.given = members.ident
        calls.all.append(call)
        calls.answered = False
        calls.version += 1
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
        if calls.by_index.get(index) is not call:
            calls.version += 1
        calls.by_index[index] = call

    def _join_halves(self, call: Call, members: Members, part: Part) -> str:
        """The fragment's text; half a surrogate pair at its end waits for the next one."""
        text = members.text
        # half a pair is no character: Python cannot encode it
        if not text or not (call.half or ends_in_half(text)):
            return text
        text = call.half + text
        call.half = text[-1] if ends_in_half(text) else ""
        text = clean_text(text[: len(text) - len(call.half)])
        part.edit()
        members.holder[TEXT_OF[call.kind]] = text
        return text

    def _head(
        self, calls: Calls, call: Call, fragment: dict[str, Any], text: str, part: Part
    ) -> list[Fragment]:
        """Send the fragment that opens a call as a head, and its arguments after it."""
        self._name_complete(calls)
        self._number(calls, call, fragment, part)
        # the AI SDK's schema refuses a first fragment without a type
        if fragment.get("type") != call.kind and self._found(TYPE_MISSING):
            part.edit()
            fragment["type"] = call.kind
        holder, member = fragment[call.kind], TEXT_OF[call.kind]
        head = call.head = Fragment(call, fragment, head=True, waits=not text)
        if not text:
            calls.naming = call
            return [head]
        # an object whose repair is off cannot be cut into pieces
        # a copied loop keeps the first fragment and adds it to itself, so it must have no arguments
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
            # Ollama gives every parallel call the index 0, and clients make one call of two
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
        """Join a fragment that brings the name with those that waited for it."""
        part.edit()
        earlier, member = self._unstash(call), TEXT_OF[call.kind]
        holders = [one.get(call.kind, {}) for one in earlier]
        text = "".join(_spelt(holder.get(member)) for holder in holders) + text
        holder = {**holders[0], **fragment[call.kind], member: text}
        whole = {**earlier[0], **fragment, call.kind: holder}
        fragment.clear()
        fragment.update(whole)
        call.arguments.begun = False
        return self._head(calls, call, fragment, text, part)

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
        if calls.ends_name(call, text):
            self._name_complete(calls)
        if meaning == "comes again" and self._found.on(CALL_AGAIN):
            self._doubts.decide(calls, call)
            part.edit()
            return self._doubts.head_again(calls, call, text)
        if not text and _is_bare(call, fragment) and (part.changed or call.head_waits):
            return []  # it only had members that were removed, or a piece of the name
        self._put_index(call, fragment, part)
        if call in calls.doubts and text.strip():
            return self._doubts.more(calls, call, fragment, text)
        return self._doubts.arguments(calls, call, fragment, text)

    # ------------------------------------------------------------------ what waits

    def _name_complete(self, calls: Calls) -> None:
        """End the wait for more of the last head's name."""
        call, calls.naming = calls.naming, None
        if call is not None and call.head is not None:
            self._complete(call.head)

    def _complete(self, head: Fragment) -> None:
        """Give a head the name and the id that it is sent with."""
        call, value = head.call, head.value
        head.waits = False
        # one id for a call, not one for each fragment; none for fragments that never get a name
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
        """Decide about all fragments that wait in a choice: other content or its end has come.

        ``cut``: the choice ends with a finish that cuts arguments off.
        """
        calls = self._choices.get(index)
        if calls is None:
            return
        self._name_complete(calls)
        for call in list(calls.doubts):
            self._doubts.decide(calls, call, cut=cut)

    # ------------------------------------------------------------------ what others ask

    def as_requested(self, index: int, delta: Delta) -> Delta:
        """Return a delta of a choice with its calls in the form that the request used."""
        if not self._functions:
            return delta
        return self._legacy.as_requested(self._choices.get(index), delta)

    def called(self, index: int) -> str | None:
        """Return the kind of the choice's calls: `tool_calls`, `function_call` or None."""
        calls = self._choices.get(index)
        if calls is None:
            return None
        if calls.legacy is not None or (calls.count and self._functions):
            return "function_call"
        return "tool_calls" if calls.count else None

    def has_come(self, index: int) -> bool:
        """Return whether a fragment of a call has come in the choice."""
        return index in self._choices

    def to_be_run(self, index: int) -> bool:
        """Return whether the client has to run a call of the choice."""
        calls = self._choices.get(index)
        return calls is not None and calls.to_be_run

    def whole(self, index: int) -> bool:
        """Return whether the choice has calls, all of them complete."""
        calls = self._choices.get(index)
        return calls is not None and calls.whole

    def names(self, index: int) -> set[str]:
        """Return the names of the choice's calls."""
        calls = self._choices.get(index)
        return set() if calls is None else calls.names

    def cut(self, index: int) -> bool:
        """Return whether the arguments of one of the choice's calls are incomplete."""
        calls = self._choices.get(index)
        return calls is not None and calls.cut

    def answer(self, index: int) -> None:
        """Note that the server has run the calls of the choice itself."""
        calls = self._choices.get(index)
        if calls is not None:
            calls.answered = True

    def empty(self, index: int) -> list[dict[str, Any]]:
        """A fragment with `{}` for each call that ended without arguments."""
        calls = self._choices.get(index)
        if calls is None or any(call.stash for call in calls.all):
            return []
        fragments = []
        for call in calls.all:
            silent = call.number is not None and not call.arguments.begun
            if silent and call.kind == "function" and call is not calls.legacy:
                # `json.loads("")` is an error; vLLM's hermes parser sends none for tools without
                # parameters
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
        """Return the fragments that never got a name, and forget them."""
        calls = self._choices.get(index)
        left = [fragment for call in calls.all for fragment in call.stash] if calls else []
        if left:
            for call in calls.all if calls else ():
                self._unstash(call)
        return left

    def may_be_answered(self, index: int) -> bool:
        """Return whether text would show that the server has run the calls of a choice."""
        calls = self._choices.get(index)
        return calls is not None and not calls.answered and calls.whole

    def calls_of(self, index: int) -> Calls | None:
        """Return the calls of a choice, None if it has none."""
        return self._choices.get(index)

    def by_number(self, index: int, number: Any) -> Call | None:
        """Return the call that is sent with a number."""
        calls = self._choices.get(index)
        # with the repair of indexes off, this may be anything
        return calls.by_number.get(number) if calls and type(number) is int else None

    def _unstash(self, call: Call) -> list[dict[str, Any]]:
        fragments, call.stash = call.stash, []
        self._kept.size -= call.stashed
        call.stashed = 0
        return fragments


def _is_bare(call: Call, fragment: dict[str, Any]) -> bool:
    """Return whether a fragment has no members but its index and its text."""
    if not fragment.keys() <= {"index", call.kind}:
        return False
    return bool(fragment.get(call.kind, {}).keys() <= {TEXT_OF[call.kind]})


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
