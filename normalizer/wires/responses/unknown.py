"""Events of types that the API's description does not have.

A new type of OpenAI's must pass, and Codex reads ``codex.rate_limits``. But two clients crash on
*any* type that they do not know. So private types pass where the client may be Codex, and else they
ride: as a member, under their type's name, of the next event, where nobody stumbles over them.
"""

from __future__ import annotations

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.core.kept import CHUNK
from normalizer.core.options import Options
from normalizer.core.request import RequestInfo
from normalizer.wires.responses.names import PRIVATE, is_known
from normalizer.wires.responses.outlet import Outlet

PRIVATE_EVENT = Deviation(
    code="R108",
    name="responses-private-event",
    fault="An event has a type of the upstream's own, and the client may not know it.",
    repair="It becomes a member of the next event, under its type, as `unknown_events` asks.",
)
UNTYPED = Deviation(
    code="R109",
    name="responses-object-without-type",
    fault="An object has no type, and is nothing that is known.",
    repair="Its members become members of the next event.",
    structural=True,
)


# members that would mean something else on another event
_OF_EVENTS = frozenset(
    (
        *("delta", "item", "item_id", "part", "response", "text", "arguments", "input"),
        *("output_index", "content_index", "summary_index", "annotation"),
    )
)


class Unknown:
    """Decides what becomes of an event of unknown type."""

    __slots__ = ("_codex", "_found", "_option", "_outlet")

    def __init__(
        self, outlet: Outlet, request: RequestInfo, options: Options, found: Findings
    ) -> None:
        self._outlet = outlet
        self._found = found
        self._option = options.unknown_events
        self._codex = request.codex is not False

    def takes(self, kind: str, draft: Draft) -> bool:
        """Let an event ride, or leave it out; False if it passes."""
        private = kind.startswith(PRIVATE)
        if self._option == "keep" or (self._option == "auto" and (self._codex or not private)):
            return False
        if self._option == "drop-private":
            return private and self._found(PRIVATE_EVENT)
        if is_known(kind) or not self._found(PRIVATE_EVENT):
            return False
        self._outlet.ride(kind, draft.value, CHUNK + len(draft.raw or b""))
        return True

    def untyped(self, draft: Draft) -> None:
        """Let the members of an object without a type ride."""
        value, size = draft.value, CHUNK + len(draft.raw or b"")
        self._found(UNTYPED)
        if not value.keys().isdisjoint(_OF_EVENTS):
            self._outlet.ride("untyped_events", value, size)
            return
        for key, member in value.items():
            if key not in ("type", "sequence_number"):
                self._outlet.ride(key, member, size)
                size = 0
