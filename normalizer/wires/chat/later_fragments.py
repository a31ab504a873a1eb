"""What only the first fragment of a call has: later ones lose their id, type and name.

Clients join what comes twice: openai-python's `.stream()` and LlamaIndex make `call_1call_1` of an
id. Spring AI takes each fragment with an id for a new call.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.core.kept import Kept
from normalizer.wires.chat.call import Call
from normalizer.wires.chat.call_identity import Calls
from normalizer.wires.chat.call_members import Members
from normalizer.wires.chat.chunk import Part

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
MEMBER_AGAIN = Deviation(
    code="T412",
    name="call-member-again",
    fault="Later fragments have a type, an empty name or an empty id.",
    repair="These members are removed.",
)


class LaterFragments:
    """Removes from later fragments what the first one of their call has."""

    __slots__ = ("_found", "_kept")

    def __init__(self, found: Findings, kept: Kept) -> None:
        self._found = found
        self._kept = kept

    def read(
        self, calls: Calls, call: Call, fragment: dict[str, Any], members: Members, part: Part
    ) -> None:
        """Remove the id, type and name of a later fragment; the call learns what it lacks."""
        if "id" in fragment:
            self._read_id(calls, call, fragment, members.ident, part)
        # `.stream()` of openai-python: a bare AssertionError for a type of None
        if "type" in fragment and self._found(MEMBER_AGAIN):
            part.edit()
            del fragment["type"]
        if "name" in members.holder:
            self._read_name(call, members.holder, members.name, part)

    def _read_id(
        self, calls: Calls, call: Call, fragment: dict[str, Any], ident: str, part: Part
    ) -> None:
        if ident and not call.id and not call.head_sent:
            call.id = call.given = ident
            calls.by_id[ident] = call
            calls.version += 1
        # GLM-4's demo server sends a new id with each fragment: LangChain makes three calls of one
        known = ID_REPEATED if ident in (call.id, call.given) else ID_CHANGES
        if self._found(known if ident else MEMBER_AGAIN):
            part.edit()
            del fragment["id"]

    def _read_name(self, call: Call, holder: dict[str, Any], name: str, part: Part) -> None:
        again = _name_again(call, name)
        if again is NAME_LATE:
            self._found(again)
            call.name = name
        elif not self._found(again):
            return
        elif again is NAME_IN_PIECES:
            self._kept.size += len(name)
            # a longer name that begins with this one replaces it, another piece is added to it
            call.name = name if name.startswith(call.name) else call.name + name
        part.edit()
        del holder["name"]


def _name_again(call: Call, name: str) -> Deviation:
    """Return what a name on a later fragment of a call is."""
    if not name:
        return MEMBER_AGAIN
    if not call.name:
        return NAME_LATE
    # a name that was sent cannot grow
    if name == call.name or not call.head_waits:
        return NAME_REPEATED
    return NAME_IN_PIECES
