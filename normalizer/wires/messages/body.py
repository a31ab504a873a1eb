"""A whole message: repaired in place, made into events, and made of events.

A whole message is repaired where it stands: order and other members stay, and a message without a
fault leaves byte for byte. Only an answer of the other kind is made anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from normalizer.core.dialects import MESSAGES, dialect_of
from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.core.lenient import dumps
from normalizer.wires.messages import tool_use
from normalizer.wires.messages.block_start import is_run_elsewhere, kind_of
from normalizer.wires.messages.blocks import TEXT, TEXT_EMPTY, THINKING, TOOL, group_of
from normalizer.wires.messages.deltas import words
from normalizer.wires.messages.errors import EMPTY, NOT_MESSAGES, Errors, other_api, own
from normalizer.wires.messages.ids import made_up
from normalizer.wires.messages.message_start import START_FORM, as_block, fill_message
from normalizer.wires.messages.stop_reason import StopReason
from normalizer.wires.messages.tool_input import object_of
from normalizer.wires.messages.usage import Usage

MESSAGE_FOR_STREAM = Deviation(
    code="M801",
    name="message-for-stream",
    fault="One JSON message answers `stream: true`.",
    repair="It becomes a stream.",
    structural=True,
)
BODY_BLOCKS = Deviation(
    code="M802",
    name="message-blocks",
    fault="The `content` of a whole message, or one of its blocks, is malformed.",
    repair="A string becomes a text block, the text of an object its object.",
)

# characters of text in one delta that is made of a whole message
DELTA_CHARACTERS = 4096
# members of a message that its `message_start` does not say
_LATER = ("content", "stop_reason", "stop_sequence", "usage")


class Body:
    """Repairs whole messages in place."""

    __slots__ = ("_errors", "_found", "_model", "_names")

    def __init__(
        self, found: Findings, errors: Errors, model: str | None, names: frozenset[str] | None
    ) -> None:
        self._found = found
        self._errors = errors
        self._model = model
        self._names = names  # of the request's tools

    def error(self, value: Any) -> dict[str, Any] | None:
        """The error that a whole answer is; None if it is a message."""
        error = self._errors.read(value)
        if error is not None:
            return error
        dialect = dialect_of(value)
        if dialect not in (None, MESSAGES):
            self._found(NOT_MESSAGES)
            return own("upstream_invalid", other_api(dialect))
        if not isinstance(value, dict) or "content" not in value:
            self._found(EMPTY)
            return own("upstream_empty", "The upstream answered nothing: its JSON has no content.")
        return None

    def repair(self, draft: Draft) -> str:
        """Repair a message; the word that says that it failed, if one does."""
        message = draft.value
        fill_message(self._found, draft, message, self._model)
        blocks, nameless = self._content(draft, message)
        Usage(self._found).start(draft, message)
        if "stop_sequence" not in message and self._found(START_FORM):
            draft.edit()["stop_sequence"] = None
        reason = StopReason(self._found)
        came = message.get("stop_reason")
        if isinstance(came, str) and came:
            reason.word = reason.read(came)
        if reason.failure:
            return reason.failure
        calls = [block for block in blocks if block.get("type") == "tool_use"]
        called = any(self._names is None or block.get("name") in self._names for block in calls)
        final = reason.final(called=called, calls=bool(calls), nameless=bool(nameless))
        for name, item in final.value["delta"].items():
            if name != "stop_sequence" and message.get(name) != item:
                draft.edit()[name] = item
        if nameless:
            draft.edit()["nameless_tool_use"] = nameless
        return ""

    def _content(
        self, draft: Draft, message: dict[str, Any]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Give the blocks their form; them, and the calls without a name, which are taken out."""
        content = message.get("content")
        given = content if isinstance(content, list) else [content] if content else []
        blocks = [as_block(block) for block in given]
        if not _are_blocks(content) and self._found(BODY_BLOCKS):
            draft.edit()["content"] = blocks
        nameless: list[dict[str, Any]] = []
        seen: dict[str, dict[str, Any]] = {}
        stays = [
            block
            for block in blocks
            if self._block(draft, block) != TOOL or self._call(draft, block, seen, nameless)
        ]
        if len(stays) != len(blocks):
            draft.edit()["content"] = stays
        return stays, nameless

    def _block(self, draft: Draft, block: dict[str, Any]) -> str:
        """Give a block its form; its group."""
        kind = kind_of(block)
        if block.get("type") != kind and self._found(BODY_BLOCKS):
            draft.edit()
            block["type"] = kind
        group = group_of(kind)
        if group in (TEXT, THINKING):
            member = "text" if group == TEXT else "thinking"
            said = block.get(member)
            if not isinstance(said, str) and self._found(BODY_BLOCKS):
                draft.edit()
                block[member] = words(said)
            elif group == TEXT and not said:
                self._found.note(TEXT_EMPTY)
        return group

    def _call(
        self,
        draft: Draft,
        block: dict[str, Any],
        seen: dict[str, dict[str, Any]],
        nameless: list[dict[str, Any]],
    ) -> bool:
        """Give a call its form; whether it stays."""
        given = block.get("input")
        if not isinstance(given, dict):
            parsed = object_of(given) if isinstance(given, str) and given else given or {}
            if parsed != given and self._found(BODY_BLOCKS):
                draft.edit()
                block["input"] = parsed
        name, ident = block.get("name"), block.get("id")
        if not isinstance(name, str) or not name:
            self._found(tool_use.TOOL_NAME_MISSING)
            said = given if isinstance(given, str) else dumps(given or {}).decode()
            nameless.append({"id": ident if isinstance(ident, str) else "", "input_json": said})
            return False
        if not isinstance(ident, str) or not ident:
            if self._found(tool_use.TOOL_ID_MISSING):
                draft.edit()
                block["id"] = made_up("toolu_")
            return True
        first = seen.setdefault(ident, block)
        if first is block:
            return True
        if _same_call(first, block) and self._found(tool_use.CALL_REPEATED):
            return False
        if self._found(tool_use.TOOL_ID_REPEATED):
            draft.edit()
            block["id"] = made_up("toolu_")
        return True


def _are_blocks(content: Any) -> bool:
    return isinstance(content, list) and all(isinstance(block, dict) for block in content)


def _same_call(first: dict[str, Any], second: dict[str, Any]) -> bool:
    names = all(first.get(name) == second.get(name) for name in ("type", "name"))
    return names and dumps(first.get("input")) == dumps(second.get("input"))


# ---------------------------------------------------------------------------- a message as events


def events_of(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events that say what a whole message says."""
    usage = message.get("usage")
    start = {key: item for key, item in message.items() if key not in _LATER}
    start |= {"content": [], "stop_reason": None, "stop_sequence": None}
    start["usage"] = {**usage, "output_tokens": 0} if isinstance(usage, dict) else {}
    yield {"type": "message_start", "message": start}
    content = message.get("content")
    content = content if isinstance(content, list) else [content] if content else []
    for index, block in enumerate(content):
        for event in events_of_block(as_block(block)):
            yield {"type": event["type"], "index": index, **event}
    reason = message.get("stop_reason")
    figures = {}
    if isinstance(usage, dict) and usage.get("output_tokens") is not None:
        figures = {"output_tokens": usage["output_tokens"]}
    if figures or (isinstance(reason, str) and reason):
        delta = {"stop_reason": reason, "stop_sequence": message.get("stop_sequence")}
        yield {"type": "message_delta", "delta": delta, "usage": figures}
    yield {"type": "message_stop"}


def events_of_block(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events that say what a whole block says, without an index."""
    kind = kind_of(block)
    group = group_of(kind)
    head = {**block, "type": kind}
    deltas: list[dict[str, Any]] = []
    if group == TEXT:
        deltas = _text("text_delta", "text", words(block.get("text")))
        citations = head.pop("citations", None)
        for citation in citations if isinstance(citations, list) else []:
            deltas.append({"type": "citations_delta", "citation": citation})
        head["text"] = ""
    elif group == THINKING:
        deltas = _text("thinking_delta", "thinking", words(block.get("thinking")))
        signature = block.get("signature")
        if isinstance(signature, str) and signature:
            deltas.append({"type": "signature_delta", "signature": signature})
        head |= {"thinking": "", "signature": ""}
    elif group == TOOL and not is_run_elsewhere(block):
        given = block.get("input")
        text = given if isinstance(given, str) else dumps(given).decode() if given else ""
        deltas = [{"type": "input_json_delta", "partial_json": text}]
        head["input"] = {}
    yield {"type": "content_block_start", "content_block": head}
    for delta in deltas:
        yield {"type": "content_block_delta", "delta": delta}
    yield {"type": "content_block_stop"}


def _text(kind: str, member: str, said: str) -> list[dict[str, Any]]:
    size = DELTA_CHARACTERS
    pieces = (said[at : at + size] for at in range(0, len(said), size))
    return [{"type": kind, member: piece} for piece in pieces]
