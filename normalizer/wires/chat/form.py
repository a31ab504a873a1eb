"""What may differ from one chunk to the next: the text, and what stands beside it.

The core learns from the answer which chunks need no parsing (`core/template.py`). So this is the
place where a chunk is taken for one like the next. A chunk is not, if a stage counts in it, or
compares its text with another one: then the same form may be repaired in another way next time.

What a stage remembers of a chunk is told to it: the text that was sent, the call and the choice
that came last, the usage, the last chunk itself. What the stages have come to know meanwhile may
end a form for a time or for good: that is asked in `_Steady`.
"""

from __future__ import annotations

import functools
from typing import Any

from normalizer.core.findings import Findings
from normalizer.core.form import Form, Member, Text
from normalizer.wires.chat.call import Call
from normalizer.wires.chat.call_doubts import (
    ARGUMENTS_AGAIN,
    CALL_AGAIN,
    HEAD_TWICE,
    PLACEHOLDER,
)
from normalizer.wires.chat.call_identity import Calls
from normalizer.wires.chat.choices import INDEX_COUNTS_TOKENS
from normalizer.wires.chat.chunk import (
    DECLARED,
    PADDING_KEYS,
    REASONING_KEYS,
    Choice,
    Chunk,
    Endpoint,
)
from normalizer.wires.chat.content import PAIR_SPLIT, SAYS_NOTHING, THOUGHT_FLAGGED
from normalizer.wires.chat.envelope import CREATED_CHANGES, ID_CHANGES
from normalizer.wires.chat.holdback import Holdback
from normalizer.wires.chat.later_fragments import NAME_LATE
from normalizer.wires.chat.message import MESSAGE_BESIDE_DELTA, MESSAGE_FOR_DELTA
from normalizer.wires.chat.reasoning import OBJECT_WITHOUT_INDEX
from normalizer.wires.chat.stages import Stages
from normalizer.wires.chat.tool_calls import INDEX_MISSING, INDEX_WRONG
from normalizer.wires.chat.usage import (
    FOUND_IN_EACH,
    USAGE_EARLY,
    USAGE_IN_CHOICE,
    USAGE_IN_X_GROQ,
)

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
            # and what ends in one chunk and is not in the next
            PAIR_SPLIT,
            PLACEHOLDER,
            HEAD_TWICE,
            ARGUMENTS_AGAIN,
            CALL_AGAIN,
            NAME_LATE,
        )
    }
)
# members in which upstreams have the text, and some of them twice
_TEXTS = frozenset({"content", "text", "refusal", *REASONING_KEYS})
_TEXT_NAMES = frozenset(name.encode() for name in _TEXTS)
_ARGUMENT_NAMES = frozenset({b"arguments", b"parameters"})
# members whose values differ from chunk to chunk and mean nothing here: of the chunk (Mistral), of
# a choice or a delta (Together, Bedrock)
_OF_CHUNK = PADDING_KEYS | {"p"}
_OF_CHOICE = PADDING_KEYS | {"token_id", "logprobs"}
_TYPES = frozenset({str, int, dict, list})
# members of a delta that a stage reads; what others hold is the same in the next chunk, or that
# chunk is of another form
_READ = DECLARED | {*REASONING_KEYS, "extra_content", "tool_results"}
_KINDS = {"content": "content", "reasoning_content": "reasoning", "refusal": "refusal"}
_USAGE = FOUND_IN_EACH | {USAGE_EARLY.code}
_INDEX_REPAIRED = frozenset({INDEX_MISSING.code, INDEX_WRONG.code})


class Forms:
    """Says of the chunks of one stream what may differ in the next ones."""

    __slots__ = ("_endpoint", "_found", "_holdback", "_left", "_stages")

    def __init__(
        self, stages: Stages, holdback: Holdback, endpoint: Endpoint, found: Findings
    ) -> None:
        self._stages = stages
        self._holdback = holdback
        self._endpoint = endpoint
        self._found = found
        # members that may change, their repair being off
        pinned = {"created": CREATED_CHANGES, "id": ID_CHANGES}
        self._left = [key for key, deviation in pinned.items() if not found.on(deviation)]

    def last(self) -> Form | None:
        """The form of the chunk taken last; None if the next one may be treated otherwise."""
        chunk, codes, holdback = self._holdback.sender.last, self._found.log, self._holdback
        if not chunk or not holdback.idle or holdback.ends:
            return None
        if not _TELLS_CHUNKS_APART.isdisjoint(codes):
            return None
        if SAYS_NOTHING.code in codes and _USAGE.isdisjoint(codes):
            # whether a chunk has news depends on the one that was sent before it
            return Form(took=self._stages.choices.again, sends=False, alone=True)
        if SAYS_NOTHING.code in codes:
            return None
        if len(chunk["choices"]) != 1 or not _TEXTS.isdisjoint(chunk) or chunk.get("usage"):
            return None
        groq = chunk.get("x_groq")
        if isinstance(groq, dict) and "usage" in groq:
            return None
        choice = chunk["choices"][0]
        if self._endpoint == "completions" and "text" in choice:
            return self._of_completion(chunk, choice)
        return self._of_delta(chunk, choice)

    # ------------------------------------------------------------------ texts

    def _of_completion(self, chunk: Chunk, choice: Choice) -> Form | None:
        text, index = choice["text"], choice["index"]
        if not text or type(text) is not str or type(index) is not int:
            return None
        return self._form(Text(text, "content", _TEXT_NAMES), index, chunk, choice)

    def _of_delta(self, chunk: Chunk, choice: Choice) -> Form | None:
        stages, delta, index = self._stages, choice.get("delta"), choice["index"]
        if not isinstance(delta, dict) or not stages.content.is_open(index):
            return None
        said = [(key, value) for key, value in delta.items() if value and key in _READ]
        if len(said) != 1 or stages.content.busy:
            return None
        ((key, value),) = said
        if key in ("tool_calls", "function_call"):
            return self._of_call(key, value, index, chunk, choice)
        text = self._text(index, key, value) if type(value) is str else None
        return text and self._form(text, index, chunk, choice)

    def _text(self, index: int, key: str, text: str) -> Text | None:
        """A piece of content or reasoning; of several texts that differ the longest was taken."""
        stages, kind = self._stages, _KINDS.get(key)
        if kind is None or (kind == "reasoning" and stages.reasoning.differs):
            return None
        if stages.tools.may_be_answered(index):
            return None
        keep = stages.content.sent_texts.of(index, key).add if kind != "refusal" else None
        return Text(text, kind, _TEXT_NAMES, keep)

    def _form(self, text: Text, index: int, chunk: Chunk, choice: Choice) -> Form:
        return Form(
            (text,),
            self._members(chunk, choice),
            functools.partial(self._text_holds, index),
            functools.partial(self._took, chunk, index),
            own_codes=FOUND_IN_EACH,
        )

    def _of_call(
        self, key: str, given: Any, index: int, chunk: Chunk, choice: Choice
    ) -> Form | None:
        """A piece of the arguments of one call."""
        tools = self._stages.tools
        number, function = (0, given) if key == "function_call" else _only_fragment(given)
        if not isinstance(function, dict) or function.keys() != {"arguments"}:
            return None
        text = function["arguments"]
        calls, call = tools.calls_of(index), tools.by_number(index, number)
        if calls is None or call is None or not text or not _goes_on(calls, call):
            return None
        # else it is the last call that the fragment belongs to
        repaired = not _INDEX_REPAIRED.isdisjoint(self._found.log)
        if len(calls.all) > 1 and (repaired or calls.by_index.get(number) is not call):
            return None
        said = Text(text, "arguments", _ARGUMENT_NAMES, call.arguments.add)
        return Form(
            (said,),
            self._members(chunk, choice),
            functools.partial(self._call_holds, calls, call, calls.version),
            functools.partial(self._took_call, chunk, index, calls, calls.last),
            own_codes=FOUND_IN_EACH,
        )

    # ------------------------------------------------------------------ members

    def _members(self, chunk: Chunk, choice: Choice) -> tuple[Member, ...]:
        """What stands beside the text and differs from chunk to chunk."""
        stages, codes = self._stages, self._found.log
        members: list[Member] = []
        if codes:
            members = self._members_repaired()
        members += [Member(key, chunk[key]) for key in self._left if chunk.get(key)]
        if not _OF_CHUNK.isdisjoint(chunk):
            members += [
                Member(key, chunk[key], functools.partial(_note, chunk, key))
                for key in chunk
                if key in _OF_CHUNK and chunk[key] and stages.envelope.varies(key)
            ]
        delta = choice.get("delta") or {}
        for holder in (choice, delta):
            if not _OF_CHOICE.isdisjoint(holder):
                members += [
                    Member(key, holder[key]) for key in holder if key in _OF_CHOICE and holder[key]
                ]
        return tuple([one for one in members if type(one.value) in _TYPES])

    def _members_repaired(self) -> list[Member]:
        """The members of a chunk that leave with another value than they came with, or not."""
        stages, codes = self._stages, self._found.log
        members = []
        if CREATED_CHANGES.code in codes:
            members.append(Member("created", 1, instead=stages.envelope.created))
        if ID_CHANGES.code in codes:
            members.append(Member("id", "1", instead=stages.envelope.id))
        if USAGE_EARLY.code in codes:
            members.append(Member("usage", {}, takes=stages.usage.keep_all))
        return members

    # ------------------------------------------------------------------ what is asked and told

    def _holds(self) -> bool:
        stages, holdback = self._stages, self._holdback
        return (
            holdback.steady
            and not holdback.ends
            and not stages.content.busy
            and not stages.choices.counting
        )

    def _text_holds(self, index: int) -> bool:
        return self._holds() and not self._stages.tools.may_be_answered(index)

    def _call_holds(self, calls: Calls, call: Call, version: int) -> bool:
        return self._holds() and calls.version == version and _goes_on(calls, call)

    def _took(self, chunk: Chunk, index: int, events: int) -> None:
        self._holdback.sender.last = chunk
        self._stages.choices.again(events, index)

    def _took_call(
        self, chunk: Chunk, index: int, calls: Calls, last: Call | None, events: int
    ) -> None:
        self._took(chunk, index, events)
        calls.last = last


def _only_fragment(given: Any) -> tuple[Any, Any]:
    """The index and the function of the only fragment of a delta that has one, and nothing else."""
    if type(given) is not list or len(given) != 1 or given[0].keys() != {"index", "function"}:
        return None, None
    return given[0]["index"], given[0]["function"]


def _goes_on(calls: Calls, call: Call) -> bool:
    """Whether the next piece of a call's arguments can be sent at once, whatever it is."""
    arguments = call.arguments
    return arguments.begun and not (arguments.whole or call.half or call in calls.doubts)


def _note(chunk: Chunk, key: str, value: Any) -> None:
    chunk[key] = value
