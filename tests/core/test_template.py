"""What a template takes for an event of its form, what leaves for it, and who is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from normalizer.core.form import Form, Member, Rising, Text
from normalizer.core.frames import read_frame
from normalizer.core.holes import Example
from normalizer.core.template import Template, learn

NAMES = frozenset({b"text", b"again"})


def event(**members: Any) -> bytes:
    return b"data: " + json.dumps(members, separators=(",", ":")).encode() + b"\n\n"


def template(came: bytes, form: Form, left: bytes | None = None, limit: int = 1000) -> Template:
    example = Example(came, (0, 0), came if left is None else left, left is not None)
    learnt = learn(example, form, (), limit)
    assert learnt is not None
    return learnt


def leaves(one: Template, data: bytes) -> bytes | None:
    """What leaves for one event; None if the template does not take it."""
    out: list[bytes] = []
    end = one.read(data, 0, out)
    assert end in (0, len(data))
    if not end:
        assert not out
        return None
    return data if one.same else b"".join(out)


def said(text: str = "a", kind: str = "content", keep: Any = None) -> Text:
    return Text(text, kind, NAMES, keep)


def test_a_text_is_told_and_counted() -> None:
    told: list[str] = []
    one = template(event(text="a"), Form((said(keep=told.append),)))
    for text in ("b", "é", 'c"\n'):
        assert leaves(one, event(text=text)) == event(text=text)
    assert one.settle() == [(one.form.texts[0], 'béc"\n')]
    assert told == ['béc"\n']


@pytest.mark.parametrize(
    "other", [event(text=""), event(text=1), event(text="a", x=1), event(other="a"), b"data: x\n\n"]
)
def test_an_event_of_another_form_is_not_taken(other: bytes) -> None:
    assert leaves(template(event(text="a"), Form((said(),))), other) is None


def test_a_text_under_another_name_is_in_doubt() -> None:
    example = Example(event(model="a"), (0, 0), event(model="a"), False)
    assert learn(example, Form((said(),)), (), 100) is None


def test_a_text_that_stands_twice_has_to_agree() -> None:
    one = template(event(text="a", again="a"), Form((said(),)), event(text="a"))
    assert leaves(one, event(text="b", again="b")) == event(text="b")
    assert leaves(one, event(text="b", again="c")) is None


def test_two_texts() -> None:
    form = Form((said("a"), Text("b", "reasoning", frozenset({b"thought"}))))
    one = template(event(text="a", thought="b"), form)
    assert leaves(one, event(text="x", thought="y")) is not None
    assert [text for _, text in one.settle()] == ["x", "y"]


def test_a_rewritten_text_leaves_as_we_write_it() -> None:
    one = template(event(text="a", n=None), Form((said(),)), event(text="a"))
    assert leaves(one, b'data: {"text":"\\u00e9\\/\\n","n":null}\n\n') == (
        'data: {"text":"é/\\n"}\n\n'.encode()
    )


@pytest.mark.parametrize("text", ["}", "]", '{"a":1}'])
def test_arguments_that_may_end_are_not_taken(text: str) -> None:
    one = template(event(text="a"), Form((said(kind="arguments"),)))
    assert leaves(one, event(text='{"q": [')) is not None
    assert leaves(one, event(text=text)) is None


@pytest.mark.parametrize(
    ("value", "fit", "unfit"),
    [
        (7, 8, 0),
        (7, 8, "8"),
        (7, 8, 8.5),
        ("x", "y+/=", ""),
        ("x", "y", 'y"'),
        ([1], [{"a": [None, "e", -1.5]}], []),
        ([1], [2], None),
        ({"a": 1}, {"b": {}}, "x"),
    ],
)
def test_a_member_beside_the_text(value: Any, fit: Any, unfit: Any) -> None:
    told: list[Any] = []
    form = Form((said(),), (Member("m", value, told.append),))
    for left in (None, event(m=value, text="a")):
        one = template(event(m=value, text="a", n=1), form, left)
        assert leaves(one, event(m=unfit, text="b", n=1)) is None
        out = leaves(one, event(m=fit, text="b", n=1))
        assert out == (event(m=fit, text="b", n=1) if left is None else event(m=fit, text="b"))
        one.settle()
        assert told.pop() == fit


def test_a_member_that_leaves_with_the_stream_s_value() -> None:
    form = Form((said(),), (Member("at", 1, instead=5),))
    one = template(event(at=6, text="a"), form, event(at=5, text="a"))
    assert leaves(one, event(at=7, text="b")) == event(at=5, text="b")
    assert leaves(one, event(at=5, text="b")) is None  # it would not be repaired


def test_a_member_that_is_taken() -> None:
    told: list[list[bytes]] = []
    form = Form((said(),), (Member("u", {}, takes=told.append),))
    one = template(event(text="a", u={"n": 1, "f": 0.5}), form, event(text="a"))
    assert leaves(one, event(text="b", u={"n": 2, "f": 0.5})) == event(text="b")
    assert leaves(one, event(text="b", u={"n": 3, "f": 0.75})) is None
    assert leaves(one, event(text="b", u={"n": "3", "f": 0.5})) is None
    one.settle()
    assert told == [[b'{"n":2,"f":0.5}']]


def test_a_number_that_rises() -> None:
    numbers = Rising()
    numbers.came = numbers.left = 9
    one = template(event(n=9, text="a"), Form((said(),), (Member("n", 9, rising=numbers),)))
    assert leaves(one, event(n=9, text="b")) is None
    assert leaves(one, event(n=11, text="b")) is None
    assert leaves(one, event(n=10, text="b")) is not None
    assert (numbers.came, numbers.left) == (10, 10)
    numbers.came = 14  # others went through the stages
    numbers.left = 14
    assert leaves(one, event(n=15, text="b")) is not None
    numbers.left += 1  # the wire has sent an event of its own
    assert leaves(one, event(n=16, text="b")) is None


def test_a_number_that_rises_and_leaves_as_another_one() -> None:
    numbers = Rising()
    numbers.came, numbers.left = 9, 12
    form = Form((said(),), (Member("n", 9, rising=numbers),))
    one = template(event(n=9, text="a"), form, event(n=12, text="a"))
    assert leaves(one, event(n=10, text="b")) == event(n=13, text="b")
    numbers.left += 1
    assert leaves(one, event(n=11, text="b")) == event(n=15, text="b")


def test_a_number_that_rises_and_is_not_found() -> None:
    form = Form((said(),), (Member("n", 9, rising=Rising()),))
    example = Example(event(text="a"), (0, 0), event(text="a"), False)
    assert learn(example, form, (), 100) is None


def test_an_event_over_the_limit() -> None:
    one = template(event(text="a"), Form((said(),)), limit=50)
    assert leaves(one, event(text="b" * 20)) is not None
    assert leaves(one, event(text="b" * 60)) is None


def test_nesting_beyond_what_is_read() -> None:
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]
    form = Form((said(),), (Member("m", deep),))
    data = event(m=deep, text="a")
    assert leaves(template(data, form, limit=len(data)), data) is not None


def test_how_many_events_in_a_row_are_told() -> None:
    told: list[int] = []
    one = template(event(text="a"), Form((said(),), took=told.append))
    one.read(event(text="b") * 3, 0, [])
    one.run = 2  # another template took events behind the first two
    one.settle()
    assert told == [1]


DATA = b'data: {"a":1}'


@pytest.mark.parametrize(
    ("raw", "ident", "returns"),
    [
        (DATA + b"\n\n", b"", 0),
        (DATA + b"\r\n\r\n", b"", 2),
        (b'data:{"a":1}\n\n', b"", 0),
        (b"event: x\n" + DATA + b" \n\n", b"", 0),
        (b"id: 17\n" + DATA + b"\n\n", b" 17", 0),
        (b"event: x\r\nid:17\r\n" + DATA + b"\r\n\r\n", b"17", 4),
    ],
)
def test_framings(raw: bytes, ident: bytes, returns: int) -> None:
    frame = read_frame(b"...." + raw + b"data: {", 4)
    assert frame is not None
    assert frame.payload == b'{"a":1}'
    assert (frame.end, frame.returns) == (4 + len(raw), returns)
    assert (b"...." + raw)[slice(*frame.ident)] == ident


@pytest.mark.parametrize(
    "raw",
    [
        DATA,
        DATA + b"\n",
        DATA + b"\n\r\n",
        DATA + b"\r\r",
        DATA + b"\ndata: {}\n\n",
        b"id: 1\nid: 2\n" + DATA + b"\n\n",
        b"id: 1\nevent: x\nid: 2\n" + DATA + b"\n\n",
        b"data: [DONE]\n\n",
        b"retry: 5\n" + DATA + b"\n\n",
    ],
)
def test_other_framings_are_read_line_by_line(raw: bytes) -> None:
    assert read_frame(raw, 0) is None
