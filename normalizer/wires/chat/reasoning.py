"""Reasoning by one name, whatever the upstream calls it."""

from __future__ import annotations

from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.wires.chat.chunk import REASONING_KEYS, Delta, as_list

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


class Reasoning:
    """Settles a delta's reasoning: one name, said once; its opaque companions stay."""

    __slots__ = ("_found", "_indexes", "_keep", "_names", "numbers")

    def __init__(self, found: Findings, policy: str) -> None:
        self._found = found
        self._keep = policy == "keep"
        self._names = ("reasoning_content", "reasoning") if policy == "both" else (policy,)
        self.numbers = True  # a stream's clients need an index, a completion's do not
        self._indexes: dict[tuple[int, str], int] = {}

    def settle(self, index: int, delta: Delta) -> None:
        """Repair the reasoning of one delta, and number the objects in its lists."""
        for key, value in delta.items():
            if type(value) is list and key != "tool_calls" and value and self.numbers:
                self._number(index, key, value)
        if self._keep:
            return
        texts = {name: delta[name] for name in REASONING_KEYS if isinstance(delta.get(name), str)}
        details = delta.get("reasoning_details")
        said = max(texts.values(), key=len, default="")
        if details:
            within = _text_of(details)
            said = within if len(within) > len(said) else said
        if not texts and not said:
            return
        names = self._names
        if texts.keys() == set(names) and all(text == said for text in texts.values()):
            return
        deviation = REASONING_MIRRORED if len(texts) > len(names) else REASONING_NAME
        if not self._found(deviation):
            return
        if said:
            _replace(delta, texts, dict.fromkeys(names, said))
        else:
            for name in texts:
                del delta[name]

    def _number(self, index: int, key: str, items: list[Any]) -> None:
        lacking = [item for item in items if isinstance(item, dict) and "index" not in item]
        if not lacking or not self._found(OBJECT_WITHOUT_INDEX):
            return
        for item in lacking:
            number = self._indexes.get((index, key), 0)
            item["index"] = number
            self._indexes[index, key] = number + 1


def _text_of(details: Any) -> str:
    texts = (item.get("text") or item.get("summary") for item in as_list(details))
    return "".join(text for text in texts if isinstance(text, str))


def _replace(delta: Delta, old: dict[str, str], new: dict[str, str]) -> None:
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
