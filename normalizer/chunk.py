"""What a chunk is. A dict, so that fields nobody here knows live on."""

from __future__ import annotations

from typing import Any, Literal

Chunk = dict[str, Any]
Choice = dict[str, Any]
Delta = dict[str, Any]
Endpoint = Literal["chat", "completions"]

# members that this package settles itself; all others are somebody's and travel
TOP_KEYS = frozenset({"id", "object", "created", "model", "choices", "usage", "error"})
CHOICE_KEYS = frozenset({"index", "delta", "text", "message", "finish_reason", "logprobs", "usage"})
# what belongs to the text when a chunk is split into its text and its finish
TEXT_KEYS = frozenset({"logprobs", "content_filter_results", "content_filter_offsets", "token_ids"})
# padding against a listener who counts lengths: its values are no news (OpenAI, Mistral)
PADDING_KEYS = frozenset({"obfuscation"})

OBJECTS: dict[Endpoint, str] = {
    "chat": "chat.completion.chunk",
    "completions": "text_completion",
}


def is_news(key: str, value: Any) -> bool:
    """Whether a member of a chunk that is not to be sent has to travel on another one."""
    return value is not None and key not in PADDING_KEYS


def extras(chunk: Chunk) -> dict[str, Any]:
    """The members of a chunk that this package does not settle itself."""
    return {key: value for key, value in chunk.items() if key not in TOP_KEYS and value is not None}


def as_list(value: Any) -> list[dict[str, Any]]:
    """The objects of a list that may be an object itself, or nothing."""
    if isinstance(value, dict):
        return [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
