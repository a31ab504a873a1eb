"""A list of choices, each with the index that it means."""

from __future__ import annotations

from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.wires.chat.chunk import Choice, Chunk, Endpoint

CHOICES_MISSING = Deviation(
    code="E209",
    name="choices-missing",
    fault="`choices` is missing, null or not a list.",
    repair="`choices` becomes a list.",
)
CHOICES_EMPTY = Deviation(
    code="E210",
    name="choices-empty",
    fault="A chunk has no choices.",
    repair="The chunk is not sent and its other members move to the next chunk.",
)
INDEX_MISSING = Deviation(
    code="E211",
    name="choice-index-missing",
    fault="The `index` of a choice is missing, null or negative.",
    repair="The index becomes 0.",
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
CHOICE_SILENT = Deviation(
    code="E214",
    name="unasked-choice-silent",
    fault="A second choice that the request did not ask for has no content.",
    repair="The choice is not sent before it has content.",
)
OTHER_ENDPOINT = Deviation(
    code="E215",
    name="other-endpoints-chunk",
    fault="A chunk has the form of the other endpoint, such as `text` for `delta`.",
    repair="The chunk gets the form of the requested endpoint.",
)


TEXT_BESIDE_CHOICES = Deviation(
    code="E217",
    name="text-without-choices",
    fault="A chunk without choices has its text in `value` or `response`.",
    repair="The text becomes the text of choice 0.",
)


_DIGITS = 9  # that an index given as text may have; more is no index, and may be no int


class Choices:
    """Gives each choice its index. Says which, of those nobody asked for, belong together."""

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
        "given",
        "silent",
        "single",
    )

    def __init__(self, found: Findings, endpoint: Endpoint, n: int | None) -> None:
        self._found = found
        self._chat = endpoint == "chat"
        self._last: int | None = None  # the upstream's index of the last choice that spoke
        self._times = 0  # that it spoke
        self.silent: Choice | None = (
            None  # what a chunk held that says nothing of an unasked choice
        )
        self._silent: set[int] = set()
        self.single = (n or 1) == 1
        self._counting = False
        self.given = True  # whether the last chunk had choices of its own, if only an empty list
        self._finished = False
        self._joined: set[int] = set()
        self._own: set[int] = set()  # indexes that nobody asked for and that are no mistake

    def of(self, chunk: Chunk) -> list[Choice]:
        """The chunk's choices, which are those that it has from now on."""
        choices = chunk.get("choices")
        self.given = choices is not None
        if isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], dict):
            choice = choices[0]
            if type(choice.get("index")) is int and choice["index"] == self._last:
                if not self._counting and self._last not in self._joined:
                    self._times += 1
                    self._finished = self._finished or bool(choice.get("finish_reason"))
                    return choices
        if "choices" not in chunk and (said := _text_beside(chunk)):
            if self._found(TEXT_BESIDE_CHOICES):
                choices = [{"index": 0, "finish_reason": None}]
                choices[0].update({"delta": {"content": said}} if self._chat else {"text": said})
        if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
            self._found(CHOICES_MISSING)
            choices = [choices] if isinstance(choices, dict) else choices
            choices = (
                [c for c in choices if isinstance(c, dict)] if isinstance(choices, list) else []
            )
        kept = []
        self.silent = None
        for choice in choices:
            index = self._index(choice, alone=len(choices) == 1)
            if index is not None:
                choice["index"] = index
                kept.append(choice)
                self._finished = self._finished or bool(choice.get("finish_reason"))
        chunk["choices"] = kept
        return kept

    def _index(self, choice: Choice, *, alone: bool) -> int | None:
        index = choice.get("index")
        if type(index) is not int or index < 0:
            if self._found(INDEX_MISSING):
                text = index if isinstance(index, str) and len(index) <= _DIGITS else ""
                index = int(text) if text.isdecimal() else 0
            else:
                return index if isinstance(index, int) else 0
        if not self.single or (index == 0 and not self._counting) or index in self._own:
            self._times = self._times + 1 if index == self._last else 1
            self._last = index
            return index
        if self._counting or index in self._joined:
            self._found(INDEX_COUNTS_TOKENS if self._counting else CHOICES_SPLIT)
            return 0
        said, called = _says(choice)
        if self._last is None and not self._silent and self._found(INDEX_COUNTS_TOKENS):
            self._counting = True
            return 0
        if called and not said and self._last is not None:
            if self._found(CHOICES_SPLIT):
                self._joined.add(index)
                return 0
        elif (said or called) and self._counts(index, alone=alone):
            if self._found(INDEX_COUNTS_TOKENS):
                self._counting = True
                return 0
        elif not said and not called and not choice.get("finish_reason"):
            # the first choice's calls may be to come: nothing shows yet whose choice this is
            self._silent.add(index)
            choice["index"] = index
            self.silent = choice
            return None
        self._own.add(index)
        self._last, self._times = index, 1
        return index

    def _counts(self, index: int, *, alone: bool) -> bool:
        """Whether an index that nobody asked for counts tokens: one further with each chunk."""
        further = self._last is not None and index == self._last + 1 and self._times == 1
        return alone and further and not self._finished and index not in self._silent


def _text_beside(chunk: Chunk) -> str:
    """The text of a chunk that has no choices: Writer's `value`, Cloudflare's `response`."""
    texts = [chunk[key] for key in ("value", "response") if isinstance(chunk.get(key), str)]
    return texts[0] if len(texts) == 1 else ""


def _says(choice: Choice) -> tuple[bool, bool]:
    """Whether a choice says something, and whether it calls a tool."""
    delta: Any = choice.get("delta")
    if not isinstance(delta, dict):
        return bool(choice.get("text")), False
    said = any(
        value and key not in ("role", "tool_calls", "function_call") for key, value in delta.items()
    )
    return said or bool(choice.get("text")), bool(delta.get("tool_calls"))
