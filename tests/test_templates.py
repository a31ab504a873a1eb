"""A template changes nothing: with templates switched off, the same bytes, codes and counts.

The streams are made at random from what upstreams do: members that differ from chunk to chunk,
calls and choices that take turns, framing of all kinds, and a fault now and then.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from normalizer import Normalizer, Options, RequestInfo
from tests.streams import CHAT, DONE, ENVELOPE, STREAM, USAGE, WITH_USAGE
from tests.test_properties import without_made_up
from tests.test_recorded import Answer, shared

SEEDS = 400
WORDS = [
    " the",
    "45",
    " wörld",
    " 祝你",
    'a "b"',
    "\\",
    "\n\n",
    "{",
    "}",
    '{"q":',
    '"x"',
    " ",
    "a/b",
]
WORDS += ["content", "m", "\ud83d", "\ude00", "</thought>", "0", "/", "index", "\u2028"]
PLAIN = [" the", " quick", "fox", " jümps", " 祝你"]
ARGUMENTS = ['{"', "q", '": ', '"a b"', ", ", "}", "{}", " ", "[1", "]", "é", "\\u007d", '{"q":1}']


def outcome(answer: Answer, pieces: list[bytes], *, templates: bool, **options: Any) -> Any:
    """What one answer becomes: its bytes, and what the report says."""
    request = RequestInfo.parse(answer.path, answer.request)
    normalizer = Normalizer(request, Options(**options), status=answer.status)
    if not templates:
        normalizer._stream.without_templates()
    out = b"".join([normalizer.feed(piece) for piece in pieces]) + normalizer.close()
    report = normalizer.report
    return (
        without_made_up(out),
        {code: (one.count, one.first) for code, one in report.repairs.items()},
        (report.events_in, report.events_out, report.characters_in, report.characters_out),
        (report.finish, report.usage, report.end, report.model),
    )


def assert_same(answer: Answer, pieces: list[bytes], **options: Any) -> None:
    with_templates = outcome(answer, pieces, templates=True, **options)
    without = outcome(answer, pieces, templates=False, **options)
    assert with_templates == without, (answer.name, options)


def events_of(body: bytes) -> list[bytes]:
    """A body in pieces of one event each."""
    return [piece + b"\n\n" for piece in body.split(b"\n\n") if piece]


# ---------------------------------------------------------------------- chunks


class Stream:
    """Makes the chunks of one stream: a few forms that take turns."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.number = 0
        self.calm = self.chance(0.5)  # all of its forms may become templates
        self.oddity = self.pick([0, 0.05, 0.3])
        self.spaced = self.chance(0.2)
        self.ascii = self.chance(0.3)
        self.ending = self.pick([b"\n", b"\n", b"\n", b"\r\n", b"\r"])
        self.field = self.pick([b"data: ", b"data: ", b"data:", b"event: message\ndata: "])
        self.ids = self.chance(0.1)
        self.tops = [self.top() for _ in range(self.random.randrange(3))]
        self.members = [self.member() for _ in range(self.random.randrange(3))]
        self.says = [self.form() for _ in range(self.random.randrange(1, 5))]

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def pick(self, items: list[Any]) -> Any:
        return self.random.choice(items)

    def word(self) -> str:
        return str(self.pick(WORDS if self.chance(self.oddity) else PLAIN))

    def padding(self) -> str:
        return "aB3+/=_-"[: self.random.randrange(0, 8)]

    def top(self) -> Any:
        """A member of each chunk, and how it is made."""
        self.number = 0
        return self.pick(
            [
                ("created", lambda: 1700000000 + self.number // 3),
                ("created", lambda: self.pick([1700000000, 1700000001, 0, 1.5, None])),
                ("id", lambda: f"id-{self.number}"),
                ("id", lambda: self.pick(["chatcmpl-1", "", "é", "x y", 7])),
                ("obfuscation", self.padding),
                ("p", self.padding),
                ("model", lambda: self.pick(["m", "m", "m", "content"])),
                ("usage", self.usage),
                ("usage", lambda: self.pick([None, USAGE, self.usage()])),
                ("token_id", lambda: self.number),
                ("x", lambda: self.pick([1, 1, 1, 2])),
                ("system_fingerprint", lambda: "fp"),
            ]
        )

    def usage(self) -> Any:
        counted = {"prompt_tokens": 3, "completion_tokens": self.number}
        more = {"total_tokens": 3 + self.number, "queue_time": 0.25, "details": {"cached": 1}}
        return {**counted, **({} if self.chance(0.02) else more)}

    def member(self) -> Any:
        """A member of each choice or delta, and how it is made."""
        return self.pick(
            [
                ("logprobs", self.logprobs),
                ("logprobs", lambda: None),
                ("token_id", lambda: self.random.randrange(90)),
                ("obfuscation", self.padding),
                ("content_filter_results", dict),
                ("native_finish_reason", lambda: None),
            ]
        )

    def logprobs(self) -> Any:
        if self.chance(0.1):
            return self.pick([None, {}, [], 1])
        one = {"token": self.word(), "logprob": -self.random.random(), "bytes": [1, self.number]}
        return {"content": [one] * self.random.randrange(1, 3), "refusal": None}

    def form(self) -> Any:
        index = self.pick([0, 0, 0, 1, 2])
        calm = [
            lambda _: self.choice(0, {"content": self.word()}),
            lambda _: self.choice(1, {"content": self.word()}),
            lambda _: self.choice(0, {"reasoning": self.word()}),
            lambda _: self.choice(0, {"content": "", "reasoning_content": self.word()}),
            lambda _: self.call(0, 0, ident=False),
            lambda _: self.call(0, 1, ident=False),
            lambda _: self.call(1, 0, ident=False),
            lambda _: self.call(0, 0, ident=True),
        ]
        return self.pick(
            calm
            if self.calm
            else [
                lambda _: self.choice(index, {"content": self.word()}),
                lambda _: self.choice(index, {"content": self.word()}),
                lambda _: self.choice(index, {"role": "assistant", "content": self.word()}),
                lambda _: self.choice(index, {"content": "", "reasoning_content": self.word()}),
                lambda _: self.choice(index, {"reasoning": self.word()}),
                lambda _: self.twice(index),
                lambda _: self.choice(index, {"content": None, "refusal": self.word()}),
                lambda _: self.choice(index, {"content": ""}),
                lambda _: self.choice(index, {}),
                lambda _: self.call(index, self.pick([0, 1]), ident=False),
                lambda _: self.call(index, self.pick([0, 1]), ident=False),
                lambda _: self.call(index, self.pick([0, 1, None]), ident=True),
                lambda _: self.choice(index, {"function_call": {"arguments": self.arguments()}}),
                lambda _: {"value": self.word()},
            ]
        )

    def twice(self, index: int) -> dict[str, Any]:
        word = self.word()
        other = self.word() if self.chance(0.1) else word
        return self.choice(index, {"reasoning": word, "reasoning_content": other})

    def arguments(self) -> str:
        return str(self.pick(ARGUMENTS if self.chance(self.oddity) else PLAIN))

    def call(self, index: int, number: int | None, *, ident: bool) -> dict[str, Any]:
        function: dict[str, Any] = {"arguments": self.arguments()}
        fragment: dict[str, Any] = {"function": function}
        if number is not None:
            fragment["index"] = number
        if ident:
            fragment |= {"id": f"call_{number}", "type": "function"}
            function["name"] = f"look_{number}"
        return self.choice(index, {"tool_calls": [fragment]})

    def head(self, index: int, number: int) -> dict[str, Any]:
        function = {"name": f"look_{number}", "arguments": ""}
        fragment = {"index": number, "id": f"call_{number}", "type": "function"}
        return self.choice(index, {"tool_calls": [{**fragment, "function": function}]})

    def choice(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "finish_reason": None}
        for key, value in self.members:
            (choice if key != "token_id" else delta)[key] = value()
        return {"choices": [choice]}

    def odd(self) -> Any:
        """What comes in between."""
        finish = {"index": 0, "delta": {}, "finish_reason": self.pick(["stop", "tool_calls"])}
        return self.pick(
            [
                b": a comment\n\n",
                b"data: {}\n\n",
                b"data: oops\n\n",
                b"id: 7\n\n",
                {"choices": []},
                {"choices": [], "p": "aB3", "x": 1},
                {"choices": [], "usage": USAGE},
                self.choice(0, {"content": [{"type": "text", "text": "in a block"}]}),
                self.choice(0, {"content": self.word(), "tool_calls": []}),
                self.choice(1, {"content": self.word()}),
                self.choice(2, {"content": "third"}),
                {"choices": [{**finish, "index": 1}]},
                {"choices": [finish]} if self.chance(0.2) else self.head(0, 1),
                self.head(0, 0),
            ]
        )

    def events(self, count: int) -> Iterator[bytes]:
        first = self.choice(0, {"role": "assistant", "content": ""})
        yield self.event(first)
        if self.chance(0.9 if self.calm else 0.5):
            for index, number in ((0, 0), (0, 1), (1, 0)):
                yield self.event(self.head(index, number))
                fragment = {"index": number, "function": {"arguments": '{"q": "'}}
                yield self.event(self.choice(index, {"tool_calls": [fragment]}))
        share, turns = self.pick([0, 0, 0.02, 0.1]), self.pick([0, 0.1, 0.3, 0.8])
        say = self.pick(self.says)
        for _ in range(count):
            if self.chance(turns):
                say = self.pick(self.says)
            one = self.odd() if self.chance(share) else say(0)
            yield one if isinstance(one, bytes) else self.event(one)
        # without a finish or an end there are chunks of our own
        if self.chance(0.7):
            yield self.event({"choices": [STOP]})
        if self.chance(0.8):
            yield DONE

    def event(self, chunk: dict[str, Any]) -> bytes:
        self.number += 1
        whole = {**ENVELOPE, **chunk, **{key: value() for key, value in self.tops}}
        separators = None if self.spaced else (",", ":")
        data = json.dumps(whole, ensure_ascii=self.ascii, separators=separators)
        payload = data.encode("utf-8", "surrogatepass")
        ident = b"id: %d\n" % self.number if self.ids else b""
        line: bytes = ident + self.field + payload + b"\n\n"
        return line if self.chance(0.01) else line.replace(b"\n", bytes(self.ending))


STOP = {"index": 0, "delta": {}, "finish_reason": "stop"}
REQUESTS = [STREAM, WITH_USAGE, {**STREAM, "n": 3}, {**STREAM, "n": 2, "tools": [{}]}]
REQUESTS += [{**STREAM, "functions": [{"name": "look_0"}]}]
OPTIONS: list[dict[str, Any]] = [{}, {}, {}, {"reasoning": "both"}, {"extras": "drop"}]
OPTIONS += [{"ignore": ("E206", "E202")}, {"ignore": ("U601",)}, {"reasoning": "keep"}]


def made(seed: int) -> tuple[Answer, list[bytes], dict[str, Any]]:
    stream = Stream(seed)
    events = list(stream.events(40))
    answer = Answer(f"seed {seed}", CHAT, stream.pick(REQUESTS), b"".join(events))
    return answer, events, stream.pick(OPTIONS)


@pytest.mark.parametrize("part", range(8))
def test_made_streams(part: int) -> None:
    for seed in range(part, SEEDS, 8):
        answer, events, options = made(seed)
        assert_same(answer, events, **options)


@pytest.mark.parametrize("size", [7, 50, 2000])
def test_made_streams_in_pieces(size: int) -> None:
    for seed in range(size, size + SEEDS // 10):
        answer, _, options = made(seed)
        raw = answer.raw
        assert_same(answer, [raw[i : i + size] for i in range(0, len(raw), size)], **options)


def test_recorded_streams() -> None:
    for answer in shared():
        assert_same(answer, events_of(answer.raw))


@pytest.mark.parametrize("seed", range(3))
def test_recorded_streams_with_faults(seed: int) -> None:
    """Events left out, repeated, out of their place, with another byte."""
    chance = random.Random(seed)
    for answer in shared():
        events = events_of(answer.raw)
        if len(events) < 5 or len(answer.raw) > 60_000:
            continue
        for _ in range(2):
            at = chance.randrange(1, len(events))
            other = events[chance.randrange(1, len(events))]
            broken = bytearray(other)
            broken[chance.randrange(len(broken))] = chance.choice(b'"\\{}[],:01a \xff')
            events[at : at + chance.randrange(2)] = [chance.choice([other, bytes(broken)])]
        assert_same(answer, events)
