"""Chat completions and legacy completions: one answer, from its first event to its one right end.

An answer is over with the upstream's `[DONE]`, or with the end of its body where every choice has
finished. It was cut where the body ends before. An error ends it at once: what had arrived is
sent before it, a finish that was held is not. Whatever the end, `[DONE]` is the last event.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.dialects import CHAT, dialect_of
from normalizer.core.draft import Draft
from normalizer.core.envelopes import ENVELOPE, unwrapped
from normalizer.core.errors import (
    AFTER_DONE,
    AFTER_ERROR,
    DONE_MISSING,
    EMPTY,
    ERROR_EMPTY,
    ERROR_SHAPE,
    ERROR_WITHOUT_DONE,
    FAILURE_WORD,
    TRUNCATED,
    presumed_error,
    read_error,
)
from normalizer.core.event_data import KEEP_ALIVE_AS_DATA
from normalizer.core.findings import Deviation, Findings
from normalizer.core.form import Form
from normalizer.core.kept import Kept
from normalizer.core.lenient import clean
from normalizer.core.options import Options
from normalizer.core.own_error import own
from normalizer.core.report import End, Report
from normalizer.core.request import RequestInfo
from normalizer.core.wire import Output
from normalizer.core.writer import Writer
from normalizer.wires.chat.answers import Answers
from normalizer.wires.chat.blank import Blank
from normalizer.wires.chat.choices import TEXT_BESIDE_CHOICES, text_beside
from normalizer.wires.chat.chunk import CHOICE_KEYS, PADDING_KEYS, as_list, endpoint_of, strict
from normalizer.wires.chat.chunks import Chunks
from normalizer.wires.chat.form import Forms
from normalizer.wires.chat.gathered import Gathered
from normalizer.wires.chat.holdback import Holdback
from normalizer.wires.chat.kinds import (
    is_completion,
)
from normalizer.wires.chat.markup import wanted as markup_wanted
from normalizer.wires.chat.stages import Stages

ANSWER_EMPTY = Deviation(
    code="X712",
    name="answer-empty",
    fault="The answer has a finish, but neither text nor calls.",
    repair="Nothing is changed and the report names it.",
    reported=True,
)
CALLS_WITHOUT_END = Deviation(
    code="S513",
    name="calls-without-end",
    fault="The body ends after complete calls and without a finish.",
    repair="The choice finishes with `tool_calls`.",
)
UNFINISHED_KEPT = Deviation(
    code="X713",
    name="unfinished-kept",
    fault="The body ends before the finish, and the option `unfinished` keeps such answers.",
    repair="`[DONE]` is added without a finish.",
    option={"unfinished": "keep"},
)
DIALECT = Deviation(
    code="X714",
    name="other-dialect",
    fault="The answer is in another protocol than the request.",
    repair="The answer is an error of type `upstream_invalid` that names the protocol.",
)

KEEP_ALIVE = b": keep-alive"
_DONE_LINES = (b"data: [DONE]", b"data:[DONE]")
_START = 64  # bytes after the end that show whether they are a `[DONE]`


class ChatWire:
    """One answer of the chat or the legacy completions endpoint; a `Wire`."""

    names_events = False
    bare_events: frozenset[str] = frozenset()

    __slots__ = (
        "_behind",
        "_chunks",
        "_endpoint",
        "_forms",
        "_found",
        "_gathered",
        "_holdback",
        "_kept",
        "_lacks_done",
        "_options",
        "_output",
        "_passed",
        "_presumed",
        "_report",
        "_request",
        "_stages",
        "end",
        "ended",
        "error",
        "has_templates",
        "junk",
    )

    def __init__(
        self,
        request: RequestInfo,
        options: Options,
        found: Findings,
        report: Report,
        kept: Kept,
        writer: Writer,
    ) -> None:
        self.end: End | None = None
        self.ended = False
        self.error: dict[str, Any] | None = None
        self.has_templates = not markup_wanted(options)
        self.junk: list[bytes] = []
        self._endpoint = endpoint_of(request)
        self._request = request
        self._options = options
        self._found = found
        self._report = report
        self._kept = kept
        self._output: Output = writer
        self._gathered: Gathered | None = None
        self._stages = Stages(request, options, found, kept)
        blank = Blank(self._stages.envelope, self._endpoint)
        self._holdback = Holdback(
            self._stages, blank, self._endpoint, options, found, report, writer, kept
        )
        self._chunks = Chunks(
            request, options, found, report, kept, self._stages, blank, self._holdback
        )
        self._forms = Forms(self._stages, self._holdback, self._endpoint, found)
        self._behind: bytes | None = b""  # what came after the end; None once that was reported
        self._lacks_done = False  # an error was the end, and no `[DONE]` has come after it
        self._passed = False  # an object that is no chunk has left as it came
        self._presumed: dict[str, Any] | None = None  # what an object without choices may mean

    # ------------------------------------------------------------------ events

    def event(self, draft: Draft, name: str) -> None:
        """Take one event."""
        if draft.raw is None:
            draft.value = strict(draft.value)
        value = draft.value
        if (name or not _is_plain(value)) and self._is_error(draft, name):
            return
        if name == "ping" or value == {"type": "ping"}:
            self._found(KEEP_ALIVE_AS_DATA)
            self.comment(KEEP_ALIVE)
            return
        if "choices" not in value and not self._without_choices(draft):
            return
        self._chunks.take(draft)
        if self._kept.over:
            self._holdback.send_comments()

    def _is_error(self, draft: Draft, name: str) -> bool:
        """Return whether an event was an error, which ends the answer."""
        error = read_error(draft.value, name)
        if error is not None:
            self._upstream_error(draft, error)
            return True
        if "error" in draft.value and self._found(ERROR_EMPTY):
            del draft.edit()["error"]
        return False

    def _without_choices(self, draft: Draft) -> bool:
        """Look at an object that is no chunk as it stands; whether it is to be taken as one."""
        value = draft.value
        inner = unwrapped(value)
        if inner is not None:
            # one whole answer cannot be gathered of envelopes
            take = self._found(ENVELOPE) or self._gathered is not None
            return self._take_out(draft, *inner) if take else self._pass(draft)
        dialect = dialect_of(value)
        # only at the beginning: later the client has read a part of the answer already
        if dialect not in (None, CHAT) and not self._holdback.order:
            if not self._found(DIALECT):
                return self._pass(draft)
            message = f"The upstream answered in another protocol than it was asked in: {dialect}."
            self.fail(own("upstream_invalid", message), "error")
            return False
        if text_beside(value):
            return self._found.on(TEXT_BESIDE_CHOICES) or self._pass(draft)
        self._presumed = self._presumed or presumed_error(value)
        return True

    def _take_out(self, draft: Draft, chunk: dict[str, Any], beside: dict[str, Any]) -> bool:
        """Take a chunk out of its envelope; whether it is one, and no error."""
        draft.edit()
        draft.value = strict({**{k: v for k, v in beside.items() if k not in chunk}, **chunk})
        error = read_error(draft.value)
        if error is not None:
            self._upstream_error(draft, error)
        return error is None

    def _pass(self, draft: Draft) -> bool:
        """Send an object that is no chunk as it came: what would make one of it is off.

        Whether it is to be taken as a chunk after all: one whole answer has no place for it.
        """
        if self._gathered is not None:
            return True
        self._passed = True
        self._holdback.sender.last = {}
        self._output.send(draft)
        return False

    def comment(self, text: bytes) -> None:
        """Take a comment."""
        if self._holdback.comment(text):
            self._output.comment(text)

    @property
    def holding(self) -> bool:
        """Whether a finish waits that silence lets go."""
        return self._holdback.holding and self._gathered is None

    @property
    def complete(self) -> bool:
        """Whether every choice that has come has finished."""
        return self._holdback.finished

    def release(self) -> None:
        """Send what is held: the upstream has been silent. The end itself is still to come."""
        self._holdback.release()
        self._holdback.released = True

    @property
    def names(self) -> tuple[str, str]:
        """The answer's id and model, as far as they are known."""
        return self._stages.envelope.id, self._stages.envelope.model

    def form(self) -> Form | None:
        """What may differ in the next chunk of the form of the one taken last."""
        return self._forms.last() if self._gathered is None else None

    # ------------------------------------------------------------------ ends

    def done(self) -> None:
        """The upstream's `[DONE]`: the answer is complete."""
        usage = self._stages.usage
        only_usage = usage.asked is True and usage.chunk is not None
        finish = self._stages.finish
        if finish.failure is not None:
            self._failed_word(finish.failure)
        elif self._holdback.order and self._presumed is not None and not self._holdback.finished:
            self._fail_presumed()
        # a stream of nothing but the usage that was asked for is complete
        elif self._holdback.order or (only_usage and not self._stages.riders.waiting):
            self._complete()
        elif self._presumed is not None:
            self._fail_presumed()
        else:
            self._empty("it sent only [DONE]", mark=True)

    def close(self, broken: str | None) -> None:
        """The body has ended: the answer was complete, or was cut."""
        if self.ended:
            self._close_ended()
            return
        holdback, failure = self._holdback, self._stages.finish.failure
        if failure is not None:
            self._failed_word(failure)
        elif holdback.finished:
            self._complete(mark=self._found(DONE_MISSING))
        elif self._presumed is not None:
            self._fail_presumed()
        elif not holdback.order:
            self._empty(broken or "it sent nothing")
        # a broken connection may have cut off another call
        elif broken is None and self._calls_are_whole() and self._found(CALLS_WITHOUT_END):
            self._complete(mark=True)
        else:
            self._truncated(broken)

    def _close_ended(self) -> None:
        """Note that no `[DONE]` came after the error that ended the answer."""
        if self._lacks_done and self._behind is not None:
            self._found(ERROR_WITHOUT_DONE)
            self._lacks_done = False

    def _calls_are_whole(self) -> bool:
        """Whether every choice that has not finished has streamed calls, all of them complete."""
        finish, tools = self._stages.finish, self._stages.tools
        open_ones = [i for i in self._holdback.order if i not in finish.held | finish.left]
        return all(tools.whole(index) and tools.to_be_run(index) for index in open_ones)

    def _complete(self, *, mark: bool = True) -> None:
        self._chunks.close()
        self._holdback.done()
        if not self._report.characters_out and not self._has_calls() and not self._explained():
            self._found(ANSWER_EMPTY)
        self._finish("done", mark=mark)

    def _explained(self) -> bool:
        """Whether a finish tells why an answer is empty."""
        return not {"length", "content_filter"}.isdisjoint(self._report.finish.values())

    def _has_calls(self) -> bool:
        return any(self._stages.tools.called(index) for index in self._holdback.order)

    def _failed_word(self, word: str) -> None:
        """End with the error that a choice's finish is."""
        if not self._found(FAILURE_WORD):
            self._complete()
            return
        message = f"The upstream finished with {word!r}."
        self.fail(own("upstream_error", message, word), "error")

    def _fail_presumed(self) -> None:
        """End with the error that an object without choices meant."""
        error = self._presumed
        if error is not None:
            self._found(ERROR_SHAPE)
            self.fail(error, "error")

    def _truncated(self, broken: str | None) -> None:
        if broken is None and self._options.unfinished == "keep" and self._found(UNFINISHED_KEPT):
            self._leave_unfinished()
            self._finish("truncated")
            return
        if not self._found(TRUNCATED):
            self._leave_unfinished()
            self._finish("truncated", mark=False)
            return
        how = broken or "before its answer was finished"
        advice = "" if broken else ' The option unfinished="keep" lets such an answer pass.'
        junk = (
            f" Its last words were: {self.junk[-1].decode('utf-8', 'replace')}" if self.junk else ""
        )
        message = f"The upstream's stream ended {how}.{junk}{advice}"
        self.fail(own("upstream_truncated", message), "truncated")

    def _leave_unfinished(self) -> None:
        self._chunks.close()
        self._holdback.release()
        self._holdback.cut()

    def _empty(self, how: str, *, mark: bool = False) -> None:
        """End with the error that an answer without a choice is."""
        if self._passed:
            self._finish("done", mark=mark)
            return
        if not self._found(EMPTY):
            self._finish("empty", mark=mark)
            return
        words = b" ".join(self.junk)[:500].decode("utf-8", "replace")
        junk = f"; what it sent is: {words}" if words else ""
        self.fail(own("upstream_empty", f"The upstream answered nothing: {how}{junk}."), "empty")

    def _upstream_error(self, draft: Draft, error: dict[str, Any]) -> None:
        """End with an error of the upstream's; the content of its chunk is sent first."""
        raw = draft.raw if error is draft.value else None
        if error is not draft.value and self._found(ERROR_SHAPE):
            draft.edit()
        elif error is not draft.value:
            error, raw = draft.value, draft.raw
        choices = as_list(error.get("choices"))
        if choices:
            error = {key: item for key, item in error.items() if key != "choices"}
            raw = None
            self._take_beside(draft.value, choices, error)
        self._lacks_done = True
        self._fail(Draft(clean(error) if raw is None else error, raw), "error")

    def _take_beside(
        self, chunk: dict[str, Any], choices: list[dict[str, Any]], error: dict[str, Any]
    ) -> None:
        """Take the choices of a chunk that is an error: their content, and their own members."""
        members = ("id", "object", "created", "model")
        envelope: dict[str, Any] = {key: chunk[key] for key in members if key in chunk}
        if any(_says(choice) for choice in choices):
            speaking = [{**choice, "finish_reason": None} for choice in choices]
            self._chunks.take(Draft({**envelope, "choices": speaking}))
        for choice in choices:
            for key, item in choice.items():
                if key not in CHOICE_KEYS and item is not None:
                    error.setdefault(key, item)

    def fail(self, error: dict[str, Any], end: End) -> None:
        """End with an error of ours."""
        self._behind = None if not self._lacks_done else self._behind
        self._fail(Draft(error), end)

    def _fail(self, draft: Draft, end: End) -> None:
        self._chunks.close()
        self._holdback.cut()
        if self._holdback.sender.ride_on_error(draft.value):
            draft.edit()
        self.error = draft.value
        said = draft.value.get("error")
        # one whose form was not to be repaired may be a text
        self._report.error = said if isinstance(said, dict) else draft.value
        self._output.send(draft)
        self._finish(end)

    def _finish(self, end: End, *, mark: bool = True) -> None:
        """End the answer; ``mark``: with `[DONE]`."""
        self.ended = True
        self.end = self._report.end = end
        if mark:
            self._output.done()

    def abort(self, error: dict[str, Any]) -> None:
        """End with an error of ours, and nothing else: it is not known what can still be sent."""
        self.error = error
        self._report.error = error["error"]
        self._output.send(Draft(error))
        self._finish("error")

    def skips(self, data: bytes, name: str) -> bool:  # noqa: ARG002 - a `Wire` has it
        """No chunk can be left out."""
        return False

    def error_in(self, value: Any, name: str = "") -> dict[str, Any] | None:
        """The error that a JSON value is, ``value`` itself if it has the API's form; or None."""
        return read_error(value, name)

    def error_body(self, error: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and the body of an error in answer to a request without a stream."""
        code = error["error"].get("code") if isinstance(error.get("error"), dict) else None
        return code if type(code) is int and 400 <= code < 600 else 502, error

    def behind(self, data: bytes) -> None:
        """Take bytes that come after the end."""
        if self._behind is None or not data:
            return
        start = self._behind = (self._behind + data[:_START]).lstrip()[:_START]
        if self.error is None:
            deviation = AFTER_DONE
        else:
            deviation = AFTER_ERROR
            whole = start.rstrip()
            self._lacks_done = self._lacks_done and whole not in _DONE_LINES
            if any(line.startswith(whole) for line in _DONE_LINES):
                return  # the `[DONE]` that belongs there, or a piece of it
        if start:
            self._behind = None
            self._found(deviation)

    # ------------------------------------------------------------------ whole answers

    def is_event(self, value: Any) -> bool:
        """Whether a JSON value is a chunk, and no whole answer."""
        if not isinstance(value, dict) or is_completion(value):
            return False
        if self._request.stream and dialect_of(value) not in (None, CHAT):
            return True
        choices = as_list(value.get("choices"))
        return value.get("object") == "chat.completion.chunk" or any(
            "delta" in choice or "text" in choice for choice in choices
        )

    def gather(self) -> None:
        """From now on no event is sent: they become one whole answer."""
        self._stages.reasoning.numbers = False
        self._gathered = Gathered(self._endpoint, self._report)
        self._output = self._gathered
        self._holdback.sender.output = self._gathered

    def whole(self) -> Any:
        """The whole answer that the events make."""
        return self._gathered.completion() if self._gathered is not None else None

    def answer(self, value: Any) -> None:
        """Take a whole JSON answer where a stream was asked for."""
        chunks, error = self._answers().streamed(value)
        for chunk in chunks:
            self._chunks.take(Draft(chunk))
        if error is not None:
            self.fail({"error": clean(error["error"])}, "error")
        elif self._holdback.order:
            self.done()
        else:
            if isinstance(value, dict):
                self.event(Draft(value), "")
            if not self.ended:
                self._empty("its JSON has no choices")

    def body(self, draft: Draft) -> dict[str, Any] | None:
        """Repair a whole JSON answer in place."""
        return self._answers().repair(draft)

    def _answers(self) -> Answers:
        return Answers(self._request, self._options, self._found, self._report)


_PLAIN = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"}
    | {"provider", *PADDING_KEYS}
)


def _is_plain(chunk: dict[str, Any]) -> bool:
    """Whether a chunk has no place for an error, as most: then none has to be looked for."""
    if not chunk.keys() <= _PLAIN:
        return False
    choices = chunk.get("choices")
    if type(choices) is not list or len(choices) != 1:
        return False
    choice = choices[0]
    if type(choice) is not dict or "error" in choice:
        return False
    delta = choice.get("delta")
    return type(delta) is dict and "error" not in delta and "message" not in choice


def _says(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    holder = delta if isinstance(delta, dict) else choice
    keys = ("content", "reasoning", "reasoning_content", "tool_calls", "refusal", "text")
    return any(holder.get(key) for key in keys)
