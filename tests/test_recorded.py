"""Every recorded answer: its splits change nothing, and a second pass changes nothing.

Recorded are the cassettes and, where they lie beside the repository, the streams of ../shared.
"""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from normalizer import RequestInfo
from normalizer.cassette import load
from normalizer.catalogue import rules
from tests.shared import beside
from tests.streams import (
    CHAT,
    COMPLETIONS,
    ENVELOPE,
    STREAM,
    USAGE,
    WITH_USAGE,
    Outcome,
    call,
    chunk,
    event,
    normalize,
    raw,
    text,
)
from tests.test_properties import assert_as_it_came, without_made_up

CASSETTES = Path(__file__).parents[1] / "cassettes"
REPORTED = frozenset(rule.deviation.code for rule in rules() if rule.deviation.reported)
TOOLS = {**STREAM, "tools": [{"type": "function", "function": {"name": "look"}}]}
TWO = {**STREAM, "n": 2}
SHORT = 700  # bytes of a stream of which every split in two is tried
LONG = 3_000  # bytes of a stream that is not fed byte by byte


class Answer(NamedTuple):
    """A recorded answer: what was asked, and the bytes that came."""

    name: str
    path: str
    request: Any
    raw: bytes
    status: int = 200

    def normalize(self, *pieces: bytes) -> Outcome:
        return normalize(
            b"", self.request, self.path, status=self.status, pieces=list(pieces) or [self.raw]
        )


def cassettes() -> Iterator[Answer]:
    for path in sorted(CASSETTES.rglob("*.yaml")):
        for interaction in load(path).interactions:
            asked, response = interaction.request, interaction.response
            where = urlsplit(asked.uri).path
            request = RequestInfo.parse(where, asked.body)
            assert request.endpoint is not None, path
            name = str(path.relative_to(CASSETTES))
            yield Answer(name, where, json.loads(asked.body), response.body, response.status)


@functools.cache
def shared() -> list[Answer]:
    spec = importlib.util.spec_from_file_location("conform_for_recorded", beside("conform.py"))
    assert spec is not None
    assert spec.loader is not None
    judge: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(judge)
    root = beside("conform.py").parent
    return [Answer(one.id, one.path, one.request, one.raw) for one in judge.answers(root)]


def piece(said: str, finish: str | None = None, index: int = 0) -> dict[str, Any]:
    """A chunk of a legacy completion."""
    choice = {"index": index, "text": said, "logprobs": None, "finish_reason": finish}
    return {**ENVELOPE, "object": "text_completion", "choices": [choice]}


def whole(message: dict[str, Any], finish: str = "stop", **members: Any) -> bytes:
    """A JSON answer."""
    choice = {"index": 0, "message": message, "finish_reason": finish}
    answer = {**ENVELOPE, "object": "chat.completion", "choices": [choice], **members}
    return json.dumps(answer).encode()


HEAD = call("", id="a", name="look", type="function")
ARGUMENTS = '{"q":1}'
ERROR = event({"error": {"message": "boom"}})
STOP = chunk({}, "stop")
PLAIN = {"model": "m", "stream": False}


def chat(name: str, request: Any, *chunks: Any) -> Answer:
    """A stream of chat completions that ends with `[DONE]`."""
    return Answer(name, CHAT, request, raw(*chunks))


def spelt(said: str) -> bytes:
    """A chunk whose text is spelt so in its JSON."""
    return event(chunk({"content": "HERE"})).replace(b"HERE", said.encode())


MADE = [
    chat("text", STREAM, *text("Hi", " you"), STOP),
    chat("pair", STREAM, *map(spelt, ("\\ud83d", "\\ude00", "\\ud83d")), STOP),
    Answer("escapes", CHAT, STREAM, raw(*text('"', "\\", "ä"), STOP).replace(b"\n", b"\r\n")),
    Answer(
        "usages", CHAT, STREAM, raw(*(chunk({"content": w}, usage=USAGE) for w in "abcd"), STOP)
    ),
    Answer(
        "usages that differ",
        CHAT,
        WITH_USAGE,
        raw(*(chunk({"content": w}, usage={**USAGE, "n": n % 3}) for n, w in enumerate("abcdef"))),
    ),
    chat("early finish", STREAM, *text("Hi"), STOP, chunk({"content": "!"}), STOP),
    Answer(
        "two",
        CHAT,
        TWO,
        raw(
            *(chunk({"content": w}, index=i) for w in ("a", "b", "c") for i in (0, 1)),
            chunk({}, "stop", 1),
            b": ping\n\n",
            chunk({"content": "d"}),
            chunk({}, "length"),
        ),
    ),
    chat("two, one silent", TWO, chunk({"content": "a"}), chunk({}, None, 1)),
    Answer(
        "two calls", CHAT, TOOLS, raw(HEAD, call(ARGUMENTS), call("{}", index=1, id="b", name="f"))
    ),
    chat("call and stop", TOOLS, HEAD, call(ARGUMENTS), STOP),
    Answer(
        "name in pieces", CHAT, TOOLS, raw(call(id="a", name="lo"), call(name="ok"), call("{}"))
    ),
    chat("placeholder", TOOLS, HEAD, call("{}"), b": ping\n\n", call(ARGUMENTS), STOP),
    Answer(
        "arguments again", CHAT, TOOLS, raw(HEAD, call('{"q":'), call("1}"), call(ARGUMENTS), STOP)
    ),
    Answer(
        "calls of two choices",
        CHAT,
        {**TOOLS, "n": 2},
        raw(HEAD, chunk({"content": "a"}, index=1), call(ARGUMENTS), chunk({}, "stop", 1)),
    ),
    Answer(
        "run by the server, with its result",
        CHAT,
        TOOLS,
        raw(HEAD, call(ARGUMENTS), chunk({"role": "tool", "content": "4"}), *text("Found"), STOP),
    ),
    chat("cut call", TOOLS, HEAD, call('{"q":'), chunk({}, "length")),
    chat("nameless", TOOLS, call(ARGUMENTS, index=3), HEAD, chunk({}, "tool_calls")),
    Answer("error", CHAT, STREAM, raw(*text("Hi"), ERROR, done=False)),
    chat("error behind a call", TOOLS, HEAD, call("{}"), ERROR),
    Answer("cut", CHAT, STREAM, raw(*text("Hi"), done=False)),
    Answer("torn", CHAT, STREAM, raw(*text("Hi"), done=False) + b'data: {"choices":[{"del'),
    chat("failure word", STREAM, *text("Hi"), chunk({}, "error")),
    Answer(
        "riders",
        CHAT,
        STREAM,
        raw({"choices": [], "x": 1}, *text("Hi"), {"choices": [], "x": 2}, STOP),
    ),
    Answer("empty", CHAT, STREAM, b""),
    Answer("page", CHAT, STREAM, b"<html><title>502</title></html>"),
    Answer("lines", CHAT, STREAM, b"".join(event(one)[6:-1] for one in (*text("Hi"), STOP))),
    Answer("legacy", COMPLETIONS, STREAM, raw(*map(piece, "abc"), piece("", "stop"))),
    Answer(
        "legacy, stop each time", COMPLETIONS, STREAM, raw(piece("a", "stop"), piece("b", "stop"))
    ),
    Answer(
        "legacy, two",
        COMPLETIONS,
        TWO,
        raw(
            *(piece(w, None, i) for w in "ab" for i in (1, 0)),
            piece("", "stop"),
            piece("", "eos", 1),
        ),
    ),
    Answer("body", CHAT, PLAIN, whole({"role": "assistant", "content": "Hi"})),
    Answer(
        "body with calls", CHAT, PLAIN, whole({"tool_calls": [{"function": {"name": "f"}}]}, "eos")
    ),
    Answer("body for a stream", CHAT, WITH_USAGE, whole({"content": "Hi"}, usage=USAGE)),
    Answer("body with an error", CHAT, PLAIN, b'{"detail": "boom"}'),
    Answer(
        "error for a stream", CHAT, STREAM, b'{"object": "error", "message": "boom", "code": 4}'
    ),
    chat("stream for a body", PLAIN, *text("Hi", " you"), STOP),
    Answer("error with its status", CHAT, STREAM, b'{"detail": "boom"}', 404),
]


def is_the_same(parts: Outcome, whole: Outcome) -> bool:
    return (
        without_made_up(parts.out) == without_made_up(whole.out)
        and parts.report.codes == whole.report.codes
        and parts.report.characters_out == whole.report.characters_out
        and parts.report.end == whole.report.end
        and parts.normalizer.status == whole.normalizer.status
    )


def assert_splits_change_nothing(answers: Iterable[Answer], *, short: int = SHORT) -> None:
    for one in answers:
        whole = one.normalize()
        size = len(one.raw)
        if size <= LONG:
            assert is_the_same(one.normalize(*_pieces(one.raw, 1)), whole), one.name
        assert is_the_same(one.normalize(*_pieces(one.raw, max(7, size // 500))), whole), one.name
        if size <= short:
            for cut in range(size):
                parts = one.normalize(one.raw[:cut], one.raw[cut:])
                assert is_the_same(parts, whole), (one.name, cut)


def _pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def assert_twice_changes_nothing(answers: Iterable[Answer]) -> None:
    for one in answers:
        once = one.normalize()
        status = once.normalizer.status
        twice = one._replace(raw=once.out, status=status).normalize()
        assert_as_it_came(twice.out, once.out)
        # an error's own status may stay unknown to the second pass, never its words
        assert not twice.codes - REPORTED, one.name
        assert twice.normalizer.status == status, one.name


@pytest.mark.parametrize("one", MADE, ids=lambda one: one.name)
def test_every_split_in_two_changes_nothing(one: Answer) -> None:
    assert_splits_change_nothing([one], short=5000)


@pytest.mark.parametrize("one", MADE, ids=lambda one: one.name)
def test_a_second_pass_changes_nothing(one: Answer) -> None:
    assert_twice_changes_nothing([one])


def test_splits_of_cassettes_change_nothing() -> None:
    assert_splits_change_nothing(cassettes())


def test_a_second_pass_over_cassettes_changes_nothing() -> None:
    assert_twice_changes_nothing(cassettes())


def test_splits_of_recorded_streams_change_nothing() -> None:
    assert_splits_change_nothing(shared(), short=0)


def test_a_second_pass_over_recorded_streams_changes_nothing() -> None:
    assert_twice_changes_nothing(shared())


def test_a_second_pass_knows_that_the_server_ran_the_call() -> None:
    finishes = chunk({}, "tool_calls"), chunk({"content": "Found"}), STOP
    assert_twice_changes_nothing([Answer("", CHAT, TOOLS, raw(HEAD, call(ARGUMENTS), *finishes))])
