"""The type of an event: what its `event:` line and its object say.

Both official SDKs leave out an event without an `event:` line, and others switch on the line alone;
so the line leaves with every event, and says what the object says. Where the two differ the object
is right: it is what the clients go by that read both.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings

LINE_MISSING = Deviation(
    code="M101",
    name="event-line-missing",
    fault="An event has no `event:` line, and both official SDKs skip such events.",
    repair="The line is added from the object's `type`.",
    structural=True,
)
LINE_DIFFERS = Deviation(
    code="M102",
    name="event-line-differs",
    fault="The `event:` line names another type than the object.",
    repair="The line gets the object's type.",
    structural=True,
)
TYPE_MISSING = Deviation(
    code="M103",
    name="event-type-missing",
    fault="An event's object has no `type`.",
    repair="It gets the type of its `event:` line, else the one that its members show.",
    structural=True,
)
PING_FORM = Deviation(
    code="M104",
    name="ping-form",
    fault="A `ping` has other data than its type, or none.",
    repair='It becomes `{"type": "ping"}`.',
    structural=True,
)
NO_EVENT = Deviation(
    code="M105",
    name="no-event",
    fault="An object is no event, because nothing shows its type.",
    repair="It is left out.",
    structural=True,
)
DONE_SENTINEL = Deviation(
    code="M106",
    name="done-sentinel",
    fault="`[DONE]` comes, which the Messages API does not know.",
    repair="It is left out, or counts as `message_stop` where that is missing.",
    structural=True,
)

TYPES = frozenset(
    (
        *("message_start", "message_delta", "message_stop", "ping"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
    )
)
# the events that say something by their line alone
BARE = frozenset(("message_stop", "content_block_stop", "ping"))
_MEMBERS = (("message", "message_start"), ("content_block", "content_block_start"))


def type_of(value: dict[str, Any]) -> str:
    """The type that an object has; "" for none, or for one that no line can hold."""
    kind = value.get("type")
    return kind if isinstance(kind, str) and kind.isprintable() else ""


def told_type(found: Findings, draft: Draft, name: str) -> str:
    """The type of an event whose object has none, which it has then; "" if nothing tells it."""
    value = draft.value
    kind = name if name in TYPES else _by_members(value)
    if not kind and value and name.isprintable():
        kind = name
    if not kind:
        found(NO_EVENT)
        return ""
    if kind == "ping":
        return kind
    found(TYPE_MISSING)
    others = {key: item for key, item in draft.edit().items() if key != "type"}
    value.clear()
    value.update({"type": kind, **others})
    return kind


def _by_members(value: dict[str, Any]) -> str:
    kind = next((kind for member, kind in _MEMBERS if member in value), "")
    delta = value.get("delta")
    if not kind and isinstance(delta, dict):
        kind = "message_delta" if "stop_reason" in delta else "content_block_delta"
    return kind


def line_found(found: Findings, name: str, kind: str) -> None:
    """Note an ``event:`` line that is missing or says another type."""
    if name != kind:
        found(LINE_DIFFERS if name else LINE_MISSING)
