"""A template changes nothing in the younger APIs: the same bytes, codes and counts without any.

The streams are made at random from what upstreams do: items and blocks that take turns, numbers
that rise, stand still or are missing, padding, and a fault now and then.
"""

from __future__ import annotations

import itertools
import json
import random
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from normalizer.core.draft import Draft
from normalizer.wires.responses.wire import ResponsesWire
from tests.test_recorded import Answer
from tests.test_templates import outcome
from tests.wires.messages import streams as messages
from tests.wires.responses import streams as responses

SEEDS = 300
WORDS = [" the", "45", " wörld", " 祝你", 'a "b"', "\\", "\n\n", "{", "}", '{"q":', ",", ":", "0"]
WORDS += ["delta", "text_delta", "msg_1", " ", "\ud83d", "\ude00", "", "a/b", "]", '"x"}', "é"]
PLAIN = [" the", " quick", "fox", " jümps", " 祝你", '{"', '": 1}']
OPTIONS: list[dict[str, Any]] = [{}, {}, {}, {"max_response_bytes": 100}, {"max_held_bytes": 9000}]
OPTIONS += [{"ignore": ("R104",)}, {"ignore": ("R302", "R304")}, {"silence": ("R1", "M3")}]
OPTIONS += [{"unknown_events": "ride"}, {"empty_blocks": "drop"}]
TEXTS = {
    "message": ("output_text", "content_index"),
    "reasoning": ("reasoning_summary_text", "summary_index"),
    "function_call": ("function_call_arguments", ""),
}


class Dice:
    """What one stream draws, again and again the same for one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.odd = self.pick([0, 0, 0.05, 0.3])
        self.spaced = self.chance(0.3)
        self.ascii = self.chance(0.3)

    def pick(self, among: Any) -> Any:
        return self.random.choice(among)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    @property
    def oddly(self) -> bool:
        return self.chance(self.odd)

    def word(self) -> str:
        return str(self.pick(WORDS if self.oddly or self.chance(0.1) else PLAIN))

    def written(self, event: dict[str, Any], pad: str = "") -> bytes:
        separators = (", ", ": ") if self.spaced else (",", ":")
        data = json.dumps(event, ensure_ascii=self.ascii, separators=separators)
        data = data[:-1] + pad + "}"
        name = "" if self.oddly else f"event: {event.get('type')}\n"
        end = self.pick(["\n\n", "\n\n", "\r\n\r\n", "\n"]) if self.oddly else "\n\n"
        return (name + "data: " + data + end).encode("utf-8", "surrogatepass")


class ResponseStream(Dice):
    """One answer of the Responses API."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.numbers = self.pick(["own", "own", "own", "none", "still", "jumping"])
        self.obfuscated = self.chance(0.5)
        self.named = self.pick(["both", "both", "id", "index", "other"])
        self.number = self.pick([-1, 0, 7])
        self.items: list[tuple[int, str]] = []

    def event(self, kind: str, **members: Any) -> bytes:
        value: dict[str, Any] = {"type": f"response.{kind}", **members}
        self.number += 1 if self.numbers != "jumping" else self.pick([1, 2, 5])
        if self.numbers != "none" and not self.oddly:
            value["sequence_number"] = 3 if self.numbers == "still" else self.number
        if self.obfuscated and "delta" in members and not self.oddly:
            value["obfuscation"] = "aB3xY9kLmN2p"[: self.random.randrange(12)]
        return self.written(value)

    def place(self, number: int, key: str = "") -> dict[str, Any]:
        place: dict[str, Any] = {"item_id": f"it_{number}", "output_index": number}
        if self.named == "other":
            place = {"item_id": f"native_{number}", "output_index": number}
        elif self.named != "both":
            place.pop("output_index" if self.named == "id" else "item_id")
        return place if not key or self.oddly else {**place, key: 0}

    def delta(self, number: int, kind: str) -> bytes:
        stem, key = TEXTS[kind]
        members = {**self.place(number, key), "delta": self.word()}
        if stem == "output_text" and self.chance(0.8):
            members["logprobs"] = [] if self.chance(0.7) else [{"token": self.word()}]
        return self.event(f"{stem}.delta", **members)

    def events(self, deltas: int) -> Iterator[bytes]:
        yield self.event("created", response=responses.response())
        yield self.event("in_progress", response=responses.response())
        for _ in range(self.pick([1, 2, 4])):
            began = [self._began() for _ in range(self.pick([1, 1, 2, 3]))]
            for event, _, _ in began:
                yield event
            for _ in range(deltas):
                _, number, kind = self.pick(began)
                yield from self._between(number, kind)
                yield self.delta(number, kind)
            for _, number, kind in began:
                if not self.oddly:
                    yield from self._ended(number, kind)
        if not self.oddly:
            yield self.event("completed", response=responses.response("completed"))

    def _began(self) -> tuple[bytes, int, str]:
        number, kind = len(self.items), self.pick(list(TEXTS))
        self.items.append((number, kind))
        item: dict[str, Any] = {"id": f"it_{number}", "type": kind}
        if kind == "function_call":
            item |= {"call_id": f"call_{number}", "name": "look", "arguments": ""}
        elif kind == "message":
            item |= {"role": "assistant", "content": []}
        else:
            item |= {"summary": []}
        return self.event("output_item.added", output_index=number, item=item), number, kind

    def _ended(self, number: int, kind: str) -> Iterator[bytes]:
        stem, key = TEXTS[kind]
        whole = "arguments" if kind == "function_call" else "text"
        if self.chance(0.5):
            said = self.pick(["", "the quick fox"])
            yield self.event(f"{stem}.done", **self.place(number, key), **{whole: said})
        item = {"id": f"it_{number}", "type": kind, "status": "completed"}
        yield self.event("output_item.done", output_index=number, item=item)

    def _between(self, number: int, kind: str) -> Iterator[bytes]:
        """Something else that comes before a delta, now and then."""
        if self.chance(0.03):
            yield self.pick([b": comment\n\n", b'event: ping\ndata: {"type":"ping"}\n\n'])
        if self.oddly:
            stem, key = TEXTS[kind]
            one = self.pick(
                [
                    self.event(f"{stem}.done", **self.place(number, key)),
                    self.event("output_item.done", output_index=number, item={"type": kind}),
                    self.event("news.delta", **self.place(number), delta=self.word()),
                    self.event("code_interpreter_call_code.delta", output_index=9, delta="x"),
                    self.written({"type": "codex.rate_limits", "left": 1}),
                    self.written({"more": 1}),
                    b'data: {"type":"response.output_text.delta","delta":"torn\n\n',
                ]
            )
            yield one[:-9] + one[-9:] if self.chance(0.9) else one.replace(b"it_", b"xx_")


class MessageStream(Dice):
    """One answer of the Messages API."""

    BLOCKS = (messages.TEXT, messages.THINKING, None)

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.padded = self.chance(0.6)
        self.shifted = self.pick([0, 0, 0, 1])
        self.open: list[tuple[int, Any]] = []
        self.index = 0

    def event(self, value: Any) -> bytes:
        return self.written(value, " " * self.random.randrange(9) if self.padded else "")

    def delta(self, index: int, block: Any) -> Any:
        if block is None:
            return messages.piece(index, self.word())
        of = messages.text if block is messages.TEXT else messages.thought
        return of(index, self.word())

    def events(self, deltas: int) -> Iterator[bytes]:
        yield self.event(messages.start())
        for _ in range(self.pick([1, 2, 4])):
            blocks = []
            for _ in range(self.pick([1, 1, 2])):
                index, block = self.index + self.shifted, self.pick(self.BLOCKS)
                self.index += 1
                blocks.append((index, block))
                opened = messages.tool(index) if block is None else messages.opened(index, block)
                yield self.event(opened)
            for _ in range(deltas):
                index, block = self.pick(blocks)
                yield from self._between(index)
                yield self.event(self.delta(index, block))
            for index, _ in blocks:
                if not self.oddly:
                    yield self.event(messages.stopped(index))
        for one in messages.END:
            if not self.oddly:
                yield self.event(one)

    def _between(self, index: int) -> Iterator[bytes]:
        if self.chance(0.05):
            yield self.pick([b": comment\n\n", b'event: ping\ndata: {"type": "ping"}\n\n'])
        if self.oddly:
            odd = [messages.stopped(index), messages.reason(None), messages.reason("end_turn")]
            odd += [messages.piece(index, "{}"), messages.text(index, ""), messages.text(index, 7)]
            odd += [{"type": "news", "index": index}, messages.tool(index), messages.start()]
            yield self.event(self.pick(odd))


def same_without(monkeypatch: pytest.MonkeyPatch, seed: int, size: int = 0) -> None:
    answer, pieces, options = made(seed)
    if size:
        pieces = [answer.raw[i : i + size] for i in range(0, len(answer.raw), size)]
    outcomes = []
    for templates in (True, False):
        numbers = itertools.count()  # the same ids are made up both times
        monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=next(numbers)))  # noqa: B023
        outcomes.append(outcome(answer, pieces, templates=templates, **options))
    assert outcomes[0] == outcomes[1], (answer.name, options)


def made(seed: int) -> tuple[Answer, list[bytes], dict[str, Any]]:
    deltas = 12 if seed % 9 else 90
    chance = random.Random(-seed)
    if seed % 2:
        events = list(ResponseStream(seed).events(deltas))
        path, request = responses.PATH, responses.STREAM
    else:
        events = list(MessageStream(seed).events(deltas))
        path, request = "/v1/messages", {"stream": True, "messages": []}
    options = chance.choice(OPTIONS)
    return Answer(f"seed {seed}", path, request, b"".join(events)), events, options


@pytest.mark.parametrize("part", range(6))
def test_made_streams(monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    for seed in range(part, SEEDS, 6):
        same_without(monkeypatch, seed)


@pytest.mark.parametrize("size", [11, 300, 4000])
def test_made_streams_in_pieces(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    for seed in range(size, size + SEEDS // 10):
        same_without(monkeypatch, seed, size)


def test_half_a_character_stays_before_what_follows_it() -> None:
    half = messages.written(messages.text(0, "?")).replace(b'"?"', b'"\\ud83d"')
    said = messages.written(messages.text(0, "a")), half, messages.written(messages.text(0, "b"))
    begun = messages.written(messages.start(), messages.opened(0, messages.TEXT))
    end = messages.written(messages.stopped(0), *messages.END)
    answer = Answer("half", "/v1/messages", {"stream": True, "messages": []}, b"")
    out = outcome(answer, [begun, *said, end], templates=False)[0]
    assert "\ufffdb".encode() in out


@pytest.mark.parametrize("numbers", ["own", "none"])
@pytest.mark.parametrize("kind", sorted(TEXTS))
def test_deltas_of_a_response_do_not_come_to_the_wire(
    monkeypatch: pytest.MonkeyPatch, kind: str, numbers: str
) -> None:
    came: list[str] = []
    taken = ResponsesWire.event

    def event(self: ResponsesWire, draft: Draft, name: str) -> None:
        came.append(name)
        taken(self, draft, name)

    monkeypatch.setattr(ResponsesWire, "event", event)
    stream = ResponseStream(2)
    stream.odd, stream.numbers, stream.named, stream.obfuscated = 0, numbers, "both", False
    stem, key = TEXTS[kind]
    begun = [stream.event("created", response=responses.response())]
    item = {"id": "it_0", "type": kind, "call_id": "c", "name": "look"}
    begun.append(stream.event("output_item.added", output_index=0, item=item))
    said = [f"word {n} " for n in range(50)]
    deltas = [stream.event(f"{stem}.delta", **stream.place(0, key), delta=one) for one in said]
    answer = Answer("deltas", responses.PATH, responses.STREAM, b"")
    out, *_ = outcome(answer, [*begun, *deltas], templates=True)
    assert came.count(f"response.{stem}.delta") <= 4
    assert all(json.dumps(one).encode() in out for one in said)


@pytest.mark.parametrize("said", [{}, {"delta": None}, {"delta": 7}, {"delta": {"text": "a"}}])
def test_deltas_that_are_not_repaired_and_have_no_text(said: dict[str, Any]) -> None:
    stream = ResponseStream(2)
    kind = "response.reasoning_summary_text.delta"
    events = [stream.written({"type": kind, "sequence_number": n, **said}) for n in range(1, 8)]
    answer = Answer("no text", responses.PATH, responses.STREAM, b"")
    with_templates = outcome(answer, events, templates=True, select=("S",))
    # without the ids, which are made up
    assert with_templates[1:] == outcome(answer, events, templates=False, select=("S",))[1:]
