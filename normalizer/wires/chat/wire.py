"""One stream of chunks through the stages, in their order.

Each stage settles one concern of a chunk; what becomes of each of its choices is a `Plan`, and the
`Outlet` carries it out. Data goes one way: errors, choices, envelope, usage, and then for each
choice content, reasoning, finish, tool calls.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.findings import Findings
from normalizer.core.kept import CHOICE, CHUNK, Kept
from normalizer.core.lenient import dumps
from normalizer.core.options import Options
from normalizer.core.report import Report
from normalizer.core.request import RequestInfo
from normalizer.core.template import OneText
from normalizer.wires.chat import choices as choices_stage
from normalizer.wires.chat import content as content_stage
from normalizer.wires.chat import finish as finish_stage
from normalizer.wires.chat.call import Call
from normalizer.wires.chat.choices import Choices
from normalizer.wires.chat.chunk import (
    REASONING_KEYS,
    Choice,
    Chunk,
    Delta,
    count,
    count_text,
    strict,
)
from normalizer.wires.chat.content import Content
from normalizer.wires.chat.envelope import Envelope, Riders
from normalizer.wires.chat.errors import Errors
from normalizer.wires.chat.finish import Finish
from normalizer.wires.chat.holdback import Emit, Outlet, Plan, Stages
from normalizer.wires.chat.markup import Markup
from normalizer.wires.chat.markup import wanted as markup_wanted
from normalizer.wires.chat.reasoning import Reasoning
from normalizer.wires.chat.tool_calls import ToolCalls
from normalizer.wires.chat.usage import Usage


class Pipeline:
    """Takes the chunks of one stream through the stages; ``out`` is where they leave."""

    __slots__ = (
        "_choices",
        "_content",
        "_endpoint",
        "_envelope",
        "_errors",
        "_finish",
        "_found",
        "_kept",
        "_markup",
        "_options",
        "_reasoning",
        "_report",
        "_riders",
        "_tools",
        "_usage",
        "out",
    )

    def __init__(
        self,
        request: RequestInfo,
        options: Options,
        found: Findings,
        report: Report,
        emit: Emit,
        kept: Kept,
    ) -> None:
        self._kept = kept
        endpoint = request.endpoint or "chat"
        asked = {"request": request.include_usage, "chunk": True, "finish": False, "drop": False}
        self._endpoint = endpoint
        self._options = options
        self._found = found
        self._report = report
        self._errors = Errors(found)
        self._choices = Choices(found, endpoint, request.n)
        self._envelope = Envelope(found, endpoint, request.model)
        self._riders = Riders(found, options.max_event_bytes, options.max_held_bytes)
        self._content = Content(found)
        self._reasoning = Reasoning(found, options.reasoning)
        self._tools = ToolCalls(found, kept, tools=request.tools, functions=request.functions)
        self._finish = Finish(found, forced=request.forced)
        self._usage = Usage(found, asked=asked[options.usage])
        stages = Stages(
            self._envelope,
            self._riders,
            self._content,
            self._reasoning,
            self._tools,
            self._finish,
            self._usage,
        )
        self.out = Outlet(stages, endpoint, options, found, report, emit, kept)
        self._markup = (
            Markup(found, options, request)
            if markup_wanted(options) and endpoint == "chat"
            else None
        )

    # ------------------------------------------------------------------ chunks

    def error(self, value: Any, name: str) -> dict[str, Any] | None:
        """The error event that a value is, None if it is none."""
        return self._errors.read(value, name)

    def chunk(self, chunk: Chunk, raw: bytes, *, lenient: bool = False) -> None:
        """Take one chunk, `Findings.begin` told; ``lenient``: its JSON cannot leave as it came."""
        found = self._found
        if lenient:
            chunk = strict(chunk)
        choices = self._choices.of(chunk)
        if not choices:
            silent = self._choices.silent
            if silent is None:
                self._without_choices(chunk, raw)
            elif silent["index"] not in self.out.put_off:
                put_off = {**chunk, "choices": [silent]}
                bytes_as_came = None if found.touched else raw
                size = self._kept.keep(CHUNK)
                self.out.put_off[silent["index"]] = (put_off, bytes_as_came, size)
            return
        self._envelope.settle(chunk)
        if self._markup is not None:
            self._marked_up(self._markup, chunk, choices, raw, lenient=lenient)
        elif len(choices) > 1 or lenient or not self._steady(chunk, choices[0], raw):
            self._settle(chunk, choices, raw, lenient=lenient)

    def _marked_up(
        self, markup: Markup, chunk: Chunk, choices: list[Choice], raw: bytes, *, lenient: bool
    ) -> None:
        """Take what a model wrote into its text out of it, before the stages see the chunk."""
        for choice in choices:
            delta = choice.get("delta")
            ends = bool(choice.get("finish_reason"))
            if not isinstance(delta, dict):
                continue
            deltas = markup.read(choice["index"], dict(delta), ends=ends)
            if deltas == [delta]:
                continue
            self._found.touched = True
            *earlier, choice["delta"] = deltas
            for one in earlier:
                self._say(choice["index"], one)
            if ends and choice["delta"] == {"content": ""}:
                choice["delta"] = {}
        self._settle(chunk, choices, raw, lenient=lenient)

    def _say(self, index: int, delta: Delta) -> None:
        """Settle a delta of our own making."""
        touched = self._found.touched
        choices: list[Choice] = [{"index": index, "delta": delta, "finish_reason": None}]
        self._found.touched = True
        self._settle(self._envelope.chunk(choices), choices, b"", lenient=False)
        self._found.touched = touched

    def done(self) -> None:
        """`[DONE]`, or an end that is as good: every choice gets its finish."""
        self.close()
        self.out.done()

    def close(self) -> None:
        """No more chunks come: what was held back as a possible marker is text."""
        if self._markup is not None:
            for index in list(self.out.order):
                for delta in self._markup.rest(index):
                    self._found.begin()
                    self._say(index, delta)

    @property
    def names(self) -> tuple[str, str]:
        """The answer's id and model, as far as they are known."""
        return self._envelope.id, self._envelope.model

    def _settle(self, chunk: Chunk, choices: list[Choice], raw: bytes, *, lenient: bool) -> None:
        found = self._found
        ending = all(choice.get("finish_reason") for choice in choices)
        if "usage" in chunk or "x_groq" in chunk or "usage" in choices[0]:
            self._usage.take(chunk, choices, ending=ending)
        if len(choices) == 1:
            plan = self._plan(
                choices[0], lenient=lenient, news=self._riders.news(chunk, self.out.last)
            )
            self.out.carry_out(chunk, plan, None if found.touched else raw)
            return
        plans = [self._plan(choice, lenient=lenient) for choice in choices]
        plain = all(
            plan.pieces == [choice] and not (plan.head or plan.finish or plan.release)
            for plan, choice in zip(plans, choices, strict=True)
        )
        if plain:
            self.out.send(chunk, None if found.touched else raw)
            return
        whole = chunk
        for plan in plans:
            if plan.pieces:
                self.out.carry_out(whole, plan, None)
                whole = self._envelope.chunk([])
            elif plan.release:
                self.out.carry_out(self._envelope.chunk([]), plan, None)

    def gathers(self) -> None:
        """What leaves is one completion: what only streams need is left self.out."""
        self._reasoning.numbers = False

    def one_text(self) -> OneText | None:
        """The one text of the chunk that left last, if nothing but it will differ in the next.

        None while something waits: then the next chunk's fate is not this one's.
        """
        chunk = self.out.last
        if self._finish.held or self.out.heads or self._riders.waiting or self.out.rode:
            return None
        if len(chunk["choices"]) != 1:
            return None
        choice: Choice = chunk["choices"][0]
        index = choice["index"]
        delta = choice.get("delta")
        text = choice.get("text")
        if self._endpoint == "completions" and text and isinstance(text, str):
            return OneText(text, "content", index, None)
        if not isinstance(delta, dict) or len(delta) != 1:
            return None
        ((key, value),) = delta.items()
        if key in ("content", "reasoning_content") and isinstance(value, str):
            kind = "content" if key == "content" else "reasoning"
            return OneText(value, kind, index, self._content.spoken(index, key).add)
        if key != "tool_calls" or not isinstance(value, list) or len(value) != 1:
            return None
        if isinstance(value[0], dict) and set(value[0]) == {"index", "function"}:
            function = value[0]["function"]
            number = value[0]["index"]
            call = self._tools.by_number(index, number) if type(number) is int else None
            said = function.get("arguments") if isinstance(function, dict) else None
            if isinstance(said, str) and len(function) == 1 and call is not None:
                return OneText(said, "arguments", index, call.hear)
        return None

    def take_usage(self, usage: dict[str, Any]) -> None:
        """The last usage of chunks that did not come this way."""
        self._usage.keep(usage)

    def _begin(self, index: int) -> None:
        """A choice appears that has not been seen."""
        found, touched = self._found, self._found.touched
        if self._choices.single and self._finish.held:
            # nobody asked for a second answer: the first one is over, and may say so
            self.out.release_finishes(final=False)
        self.out.order[index] = None
        self._kept.size += CHOICE
        put_off = self.out.put_off.pop(index, None)
        if put_off is not None:
            chunk, raw, size = put_off
            self._kept.size -= size
            found.touched = raw is None
            self._envelope.settle(chunk)
            plan = self._plan(chunk["choices"][0], lenient=False)
            self.out.carry_out(chunk, plan, None if found.touched else raw)
        found.touched = touched

    def _steady(self, chunk: Chunk, choice: Choice, raw: bytes) -> bool:
        """The chunk that most are: a piece of text in a choice that has begun and goes on.

        Does what the stages would do for it, and no more; `tests/test_properties.py` holds the two
        together.
        """
        index = choice["index"]
        content, delta = self._content, choice.get("delta")
        if index not in content.spoke or type(delta) is not dict or "message" in choice:
            return False
        text = delta.get("content")
        if type(text) is not str or not text or choice.get("finish_reason", "") is not None:
            return False
        if self._waits_for(index) or "usage" in choice or "x_groq" in chunk:
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
        self.out.send(chunk, None if found.touched else raw)
        return True

    def _waits_for(self, index: int) -> bool:
        """Whether something waits that the next piece of a choice's text decides about."""
        finish = self._finish
        return (
            self._endpoint == "completions"
            or index in finish.held
            or index in finish.left
            or index in self.out.heads
            or self._content.waits
        )

    def _without_choices(self, chunk: Chunk, raw: bytes) -> None:
        usage = self._usage
        self._envelope.learn(chunk)
        if chunk.get("usage") is None and "x_groq" not in chunk:
            if self._found(choices_stage.CHOICES_EMPTY):
                self.out.take_riders(chunk, given=self._choices.given)
            else:
                self.out.send(chunk, None if self._found.touched else raw)
            return
        displaced = usage.chunk
        usage.take_apart(chunk, None if self._found.touched else raw)
        if usage.chunk is not chunk:
            self.out.take_riders(chunk, given=self._choices.given)
            return
        if displaced is not None:
            self.out.take_riders(displaced)
        self.out.usage_came()

    # ------------------------------------------------------------------ one choice

    def _plan(self, choice: Choice, *, lenient: bool, news: bool = False) -> Plan:
        index = choice["index"]
        if index not in self.out.order:
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
            if self._finish.spoke(index, text=bool(delta.get("content"))):
                self.out.send_held_text(index)
            else:
                self.out.release_finishes(final=False)
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
        return (
            plan
            if word is None
            else self._plan_finish(choice, word, plan, spoken=spoken, first=first)
        )

    def _plan_finish(
        self, choice: Choice, word: str, plan: Plan, *, spoken: bool, first: bool
    ) -> Plan:
        pieces = plan.pieces
        if not (spoken or first) or not (pieces or choice.get("delta")):
            if choice.get("delta"):
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
        waiting = self.out.heads.get(index)
        base = any(value for key, value in delta.items() if key != "role")
        if not fragments:
            # a piece of a name that waits, or nameless fragments, or a legacy call
            if given:
                found.touched = True
            if base or (delta and index not in self._content.spoke):
                return Plan([choice], release=True)
            return Plan([])
        pieces: list[Choice] = []
        heads: dict[Call, None] = {}
        group: list[dict[str, Any]] = []
        said = base and any(delta.get(k) for k in ("content", "refusal", *REASONING_KEYS))
        if said and fragments[0].head:
            pieces.append(choice)
        if waiting is not None:
            self.out.release_head(index)
        for fragment in fragments:
            if fragment.head and group and not heads and found.touched:
                # what has to be taken apart at all is taken apart call by call
                self._group(pieces, choice, delta, group, said=said)
                group = []
            if not fragment.head and fragment.call in heads:
                self._group(pieces, choice, delta, group, said=said)
                self.out.complete_within(pieces[-1], index, heads)
                heads, group = {}, []
            if fragment.head:
                heads[fragment.call] = None
                group.append(fragment.value)
            else:
                group.append(tools.number(fragment))
        self._group(pieces, choice, delta, group, said=said)
        if heads and len(pieces) == 1 and pieces[0] is choice and not found.touched:
            delta["tool_calls"] = given if given is not None and group == given else group
        return Plan(pieces, head=list(heads) or None)

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
            piece = {
                "index": choice["index"],
                "delta": {"tool_calls": group},
                "finish_reason": None,
            }
            pieces.append(piece)
        else:
            delta["tool_calls"] = group
            pieces.append(choice)

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
                choice["text"] = text if isinstance(text, str) else _said_in(delta) or text or ""
                for key, value in delta.items():
                    # its index is settled, and of a delta in the delta nothing can be made
                    if key not in ("role", "content", "text", "index", "delta") and value:
                        choice[key] = value
        if not isinstance(choice.get("text"), str) and found(content_stage.CONTENT_NOT_TEXT):
            choice["text"] = "" if choice.get("text") is None else dumps(choice["text"]).decode()
        self._content.join_halves(index, choice, ("text",))
        count_text(self._report.characters_in, choice.get("text"))
        word = self._finish.read(choice)
        if choice.get("text"):
            if self._finish.spoke(index, text=True):
                self.out.send_held_text(index)
            else:
                self.out.release_finishes(final=False)
        return Plan([choice], finish=word)


def _said_in(delta: Delta) -> Any:
    return delta.get("content") or delta.get("text") or ""
