"""The form of a delta: its type, and the one member that holds what it says."""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.core.lenient import dumps
from normalizer.wires.messages.blocks import TEXT, THINKING, TOOL

DELTA_TYPE = Deviation(
    code="M310",
    name="delta-type",
    fault="A delta has no type, or a thinking delta has its words in `text`.",
    repair="The type comes from the member that the delta has, and the member gets its name.",
)
SAYS_NOTHING = Deviation(
    code="M311",
    name="delta-empty",
    fault="A delta is null, or an empty text for which no block is open.",
    repair="The delta is left out.",
    structural=True,
)
NOT_TEXT = Deviation(
    code="M312",
    name="delta-not-text",
    fault="The text, thinking or partial JSON of a delta is no string.",
    repair="The delta holds its JSON text.",
)

# by the type of a delta: the member that holds what it says, and the group of its block
MEMBERS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
    "citations_delta": "citation",
}
DELTA_GROUPS = {
    "text_delta": TEXT,
    "citations_delta": TEXT,
    "thinking_delta": THINKING,
    "signature_delta": THINKING,
    "input_json_delta": TOOL,
}
_TYPES = {member: kind for kind, member in MEMBERS.items()}
_WORDS = ("text_delta", "thinking_delta")
_STRINGS = (*_WORDS, "input_json_delta")


def words(value: Any) -> str:
    """What a text or thinking member says, whatever its type. Example: ``words(7) == "7"``."""
    if isinstance(value, str):
        return value
    return "" if value in (None, [], {}) else dumps(value).decode()


class Deltas:
    """Gives deltas their form."""

    __slots__ = ("_found",)

    def __init__(self, found: Findings) -> None:
        self._found = found

    def form(self, draft: Draft) -> str | None:
        """The type of an event's delta, which has its form then; None if it says nothing."""
        delta = draft.value.get("delta")
        if isinstance(delta, str) and delta:
            delta = draft.edit()["delta"] = {"type": "text_delta", "text": delta}
        if not isinstance(delta, dict) or not delta:
            self._found(SAYS_NOTHING)
            return None
        kind = delta.get("type")
        if not isinstance(kind, str) or not kind:
            kind = self._type(draft, delta)
        elif kind == "thinking_delta" and "thinking" not in delta and "text" in delta:
            if self._found(DELTA_TYPE):
                draft.edit()
                delta["thinking"] = delta.pop("text")
        member = MEMBERS.get(kind)
        if member is None or (type(delta.get(member)) is str and kind != "signature_delta"):
            return kind
        return kind if self._value(draft, delta, kind, member) else None

    def _type(self, draft: Draft, delta: dict[str, Any]) -> str:
        kind = next((_TYPES[member] for member in delta if member in _TYPES), "")
        if kind and self._found(DELTA_TYPE):
            draft.edit()
            others = {key: item for key, item in delta.items() if key != "type"}
            delta.clear()
            delta.update({"type": kind, **others})
        return kind

    def _value(self, draft: Draft, delta: dict[str, Any], kind: str, member: str) -> bool:
        """Whether a delta says something; what it says is a string then."""
        value = delta.get(member)
        nothing = value is None or (kind in _WORDS and value in ([], {}))
        if kind == "signature_delta":
            nothing = not isinstance(value, str)
        if nothing:
            others = [key for key, item in delta.items() if key not in ("type", member) and item]
            if not others or kind not in _STRINGS:
                self._found(SAYS_NOTHING)
                return False
            draft.edit()
            delta[member] = ""
        elif kind in _STRINGS and self._found(NOT_TEXT):
            draft.edit()
            delta[member] = dumps(value).decode()
        return True
