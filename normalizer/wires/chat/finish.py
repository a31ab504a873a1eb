"""One finish for each choice, at its end, on a chunk of its own, in the API's words."""

from __future__ import annotations

from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.core.lenient import dumps
from normalizer.wires.chat.chunk import TEXT_KEYS, Choice, Chunk

FINISH_EMPTY = Deviation(
    code="S501",
    name="finish-empty",
    fault='`finish_reason` is `""` or `"null"`.',
    repair="It becomes null.",
)
FINISH_KEY_MISSING = Deviation(
    code="S502",
    name="finish-key-missing",
    fault="A choice has no `finish_reason` key.",
    repair='The choice gets `"finish_reason": null`.',
)
FINISH_WORD = Deviation(
    code="S503",
    name="finish-word",
    fault="`finish_reason` is a word that the API does not have.",
    repair="The API's word replaces it and the original moves to `native_finish_reason`.",
)
FINISH_WITH_CONTENT = Deviation(
    code="S504",
    name="finish-with-content",
    fault="A finish arrives together with content.",
    repair="The finish follows in a chunk of its own.",
)
STOP_AFTER_CALLS = Deviation(
    code="S505",
    name="stop-after-calls",
    fault="The finish of a choice with calls is `stop`.",
    repair="It becomes `tool_calls` or `function_call`, unless the request forced the call.",
)
CALLS_WITHOUT_CALL = Deviation(
    code="S506",
    name="calls-without-call",
    fault="The finish of a choice without calls is `tool_calls`.",
    repair="It becomes `stop`.",
)
CALLS_OF_OTHER_KIND = Deviation(
    code="S507",
    name="calls-of-other-kind",
    fault="The finish names `function_call` for tool calls, or the reverse.",
    repair="The finish names the kind of call that was streamed.",
)
FINISH_TWICE = Deviation(
    code="S508",
    name="finish-twice",
    fault="A choice finishes more than once.",
    repair="Only the most important finish is sent.",
)
TEXT_AFTER_FINISH = Deviation(
    code="S509",
    name="text-after-finish",
    fault="Text of a choice arrives after its finish.",
    repair="The text is delivered before the finish.",
)
FINISH_MISSING = Deviation(
    code="S510",
    name="finish-missing",
    fault="`[DONE]` arrives, but a choice has no finish.",
    repair="The choice gets `stop`, or `tool_calls` after calls.",
)
TEXT_AFTER_RELEASE = Deviation(
    code="S511",
    name="text-after-release",
    fault="Text of a choice arrives after a silence and its finish was already sent.",
    repair="The text is delivered and the report names it.",
    reported=True,
)

WEIGHTS = {"content_filter": 3, "length": 2, "tool_calls": 1, "function_call": 1, "stop": 0}
_CALLS = ("tool_calls", "function_call")

SYNONYMS = {
    **dict.fromkeys(
        ("eos", "eos_token", "stop_sequence", "stop_token", "end", "end_turn", "complete"), "stop"
    ),
    **dict.fromkeys(
        # model_length: Mistral; model_context_window_exceeded: GLM
        ("max_tokens", "max_output_reached", "model_length", "model_context_window_exceeded"),
        "length",
    ),
    **dict.fromkeys(("tool_use", "tool_call"), "tool_calls"),
    **dict.fromkeys(
        # the last four: Gemini
        (
            *("safety", "sensitive", "recitation", "content_filtered"),
            *("blocklist", "prohibited_content", "spii", "image_safety"),
        ),
        "content_filter",
    ),
}
FAILURES = frozenset(
    {
        "error",
        "abort",
        "cancelled",
        "network_error",
        "insufficient_system_resource",
        "malformed_function_call",
        "timeout",
        "error_toxic",
    }
)


class Held:
    """A finish that waits for the end: its chunk, the bytes that chunk came as, its word."""

    __slots__ = ("chunk", "raw", "size", "spoke_after_calls", "word")

    def __init__(self, chunk: Chunk, raw: bytes | None, word: str) -> None:
        self.chunk = chunk
        self.raw = raw  # None once the chunk is not what came
        self.word = word
        self.size = 0  # bytes, by estimate
        self.spoke_after_calls = False

    @property
    def choice(self) -> Choice:
        choice: Choice = self.chunk["choices"][0]
        return choice


class Finish:
    """Reads finish_reasons and holds one finish for each choice."""

    __slots__ = ("_found", "executed", "failure", "forced", "held", "left")

    def __init__(self, found: Findings, *, forced: bool) -> None:
        self._found = found
        self.forced = forced
        self.held: dict[int, Held] = {}
        self.left: dict[int, str] = {}  # the words that have left
        self.failure: str | None = None  # the upstream's word for it
        self.executed: set[int] = set()  # choices whose calls the server ran itself

    def read(self, choice: Choice) -> str | None:
        """The choice's finish in the API's words, which the choice holds from now on."""
        reason = choice.get("finish_reason")
        if reason is None:
            if "finish_reason" not in choice and self._found(FINISH_KEY_MISSING):
                choice["finish_reason"] = None
            return None
        if isinstance(reason, str) and reason in WEIGHTS:
            return reason
        if reason in ("", "null", [], False):
            if self._found(FINISH_EMPTY):
                choice["finish_reason"] = None
            return None
        words = reason if isinstance(reason, list) else [reason]
        word = next((word for word in words if isinstance(word, str) and word), None)
        if word is None:
            word = dumps(reason).decode()
        if word.lower() in FAILURES or word.lower().startswith("error:"):
            self.failure = self.failure or word
            return "stop"
        if not self._found(FINISH_WORD):
            return word
        if not choice.get("native_finish_reason"):
            choice["native_finish_reason"] = reason
        lowered = word.lower()
        known = lowered if lowered in WEIGHTS else SYNONYMS.get(lowered, "stop")
        choice["finish_reason"] = known
        return known

    def spoke(self, index: int, *, text: bool) -> bool:
        """The choice says something, ``text`` or something else; it may be finished already.

        Whether the finish that is held, if one is, stays so.
        """
        held = self.held.get(index)
        if held is None:
            if index in self.left:
                self._found.note(TEXT_AFTER_RELEASE)
        elif not self._found.note(TEXT_AFTER_FINISH):
            return False
        elif text:
            held.spoke_after_calls = held.spoke_after_calls or held.word in _CALLS
        return True

    def hold(self, index: int, chunk: Chunk, raw: bytes | None, word: str) -> Chunk | None:
        """Hold a finish. What two finishes of a choice disagree about is a chunk to be sent."""
        new = Held(chunk, raw, word)
        old = self.held.get(index)
        if old is None:
            self.held[index] = new
            return None
        if not self._found.note(FINISH_TWICE):
            self.held[index] = new
            return dict(old.chunk)
        if old.spoke_after_calls and word == "stop":
            self.executed.add(index)
            winner, loser = new, old
        elif WEIGHTS.get(word, 0) > WEIGHTS.get(old.word, 0):
            winner, loser = new, old
            self.executed.discard(index)
        else:
            winner, loser = old, new
            if new.choice.get("text") or new.choice.get("delta"):
                # what the new one says has not left yet: it stays, with the weightier word
                new.choice["finish_reason"] = new.word = old.word
                new.raw = None if word != old.word else new.raw
                winner, loser = new, old
        self.held[index] = winner
        return _merge(winner, loser)

    def settle(self, index: int, *, called: str | None) -> str:
        """The word that the held finish leaves with; ``called`` is the kind of call streamed."""
        held = self.held[index]
        word = held.word
        if index in self.executed:
            return word
        if word == "stop" and called and not self.forced:
            settled = called if self._found(STOP_AFTER_CALLS) else word
        elif word in _CALLS and not called:
            settled = "stop" if self._found(CALLS_WITHOUT_CALL) else word
        elif word in _CALLS and called != word:
            settled = called or word if self._found(CALLS_OF_OTHER_KIND) else word
        else:
            return word
        if settled != word:
            held.choice["finish_reason"] = settled
            held.raw = None
        return settled


def split(choice: Choice) -> tuple[Choice, Choice]:
    """A choice with content and finish as two: what belongs to the text, and the finish."""
    chat = "delta" in choice or "text" not in choice
    text: Choice = {"index": choice["index"]}
    finish: Choice = {"index": choice["index"]}
    said = ("delta", "text") if chat else ("text",)
    for key, value in choice.items():
        if key in said or key in TEXT_KEYS:
            text[key] = value
            if key == "logprobs":
                finish[key] = None
        elif key != "index":
            finish[key] = value
    if chat:
        finish["delta"] = {}
    else:
        finish["text"] = ""
    text["finish_reason"] = None
    return text, finish


def _merge(winner: Held, loser: Held) -> Chunk | None:
    """Give the finish that stays what only the other had; what they disagree about is returned."""
    differs: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in loser.chunk.items():
        if key in ("id", "object", "created", "model", "choices", "usage") or value is None:
            continue
        if winner.chunk.get(key) is None:
            winner.chunk[key] = value
            winner.raw = None
        elif winner.chunk[key] != value:
            differs[key] = value
    for key, value in loser.choice.items():
        if key in ("index", "delta", "text", "finish_reason") or value is None:
            continue
        if winner.choice.get(key) is None:
            winner.choice[key] = value
            winner.raw = None
        elif winner.choice[key] != value:
            own[key] = value
    own.pop("native_finish_reason", None)
    if not differs and not own:
        return None
    index = winner.choice["index"]
    nothing: Choice = {"delta": {}}
    if "delta" not in winner.choice:
        nothing = {"text": ""}
    return {**differs, "choices": [{"index": index, **nothing, **own, "finish_reason": None}]}
