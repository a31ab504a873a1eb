"""A chunk that is sent or held, and what the holdback has to know of it."""

from __future__ import annotations

from normalizer.core.draft import Draft
from normalizer.wires.chat.call import Fragment
from normalizer.wires.chat.chunk import Choice


class Piece:
    """A chunk with one choice, the fragments of calls in it, and its finish word.

    ``says``: its delta has something in it. A chunk without content does not wait for others.
    """

    __slots__ = ("choice", "draft", "fragments", "says", "word")

    def __init__(
        self,
        draft: Draft,
        choice: int,
        fragments: list[Fragment],
        word: str | None = None,
        says: bool = True,
    ) -> None:
        self.draft = draft
        self.choice = choice
        self.fragments = fragments
        self.word = word
        self.says = says


class Held:
    """A chunk that waits, with the bytes that it takes."""

    __slots__ = ("_decided", "draft", "fragments", "size")

    def __init__(self, draft: Draft, size: int, fragments: list[Fragment]) -> None:
        self.draft = draft
        self.size = size
        self.fragments = fragments
        self._decided = 0  # fragments at the beginning that wait no more, and never will again

    @property
    def waits(self) -> bool:
        # each fragment is looked at once: a chunk may have thousands
        fragments = self.fragments
        while self._decided < len(fragments) and not fragments[self._decided].waits:
            self._decided += 1
        return self._decided < len(fragments)

    @property
    def differs(self) -> bool:
        """Whether a fragment was dropped, or changed after it was read."""
        for fragment in self.fragments:  # noqa: SIM110 - `any` costs more than most chunks have
            if fragment.gone or fragment.changed:
                return True
        return False

    @property
    def choice(self) -> Choice:
        choice: Choice = self.draft.value["choices"][0]
        return choice


def has_content(choice: Choice) -> bool:
    """Return whether a choice that finishes holds something beside its finish."""
    delta = choice.get("delta")
    if isinstance(delta, dict):
        return any(value is not None for value in delta.values())
    return bool(choice.get("text"))
