"""What an answer costs grows with its length, and what is kept of it is bounded.

Counted are steps, not seconds: what is read again at each event shows as calls, or as bytes that
are read more than once.
"""

# ruff: noqa: RUF001

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from normalizer import Normalizer, Options, RequestInfo
from normalizer.core.draft import Draft
from tests.streams import event

TOOLS = {"tools": [{"type": "function", "function": {"name": "look"}}]}


def chunk(delta: Any, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    envelope = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return event({**envelope, "choices": [choice], **more})


def normalizer(
    path: str = "/v1/chat/completions", request: Any = None, **options: Any
) -> Normalizer:
    asked = {"model": "m", "stream": True, **(request or {})}
    return Normalizer(RequestInfo.parse(path, asked), Options(**options))


@contextmanager
def counted_calls() -> Iterator[list[int]]:
    """Counts the calls of functions, those that are written in C too."""
    calls = [0]

    def count(_frame: FrameType, what: str, _argument: Any) -> None:
        calls[0] += what in ("call", "c_call")

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def steps(pieces: Iterable[bytes], **options: Any) -> int:
    """The calls that it takes to normalize a body that comes in these pieces."""
    one = normalizer(**options)
    with counted_calls() as calls:
        for piece in pieces:
            one.feed(piece)
        one.close()
    return calls[0]


def assert_linear(cost: Callable[[int], int], size: int) -> None:
    """Twice the size is twice the cost, give or take what does not grow at all."""
    once, twice, four_times = (cost(size * factor) for factor in (1, 2, 4))
    assert twice < 2.5 * once + 100, (once, twice, four_times)
    assert four_times < 2.5 * twice + 100, (once, twice, four_times)


class Meter:
    """Stands for a function that reads text or bytes, and adds up their lengths."""

    def __init__(self, reads: Callable[..., Any]) -> None:
        self._reads = reads
        self.read = 0

    def __call__(self, text: Any, *rest: Any) -> Any:
        self.read += len(text)
        return self._reads(text, *rest)


# --- lines --------------------


class _Line(bytes):
    """A line that tells how often its length is asked for."""

    asked = 0

    def __len__(self) -> int:
        _Line.asked += 1
        return super().__len__()


def test_a_page_of_blank_lines_is_added_up_once() -> None:
    from normalizer.core.sse import EventReader

    def asked(size: int) -> int:
        reader = EventReader(lambda _: True, limit=8 * 1024 * 1024)
        _Line.asked = 0
        reader.receive(b"<\n")
        assert reader.next() is None
        for _ in range(size):
            reader._line(_Line(b""))
        return _Line.asked

    assert_linear(asked, 100)


def test_a_page_that_does_not_end_ends_at_a_limit() -> None:
    one = normalizer()
    one.feed(b"<\n" + b"\n" * 70_000)
    assert one.ended
    assert one.report.error is not None
    assert "a page of HTML" in one.report.error["message"]


def test_a_page_is_no_larger_than_an_event_may_be() -> None:
    one = normalizer(max_event_bytes=1000)
    one.feed(b"<\n" + b"<p>\n" * 300)
    assert one.ended


@pytest.mark.parametrize("line", [b'"x"', b'{"x": 1},', b"]", b'"x": "}"', b"[1],"])
def test_json_over_many_lines_is_parsed_a_bounded_number_of_times(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from normalizer.core import lenient, sse

    def parsed(size: int) -> int:
        meter = Meter(lenient.loads)
        with monkeypatch.context() as patch:
            patch.setattr(sse, "loads", meter)
            one = normalizer()
            one.feed(b'data: {"a":[\n' + (b"data: " + line + b"\n") * size)
            one.close()
        return meter.read

    assert_linear(parsed, 100)


def test_json_over_many_lines_is_still_read() -> None:
    lines = json.dumps(json.loads(chunk({"content": 'He said "[{\\'})[6:]), indent=1).split("\n")
    one = normalizer()
    out = one.feed(b"".join(b"data: " + line.encode() + b"\n" for line in lines) + b"\n")
    assert json.dumps('He said "[{\\').encode() in out
    assert set(one.report.codes) == {"C301", "F114"}


def test_a_field_name_that_comes_over_and_over_is_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def calls(size: int) -> int:
        return steps([b": x\n\n" + b"data:" * size + b'{"a": 1}\n\n'])

    assert_linear(calls, 100)
    one = normalizer()
    one.feed(b"data: " * 5 + chunk({"role": "assistant", "content": "Hi"}))
    assert one.report.codes == {"F115": 1}


# --- the beginning of a body --------------------


@pytest.mark.parametrize(
    ("first", "path"),
    [
        (b"", "/v1/chat/completions"),
        (b"\xef\xbb\xbf", "/v1/chat/completions"),
        (b'{"a": 1}\n', "/v1/completions"),
        (b'{"a": 1, "b": 2, "c": 3}\n', "/v1/completions"),
    ],
)
def test_blanks_before_the_first_event_are_not_looked_at_again(first: bytes, path: str) -> None:
    one = normalizer(path=path)
    one.feed(first)
    for _ in range(1000):
        one.feed(b"\n")
    assert sum(map(len, one._beginning._line or [])) < 100


def test_a_long_first_line_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    one = normalizer()
    for piece in [b'{"choices": [{"index": 0, "delta": {"content": "', *[b"a"] * 1000]:
        one.feed(piece)
    assert len(one._beginning._line or []) == 1001, "the pieces were put together again and again"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_blanks_before_the_first_event_are_bounded(mark: bytes) -> None:
    one = normalizer(max_event_bytes=1000)
    one.feed(mark)
    out = b"".join(one.feed(b"\n" * 100) for _ in range(11))
    assert b"upstream_too_large" in out


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize("blanks", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_body_s_kind_is_known_however_it_is_split(size: int, blanks: bytes) -> None:
    for body, kind in [
        (chunk({"content": "Hi"}), "text/event-stream"),
        (chunk({"content": "Hi"})[6:-1] * 2, "text/event-stream"),
        (b'{"error": {"message": "no"}}\n\n', "application/json"),
    ]:
        one = Normalizer(RequestInfo(endpoint="chat"))
        whole = blanks + body
        for start in range(0, len(whole), size):
            one.feed(whole[start : start + size])
        one.close()
        assert str(one.content_type).startswith(kind), body


# --- markup --------------------


@pytest.mark.parametrize("text", [" ", "\n", "</s>", "<|im_end|>", " </s>", "a ", "<|"])
def test_what_may_be_the_end_of_an_answer_is_read_once(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from normalizer.wires.chat.markup import leaks, source

    def read(size: int) -> int:
        meter = Meter(source.beginning_at_end)
        with monkeypatch.context() as patch:
            patch.setattr(leaks, "beginning_at_end", meter)
            one = normalizer(special_tokens=True)
            for _ in range(size):
                one.feed(chunk({"content": text}))
            one.close()
        return meter.read

    assert_linear(read, 50)


@pytest.mark.parametrize("option", ["special_tokens", "think_tags"])
def test_blanks_that_wait_are_bounded(option: str) -> None:
    options: dict[str, Any] = {option: True}
    one = normalizer(max_held_bytes=1000, **options)
    out = b"".join(one.feed(chunk({"content": " " * 100})) for _ in range(15))
    assert out.count(b" " * 100) >= 10
    out += one.feed(chunk({"content": "Hi"})) + one.feed(b"data: [DONE]\n\n") + one.close()
    assert said(out) == " " * 1500 + "Hi"


def test_the_tokens_at_the_end_are_left_out_and_those_before_it_are_not() -> None:
    one = normalizer(special_tokens=True)
    out = b""
    for piece in ["a", " </s>", "\n", "b", " <|im", "_end|>", " ", "</s>\n"]:
        out += one.feed(chunk({"content": piece}))
    assert said(out + one.feed(b"data: [DONE]\n\n")) == "a </s>\nb"


class _Text(str):
    """Text that counts the characters that are searched in it or copied of it."""

    steps = 0

    def __radd__(self, before: str) -> _Text:
        _Text.steps += len(before) + len(self)
        return _Text(before.__add__(self))

    def __add__(self, behind: str) -> _Text:
        _Text.steps += len(self) + len(behind)
        return _Text(super().__add__(behind))

    def __getitem__(self, what: Any) -> _Text:
        part = _Text(super().__getitem__(what))
        _Text.steps += len(part)
        return part

    def find(self, marker: str, start: Any = 0, end: Any = None) -> int:
        at = super().find(marker, start, end)
        _Text.steps += (at if at >= 0 else len(self)) - start
        return at


# what one beginning among many is followed by; the calls themselves, and the end
BEGINNINGS = [
    ("hermes", '<tool_call>{"', "</tool_call>"),
    ("hermes", "<tool_call>", "</tool_call>"),
    ("react", "\nAction: look\n", "\nObservation:"),
    ("react", "\nAction: other\nAction Input: 1", "\nObservation:"),
    (
        "kimi",
        "<|tool_calls_section_begin|><|tool_call_begin|>look<|tool_call_argument_begin|>",
        "<|tool_calls_section_end|>",
    ),
    ("deepseek", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>look\n", "<｜tool▁calls▁end｜>"),
    ("qwen_coder", "<tool_call><function=look><parameter=a>", "</parameter>x"),
    ("glm", "<tool_call>look<arg_key>a</arg_key><arg_value>", "</arg_value>x"),
    ("minimax", '<minimax:tool_call><invoke name="look"><parameter name="a">', "</parameter>x"),
    ("dsml", '<｜DSML｜function_calls><｜DSML｜invoke name="look">', "</｜DSML｜function_calls>"),
    ("mistral", '[TOOL_CALLS][{"name":"look","arguments":{"', "]"),
    ("harmony", "<|channel|>commentary to=functions.look <|message|>", "<|return|>"),
    ("hunyuan", '<tool_calls>[{"', "]</tool_calls>"),
    ("pythonic", "<|python_start|>[look(a='", "]"),
    ("llama", '<|python_tag|>{"name":"look","parameters":{"', "}}"),
    ("granite", '<|tool_call|>[{"name":"look","arguments":{"', "}}]"),
    ("phi", 'functools[{"name":"look","arguments":{"', "}}]"),
    ("phi", 'functools[{"name":"look","arguments":{"a":"', "}}]"),
]


def read_in_text(dialect: str, pieces: Iterable[str]) -> int:
    """The characters that are read, some of them again, to find calls in a text."""
    from normalizer.core.findings import Findings
    from normalizer.core.report import Report
    from normalizer.wires.chat.markup.text_calls import DIALECTS
    from normalizer.wires.chat.markup.text_calls.dialect import Tools
    from normalizer.wires.chat.markup.text_calls.reader import CallsInText, Search
    from normalizer.wires.chat.markup.text_calls.repeats import CallsMade

    tools = Tools(RequestInfo.parse("/v1/chat/completions", TOOLS))
    reader = CallsInText(Search(Findings(Report()), DIALECTS[dialect], tools), CallsMade())
    _Text.steps = 0
    given = "".join(part.text for piece in pieces for part in reader.feed(_Text(piece)))
    read = _Text.steps
    assert given + "".join(part.text for part in reader.close()) == "".join(pieces)
    return read


@pytest.mark.parametrize(("dialect", "begin", "end"), BEGINNINGS)
def test_many_beginnings_of_calls_in_one_event_are_read_once(
    dialect: str, begin: str, end: str
) -> None:
    assert_linear(lambda size: read_in_text(dialect, [begin * size + end]), 100)


@pytest.mark.parametrize(("dialect", "begin", "end"), BEGINNINGS)
def test_a_call_that_has_not_ended_is_searched_once(dialect: str, begin: str, end: str) -> None:
    assert_linear(lambda size: read_in_text(dialect, [*[begin] * size, end]), 100)


@pytest.mark.parametrize(
    ("dialect", "begin", "call", "end"),
    [
        (
            "qwen_coder",
            "<tool_call><function=look><parameter=a>",
            "</parameter><parameter=b>1",
            "</parameter>x</tool_call>",
        ),
        (
            "qwen_coder",
            "<tool_call><function=look><parameter=a>",
            "</parameter>x",
            "</parameter><parameter=b>1</parameter>x",
        ),
        (
            "glm",
            "<tool_call>look<arg_key>a</arg_key><arg_value>",
            "</arg_value><arg_key>b</arg_key><arg_value>1",
            "</arg_value>x</tool_call>",
        ),
    ],
)
def test_calls_behind_many_beginnings_are_read_once(
    dialect: str, begin: str, call: str, end: str
) -> None:
    def calls(size: int) -> int:
        with counted_calls() as counted:
            read_in_text(dialect, [begin * size + call * size + end])
        return counted[0]

    assert_linear(calls, 50)


def test_a_call_s_json_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from normalizer.core import lenient
    from normalizer.wires.chat.markup.text_calls import json_calls

    def parsed(size: int) -> int:
        meter = Meter(lenient.loads)
        with monkeypatch.context() as patch:
            patch.setattr(json_calls, "loads", meter)
            read_in_text("hermes", ['<tool_call>{"' * size + "</tool_call>"])
        return meter.read

    assert_linear(parsed, 100)


def said(out: bytes) -> str:
    """The content of all chunks."""
    events = [line[6:] for line in out.split(b"\n") if line.startswith(b"data: {")]
    choices = [choice for one in events for choice in json.loads(one)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


# --- what rides --------------------


def progress(number: int, **more: Any) -> bytes:
    return event({"choices": [], "progress": {"done": number}, **more})


def riders_of(one: Normalizer) -> Any:
    wire: Any = one._wire
    return wire._stages.riders


def test_progress_leaves_at_once_and_is_not_compared_with_all_that_came() -> None:
    one = normalizer()
    outs = [one.feed(progress(number)) for number in range(5)]
    assert outs[0] == b""
    assert [out.count(b'"progress"') for out in outs[1:]] == [2, 1, 1, 1]
    held = riders_of(one)
    assert held.count == 0


@pytest.mark.parametrize("more", [{"choices": []}, {}])
def test_riders_are_bounded(more: Any) -> None:
    one = normalizer(max_event_bytes=2000)
    out = b""
    for number in range(100):
        out += one.feed(event({**more, f"key{number}": 1, "same": number}))
        assert len(riders_of(one).rest()) < 30
    out += one.close()
    for number in range(100):
        assert b'"key%d":1' % number in out
        assert b'"same":%d' % number in out


# --- choices, calls, templates --------------------


class _Index(int):
    """An index that tells how often one is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        _Index.compared += 1
        return int(self) == other

    __hash__ = int.__hash__


def test_a_new_choice_is_not_looked_for_among_all() -> None:
    def compared(size: int) -> int:
        wire = normalizer(request={"n": size})._wire
        _Index.compared = 0
        for number in range(size):
            choice = {"index": _Index(number), "delta": {"content": "x"}, "finish_reason": None}
            raw = chunk({"content": "x"}, index=number)[6:-2]
            wire.event(Draft({**json.loads(raw), "choices": [choice]}, raw), "")
        return _Index.compared

    assert_linear(compared, 100)


def test_whether_all_have_finished_is_not_asked_of_each() -> None:
    def cost(size: int) -> int:
        finishes = [chunk({"content": "x"}, "stop", index) for index in range(size)]
        pieces = [piece for one in finishes for piece in (one, b": ping\n\n")]
        one = normalizer(request={"n": size})
        with counted_calls() as calls:
            for piece in pieces:
                one.feed(piece)
        return calls[0]

    assert_linear(cost, 400)


def call(number: int, **function: str) -> dict[str, Any]:
    return {"index": number, "id": f"c{number}", "type": "function", "function": function}


class _Walked(list[Any]):
    """A list that tells how many of its items were looked at."""

    walked = 0

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            _Walked.walked += 1
            yield item


def test_calls_in_one_delta_are_not_looked_for_among_all() -> None:
    def cost(size: int) -> int:
        heads = [call(number, name="look", arguments="") for number in range(size)]
        one = normalizer(request=TOOLS)
        one.feed(chunk({"tool_calls": heads}))
        wire: Any = one._wire
        (held,) = wire._holdback._calls[0]
        delta = held.draft.value["choices"][0]["delta"]
        delta["tool_calls"] = _Walked(delta["tool_calls"])
        held.fragments = _Walked(held.fragments)
        _Walked.walked = 0
        wire._holdback.release_calls(0)
        assert not wire._holdback._calls
        return _Walked.walked

    assert_linear(cost, 50)


def test_pieces_of_a_name_behind_many_calls_do_not_look_at_all_of_them() -> None:
    def cost(size: int) -> int:
        heads = [call(number, name="look", arguments="") for number in range(size)]
        piece = chunk({"tool_calls": [{"index": size - 1, "function": {"name": "x"}}]})
        return steps([chunk({"tool_calls": heads}), *[piece] * size], request=TOOLS)

    assert_linear(cost, 50)


def test_a_call_is_found_by_its_number() -> None:
    def cost(size: int) -> int:
        one = normalizer(request=TOOLS)
        for number in range(size):
            one.feed(chunk({"tool_calls": [call(number, name="look", arguments="{}")]}))
        wire: Any = one._wire
        tools = wire._stages.tools
        calls = tools._choices[0]
        calls.by_number = {_Index(number): one for number, one in calls.by_number.items()}
        assert list(calls.by_number.values()) == calls.all
        _Index.compared = 0
        for number in range(size):
            tools.by_number(0, number)
        assert _Index.compared >= size
        return _Index.compared

    assert_linear(cost, 50)


class _Searched(bytes):
    """Bytes that tell how many of them were searched."""

    searched = 0

    def find(self, what: Any, start: Any = 0, end: Any = None) -> int:
        end = len(self) if end is None else end
        place = super().find(what, start, end)
        _Searched.searched += (end if place < 0 else place) - start
        return place


@pytest.mark.parametrize(
    "more", [{}, {"obfuscation": "ab"}, {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}]
)
def test_a_template_s_end_is_not_looked_for_in_the_rest_of_a_feed(more: Any) -> None:
    def said(mark: int) -> bytes:
        return chunk({"content": "Hello"}, mark=mark, **more)

    def searched(size: int) -> int:
        one = normalizer()
        one.feed(chunk({"role": "assistant", "content": ""}) + said(1))
        templates = one._stream._templates
        assert templates.kept
        data = _Searched(said(2) * size)
        _Searched.searched = 0
        for position in range(0, len(data), len(said(2))):
            assert templates.take(data, position, []) == position
        return _Searched.searched

    assert_linear(searched, 10)


# --- what is kept --------------------


def nameless(number: int) -> bytes:
    return chunk({"tool_calls": [{"index": number, "function": {"arguments": f"a{number};"}}]})


def named(number: int) -> bytes:
    return chunk({"tool_calls": [call(number, name=f"look{number};", arguments="{}")]})


def opens(number: int) -> bytes:
    return chunk({"content": f"a{number};"}, index=number)


def finishes(number: int) -> bytes:
    return chunk({"content": f"a{number};"}, "stop", number)


@pytest.mark.parametrize("one_more", [nameless, named, opens, finishes])
def test_what_is_kept_is_bounded(one_more: Callable[[int], bytes]) -> None:
    one = normalizer(request={"n": 1000, **TOOLS}, max_held_bytes=20_000)
    out = b""
    came = 0
    while not one.ended and came < 1000:
        out += one.feed(one_more(came))
        came += 1
    assert 5 < came < 50
    assert one.report.error is not None
    assert one.report.error["type"] == "upstream_too_large"
    assert "max_held_bytes, 20000 bytes" in one.report.error["message"]
    assert one.report.codes["X710"] == 1
    for number in range(came):
        assert b"%d;" % number in out, "what had arrived leaves"
    assert out.endswith(b"data: [DONE]\n\n")


def test_comments_behind_a_finish_are_bounded() -> None:
    one = normalizer(max_held_bytes=20_000)
    out = one.feed(chunk({"content": "Hi"}, "stop"))
    outs = [one.feed(b": ping %d;\n\n" % number) for number in range(1000)]
    assert not one.ended
    assert all(len(b"".join(outs[:number])) > 0 for number in (200, 1000))
    out += b"".join(outs) + one.feed(b"data: [DONE]\n\n")
    places = [out.find(b": ping %d;\n\n" % number) for number in range(1000)]
    assert -1 not in places
    assert places == sorted(places)
    assert out.count(b'"finish_reason":"stop"') == 1
    assert set(one.report.codes) <= {"S504", "C301", "S510"}


def test_what_has_left_counts_no_more() -> None:
    one = normalizer(request=TOOLS, max_held_bytes=20_000)
    for number in range(5):
        for _ in range(5):
            one.feed(nameless(number))
        one.feed(chunk({"tool_calls": [call(number, name="look", arguments="")]}))
    for _ in range(200):
        one.feed(chunk({"content": "x"}, "stop", fp="a") + b": ping\n\n")
        one.feed(chunk({"content": ""}, "stop", usage={"prompt_tokens": 1, "completion_tokens": 1}))
    assert not one.ended
    one.feed(b"data: [DONE]\n\n")
    assert one.report.end == "done"
    assert one._stream._kept.size < 5000
