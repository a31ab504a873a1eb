"""The usage of a response: only what the upstream counted, under the API's names.

Strict readers fail a whole turn, paid for, over a usage that lacks one member. So one that has both
counts gets the members that follow from them: their sum, and details of 0 where there are none.
One that lacks a count is none: it travels as ``native_usage``, and ``usage`` is null.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings

CHAT_NAMES = Deviation(
    code="R601",
    name="responses-usage-chat-names",
    fault="The usage has the names of chat completions (`prompt_tokens`, `completion_tokens`).",
    repair="The usage gets the API's names beside them.",
)
TOTAL = Deviation(
    code="R602",
    name="responses-usage-total-missing",
    fault="The usage has no `total_tokens`.",
    repair="It gets the sum of the input and the output.",
)
DETAILS = Deviation(
    code="R603",
    name="responses-usage-details-missing",
    fault="The usage lacks `cached_tokens` or `reasoning_tokens` in its details.",
    repair="The details are there, with 0 for what was not counted.",
)
HALF = Deviation(
    code="R604",
    name="responses-usage-half",
    fault="The usage lacks its input or its output, or they are null.",
    repair="It travels as `native_usage`, and `usage` is null.",
)
BESIDE = Deviation(
    code="R605",
    name="responses-usage-beside-response",
    fault="The usage stands beside the response, not in it.",
    repair="It moves into the response.",
)

_COUNTS = (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens"))
_DETAILS = (
    ("input_tokens_details", "prompt_tokens_details", "cached_tokens"),
    ("output_tokens_details", "completion_tokens_details", "reasoning_tokens"),
)


class Usage:
    """Gives the usage in a response its form."""

    __slots__ = ("_found",)

    def __init__(self, found: Findings) -> None:
        self._found = found

    def within(self, draft: Draft, response: dict[str, Any]) -> None:
        """Repair the usage of a response that stands in this draft, if it has one."""
        event = draft.value
        beside = event.get("usage")
        if event is not response and isinstance(beside, dict):
            if not isinstance(response.get("usage"), dict) and self._found(BESIDE):
                response["usage"] = draft.edit().pop("usage")
        usage = response.get("usage")
        if usage is None:
            return
        if not isinstance(usage, dict) or not self._counts(draft, usage):
            if self._found(HALF):
                draft.edit()
                response["native_usage"] = usage
                response["usage"] = None
            return
        if not _is_count(usage.get("total_tokens")) and self._found(TOTAL):
            draft.edit()
            usage["total_tokens"] = usage["input_tokens"] + usage["output_tokens"]
        for name, old, inner in _DETAILS:
            self._details(draft, usage, name, old, inner)

    def _counts(self, draft: Draft, usage: dict[str, Any]) -> bool:
        """Find both counts, under whatever name; False if one is not there."""
        if _is_count(usage.get("input_tokens")) and _is_count(usage.get("output_tokens")):
            return True
        found = {new: _count(usage.get(new)) for new, _ in _COUNTS}
        for new, old in _COUNTS:
            if found[new] is None:
                found[new] = _count(usage.get(old))
        if None in found.values():
            return False
        if any(not _is_count(usage.get(new)) for new in found):
            if not self._found(CHAT_NAMES):
                return False
            draft.edit()
            usage.update(found)
        return True

    def _details(
        self, draft: Draft, usage: dict[str, Any], name: str, old: str, inner: str
    ) -> None:
        details = usage.get(name)
        if isinstance(details, dict) and _is_count(details.get(inner)):
            return
        if not self._found(DETAILS):
            return
        draft.edit()
        before = usage.get(old)
        count = before.get(inner) if isinstance(before, dict) else None
        kept = details if isinstance(details, dict) else {}
        usage[name] = {**kept, inner: count if _is_count(count) else 0}


def _count(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer() and value >= 0:
        return int(value)
    return value if _is_count(value) else None


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0
