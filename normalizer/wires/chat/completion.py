"""A whole answer and a stream say the same: the one as the other, and back.

A completion is repaired by going through the stages as the chunks that say it, so that each repair
is written once, for streams.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from normalizer.core.findings import Deviation
from normalizer.wires.chat.chunk import (
    CHOICE_KEYS,
    OBJECTS,
    REASONING_KEYS,
    TEXT_KEYS,
    TOP_KEYS,
    Choice,
    Chunk,
    Endpoint,
    as_list,
)

COMPLETION_FOR_STREAM = Deviation(
    code="B801",
    name="completion-for-stream",
    fault="A JSON completion answers `stream: true`.",
    repair="The completion becomes a stream.",
    structural=True,
)
ERROR_BODY_FOR_STREAM = Deviation(
    code="B802",
    name="error-body-for-stream",
    fault="A JSON error with status 200 answers `stream: true`.",
    repair="The error becomes an error event.",
    structural=True,
)
LINES_FOR_EVENTS = Deviation(
    code="B803",
    name="lines-for-events",
    fault="Chunks arrive as lines of JSON or as one JSON list.",
    repair="The chunks become events.",
    structural=True,
)
STREAM_FOR_COMPLETION = Deviation(
    code="B804",
    name="stream-for-completion",
    fault="A stream answers `stream: false`.",
    repair="The stream becomes one completion.",
)
ERROR_WITH_SUCCESS = Deviation(
    code="B805",
    name="error-with-success",
    fault="An error with status 200 answers `stream: false`.",
    repair="The answer gets a status of 4xx or 5xx.",
)
ERROR_BODY_SHAPE = Deviation(
    code="B806",
    name="error-body-shape",
    fault="The body of an error status has a form of its own.",
    repair='The body becomes `{"error": {…}}`.',
)
COMPLETION_FORM = Deviation(
    code="B807",
    name="completion-form",
    fault="A JSON completion has missing or empty members.",
    repair="Missing members are added and empty ones are removed.",
)

# characters of text in one delta that is made of a whole answer
DELTA_CHARACTERS = 4096

_WHOLE: dict[Endpoint, str] = {"chat": "chat.completion", "completions": "text_completion"}


def is_completion(value: dict[str, Any]) -> bool:
    """Whether an object is a whole answer, not a chunk."""
    if value.get("object") == "chat.completion":
        return True
    return any("message" in choice for choice in as_list(value.get("choices")))


def chunks_of(value: dict[str, Any], endpoint: Endpoint, *, apart: bool) -> Iterator[Chunk]:
    """The chunks that say what a completion says; ``apart``: the usage in a chunk of its own."""
    members = ("id", "object", "created", "model")
    envelope: dict[str, Any] = {key: value[key] for key in members if key in value}
    if envelope.get("object") == _WHOLE[endpoint]:
        envelope["object"] = OBJECTS[endpoint]
    extras = {key: item for key, item in value.items() if key not in TOP_KEYS and item is not None}
    usage = value.get("usage")
    choices = as_list(value.get("choices"))
    for number, choice in enumerate(choices):
        said = _text_choices(choice) if endpoint == "completions" else _choices_of(choice)
        for one in said:
            chunk = {**envelope, "choices": [one], **extras}
            extras = {}
            last = number == len(choices) - 1 and one.get("finish_reason") is not None
            if last and usage is not None and not apart:
                chunk["usage"] = usage
                usage = None
            yield chunk
    if usage is not None:
        yield {**envelope, "choices": [], "usage": usage}


def _text_choices(choice: Choice) -> Iterator[Choice]:
    if "text" not in choice and isinstance(choice.get("message"), dict):
        members = {key: item for key, item in choice.items() if key != "message"}
        choice = {**members, "delta": choice["message"]}
    yield dict(choice)


def _choices_of(choice: Choice) -> Iterator[Choice]:
    index = choice.get("index", 0)
    message = choice.get("message")
    if not isinstance(message, dict):
        message = choice["delta"] if isinstance(choice.get("delta"), dict) else {}
    text = choice.get("text") if not message else None
    others = {
        key: item for key, item in choice.items() if key not in CHOICE_KEYS and item is not None
    }
    spoken = {key: others.pop(key) for key in list(others) if key in TEXT_KEYS}
    if choice.get("logprobs") is not None:
        spoken["logprobs"] = choice["logprobs"]

    def one(delta: dict[str, Any], **members: Any) -> Choice:
        return {"index": index, "delta": delta, **members, "finish_reason": None}

    content = text if isinstance(text, str) else message.get("content")
    yield one({"role": "assistant", "content": None if content is None else ""})
    for delta in _reasoning(message):
        yield one(delta)
    members = {
        key: item
        for key, item in message.items()
        if key not in ("role", "content", "refusal", "tool_calls", "function_call", *REASONING_KEYS)
        and key != "reasoning_details"
        and item not in (None, [], "")
    }
    if members:
        yield one(members)
    if isinstance(content, str):
        size = len(content) if spoken else DELTA_CHARACTERS
        for part in _parts(content, size):
            yield one({"content": part}, **spoken)
            spoken = {}
    elif content is not None:
        yield one({"content": content}, **spoken)
        spoken = {}
    refusal = message.get("refusal")
    for part in _parts(refusal, DELTA_CHARACTERS) if isinstance(refusal, str) else ():
        yield one({"refusal": part})
    calls = message.get("tool_calls")
    listed = as_list(calls)
    for number, call in enumerate(listed):
        for fragment in _fragments(call, number):
            yield one({"tool_calls": [fragment]})
    if isinstance(message.get("function_call"), dict):
        yield one({"function_call": dict(message["function_call"])})
    if spoken:
        yield one({}, **spoken)
    if choice.get("finish_reason") is not None:
        finish = {key: item for key, item in others.items() if item is not None}
        yield {
            "index": index,
            "delta": {},
            **finish,
            "finish_reason": choice["finish_reason"],
            **({"usage": choice["usage"]} if "usage" in choice else {}),
        }
    elif others:
        yield one({}, **others)


def _reasoning(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    names = [
        name for name in REASONING_KEYS if isinstance(message.get(name), str) and message[name]
    ]
    details = message.get("reasoning_details")
    if len(names) == 1 and not details:
        for part in _parts(message[names[0]], DELTA_CHARACTERS):
            yield {names[0]: part}
    elif names or details:
        said = {name: message[name] for name in names}
        yield {**said, "reasoning_details": details} if details else said


def _fragments(call: dict[str, Any], number: int) -> Iterator[dict[str, Any]]:
    call = {"index": number, **{key: item for key, item in call.items() if key != "index"}}
    function = call.get("function")
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(arguments, str):
        yield call
        return
    yield {**call, "function": {**function, "arguments": ""}}
    for part in _parts(arguments, DELTA_CHARACTERS):
        yield {"index": number, "function": {"arguments": part}}


def _parts(text: str, size: int) -> Iterator[str]:
    for start in range(0, len(text), max(size, 1)):
        yield text[start : start + size]


class _Choice:
    """What was gathered of one choice."""

    __slots__ = ("calls", "members", "message", "text", "texts")

    def __init__(self) -> None:
        self.members: dict[str, Any] = {}  # the choice's own
        self.message: dict[str, Any] = {}  # members of its deltas that are no text
        self.texts: dict[str, list[str]] = {}
        self.calls: dict[int, dict[str, Any]] = {}
        self.text: list[str] = []  # a legacy completion's

    def add(self, choice: Choice) -> None:
        for key, item in choice.items():
            if item is not None and key not in ("index", "delta", "text"):
                old = self.members.get(key) if key == "logprobs" else None
                self.members[key] = _join(old, item)
        if isinstance(choice.get("text"), str):
            self.text.append(choice["text"])
        delta = choice.get("delta")
        for key, item in delta.items() if isinstance(delta, dict) else ():
            if key == "tool_calls":
                _add_calls(self.calls, item)
            elif isinstance(item, str):
                self.texts.setdefault(key, []).append(item)
            else:
                self.message[key] = _join(self.message.get(key), item)


class Gathered:
    """Gathers the chunks of one stream into one completion.

    ``of`` is the completion that the chunks were made of, if they were: what it leaves open (an
    empty text, or none) stays as it was.
    """

    __slots__ = ("_choices", "_endpoint", "_extras", "_first", "_of", "_usage")

    def __init__(self, endpoint: Endpoint, *, of: dict[str, Any] | None = None) -> None:
        self._endpoint = endpoint
        self._of = of
        self._first: Chunk = {}
        self._extras: dict[str, Any] = {}
        self._usage: dict[str, Any] | None = None
        self._choices: dict[int, _Choice] = {}

    def add(self, chunk: Chunk) -> None:
        """Add one canonical chunk."""
        self._first = self._first or chunk
        for key, item in chunk.items():
            if key not in TOP_KEYS and item is not None:
                self._extras.setdefault(key, item)
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk["choices"]:
            self._choices.setdefault(choice["index"], _Choice()).add(choice)

    def completion(self) -> dict[str, Any]:
        """The completion that the chunks say."""
        envelope = {key: self._first.get(key) for key in ("id", "object", "created", "model")}
        envelope["object"] = _WHOLE[self._endpoint]
        choices = [self._choice(index) for index in sorted(self._choices)]
        usage = {} if self._usage is None else {"usage": self._usage}
        return {**envelope, "choices": choices, **usage, **self._extras}

    def has_form(self, value: dict[str, Any]) -> bool:
        """Whether a completion is the same as what was gathered of it, but for unknown nulls."""
        return _same(self.completion(), value)

    def _choice(self, index: int) -> dict[str, Any]:
        gathered = self._choices[index]
        tail = {"logprobs": None, "finish_reason": None, **gathered.members}
        if self._endpoint == "completions":
            return {"index": index, "text": "".join(gathered.text), **tail}
        joined = {**gathered.message}
        joined.update({key: "".join(texts) for key, texts in gathered.texts.items()})
        content = joined.pop("content", None)
        calls = [gathered.calls[number] for number in sorted(gathered.calls)]
        if not content and self._of is None and calls:
            content = None
        message: dict[str, Any] = {"role": "assistant", "content": content}
        joined.pop("role", None)
        message["refusal"] = joined.pop("refusal", None)
        message.update(joined)
        if calls:
            message["tool_calls"] = calls
        return {"index": index, "message": message, **tail}


def _add_calls(calls: dict[int, dict[str, Any]], fragments: list[dict[str, Any]]) -> None:
    for fragment in as_list(fragments):
        members = {key: item for key, item in fragment.items() if key != "index"}
        number = fragment.get("index")
        number = number if type(number) is int else len(calls)
        if number not in calls:
            calls[number] = members
            for part in ("function", "custom"):
                if isinstance(members.get(part), dict):
                    members[part] = dict(members[part])
        else:
            calls[number] = _join(calls[number], members)


def _join(old: Any, new: Any) -> Any:
    """Strings are added, lists appended, objects joined by member; of others the new one stands."""
    if new is None:
        return old
    if isinstance(old, str) and isinstance(new, str):
        return old + new
    if isinstance(old, list) and isinstance(new, list):
        return old + new
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _join(old.get(key), item) for key, item in new.items()}}
    return new


def _same(canonical: Any, given: Any) -> bool:
    """Whether two JSON values are one but for nulls, however deep an upstream nests them."""
    todo = [(canonical, given)]
    while todo:
        ours, theirs = todo.pop()
        if isinstance(ours, dict) and isinstance(theirs, dict):
            if not ours.keys() <= theirs.keys():
                return False
            if any(theirs[key] is not None for key in theirs.keys() - ours.keys()):
                return False
            todo += [(item, theirs[key]) for key, item in ours.items()]
        elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
            todo += zip(ours, theirs, strict=True)
        elif isinstance(ours, (dict, list)) or isinstance(theirs, (dict, list)) or ours != theirs:
            return False
    return True
