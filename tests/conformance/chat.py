"""A stream of chat completions, or of legacy completions, held to docs/canonical.md.

The numbers in brackets name that page's sections.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from openai.types import Completion
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel, ValidationError

from tests.conformance.kept import Said, compare
from tests.conformance.reading import Came, Event, Fault, Left

FINISHES = ("stop", "length", "tool_calls", "content_filter", "function_call")
REASONING = ("reasoning_content", "reasoning", "thinking", "reasoning_text", "thought")
ENVELOPES = ("data", "final_result", "result", "response", "completion", "output", "body")
BARE_TEXT = ("response", "value")  # text of choice 0, in an object without choices
NO_LATER_NULL = ("content", "refusal", "role", "tool_calls", "function_call")
USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")
# members whose values are the upstream's; and a legacy chunk has no reason before its last, which
# the library does not know
UPSTREAMS_OWN = ("service_tier", "type")
LEGACY_OWN = (*UPSTREAMS_OWN, "finish_reason")
ALIASES = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}


def faults(request: dict[str, Any], came: Came, left: Left, *, legacy: bool) -> Iterator[Fault]:
    """What is wrong with a stream that left, by its form, its order and the two laws."""
    yield from left.faults
    if not left.done:
        yield Fault("end", "no [DONE]")
    stream = _Stream(request, legacy=legacy)
    for event in left.events:
        yield from stream.see(event)
    yield from stream.end()
    before = said(came.objects, request)
    after = said([event.value for event in left.events], request)
    yield from compare(before, after)
    if before.usage.keys() >= {*USAGE[:2]} and not after.usage and not stream.failed:
        yield Fault("lost", f"the usage {before.usage}")


class _Stream:
    """What left so far of one stream: its envelope, its choices, and how it ended."""

    def __init__(self, request: dict[str, Any], *, legacy: bool) -> None:
        self.model: type[BaseModel] = Completion if legacy else ChatCompletionChunk
        self.object = "text_completion" if legacy else "chat.completion.chunk"
        self.legacy = legacy
        self.asks_usage = bool((request.get("stream_options") or {}).get("include_usage"))
        self.envelope: dict[str, Any] | None = None
        self.choices: dict[str, _Choice] = {}
        self.failed = False
        self.counted = False

    def see(self, event: Event) -> Iterator[Fault]:
        value = event.value
        if self.failed or self.counted:
            yield Fault("order", "an event behind the error or the usage")
        if _is_error(value) or "choices" not in value:
            self.failed = True
            yield from _of_error(value)
            return
        yield from self._form(value)
        choices = value["choices"] if isinstance(value["choices"], list) else []
        if not choices:
            self.counted = True
            if not self.asks_usage or not value.get("usage") or self.unfinished():
                yield Fault("order", "no choices, and it is not the usage at the end [2, 6]")
        elif self.asks_usage and value.get("usage"):
            yield Fault("usage", "a usage beside choices, and it gets a chunk of its own [6]")
        for one in choices:
            if isinstance(one, dict):
                choice = self.choices.setdefault(str(one.get("index")), _Choice())
                yield from choice.see_text(one) if self.legacy else choice.see(one)

    def _form(self, value: dict[str, Any]) -> Iterator[Fault]:
        """The schema as openai-python has it, and one envelope for the whole stream [2]."""
        try:
            self.model.model_validate(value, strict=True)
        except ValidationError as error:
            for one in error.errors():
                if one["loc"][-1] not in (LEGACY_OWN if self.legacy else UPSTREAMS_OWN):
                    yield Fault("form", f"{one['loc']}: {one['msg']}")
        envelope = {key: value.get(key) for key in ("id", "object", "created", "model")}
        if self.envelope not in (None, envelope):
            yield Fault("form", f"the envelope changed to {envelope} [2]")
        self.envelope = envelope
        if not all(envelope.values()) or envelope["object"] != self.object:
            yield Fault("form", f"the envelope is {envelope} [2]")

    def unfinished(self) -> list[str]:
        return [index for index, choice in self.choices.items() if choice.finish is None]

    def end(self) -> Iterator[Fault]:
        if not self.failed and (self.unfinished() or not self.choices):
            yield Fault("end", f"choices without a finish: {self.unfinished()} [5]")
        for choice in self.choices.values():
            if choice.finish == "tool_calls" and not choice.calls:
                yield Fault("end", "tool_calls, and there is no call [5]")


def _of_error(value: dict[str, Any]) -> Iterator[Fault]:
    """An error has its four members, each with the right type [7]."""
    error = value.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        yield Fault("form", f"neither a chunk nor an error [7]: {str(value)[:80]}")
    elif not {"type", "param", "code"} <= error.keys():
        yield Fault("form", f"members are missing in {error} [7]")


class _Choice:
    """One choice of a stream: its calls, and its finish."""

    def __init__(self) -> None:
        self.begun = False
        self.finish: str | None = None
        self.calls: list[str] = []  # their ids

    def see(self, choice: dict[str, Any]) -> Iterator[Fault]:
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return  # the form says so already
        if self.finish is not None:
            yield Fault("order", "behind the finish of its choice [5]")
        if not isinstance(choice.get("index"), int) or choice["index"] < 0:
            yield Fault("form", f"the index {choice.get('index')!r} [2]")
        if (delta.get("role") == "assistant") == self.begun or ("role" in delta) == self.begun:
            yield Fault("order", "the role belongs to the first delta, and to no other [3]")
        nulls = [key for key in NO_LATER_NULL if key in delta and delta[key] in (None, [])]
        if self.begun and nulls:
            yield Fault("form", f"{nulls} mean nothing in a later delta [3]")
        if any(isinstance(delta.get(key), str) for key in REASONING[1:]):
            yield Fault("form", "reasoning under another name than reasoning_content [3]")
        self.begun = True
        for fragment in _listed(delta.get("tool_calls")):
            yield from self._fragment(fragment)
        yield from self._finish(choice)

    def see_text(self, choice: dict[str, Any]) -> Iterator[Fault]:
        """A legacy choice, whose finish is on its last chunk [9]."""
        if self.finish is not None:
            yield Fault("order", "behind the finish of its choice [9]")
        self.finish = choice.get("finish_reason")
        if self.finish not in (None, *FINISHES):
            yield Fault("form", f"a finish of {self.finish!r} [5]")

    def _fragment(self, fragment: dict[str, Any]) -> Iterator[Fault]:
        """The first fragment is the head of its call, all later ones are arguments [4]."""
        index, function = fragment.get("index"), fragment.get("function")
        function = function if isinstance(function, dict) else {}
        if index == len(self.calls):
            if not fragment.get("id") or fragment["id"] in self.calls:
                yield Fault("form", f"the id of a call: {fragment.get('id')!r} [4]")
            self.calls.append(str(fragment.get("id")))
            if fragment.get("type") != "function":
                if not fragment.get("type"):
                    yield Fault("form", "a call without a type [4]")
            elif not function.get("name"):
                yield Fault("form", "a call without a name [4]")
            elif function.get("arguments") != "":
                yield Fault("form", "arguments in the head of a call [4]")
        elif not isinstance(index, int) or not 0 <= index < len(self.calls):
            yield Fault("order", f"call {index} behind {len(self.calls)} calls [4]")
        elif fragment.keys() & {"id", "type"} or function.keys() & {"name"}:
            yield Fault("form", f"a head that comes again: {fragment} [4]")

    def _finish(self, choice: dict[str, Any]) -> Iterator[Fault]:
        """A finish has a chunk of its own, in whose delta are undeclared nulls at most [5]."""
        self.finish = choice.get("finish_reason")
        if self.finish is None:
            return
        if self.finish not in FINISHES:
            yield Fault("form", f"a finish of {self.finish!r} [5]")
        if any(value is not None for value in choice["delta"].values()):
            yield Fault("form", f"a finish beside {choice['delta']} [5]")


# ---------------------------------------------------------------- what a stream says


def said(objects: list[dict[str, Any]], request: dict[str, Any]) -> Said:
    """What the chunks say, of either side. Without `n` all choices are read as one [2]."""
    told = Said()
    several = isinstance(request.get("n"), int) and request["n"] > 1
    for value in objects:
        value = _unwrapped(value)
        _count(told, value)
        for choice in _listed(value.get("choices")):
            index = choice.get("index")
            _say(told, choice, max(index, 0) if several and isinstance(index, int) else 0)
        if "choices" not in value:
            for key in BARE_TEXT:
                told.say((0, "content"), value.get(key))
        if _is_error(value):
            break
    return told


def _unwrapped(value: dict[str, Any]) -> dict[str, Any]:
    """A chunk in an envelope is taken out of it, one level [7]."""
    if "choices" not in value:
        for key in ENVELOPES:
            inner = value.get(key)
            if isinstance(inner, dict) and "choices" in inner:
                return inner
    return value


def _is_error(value: dict[str, Any]) -> bool:
    return bool(value.get("error")) and not value.get("choices")


def _listed(value: Any) -> list[dict[str, Any]]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]


def _count(told: Said, value: dict[str, Any]) -> None:
    places = [one.get("usage") for one in _listed(value.get("choices"))]
    vendor = value.get("x_groq")
    places += [vendor.get("usage") if isinstance(vendor, dict) else None, value.get("usage")]
    for usage in places:
        if isinstance(usage, dict):
            mapped = {ours: usage[theirs] for ours, theirs in ALIASES.items() if theirs in usage}
            told.count({**mapped, **usage}, *USAGE)


def _say(told: Said, choice: dict[str, Any], index: int) -> None:
    delta, message = choice.get("delta"), choice.get("message")
    if isinstance(delta, dict):
        _say_delta(told, delta, index)
    else:
        told.say((index, "content"), choice.get("text"))
    if isinstance(message, dict):
        _say_message(told, message, index, beside=isinstance(delta, dict))
    for call in _listed(choice.get("nameless_tool_calls")):
        told.argue((index, "arguments"), (call.get("function") or {}).get("arguments"), again=True)


def _say_message(told: Said, message: dict[str, Any], index: int, *, beside: bool) -> None:
    """A message may be a piece, or the whole answer so far.

    Beside a delta it is the whole answer. If it differs from what was streamed, this is reported,
    and nothing of it is used [3].
    """
    if beside and not _parts(message.get("content"))[0].startswith(told.text((index, "content"))):
        message = {**message, "content": None}
    _say_delta(told, message, index, again=True)


def _say_delta(told: Said, delta: dict[str, Any], index: int, *, again: bool = False) -> None:
    if delta.get("role") == "tool":
        return  # the result of a call that the server ran
    text, thought = _parts(delta.get("content"))
    if _is_marked_as_thought(delta):
        text, thought = "", text.removeprefix("<thought>")
        told.marked = True
    elif told.marked:
        text = text.removeprefix("</thought>")
    told.say((index, "content"), text, again=again)
    told.say((index, "refusal"), delta.get("refusal"), again=again)
    told.say((index, "reasoning"), thought or _reasoning(delta), again=again)
    for call in _listed(delta.get("tool_calls")) or _listed(delta.get("function_call")):
        function = call["function"] if isinstance(call.get("function"), dict) else call
        if isinstance(function.get("name"), str) and function["name"]:
            told.names.append(function["name"])
        arguments = function.get("arguments", function.get("parameters"))
        # a placeholder, or made for a call without arguments: the same on both sides
        if arguments not in ("{}", {}):
            starts = str(arguments or "").lstrip().startswith("{")
            told.argue((index, "arguments"), arguments, again=again or starts)


def _parts(content: Any) -> tuple[str, str]:
    """The text and the reasoning of a content, which may be a list of blocks [3]."""
    if isinstance(content, str | int | float):
        return str(content), ""
    text = thought = ""
    for block in _listed(content):
        if block.get("type") == "text":
            text += block.get("text") or ""
        elif block.get("type") in ("thinking", "reasoning"):
            inner = block.get("thinking", block.get("reasoning", block.get("text")))
            thought += inner if isinstance(inner, str) else _parts(inner)[0]
    return text, thought


def _is_marked_as_thought(delta: dict[str, Any]) -> bool:
    """Gemini's mark; its tags are not part of the reasoning [3]."""
    vendor = delta.get("extra_content")
    google = vendor.get("google") if isinstance(vendor, dict) else None
    return isinstance(google, dict) and google.get("thought") is True


def _reasoning(delta: dict[str, Any]) -> str:
    """The longest of the names that have it: some upstreams send the same text under two [3]."""
    return max((delta[k] for k in REASONING if isinstance(delta.get(k), str)), key=len, default="")
