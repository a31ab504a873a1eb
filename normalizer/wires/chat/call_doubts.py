"""Fragments of calls that wait, because what follows tells what they are.

* A **placeholder**: `{}` in front of the real arguments (Anthropic's `input: {}`). It is dropped if
  its call goes on with other arguments, and is sent as it came otherwise.
* Arguments, or a call's head and its arguments, that come **again** when they are complete. The
  same ones are dropped. Others are another call if a head came with them, and else are delivered:
  the client fails on them loudly, which is better than to run a tool with half of them.
* A **flush**: a torn beginning that comes once more, to its end (vLLM). Only the end is new, unless
  the call goes on: then it was a nested object that begins as the whole did.

They wait for the next fragment of their call, the next chunk with content of their choice,
or the finish. Their chunks are held by the holdback; what becomes of them is decided here.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.core.kept import CALL, Kept
from normalizer.wires.chat.call import TEXT_OF, Call, Doubt, Fragment, made_up_id, of
from normalizer.wires.chat.call_identity import Calls

HEAD_TWICE = Deviation(
    code="T424",
    name="call-head-twice",
    fault="The first fragment of a call arrives twice.",
    repair="One call is opened.",
)
PLACEHOLDER = Deviation(
    code="T427",
    name="arguments-placeholder",
    fault="The arguments of a call begin with `{}`, and then the real arguments come.",
    repair="The `{}` is removed.",
)
ARGUMENTS_AGAIN = Deviation(
    code="T428",
    name="arguments-again",
    fault="The arguments of a call come again from their beginning.",
    repair="The arguments are delivered once.",
)
CALL_AGAIN = Deviation(
    code="T429",
    name="call-again",
    fault="The first fragment of a call comes again with other arguments.",
    repair="It opens another call, with an id of its own.",
)


class Doubts:
    """Decides what becomes of fragments that wait for what follows them."""

    __slots__ = ("_found", "_kept")

    def __init__(self, found: Findings, kept: Kept) -> None:
        self._found = found
        self._kept = kept

    def arguments(
        self, calls: Calls, call: Call, fragment: dict[str, Any], text: str
    ) -> list[Fragment]:
        """Arguments of a call about which nothing is in doubt, or begins to be."""
        kind = self._doubt_of(call, text)
        if not kind:
            call.arguments.add(text)
            return [Fragment(call, fragment, head=False, waits=False)]
        doubt = calls.doubts[call] = Doubt(call, kind)
        one = Fragment(call, fragment, head=False, waits=True)
        doubt.add(one, text)
        doubt.text = text if kind == "flush" else ""
        self._decide_if_clear(calls, doubt)
        return [one]

    def _doubt_of(self, call: Call, text: str) -> str:
        """The kind of doubt that a piece of arguments raises, "" for none."""
        arguments = call.arguments
        if call.kind != "function" or not text.strip():
            return ""
        if not arguments.begun:
            return "placeholder" if text.strip() == "{}" else ""
        if arguments.whole:
            return "again"
        # the cheap question first: only a text that can be the beginning is summed up
        if text.lstrip()[:1] in ("{", "[") and arguments.begins(text) and of(text).whole:
            return "flush"
        return ""

    def more(self, calls: Calls, call: Call, fragment: dict[str, Any], text: str) -> list[Fragment]:
        """Another piece of arguments of a call some of which wait already."""
        doubt = calls.doubts[call]
        if doubt.kind == "again":
            one = Fragment(call, fragment, head=False, waits=True)
            doubt.add(one, text)
            self._decide_if_clear(calls, doubt)
            return [one]
        del calls.doubts[call]
        if doubt.kind == "flush":
            # a nested object that begins as the whole did
            self._leave(doubt)
            call.arguments.add(doubt.text)
        # LiteLLM in 2024: `{}{"city":…` is no JSON, and the call fails
        elif self._found(PLACEHOLDER):
            self._drop(doubt)
        else:
            self._leave(doubt)
            call.arguments.add("{}")
        return self.arguments(calls, call, fragment, text)

    def head_again(self, calls: Calls, call: Call, text: str) -> list[Fragment]:
        """The head of a call that is complete: its arguments tell whether it is another call."""
        member = TEXT_OF[call.kind]
        doubt = calls.doubts[call] = Doubt(call, "again")
        value: dict[str, Any] = {"index": call.number, "id": "", "type": call.kind}
        value[call.kind] = {"name": call.name, member: ""}
        doubt.head = Fragment(call, value, head=True, waits=True)
        doubt.fragments.append(doubt.head)
        if not text.strip():
            return [doubt.head]
        more = {"index": call.number, call.kind: {member: text}}
        one = Fragment(call, more, head=False, waits=True)
        doubt.add(one, text)
        self._decide_if_clear(calls, doubt)
        return [doubt.head, one]

    def _decide_if_clear(self, calls: Calls, doubt: Doubt) -> None:
        """Decide about arguments that come again as soon as they show what they are."""
        arguments = doubt.call.arguments
        if doubt.kind == "again" and (
            doubt.arguments.size >= arguments.size or doubt.arguments.whole
        ):
            self.decide(calls, doubt.call)

    def decide(self, calls: Calls, call: Call, *, cut: bool = False) -> None:
        """Decide about what waits of a call: nothing more of it comes that could tell.

        ``cut``: its arguments were cut off, so that a torn beginning may be all that there is.
        """
        doubt = calls.doubts.pop(call, None)
        if doubt is None:
            return
        if doubt.kind == "placeholder":
            self._leave(doubt)
            call.arguments.add("{}")
        elif doubt.kind == "flush" and not cut:
            self._only_the_rest(doubt)
        elif doubt.kind == "flush":
            self._leave(doubt)
            call.arguments.add(doubt.text)
        else:
            self._decide_again(calls, doubt)

    def _decide_again(self, calls: Calls, doubt: Doubt) -> None:
        """Drop arguments that came again if they are the same; others may be another call's."""
        if not doubt.arguments.begun or doubt.arguments.same(doubt.call.arguments):
            if self._found(HEAD_TWICE if doubt.head is not None else ARGUMENTS_AGAIN):
                self._drop(doubt)
            else:
                self._leave(doubt)
        elif doubt.head is not None:
            self._another_call(calls, doubt)
        else:
            self._leave(doubt)

    def _only_the_rest(self, doubt: Doubt) -> None:
        """A torn beginning came once more, to its end: only the end is new."""
        call, fragment = doubt.call, doubt.fragments[0]
        if self._found(ARGUMENTS_AGAIN):
            rest = call.arguments.rest_of(doubt.text)
            fragment.value = {"index": call.number, call.kind: {TEXT_OF[call.kind]: rest}}
            fragment.changed = True
            call.arguments.add(rest)
        self._leave(doubt)

    def _another_call(self, calls: Calls, doubt: Doubt) -> None:
        """What came again is another call: it gets an id and a number of its own."""
        old = doubt.call
        self._found(CALL_AGAIN)
        # eino makes an id of the function's name, so two calls of one function share it
        new = Call(made_up_id(), old.name, old.upstream, old.kind)
        new.given = old.given
        new.arguments = doubt.arguments
        new.number = calls.count
        calls.by_number[new.number] = new
        calls.count += 1
        calls.all.append(new)
        calls.version += 1
        calls.answered = False
        self._kept.size += CALL
        if old.upstream is not None:
            calls.by_index[old.upstream] = new
        if old.given:
            calls.by_id[old.given] = new
        if calls.last is old:
            calls.last = new
        for fragment in doubt.fragments:
            fragment.call = new
            fragment.changed = True
            fragment.value["index"] = new.number
        if doubt.head is not None:
            doubt.head.value["id"] = new.id
        self._leave(doubt)

    def _leave(self, doubt: Doubt) -> None:
        for fragment in doubt.fragments:
            fragment.waits = False

    def _drop(self, doubt: Doubt) -> None:
        for fragment in doubt.fragments:
            fragment.waits, fragment.gone = False, True
