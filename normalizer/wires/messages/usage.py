"""Usage: cumulative counters that are never added up and never computed.

`message_start` has what is known before the answer, and the `message_delta` with the stop reason
has the final figures. Clients read two counters without asking whether they are there, so these
are always numbers. A figure that comes where no client looks for it waits for the last
`message_delta`.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings

START_USAGE = Deviation(
    code="M601",
    name="start-usage-missing",
    fault="`input_tokens` or `output_tokens` of `message_start` is missing or no number.",
    repair="The counter becomes 0, or the number that a string spells.",
)
OPENAI_NAMES = Deviation(
    code="M602",
    name="usage-openai-names",
    fault="The usage has `prompt_tokens` and `completion_tokens`.",
    repair="They are copied to `input_tokens` and `output_tokens`.",
)
OUTPUT_TOKENS = Deviation(
    code="M603",
    name="output-tokens-missing",
    fault="A `message_delta` has no `output_tokens`.",
    repair="It gets the last figure that the stream had, else 0.",
)
USAGE_IN_DELTA = Deviation(
    code="M604",
    name="usage-in-delta",
    fault="The usage of a `message_delta` is inside its `delta`.",
    repair="The usage moves up, beside the `delta`.",
)
USAGE_ELSEWHERE = Deviation(
    code="M605",
    name="usage-elsewhere",
    fault="Usage comes in an event that cannot leave, such as a late `message_start`.",
    repair="The stop reason's `message_delta` gets the figures that it has not.",
    structural=True,
)
INPUT_TOKENS_LATE = Deviation(
    code="M606",
    name="input-tokens-late",
    fault="`input_tokens` is 0 in `message_start` and known at the end only.",
    repair="None, because the start cannot wait for the figure.",
    reported=True,
)

_NAMES = (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens"))


def is_count(value: Any) -> bool:
    """Whether a value is a number of tokens."""
    return type(value) is int and value >= 0


class Usage:
    """Gives usages their form and remembers the figures of one stream.

    ``known``: the last non-zero value of each member; ``late``: figures without a place.
    """

    __slots__ = ("_found", "_unknown", "known", "late")

    def __init__(self, found: Findings) -> None:
        self._found = found
        self._unknown = False  # `message_start` had no figure for the input
        self.known: dict[str, Any] = {}
        self.late: dict[str, Any] = {}

    def start(self, draft: Draft, message: dict[str, Any]) -> None:
        """Give the usage of a `message_start`, or of a whole message, its form."""
        usage = message.get("usage")
        if not isinstance(usage, dict):
            if not self._found(START_USAGE):
                return
            draft.edit()
            usage = message["usage"] = {}
        self.names(draft, usage)
        for name, _ in _NAMES:
            if not is_count(usage.get(name)) and self._found(START_USAGE):
                draft.edit()
                usage[name] = 0
        self._unknown = usage.get("input_tokens") == 0
        self.learn(usage)

    def delta(self, draft: Draft) -> None:
        """Give the usage of a `message_delta` its place and its names."""
        value, delta = draft.value, draft.value.get("delta")
        if isinstance(delta, dict) and "usage" in delta and self._found(USAGE_IN_DELTA):
            draft.edit()
            inner, outer = delta.pop("usage"), value.get("usage")
            if isinstance(inner, dict):
                value["usage"] = {**inner, **(outer if isinstance(outer, dict) else {})}
        usage = value.get("usage")
        if isinstance(usage, dict):
            self.names(draft, usage)
            self.learn(usage)

    def complete(self, draft: Draft) -> None:
        """Give a `message_delta` the figure that clients read without asking."""
        usage = draft.value.get("usage")
        if isinstance(usage, dict) and is_count(usage.get("output_tokens")):
            return
        if not self._found(OUTPUT_TOKENS):
            return
        draft.edit()
        if not isinstance(usage, dict):
            usage = draft.value["usage"] = {}
        usage |= self.least()

    def least(self) -> dict[str, int]:
        """The usage of a `message_delta` that is made up."""
        known = self.known.get("output_tokens")
        return {"output_tokens": known if type(known) is int and known > 0 else 0}

    def last(self, draft: Draft) -> None:
        """Give the last `message_delta` the figures that had no place."""
        usage = draft.value.get("usage")
        for name, figure in self.late.items():
            if isinstance(usage, dict) and figure and not usage.get(name):
                draft.edit()
                usage[name] = figure
        if self._unknown and isinstance(usage, dict) and usage.get("input_tokens"):
            self._found.note(INPUT_TOKENS_LATE)
        self.complete(draft)

    def elsewhere(self, usage: Any) -> None:
        """Take a usage whose event does not leave."""
        if not isinstance(usage, dict):
            return
        usage = {**usage}
        for name, old in _NAMES:
            if not usage.get(name) and is_count(usage.get(old)):
                usage[name] = usage[old]
        fresh = {key: item for key, item in usage.items() if item and self.known.get(key) != item}
        if fresh:
            self._found(USAGE_ELSEWHERE)
        self.late |= fresh
        self.known |= fresh

    def learn(self, usage: dict[str, Any]) -> None:
        """Remember the figures of a usage that leaves."""
        for name, figure in usage.items():
            if figure or name not in self.known:
                self.known[name] = figure

    def merge(self, into: Draft, usage: Any) -> None:
        """Give a held `message_delta` the figures of a further one."""
        if not isinstance(usage, dict):
            return
        value = into.edit()
        held = value.get("usage")
        if not isinstance(held, dict):
            held = value["usage"] = {}
        for name, figure in usage.items():
            if figure or name not in held:
                held[name] = figure

    def names(self, draft: Draft, usage: dict[str, Any]) -> None:
        """Numbers for digits, and the API's names beside OpenAI's."""
        for name, figure in usage.items():
            if isinstance(figure, str) and name.endswith("_tokens") and _digits(figure):
                if self._found(START_USAGE):
                    draft.edit()
                    usage[name] = int(figure)
        for name, old in _NAMES:
            if old in usage and not is_count(usage.get(name)) and is_count(usage[old]):
                if self._found(OPENAI_NAMES):
                    draft.edit()
                    usage[name] = usage[old]


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16
