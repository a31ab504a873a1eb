"""Chunks that we add to a stream: a role, a split finish, the head or the arguments of a call.

Such a chunk has the members that every chunk of its stream, every choice and every delta of its
choice have had: an upstream's own ones, null where their value is not known to hold. A client that
reads one of them on each chunk must not fail on ours.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.wires.chat.chunk import CHOICE_KEYS, DECLARED, Choice, Delta, Endpoint, Part
from normalizer.wires.chat.common import Common
from normalizer.wires.chat.envelope import Envelope


class Blank:
    """Makes chunks in the form of one stream.

    Example::

        blank.learn(part)
        chunk = blank.chunk(0, {"role": "assistant", "content": ""})
    """

    __slots__ = ("_chat", "_choices", "_deltas", "_envelope")

    def __init__(self, envelope: Envelope, endpoint: Endpoint) -> None:
        self._envelope = envelope
        self._chat = endpoint == "chat"
        self._choices: dict[int, Common] = {}
        self._deltas: dict[int, Common] = {}

    def learn(self, part: Part) -> None:
        """Learn the members of a choice, as it will be sent."""
        index = part.index
        choice = self._choices.get(index)
        if choice is None:
            self._choices[index] = Common(part.choice, CHOICE_KEYS, nulls=True)
            self._deltas[index] = Common(part.delta, DECLARED, nulls=True)
            return
        if choice.members:
            choice.add(part.choice)
        delta = self._deltas[index]
        if delta.members:
            delta.add(part.delta)

    def of_choice(self, index: int) -> dict[str, Any]:
        """The members that every choice with this index has had, each null."""
        return self._choices[index].members if index in self._choices else {}

    def of_delta(self, index: int) -> dict[str, Any]:
        """The undeclared members that every delta of a choice has had, each null."""
        return self._deltas[index].members if index in self._deltas else {}

    def choice(self, index: int, delta: Delta) -> Choice:
        """A choice that holds ``delta`` and goes on."""
        return {
            "index": index,
            # the members of the delta count more than the form of the others
            "delta": {**delta, **{k: v for k, v in self.of_delta(index).items() if k not in delta}},
            **self.of_choice(index),
            "finish_reason": None,
        }

    def text(self, index: int, text: str) -> Choice:
        """A choice of a legacy completion that holds ``text`` and goes on."""
        return {
            "index": index,
            "text": text,
            "logprobs": None,
            **self.of_choice(index),
            "finish_reason": None,
        }

    def chunk(self, index: int, delta: Delta) -> Draft:
        """A chunk of one choice; of a legacy completion its text is the delta's content."""
        if self._chat:
            return self._envelope.chunk([self.choice(index, delta)])
        return self._envelope.chunk([self.text(index, delta.get("content") or "")])

    def finish(self, index: int, word: str) -> Draft:
        """A chunk that ends a choice."""
        draft = self.chunk(index, {})
        draft.value["choices"][0]["finish_reason"] = word
        return draft
