"""One stream of chunks through the stages, in their order, and the ends of it.

What leaves goes to `emit(chunk, raw)`: raw is the JSON as it came where nothing was repaired, so
that a canonical chunk leaves byte for byte; None where the chunk is to be written anew.

Held back are, each bounded: the head of a tool call until its name is complete, and, for each
choice, its finish. `done`, `cut` and `fail` are the three ways in which a stream ends; each lets go
of what is held, in the one right order: heads, late riders, finishes, usage, and then the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from normalizer.chunk import CHOICE_KEYS, TOP_KEYS, Choice, Chunk, Delta, as_list
from normalizer.deviation import Findings
from normalizer.frame import OneText
from normalizer.lenient import clean, loads
from normalizer.options import Options
from normalizer.report import Report
from normalizer.request import RequestInfo
from normalizer.stages import choices as choices_stage
from normalizer.stages import content as content_stage
from normalizer.stages import errors as errors_stage
from normalizer.stages import finish as finish_stage
from normalizer.stages import tool_calls as tools_stage
from normalizer.stages import usage as usage_stage
from normalizer.stages.choices import Choices
from normalizer.stages.content import Content
from normalizer.stages.envelope import Envelope, Riders
from normalizer.stages.errors import Errors
from normalizer.stages.finish import Finish
from normalizer.stages.reasoning import NAMES, Reasoning
from normalizer.stages.tool_calls import Call, ToolCalls
from normalizer.stages.usage import Usage

Emit = Callable[[Chunk, bytes | None], None]
_USAGE_HERE = ""  # in the tail: where the usage chunk came


class Plan(NamedTuple):
    """What becomes of one choice of a chunk: its pieces, in order, and whether the last waits."""

    pieces: list[Choice]
    head: list[Call] | None = None  # the last piece waits for these calls' names
    finish: str | None = None  # the last piece is a finish, with this word
    release: bool = False  # a head that waits is to leave first


class WaitingHead:
    """A chunk that holds heads of calls whose last name may go on."""

    __slots__ = ("calls", "chunk", "raw")

    def __init__(self, chunk: Chunk, raw: bytes | None, calls: list[Call]) -> None:
        self.chunk = chunk
        self.raw = raw
        self.calls = calls


class Pipeline:
    """The stages of one stream, in order. `chunk` for each chunk, then one of the ends."""

    __slots__ = (
        "_choices",
        "_content",
        "_emit",
        "_endpoint",
        "_envelope",
        "_errors",
        "_finish",
        "_found",
        "_heads",
        "_hears",
        "_options",
        "_order",
        "_reasoning",
        "_report",
        "_riders",
        "_rode",
        "_silent",
        "_tail",
        "_tools",
        "_usage",
        "last",
        "released",
    )

    def __init__(
        self,
        request: RequestInfo,
        options: Options,
        found: Findings,
        report: Report,
        emit: Emit,
    ) -> None:
        endpoint = request.endpoint or "chat"
        self._endpoint = endpoint
        self._options = options
        self._found = found
        self._report = report
        self._emit = emit
        self._envelope = Envelope(found, endpoint, request.model)
        self._riders = Riders(found)
        self._errors = Errors(found)
        self._choices = Choices(found, endpoint, request.n)
        self._content = Content(found)
        self._reasoning = Reasoning(found, options.reasoning)
        self._tools = ToolCalls(found, tools=request.tools, functions=request.functions)
        self._finish = Finish(found, forced=request.forced)
        asked = {"request": request.include_usage, "chunk": True, "finish": False, "drop": False}
        self._usage = Usage(found, asked=asked[options.usage])
        self._heads: dict[int, WaitingHead] = {}
        self._silent: dict[int, tuple[Chunk, bytes | None]] = {}  # unasked choices put off
        self._order: list[int] = []  # choices, as they appeared
        self._tail: list[str] = []  # comments, and the usage chunk's place, behind a held finish
        self._hears: Callable[[str], None] | None = None  # the text of the frame
        self._rode = False  # what waited to ride left with the last chunk
        self.last: Chunk = {}  # the chunk that left last
        self.released = False  # what was held had to be let go before the end

    # ------------------------------------------------------------------ chunks

    def error(self, value: Any, name: str) -> dict[str, Any] | None:
        """The error event that a value is, None if it is none."""
        return self._errors.read(value, name)

    def chunk(self, chunk: Chunk, raw: bytes, *, lenient: bool = False) -> None:
        """Take one chunk; ``lenient``: its JSON cannot leave as it came."""
        found = self._found
        found.begin(touched=lenient)
        if lenient:
            chunk = _strict(chunk)
        choices = self._choices.of(chunk)
        if not choices:
            silent = self._choices.silent
            if silent is None:
                self._without_choices(chunk, raw)
            elif silent["index"] not in self._silent:
                put_off = {**chunk, "choices": [silent]}
                self._silent[silent["index"]] = (put_off, None if found.touched else raw)
            return
        self._envelope.settle(chunk)
        if len(choices) == 1 and not lenient and self._steady(chunk, choices[0], raw):
            return
        ending = all(choice.get("finish_reason") for choice in choices)
        if "usage" in chunk or "x_groq" in chunk or "usage" in choices[0]:
            self._usage.take(chunk, choices, ending=ending)
        if len(choices) == 1:
            plan = self._plan(choices[0], lenient=lenient, news=self._riders.news(chunk, self.last))
            self._carry_out(chunk, plan, None if found.touched else raw)
            return
        plans = [self._plan(choice, lenient=lenient) for choice in choices]
        plain = all(
            plan.pieces == [choice] and not (plan.head or plan.finish or plan.release)
            for plan, choice in zip(plans, choices, strict=True)
        )
        if plain:
            self._send(chunk, None if found.touched else raw)
            return
        whole = chunk
        for plan in plans:
            if plan.pieces:
                self._carry_out(whole, plan, None)
                whole = self._envelope.chunk([])
            elif plan.release:
                self._carry_out(self._envelope.chunk([]), plan, None)

    def gathers(self) -> None:
        """What leaves is one completion: what only streams need is left out."""
        self._reasoning.numbers = False

    def one_text(self) -> OneText | None:
        """The one text of the chunk that left last, if nothing but it will differ in the next.

        None while something waits: then the next chunk's fate is not this one's.
        """
        chunk, self._hears = self.last, None
        if self._finish.held or self._heads or self._riders.waiting or self._rode:
            return None
        choice: Choice = chunk["choices"][0]
        index = choice["index"]
        delta = choice.get("delta")
        if delta is None or len(delta) != 1 or len(chunk["choices"]) != 1:
            return None
        ((key, value),) = delta.items()
        if key in ("content", "reasoning_content") and isinstance(value, str):
            self._hears = self._content.spoken(index, key).add
            return OneText(value, "content" if key == "content" else "reasoning")
        if key == "tool_calls" and len(value) == 1 and set(value[0]) == {"index", "function"}:
            function = value[0]["function"]
            call = self._tools.by_number(index, value[0]["index"])
            if set(function) == {"arguments"} and call is not None:
                self._hears = call.hear
                return OneText(function["arguments"], "arguments")
        return None

    def hear(self, text: str, usage: bytes | None) -> None:
        """Texts that were found in the frame of the last chunk, and the last usage in it."""
        if self._hears is not None:
            self._hears(text)
        if usage is not None:
            self._usage.keep(loads(usage)[0])

    def comment(self, text: bytes) -> bool:
        """Whether a comment may leave now; else it leaves behind the finish that is held."""
        if self._finish.held and not self.released and self._all_finished():
            self._tail.append(text.decode("utf-8", "replace"))
            return False
        return True

    def _begin(self, index: int) -> None:
        """A choice appears that has not been seen."""
        found, touched = self._found, self._found.touched
        if self._choices.single and self._finish.held:
            # nobody asked for a second answer: the first one is over, and may say so
            self._release_finishes(final=False)
        self._order.append(index)
        put_off = self._silent.pop(index, None)
        if put_off is not None:
            chunk, raw = put_off
            found.touched = raw is None
            self._envelope.settle(chunk)
            plan = self._plan(chunk["choices"][0], lenient=False)
            self._carry_out(chunk, plan, None if found.touched else raw)
        found.touched = touched

    def _steady(self, chunk: Chunk, choice: Choice, raw: bytes) -> bool:
        """The chunk that most are: a piece of text in a choice that has begun and goes on.

        Does what the stages would do for it, and no more; `tests/test_steady.py` holds the two
        together.
        """
        index = choice["index"]
        content, delta = self._content, choice.get("delta")
        if index not in content.spoke or type(delta) is not dict or "message" in choice:
            return False
        text = delta.get("content")
        if type(text) is not str or not text or choice.get("finish_reason", "") is not None:
            return False
        if self._order_waits(index) or "usage" in choice or "x_groq" in chunk:
            return False
        found = self._found
        if len(delta) == 2 and delta.get("role"):
            if found(content_stage.ROLE_REPEATED):
                del delta["role"]
        if len(delta) != 1:
            return False
        if chunk.get("usage") is not None:
            self._usage.take(chunk, [choice], ending=False)
        characters = len(text)
        counted = self._report.characters_in
        counted["content"] = counted.get("content", 0) + characters
        content.spoken(index, "content").add(text)
        self._send(chunk, None if found.touched else raw)
        return True

    def _order_waits(self, index: int) -> bool:
        """Whether something waits that the next piece of a choice's text decides about."""
        finish = self._finish
        return (
            self._endpoint == "completions"
            or index in finish.held
            or index in finish.left
            or index in self._heads
            or self._content.waits
        )

    def _without_choices(self, chunk: Chunk, raw: bytes) -> None:
        usage = self._usage
        self._envelope.learn(chunk)
        if chunk.get("usage") is None and "x_groq" not in chunk:
            self._riders.take(chunk, self.last)
            self._found(choices_stage.CHOICES_EMPTY)
            return
        displaced = usage.chunk
        usage.take_apart(chunk, None if self._found.touched else raw)
        if usage.chunk is not chunk:
            self._riders.take(chunk, self.last)
            return
        if displaced is not None:
            self._riders.take(displaced, self.last)
        if self.released and not self._finish.held:
            self._send_usage()
        else:
            self._tail.append(_USAGE_HERE)

    # ------------------------------------------------------------------ one choice

    def _plan(self, choice: Choice, *, lenient: bool, news: bool = False) -> Plan:
        index = choice["index"]
        if index not in self._order:
            self._begin(index)
        if self._endpoint == "completions":
            return self._plan_text(choice)
        found, content = self._found, self._content
        if "delta" not in choice and isinstance(choice.get("text"), str):
            if found(choices_stage.OTHER_ENDPOINT):
                choice["delta"] = {"content": choice.pop("text")}
        delta = content.delta(choice)
        from_message = choice.pop("from_message", False)
        if from_message and self._tools.called(index):
            delta.pop("tool_calls", None)
            delta.pop("function_call", None)
        first = index not in content.spoke
        content.settle(index, delta, lenient=lenient)
        if len(delta) > 1 or "content" not in delta:
            self._reasoning.settle(index, delta)
        count(self._report.characters_in, delta)
        word = self._finish.read(choice)
        spoken = any(value for key, value in delta.items() if key != "role")
        if spoken and (index in self._finish.held or index in self._finish.left):
            self._finish.spoke(index, text=bool(delta.get("content")))
            self._send_held_text(index)
        content.hear(index, delta)
        if delta.get("tool_calls") or delta.get("function_call"):
            plan = self._plan_calls(index, choice, delta)
        elif word is None and not first and not news and content.says_nothing(delta, choice):
            if found(content_stage.SAYS_NOTHING):
                return Plan([])
            plan = Plan([choice])
        else:
            plan = Plan([choice], release=True)
        if first and (plan.pieces or word is not None):
            content.opened(index)
        return plan if word is None else self._plan_finish(
            choice, word, plan, spoken=spoken, first=first
        )

    def _plan_finish(
        self, choice: Choice, word: str, plan: Plan, *, spoken: bool, first: bool
    ) -> Plan:
        pieces = plan.pieces
        if not (spoken or first) or not (pieces or choice["delta"]):
            if choice["delta"]:
                self._found(content_stage.MEMBER_EMPTY)
                choice["delta"] = {}
            return Plan([choice], finish=word, release=True)
        if self._options.finish == "keep" and len(pieces) == 1 and plan.head is None:
            return Plan(pieces, finish=word, release=True)
        if not self._found(finish_stage.FINISH_WITH_CONTENT):
            return Plan(pieces or [choice], finish=word, release=True)
        text, finish = finish_stage.split(choice)
        pieces = [text if piece is choice else piece for piece in pieces]
        return Plan([*pieces, finish], finish=word, release=True, head=plan.head)

    def _plan_calls(self, index: int, choice: Choice, delta: Delta) -> Plan:
        """Order a delta's fragments into pieces none of which has a call's head and arguments."""
        given = delta.get("tool_calls")
        tools, found = self._tools, self._found
        fragments = tools.read(index, delta)
        waiting = self._heads.get(index)
        base = any(value for key, value in delta.items() if key != "role")
        if not fragments:
            # a piece of a name that waits, or nameless fragments, or a legacy call
            if base or (delta and index not in self._content.spoke):
                return Plan([choice], release=True)
            return Plan([])
        pieces: list[Choice] = []
        heads: list[Call] = []
        group: list[dict[str, Any]] = []
        said = base and any(delta.get(k) for k in ("content", "refusal", *NAMES))
        if said and fragments[0].head:
            pieces.append(choice)
        if waiting is not None:
            self._release(index)
        for fragment in fragments:
            if not fragment.head and fragment.call in heads:
                self._group(pieces, choice, delta, group, said=said)
                for call in heads:
                    self._complete_within(pieces[-1], index, call)
                heads, group = [], []
            if fragment.head:
                heads.append(fragment.call)
                group.append(fragment.value)
            else:
                group.append(tools.number(fragment))
        self._group(pieces, choice, delta, group, said=said)
        if heads and len(pieces) == 1 and pieces[0] is choice and not found.touched:
            delta["tool_calls"] = given if given is not None and group == given else group
        return Plan(pieces, head=heads or None)

    def _group(
        self,
        pieces: list[Choice],
        choice: Choice,
        delta: Delta,
        group: list[dict[str, Any]],
        *,
        said: bool,
    ) -> None:
        if not group:
            return
        if pieces:
            if not (said and len(pieces) == 1 and pieces[0] is choice and "tool_calls" in delta):
                self._found.touched = True
            piece = {"index": choice["index"], "delta": {"tool_calls": group}, "finish_reason": None}
            pieces.append(piece)
        else:
            delta["tool_calls"] = group
            pieces.append(choice)

    def _complete_within(self, piece: Choice, index: int, call: Call) -> None:
        fragments = piece["delta"]["tool_calls"]
        place = next(n for n, fragment in enumerate(fragments) if fragment is call.head)
        fragments[place] = self._tools.complete(index, call)

    def _plan_text(self, choice: Choice) -> Plan:
        """A choice of a legacy completion: its finish stays on the text that it came with."""
        found = self._found
        index = choice["index"]
        if "text" not in choice or "delta" in choice:
            delta = choice.get("delta")
            if found(choices_stage.OTHER_ENDPOINT):
                choice.pop("delta", None)
                delta = delta if isinstance(delta, dict) else {}
                text = choice.get("text")
                choice["text"] = text if isinstance(text, str) else delta.get("content") or ""
                for key, value in delta.items():
                    if key not in ("role", "content") and value:
                        choice[key] = value
        if not isinstance(choice.get("text"), str) and found(content_stage.CONTENT_NOT_TEXT):
            choice["text"] = "" if choice.get("text") is None else str(choice["text"])
        self._content.join_halves(index, choice, ("text",))
        if choice.get("text"):
            counted = self._report.characters_in
            counted["content"] = counted.get("content", 0) + len(choice["text"])
        word = self._finish.read(choice)
        if choice.get("text"):
            self._finish.spoke(index, text=True)
            self._send_held_text(index)
        return Plan([choice], finish=word)

    # ------------------------------------------------------------------ sending

    def _carry_out(self, chunk: Chunk, plan: Plan, raw: bytes | None) -> None:
        pieces = plan.pieces
        if not pieces:
            if self._riders.take(chunk, self.last):
                self._found(choices_stage.CHOICES_EMPTY)
            return
        index = pieces[0]["index"]
        if plan.release and index in self._heads:
            self._release(index)
        usage = chunk.pop("usage", None) if plan.finish and len(pieces) > 1 else None
        last = len(pieces) - 1
        heads_at = last - 1 if plan.finish and plan.head else last
        for number, piece in enumerate(pieces):
            part = chunk if number == 0 else self._envelope.chunk([])
            part["choices"] = [piece]
            whole = raw if last == 0 else None
            if plan.head and number == heads_at:
                self._heads[index] = WaitingHead(part, whole, plan.head)
                if plan.finish:
                    self._release(index)
            elif plan.finish and number == last:
                if usage is not None:
                    part["usage"] = usage
                self._hold(index, part, whole, plan.finish)
            else:
                self._send(part, whole)

    def _hold(self, index: int, chunk: Chunk, raw: bytes | None, word: str) -> None:
        if index in self._finish.left:
            self._found.note(finish_stage.FINISH_TWICE)
            self._riders.take(chunk, self.last)
            return
        self._send_held_text(index)
        differs = self._finish.hold(index, chunk, raw, word)
        if differs is not None:
            extra = self._envelope.chunk(differs.pop("choices"))
            self._send({**extra, **differs}, None)

    def _send_held_text(self, index: int) -> None:
        """What a finish holds back with it leaves: it was not the last of its choice."""
        held = self._finish.held.get(index)
        if held is None:
            return
        choice = held.choice
        if not choice.get("delta") and ("delta" in choice or not choice.get("text")):
            return
        text, finish = finish_stage.split(choice)
        held.raw = None
        envelope = {key: value for key, value in held.chunk.items() if key != "usage"}
        self._send({**envelope, "choices": [text]}, None)
        bare = self._envelope.chunk([finish])
        if "usage" in held.chunk:
            bare["usage"] = held.chunk["usage"]
        held.chunk = bare

    def _release(self, index: int) -> None:
        """Let the heads of calls go whose names are complete."""
        waiting = self._heads.pop(index)
        found, touched = self._found, self._found.touched
        found.touched = False
        for call in waiting.calls:
            self._complete_within(waiting.chunk["choices"][0], index, call)
        raw = None if found.touched else waiting.raw
        self._send(waiting.chunk, raw)
        found.touched = touched

    def _send(self, chunk: Chunk, raw: bytes | None) -> None:
        riders = self._riders
        self._rode = bool(riders.waiting)
        if self._rode and riders.mount(chunk):
            raw = None
        for choice in chunk["choices"]:
            delta = choice.get("delta")
            if delta is None:
                if choice.get("text"):
                    counted = self._report.characters_out
                    counted["content"] = counted.get("content", 0) + len(choice["text"])
                continue
            if "tool_calls" in delta:
                dressed = self._tools.dress(choice["index"], delta)
                if dressed is not delta:
                    choice["delta"] = dressed
                    raw = None
            count(self._report.characters_out, delta)
        if self._options.extras == "drop" and _without_extras(chunk):
            raw = None
        self.last = chunk
        self._emit(chunk, raw)

    # ------------------------------------------------------------------ the ends

    @property
    def opened(self) -> bool:
        """Whether any choice has come."""
        return bool(self._order)

    @property
    def holding(self) -> bool:
        """Whether a finish is held."""
        return bool(self._finish.held)

    def _all_finished(self) -> bool:
        finish = self._finish
        return all(index in finish.held or index in finish.left for index in self._order)

    @property
    def finished(self) -> bool:
        """Whether every choice that has come has finished."""
        return bool(self._order) and self._all_finished()

    @property
    def failure(self) -> str | None:
        """The word of failure that a choice finished with."""
        return self._finish.failure

    @property
    def only_usage(self) -> bool:
        """Whether a usage that was asked for is all that came."""
        return self._usage.asked is True and self._usage.chunk is not None and not self._riders.waiting

    def done(self) -> None:
        """`[DONE]`, or an end that is as good: every choice gets its finish."""
        for chunk, _ in self._silent.values():
            self._found(choices_stage.CHOICE_SILENT)
            self._riders.take(chunk, self.last)
        for index in self._order:
            if index not in self._finish.held and index not in self._finish.left:
                self._found(finish_stage.FINISH_MISSING)
                word = self._tools.called(index) or "stop"
                self._hold_made_up(index, word)
        self.release()

    def _hold_made_up(self, index: int, word: str) -> None:
        choice: Choice = {"index": index, "delta": {}, "finish_reason": word}
        if self._endpoint == "completions":
            choice = {"index": index, "text": "", "logprobs": None, "finish_reason": word}
        self._finish.hold(index, self._envelope.chunk([choice]), None, word)

    def release(self) -> None:
        """Let go of every finish that is held, of what goes before it and behind it."""
        self._release_finishes(final=True)
        for text in self._tail:
            if text == _USAGE_HERE:
                self._send_usage()
            else:
                self._emit({}, text.encode())
        self._tail.clear()
        if self._all_finished():
            self._send_usage()

    def _release_finishes(self, *, final: bool) -> None:
        finish, found = self._finish, self._found
        held = list(finish.held)
        for index in held:
            self._before_finish(index)
        for position, index in enumerate(held):
            found.touched = False
            word = finish.settle(index, called=self._tools.called(index))
            one = finish.held[index]
            nameless = self._tools.nameless(index)
            if nameless:
                one.choice["nameless_tool_calls"] = nameless
                one.raw = None
            if self._riders.waiting:
                if self._riders.collides(one.chunk):
                    self._leftovers(index)
                elif self._riders.mount(one.chunk):
                    one.raw = None
            self._usage_on_finish(one, last=final and position == len(held) - 1)
            finish.left[index] = self._report.finish[index] = word
            self._send(one.chunk, one.raw)
        finish.held.clear()

    def _before_finish(self, index: int) -> None:
        if index in self._heads:
            self._release(index)
        self._say_halves(index)
        held = self._finish.held[index]
        if self._tools.cut(index):
            if held.word not in ("length", "content_filter"):
                self._found.note(tools_stage.ARGUMENTS_INCOMPLETE)
        if held.word not in ("length", "content_filter"):
            for fragment in self._tools.empty(index):
                self._say(index, {"tool_calls": [fragment]})

    def _say_halves(self, index: int) -> None:
        for key in self._content.halves(index):
            if key == "text":
                choice = {"index": index, "text": "\ufffd", "logprobs": None, "finish_reason": None}
                self._send(self._envelope.chunk([choice]), None)
            else:
                delta = {key: "\ufffd"}
                self._reasoning.settle(index, delta)
                self._say(index, delta)
        for fragment in self._tools.halves(index):
            self._say(index, {"tool_calls": [fragment]})

    def _say(self, index: int, delta: Delta) -> None:
        choice = {"index": index, "delta": delta, "finish_reason": None}
        self._send(self._envelope.chunk([choice]), None)

    def _leftovers(self, index: int) -> None:
        """Riders that found no chunk without another value of their name get their own."""
        while self._riders.waiting:
            waiting = len(self._riders.waiting)
            if self._endpoint == "chat":
                self._say(index, {})
            else:
                choice = {"index": index, "text": "", "logprobs": None, "finish_reason": None}
                self._send(self._envelope.chunk([choice]), None)
            if len(self._riders.waiting) == waiting:
                return

    def _usage_on_finish(self, held: finish_stage.Held, *, last: bool) -> None:
        usage = self._usage
        there = held.chunk.get("usage")
        wanted = self._options.usage != "drop"
        if usage.half is not None and usage.value is None and last:
            held.chunk["native_usage"] = usage.half
            usage.half = None
            held.raw = None
        value = usage.settled() if last and wanted and not self._goes_apart() else None
        if value is not None:
            self._report.usage = value
        if value is None and there is None:
            return
        if value is there and held.raw is not None:
            return
        if value is None:
            if self._goes_apart():
                held.chunk["usage"] = None
            else:
                held.chunk.pop("usage", None)
            held.raw = None
        elif there != value:
            held.chunk["usage"] = value
            held.raw = None

    def _goes_apart(self) -> bool:
        usage = self._usage
        return usage.asked is True or (usage.asked is None and usage.apart)

    def _send_usage(self) -> None:
        usage = self._usage
        if usage.value is None or not self._goes_apart():
            return
        found = self._found
        found.touched = False
        value = usage.settled()
        chunk, raw = usage.chunk, usage.raw
        if chunk is None:
            found(usage_stage.USAGE_OWN_CHUNK)
            chunk, raw = self._envelope.chunk([]), None
        else:
            self._envelope.settle(chunk)
        chunk["choices"] = []
        if chunk.get("usage") != value:
            raw = None
        chunk["usage"] = value
        self._report.usage = value
        usage.value = None
        self._send(chunk, None if found.touched else raw)

    def cut(self) -> None:
        """The stream ends in an error: what had arrived leaves, what was held does not."""
        for index in list(self._heads):
            self._release(index)
        for index in self._order:
            self._say_halves(index)
            nameless = self._tools.nameless(index)
            if nameless:
                self._riders.waiting.append(("nameless_tool_calls", nameless))
            held = self._finish.held.get(index)
            if held is not None:
                self._send_held_text(index)
                others = {k: v for k, v in held.choice.items() if k not in CHOICE_KEYS}
                others.pop("native_finish_reason", None)
                self._riders.take({**held.chunk, **others}, self.last)
        for text in self._tail:
            if text != _USAGE_HERE:
                self._emit({}, text.encode())

    def ride_on_error(self, event: dict[str, Any]) -> None:
        """Put on an error event what waited to ride."""
        self._riders.mount(event)
        for key, value in self._riders.waiting:
            event.setdefault("extras", []).append({key: value})


def count(counted: dict[str, int], delta: Delta) -> None:
    """Add a delta's characters to a report's, by kind."""
    content = delta.get("content")
    if content and type(content) is str:
        counted["content"] = counted.get("content", 0) + len(content)
        if len(delta) == 1:
            return
    refusal = delta.get("refusal")
    if refusal and type(refusal) is str:
        counted["refusal"] = counted.get("refusal", 0) + len(refusal)
    reasoning = max((len(t) for n in NAMES if isinstance(t := delta.get(n), str)), default=0)
    if reasoning:
        counted["reasoning"] = counted.get("reasoning", 0) + reasoning
    calls = delta.get("tool_calls")
    legacy = delta.get("function_call")
    functions = [c.get("function") for c in calls if isinstance(c, dict)] if isinstance(calls, list) else []
    said = 0
    for function in [*functions, legacy]:
        arguments = function.get("arguments") if isinstance(function, dict) else None
        said += len(arguments) if isinstance(arguments, str) else 0
    if said:
        counted["arguments"] = counted.get("arguments", 0) + said


def _strict(chunk: Chunk) -> Chunk:
    """The chunk without what JSON has not; its texts stay, whose halves may yet be joined."""
    texts = {id(text) for choice in as_list(chunk.get("choices")) for text in _texts(choice)}

    def strict(value: Any, within: str) -> Any:
        if isinstance(value, str):
            return value if id(value) in texts else clean(value)
        if isinstance(value, dict):
            return {
                clean(key): strict(item, "logprobs" if "logprob" in key else within)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [strict(item, within) for item in value]
        return clean(value, within)

    cleaned: Chunk = strict(chunk, "")
    return cleaned


def _texts(choice: Choice) -> list[str]:
    delta = choice.get("delta")
    delta = delta if isinstance(delta, dict) else {}
    functions = [f for c in as_list(delta.get("tool_calls")) for f in as_list(c.get("function"))]
    texts = [choice.get("text"), *(delta.get(key) for key in content_stage.SPOKEN)]
    texts += [function.get("arguments") for function in functions]
    return [text for text in texts if isinstance(text, str)]


def _without_extras(chunk: Chunk) -> bool:
    """Take away what the API does not know; was there any?"""
    dropped = False
    known_top = TOP_KEYS | {"system_fingerprint", "service_tier"}
    for part, known in [(chunk, known_top), *((c, CHOICE_KEYS) for c in chunk["choices"])]:
        for key in [key for key in part if key not in known]:
            del part[key]
            dropped = True
    return dropped
