"""What a chunk is. A dict, so that fields nobody here knows live on."""

from __future__ import annotations

from typing import Any, Literal

from normalizer.core.draft import Draft
from normalizer.core.lenient import clean, rewritten
from normalizer.core.request import RequestInfo
from normalizer.wires.chat.words import Word

Chunk = dict[str, Any]
Choice = dict[str, Any]
Delta = dict[str, Any]
Endpoint = Literal["chat", "completions"]

# members that this package settles itself; all others are somebody's and travel
TOP_KEYS = frozenset({"id", "object", "created", "model", "choices", "usage", "error"})
CHOICE_KEYS = frozenset({"index", "delta", "text", "message", "finish_reason", "logprobs", "usage"})
# the members of a delta that OpenAI declares; others are an upstream's own, null or not
DECLARED = frozenset({"role", "content", "refusal", "tool_calls", "function_call"})
# what belongs to the text when a chunk is split into its text and its finish
TEXT_KEYS = frozenset({"logprobs", "content_filter_results", "content_filter_offsets", "token_ids"})
# padding against a listener who counts lengths: its values are no news (OpenAI, Mistral)
PADDING_KEYS = frozenset({"obfuscation"})

# the names that reasoning goes by
REASONING_KEYS = (
    "reasoning_content",
    "reasoning",
    "thinking",
    "reasoning_text",
    "thinking_content",
    "thought",
    "reasoningContent",
)
# the members of a delta whose text is streamed
SPOKEN_KEYS = ("content", "refusal", *REASONING_KEYS)


class Part:
    """One choice of one chunk, on its way through the stages.

    * ``draft``: the chunk; ``choice``: the choice in it; ``delta``: the choice's, an object.
    * ``index``: the choice that it means. ``word``: its finish, read by the stage of that name.
    * ``says``: the delta has content beside its role.
    * ``from_message``: the calls are those of a whole message. ``closes``: the chunk is a whole
      answer that repeats what was streamed.

    Call `edit` before changing the choice: the bytes that it came as are void then.
    """

    __slots__ = ("choice", "closes", "delta", "draft", "from_message", "index", "says", "word")

    def __init__(self, draft: Draft, choice: Choice) -> None:
        self.draft = draft
        self.choice = choice
        self.delta: Delta = {}
        self.index = 0
        self.word: Word | None = None
        self.from_message = False
        self.says = True
        self.closes = draft.value.get("object") == "chat.completion"

    def edit(self) -> Choice:
        """The choice, to be changed."""
        if self.draft.raw is not None:
            self.draft.edit()
        return self.choice

    @property
    def changed(self) -> bool:
        """Whether the chunk is not what came any more."""
        return self.draft.raw is None


def endpoint_of(request: RequestInfo) -> Endpoint:
    """Return which of the two endpoints the request is for."""
    return "completions" if request.endpoint == "completions" else "chat"


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
    if isinstance(value, list):
        return [item for item in value if isinstance(item, dict)]
    return [value] if isinstance(value, dict) else []


def count(counted: dict[str, int], delta: Delta) -> None:
    """Add a delta's characters to a report's, by kind."""
    reasoning = 0
    for key, value in delta.items():
        if not value:
            continue
        if key in ("tool_calls", "function_call"):
            _count_arguments(counted, delta, key)
        elif type(value) is str:
            if key in ("content", "refusal"):
                counted[key] = counted.get(key, 0) + len(value)
            elif key in _REASONING and len(value) > reasoning:
                # names that mirror each other hold one text
                counted["reasoning"] = counted.get("reasoning", 0) + len(value) - reasoning
                reasoning = len(value)


_REASONING = frozenset(REASONING_KEYS)


def _count_arguments(counted: dict[str, int], delta: Delta, key: str) -> None:
    """Add the characters of the calls under one of the two names that they have."""
    characters = 0
    if key == "tool_calls":
        for call in as_list(delta[key]):
            characters += _size_of_arguments(call.get("function"))
    elif not delta.get("tool_calls"):  # llama-cpp-python has one call under both names
        characters = _size_of_arguments(delta[key])
    if characters:
        counted["arguments"] = counted.get("arguments", 0) + characters


def _size_of_arguments(function: Any) -> int:
    text = function.get("arguments") if isinstance(function, dict) else None
    return len(text) if isinstance(text, str) else 0


def count_text(counted: dict[str, int], text: Any) -> None:
    """Add the characters of a legacy completion's text to a report's."""
    if text and type(text) is str:
        counted["content"] = counted.get("content", 0) + len(text)


def strict(chunk: Chunk) -> Chunk:
    """The chunk without what JSON has not; its texts stay, whose halves may yet be joined."""
    texts = {id(text) for choice in as_list(chunk.get("choices")) for text in _texts(choice)}

    def leaf(value: Any, within: str) -> Any:
        return value if id(value) in texts else clean(value, within)

    settled: Chunk = rewritten(chunk, leaf)
    return settled


def _texts(choice: Choice) -> list[str]:
    delta = choice.get("delta")
    delta = delta if isinstance(delta, dict) else {}
    functions = [f for c in as_list(delta.get("tool_calls")) for f in as_list(c.get("function"))]
    texts = [choice.get("text"), *(delta.get(key) for key in SPOKEN_KEYS)]
    blocks = delta.get("content")
    texts += [block.get("text") for block in as_list(blocks)] if isinstance(blocks, list) else []
    texts += [function.get("arguments") for function in functions]
    return [text for text in texts if isinstance(text, str)]


def without_extras(chunk: Chunk) -> bool:
    """Take away what the API does not know; was there any?"""
    dropped = False
    known_top = TOP_KEYS | {"system_fingerprint", "service_tier"}
    for part, known in [(chunk, known_top), *((c, CHOICE_KEYS) for c in chunk["choices"])]:
        for key in [key for key in part if key not in known]:
            del part[key]
            dropped = True
    return dropped
