"""The form of an item and of its parts: what strict readers need to find in them.

The same rules hold for an item in the middle of a stream, at its end, and in a whole answer. Each
function changes the object that it is given in place, and by that the draft that it stands in.
Members that are not named here pass as they came.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.core.lenient import dumps
from normalizer.wires.responses.item import Part
from normalizer.wires.responses.names import CALLS, as_text, kind_of_item

ITEM_MEMBERS = Deviation(
    code="R401",
    name="responses-item-members",
    fault="An item lacks `type`, `status`, `role`, `content` or `summary`, or has another form.",
    repair="The item gets them: a status, the role of the assistant, and lists.",
)
PART_TYPE = Deviation(
    code="R402",
    name="responses-part-type",
    fault="A part has the type `text`, or none, or is a string.",
    repair="The part becomes an object with the type that its place asks for.",
    structural=True,
)
ANNOTATIONS = Deviation(
    code="R403",
    name="responses-annotations-missing",
    fault="A part of type `output_text` lacks `annotations`, or they are no list.",
    repair="The part gets an empty list of annotations.",
)
ARGUMENTS_FORM = Deviation(
    code="R404",
    name="responses-arguments-not-text",
    fault="The arguments or the input of a call are an object, or null.",
    repair="They become the JSON text of that object, or an empty text.",
    structural=True,
)
CALL_ID = Deviation(
    code="R405",
    name="responses-call-id-missing",
    fault="A call has no `call_id`.",
    repair="The call gets the item's id as its `call_id`.",
)

# types of parts that mean another one, by the one that a place asks for
_LOOSE = {"output_text": ("", "text"), "reasoning_text": ("", "text", "output_text")}

_TEXT_KEYS = ("text", "delta", "content", "value", "refusal")


def text_of(value: Any) -> str:
    """The text of a part or a delta, whatever its form. Example: ``text_of({"text": "Hi"})``."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return ""
    text = value.get("text")
    if type(text) is str:
        return text
    return next((value[key] for key in _TEXT_KEYS if isinstance(value.get(key), str)), "")


def written(value: Any) -> str:
    """The arguments of a call as a text. Example: ``written({"a": 1}) == '{"a":1}'``."""
    if isinstance(value, str):
        return value
    return "" if value is None else dumps(value).decode()


def arguments_of(item: dict[str, Any], kind: str) -> str:
    """The arguments or input that a call holds."""
    return written(item.get(CALLS[kind].key))


def blank_part(kind: str, text: str = "") -> dict[str, Any]:
    """A part of this type with this text, as api.openai.com writes it."""
    if kind == "output_text":
        return {"type": kind, "annotations": [], "logprobs": [], "text": text}
    return {"type": kind, "refusal" if kind == "refusal" else "text": text}


class Form:
    """Gives items and parts their form; ``found`` is told what they lacked."""

    __slots__ = ("_found",)

    def __init__(self, found: Findings) -> None:
        self._found = found

    def item(self, draft: Draft, item: dict[str, Any], status: str, role: str = "") -> str:
        """Give an item its type, status and lists; its type is returned."""
        kind = kind_of_item(item)
        if kind != item.get("type"):
            self._put(draft, item, "type", kind)
        if kind in CALLS or kind == "message":
            if not as_text(item.get("status")):
                self._put(draft, item, "status", status)
        if kind == "message":
            if not as_text(item.get("role")):
                self._put(draft, item, "role", role or "assistant")
            self.parts(draft, item, "content", kind)
        elif kind == "reasoning":
            self.parts(draft, item, "summary", kind)
            if item.get("content") is not None:
                self.parts(draft, item, "content", kind)
        elif kind in CALLS:
            self.arguments(draft, item, kind)
        return kind

    def arguments(self, draft: Draft, item: dict[str, Any], kind: str) -> None:
        """Make a text of a call's arguments."""
        key = CALLS[kind].key
        given = item.get(key)
        if not isinstance(given, str):
            self._found(ARGUMENTS_FORM)
            draft.edit()
            item[key] = written(given)

    def same_arguments(self, draft: Draft, item: dict[str, Any], kind: str, call: Part) -> None:
        """Make the text that was streamed of arguments that are the same as an object."""
        key = CALLS[kind].key
        given = item.get(key)
        same = call.same_json(given) if isinstance(given, (dict, list)) else ""
        if same:
            self._found(ARGUMENTS_FORM)
            draft.edit()
            item[key] = same

    def call_id(self, draft: Draft, item: dict[str, Any], call_id: str) -> None:
        """Give a call its ``call_id`` where it has none."""
        if not as_text(item.get("call_id")) and self._found(CALL_ID):
            draft.edit()
            item["call_id"] = call_id

    def parts(self, draft: Draft, item: dict[str, Any], place: str, kind: str) -> None:
        """Make a list of parts of the item's content or summary."""
        given = item.get(place)
        if not isinstance(given, list):
            parts: list[Any] = [] if given is None or given == "" else [given]
            self._put(draft, item, place, parts)
        if given:
            for holder, key in _parts(item, place):
                self.part(draft, holder, key, default(kind, place))

    def part(self, draft: Draft, holder: Any, key: Any, wanted: str) -> None:
        """Give one part, which stands in ``holder`` at ``key``, its form."""
        part = holder[key]
        if not isinstance(part, dict):
            self._found(PART_TYPE)
            draft.edit()
            holder[key] = blank_part(wanted, written(part))
            return
        kind = as_text(part.get("type"))
        if kind != wanted and (kind in _LOOSE.get(wanted, ()) or wanted == "summary_text"):
            better = "refusal" if not kind and "refusal" in part else wanted
            self._found(PART_TYPE)
            draft.edit()
            part["type"] = kind = better
        if kind == "output_text":
            if not isinstance(part.get("annotations"), list) and self._found(ANNOTATIONS):
                draft.edit()
                part["annotations"] = []
            if not isinstance(part.get("text"), str):
                self._put(draft, part, "text", text_of(part))

    def _put(self, draft: Draft, holder: dict[str, Any], key: str, value: Any) -> None:
        if self._found(ITEM_MEMBERS):
            draft.edit()
            holder[key] = value


def default(kind: str, place: str) -> str:
    """The type that a part has in this place of an item of this kind."""
    if kind == "message":
        return "output_text"
    return "summary_text" if place == "summary" else "reasoning_text"


def _parts(item: dict[str, Any], place: str) -> Iterator[tuple[list[Any], int]]:
    parts = item.get(place)
    if isinstance(parts, list):
        for number in range(len(parts)):
            yield parts, number


def texts(item: dict[str, Any], kind: str) -> list[str]:
    """The texts that an item holds, one a part; of a call its arguments."""
    if kind in CALLS:
        return [arguments_of(item, kind)]
    places = ("content",) if kind == "message" else ("summary", "content")
    return [text_of(holder[number]) for place in places for holder, number in _parts(item, place)]
