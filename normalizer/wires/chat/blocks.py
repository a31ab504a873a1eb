"""Content that is a list of blocks: its text, its reasoning, and the blocks that are neither."""

from __future__ import annotations

from typing import Any

from normalizer.core.lenient import dumps

_REASONING = ("thinking", "reasoning")
# Mistral's Magistral has its text in `thinking`, Databricks in `summary`; the first one counts.
_REASONING_TEXTS = ("thinking", "summary", "reasoning", "text")
_TEXT_MEMBERS = ("type", "text", "index")
_REASONING_MEMBERS = (*_REASONING_TEXTS, "type", "index")


def read_blocks(content: Any) -> tuple[str, str, list[Any]]:
    """Return the text, the reasoning and the other blocks of ``content``.

    ``content`` is a list of blocks, or one block. A block whose text is read but that has more to
    tell (citations, a signature) is among the other blocks too, without that text.

    Example::

        read_blocks([{"type": "text", "text": "Hi"}])  # ("Hi", "", [])
    """
    text: list[str] = []
    reasoning: list[Any] = []
    others: list[Any] = []
    for block in content if isinstance(content, list) else [content]:
        if isinstance(block, str):
            text.append(block)
        elif _is_text(block):
            text.append(block.get("text") or "")
            others += _beside_text(block)
        elif isinstance(block, dict) and block.get("type") in _REASONING:
            reasoning += _reasoning_in(block)
            others += _beside_reasoning(block)
        else:
            others.append(block)
    return "".join(text), "".join(map(_string, reasoning)), others


def _is_text(block: Any) -> bool:
    if not isinstance(block, dict) or block.get("type") != "text":
        return False
    return isinstance(block.get("text"), (str, type(None)))


def _beside_text(block: dict[str, Any]) -> list[dict[str, Any]]:
    """The block without its text, if something but its place is left."""
    if not any(value for key, value in block.items() if key not in _TEXT_MEMBERS):
        return []
    return [{key: value for key, value in block.items() if key != "text"}]


def _reasoning_in(block: dict[str, Any]) -> list[Any]:
    name = next((name for name in _REASONING_TEXTS if name in block), "")
    given = block.get(name)
    parts = given if isinstance(given, list) else [{"text": given}]
    return [part.get("text") or "" for part in parts if isinstance(part, dict)]


def _beside_reasoning(block: dict[str, Any]) -> list[dict[str, Any]]:
    """What a block of reasoning has beside its text: the signature that the next request needs."""
    signed = {key: value for key, value in block.items() if key not in _REASONING_MEMBERS and value}
    return [{"type": block["type"], **signed}] if signed else []


def _string(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value).decode()
