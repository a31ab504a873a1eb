"""Usage: never added up, sent once, and where the request asked for it.

Upstreams send a usage on each chunk, on the finish, or in a chunk of its own, and each one counts
everything so far. So the last one that counts anything is the answer's. A usage that lacks its
counters cannot replace one that has them.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.core.lenient import loads
from normalizer.core.spelling import keep_spelling
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
USAGE_COUNT_FLOAT = Deviation(
    code="U611",
    name="usage-count-float",
    fault="A count of a usage is a float, such as 9.0.",
    repair="The count becomes the integer 9.",
)
# What `Usage.keep` finds. A chunk that only differs from the one before in its usage may find
# these, and may still pass by the fast path.
FOUND_IN_EACH = frozenset({USAGE_ZERO.code, USAGE_HALF.code, USAGE_REPEATED.code})


class Usage:
    """Takes usage off the chunks and keeps the last one that counts.

    * ``asked``: whether a chunk of its own was asked for; None where that is not known.
    * ``value``: the usage to be sent; ``half``: a usage that lacks its counters.
    * ``apart``: it came in a chunk of its own, ``chunk``, and that chunk can be sent.
    """

    __slots__ = (
        "_copied",
        "_counted",
        "_earlier",
        "_found",
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
        self._counted = False  # a usage that is not only zeros was seen
        self._earlier: dict[str, Any] = {}  # members of earlier ones, counters apart

    def read(self, draft: Draft, parts: list[Part]) -> None:
        """Take the usage off a chunk that has choices.

        A usage on the finish stays there, unless the request asked for a chunk of its own.
        """
        chunk = draft.value
        for part in parts:
            # Moonshot's Kimi has it here, where no client looks
            if "usage" in part.choice and self._found(USAGE_IN_CHOICE):
                self.keep(part.edit().pop("usage"))
        if "x_groq" in chunk:
            self._groq(chunk)
        if chunk.get("usage") is not None:
            self._read_top(draft, ends=all(part.word is not None for part in parts))

    def _read_top(self, draft: Draft, *, ends: bool) -> None:
        """Take the usage of a chunk with choices; ``ends``: each of them finishes."""
        stays = ends and not self.asked
        kept = self.keep(self._object(draft), moved=not stays)
        if (stays and kept) or not self._found(USAGE_EARLY):
            return
        if self.asked:
            # where the usage comes at the end, the API's other chunks have a null
            draft.edit()["usage"] = None
        else:
            del draft.edit()["usage"]

    def read_apart(self, draft: Draft) -> bool:
        """Take the usage of a chunk without choices.

        Return whether that chunk may be sent itself.
        """
        chunk = draft.value
        if "x_groq" in chunk:
            self._groq(chunk)
        if chunk.get("usage") is None:
            return False
        usage = self._object(draft)
        # a chunk without choices that nobody asked for breaks every loop with `choices[0]`
        sent = self.asked is not False or not self._found(USAGE_UNASKED)
        if not (self.keep(usage, moved=not sent) and sent):
            return False
        self.chunk, self.apart = draft, True
        return True

    def _object(self, draft: Draft) -> Any:
        """Return the usage of a chunk, out of a list of one."""
        usage = draft.value["usage"]
        if isinstance(usage, list) and len(usage) == 1 and self._found(USAGE_FORM):
            usage = draft.edit()["usage"] = usage[0]
        return usage

    def _groq(self, chunk: Chunk) -> None:
        inner = chunk["x_groq"]
        if isinstance(inner, dict) and isinstance(inner.get("usage"), dict):
            if not isinstance(chunk.get("usage"), dict) and self._found.on(USAGE_IN_X_GROQ):
                # `x_groq` itself stays: the id of the request is in it
                same = inner["usage"] == self.value
                self._copied = self.keep(dict(inner["usage"])) and not same

    def keep(self, usage: Any, *, moved: bool = True) -> bool:
        """Keep a usage if it is worth more than the one before; return whether it was.

        ``moved``: it does not stay where it came. Zeros are kept only where they stay, since
        nobody waits for them anywhere else.
        """
        if not isinstance(usage, dict) or not usage:
            return False
        real = _counts(usage)
        # the missing count is not made up: typed clients read a stream without usage, but not half
        # of one
        if _is_half(usage) and self._found(USAGE_HALF):
            self._keep_half(usage, real=real)
            return False
        # MiniMax sends zeros until its last chunk: they mean unknown, not nothing used
        if not real and (self._counted or moved) and self._found(USAGE_ZERO):
            return False
        self._replace(usage)
        self._counted = self._counted or real
        return True

    def keep_all(self, usages: list[bytes]) -> None:
        """Keep the usages of chunks in a row, JSON that differs in its numbers only.

        Counts the chunks in the report: what is found has the number of its event.
        """
        for data in usages:
            self._found.report.events_in += 1
            usage = loads(data)[0]
            between = data is not usages[0] and data is not usages[-1]
            if between and self._counted and _counts(usage) and not _is_half(usage):
                # its other members are those of the last one, which is kept with them
                if usage != self.value:
                    self._found(USAGE_REPEATED)
                self.value = usage
            else:
                keep_spelling(usage, data)
                self.keep(usage)

    def _replace(self, usage: dict[str, Any]) -> None:
        # LangChain and pydantic-ai add usages up, so the last one replaces all others
        if self._counted and usage != self.value:
            self._found(USAGE_REPEATED)
        if self.value is not None and not self.value.keys() <= _COUNTERS:
            self._earlier |= _lasting(self.value)
        self._copied = False
        self.value = usage

    def _keep_half(self, usage: dict[str, Any], *, real: bool) -> None:
        """Keep what a usage without its counters has beside them: costs, timings."""
        lasting = _lasting(usage)
        self._earlier |= lasting
        if real or any(lasting.values()):
            self.half = usage

    @property
    def goes_apart(self) -> bool:
        """Whether the usage is to be sent in a chunk of its own."""
        return (self.asked is True and self._found.on(USAGE_OWN_CHUNK)) or self.apart

    def final(self) -> dict[str, Any] | None:
        """Return the usage to be sent, in the API's form; None if there is none."""
        usage = self.value
        if usage is None:
            return None
        if self._copied:
            self._copied = False
            self._found(USAGE_IN_X_GROQ)
        counts = float_counts(usage)
        if counts and self._found(USAGE_COUNT_FLOAT):
            usage = {**usage, **counts}
        named = with_api_names(usage)
        whole = {k: v for k, v in named.items() if v is not None or k.endswith("_details")}
        whole |= {key: value for key, value in self._earlier.items() if key not in whole}
        add_total(whole)
        if whole == usage or not self._found(USAGE_FORM):
            return usage
        return whole


_OTHER_NAMES = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
_COUNTERS = frozenset({*_OTHER_NAMES, "total_tokens"})
_ALL_COUNTERS = (*_OTHER_NAMES, "total_tokens", *_OTHER_NAMES.values())


def with_api_names(usage: dict[str, Any]) -> dict[str, Any]:
    """Return a usage whose counters have the API's names too."""
    if usage.get("prompt_tokens") is not None and usage.get("completion_tokens") is not None:
        return usage
    lacking = {
        ours: usage[theirs]
        for ours, theirs in _OTHER_NAMES.items()
        if usage.get(ours) is None and type(usage.get(theirs)) is int
    }
    return {**usage, **lacking} if lacking else usage


def add_total(usage: dict[str, Any]) -> None:
    """Add the `total_tokens` that a usage lacks, if both of its counters are numbers."""
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    # a larger total stays: xAI leaves reasoning out of `completion_tokens`
    if usage.get("total_tokens") is None and type(prompt) is int and type(completion) is int:
        usage["total_tokens"] = prompt + completion


def float_counts(usage: dict[str, Any]) -> dict[str, int]:
    """Return the counters that are floats of a whole number, as integers.

    Example: ``float_counts({"prompt_tokens": 9.0})`` is ``{"prompt_tokens": 9}``.
    """
    given = {name: usage.get(name) for name in _ALL_COUNTERS}
    # a fraction stays: rounding it would make up a count
    return {k: int(v) for k, v in given.items() if isinstance(v, float) and v % 1 == 0 <= v < 2**53}


def _is_half(usage: dict[str, Any]) -> bool:
    if usage.get("prompt_tokens") is not None and usage.get("completion_tokens") is not None:
        return False
    named = with_api_names(usage)
    return named.get("prompt_tokens") is None or named.get("completion_tokens") is None


def _lasting(usage: dict[str, Any]) -> dict[str, Any]:
    """The members that stay with a later usage that lacks them: all but the counters."""
    return {k: v for k, v in usage.items() if k not in _COUNTERS and v is not None}


def _counts(usage: dict[str, Any]) -> bool:
    counts = [value for value in usage.values() if value and type(value) in (int, float)]
    # a count that is a string is no zero
    return bool(counts) or any(usage.get(name) not in (None, "", "0", 0) for name in _ALL_COUNTERS)
