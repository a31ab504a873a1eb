"""One finish for each choice, at its end, in the API's words.

The finish word of a choice is read here, once, before any other stage sees the choice; the others
ask for `Part.word`. Of several finishes of a choice the weightiest counts: content_filter, length,
tool_calls and function_call, stop. There is one exception: text between a finish of calls and a
later `stop` means that the server ran the calls itself. Then the later one counts.
"""

from __future__ import annotations

from collections.abc import Collection

from normalizer.core.findings import Deviation, Findings
from normalizer.core.request import RequestInfo
from normalizer.wires.chat import words
from normalizer.wires.chat.chunk import Chunk, Part
from normalizer.wires.chat.words import WEIGHTS

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
TEXT_AFTER_RELEASE = Deviation(
    code="S511",
    name="text-after-release",
    fault="Text of a choice arrives after a silence and its finish was already sent.",
    repair="The text is delivered and the report names it.",
    reported=True,
)
FINISH_ELSEWHERE = Deviation(
    code="S512",
    name="finish-elsewhere",
    fault="A finish is at the top of the chunk, in the delta, or in `finishReason`.",
    repair="The finish moves to `finish_reason` of the choice.",
)

_CALLS = ("tool_calls", "function_call")
_ELSEWHERE = frozenset({"finish_reason", "finishReason"})


class Finish:
    """Reads the finish of each choice, and decides with which word the choice ends.

    * ``failure``: the upstream's word of failure, if it finished with one.
    * ``left``: the words that were sent, by choice.
    """

    __slots__ = ("_executed", "_forced", "_found", "_spoke", "_tools", "failure", "held", "left")

    def __init__(self, found: Findings, request: RequestInfo) -> None:
        self._found = found
        self._forced = request.forced
        self._tools = request.tool_names if request.knows_tools else None
        self.failure: str | None = None
        self.held: dict[int, str] = {}  # words that wait for the end
        self.left: dict[int, str] = {}
        self._spoke: dict[int, None] = {}  # choices with text after a finish of calls
        self._executed: dict[int, None] = {}  # choices whose calls the server ran itself

    def read(self, part: Part) -> None:
        """Read the word of a choice; from now on the choice has it in the API's words."""
        choice, chunk = part.choice, part.draft.value
        reason = choice.get("finish_reason")
        if reason is not None and (word := words.plain(reason)) is not None:
            part.word = word
            return
        if reason is None and not self._is_elsewhere(part):
            # decoders that require the member fail without it (xAI and z.ai leave it out)
            if "finish_reason" not in choice and self._found(FINISH_KEY_MISSING):
                part.edit()["finish_reason"] = None
            return
        place = words.where(choice, chunk)
        if place is None:
            self._clear(part)
            return
        reason = place.holder[place.key]
        if place.holder is not choice or place.key != "finish_reason":
            self._move(part, place)
        self._take(part, reason)

    def _clear(self, part: Part) -> None:
        """Put null where what stands there is no word."""
        choice = part.choice
        empty = FINISH_KEY_MISSING if choice.get("finish_reason") is None else FINISH_EMPTY
        # a program that tests for `!= null` would end at the first chunk of SGLang 0.4.3
        if choice.get("finish_reason", "") is not None and self._found(empty):
            part.edit()["finish_reason"] = None

    def _move(self, part: Part, place: words.Place) -> None:
        """Move a word to `finish_reason` of the choice."""
        if not self._found(FINISH_ELSEWHERE):
            return
        part.edit()["finish_reason"] = place.holder[place.key]
        # a whole message keeps its members until the stage of the content reads it
        if place.holder is not part.choice.get("message"):
            del place.holder[place.key]

    def _is_elsewhere(self, part: Part) -> bool:
        choice, chunk = part.choice, part.draft.value
        if _ELSEWHERE.isdisjoint(chunk) and "finishReason" not in choice:
            delta = choice.get("delta")
            return isinstance(delta, dict) and not _ELSEWHERE.isdisjoint(delta)
        return True

    def _take(self, part: Part, reason: object) -> None:
        word = words.read(reason)
        part.word = word
        if word is None:
            return
        if word.failed:
            # Portkey's gateway mapped these to `stop`: a failed answer looked complete
            self.failure = self.failure or word.reason
            part.word = words.Word("stop", failed=True)
        elif word.native is not None and self._found(FINISH_WORD):
            choice = part.edit()
            choice["finish_reason"] = word.reason
            if not choice.get("native_finish_reason"):
                choice["native_finish_reason"] = reason

    def spoke(self, index: int, *, text: bool) -> bool:
        """Note that a choice has more content, ``text`` or something else.

        Return whether a held finish, if any, stays held.
        """
        word = self.held.get(index)
        if word is None:
            if index in self.left:
                self._found(TEXT_AFTER_RELEASE)
            return True
        if not self._found(TEXT_AFTER_FINISH):
            return False
        if text and word in _CALLS:
            self._spoke[index] = None
        return True

    def hold(self, index: int, word: str) -> bool:
        """A finish of a choice comes: return whether it is to stand for the one held before."""
        old = self.held.get(index)
        if old is None:
            self.held[index] = word
            return True
        if self._found(FINISH_TWICE):
            # text after the calls: the server has run them, and this is the end of its answer
            if index in self._spoke and word == "stop":
                self._executed[index] = None
            elif WEIGHTS.get(word, 0) <= WEIGHTS.get(old, 0):
                return False
            else:
                self._executed.pop(index, None)
        self.held[index] = word
        return True

    def outweighs_left(self, index: int, word: str) -> bool:
        """Return whether a late finish weighs more than the one that was sent."""
        return WEIGHTS.get(word, 0) > WEIGHTS.get(self.left[index], 0)

    def final(self, index: int, called: str | None, names: Collection[str]) -> str:
        """The word that a choice ends with.

        ``called`` is the kind of call that it streamed, if any, ``names`` those of the calls that
        the client is to run.
        """
        word = self.held[index]
        if index in self._executed:
            return word
        misfit = self._misfit(word, called, names)
        if misfit is None or not self._found(misfit):
            return word
        return called or "stop"

    def _misfit(self, word: str, called: str | None, names: Collection[str]) -> Deviation | None:
        """What is wrong with a word for the calls that were streamed; None if it fits."""
        if word in _CALLS:
            # an agent that gets `tool_calls` and no call asks again, for ever
            if not called:
                return CALLS_WITHOUT_CALL
            return None if called == word else CALLS_OF_OTHER_KIND
        # the API itself finishes with `stop` after a call that the request forced
        if word != "stop" or not called or self._forced or not self._offered(names):
            return None
        return STOP_AFTER_CALLS

    def _offered(self, names: Collection[str]) -> bool:
        """Whether the request offered one of the tools with these names, as far as is known."""
        return not self._tools.isdisjoint(names) if self._tools is not None else bool(names)


def merged(winner: Chunk, loser: Chunk) -> tuple[bool, Chunk | None]:
    """Give the finish that stays what only the other one has.

    Return whether ``winner`` changed, and what the two disagree about as a chunk to be sent.
    """
    own = dict(loser["choices"][0])
    for key in ("index", "delta", "text", "finish_reason"):
        own.pop(key, None)
    if winner["choices"][0].get("native_finish_reason") is not None:
        own.pop("native_finish_reason", None)
    top = {k: v for k, v in loser.items() if k not in _ENVELOPE}
    differs, one = _given(winner, top)
    own_differs, two = _given(winner["choices"][0], own)
    if not differs and not own_differs:
        return one or two, None
    choice = winner["choices"][0]
    nothing: Chunk = {"delta": {}} if "delta" in choice else {"text": ""}
    other = {"index": choice["index"], **nothing, **own_differs, "finish_reason": None}
    return one or two, {**differs, "choices": [other]}


_ENVELOPE = frozenset({"id", "object", "created", "model", "choices", "usage"})


def _given(holder: Chunk, members: Chunk) -> tuple[Chunk, bool]:
    """Put members into a holder that lacks them; those that it has otherwise, and if it changed."""
    changed, differs = False, {}
    for key, value in members.items():
        if value is None:
            continue
        if holder.get(key) is None:
            holder[key] = value
            changed = True
        elif holder[key] != value:
            differs[key] = value
    return differs, changed
