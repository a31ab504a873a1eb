"""The two laws: nothing is lost, nothing is invented.

An answer says texts of several kinds, each in pieces. What leaves may have other pieces, but each
kind must come to the same text. Two things make this harder than to compare two strings.

Some upstreams say a text again: the whole message at the end, the arguments in each `done`, a
placeholder `{}` before the real arguments. Such a piece is marked as one that may repeat, and is
right where it was said before, wholly or in its beginning. And arguments may be spelt otherwise,
because an object becomes its JSON text: space does not count in them.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

from tests.conformance.reading import Fault

Kind = Hashable
PLACEHOLDERS = ("{}", "")
SURROGATE = re.compile("[\ud800-\udfff]")


class Piece(NamedTuple):
    text: str
    again: bool = False  # may repeat what was said before


class Said:
    """What an answer says, in whatever form.

    With `first_only` its texts are those of its deltas, and what repeats them is kept apart. That
    is for answers which left in a form where the ends of an item repeat its text.
    """

    def __init__(self, *, first_only: bool = False) -> None:
        self.first_only = first_only
        self.texts: dict[Kind, list[Piece]] = defaultdict(list)
        self.names: list[str] = []  # of calls, in their order
        self.usage: dict[str, int] = {}
        self.figures: dict[str, set[int]] = defaultdict(set)  # all that were said
        self.marked = False  # whether the last text was marked as thought

    def say(self, kind: Kind, text: Any, *, again: bool = False) -> None:
        if isinstance(text, str) and text:
            self.texts[kind].append(Piece(text, again))

    def argue(self, kind: Kind, arguments: Any, *, again: bool = False) -> None:
        """Add arguments, which are a text or already its object. Space in them does not count."""
        if arguments is not None and not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        self.say(kind, "".join((arguments or "").split()), again=again)

    def text(self, kind: Kind) -> str:
        pieces = self.texts.get(kind, ())
        return "".join(piece.text for piece in pieces if not (piece.again and self.first_only))

    def repetitions(self) -> set[str]:
        """What stands in the places that repeat a text."""
        pieces = itertools.chain.from_iterable(self.texts.values())
        return {piece.text for piece in pieces if piece.again}

    def contradictions(self) -> set[str]:
        """Those repetitions that say another text than the deltas of the same kind."""
        found = set()
        for pieces in self.texts.values():
            first = "".join(piece.text for piece in pieces if not piece.again)
            again = {piece.text for piece in pieces if piece.again}
            if first:
                found |= {text for text in again if text not in first and first not in text}
        return found

    def count(self, usage: Any, *names: str) -> None:
        """Take the figures of a usage; a placeholder of zeros never replaces what is there."""
        figures = {name: usage.get(name) for name in names} if isinstance(usage, dict) else {}
        numbers = {name: n for name, n in figures.items() if type(n) is int}
        for name, number in numbers.items():
            self.figures[name].add(number)
        if any(numbers.values()):
            self.usage.update(numbers)


def compare(came: Said, left: Said) -> Iterator[Fault]:
    """The faults of what left: what it lacks of what came, and what it has beyond it."""
    # another text stays where it stood, and is no delta
    apart = came.contradictions() & left.repetitions() if left.first_only else set()
    for kind in {*came.texts, *left.texts}:
        pieces = [one for one in came.texts.get(kind, []) if not (one.again and one.text in apart)]
        lost, invented = difference(pieces, left.text(kind))
        if lost or invented:
            lost, invented = difference(came.texts.get(kind, []), left.text(kind))
        if lost:
            yield Fault("lost", f"{kind}: {lost[:80]!r}")
        if invented:
            yield Fault("invented", f"{kind}: {invented[:80]!r}")
    yield from _names("lost", came.names, left.names)
    yield from _names("invented", left.names, came.names)
    for name, number in left.usage.items():
        if name in came.figures and number not in {0, *came.figures[name]}:
            yield Fault("usage", f"{name} is {number}, and {came.figures[name]} came")


def _names(rule: str, these: list[str], those: list[str]) -> Iterator[Fault]:
    """The names of calls that stand on one side only: neither in pieces nor inside of another."""
    for name in set(these):
        if not any(name in other or other in name for other in those):
            yield Fault(rule, f"the call of {name!r}")


def difference(came: list[Piece], left: str) -> tuple[str, str]:
    """What is missing in the text that left, and what is in it that did not come."""
    if any(SURROGATE.search(piece.text) for piece in came):
        came = [Piece(_joined("".join(piece.text for piece in came)))]
    at = 0
    for piece in came:
        start = _part_that_is_new(piece, left, at)
        if start is None:
            return piece.text, ""
        at += len(piece.text) - start
    return "", left[at:]


def _joined(text: str) -> str:
    """The text with its halves of surrogate pairs joined, and U+FFFD for those that are alone."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _part_that_is_new(piece: Piece, left: str, at: int) -> int | None:
    """Where in the piece that begins which stands next in the text; None if nothing of it does."""
    if left.startswith(piece.text, at):
        return 0
    if not piece.again:
        return None
    said = left[:at]
    if piece.text in said or piece.text in PLACEHOLDERS:
        return len(piece.text)
    for start in range(len(piece.text) - 1, 0, -1):
        if piece.text[:start] in said and left.startswith(piece.text[start:], at):
            return start
    return None
