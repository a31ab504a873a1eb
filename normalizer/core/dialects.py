"""Which protocol an object belongs to, told by one of its events or by a whole answer.

An upstream may answer in another protocol than it was asked in: a gateway with a wrong route, a
server whose own API has the same path. The answer is not translated; the error that takes its place
names what came. Each wire asks, and ignores its own name.

A protocol is told by what only it has. An object that fits none is nobody's: it may be a gateway's
greeting, and is no reason to end a stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

CHAT = "OpenAI's Chat Completions API"
RESPONSES = "OpenAI's Responses API"
MESSAGES = "Anthropic's Messages API"
GEMINI = "Google's Gemini API"
OLLAMA = "Ollama's own API"
BEDROCK = "Amazon Bedrock's Converse API"
COHERE = "Cohere's Chat API"

_CHAT_OBJECTS = frozenset({"chat.completion.chunk", "chat.completion", "text_completion"})
_MESSAGES_TYPES = frozenset(
    {"message_start", "message_delta", "message_stop"}
    | {"content_block_start", "content_block_delta", "content_block_stop"}
)
_COHERE_TYPES = frozenset(
    {"message-start", "message-end", "content-start", "content-delta", "content-end"}
    | {"tool-plan-delta", "tool-call-start", "tool-call-delta", "tool-call-end"}
    | {"citation-start", "citation-end"}
)
_COHERE_EVENTS = frozenset(  # of its first API
    {"stream-start", "stream-end", "text-generation", "search-queries-generation"}
    | {"search-results", "citation-generation", "tool-calls-generation", "tool-calls-chunk"}
)
_BEDROCK_EVENTS = frozenset(
    {"messageStart", "messageStop"} | {"contentBlockStart", "contentBlockDelta", "contentBlockStop"}
)


class Dialect(NamedTuple):
    """A protocol in words, and the question whether an object belongs to it.

    ``members``: no object of this protocol is without one of them.
    """

    name: str
    members: frozenset[str]
    fits: Callable[[dict[str, Any]], bool]


def dialect_of(value: Any) -> str | None:
    """The protocol that an event's object, or a whole answer, belongs to; None if to none known.

    The name is one of this module's, such as `CHAT`, in words for an error message. Of a list the
    first object tells. Raises nothing.

    Example::

        dialect_of({"type": "message_start", "message": {}})  # "Anthropic's Messages API"
    """
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict):
        return None
    for dialect in DIALECTS:
        if not dialect.members.isdisjoint(value) and dialect.fits(value):
            return dialect.name
    return None


def _word(value: dict[str, Any], name: str) -> str:
    word = value.get(name)
    return word if isinstance(word, str) else ""


def _is_chat(value: dict[str, Any]) -> bool:
    return isinstance(value.get("choices"), list) or _word(value, "object") in _CHAT_OBJECTS


def _is_responses(value: dict[str, Any]) -> bool:
    return _word(value, "type").startswith("response.") or _word(value, "object") == "response"


def _is_messages(value: dict[str, Any]) -> bool:
    kind = _word(value, "type")
    whole = kind == "message" and isinstance(value.get("content"), list)
    return kind in _MESSAGES_TYPES or (whole and value.get("role") == "assistant")


def _is_gemini(value: dict[str, Any]) -> bool:
    inner = value.get("response")  # in the envelope of its Code Assist
    return any(
        isinstance(one.get("candidates"), list)
        or isinstance(one.get("usageMetadata"), dict)
        or isinstance(one.get("promptFeedback"), dict)
        for one in (value, inner)
        if isinstance(one, dict)
    )


def _is_ollama(value: dict[str, Any]) -> bool:
    said = isinstance(value.get("message"), dict) or isinstance(value.get("response"), str)
    return said and type(value.get("done")) is bool and "created_at" in value


def _is_bedrock(value: dict[str, Any]) -> bool:
    if any(isinstance(value.get(name), dict) for name in _BEDROCK_EVENTS):
        return True
    output = value.get("output")
    return isinstance(output, dict) and "message" in output and "stopReason" in value


def _is_cohere(value: dict[str, Any]) -> bool:
    if _word(value, "type") in _COHERE_TYPES or _word(value, "event_type") in _COHERE_EVENTS:
        return True
    return isinstance(value.get("generation_id"), str) and isinstance(value.get("text"), str)


DIALECTS = (
    Dialect(CHAT, frozenset({"choices", "object"}), _is_chat),
    Dialect(RESPONSES, frozenset({"type", "object"}), _is_responses),
    Dialect(MESSAGES, frozenset({"type"}), _is_messages),
    Dialect(
        GEMINI,
        frozenset({"candidates", "usageMetadata", "promptFeedback", "response"}),
        _is_gemini,
    ),
    Dialect(OLLAMA, frozenset({"done"}), _is_ollama),
    Dialect(BEDROCK, _BEDROCK_EVENTS | {"output"}, _is_bedrock),
    Dialect(COHERE, frozenset({"type", "event_type", "generation_id"}), _is_cohere),
)
