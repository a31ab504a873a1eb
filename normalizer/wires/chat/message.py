"""A chunk of a stream whose choice has a whole `message`, beside its delta or instead of one.

MiniMax, Perplexity and Writer repeat the answer so far in it. A client that adds it to what was
streamed shows the answer twice, so only the rest of it is delivered. Which part is the rest is
known from the length and the sum of what was sent (`SentTexts`).
"""

from __future__ import annotations

from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.wires.chat.blocks import read_blocks
from normalizer.wires.chat.chunk import Choice, Delta, Part
from normalizer.wires.chat.sent import SentTexts

MESSAGE_BESIDE_DELTA = Deviation(
    code="C308",
    name="message-beside-delta",
    fault="A chunk has a whole `message` beside or instead of a delta.",
    repair="Only text that was not streamed yet is delivered.",
)
MESSAGE_DIFFERS = Deviation(
    code="C309",
    name="message-differs",
    fault="A `message` begins differently from the streamed text.",
    repair="The `message` is not used and the report names it.",
    reported=True,
)
MESSAGE_FOR_DELTA = Deviation(
    code="C315",
    name="message-for-delta",
    fault="A choice of a chunk has a `message` instead of a `delta`.",
    repair="The message becomes the delta, without the text that was already sent.",
)

_CALLS = ("tool_calls", "function_call")


class Messages:
    """Moves what is new in a `message` to the delta of its choice."""

    __slots__ = ("_found", "_sent")

    def __init__(self, found: Findings, sent: SentTexts) -> None:
        self._found = found
        self._sent = sent

    def replaces_delta(self, choice: Choice) -> bool:
        """Return whether a choice without a delta has a message that becomes it."""
        return ("message" in choice or "messages" in choice) and self._found.on(MESSAGE_FOR_DELTA)

    def read(self, part: Part, *, beside: bool, opened: bool, called: bool) -> None:
        """Move what a `message` has and was not sent yet to the delta of ``part``.

        * ``beside``: the choice has a delta of its own.
        * ``opened``: a delta of the choice was sent already.
        * ``called``: the choice has streamed calls already.
        """
        if not self._found(MESSAGE_BESIDE_DELTA if beside else MESSAGE_FOR_DELTA):
            return
        message = part.edit().pop("message")
        if not isinstance(message, dict):
            return
        if message.get("role") == "assistant" and not (beside or opened):
            part.delta["role"] = "assistant"
        self._read_members(part, _members(message), closes=beside or part.closes, called=called)

    def _read_members(
        self, part: Part, members: dict[str, Any], *, closes: bool, called: bool
    ) -> None:
        self._add_texts(part, members, closes=closes)
        calls = {key: members.pop(key) for key in _CALLS if members.get(key)}
        _add_others(part.delta, members)
        # a call that was streamed must not be run twice
        if not called and _add_calls(part.delta, calls):
            part.from_message = True

    def read_list(self, part: Part) -> None:
        """Move the text of `messages` to the delta of ``part``, unless text was streamed."""
        messages = part.choice["messages"]
        # what was streamed is the answer; `messages` repeats it
        if self._sent.of(part.index, "content").characters or not isinstance(messages, list):
            return
        texts = [_text(one) for one in messages if isinstance(one, dict)]
        if any(texts) and self._found(MESSAGE_FOR_DELTA):
            part.edit()
            part.delta["content"] = "".join(texts)

    def _add_texts(self, part: Part, members: dict[str, Any], *, closes: bool) -> None:
        for key in ("reasoning_content", "content"):
            text = members.pop(key, None)
            if isinstance(text, str) and text:
                self._add_rest(part, key, text, closes=closes)

    def _add_rest(self, part: Part, key: str, text: str, *, closes: bool) -> None:
        """Add the part of a text that was not sent.

        ``closes``: the text repeats the answer. One that does not may be a piece like any other.
        """
        delta = part.delta
        here = delta.get(key) if isinstance(delta.get(key), str) else ""
        # length and sum, not similarity: `ha` after `ha` is text
        sent = self._sent.of(part.index, key)
        if sent.begins(text) and text[sent.characters :].startswith(here or ""):
            rest = text[sent.characters :]
            if rest != here:
                delta[key] = rest
        elif not closes:
            delta[key] = text
        elif text != here:
            # the server has rewritten its answer: used, it would be shown twice, in two versions
            self._found(MESSAGE_DIFFERS)


def _members(message: dict[str, Any]) -> dict[str, Any]:
    """The members of a message, its content as text, its reasoning under one name."""
    members = dict(message)
    members.pop("role", None)
    content = members.pop("content", None)
    if isinstance(content, (list, dict)):
        content, reasoning, others = read_blocks(content)
        if reasoning:
            members.setdefault("reasoning_content", reasoning)
        if others:
            members["content_blocks"] = others
    members["content"] = content
    for key in ("reasoning_content", "reasoning"):
        if isinstance(members.get(key), str):
            members["reasoning_content"] = members.pop(key)
            break
    return members


def _add_others(delta: Delta, members: dict[str, Any]) -> None:
    for key, value in members.items():
        if key not in delta and value not in (None, [], ""):
            delta[key] = value


def _add_calls(delta: Delta, calls: dict[str, Any]) -> bool:
    """Add the calls that a delta lacks; return whether there are any."""
    lacking = {key: value for key, value in calls.items() if not delta.get(key)}
    delta.update(lacking)
    return bool(lacking)


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, (list, dict)):
        return read_blocks(content)[0]
    return content if isinstance(content, str) else ""
