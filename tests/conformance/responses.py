"""A stream of the Responses API, held to docs/canonical-responses.md.

The numbers in brackets name that page's sections.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, get_args

from openai.types.responses import ResponseStreamEvent
from pydantic import BaseModel, ValidationError

from tests.conformance.kept import Said, compare
from tests.conformance.reading import Came, Event, Fault, Left

TERMINAL = ("response.completed", "response.incomplete", "response.failed")
WITH_RESPONSE = (*TERMINAL, "response.created", "response.in_progress", "response.queued")
USAGE = ("input_tokens", "output_tokens", "total_tokens")
ALIASES = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
# the member of a `done` event that repeats its deltas, and the kind of text that it is
TEXTS = {
    "output_text": "text",
    "refusal": "refusal",
    "reasoning_text": "text",
    "reasoning_summary_text": "text",
    "function_call_arguments": "arguments",
    "custom_tool_call_input": "input",
}
OTHER_NAMES = {"text": "output_text", "reasoning": "reasoning_text"}
# of a part, by its type: the kind of its text, and the member that has it
PARTS = {
    "output_text": ("output_text", "text"),
    "text": ("output_text", "text"),
    "refusal": ("refusal", "refusal"),
    "reasoning_text": ("reasoning_text", "text"),
    "summary_text": ("reasoning_summary_text", "text"),
}
# of an item that is a call, by its type
CALLS = {
    "function_call": ("function_call_arguments", "arguments"),
    "custom_tool_call": ("custom_tool_call_input", "input"),
}
# what a client reads of a response: its member, and the type
RESPONSE = {
    "id": str,
    "object": str,
    "created_at": int,
    "status": str,
    "model": str,
    "output": list,
}


def faults(came: Came, left: Left) -> Iterator[Fault]:
    """What is wrong with a stream that left, by its form, its order and the two laws."""
    yield from left.faults
    stream = _Stream(said(came.objects, came.names, by_id=True))
    for event in left.events:
        yield from stream.see(event)
    if stream.ended is None:
        yield Fault("end", "no terminal event [2]")
    values, names = [one.value for one in left.events], [one.name for one in left.events]
    yield from _compared(came, values, names)


def _compared(came: Came, values: list[dict[str, Any]], names: list[str]) -> list[Fault]:
    """The two laws. Texts of one kind are read as one, in the order in which they came.

    Where items overlap, that order is not enough, and their ids tell which text is whose. Where an
    upstream's ids are broken, the order is all there is. So either is enough.
    """
    found: list[Fault] = []
    for by_id in (False, True):
        before = said(came.objects, came.names, by_id=by_id)
        found = list(compare(before, said(values, names, by_id=by_id, first_only=True)))
        if not found:
            break
    return found


@functools.cache
def _models() -> dict[str, type[BaseModel]]:
    """The events as openai-python has them, by their types."""
    union = get_args(get_args(ResponseStreamEvent)[0])
    return {get_args(model.model_fields["type"].annotation)[0]: model for model in union}


class _Item:
    """An item that was added: its id, its texts so far, its open parts."""

    def __init__(self, item: dict[str, Any]) -> None:
        self.id = item.get("id")
        self.kind = item.get("type")
        self.texts: dict[tuple[str, Any], str] = defaultdict(str)
        self.said: set[tuple[str, Any]] = set()  # the texts whose `done` came
        self.open: set[tuple[str, Any]] = set()
        self.done = False


class _Stream:
    """What left so far of one stream: its numbers, its items, and how it ended."""

    def __init__(self, came: Said) -> None:
        self.contradictions = came.contradictions()
        self.repetitions = came.repetitions()
        self.number = -1
        self.id: Any = None
        self.items: list[_Item] = []
        self.ended: str | None = None
        self.begun = False

    def see(self, event: Event) -> Iterator[Fault]:
        value, name = event.value, event.name
        known = name in _models()
        if known or name.startswith("response."):
            if self.begun == (name == "response.created"):
                yield Fault("order", f"{name} in the beginning, or created twice [2]")
            self.begun = True
            if self.ended:
                yield Fault("order", f"{name} behind {self.ended} [2]")
        number = value.get("sequence_number")
        if not isinstance(number, int) or number <= self.number:
            yield Fault("order", f"{name}: number {number} behind {self.number} [4]")
        else:
            self.number = number
        yield from _form(value) if known else ()
        if name in WITH_RESPONSE:
            yield from self._response(name, value.get("response"))
        elif name == "response.output_item.added":
            yield from self._added(value)
        elif known and "output_index" in value:
            yield from self._of_item(name.removeprefix("response."), value)

    def _response(self, name: str, response: Any) -> Iterator[Fault]:
        """A response has what clients read, and one id throughout [4]."""
        if not isinstance(response, dict):
            yield Fault("form", f"{name} without a response [4]")
            return
        for key, type_ in RESPONSE.items():
            if not isinstance(response.get(key), type_) or (type_ is str and not response[key]):
                yield Fault("form", f"{name}: {key} is {response.get(key)!r} [4]")
        if self.id not in (None, response.get("id")):
            yield Fault("order", f"{name}: another id, {response.get('id')} [4]")
        self.id = response.get("id")
        if name in TERMINAL:
            self.ended = name
            yield from self._terminal(name, _dicts(response.get("output")))

    def _terminal(self, name: str, output: list[dict[str, Any]]) -> Iterator[Fault]:
        """The output has the items in their order, and only a failure leaves one open [6]."""
        if name != "response.failed" and any(not item.done for item in self.items):
            yield Fault("end", f"{name} while an item is open [6]")
        ids = [item.get("id") for item in output]
        if ids != [item.id for item in self.items]:
            yield Fault("end", f"the output is {ids}, not {[item.id for item in self.items]} [6]")
        for item, final in zip(self.items, output, strict=False):
            yield from self._final(item, final)

    def _added(self, value: dict[str, Any]) -> Iterator[Fault]:
        """Items count from 0, each with an id of its own and a blank head [5]."""
        item = next(iter(_dicts([value.get("item")])), {})
        if value.get("output_index") != len(self.items):
            yield Fault(
                "order", f"item {len(self.items)} has index {value.get('output_index')} [5]"
            )
        if not item.get("id") or item["id"] in [one.id for one in self.items]:
            yield Fault("form", f"the id of an item: {item.get('id')!r} [5]")
        yield from _form_of_item(item)
        if any(text for _, text in _texts(item)):
            yield Fault("form", f"text in the head of an item: {str(item)[:80]} [5]")
        self.items.append(_Item(item))

    def _of_item(self, name: str, value: dict[str, Any]) -> Iterator[Fault]:
        """An event names its item by index and id, and comes while this is open [5]."""
        index = value["output_index"]
        if not isinstance(index, int) or not 0 <= index < len(self.items):
            yield Fault("order", f"{name}: no item {index} [5]")
            return
        item = self.items[index]
        if value.get("item_id", item.id) != item.id:
            yield Fault("order", f"{name}: id {value['item_id']}, and the item's is {item.id} [5]")
        if item.done:
            yield Fault("order", f"{name} behind the end of its item [5]")
        stem, _, step = name.rpartition(".")
        if stem in TEXTS:
            yield from self._text(item, stem, step, value)
        elif stem in ("content_part", "reasoning_summary_part"):
            yield from self._part(item, stem, step, value)
        elif name == "output_item.done":
            item.done = True
            if item.open or item.texts.keys() - item.said:
                yield Fault("order", f"an item is done before its texts and parts: {item.id} [2]")
            yield from self._final(item, value.get("item"))

    def _text(self, item: _Item, kind: str, step: str, value: dict[str, Any]) -> Iterator[Fault]:
        """Texts stand in a part that is open, and their `done` has what the deltas had [6]."""
        place = value.get("summary_index", value.get("content_index"))
        stem = "reasoning_summary_part" if "summary_index" in value else "content_part"
        if place is not None and (stem, place) not in item.open:
            yield Fault("order", f"{kind}.{step} outside of a part [2]")
        if step == "delta":
            item.texts[kind, place] += str(value.get("delta"))
        elif step == "done":
            item.said.add((kind, place))
            yield from self._repeats(item.texts[kind, place], value.get(TEXTS[kind]))

    def _part(self, item: _Item, stem: str, step: str, value: dict[str, Any]) -> Iterator[Fault]:
        """A part is added once, and its end has the text of its deltas [2, 6]."""
        place = value.get("summary_index", value.get("content_index"))
        if (step == "added") == ((stem, place) in item.open):
            yield Fault("order", f"{stem}.{step} of {place} [2]")
        if step == "added":
            item.open.add((stem, place))
            return
        item.open.discard((stem, place))
        for kind, text in _text_of_part(
            part if isinstance(part := value.get("part"), dict) else {}
        ):
            yield from self._repeats(item.texts[kind, place], text)
            if (kind, place) not in item.said:
                yield Fault("order", f"{stem}.done before {kind}.done [2]")

    def _final(self, item: _Item, final: Any) -> Iterator[Fault]:
        """The last form of an item has its id, its type and its texts [6]."""
        if not isinstance(final, dict) or final.get("id") != item.id:
            yield Fault("end", f"{item.id} ends as {str(final)[:80]} [6]")
            return
        yield from _form_of_item(final)
        if final.get("type") != item.kind:
            yield Fault("end", f"{item.id}, {item.kind}, ends as {final.get('type')} [6]")
        written: dict[str, str] = defaultdict(str)
        for (kind, _), text in item.texts.items():
            written[kind] += text
        last: dict[str, str] = defaultdict(str)
        for kind, text in _texts(final):
            last[kind] += text
        for kind in written:
            yield from self._repeats(written[kind], last[kind])

    def _repeats(self, text: str, again: Any) -> Iterator[Fault]:
        """Another text than the deltas' is right if the upstream itself says so [6]."""
        said_so = {str(again), "".join(str(again).split())} & self.repetitions
        longer = bool(text) and str(again).startswith(text)
        if again != text and not (said_so and (longer or said_so & self.contradictions)):
            yield Fault("end", f"{str(again)[:80]!r} repeats {text[:80]!r} [6]")


def _form(value: dict[str, Any]) -> Iterator[Fault]:
    """The event's own members as openai-python has them. What is in them may be newer."""
    try:
        _models()[value["type"]].model_validate(value)
    except ValidationError as error:
        for one in error.errors():
            if len(one["loc"]) == 1 and one["loc"] != ("logprobs",) and value["type"] != "error":
                yield Fault("form", f"{value['type']}, {one['loc'][0]}: {one['msg']}")


def _form_of_item(item: dict[str, Any]) -> Iterator[Fault]:
    """Calls have a name and a call_id; parts of a message have annotations [5]."""
    missing = [key for key in ("name", "call_id") if not item.get(key)]
    if str(item.get("type")) in CALLS and missing:
        yield Fault("form", f"a call without {missing} [5]")
    for part in _dicts(item.get("content")):
        if part.get("type") == "output_text" and not isinstance(part.get("annotations"), list):
            yield Fault("form", "a text without annotations [5]")


def _texts(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The texts of an item, each with its kind."""
    kind, member = CALLS.get(str(item.get("type")), ("", ""))
    if kind:
        yield kind, _written(item.get(member))
    for part in [*_dicts(item.get("summary")), *_dicts(item.get("content"))]:
        yield from _text_of_part(part)


def _written(text: Any) -> str:
    """A text; or the JSON of what stands in its place."""
    return text if isinstance(text, str) else json.dumps(text) if text else ""


def _text_of_part(part: dict[str, Any]) -> Iterator[tuple[str, str]]:
    kind, member = PARTS.get(str(part.get("type")), ("", ""))
    if kind:
        yield kind, _written(part.get(member))


# ---------------------------------------------------------------- what a stream says


def said(
    objects: list[dict[str, Any]],
    names: list[str],
    *,
    by_id: bool = False,
    first_only: bool = False,
) -> Said:
    """What the events say, of either side; with `by_id` each item for itself."""
    told = _Told(first_only=first_only)
    for value, name in zip(objects, names, strict=True):
        type_ = value.get("type") if isinstance(value.get("type"), str) else name
        told.by = value.get("item_id") if by_id else ""
        told.hear(str(type_).removeprefix("response."), value, by_id=by_id)
        if type_ in (*TERMINAL, "response.done"):
            break
    return told


class _Told(Said):
    """What the events say, while they are read: `by` names the item that the next text is of."""

    by: Any = ""

    def hear(self, name: str, value: dict[str, Any], *, by_id: bool) -> None:
        stem, _, step = name.rpartition(".")
        kind = OTHER_NAMES.get(stem, stem)
        if kind in TEXTS and step == "delta":
            self.tell(kind, value.get("delta"))
        elif kind in TEXTS and step == "done":
            self.tell(kind, value.get(TEXTS[kind]), again=True)
        if isinstance(value.get("part"), dict):
            for kind, text in _text_of_part(value["part"]):
                self.tell(kind, text, again=True)
        response = value.get("response", value)
        if not isinstance(response, dict):
            response = {}
        nameless = _dicts(response.get("nameless_tool_calls"))
        for item in [*_dicts([value.get("item")]), *_dicts(response.get("output")), *nameless]:
            self.by = item.get("id") if by_id else ""
            self.tell_item(item, again=item not in nameless)
        usage = response.get("usage")
        if isinstance(usage, dict):
            mapped = {ours: usage[theirs] for ours, theirs in ALIASES.items() if theirs in usage}
            self.count({**mapped, **usage}, *USAGE)

    def tell_item(self, item: dict[str, Any], *, again: bool) -> None:
        for kind, text in _texts(item):
            self.tell(kind, text, again=again)
        if str(item.get("type")) in CALLS and isinstance(item.get("name"), str) and item["name"]:
            self.names.append(item["name"])

    def tell(self, kind: str, text: Any, *, again: bool = False) -> None:
        if kind != "function_call_arguments":
            self.say((kind, self.by), text, again=again)
        elif text not in ("{}", {}):
            self.argue((kind, self.by), text, again=again)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
