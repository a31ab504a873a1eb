"""What may differ from one chunk to the next: the text, and what stands beside it.

The core learns from the answer which chunks need no parsing (`core/template.py`). So this is the
place where a chunk is taken for one like the next. A chunk is not, if a stage counts in it, or
compares its text with another one: then the same form may be repaired in another way next time.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.template import OneText
from normalizer.wires.chat.choices import INDEX_COUNTS_TOKENS
from normalizer.wires.chat.chunk import (
    DECLARED,
    PADDING_KEYS,
    REASONING_KEYS,
    Choice,
    Chunk,
    Endpoint,
)
from normalizer.wires.chat.content import SAYS_NOTHING, THOUGHT_FLAGGED
from normalizer.wires.chat.message import MESSAGE_BESIDE_DELTA, MESSAGE_FOR_DELTA
from normalizer.wires.chat.reasoning import OBJECT_WITHOUT_INDEX
from normalizer.wires.chat.stages import Stages
from normalizer.wires.chat.usage import FOUND_IN_EACH, USAGE_IN_CHOICE, USAGE_IN_X_GROQ

# repairs that count, or that compare a text with all that was sent
_TELLS_CHUNKS_APART = frozenset(
    {
        one.code
        for one in (
            MESSAGE_BESIDE_DELTA,
            MESSAGE_FOR_DELTA,
            THOUGHT_FLAGGED,
            OBJECT_WITHOUT_INDEX,
            INDEX_COUNTS_TOKENS,
            USAGE_IN_CHOICE,
            USAGE_IN_X_GROQ,
        )
    }
)
# members in which upstreams send one text twice
_MIRRORS = frozenset({"content", "text", *REASONING_KEYS})
_MIRROR_NAMES = frozenset(name.encode() for name in _MIRRORS)
# members whose values differ from chunk to chunk and mean nothing here (Together, Bedrock)
_BESIDE = (*PADDING_KEYS, "token_id")
# members of a delta that a stage reads; what others hold is the same in the next chunk, or that
# chunk is of another form
_READ = DECLARED | {*REASONING_KEYS, "extra_content", "tool_results"}
_KINDS = {"content": "content", "reasoning_content": "reasoning"}
_NO_CHOICE = -1  # of a chunk without news


def one_text(stages: Stages, endpoint: Endpoint, chunk: Chunk, codes: list[str]) -> OneText | None:
    """The one text of ``chunk``, the last that was sent, if nothing but it will differ in the next.

    ``codes`` are those of the chunk that came last. If it had no news, the text is "".
    """
    if not _TELLS_CHUNKS_APART.isdisjoint(codes):
        return None
    if SAYS_NOTHING.code in codes:
        return OneText("", "", _NO_CHOICE, None)
    if len(chunk["choices"]) != 1 or not _MIRRORS.isdisjoint(chunk):
        return None
    choice = chunk["choices"][0]
    found = _of_completion(choice) if endpoint == "completions" else _of_delta(stages, choice)
    if found is None:
        return None
    has_usage = bool(chunk.get("usage"))
    if has_usage and not FOUND_IN_EACH.isdisjoint(codes):
        return None
    beside = _beside(chunk, choice)
    return found._replace(beside=beside, has_usage=has_usage, own_codes=FOUND_IN_EACH)


def _of_completion(choice: Choice) -> OneText | None:
    text = choice.get("text")
    if not text or type(text) is not str:
        return None
    return OneText(text, "content", choice["index"], None, _MIRROR_NAMES)


def _of_delta(stages: Stages, choice: Choice) -> OneText | None:
    delta, index = choice.get("delta"), choice["index"]
    if not isinstance(delta, dict) or not stages.content.is_open(index):
        return None
    said = [(key, value) for key, value in delta.items() if value and key in _READ]
    if len(said) != 1 or stages.content.waits:
        return None
    ((key, value),) = said
    if key == "tool_calls":
        return _of_call(stages, index, value)
    return _of_text(stages, index, key, value) if type(value) is str else None


def _of_text(stages: Stages, index: int, key: str, text: str) -> OneText | None:
    """A piece of content or reasoning; of several texts that differ the longest was taken."""
    kind = _KINDS.get(key)
    if kind is None or (kind == "reasoning" and stages.reasoning.differs):
        return None
    return OneText(text, kind, index, stages.content.sent_texts.of(index, key).add, _MIRROR_NAMES)


def _of_call(stages: Stages, index: int, fragments: Any) -> OneText | None:
    """A piece of the arguments of one call."""
    if type(fragments) is not list or len(fragments) != 1:
        return None
    fragment = fragments[0]
    function = fragment.get("function")
    if fragment.keys() != {"index", "function"} or function.keys() != {"arguments"}:
        return None
    arguments = stages.tools.steady(index, fragment["index"])
    if arguments is None:
        return None
    return OneText(function["arguments"], "arguments", index, arguments.add)


def _beside(chunk: dict[str, Any], choice: dict[str, Any]) -> tuple[tuple[str, str | int], ...]:
    """The members of a chunk whose values are nobody's, and differ from chunk to chunk."""
    delta = choice.get("delta")
    holders = (chunk, choice, delta) if isinstance(delta, dict) else (chunk, choice)
    beside = []
    for holder in holders:
        for key in _BESIDE:
            value = holder.get(key)
            if value and type(value) in (str, int):
                beside.append((key, value))
    return tuple(beside)
