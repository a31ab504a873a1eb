"""The text of a delta, and the role that a choice gets once.

The first delta of a choice has the role and may have empty members, as the API's own has. A later
one has no role and nothing empty: a client takes what is there for news.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.core.lenient import clean_text, dumps, ends_in_half
from normalizer.wires.chat.blocks import read_blocks
from normalizer.wires.chat.chunk import DECLARED, SPOKEN_KEYS, Delta, Part
from normalizer.wires.chat.message import Messages
from normalizer.wires.chat.sent import SentTexts

ROLE_MISSING = Deviation(
    code="C301",
    name="role-missing",
    fault="The first delta of a choice has no role.",
    repair='The first delta gets `"role": "assistant"`.',
)
ROLE_REPEATED = Deviation(
    code="C302",
    name="role-repeated",
    fault="A later delta repeats the role.",
    repair="The role is removed from later deltas.",
)
MEMBER_EMPTY = Deviation(
    code="C303",
    name="member-empty",
    fault='A later delta has members that are null, `[]` or `""`.',
    repair="The empty members are removed.",
)
SAYS_NOTHING = Deviation(
    code="C304",
    name="chunk-says-nothing",
    fault="A chunk has no text, finish or other news.",
    repair="The chunk is not sent.",
)
DELTA_MISSING = Deviation(
    code="C305",
    name="delta-missing",
    fault="`delta` is missing, null or not an object.",
    repair="`delta` becomes an object.",
)
CONTENT_BLOCKS = Deviation(
    code="C306",
    name="content-blocks",
    fault="`content` is a list of blocks.",
    repair="The blocks become text and reasoning, and all others move to `content_blocks`.",
)
CONTENT_NOT_TEXT = Deviation(
    code="C307",
    name="content-not-text",
    fault="`content` is a number or an object.",
    repair="It is converted to its JSON text.",
)
PAIR_SPLIT = Deviation(
    code="C310",
    name="surrogate-pair-split",
    fault="Two deltas each have one half of a surrogate pair.",
    repair="The whole character is delivered in the second delta.",
)
TOOL_ROLE = Deviation(
    code="C314",
    name="tool-role",
    fault="A delta with the role `tool` has the result of a tool.",
    repair="The result becomes `tool_results`, and its call counts as run by the server.",
)
THOUGHT_FLAGGED = Deviation(
    code="C316",
    name="thought-flagged",
    fault="A chunk marks its content as thought.",
    repair="The content becomes reasoning, without its tags.",
)

_CALLS = ("tool_calls", "function_call")
_TEXTS = frozenset({"text", *SPOKEN_KEYS})


class Content:
    """Makes text of the content of one stream's deltas, and gives each choice its role once.

    * ``sent_texts``: how much text each choice has sent.
    """

    __slots__ = ("_found", "_halves", "_messages", "_opened", "_thinking", "sent_texts")

    def __init__(self, found: Findings) -> None:
        self._found = found
        self._opened: set[int] = set()  # choices whose first delta was sent
        self.sent_texts = SentTexts()
        self._messages = Messages(found, self.sent_texts)
        self._thinking: dict[int, None] = {}  # choices whose last text was flagged as thought
        # high surrogates that wait for the low one, by choice and member
        self._halves: dict[int, dict[str, str]] = {}

    def read(self, part: Part, *, called: bool) -> None:
        """Repair a choice's delta; ``called``: the choice has streamed calls already."""
        self._delta(part, called=called)
        delta, index = part.delta, part.index
        # MiniMax's search sends what it found as a delta of the role `tool`: no text of the answer
        if delta.get("role") == "tool" and self._found(TOOL_ROLE):
            part.edit()
            _move_to_results(delta)
        content = delta.get("content")
        if content is not None and type(content) is not str:
            self._blocks(part, content)
        if self._halves or (part.changed and _has_half(delta)):
            self._join_halves(part, delta, SPOKEN_KEYS)
        if self._thinking or "extra_content" in delta:
            self._thoughts(part)
        if index in self._opened:
            self._read_later(part)
        else:
            self._read_first(part)

    def _read_first(self, part: Part) -> None:
        """Give the first delta of a choice its role."""
        delta, found = part.delta, self._found
        # the API's first delta may have nulls, but never for these two
        for key in _CALLS:
            if key in delta and _is_nothing(delta[key]) and found(MEMBER_EMPTY):
                part.edit()
                del delta[key]
        # without a role LangChain JS makes a `ChatMessageChunk`, which has no tool calls
        if delta.get("role") != "assistant" and found(ROLE_MISSING):
            part.edit()
            _put_role_first(delta)

    def _read_later(self, part: Part) -> None:
        """Remove the role and the empty members from a later delta."""
        delta, found = part.delta, self._found
        # openai-python's `.stream()` joins them: `role='assistantassistant'`
        if delta.get("role") and found(ROLE_REPEATED):
            part.edit()
            del delta["role"]
        # most deltas have nothing empty: this is quicker than to look at each member
        if all(delta.values()):
            return
        for key in [key for key, value in delta.items() if not value and _is_empty(key, value)]:
            if found(MEMBER_EMPTY):
                part.edit()
                del delta[key]

    def read_text(self, part: Part) -> None:
        """Make text of the `text` of a legacy completion's choice."""
        choice = part.choice
        if not isinstance(choice.get("text"), str) and self._found(CONTENT_NOT_TEXT):
            text = choice.get("text")
            part.edit()["text"] = "" if text is None else dumps(text).decode()
        if self._halves or (part.changed and _has_half(choice)):
            self._join_halves(part, choice, ("text",))

    def is_open(self, index: int) -> bool:
        """Return whether the first delta of a choice was sent."""
        return index in self._opened

    def open(self, index: int) -> None:
        """Note that the first delta of a choice is sent."""
        self._opened.add(index)

    @property
    def busy(self) -> bool:
        """Whether an earlier delta decides what becomes of the next text."""
        return bool(self._halves or self._thinking)

    @property
    def waits(self) -> bool:
        """Whether half of a surrogate pair waits for the other one."""
        return bool(self._halves)

    def halves(self, index: int) -> list[str]:
        """Return the members in which half a pair waited, and forget them."""
        return list(self._halves.pop(index, ()))

    def says_nothing(self, part: Part) -> bool:
        """Return whether neither a later delta nor the choice around it has any news."""
        if any(value or key != "content" for key, value in part.delta.items()):
            return False
        # log probabilities of an empty text are news, and so is a verdict of Azure's filter
        if part.choice.get("logprobs"):
            return False
        return not any(
            value is not None and key not in ("index", "delta", "finish_reason", "logprobs")
            for key, value in part.choice.items()
        )

    # ------------------------------------------------------------------ the delta

    def _delta(self, part: Part, *, called: bool) -> None:
        """Make an object of the choice's delta."""
        choice = part.choice
        delta = choice.get("delta")
        given = isinstance(delta, dict)
        if isinstance(delta, dict):
            part.delta = delta
        else:
            # the choice stays in any case: Azure's filter puts its verdict on choices without a
            # delta
            said = bool(delta) and not isinstance(delta, bool)
            part.delta = {"content": delta} if said else {}
            if self._messages.replaces_delta(choice) or self._found(DELTA_MISSING):
                part.edit()["delta"] = part.delta
        if "messages" in choice and not given:
            self._messages.read_list(part)
        if "message" in choice:
            opened = part.index in self._opened
            self._messages.read(part, beside=given, opened=opened, called=called)

    # ------------------------------------------------------------------ text

    def _blocks(self, part: Part, content: Any) -> None:
        delta = part.delta
        # Cloudflare sends tokens that are digits as numbers: clients drop them, `$0.005` becomes
        # `$`
        if not isinstance(content, (list, dict)):
            if self._found(CONTENT_NOT_TEXT):
                part.edit()
                delta["content"] = dumps(content).decode()
            return
        # a loop that adds strings raises a TypeError on a list
        if not self._found(CONTENT_BLOCKS):
            return
        part.edit()
        text, reasoning, others = read_blocks(content)
        delta["content"] = text
        if reasoning:
            delta["reasoning_content"] = reasoning
        if others:
            delta["content_blocks"] = others
        if not text and (reasoning or others):
            del delta["content"]

    def _thoughts(self, part: Part) -> None:
        """Make reasoning of content that Google marks as thought."""
        delta, index = part.delta, part.index
        if index not in self._thinking and "extra_content" not in delta:
            return
        content = delta.get("content")
        if not isinstance(content, str) or not content:
            return
        if not _is_thought(delta):
            self._end_thought(part, content)
        elif self._found(THOUGHT_FLAGGED):
            part.edit()
            self._thinking[index] = None
            thought = content.removeprefix("<thought>").removesuffix("</thought>")
            delta["reasoning_content"] = delta.pop("content") and thought

    def _end_thought(self, part: Part, content: str) -> None:
        """Remove the closing tag, which Google puts before the first text of the answer."""
        if part.index not in self._thinking:
            return
        del self._thinking[part.index]
        if content.startswith("</thought>"):
            part.edit()
            part.delta["content"] = content.removeprefix("</thought>")

    def _join_halves(self, part: Part, holder: dict[str, Any], keys: tuple[str, ...]) -> None:
        """Join the halves of surrogate pairs that two texts of one choice hold."""
        for key in keys:
            text = holder.get(key)
            if not isinstance(text, str) or not text:
                continue
            half = self._take_half(part.index, key)
            if half and not self._found(PAIR_SPLIT):
                half = "\ufffd"
            # gateways with UTF-16 strings cut a text in the middle of an emoji
            if ends_in_half(text):
                self._halves.setdefault(part.index, {})[key] = text[-1]
                text = text[:-1]
            joined = clean_text(half + text)
            if joined != holder[key]:
                part.edit()
                holder[key] = joined

    def _take_half(self, index: int, key: str) -> str:
        """Return the half of a pair that waits for the text under ``key``, "" for none."""
        waiting = self._halves.get(index, {})
        half = waiting.pop(key, "")
        if half and not waiting:
            del self._halves[index]
        return half


def _has_half(holder: dict[str, Any]) -> bool:
    """Whether a text of a delta ends in half a surrogate pair, or holds an orphan of one."""
    for key, text in holder.items():
        if type(text) is str and key in _TEXTS and is_torn(text):
            return True
    return False


def is_torn(text: str) -> bool:
    """Return whether a text has half a surrogate pair."""
    return not text.isascii() and clean_text(text) != text


def _put_role_first(delta: Delta) -> None:
    members = {key: value for key, value in delta.items() if key != "role"}
    delta.clear()
    delta["role"] = "assistant"
    delta.update(members or {"content": ""})


def _is_nothing(calls: Any) -> bool:
    return not calls and calls != []


def _is_empty(key: str, value: Any) -> bool:
    """Return whether a false member of a later delta is one of the API's, and is no news.

    An upstream's own members stay: their client may read them on every chunk.
    """
    if key not in DECLARED:
        return False
    return value is None or value == [] or key != "content"


def _is_thought(delta: Delta) -> bool:
    extra = delta.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    return isinstance(google, dict) and google.get("thought") is True


def _move_to_results(delta: Delta) -> None:
    """Move a tool's answer to a member of its own: the assistant did not write it."""
    results = {
        key: delta.pop(key) for key in ("role", "content", "tool_call_id", "name") if key in delta
    }
    delta["tool_results"] = [results]
