"""A stream as a whole answer: what a client gets that asked for none.

Canonical chunks go in, one at a time. Strings are added, lists appended, objects joined by member;
of other values the last one stands. A call's id and type, a choice's members and the answer's own
come once, or again as a whole, so there the last value counts too. Only a call's fragments are
found by their index, which a whole answer has no use for.

Texts are kept in pieces until the end, so that a long answer is copied once.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.lenient import rewritten
from normalizer.core.report import Report
from normalizer.wires.chat.chunk import TOP_KEYS, Choice, Chunk, Endpoint, as_list
from normalizer.wires.chat.kinds import WHOLE

_SAID_ONCE = frozenset({"id", "type"})


class _Text:
    """A text that comes in pieces."""

    __slots__ = ("pieces",)

    def __init__(self, piece: str) -> None:
        self.pieces = [piece]


class Gathered:
    """Gathers the canonical chunks of one stream into one whole answer.

    Example::

        gathered = Gathered("chat", Report())
        for chunk in chunks:
            gathered.add(chunk)
        gathered.completion()
    """

    __slots__ = ("_choices", "_endpoint", "_extras", "_first", "_report", "_usage")

    def __init__(self, endpoint: Endpoint, report: Report) -> None:
        self._report = report
        self._endpoint = endpoint
        self._first: Chunk = {}
        self._extras: dict[str, Any] = {}
        self._usage: dict[str, Any] | None = None
        self._choices: dict[int, _Choice] = {}

    def send(self, draft: Draft, _name: str = "") -> None:
        """Take one canonical chunk, as an `Output` does; an error is none."""
        self._report.events_out += 1
        if "error" not in draft.value:
            self.add(draft.value)

    def comment(self, _text: bytes) -> None:
        """Take a comment: a whole answer has none."""

    def done(self) -> None:
        """Take ``[DONE]``: a whole answer has none."""

    def add(self, chunk: Chunk) -> None:
        """Add one canonical chunk; it is not changed."""
        self._first = self._first or chunk
        for key, item in chunk.items():
            if key not in TOP_KEYS:
                _stand(self._extras, key, item)
        self._usage = chunk.get("usage") or self._usage
        for choice in as_list(chunk.get("choices")):
            index = choice.get("index")
            index = index if type(index) is int else 0
            self._choices.setdefault(index, _Choice()).add(choice)

    def completion(self) -> dict[str, Any]:
        """Return the whole answer."""
        envelope = {key: self._first.get(key) for key in ("id", "object", "created", "model")}
        envelope["object"] = WHOLE[self._endpoint]
        choices = [
            {"index": index, **self._choices[index].members(self._endpoint)}
            for index in sorted(self._choices)
        ]
        usage = {} if self._usage is None else {"usage": self._usage}
        answer = {**envelope, "choices": choices, **usage, **self._extras}
        whole: dict[str, Any] = rewritten(answer, _leaf)
        return whole


class _Choice:
    """What was gathered of one choice."""

    __slots__ = ("_calls", "_delta", "_members")

    def __init__(self) -> None:
        self._members: dict[str, Any] = {}  # the choice's own
        self._delta: dict[str, Any] = {}
        self._calls: dict[int, dict[str, Any]] = {}

    def add(self, choice: Choice) -> None:
        for key, item in choice.items():
            if key in ("logprobs", "text"):
                _join(self._members, key, item)
            elif key not in ("index", "delta"):
                _stand(self._members, key, item)
        delta = choice.get("delta")
        for key, item in delta.items() if isinstance(delta, dict) else ():
            if key == "tool_calls":
                self._add_calls(item)
            elif key != "role":
                _join(self._delta, key, item)

    def _add_calls(self, fragments: Any) -> None:
        for fragment in as_list(fragments):
            number = fragment.get("index")
            number = number if type(number) is int else len(self._calls)
            call = self._calls.setdefault(number, {})
            for key, item in fragment.items():
                if key in _SAID_ONCE:
                    call.setdefault(key, item)
                elif key != "index":
                    _join(call, key, item)

    def members(self, endpoint: Endpoint) -> dict[str, Any]:
        """The choice's members, its index apart."""
        tail = {"logprobs": None, "finish_reason": None, **self._members}
        if endpoint == "completions":
            return {"text": tail.pop("text", ""), **tail}
        delta = dict(self._delta)
        content = delta.pop("content", None)
        if self._calls and isinstance(content, _Text) and not any(content.pieces):
            content = None  # as the API answers: the empty text only began the stream
        message = {
            "role": "assistant",
            "content": content,
            "refusal": delta.pop("refusal", None),
            **delta,
        }
        if self._calls:
            message["tool_calls"] = [self._calls[number] for number in sorted(self._calls)]
        return {"message": message, **tail}


def _stand(into: dict[str, Any], key: str, item: Any) -> None:
    """Let a value stand for the one before it; null is no value."""
    if item is not None:
        into[key] = item
    else:
        into.setdefault(key, None)


def _join(into: dict[str, Any], key: str, item: Any) -> None:
    """Join a value to the one before it, however deep it is nested."""
    todo = [(into, key, item)]
    while todo:
        holder, name, new = todo.pop()
        old = holder.get(name)
        if isinstance(new, str):
            if isinstance(old, _Text):
                old.pieces.append(new)
            else:
                holder[name] = _Text(new)
        elif isinstance(new, list):
            if isinstance(old, list):
                old += new
            else:
                holder[name] = list(new)
        elif isinstance(new, dict):
            inner = old if isinstance(old, dict) else {}
            holder[name] = inner
            todo += [(inner, key, item) for key, item in reversed(new.items())]
        else:
            _stand(holder, name, new)


def _leaf(value: Any, within: str) -> Any:
    del within
    return "".join(value.pieces) if isinstance(value, _Text) else value
