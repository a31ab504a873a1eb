"""Usage: never summed, once, where the request asked for it."""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.wires.chat.chunk import Chunk, Part

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
# what `Usage.keep` finds, in each usage anew
FOUND_IN_EACH = frozenset({USAGE_ZERO.code, USAGE_HALF.code, USAGE_REPEATED.code})


class Usage:
    """Takes usage off the chunks and keeps the last one that counts.

    * ``asked``: whether a chunk of its own was asked for; None where that is not known.
    * ``value``: what leaves; ``half``: a usage that lacks its counters.
    * ``apart``: it came in a chunk of its own, ``chunk``, if that can leave.
    * ``late``: it came when the finish had left, and nobody asked for it.
    """

    __slots__ = (
        "_copied",
        "_earlier",
        "_found",
        "_real",
        "apart",
        "asked",
        "chunk",
        "half",
        "value",
    )

    def __init__(self, found: Findings, *, asked: bool | None) -> None:
        self._found = found
        self.asked = asked
        self.value: dict[str, Any] | None = None
        self.half: dict[str, Any] | None = None
        self.apart = False
        self.chunk: Draft | None = None
        self._copied = False  # the value stands in `x_groq` only, as far as is known
        self._real = False  # a usage that is not only zeros was seen
        self._earlier: dict[str, Any] = {}  # members of earlier ones, counters apart

    def read(self, draft: Draft, parts: list[Part]) -> None:
        """Take the usage off a chunk that has choices.

        Where nobody asked for a chunk of its own, a usage on the finish stays there.
        """
        chunk = draft.value
        for part in parts:
            if "usage" in part.choice and self._found(USAGE_IN_CHOICE):
                self.keep(part.edit().pop("usage"))
        if "x_groq" in chunk:
            self._groq(chunk)
        usage = chunk.get("usage")
        if usage is None:
            return
        usage = self._object(draft, usage)
        ending = all(part.word is not None for part in parts)
        stays = ending and not self.asked
        kept = self.keep(usage, moved=not stays)
        if (stays and kept) or not self._found(USAGE_EARLY):
            return
        if self.asked:
            draft.edit()["usage"] = None
        else:
            del draft.edit()["usage"]

    def read_apart(self, draft: Draft) -> bool:
        """Take the usage of a chunk without choices; whether that chunk may be sent itself."""
        chunk = draft.value
        if "x_groq" in chunk:
            self._groq(chunk)
        usage = chunk.get("usage")
        if usage is None:
            return False
        usage = self._object(draft, usage)
        sent = self.asked is not False or not self._found(USAGE_UNASKED)
        if not (self.keep(usage, moved=not sent) and sent):
            return False
        self.chunk, self.apart = draft, True
        return True

    def _object(self, draft: Draft, usage: Any) -> Any:
        """The usage that a list of one holds."""
        if isinstance(usage, list) and len(usage) == 1 and self._found(USAGE_FORM):
            draft.edit()["usage"] = usage[0]
            return usage[0]
        return usage

    def _groq(self, chunk: Chunk) -> None:
        inner = chunk["x_groq"]
        if isinstance(inner, dict) and isinstance(inner.get("usage"), dict):
            if not isinstance(chunk.get("usage"), dict) and self._found.on(USAGE_IN_X_GROQ):
                same = inner["usage"] == self.value
                self._copied = self.keep(dict(inner["usage"])) and not same

    def keep(self, usage: Any, *, moved: bool = True) -> bool:
        """Keep a usage if it is worth more than the one before; was it?

        Zeros are kept only where they stand: they are no news elsewhere.
        """
        if not isinstance(usage, dict) or not usage:
            return False
        real = _counts(usage)
        named = with_api_names(usage)
        if named.get("prompt_tokens") is None or named.get("completion_tokens") is None:
            if self._found(USAGE_HALF):
                self._earlier |= {k: v for k, v in usage.items() if _stays(k, v)}
                if real or any(_stays(key, value) and value for key, value in usage.items()):
                    self.half = usage
                return False
        if not real and (self._real or moved) and self._found(USAGE_ZERO):
            return False
        if self._real and usage != self.value:
            self._found(USAGE_REPEATED)
        self._copied = False
        self._real = self._real or real
        if self.value is not None and not self.value.keys() <= _COUNTERS:
            self._earlier |= {k: v for k, v in self.value.items() if _stays(k, v)}
        self.value = usage
        return True

    def final(self) -> dict[str, Any] | None:
        """The usage that leaves, in the API's form; None if there is none."""
        usage = self.value
        if usage is None:
            return None
        if self._copied:
            self._copied = False
            self._found(USAGE_IN_X_GROQ)
        named = with_api_names(usage)
        whole = {k: v for k, v in named.items() if v is not None or k.endswith("_details")}
        whole |= {key: value for key, value in self._earlier.items() if key not in whole}
        prompt, completion = whole.get("prompt_tokens"), whole.get("completion_tokens")
        if whole.get("total_tokens") is None and type(prompt) is int and type(completion) is int:
            whole["total_tokens"] = prompt + completion
        if whole == usage or not self._found(USAGE_FORM):
            return usage
        return whole


_OTHER_NAMES = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
_COUNTERS = frozenset({*_OTHER_NAMES, "total_tokens"})


def with_api_names(usage: dict[str, Any]) -> dict[str, Any]:
    """A usage whose counters have the API's names too."""
    if usage.get("prompt_tokens") is not None and usage.get("completion_tokens") is not None:
        return usage
    lacking = {
        ours: usage[theirs]
        for ours, theirs in _OTHER_NAMES.items()
        if usage.get(ours) is None and type(usage.get(theirs)) is int
    }
    return {**usage, **lacking} if lacking else usage


def _stays(key: str, value: Any) -> bool:
    """Whether a member of an earlier usage stays with the last one, where that lacks it."""
    return key not in _COUNTERS and value is not None


def _counts(usage: dict[str, Any]) -> bool:
    return bool([value for value in usage.values() if value and type(value) in (int, float)])
