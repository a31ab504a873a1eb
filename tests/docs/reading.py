"""The blocks of the pages in docs/.

A block that is not tested says why, in a comment directly above it: ``<!-- not run: … -->``.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

# generated from the catalogue, which has tests of its own
GENERATED = {"deviations.md"}

PAGES = sorted(
    page.relative_to(DOCS).as_posix()
    for page in DOCS.rglob("*.md")
    if page.relative_to(DOCS).as_posix() not in GENERATED
)

_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n+)?(?P<indent> *)```(?P<language>\S*)\n"
    r"(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_INDENTED = re.compile(r"(?<=\n\n)((?: {4}(?! )\S[^\n]*\n)+)")


class Block(NamedTuple):
    """A fenced block, its first line in the page, and why it is not tested, if it is not."""

    page: str
    language: str
    text: str
    line: int
    why: str | None

    def __str__(self) -> str:
        return f"docs/{self.page}:{self.line}"


def read(page: str) -> str:
    """Return the text of a page of docs/."""
    return (DOCS / page).read_text(encoding="utf-8")


def blocks(page: str, language: str | None = None) -> Iterator[Block]:
    """Yield the fenced blocks of a page, or those of one language."""
    text = read(page)
    for found in _FENCE.finditer(text):
        if language in (None, found["language"]):
            body = textwrap.dedent(found["text"]) if found["indent"] else found["text"]
            line = text[: found.start("text")].count("\n") + 1
            yield Block(page, found["language"], body, line, found["why"])


def indented(page: str) -> Iterator[Block]:
    """Yield the blocks of a page that are indented by four spaces: commands, or diagrams."""
    text = _FENCE.sub(lambda found: "\n" * found[0].count("\n"), read(page))
    for found in _INDENTED.finditer(text):
        line = text[: found.start()].count("\n") + 1
        yield Block(page, "", textwrap.dedent(found[0]), line, None)
