"""What a delta says: the role once, text as text, nothing that says nothing."""

from __future__ import annotations

import zlib
from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.core.lenient import clean_text, dumps
from normalizer.wires.chat.chunk import DECLARED, REASONING_KEYS, SPOKEN_KEYS, Delta, Part

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

TOOL_ROLE = Deviation(
    code="C314",
    name="tool-role",
    fault="A delta with the role `tool` has the result of a tool.",
    repair="The result becomes `tool_results`, and its call counts as run by the server.",
)
MESSAGE_FOR_DELTA = Deviation(
    code="C315",
    name="message-for-delta",
    fault="A choice of a chunk has a `message` instead of a `delta`.",
    repair="The message becomes the delta, without the text that was already sent.",
)
THOUGHT_FLAGGED = Deviation(
    code="C316",
    name="thought-flagged",
    fault="A chunk marks its content as thought.",
    repair="The content becomes reasoning, without its tags.",
)

_CALLS = ("tool_calls", "function_call")
_KINDS = {"content": "content", **dict.fromkeys(REASONING_KEYS, "reasoning")}


class Sent:
    """How much text of one kind a choice has sent, and a running sum: enough to know it again."""

    __slots__ = ("characters", "sum")

    def __init__(self) -> None:
        self.characters = 0
        self.sum = 0

    def add(self, text: str) -> None:
        """Take another piece."""
        self.characters += len(text)
        self.sum = zlib.crc32(text.encode("utf-8", "surrogatepass"), self.sum)

    def begins(self, text: str) -> bool:
        """Whether a text begins with all that was sent."""
        if len(text) < self.characters:
            return False
        head = text[: self.characters].encode("utf-8", "surrogatepass")
        return zlib.crc32(head) == self.sum


class Content:
    """Makes text of what the deltas of one stream hold, and gives each choice its role once."""

    __slots__ = ("_found", "_halves", "_opened", "_sent", "_thinking")

    def __init__(self, found: Findings) -> None:
        self._found = found
        self._opened: set[int] = set()  # choices whose first delta has left
        self._sent: dict[tuple[int, str], Sent] = {}
        self._thinking: set[int] = set()  # choices whose last text was flagged as thought
        # high surrogates that wait for the low one, by choice and member
        self._halves: dict[int, dict[str, str]] = {}

    def read(self, part: Part, *, called: bool) -> None:
        """Make text of a choice's delta; ``called``: the choice has streamed calls already."""
        self._delta(part, called=called)
        delta, index = part.delta, part.index
        if delta.get("role") == "tool" and self._found(TOOL_ROLE):
            part.edit()
            _ride_as_results(delta)
        content = delta.get("content")
        if content is not None and type(content) is not str:
            self._blocks(part, content)
        if self._halves or (part.changed and _has_half(delta)):
            self._join_halves(part, delta, SPOKEN_KEYS)
        self._thoughts(part)
        if index in self._opened:
            self._leave_out_what_says_nothing(part)
            return
        for key in _CALLS:
            # of the nulls that a first delta may have, the API's own has none of these two
            if key in delta and not delta[key] and delta[key] != [] and self._found(MEMBER_EMPTY):
                part.edit()
                del delta[key]
        if delta.get("role") != "assistant" and self._found(ROLE_MISSING):
            part.edit()
            members = {key: value for key, value in delta.items() if key != "role"}
            delta.clear()
            delta["role"] = "assistant"
            delta.update(members or {"content": ""})

    def read_text(self, part: Part) -> None:
        """Make text of what a choice of a legacy completion holds."""
        choice = part.choice
        if not isinstance(choice.get("text"), str) and self._found(CONTENT_NOT_TEXT):
            text = choice.get("text")
            part.edit()["text"] = "" if text is None else dumps(text).decode()
        if self._halves or (part.changed and _has_half(choice)):
            self._join_halves(part, choice, ("text",))

    def is_open(self, index: int) -> bool:
        """Whether the first delta of a choice has left."""
        return index in self._opened

    def open(self, index: int) -> None:
        """The first delta of a choice leaves."""
        self._opened.add(index)

    @property
    def busy(self) -> bool:
        """Whether what came before decides about the next text."""
        return bool(self._halves or self._thinking)

    @property
    def waits(self) -> bool:
        """Whether half of a surrogate pair waits for the other one."""
        return bool(self._halves)

    def keep(self, index: int, delta: Delta) -> None:
        """Remember how much of text and reasoning a choice has sent."""
        for key in ("content", "reasoning_content", "reasoning"):
            text = delta.get(key)
            if text and isinstance(text, str):
                self.sent(index, key).add(text)

    def sent(self, index: int, key: str) -> Sent:
        """What a choice has sent of one kind of text."""
        at = (index, _KINDS[key])
        if at not in self._sent:
            self._sent[at] = Sent()
        return self._sent[at]

    def halves(self, index: int) -> list[str]:
        """The members in which half a pair waits for its other one; they wait no more."""
        return list(self._halves.pop(index, ()))

    def says_nothing(self, part: Part) -> bool:
        """Whether a later delta says nothing at all; its choice's own news count."""
        if any(value or key != "content" for key, value in part.delta.items()):
            return False
        if part.choice.get("logprobs"):
            return False
        return not any(
            value is not None and key not in ("index", "delta", "finish_reason", "logprobs")
            for key, value in part.choice.items()
        )

    # ------------------------------------------------------------------ the delta

    def _delta(self, part: Part, *, called: bool) -> None:
        """Find the choice's delta, which is an object from now on."""
        choice = part.choice
        delta = choice.get("delta")
        given = isinstance(delta, dict)
        if isinstance(delta, dict):
            part.delta = delta
        else:
            text = delta if isinstance(delta, str) and delta else ""
            part.delta = {"content": text} if text else {}
            if self._has_message(choice) or self._found(DELTA_MISSING):
                part.edit()["delta"] = part.delta
        if "messages" in choice and not given:
            self._messages(part)
        if "message" in choice:
            self._message(part, beside=given, called=called)

    def _has_message(self, choice: dict[str, Any]) -> bool:
        """Whether a choice has its text in a message, which becomes its delta."""
        return ("message" in choice or "messages" in choice) and self._found.on(MESSAGE_FOR_DELTA)

    def _messages(self, part: Part) -> None:
        """Take the text of `messages`, where nothing was streamed."""
        messages = part.choice["messages"]
        if self.sent(part.index, "content").characters or not isinstance(messages, list):
            return
        texts = [_text_of_message(one) for one in messages if isinstance(one, dict)]
        if any(texts) and self._found(MESSAGE_FOR_DELTA):
            part.edit()
            part.delta["content"] = "".join(texts)

    def _message(self, part: Part, *, beside: bool, called: bool) -> None:
        """Use of a `message` what the stream has not sent (MiniMax, Perplexity, Writer)."""
        message = part.choice["message"]
        if not self._found(MESSAGE_BESIDE_DELTA if beside else MESSAGE_FOR_DELTA):
            return
        del part.edit()["message"]
        if not isinstance(message, dict):
            return
        delta = part.delta
        if not beside and part.index not in self._opened and message.get("role") == "assistant":
            delta["role"] = "assistant"
        members = _members_of_message(message)
        for key in ("reasoning_content", "content"):
            text = members.pop(key, None)
            if isinstance(text, str) and text:
                self._rest(part, key, text, closes=beside or part.closes)
        calls = {key: members.pop(key) for key in _CALLS if members.get(key)}
        for key, value in members.items():
            if key not in delta and value not in (None, [], ""):
                delta[key] = value
        if not called:
            for key, value in calls.items():
                if not delta.get(key):
                    delta[key] = value
                    part.from_message = True

    def _rest(self, part: Part, key: str, text: str, *, closes: bool) -> None:
        """Take of a message's text what was not sent; ``closes``: it is no piece like any other."""
        delta = part.delta
        here = delta.get(key) if isinstance(delta.get(key), str) else ""
        sent = self.sent(part.index, key)
        if sent.begins(text) and text[sent.characters :].startswith(here or ""):
            rest = text[sent.characters :]
            if rest != here:
                delta[key] = rest
        elif not closes:
            delta[key] = text
        elif text != here:
            self._found(MESSAGE_DIFFERS)

    def _leave_out_what_says_nothing(self, part: Part) -> None:
        delta, found = part.delta, self._found
        if delta.get("role") and found(ROLE_REPEATED):
            part.edit()
            del delta["role"]
        if all(delta.values()):
            return
        for key in [key for key, value in delta.items() if not value and _says_nothing(key, value)]:
            if found(MEMBER_EMPTY):
                part.edit()
                del delta[key]

    # ------------------------------------------------------------------ text

    def _blocks(self, part: Part, content: Any) -> None:
        delta = part.delta
        if not isinstance(content, (list, dict)):
            if self._found(CONTENT_NOT_TEXT):
                part.edit()
                delta["content"] = dumps(content).decode()
            return
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
        """Make reasoning of content that is flagged as thought (Google)."""
        delta, index = part.delta, part.index
        if index not in self._thinking and "extra_content" not in delta:
            return
        content = delta.get("content")
        if not isinstance(content, str) or not content:
            return
        if not _is_thought(delta):
            if index in self._thinking:
                self._thinking.discard(index)
                if content.startswith("</thought>"):
                    part.edit()
                    delta["content"] = content.removeprefix("</thought>")
        elif self._found(THOUGHT_FLAGGED):
            part.edit()
            self._thinking.add(index)
            said = content.removeprefix("<thought>").removesuffix("</thought>")
            delta["reasoning_content"] = delta.pop("content") and said

    def _join_halves(self, part: Part, holder: dict[str, Any], keys: tuple[str, ...]) -> None:
        """Join the halves of surrogate pairs that two texts of one choice hold."""
        index = part.index
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
            joined = clean_text(half + text)
            if joined != holder[key]:
                part.edit()
                holder[key] = joined


def _has_half(holder: dict[str, Any]) -> bool:
    """Whether a text of a delta ends in half a surrogate pair, or holds an orphan of one."""
    return any(
        type(text := holder.get(key)) is str and text and not text.isascii() and _is_torn(text)
        for key in ("text", *SPOKEN_KEYS)
        if key in holder
    )


def _is_torn(text: str) -> bool:
    return clean_text(text) != text


def _says_nothing(key: str, value: Any) -> bool:
    """Whether a member of a later delta that is empty says nothing; others' own members stay."""
    if key not in DECLARED:
        return False
    return value is None or value == [] or key != "content"


def _is_thought(delta: Delta) -> bool:
    extra = delta.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    return isinstance(google, dict) and google.get("thought") is True


def _ride_as_results(delta: Delta) -> None:
    """Make of a tool's answer, which is no word of the assistant, a member of its own."""
    results = {
        key: delta.pop(key) for key in ("role", "content", "tool_call_id", "name") if key in delta
    }
    delta["tool_results"] = [results]


def _members_of_message(message: dict[str, Any]) -> dict[str, Any]:
    """A message's members, its content as text, its reasoning under one name."""
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


def _text_of_message(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, (list, dict)):
        return read_blocks(content)[0]
    return content if isinstance(content, str) else ""


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
