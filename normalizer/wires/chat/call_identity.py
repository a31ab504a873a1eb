"""Which call a fragment belongs to.

The *candidate* is the call that is open on the fragment's index; without an index, the last call.

=====================================  ==========================================================
an id that nobody had, and a name      opens a call; if the candidate has this name and no
                                       arguments yet, its head was sent twice
an id that nobody had, no name         continues the candidate: its id changed
an id that a call has                  continues that call; opens one with an id of its own if it
                                       has another name and the call has arguments or the index is
                                       new, or if it is a whole call on a new index
the id and name of a call whose        comes again: it is that call once more, or another one if
arguments are complete                 its arguments turn out to differ
no id, a name                          opens a call if there is no candidate, if its name is
                                       another and the candidate has arguments, or if it is a whole
                                       call and the candidate is one too; else continues it
no id, no name                         continues the candidate; on an index that nobody opened the
                                       last call
=====================================  ==========================================================

A call is never split merely because its arguments so far are complete. What a fragment belongs to
depends on fragments only, never on how the bytes were split.
"""

from __future__ import annotations

from typing import Literal

from normalizer.core.lenient import loads
from normalizer.wires.chat.call import Call, Doubt
from normalizer.wires.chat.call_members import Members

# What a fragment does to its call. "comes again": the whole head of a call that is complete; "head
# twice": the head of a call that has no arguments yet.
Meaning = Literal["opens", "continues", "comes again", "head twice"]


class Calls:
    """The calls of one choice.

    * ``all``: in the order in which they came; ``count``: those that have a number.
    * ``last``: the one of the last fragment; ``naming``: the one whose name may go on.
    * ``doubts``: fragments that wait for what follows them, by call.
    * ``legacy``: the call that is a `function_call`.
    * ``answered``: the server has run the calls itself.
    * ``version``: another one whenever a call, an id or an index comes to be known.
    """

    __slots__ = (
        "all",
        "answered",
        "by_id",
        "by_index",
        "by_number",
        "count",
        "doubts",
        "last",
        "legacy",
        "naming",
        "version",
    )

    def __init__(self) -> None:
        self.all: list[Call] = []
        self.by_id: dict[str, Call] = {}
        self.by_index: dict[int, Call] = {}
        self.by_number: dict[int, Call] = {}
        self.count = 0
        self.last: Call | None = None
        self.naming: Call | None = None
        self.doubts: dict[Call, Doubt] = {}
        self.legacy: Call | None = None
        self.answered = False
        self.version = 0

    @property
    def to_be_run(self) -> bool:
        """Whether a call is the client's to run: the server has not done it."""
        return not self.answered and any(call.name for call in self.all)

    @property
    def whole(self) -> bool:
        """Whether there are calls, and the arguments of all of them are complete."""
        return self.count > 0 and all(call.arguments.whole for call in self.all if call.name)

    @property
    def names(self) -> set[str]:
        """The names of the calls."""
        return {call.name for call in self.all if call.name}

    @property
    def cut(self) -> bool:
        """Whether the arguments of a call are incomplete."""
        return any(call.arguments.torn for call in self.all)

    def of(self, members: Members) -> tuple[Call | None, Meaning]:
        """The call that a fragment is about, and what it does to it."""
        if members.ident in self.by_id:
            return self._with_known_id(members, self.by_id[members.ident])
        candidate = self._candidate(members)
        if members.ident:
            return self._with_new_id(members, candidate)
        return self._without_id(members, candidate)

    def _candidate(self, members: Members) -> Call | None:
        if members.place is None:
            return self.last
        candidate = self.by_index.get(members.place)
        # no call has an index: the only order is the one in which they came
        if candidate is None and not self.by_index:
            return self.last
        return candidate

    def _with_known_id(self, members: Members, known: Call) -> tuple[Call | None, Meaning]:
        candidate = self._candidate(members)
        # two calls may share an id
        if candidate is not None and candidate.given == members.ident:
            known = candidate
        if not members.name:
            return known, "continues"
        if _is_another(members, known):
            return None, "opens"
        if members.name == known.name and known.arguments.whole:
            return known, "comes again"
        return known, "continues"

    def _with_new_id(self, members: Members, candidate: Call | None) -> tuple[Call | None, Meaning]:
        if candidate is None or (members.name and candidate.arguments.begun and candidate.name):
            return None, "opens"
        if not members.name:
            return candidate, "continues"
        # two calls of one tool look the same: only before any arguments this is one call
        if candidate.name == members.name:
            return candidate, "head twice"
        if not candidate.name and not candidate.id:
            return candidate, "continues"
        return None, "opens"

    def _without_id(self, members: Members, candidate: Call | None) -> tuple[Call | None, Meaning]:
        if candidate is None:
            return self._on_new_index(members)
        # Gemini sends fragments without index and id: they continue the last call
        if not members.name or not candidate.name or not candidate.arguments.begun:
            return candidate, "continues"
        if members.name != candidate.name:
            return None, "opens"
        if not candidate.arguments.whole or not is_object(members.text):
            return candidate, "continues"
        if members.place is not None and candidate.upstream == members.place:
            return candidate, "comes again"
        return None, "opens"

    def _on_new_index(self, members: Members) -> tuple[Call | None, Meaning]:
        """A fragment without an id where no call is open."""
        drifts = members.place is not None and not members.name
        if drifts and self.last is not None and self.last.name:
            return self.last, "continues"
        return None, "opens"

    def ends_name(self, call: Call, text: str) -> bool:
        """Whether a fragment of ``call`` shows that the name that may go on is complete."""
        return self.naming is not None and (self.naming is not call or bool(text))


def _is_another(members: Members, known: Call) -> bool:
    """Whether a named fragment with the id of ``known`` opens another call."""
    begun = known.arguments.begun
    elsewhere = members.place is not None and known.upstream not in (None, members.place)
    if known.name and members.name != known.name and (begun or elsewhere):
        return True
    return elsewhere and begun and is_object(members.text)


def is_object(text: str) -> bool:
    """Whether arguments are a complete JSON object."""
    if not text.lstrip().startswith("{"):
        return False
    try:
        value, _ = loads(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return False
    return isinstance(value, dict)
