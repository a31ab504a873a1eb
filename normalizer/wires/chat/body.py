"""A whole JSON answer, repaired in place.

A plain answer is read by programs member by member, so nothing in it moves that does not have to:
what is wrong is put right where it stands, every other member stays in its order, null, `[]` or
not, and an answer without a fault stays byte for byte.

In this order, for each choice: its message, the text, the reasoning, the calls, the finish. The
finish word is read first, because arguments that were cut stay cut.

An answer is an error instead if the upstream says so in a choice, or ends one with a word of
failure. The text of the answer is sent with the error, in the error's `choices`.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.errors import ERROR_SHAPE, FAILURE_WORD, read_error
from normalizer.core.findings import Deviation, Findings
from normalizer.core.lenient import clean, dumps
from normalizer.core.options import Options
from normalizer.core.report import Report
from normalizer.core.request import RequestInfo
from normalizer.wires.chat import choices as choices_stage
from normalizer.wires.chat import chunks as chunks_stage
from normalizer.wires.chat import content as content_stage
from normalizer.wires.chat import envelope as envelope_stage
from normalizer.wires.chat import finish as finish_stage
from normalizer.wires.chat import holdback as holdback_stage
from normalizer.wires.chat import usage as usage_stage
from normalizer.wires.chat import words
from normalizer.wires.chat.chunk import (
    CHOICE_KEYS,
    TOP_KEYS,
    Choice,
    as_list,
    count,
    count_text,
    endpoint_of,
)
from normalizer.wires.chat.kinds import WHOLE, choices_in, own_numbers
from normalizer.wires.chat.markup import Markup
from normalizer.wires.chat.markup import wanted as markup_wanted
from normalizer.wires.chat.whole_calls import WholeCalls
from normalizer.wires.chat.whole_message import (
    message_of,
    read_markup,
    repair_reasoning,
    repair_text,
)

_CALLS = ("tool_calls", "function_call")
_CUT = ("length", "content_filter")
_DIGITS = 9  # that an index given as text may have; more is no index, and may be no int


class Body:
    """Repairs one whole answer of the chat wire.

    Example::

        body = Body(RequestInfo(endpoint="chat"), Options(), found)
        draft = Draft(orjson.loads(raw), raw)
        error = body.repair(draft)
        draft.json()  # the answer; the same bytes if nothing was wrong
    """

    __slots__ = ("_draft", "_endpoint", "_found", "_markup", "_options", "_request")

    def __init__(self, request: RequestInfo, options: Options, found: Findings) -> None:
        self._request = request
        self._options = options
        self._found = found
        self._endpoint = endpoint_of(request)
        self._markup: Markup | None = None
        self._draft = Draft({})

    def repair(self, draft: Draft, *, markup: bool = True) -> dict[str, Any] | None:
        """Repair an answer that `has_choices`, in place.

        Return the error that it is instead, an event with the answer's members beside the error;
        None if it is none. ``markup``: read the markup in the text, where the options ask for it.
        Never raises on what the answer holds.
        """
        self._draft = draft
        chat = self._endpoint == "chat"
        if markup and chat and markup_wanted(self._options):
            self._markup = Markup(self._found, self._options, self._request)
        lenient = draft.raw is None
        if not self._list_choices(draft.value):
            return None
        error = self._error(draft.value)
        blocks = [self._text(choice) for choice in draft.value["choices"]]
        if lenient:
            # not before the blocks of a text are joined: a pair of surrogates may stand in two
            draft.value, error = clean(draft.value), clean(error)
        self._number(draft.value["choices"])
        for choice, thought in zip(draft.value["choices"], blocks, strict=True):
            self._choice(choice, thought, failed=error is not None)
        self._envelope(draft.value)
        self._usage(draft.value)
        self._drop_extras(draft)
        return None if error is None else {**error, **_beside_error(draft.value)}

    def _choice(self, choice: Choice, thought: str, *, failed: bool) -> None:
        """Repair the message and the finish of a choice.

        ``failed``: the answer is an error. Then its calls may be incomplete, and it has no finish.
        """
        word = self._word(self._draft.value, choice)
        cut = failed or (word is not None and word.reason in _CUT)
        calls = None
        if self._endpoint == "chat":
            calls = self._message(choice, thought, cut=cut)
        if not failed:
            self._finish(choice, word, calls)

    def tell(self, report: Report, value: dict[str, Any]) -> None:
        """Enter a repaired answer into the report."""
        report.events_out += 1
        ident, model = value.get("id"), value.get("model")
        report.id = ident if isinstance(ident, str) else None
        report.model = model if isinstance(model, str) else None
        for choice in as_list(value.get("choices")):
            if self._endpoint == "completions":
                count_text(report.characters_out, choice.get("text"))
            elif isinstance(choice.get("message"), dict):
                count(report.characters_out, choice["message"])
            if isinstance(choice.get("finish_reason"), str) and _is_index(choice.get("index")):
                report.finish[choice["index"]] = choice["finish_reason"]
        report.characters_in.update(report.characters_out)
        report.usage = value["usage"] if isinstance(value.get("usage"), dict) else None

    def _mend(self, deviation: Deviation) -> bool:
        """Note a deviation. True: it is to be repaired, and the answer's bytes are void."""
        if not self._found(deviation):
            return False
        self._draft.edit()
        return True

    # ------------------------------------------------------------------ an error

    def _error(self, value: dict[str, Any]) -> dict[str, Any] | None:
        """Return the error event that an answer is, None if it is no error."""
        choices: list[Choice] = value["choices"]
        # the upstream's own words tell more than its finish does
        for error in (_error_in(choice) for choice in choices):
            if error is not None and (read := read_error({"error": error})):
                self._found(ERROR_SHAPE)
                return {"error": read["error"]}
        word = self._word_of_failure(value, choices)
        if word is None or not self._found(FAILURE_WORD):
            return None
        message = f"The upstream finished with {word!r}."
        own = {"message": message, "type": "upstream_error", "param": None, "code": word}
        return {"error": own}

    def _word_of_failure(self, value: dict[str, Any], choices: list[Choice]) -> str | None:
        given = (self._word(value, choice) for choice in choices)
        return next((word.reason for word in given if word is not None and word.failed), None)

    def _word(self, value: dict[str, Any], choice: Choice) -> words.Word | None:
        place = words.where(choice, value)
        return None if place is None else words.read(place.holder[place.key])

    # ------------------------------------------------------------------ the choices

    def _list_choices(self, value: dict[str, Any]) -> bool:
        """Make a list of objects of the choices; without it nothing in them can be repaired."""
        given = value.get("choices")
        if isinstance(given, list) and all(isinstance(choice, dict) for choice in given):
            return True
        if not self._mend(choices_stage.CHOICES_MISSING):
            return False
        value["choices"] = choices_in(given)
        return True

    def _number(self, choices: list[Choice]) -> None:
        """Give each choice without an index its own."""
        wanted = [_index(choice.get("index")) for choice in choices]
        for number, choice in zip(own_numbers(wanted), choices, strict=True):
            # two choices that were given one index keep it
            if not _is_index(choice.get("index")) and self._mend(choices_stage.INDEX_MISSING):
                choice["index"] = number

    def _text(self, choice: Choice) -> str:
        """Give a choice its text; return the reasoning that was among the blocks of it."""
        if self._endpoint == "completions":
            self._legacy_text(choice)
            return ""
        return repair_text(message_of(choice, self._mend), self._mend)

    def _message(self, choice: Choice, thought: str, *, cut: bool) -> WholeCalls:
        """Repair the reasoning and the calls of a choice; ``cut``: they may be incomplete."""
        message = choice["message"] if isinstance(choice.get("message"), dict) else {}
        policy = self._options.reasoning
        repair_reasoning(message, policy, thought, self._mend)
        if self._markup is not None:
            index = choice["index"] if _is_index(choice.get("index")) else 0
            read_markup(index, message, policy, self._markup, self._draft)
        calls = WholeCalls(self._mend, self._request)
        calls.repair(choice, message, cut=cut)
        return calls

    def _legacy_text(self, choice: Choice) -> None:
        text = choice.get("text")
        if text is None:
            text = self._text_of_message(choice)
        if not isinstance(text, str) and self._mend(content_stage.CONTENT_NOT_TEXT):
            choice["text"] = "" if text is None else dumps(text).decode()

    def _text_of_message(self, choice: Choice) -> Any:
        """Move the text of a chat's choice to `text`; return it, None if there is none."""
        text = None
        given = (choice.get("message"), choice.get("delta"))
        for holder in [one for one in given if isinstance(one, dict)]:
            if text is None and self._mend(chunks_stage.OTHER_ENDPOINT):
                repair_text(holder, self._mend)
                text = choice["text"] = holder.get("content") or holder.get("text") or ""
        return text

    def _finish(self, choice: Choice, word: words.Word | None, calls: WholeCalls | None) -> None:
        """Give a choice its finish, in the API's words."""
        if word is None:
            self._add_finish(choice, calls)
            return
        if word.failed:
            return
        if words.read(choice.get("finish_reason")) is None:
            if not self._mend(finish_stage.FINISH_ELSEWHERE):
                return
            choice["finish_reason"] = word.reason
        if word.native is not None and self._mend(finish_stage.FINISH_WORD):
            choice["finish_reason"] = word.reason
            if not choice.get("native_finish_reason"):
                choice["native_finish_reason"] = word.native
        deviation, right = self._finish_after(word.reason, calls)
        if deviation is not None and self._mend(deviation):
            choice["finish_reason"] = right

    def _add_finish(self, choice: Choice, calls: WholeCalls | None) -> None:
        """Give a choice without a finish the one that fits its calls."""
        given = choice.get("finish_reason")
        if not self._mend(holdback_stage.FINISH_MISSING):
            return
        choice["finish_reason"] = (calls.kind if calls else None) or "stop"
        # a word that nobody knows is not lost
        if given and given != "null":
            choice.setdefault("native_finish_reason", given)

    def _finish_after(self, reason: str, calls: WholeCalls | None) -> tuple[Deviation | None, str]:
        """Return the reason that fits the calls, and the deviation that another one is."""
        if calls is None or reason in _CUT:
            return None, reason
        kind = calls.kind
        if reason not in _CALLS:
            to_be_run = kind is not None and not self._request.forced and self._runs(calls.names)
            return (finish_stage.STOP_AFTER_CALLS, kind) if kind and to_be_run else (None, reason)
        if kind is None:
            return finish_stage.CALLS_WITHOUT_CALL, "stop"
        return (None if kind == reason else finish_stage.CALLS_OF_OTHER_KIND), kind

    def _runs(self, names: set[str]) -> bool:
        """Return whether the client runs one of these tools: it offered it, as far as is known."""
        request = self._request
        return bool(names) and not (request.knows_tools and request.tool_names.isdisjoint(names))

    # ------------------------------------------------------------------ the answer's own members

    def _envelope(self, value: dict[str, Any]) -> None:
        """Give the answer its id, object, time and model."""
        envelope = envelope_stage.Envelope(self._found, self._endpoint, self._request.model)
        envelope.learn(value)
        created = (
            envelope_stage.CREATED_FORM if envelope.created else envelope_stage.CREATED_MISSING
        )
        right = {**envelope.chunk([]).value, "object": WHOLE[self._endpoint]}
        deviations = {
            "id": envelope_stage.ID_MISSING,
            "object": envelope_stage.OBJECT_WRONG,
            "created": created,
            "model": envelope_stage.MODEL_MISSING,
        }
        missing = {}
        for key, deviation in deviations.items():
            given = value.get(key)
            if type(given) is type(right[key]) and given == right[key]:
                continue
            if not self._mend(deviation):
                continue
            if key in value:
                value[key] = right[key]
            else:
                missing[key] = right[key]
        # at the front, where the API has them; what is there stays in its place
        if missing:
            members = {**missing, **value}
            value.clear()
            value.update(members)

    def _usage(self, value: dict[str, Any]) -> None:
        """Put a usage at the top level, and fill in what follows from its other members."""
        usage = value.get("usage")
        if isinstance(usage, list) and len(usage) == 1 and self._mend(usage_stage.USAGE_FORM):
            usage = value["usage"] = usage[0]
        if not usage:
            usage = self._usage_elsewhere(value)
        if not isinstance(usage, dict):
            return
        counts = usage_stage.float_counts(usage)
        if counts and self._mend(usage_stage.USAGE_COUNT_FLOAT):
            usage.update(counts)
        right = dict(usage_stage.with_api_names(usage))
        usage_stage.add_total(right)
        if right != usage and self._mend(usage_stage.USAGE_FORM):
            usage.update(right)

    def _usage_elsewhere(self, value: dict[str, Any]) -> Any:
        groq = value.get("x_groq")
        groq = groq.get("usage") if isinstance(groq, dict) else None
        choices: list[Choice] = value["choices"]
        places = [(choice.get("usage"), usage_stage.USAGE_IN_CHOICE) for choice in choices]
        places.append((groq, usage_stage.USAGE_IN_X_GROQ))
        for usage, deviation in places:
            # copied: the place that the upstream chose stays, since some clients read it today
            if isinstance(usage, dict) and usage and self._mend(deviation):
                value["usage"] = dict(usage)
                return value["usage"]
        return None

    def _drop_extras(self, draft: Draft) -> None:
        """Leave out what the options do not want."""
        choices: list[Choice] = draft.value["choices"]
        if self._options.usage == "drop" and "usage" in draft.value:
            del draft.edit()["usage"]
        if self._options.extras != "drop":
            return
        parts = [(draft.value, _KNOWN_TOP), *((choice, CHOICE_KEYS) for choice in choices)]
        for part, known in parts:
            for key in [key for key in part if key not in known]:
                draft.edit()
                del part[key]


_KNOWN_TOP = TOP_KEYS | {"system_fingerprint", "service_tier"}


def is_error(error: Any) -> bool:
    """Return whether a member `error` means that something failed."""
    if isinstance(error, str):
        return bool(error)
    if not isinstance(error, dict) or not error:
        return False
    said = [item for key, item in error.items() if key != "code"]
    return any(said) or error.get("code") not in (0, None, "")


def _error_in(choice: Choice) -> Any:
    """The error that a choice holds, or its message, if that has no text."""
    if is_error(choice.get("error")):
        return choice["error"]
    message = choice.get("message")
    if not isinstance(message, dict) or message.get("content"):
        return None
    error = message.get("error")
    says = isinstance(error, str) or (isinstance(error, dict) and error.get("message"))
    return error if says and is_error(error) else None


def _beside_error(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key != "error"}


def _index(index: Any) -> int | None:
    """The index that a value means."""
    if isinstance(index, str) and index.isdecimal() and len(index) <= _DIGITS:
        return int(index)
    return index if _is_index(index) else None


def _is_index(index: Any) -> bool:
    return type(index) is int and index >= 0
