"""Usage: never summed, once, where the request asked for it."""

from __future__ import annotations

from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.wires.chat.chunk import Chunk

USAGE_EARLY = Deviation(
    code="U601",
    name="usage-on-a-chunk",
    fault="A chunk with choices has a usage.",
    repair="The usage is removed from the chunk and the last one is sent at the end.",
)
USAGE_UNASKED = Deviation(
    code="U602",
    name="usage-chunk-unasked",
    fault="A usage chunk arrives that the request did not ask for.",
    repair="The chunk is not sent and its usage moves to the finish.",
)
USAGE_OWN_CHUNK = Deviation(
    code="U603",
    name="usage-without-its-chunk",
    fault="The requested usage has no chunk of its own.",
    repair="The usage gets a chunk of its own after the finish.",
)
USAGE_IN_CHOICE = Deviation(
    code="U604",
    name="usage-in-choice",
    fault="A usage is inside a choice.",
    repair="The usage is removed from the choice and sent at the end.",
)
USAGE_IN_X_GROQ = Deviation(
    code="U605",
    name="usage-in-x-groq",
    fault="A usage is inside `x_groq`.",
    repair="The usage is copied to `usage`.",
)
USAGE_ZERO = Deviation(
    code="U606",
    name="usage-zero",
    fault="A usage has only zeros.",
    repair="The zeros never replace a real usage.",
)
USAGE_HALF = Deviation(
    code="U607",
    name="usage-half",
    fault="A usage has no `prompt_tokens` or no `completion_tokens`.",
    repair="The usage moves to the finish as `native_usage`.",
)
USAGE_FORM = Deviation(
    code="U608",
    name="usage-form",
    fault="A usage has no `total_tokens`, or has null members.",
    repair="`total_tokens` is filled in and null members are removed.",
)
USAGE_LATE = Deviation(
    code="U609",
    name="usage-late",
    fault="A usage that the request did not ask for arrives after the finish was sent.",
    repair="The usage is not sent and the report names it.",
    reported=True,
)
USAGE_REPEATED = Deviation(
    code="U610",
    name="usage-repeated",
    fault="The stream has several usages.",
    repair="Only the last usage is sent.",
    structural=True,
)


class Usage:
    """Takes usage off the chunks and keeps the last one that counts."""

    __slots__ = ("_found", "apart", "asked", "chunk", "half", "known", "raw", "value")

    def __init__(self, found: Findings, *, asked: bool | None) -> None:
        self._found = found
        self.asked = asked
        self.value: dict[str, Any] | None = None  # what leaves
        self.half: dict[str, Any] | None = None
        self.apart = False  # it came in a chunk of its own
        self.chunk: Chunk | None = None  # that chunk, where it can leave as it came
        self.raw: bytes | None = None
        self.known = False  # a usage that is not only zeros was seen

    def take(self, chunk: Chunk, choices: list[dict[str, Any]], *, ending: bool) -> None:
        """Take the usage off a chunk that has choices; ``ending``: they all finish in it.

        Where nobody asked for a chunk of its own, a usage on the finish stays there.
        """
        for choice in choices:
            if "usage" in choice and self._found(USAGE_IN_CHOICE):
                self.keep(choice.pop("usage"))
        if "x_groq" in chunk:
            self._groq(chunk)
        usage = chunk.get("usage")
        if usage is None:
            return
        stays = ending and not self.asked
        kept = self.keep(usage, moved=not stays)
        if (stays and kept) or not self._found(USAGE_EARLY):
            return
        if self.asked:
            chunk["usage"] = None
        else:
            del chunk["usage"]

    def take_apart(self, chunk: Chunk, raw: bytes | None) -> None:
        """Take the usage of a chunk without choices, and the chunk itself if it may be sent."""
        if "x_groq" in chunk:
            self._groq(chunk)
        usage = chunk.get("usage")
        if usage is None:
            return
        sent = self.asked is not False or not self._found(USAGE_UNASKED)
        if self.keep(usage, moved=not sent) and sent:
            self.chunk, self.raw, self.apart = chunk, raw, True

    def _groq(self, chunk: Chunk) -> None:
        inner = chunk["x_groq"]
        if isinstance(inner, dict) and isinstance(inner.get("usage"), dict):
            if not isinstance(chunk.get("usage"), dict) and self._found.note(USAGE_IN_X_GROQ):
                self.keep(dict(inner["usage"]))

    def keep(self, usage: Any, *, moved: bool = True) -> bool:
        """Keep a usage if it is worth more than the one before; was it?

        Zeros are kept only where they stand: they are no news elsewhere.
        """
        if not isinstance(usage, dict) or not usage:
            return False
        real = _counts(usage)
        if usage.get("prompt_tokens") is None or usage.get("completion_tokens") is None:
            if self._found(USAGE_HALF):
                if real:
                    self.half = usage
                return False
        if not real and (self.known or moved) and self._found(USAGE_ZERO):
            return False
        if self.known and usage != self.value:
            self._found.note(USAGE_REPEATED)
        self.known = self.known or real
        self.raw = None
        self.value = usage
        return True

    def settled(self) -> dict[str, Any] | None:
        """The usage that leaves, in the API's form; None if there is none."""
        usage = self.value
        if usage is None:
            return None
        total = usage.get("total_tokens")
        if (total is None or None in usage.values()) and self._found(USAGE_FORM):
            usage = {key: item for key, item in usage.items() if item is not None}
            prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
            if total is None and isinstance(prompt, int) and isinstance(completion, int):
                usage["total_tokens"] = prompt + completion
            self.raw = None
        return usage


def _counts(usage: dict[str, Any]) -> bool:
    return any(
        isinstance(value, (int, float)) and not isinstance(value, bool) and value
        for value in usage.values()
    )
