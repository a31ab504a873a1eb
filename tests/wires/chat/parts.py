"""One stage alone: the part of a chunk that it reads, and what it found."""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Findings
from normalizer.core.report import Report
from normalizer.wires.chat.chunk import Part
from tests.streams import ENVELOPE


def finder() -> Findings:
    return Findings(Report())


def codes(found: Findings) -> set[str]:
    return set(found.report.repairs)


def draft(*choices: dict[str, Any], **members: Any) -> Draft:
    """A chunk as it came: its bytes are void as soon as a stage edits it."""
    return Draft({**ENVELOPE, "choices": list(choices), **members}, b"as it came")


def part(choice: dict[str, Any], index: int = 0, **members: Any) -> Part:
    """One choice of a chunk of its own."""
    one = Part(draft(choice, **members), choice)
    one.index = index
    one.delta = choice.get("delta") or {}
    return one
