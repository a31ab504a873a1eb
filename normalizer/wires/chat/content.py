"""What a delta says: the role once, text as text, nothing that says nothing."""

from __future__ import annotations

import zlib
from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.core.lenient import clean_text, dumps
from normalizer.wires.chat.chunk import SPOKEN_KEYS, Choice, Delta

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
PAIR_SPLIT = Deviation(
    code="C310",
    name="surrogate-pair-split",
    fault="Two deltas each have one half of a surrogate pair.",
    repair="The whole character is delivered in the second delta.",
)

_CALLS = ("tool_calls", "function_call")


class Spoken:
    """How much was said so far, and a running check sum of it: enough to know it again."""

    __slots__ = ("characters", "sum")

    def __init__(self) -> None:
        self.characters = 0
        self.sum = 0

    def add(self, text: str) -> None:
        self.characters += len(text)
        self.sum = zlib.crc32(text.encode("utf-8", "surrogatepass"), self.sum)

    def begins(self, text: str) -> bool:
        if len(text) < self.characters:
            return False
        head = text[: self.characters].encode("utf-8", "surrogatepass")
        return zlib.crc32(head) == self.sum


class Content:
    """Settles role and text of the deltas of one stream."""

    __slots__ = ("_found", "_halves", "said", "spoke")

    def __init__(self, found: Findings) -> None:
        self._found = found
        self.spoke: set[int] = set()  # choices whose first delta has left
        self.said: dict[tuple[int, str], Spoken] = {}
        # high surrogates that wait for the low one, by choice and member
        self._halves: dict[int, dict[str, str]] = {}

    def delta(self, choice: Choice) -> Delta:
        """The choice's delta, which is an object from now on."""
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            # switched off, a delta that is none says nothing and passes as it is
            fixed: Delta = {"content": delta} if isinstance(delta, str) and delta else {}
            if "message" in choice or self._found(DELTA_MISSING):
                choice["delta"] = fixed
            delta = fixed
        if "message" in choice:
            self._message(choice, delta)
        return delta

    def settle(self, index: int, delta: Delta, *, lenient: bool) -> None:
        """Make text of the content, and leave out what says nothing."""
        found = self._found
        content = delta.get("content")
        if content is not None and not isinstance(content, str):
            self._blocks(delta, content)
        if lenient or self._halves:
            self.join_halves(index, delta, SPOKEN_KEYS)
        if index in self.spoke:
            if delta.get("role") and found(ROLE_REPEATED):
                del delta["role"]
            for key in [k for k, v in delta.items() if _empty(k, v)]:
                if found(MEMBER_EMPTY):
                    del delta[key]
            return
        for key in _CALLS:
            # of the nulls that a first delta may have, the API's own has none of these two
            if key in delta and not delta[key] and delta[key] != [] and found(MEMBER_EMPTY):
                del delta[key]
        if delta.get("role") != "assistant" and found(ROLE_MISSING):
            members = {key: value for key, value in delta.items() if key != "role"}
            delta.clear()
            delta["role"] = "assistant"
            delta.update(members or {"content": ""})

    @property
    def waits(self) -> bool:
        """Whether half of a surrogate pair waits for the other one."""
        return bool(self._halves)

    def opened(self, index: int) -> None:
        """The first delta of the choice has left."""
        self.spoke.add(index)

    def hear(self, index: int, delta: Delta) -> None:
        """Remember how much of text and reasoning the choice has said."""
        for kind in ("content", "reasoning_content", "reasoning"):
            text = delta.get(kind)
            if text and isinstance(text, str):
                self.spoken(index, kind).add(text)

    def spoken(self, index: int, kind: str) -> Spoken:
        """What the choice has said of one kind."""
        key = (index, "content" if kind == "content" else "reasoning")
        if key not in self.said:
            self.said[key] = Spoken()
        return self.said[key]

    def halves(self, index: int) -> list[str]:
        """The members in which a half still waits for its other one."""
        return list(self._halves.pop(index, ()))

    def says_nothing(self, delta: Delta, choice: Choice) -> bool:
        """Whether a later delta says nothing at all; its choice's own news count."""
        if any(value or key != "content" for key, value in delta.items()):
            return False
        if choice.get("logprobs"):
            return False
        return not any(
            value is not None and key not in ("index", "delta", "finish_reason", "logprobs")
            for key, value in choice.items()
        )

    def _blocks(self, delta: Delta, content: Any) -> None:
        if not isinstance(content, (list, dict)) and not self._found(CONTENT_NOT_TEXT):
            return
        if isinstance(content, (list, dict)):
            if not self._found(CONTENT_BLOCKS):
                return
            text, reasoning, others = read_blocks(content)
            delta["content"] = text
            if reasoning:
                delta["reasoning_content"] = reasoning
            if others:
                delta["content_blocks"] = others
            if not text and (reasoning or others):
                del delta["content"]
        else:
            delta["content"] = dumps(content).decode()

    def join_halves(self, index: int, holder: dict[str, Any], keys: tuple[str, ...]) -> None:
        """Join the halves of surrogate pairs that two texts of one choice hold."""
        for key in keys:
            text = holder.get(key)
            if not isinstance(text, str) or not text:
                continue
            waiting = self._halves.get(index, {})
            half = waiting.pop(key, "")
            if half and not waiting:
                del self._halves[index]
            if half and not self._found(PAIR_SPLIT):
                half = "\ufffd"
            if "\ud800" <= text[-1] <= "\udbff":
                self._halves.setdefault(index, {})[key] = text[-1]
                text = text[:-1]
            holder[key] = clean_text(half + text)

    def _message(self, choice: Choice, delta: Delta) -> None:
        """Use of a `message` what the stream has not said (MiniMax, Perplexity, Writer)."""
        message = choice["message"]
        if not self._found(MESSAGE_BESIDE_DELTA):
            return
        del choice["message"]
        if not isinstance(message, dict):
            return
        index = choice["index"]
        members = dict(message)
        content = members.pop("content", None)
        if isinstance(content, (list, dict)):
            content, reasoning, others = read_blocks(content)
            if reasoning:
                members.setdefault("reasoning_content", reasoning)
            if others:
                members["content_blocks"] = others
        kinds = ("reasoning_content", "reasoning")
        reasoning = next((members.pop(k) for k in kinds if isinstance(members.get(k), str)), "")
        for kind, text in (("reasoning_content", reasoning), ("content", content)):
            if isinstance(text, str) and text:
                self._rest(index, kind, text, delta)
        for key, value in members.items():
            if key not in delta and key not in ("role", "tool_calls", "function_call"):
                if value not in (None, [], ""):
                    delta[key] = value
        for key in ("tool_calls", "function_call"):
            if members.get(key) and not delta.get(key):
                delta[key] = members[key]
                choice["from_message"] = True

    def _rest(self, index: int, kind: str, text: str, delta: Delta) -> None:
        here = delta.get(kind) if isinstance(delta.get(kind), str) else ""
        spoken = self.spoken(index, kind)
        if spoken.begins(text) and text[spoken.characters :].startswith(here or ""):
            rest = text[spoken.characters :]
            if rest != here:
                delta[kind] = rest
        elif text != here:
            self._found(MESSAGE_DIFFERS)


def _empty(key: str, value: Any) -> bool:
    if value is None or value == []:
        return True
    return not value and key in ("refusal", "role", *_CALLS)


def read_blocks(content: Any) -> tuple[str, str, list[Any]]:
    """Text, reasoning, and the blocks that are neither, of content that is a list of blocks.

    Mistral's Magistral sends `thinking` blocks, Databricks `reasoning` ones with a `summary`.
    """
    text: list[str] = []
    reasoning: list[str] = []
    others: list[Any] = []
    for block in content if isinstance(content, list) else [content]:
        kind = block.get("type") if isinstance(block, dict) else None
        if isinstance(block, str):
            text.append(block)
        elif kind == "text" and isinstance(block.get("text"), (str, type(None))):
            text.append(block.get("text") or "")
            if any(value for key, value in block.items() if key not in ("type", "text", "index")):
                others.append({k: v for k, v in block.items() if k != "text"})
        elif kind in ("thinking", "reasoning"):
            names = ("thinking", "summary", "reasoning", "text")
            said = next((block[name] for name in names if name in block), None)
            parts = said if isinstance(said, list) else [{"text": said}]
            reasoning += [p.get("text") or "" for p in parts if isinstance(p, dict)]
            signed = {k: v for k, v in block.items() if k not in (*names, "type", "index") and v}
            if signed:
                others.append({"type": kind, **signed})
        else:
            others.append(block)
    return "".join(text), "".join(map(_string, reasoning)), others


def _string(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value).decode()
