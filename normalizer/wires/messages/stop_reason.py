"""The stop reason: one word of the API, on one `message_delta`, directly before `message_stop`.

The `message_delta` that brings a word is held until the message stops, because upstreams send
several, or send more blocks behind one. What decides the word that leaves, in this order:

1. A word that means failure is no stop reason: the message ends in an error.
2. Of several words the weightiest stands; `WEIGHTS` says which.
3. Words of other dialects become the API's (`WORDS`). A word that is in neither table passes: the
   API adds some every year, and clients cope with what they do not know.
4. `end_turn` beside a call that the client is to run is `tool_use`; `tool_use` whose only call has
   no name is `end_turn`. Every other word stands, whatever was called: a call that was cut by
   `max_tokens` must not be run.

The word that came stays in ``native_stop_reason`` wherever another one leaves.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings

STOP_WORD = Deviation(
    code="M501",
    name="stop-word",
    fault="The stop reason is a word of another API (`stop`, `tool_calls`, `length`).",
    repair="It becomes the API's word, and the original stays in `native_stop_reason`.",
)
END_TURN_WITH_CALL = Deviation(
    code="M502",
    name="end-turn-with-call",
    fault="The stop reason is `end_turn`, but the message calls a tool of the request.",
    repair="The stop reason becomes `tool_use`.",
)
TOOL_USE_WITHOUT_CALL = Deviation(
    code="M503",
    name="tool-use-without-call",
    fault="The stop reason is `tool_use`, but the message calls no tool.",
    repair="None, because clients ask again when they see it.",
    reported=True,
)
STOP_REASON_MISSING = Deviation(
    code="M504",
    name="stop-reason-missing",
    fault="The message stops without a stop reason.",
    repair="It gets `tool_use` after a call of one of the request's tools, else `end_turn`.",
    structural=True,
)
STOP_REASON_REPEATED = Deviation(
    code="M505",
    name="stop-reason-repeated",
    fault="Several `message_delta` come at the end.",
    repair="They leave as one, with the weightiest stop reason and the last figures.",
    structural=True,
)
FAILURE_WORD = Deviation(
    code="M506",
    name="failure-as-stop-reason",
    fault="The stop reason is a word for a failure (`error`, `abort`).",
    repair="The message ends in an error.",
)
MESSAGE_DELTA_FORM = Deviation(
    code="M507",
    name="message-delta-form",
    fault="A `message_delta` lacks `delta`, `stop_reason` or `stop_sequence`.",
    repair="The missing members are null.",
)

WORDS = {
    **dict.fromkeys(
        (
            *("stop", "STOP", "Stop", "eos", "eos_token", "stop_token"),
            *("end", "completed", "COMPLETE"),
        ),
        "end_turn",
    ),
    **dict.fromkeys(("length", "MAX_TOKENS", "max_output_tokens", "incomplete"), "max_tokens"),
    **dict.fromkeys(
        ("tool_calls", "tool_call", "TOOL_CALL", "function_call", "toolUse"), "tool_use"
    ),
    **dict.fromkeys(
        ("content_filter", "content_filtered", "SAFETY", "sensitive", "RECITATION"), "refusal"
    ),
}
FAILURES = frozenset(
    (
        *("error", "abort", "cancelled", "network_error", "insufficient_system_resource"),
        *("MALFORMED_FUNCTION_CALL", "ERROR", "TIMEOUT"),
    )
)
# a word in neither table weighs more than the two last
UNKNOWN_WEIGHT = 2
WEIGHTS = {
    "refusal": 6,
    "max_tokens": 5,
    "model_context_window_exceeded": 5,
    "tool_use": 4,
    "pause_turn": 3,
    "stop_sequence": 1,
    "end_turn": 0,
}


class StopReason:
    """Reads stop reasons and holds the `message_delta` that brings one.

    * ``held``: that event; ``word``: its stop reason in the API's words, which ``came`` as another.
    * ``failure``: a word that means failure.
    * ``early``: the word of a `message_start`, used where no other comes.
    """

    __slots__ = ("_found", "came", "early", "failure", "held", "word")

    def __init__(self, found: Findings) -> None:
        self._found = found
        self.held: Draft | None = None
        self.word = ""
        self.came = ""
        self.failure = ""
        self.early = ""

    @property
    def waits(self) -> bool:
        """Whether the message stops as soon as nothing more comes."""
        return self.held is not None or bool(self.failure)

    def form(self, draft: Draft) -> dict[str, Any]:
        """The ``delta`` of a `message_delta`, which has its members then."""
        value = draft.value
        delta = value.get("delta")
        if not isinstance(delta, dict):
            delta = {}
            if self._found(MESSAGE_DELTA_FORM):
                draft.edit()["delta"] = delta
        for name in ("stop_reason", "stop_sequence"):
            member = delta.get(name, "")
            if member is None or (isinstance(member, str) and member):
                continue
            if self._found(MESSAGE_DELTA_FORM):
                draft.edit()
                delta[name] = None
        return delta

    def read(self, word: str) -> str:
        """The API's word for a stop reason; "" for one that means failure."""
        if word in FAILURES and self._found(FAILURE_WORD):
            self.failure = self.failure or word
            return ""
        known = WORDS.get(word)
        if known is None or not self._found(STOP_WORD):
            return word
        self.came = word
        return known

    def hold(self, draft: Draft, delta: dict[str, Any]) -> None:
        """Hold a `message_delta`, or merge it with the one that is held."""
        reason = delta.get("stop_reason")
        word = self.read(reason) if isinstance(reason, str) and reason else ""
        if self.held is None:
            self.held, self.word = draft, word
            return
        self._found(STOP_REASON_REPEATED)
        held = self.held.edit()
        mine = held.get("delta")
        if not isinstance(mine, dict):
            mine = held["delta"] = {}
        outweighs = bool(word) and (not self.word or _weight(word) > _weight(self.word))
        for name, item in delta.items():
            if name == "stop_sequence" and item is not None and not outweighs:
                mine.setdefault(name, item)
            elif name != "stop_reason" and (item is not None or name not in mine):
                mine[name] = item
        for name, item in draft.value.items():
            if name not in ("type", "delta", "usage") and (item is not None or name not in held):
                held[name] = item
        if outweighs:
            self.word = word
            mine["stop_reason"] = reason

    def use_early(self) -> None:
        """Use the word of the `message_start` where no other came."""
        if not self.word and not self.failure and self.early:
            self.word = self.read(self.early)

    def final(self, *, called: bool, calls: bool, nameless: bool) -> Draft:
        """The `message_delta` that leaves, with the word that leaves.

        ``called``: the message calls a tool of the request; ``calls``: it has any `tool_use`;
        ``nameless``: it has a call without a name.
        """
        word = self.word = self._final_word(called=called, calls=calls, nameless=nameless)
        draft = self.held or Draft(
            {"type": "message_delta", "delta": {"stop_reason": word, "stop_sequence": None}}
        )
        delta = draft.value.get("delta")
        if not isinstance(delta, dict):
            delta = draft.edit()["delta"] = {}
        if delta.get("stop_reason") != word:
            draft.edit()
            delta["stop_reason"] = word
        if self.came and "native_stop_reason" not in delta:
            draft.edit()
            delta["native_stop_reason"] = self.came
        return draft

    def _final_word(self, *, called: bool, calls: bool, nameless: bool) -> str:
        word = self.word
        if not word:
            self._found(STOP_REASON_MISSING)
            return "tool_use" if called else "end_turn"
        if word == "end_turn" and called and self._found(END_TURN_WITH_CALL):
            self.came = self.came or word
            return "tool_use"
        if word == "tool_use" and not called and nameless:
            self.came = self.came or word
            return "end_turn"
        if word == "tool_use" and not calls:
            self._found.note(TOOL_USE_WITHOUT_CALL)
        return word


def _weight(word: str) -> int:
    return WEIGHTS.get(word, UNKNOWN_WEIGHT)
