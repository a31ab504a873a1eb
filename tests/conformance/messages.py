"""A stream of the Messages API, held to docs/canonical-messages.md.

The numbers in brackets name that page's sections. The forms are a table here, because the types of
anthropic's own library are not installed where these tests run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.conformance.kept import Said, compare
from tests.conformance.reading import Came, Event, Fault, Left

NULL = type(None)
# the members of each event, by their places, and what they are
FORMS: dict[str, dict[str, tuple[type, ...]]] = {
    "message_start": {
        "message.id": (str,),
        "message.role": (str,),
        "message.model": (str,),
        "message.content": (list,),
        "message.stop_reason": (NULL,),
        "message.stop_sequence": (NULL,),
        "message.usage.input_tokens": (int,),
        "message.usage.output_tokens": (int,),
    },
    "content_block_start": {"index": (int,), "content_block.type": (str,)},
    "content_block_delta": {"index": (int,), "delta.type": (str,)},
    "content_block_stop": {"index": (int,)},
    "message_delta": {
        "delta.stop_reason": (str, NULL),
        "delta.stop_sequence": (str, NULL),
        "usage.output_tokens": (int,),
    },
    "message_stop": {},
    "ping": {},
    "error": {"error.type": (str,), "error.message": (str,)},
}
BLOCKS: dict[str, dict[str, tuple[type, ...]]] = {
    "text": {"text": (str,)},
    "thinking": {"thinking": (str,), "signature": (str,)},
    "tool_use": {"id": (str,), "name": (str,), "input": (dict,)},
    "server_tool_use": {"id": (str,), "name": (str,), "input": (dict,)},
}
# of each delta: the member that has its text, and the types of block that take it
DELTAS = {
    "text_delta": ("text", ("text",)),
    "thinking_delta": ("thinking", ("thinking",)),
    "signature_delta": ("signature", ("thinking",)),
    "input_json_delta": ("partial_json", ("tool_use", "server_tool_use", "mcp_tool_use")),
}
OF_OTHER_APIS = ("stop", "length", "tool_calls", "function_call", "content_filter", "error")
ERRORS = (
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "timeout_error",
    "api_error",
    "overloaded_error",
)
USAGE = ("input_tokens", "output_tokens")
ALIASES = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}


def faults(request: dict[str, Any], came: Came, left: Left) -> Iterator[Fault]:
    """What is wrong with a stream that left, by its form, its order and the two laws."""
    yield from left.faults
    stream = _Stream(request)
    for event in left.events:
        yield from stream.see(event)
    if stream.ended is None:
        yield Fault("end", "neither message_stop nor error [2]")
    if left.done:
        yield Fault("end", "[DONE], which this API does not have [2]")
    before = came.objects[: came.readable] if stream.ended == "error" else came.objects
    values = [one.value for one in left.events]
    for fault in compare(said(before, came.names), said(values, [])):
        if (fault.rule, stream.code) != ("lost", "upstream_invalid") or "input" not in fault.text:
            yield fault  # input that no open call can take ends the stream instead [5]


class _Block:
    """A block that was started: its type, its input so far, and whether it is open."""

    def __init__(self, block: dict[str, Any]) -> None:
        self.type = block.get("type")
        self.name = str(block.get("name"))
        self.given = block.get("input")
        self.input = ""
        self.open = True

    def is_complete(self) -> bool:
        return bool(self.given) or not self.input or _loads(self.input) is not None


class _Stream:
    """What left so far of one stream: its blocks, its stop reason, and how it ended."""

    def __init__(self, request: dict[str, Any]) -> None:
        tools = request.get("tools")
        self.tools = {str(one.get("name")) for one in tools} if isinstance(tools, list) else set()
        self.blocks: list[_Block] = []
        self.ids: set[str] = set()
        self.started = False
        self.stopping = False
        self.ended: str | None = None
        self.code: Any = None  # of the error

    def see(self, event: Event) -> Iterator[Fault]:
        value, name = event.value, event.name
        if self.ended:
            yield Fault("order", f"{name} behind {self.ended} [2]")
        yield from _form(name, value, FORMS.get(name, {}))
        if name == "message_start" and self.started:
            yield Fault("order", "a second message_start [4]")
        if name in FORMS.keys() - {"ping", "error", "message_start"} and not self.started:
            yield Fault("order", f"{name} before message_start [2]")
        if name.startswith("content_block") and self.stopping:
            yield Fault("order", f"{name} behind the stop reason [2]")
        self.started |= name == "message_start"
        handler = {
            "content_block_start": self._start,
            "content_block_delta": self._delta,
            "content_block_stop": self._stop,
            "message_delta": self._message_delta,
            "message_stop": self._message_stop,
            "error": self._error,
        }.get(name)
        if handler is not None:
            yield from handler(value)

    def _start(self, value: dict[str, Any]) -> Iterator[Fault]:
        """Blocks count from 0. One is open, beside calls whose input is not complete [4]."""
        block = value.get("content_block")
        block = block if isinstance(block, dict) else {}
        type_ = str(block.get("type"))
        yield from _form(type_, block, BLOCKS.get(type_, {}))
        if value.get("index") != len(self.blocks):
            yield Fault("order", f"block {len(self.blocks)} has index {value.get('index')} [4]")
        if any(one.open and one.type in ("text", "thinking") for one in self.blocks):
            yield Fault("order", "a block starts while another is open [4]")
        if block.get("text") or block.get("thinking"):
            yield Fault("form", "a block starts with text [4]")
        if type_ == "tool_use":
            if str(block.get("id")) in self.ids:
                yield Fault("form", f"two calls with the id {block.get('id')} [5]")
            if block.get("input") and not block.get("caller"):
                yield Fault("form", "input in the start of a call [4]")
            self.ids.add(str(block.get("id")))
        self.blocks.append(_Block(block))

    def _at(self, value: dict[str, Any]) -> _Block | None:
        index = value.get("index")
        if isinstance(index, int) and 0 <= index < len(self.blocks):
            return self.blocks[index] if self.blocks[index].open else None
        return None

    def _delta(self, value: dict[str, Any]) -> Iterator[Fault]:
        """A delta is in an open block of its kind [4]."""
        block = self._at(value)
        delta = value.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        member, types = DELTAS.get(str(delta.get("type")), ("", ()))
        if block is None:
            yield Fault("order", f"a delta for block {value.get('index')}, which is not open [4]")
        elif member and block.type in BLOCKS and block.type not in types:
            yield Fault("order", f"{delta.get('type')} in a block of type {block.type} [4]")
        elif member == "partial_json":
            block.input += str(delta.get(member))
        if member and not isinstance(delta.get(member), str):
            yield Fault("form", f"{delta.get('type')} with {delta.get(member)!r} [4]")

    def _stop(self, value: dict[str, Any]) -> Iterator[Fault]:
        block = self._at(value)
        if block is None:
            yield Fault("order", f"a stop of block {value.get('index')}, which is not open [2]")
        else:
            block.open = False

    def _reason(self, reason: Any) -> Iterator[Fault]:
        """The words of other APIs do not leave, and calls end with tool_use [6]."""
        if reason in OF_OTHER_APIS:
            yield Fault("form", f"the stop reason {reason!r} [6]")
        called = [one.name for one in self.blocks if one.type == "tool_use"]
        if reason == "end_turn" and (self.tools & {*called} if self.tools else called):
            yield Fault("end", "end_turn behind a call [6]")

    def _message_delta(self, value: dict[str, Any]) -> Iterator[Fault]:
        """One has a stop reason, behind all blocks; others are progress [2]."""
        if not isinstance(value.get("delta"), dict) or value["delta"].get("stop_reason") is None:
            return
        yield from self._reason(value["delta"]["stop_reason"])
        if self.stopping:
            yield Fault("order", "a second stop reason [2, 6]")
        if any(block.open for block in self.blocks):
            yield Fault("order", "a stop reason while a block is open [2]")
        self.stopping = True

    def _message_stop(self, value: dict[str, Any]) -> Iterator[Fault]:
        self.ended = "message_stop"
        if not self.stopping:
            yield Fault("end", "message_stop without a stop reason [6]")

    def _error(self, value: dict[str, Any]) -> Iterator[Fault]:
        self.ended = "error"
        error = value["error"] if isinstance(value.get("error"), dict) else {}
        self.code, type_ = error.get("code"), error.get("type")
        if type_ not in ERRORS:
            yield Fault("form", f"an error of type {type_} [7]")


def _form(name: str, value: dict[str, Any], form: dict[str, tuple[type, ...]]) -> Iterator[Fault]:
    """Each member is there and of its type; a string that is not a text says something."""
    for place, types in form.items():
        at: Any = value
        for key in place.split("."):
            at = at.get(key, Ellipsis) if isinstance(at, dict) else Ellipsis
        may_be_empty = place in ("text", "thinking", "signature", "error.message")
        if type(at) not in types or (at == "" and not may_be_empty):
            yield Fault("form", f"{name}: {place} is {at!r}")


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


# ---------------------------------------------------------------- what a stream says


def said(objects: list[dict[str, Any]], names: list[str]) -> Said:
    """What the events say, of either side. `names` has the names of their `event:` lines."""
    told = _Told()
    for at, value in enumerate(objects):
        if not told.is_of_another_answer(value):
            told.hear(value)
        type_ = value.get("type") or (names[at] if names else "")
        if type_ in ("message_stop", "error") or value.get("error") or told.second:
            break
    for given in told.held.values():
        told.argue("input", given, again=True)
    return told


class _Told(Said):
    """What the events say, while they are read.

    `held` has the input that stood in the start of a block, by the block's index: it counts if no
    delta repeats it. `repeated` has the indexes of calls whose id came before: the same call may
    come twice, and leaves once [5].
    """

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[Any, Any] = {}
        self.ids: set[str] = set()
        self.repeated: set[Any] = set()
        self.id: Any = None
        self.second = False

    def is_of_another_answer(self, value: dict[str, Any]) -> bool:
        """A start with another id behind content is a second answer, which is not ours [4]."""
        message = value.get("message")
        if value.get("type") == "message_start" and isinstance(message, dict):
            another = self.id is not None and message.get("id") not in (None, self.id)
            self.second = another and bool(self.texts)
            self.id = message.get("id")
        return self.second

    def hear(self, value: dict[str, Any]) -> None:
        delta, block, message = value.get("delta"), value.get("content_block"), value.get("message")
        if isinstance(delta, dict):
            self.hear_delta(delta, value.get("index"))
        if isinstance(block, dict):
            self.hear_block(block, value.get("index"))
        message = message if isinstance(message, dict) else value
        content = message.get("content")
        for at, one in enumerate(content if isinstance(content, list) else []):
            if isinstance(one, dict):
                self.hear_block(one, at)
        if value.get("type") == "content_block_stop":
            self.argue("input", self.held.pop(value.get("index"), None), again=True)
        for usage in (message.get("usage"), value.get("usage")):
            if isinstance(usage, dict):
                mapped = {ours: usage[other] for ours, other in ALIASES.items() if other in usage}
                self.count({**mapped, **usage}, *USAGE)

    def hear_delta(self, delta: dict[str, Any], index: Any) -> None:
        for member, _ in DELTAS.values():
            text = delta.get(member)
            if member != "partial_json":
                self.say(member, text)
            elif text:
                self.held.pop(index, None)
                repeats = index in self.repeated or str(text).startswith("{")
                self.argue("input", text, again=repeats)
        self.count(delta.get("usage"), *USAGE)

    def hear_block(self, block: dict[str, Any], index: Any) -> None:
        for member in ("text", "thinking", "signature"):
            self.say(member, block.get(member))
        if str(block.get("type")).endswith("tool_use"):
            if str(block.get("id")) in self.ids:
                self.repeated.add(index)
            self.ids.add(str(block.get("id")))
            if block.get("input"):
                self.held[index] = block["input"]
            if isinstance(block.get("name"), str) and block["name"]:
                self.names.append(block["name"])
