"""What an event is: its type, under the API's name, and its response where it belongs.

The data's `type` is the type; the name on the `event:` line only counts where the data has none.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.core.lenient import clean_text
from normalizer.wires.responses.names import (
    BY_STATUS,
    CREATED,
    ENDINGS,
    ERROR,
    SILENT,
    STATUS,
    SYNONYMS,
    as_text,
)

EVENT_NAME = Deviation(
    code="R101",
    name="responses-event-name",
    fault="An event has no `event:` line, or one that is not the data's `type`.",
    repair="The event gets the line that its `type` asks for.",
    structural=True,
)
TYPE_MISSING = Deviation(
    code="R102",
    name="responses-type-missing",
    fault="The data has no `type`.",
    repair="It gets the name of its `event:` line, or the type that fits its members.",
    structural=True,
)
KEEP_ALIVE = Deviation(
    code="R103",
    name="responses-keep-alive-event",
    fault="A keep-alive comes as an event, such as `ping`, `response.heartbeat` or `keepalive`.",
    repair="It becomes a comment.",
)
SYNONYM = Deviation(
    code="R105",
    name="responses-event-synonym",
    fault="An event has another type for what the API has a name for.",
    repair="It gets the API's type.",
    structural=True,
)
NOT_NESTED = Deviation(
    code="R106",
    name="responses-response-not-nested",
    fault="The response's members stand in the event itself, not under `response`.",
    repair="They are put under `response`.",
    structural=True,
)

_BESIDE = ("type", "sequence_number", "response")


class Reading:
    """Gives each event its type and its place for a response."""

    __slots__ = ("_found",)

    def __init__(self, found: Findings) -> None:
        self._found = found

    def type_of(self, draft: Draft, name: str) -> str:
        """The event's type, under the API's name; "" if it has none."""
        value = draft.value
        given = as_text(value.get("type"))
        kind = given
        if not given or (given == "message" and name.startswith("response.")):
            kind = _untyped(value, name)
            if kind and kind != ERROR:  # an error without one has a shape of its own
                self._found(TYPE_MISSING)
                draft.edit()["type"] = kind
        elif name != given and given not in SILENT:
            self._found(EVENT_NAME)
        better = SYNONYMS.get(kind, kind)
        if kind in ENDINGS:
            response = value.get("response")
            status = (response if isinstance(response, dict) else value).get("status")
            better = BY_STATUS.get(as_text(status), ENDINGS[kind])
        elif not kind.isprintable():
            better = " ".join(clean_text(kind).split())  # it stands on a line of its own
        if better != kind:
            self._found(SYNONYM)
            value = draft.edit()
            value["type"] = kind = better
            if given.startswith("response.reasoning_part.") and isinstance(value.get("part"), dict):
                value["part"] = {**value["part"], "type": "reasoning_text"}
        return kind

    def response(self, draft: Draft) -> dict[str, Any]:
        """The response that an event holds; it is put where it belongs."""
        value = draft.value
        response = value.get("response")
        if isinstance(response, dict):
            return response
        self._found(NOT_NESTED)
        nested = {key: one for key, one in value.items() if key not in _BESIDE}
        event = draft.edit()
        for key in nested:
            del event[key]
        event["response"] = nested
        return nested

    def is_silent(self, kind: str, value: dict[str, Any]) -> bool:
        """Return whether an event only keeps the connection alive."""
        if kind in SILENT:
            return self._found(KEEP_ALIVE)
        if STATUS.get(kind) not in ("in_progress", "queued") or kind == CREATED:
            return False
        if isinstance(value.get("response"), dict) and value["response"]:
            return False
        return not (value.keys() - _BESIDE) and self._found(KEEP_ALIVE)


def _untyped(value: dict[str, Any], name: str) -> str:
    """The type of an event whose data names none."""
    if name.startswith("response.") or name in SILENT or name == ERROR:
        return name
    if value.get("object") == "response":
        return BY_STATUS.get(as_text(value.get("status")), CREATED)
    return name
