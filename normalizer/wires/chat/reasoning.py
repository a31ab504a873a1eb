"""Reasoning by one name, whatever the upstream calls it."""

from __future__ import annotations

from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.wires.chat.chunk import REASONING_KEYS, Delta, Part, as_list

REASONING_NAME = Deviation(
    code="C311",
    name="reasoning-name",
    fault="Reasoning has a name other than `reasoning_content`.",
    repair="Reasoning gets the name that the `reasoning` option asks for.",
)
REASONING_MIRRORED = Deviation(
    code="C312",
    name="reasoning-mirrored",
    fault="One delta has the same reasoning under several names.",
    repair="The reasoning is delivered once.",
)
OBJECT_WITHOUT_INDEX = Deviation(
    code="C313",
    name="object-without-index",
    fault="Objects in a list of a delta have no `index`.",
    repair="They get a running index, which openai-python needs.",
)

# opaque members that hold the text too, and stay
COMPANIONS = ("reasoning_details", "thinking_blocks")
_HOLDERS = frozenset({*REASONING_KEYS, *COMPANIONS})
_TEXTS = ("text", "thinking", "summary")


class Reasoning:
    """Gives a delta's reasoning one name, once; its opaque companions stay.

    * ``numbers``: objects in a delta's lists get an index. A stream's clients need it, a whole
      answer's do not.
    * ``differs``: the last delta had several texts; the longest is taken.
    """

    __slots__ = ("_found", "_indexes", "_keep", "_names", "_only", "differs", "numbers")

    def __init__(self, found: Findings, policy: str) -> None:
        self._found = found
        self._keep = policy == "keep"
        self._names = ("reasoning_content", "reasoning") if policy == "both" else (policy,)
        self._only = "" if policy == "both" else policy
        self.numbers = True
        self.differs = False
        self._indexes: dict[tuple[int, str], int] = {}

    def read(self, part: Part) -> None:
        """Repair the reasoning of one delta, and number the objects in its lists."""
        delta = part.delta
        self.differs = False
        if self.numbers:
            self._number_lists(part)
        # most deltas have no reasoning under any name
        if self._keep or _HOLDERS.isdisjoint(delta) or self._is_named(delta):
            return
        # StepFun and OpenRouter send one text under two names: joined, every thought is printed
        # twice
        texts = _texts_in(delta)
        withins = [text_of(delta[name]) for name in COMPANIONS if delta.get(name)]
        said = _longest([*texts.values(), *withins])
        self.differs = any(text and text != said for text in (*texts.values(), *withins))
        if texts or said:
            self._rename(part, texts, said)

    def _is_named(self, delta: Delta) -> bool:
        """Whether a delta has reasoning once, as text, and by the one name that it is to have."""
        return type(delta.get(self._only)) is str and len(_HOLDERS.intersection(delta)) == 1

    def names(self, key: str) -> tuple[str, ...]:
        """Return the names under which a text is sent that came as ``key``."""
        return (key,) if self._keep or key not in REASONING_KEYS else self._names

    def _rename(self, part: Part, texts: dict[str, Any], said: str) -> None:
        value = said if said or "" in texts.values() else None
        if texts.keys() == set(self._names) and all(text == value for text in texts.values()):
            return
        several = len([text for text in texts.values() if text]) > len(self._names)
        if self._found(REASONING_MIRRORED if several else REASONING_NAME):
            part.edit()
            _replace(part.delta, texts, dict.fromkeys(self._names, value))

    def _number_lists(self, part: Part) -> None:
        for key, value in part.delta.items():
            if type(value) is list and value and key != "tool_calls":
                self._number(part, key, value)

    def _number(self, part: Part, key: str, items: list[Any]) -> None:
        lacking = [
            item for item in items if isinstance(item, dict) and type(item.get("index")) is not int
        ]
        # openai-python's `.stream()`: "Expected list delta entry to have an `index` key"
        if not lacking or not self._found(OBJECT_WITHOUT_INDEX):
            return
        part.edit()
        for item in lacking:
            number = self._indexes.get((part.index, key), 0)
            item["index"] = number
            self._indexes[part.index, key] = number + 1


def _texts_in(delta: Delta) -> dict[str, Any]:
    """The reasoning under each name; what is an object or a list comes last, as its text."""
    given = [name for name in REASONING_KEYS if name in delta]
    texts = {name: delta[name] for name in given if not isinstance(delta[name], (dict, list))}
    for name in given:
        if name not in texts and (text := text_of(delta[name])):
            texts[name] = text
    return texts


def _longest(texts: list[Any]) -> str:
    return max((text for text in texts if isinstance(text, str)), key=len, default="")


def text_of(value: Any) -> str:
    """The text of reasoning that is an object, or a list of some: their text, or their summary."""
    texts: list[str] = []
    todo = as_list(value)[::-1]
    while todo:
        item = todo.pop()
        said = next((item[key] for key in _TEXTS if isinstance(item.get(key), str)), None)
        if said is None and isinstance(item.get("summary"), list):
            todo += as_list(item["summary"])[::-1]
        texts.append(said or "")
    return "".join(texts)


def _replace(delta: Delta, old: dict[str, Any], new: dict[str, str | None]) -> None:
    """Put ``new`` where the first of ``old`` stood, the other members in their order."""
    members = list(delta.items())
    delta.clear()
    placed = False
    for key, value in members:
        if key in old:
            if not placed:
                delta.update(new)
                placed = True
        else:
            delta[key] = value
    if not placed:
        delta.update(new)
