"""What begins a block: the `content_block` of its `content_block_start`.

Clients copy it into the message that they build and read its members without asking, so every
member of the form is filled in. A start says nothing by itself: Claude Code and the AI SDK begin
each block empty and read deltas only. What a start already holds is therefore taken out of it, and
leaves as a delta.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.wires.messages.blocks import TEXT, THINKING, TOOL, group_of
from normalizer.wires.messages.deltas import words
from normalizer.wires.messages.tool_input import INPUT_IN_START, as_text, is_object

BLOCK_FORM = Deviation(
    code="M308",
    name="block-form",
    fault="A `content_block` has no `type`, `text`, `thinking`, `signature` or `input`.",
    repair="The missing members are empty, and a missing type comes from the others.",
)
WORDS_IN_START = Deviation(
    code="M309",
    name="words-in-block-start",
    fault="A block's start holds text, thinking or a signature.",
    repair="The start becomes empty, and what it held becomes deltas.",
)

_MEMBERS = {TEXT: ("text",), THINKING: ("thinking", "signature")}


def kind_of(block: dict[str, Any]) -> str:
    """The kind of a block, by its members where it has no type."""
    kind = block.get("type")
    if isinstance(kind, str) and kind:
        return kind
    if "name" in block or "input" in block:
        return "tool_use"
    signs = (("thinking", "thinking"), ("data", "redacted_thinking"))
    return next((sort for member, sort in signs if member in block), "text")


def is_run_elsewhere(block: dict[str, Any]) -> bool:
    """Whether code on a server calls the tool: the API itself puts the input into such a start."""
    caller = block.get("caller")
    direct = not isinstance(caller, dict) or caller.get("type", "direct") == "direct"
    return not direct and isinstance(block.get("input"), dict)


class Head(NamedTuple):
    """What a block's start held, and its kind.

    ``words``: text or thinking; ``pieces``: the beginning of its input; ``input``: a whole input.
    """

    kind: str
    words: str = ""
    signature: str = ""
    pieces: str = ""
    input: str = ""


class Heads:
    """Gives the start of a block its form."""

    __slots__ = ("_found",)

    def __init__(self, found: Findings) -> None:
        self._found = found

    def form(self, draft: Draft) -> Head:
        """What a `content_block_start` held; the start is empty then, and has its members."""
        block = draft.value.get("content_block")
        if not isinstance(block, dict):
            self._found(BLOCK_FORM)
            block = draft.edit()["content_block"] = {}
        kind = kind_of(block)
        if block.get("type") != kind and self._found(BLOCK_FORM):
            draft.edit()
            others = {key: item for key, item in block.items() if key != "type"}
            block.clear()
            block.update({"type": kind, **others})
        group = group_of(kind)
        if group == TOOL:
            return self._tool(draft, block, kind)
        held = [self._string(draft, block, member) for member in _MEMBERS.get(group, ())]
        return Head(kind, *held)

    def _string(self, draft: Draft, block: dict[str, Any], member: str) -> str:
        """What a text member says; the start says nothing then."""
        given = block.get(member)
        if given == "":
            return ""
        said = words(given) if member != "signature" or isinstance(given, str) else ""
        if not self._found(WORDS_IN_START if said else BLOCK_FORM):
            return ""
        draft.edit()
        block[member] = ""
        return said

    def _tool(self, draft: Draft, block: dict[str, Any], kind: str) -> Head:
        given = block.get("input")
        if given == {} and isinstance(given, dict):
            return Head(kind)
        if not given:
            if self._found(BLOCK_FORM):
                draft.edit()
                block["input"] = {}
            return Head(kind)
        if is_run_elsewhere(block) or not self._found(INPUT_IN_START):
            return Head(kind)
        draft.edit()
        block["input"] = {}
        whole = isinstance(given, dict) or not isinstance(given, str) or is_object(given)
        text = as_text(given)
        return Head(kind, input=text) if whole else Head(kind, pieces=text)
