"""A list of choices, each with the index that it means."""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.wires.chat.chunk import Choice, Chunk, Endpoint, Part, as_list

CHOICES_MISSING = Deviation(
    code="E209",
    name="choices-missing",
    fault="`choices` is missing, null or not a list.",
    repair="`choices` becomes a list.",
    structural=True,
)
INDEX_MISSING = Deviation(
    code="E211",
    name="choice-index-missing",
    fault="The `index` of a choice is missing, null or negative.",
    repair="The index becomes 0.",
    structural=True,
)
INDEX_COUNTS_TOKENS = Deviation(
    code="E212",
    name="choice-index-counts-tokens",
    fault="The `index` of the only choice grows with each chunk.",
    repair="The index becomes 0.",
)
CHOICES_SPLIT = Deviation(
    code="E213",
    name="choices-split",
    fault="Tool calls arrive in a second choice that the request did not ask for.",
    repair="The calls move to the first choice.",
)


TEXT_BESIDE_CHOICES = Deviation(
    code="E217",
    name="text-without-choices",
    fault="A chunk without choices has its text in `value` or `response`.",
    repair="The text becomes the text of choice 0.",
)


_TEXTS_BESIDE = ("value", "response", "content", "result", "answer")
_DIGITS = 9  # that an index given as text may have; more is no index, and may be no int


class Choices:
    """Gives each choice its index. Says which, of those nobody asked for, belong together.

    * ``silent``: a choice of the last chunk that nobody asked for and that has no content.
    """

    __slots__ = (
        "_chat",
        "_counting",
        "_finished",
        "_found",
        "_joined",
        "_last",
        "_own",
        "_silent",
        "_times",
        "silent",
        "single",
    )

    def __init__(self, found: Findings, endpoint: Endpoint, n: int | None) -> None:
        self._found = found
        self._chat = endpoint == "chat"
        self._last: int | None = None  # the upstream's index of the last choice with content
        self._times = 0  # chunks of it
        self.silent: Part | None = None
        self._silent: dict[int, None] = {}  # an empty set is more than three empty dicts
        self.single = (n or 1) == 1
        self._counting = False
        self._finished = False
        self._joined: dict[int, None] = {}
        self._own: dict[int, None] = {}  # indexes that nobody asked for and that are no mistake

    def parts(self, draft: Draft) -> list[Part]:
        """The choices of a chunk, whose `choices` is a list of objects from now on."""
        chunk = draft.value
        choices = chunk.get("choices")
        if type(choices) is list and len(choices) == 1 and type(choices[0]) is dict:
            return [Part(draft, choices[0])]  # as most are
        if "choices" not in chunk and text_beside(chunk) and self._found(TEXT_BESIDE_CHOICES):
            choices = draft.edit()["choices"] = [self._made_of_text(draft)]
        if type(choices) is not list or not _are_objects(choices):
            # openai-python's `.stream()` iterates over it: a null is a TypeError (ROCm ATOM's usage
            # chunk)
            self._found(CHOICES_MISSING)
            choices = draft.edit()["choices"] = as_list(choices)
        return [Part(draft, choice) for choice in choices]

    def _made_of_text(self, draft: Draft) -> Choice:
        """A choice with the text that stands beside `choices`."""
        key = text_beside(draft.value)
        text = draft.value[key]
        if not text:
            # left where it is, it would count as news
            del draft.edit()[key]
        choice: Choice = {"index": 0, "finish_reason": None}
        choice.update({"delta": {"content": text}} if self._chat else {"text": text})
        return choice

    def place(self, parts: list[Part]) -> list[Part]:
        """Give each part the index that it means; return those that have content."""
        self.silent = None
        if len(parts) == 1:
            part = parts[0]
            index = part.choice.get("index")
            if type(index) is int and index == self._last and not self._counting:
                if index not in self._joined:
                    self._times += 1
                    if part.word is not None:
                        self._finished = True
                    part.index = index
                    return parts
        return [part for part in parts if self._place(part, alone=len(parts) == 1)]

    @property
    def counting(self) -> bool:
        """Whether the upstream counts tokens in the index of its choice."""
        return self._counting

    def again(self, chunks: int, index: int | None = None) -> None:
        """Note more chunks in a row of a choice, the last one if ``index`` is None."""
        if index is not None and index != self._last:
            self._last, self._times = index, 0
        self._times += chunks

    def _place(self, part: Part, *, alone: bool) -> bool:
        index = self._index(part, alone=alone)
        if index is None:
            return False
        part.index = index
        if part.choice.get("index") != index or type(part.choice.get("index")) is not int:
            part.edit()["index"] = index
        self._finished = self._finished or part.word is not None
        return True

    def _index(self, part: Part, *, alone: bool) -> int | None:
        """The index that a choice means; None for one that nobody asked for, and that is silent."""
        index = self._given_index(part.choice)
        if self._is_expected(index):
            self._times = self._times + 1 if index == self._last else 1
            self._last = index
            return index
        # TGI before 1.4.4 counts tokens here, and clients that read choice 0 get the first one only
        if self._counting or index in self._joined:
            self._found(INDEX_COUNTS_TOKENS if self._counting else CHOICES_SPLIT)
            return 0
        return self._unasked(part, index, alone=alone)

    def _given_index(self, choice: Choice) -> int:
        index = choice.get("index")
        if type(index) is int and index >= 0:
            return index
        self._found(INDEX_MISSING)
        text = index if isinstance(index, str) and len(index) <= _DIGITS else ""
        return int(text) if text.isdecimal() else 0

    def _is_expected(self, index: int) -> bool:
        """Return whether an index can be right: several were asked for, or it is the first."""
        return not self.single or (index == 0 and not self._counting) or index in self._own

    def _unasked(self, part: Part, index: int, *, alone: bool) -> int | None:
        """The index of a choice that nobody asked for, seen the first time."""
        text, called = _says(part.choice)
        mistake = self._mistake(index, text=text, called=called, alone=alone)
        if mistake is not None and self._found(mistake):
            if mistake is CHOICES_SPLIT:
                self._joined[index] = None
            else:
                self._counting = True
            return 0
        if not text and not called and part.word is None:
            # the first choice's calls may be to come: nothing shows yet whose choice this is
            self._silent[index] = None
            part.index = index
            self.silent = part
            return None
        self._own[index] = None
        self._last, self._times = index, 1
        return index

    def _mistake(self, index: int, *, text: bool, called: bool, alone: bool) -> Deviation | None:
        """The mistake that a choice nobody asked for shows, None if it is a choice of its own."""
        if self._last is None:
            return None if self._silent else INDEX_COUNTS_TOKENS
        # GitHub Copilot in front of Claude: the text is choice 0, the calls are choice 1
        if called and not text:
            return CHOICES_SPLIT
        if (text or called) and self._counts(index, alone=alone):
            return INDEX_COUNTS_TOKENS
        return None

    def _counts(self, index: int, *, alone: bool) -> bool:
        """Whether an index that nobody asked for counts tokens: one further with each chunk."""
        further = self._last is not None and index == self._last + 1 and self._times == 1
        return alone and further and not self._finished and index not in self._silent


def _are_objects(choices: list[Any]) -> bool:
    return all(type(choice) is dict for choice in choices)


def text_beside(chunk: Chunk) -> str:
    """The member that a chunk without choices has its text in, "" for none.

    Writer's is `value`, Cloudflare's `response`.
    """
    keys = [key for key in _TEXTS_BESIDE if isinstance(chunk.get(key), str)]
    return keys[0] if len(keys) == 1 else ""


def _says(choice: Choice) -> tuple[bool, bool]:
    """Whether a choice has text or the like, and whether it calls a tool."""
    delta: Any = choice.get("delta")
    if not isinstance(delta, dict):
        return bool(choice.get("text") or choice.get("message")), False
    text = any(
        value and key not in ("role", "tool_calls", "function_call") for key, value in delta.items()
    )
    return text or bool(choice.get("text")), bool(delta.get("tool_calls"))
