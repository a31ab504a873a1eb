"""The wire: lines, fields and events, however the bytes are split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer import Normalizer, RequestInfo
from normalizer.core.event import Event, Kind
from normalizer.core.findings import Deviation
from normalizer.core.sse import EventReader

ONE = b'data: {"a":1}\n\n'
LIMIT = 1000


def events_of(
    *pieces: bytes, limit: int = LIMIT, named: bool = False
) -> tuple[list[Event], list[str]]:
    """The events, and the codes found."""
    found: list[str] = []

    def note(deviation: Deviation) -> bool:
        found.append(deviation.code)
        return True

    reader = EventReader(note, limit, named=named)
    events = []
    for piece in pieces:
        reader.receive(piece)
        while (event := reader.next()) is not None:
            events.append(event)
    reader.close()
    while (event := reader.next()) is not None:
        events.append(event)
    return events, found


def read(*pieces: bytes, limit: int = LIMIT) -> tuple[list[tuple[str, bytes]], list[str]]:
    """Kinds and data of the events, and the codes found."""
    events, found = events_of(*pieces, limit=limit)
    return [(event.kind.name, event.data) for event in events], found


def data(*values: bytes) -> list[tuple[str, bytes]]:
    return [("DATA", value) for value in values]


@pytest.mark.parametrize(
    ("body", "events", "codes"),
    [
        (ONE, data(b'{"a":1}'), set()),
        (ONE + ONE, data(b'{"a":1}', b'{"a":1}'), set()),
        (b"data: [DONE]\n\n", [("DONE", b"")], set()),
        (b": hello\n\n", [("COMMENT", b": hello")], set()),
        (b":\n\n", [("COMMENT", b":")], set()),
        (b"\xef\xbb\xbf" + ONE, data(b'{"a":1}'), {"F101"}),
        (b'data: {"a":1}\r\n\r\n', data(b'{"a":1}'), {"F102"}),
        (b'data: {"a":1}\r\r', data(b'{"a":1}'), {"F102"}),
        (b'data:{"a":1}\n\n', data(b'{"a":1}'), {"F103"}),
        (b'data: {"a":1}\ndata: {"b":2}\n\n', data(b'{"a":1}', b'{"b":2}'), {"F104"}),
        (b'event: message\ndata: {"a":1}\n\n', data(b'{"a":1}'), {"F105"}),
        (b'data: {"a":1}\nevent: message\n\n', data(b'{"a":1}'), {"F105"}),
        (b"event: ping\n\n", [("NOTHING", b"")], {"F105", "F107"}),
        (b"id: 1\nretry: 3000\n\n", [], {"F106"}),
        (b"data:\n\n", [("NOTHING", b"")], {"F107"}),
        (b"data: null\n\n", [("NOTHING", b"null")], {"F107"}),
        (b"data: {}\n\n", [("NOTHING", b"{}")], {"F107"}),
        (b"data: : keepalive\n\n", [("NOTHING", b": keepalive")], {"F108"}),
        (b"data: ping\n\n", [("NOTHING", b"ping")], {"F108"}),
        (b'error: {"code":400}\n\n', data(b'{"code":400}'), {"F109"}),
        (b'data:\n {"a":1}\n\n', data(b'{"a":1}'), {"F110"}),
        (b'{"a":1}\n{"b":2}\n', data(b'{"a":1}', b'{"b":2}'), {"F111"}),
        (b'{\n  "a": 1\n}\n', data(b'{ "a": 1 }'), {"F111", "F114"}),
        (b"hello there\n" + ONE, data(b'{"a":1}'), {"F112"}),
        (b'data: {"a":1}', data(b'{"a":1}'), {"F113"}),
        (b'data: {"a":\ndata: 1}\n\n', data(b'{"a": 1}'), {"F114"}),
        (b'data: data: {"a":1}\n\n', data(b'{"a":1}'), {"F115"}),
        (b"data: [DONE]  \n\n", [("DONE", b"")], set()),
        (b"data: [DONE] bye\n\n", [("DONE", b"")], {"F116"}),
        (b"[DONE]\n", [("DONE", b"")], {"F116"}),
        (b'data: {"a":\n\n', [("INVALID", b'{"a":')], set()),
        (b"data: oops\n\n", [("INVALID", b"oops")], set()),
        (b"event: message\ndata: oops\n\n", [("INVALID", b"oops")], {"F105"}),
        (b"event: error\ndata: oops\n\n", [("INVALID", b"oops")], {"F105"}),
        (b"event: open\ndata: connected\n\n", [("NOTHING", b"connected")], {"F105", "F108"}),
        (b"data: alive\nevent: heartbeat\n\n", [("NOTHING", b"alive")], {"F105", "F108"}),
        (b'event: delta\ndata: {"a":\n\n', [("INVALID", b'{"a":')], {"F105"}),
        (b"data: DONE\n\n", [("END_WORD", b"DONE")], set()),
        (b"data: [done]\n\n", [("END_WORD", b"[done]")], set()),
        (b"data: END\n\n", [("END_WORD", b"END")], set()),
        (b"data: finished\n\n", [("END_WORD", b"finished")], set()),
        (b"event: end\ndata: end\n\n", [("END_WORD", b"end")], {"F105"}),
        (b"event: end\n\n", [("END_WORD", b"")], {"F105", "F107"}),
        (b"event: done\ndata: {}\n\n", [("END_WORD", b"{}")], {"F105"}),
        (b"event: ping\ndata: {}\n\n", [("NOTHING", b"{}")], {"F105", "F107"}),
        (b'data: "[DONE]"\n\n', [("DONE", b"")], {"F116"}),
        (b"data: endless\n\n", [("INVALID", b"endless")], set()),
        (b'data: {"a":[\ndata: {}\ndata: ]}\n\n', data(b'{"a":[ {} ]}'), {"F114"}),
        (
            b'data: {"a":1,\ndata: "z":\ndata: {}\ndata: }\n\n',
            data(b'{"a":1, "z": {} }'),
            {"F114"},
        ),
        (
            b'data: {"a"\ndata: {"b":2}\ndata: {"c":3}\n',
            [("INVALID", b'{"a"'), *data(b'{"b":2}', b'{"c":3}')],
            {"F104"},
        ),
        (
            b'data: {"a":"tor\ndata: {"b":2}\n\n',
            [("INVALID", b'{"a":"tor'), *data(b'{"b":2}')],
            set(),
        ),
        (b'data: {"a":1}{"b":"}{"}\n\n', data(b'{"a":1}', b'{"b":"}{"}'), {"F122"}),
        (
            b'data: {"a":1} {"b":2}[DONE]\n\n',
            [*data(b'{"a":1}', b'{"b":2}'), ("DONE", b"")],
            {"F122"},
        ),
        (b'data: {"a":1}data: {"b":2}\n\n', data(b'{"a":1}', b'{"b":2}'), {"F122"}),
        (b'{"a":1}{"b":2}\n', data(b'{"a":1}', b'{"b":2}'), {"F111", "F122"}),
        (
            b'data: {"a":1}{"b":\ndata: 2}\n\n',
            data(b'{"a":1}', b'{"b": 2}'),
            {"F114", "F122"},
        ),
        (
            b'data: {"a":1}{"b":\n\n',
            [*data(b'{"a":1}'), ("INVALID", b'{"b":')],
            {"F122"},
        ),
        (b'data: {"a":{}{}}\n\n', [("INVALID", b'{"a":{}{}}')], set()),
        (
            b'data: {"a":1}{}{"b":2}\n\n',
            [*data(b'{"a":1}'), ("NOTHING", b"{}"), *data(b'{"b":2}')],
            {"F107", "F122"},
        ),
        (b"<html>\n<b>502</b>\n</html>\n", [("PAGE", b"<html>\n<b>502</b>\n</html>")], set()),
        (b"   \n" + ONE, data(b'{"a":1}'), set()),
        (b"", [], set()),
    ],
)
def test_events(body: bytes, events: list[tuple[str, bytes]], codes: set[str]) -> None:
    whole = read(body)
    assert (whole[0], set(whole[1])) == (events, codes)
    bytewise = read(*(body[i : i + 1] for i in range(len(body))))
    assert bytewise == whole


def test_an_event_is_handed_on_at_the_end_of_its_line() -> None:
    reader = EventReader(lambda _: True, LIMIT)
    reader.receive(b'data: {"a":1}')
    assert reader.next() is None
    reader.receive(b"\n")
    event = reader.next()
    assert event is not None
    assert event.value == {"a": 1}


def test_a_carriage_return_at_the_end_of_a_piece_ends_the_line_at_once() -> None:
    reader = EventReader(lambda _: True, LIMIT)
    reader.receive(b'data: {"a":1}\r')
    assert reader.next() is not None
    reader.receive(b"\n\r\n")
    assert reader.next() is None


def test_the_name_of_an_event_is_its_own() -> None:
    reader = EventReader(lambda _: True, LIMIT)
    reader.receive(b'event: error\ndata: {"a":1}\n\ndata: {"a":2}\n\n')
    first, second = reader.next(), reader.next()
    assert first is not None
    assert second is not None
    assert (first.name, second.name) == ("error", "")


def test_what_is_not_strict_json_is_said() -> None:
    assert read(b'data: {"a":NaN}\n\n')[1] == ["F119"]
    assert read(b'data: {"a":"\xff"}\n\n')[1] == ["F118"]
    assert read(b'data: {"a":"\\ud83d"}\n\n')[1] == ["F120"]
    assert read(b'data: {"a":"\t"}\n\n')[1] == ["F121"]


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"a":"' + b"x" * LIMIT + b'"}\n\n',
        b"data: " + b"x" * 2 * LIMIT,
        b"\n".join([b"data: ["] * LIMIT),
    ],
)
def test_an_event_over_the_limit_is_said_and_not_kept(body: bytes) -> None:
    for pieces in ([body], [body[i : i + 7] for i in range(0, len(body), 7)]):
        events, _ = read(*pieces)
        assert "TOO_LARGE" in [kind for kind, _ in events]


def test_one_long_line_in_many_pieces_takes_linear_time() -> None:
    # a reader that copied what it has with every piece would copy 8 MiB 16,000 times here
    line = b'data: {"a":"' + b"x" * (8 * 1024 * 1024) + b'"}\n\n'
    pieces = [line[i : i + 512] for i in range(0, len(line), 512)]
    events, _ = read(*pieces, limit=16 * 1024 * 1024)
    assert [kind for kind, _ in events] == ["DATA"]


LINES = st.sampled_from(
    [
        *(b"data: ", b"data:", b'{"a":1}', b'{"b":"\xc3\xa9"}', b"[DONE]", b"\n", b"\r", b"\r\n"),
        *(
            b"\n\n",
            b": hi",
            b"event: error",
            b"id: 7",
            b"error: ",
            b"<html>",
            b"junk",
            b'{"c":',
            b"done",
            b"event: x",
        ),
        *(b"2}", b" ", b"\xef\xbb\xbf", b"null", b"\xf0\x9f\x98\x80", b"data: data: "),
    ]
)


@given(st.lists(LINES, max_size=25).map(b"".join), st.data(), st.booleans())
def test_any_split_gives_the_same_events(body: bytes, draws: st.DataObject, named: bool) -> None:
    cuts = sorted(draws.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert events_of(*pieces, named=named) == events_of(body, named=named)


def test_names_are_no_deviation_where_events_have_them() -> None:
    body = b'event: a.b\ndata: {"a":1}\n\nevent:c\r\ndata: {"a":2}\n\ndata: {"a":3}\n\n'
    events, found = events_of(body, named=True)
    assert [event.name for event in events] == ["a.b", "c", ""]
    assert found == ["F102"]
    assert events_of(body)[1] == ["F105", "F102", "F105"]


def test_a_name_may_say_all_where_events_have_names() -> None:
    events, found = events_of(b"event: message_stop\ndata: {}\n\n", named=True)
    assert events == [Event(Kind.DATA, b"{}", {}, False, "message_stop", 20)]
    assert found == []


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        (b"data: DONE\n\n", (Kind.END_WORD, Kind.INVALID)),
        (b"event: end\ndata: end\n\n", (Kind.END_WORD, Kind.NOTHING)),
        (b"event: end\n\n", (Kind.END_WORD, Kind.NOTHING)),
        (b"data: [DONE]\n\n", (Kind.DONE, Kind.DONE)),
    ],
)
def test_a_word_for_the_end_says_what_it_is_otherwise(
    body: bytes, kinds: tuple[Kind, Kind]
) -> None:
    (event,) = events_of(body)[0]
    assert (event.kind, event.otherwise) == kinds


@pytest.mark.parametrize(
    "line",
    [
        *(b'data: {"a":1}', b"data: oops", b"data: [DONE]", b": hi", b"<html>\n</html>", b"data:"),
        *(b'error: {"a":1}', b"event: ping", b'{"a":1}', b'data: {"a":1}{"b":2}', b"data: end"),
        *(b'data: {"a":\ndata: 1}', b'data: {"a":"\\ud83d"}', b"data: null"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("before", [b"", ONE, b": hi\n\n", b"\xef\xbb\xbf", b"\n \n"])
def test_an_event_is_where_its_first_line_begins(line: bytes, end: bytes, before: bytes) -> None:
    body = (before + line + b"\n\n").replace(b"\n", end)
    start = len(before.replace(b"\n", end))
    for pieces in ([body], [body[i : i + 1] for i in range(len(body))]):
        events, _ = events_of(*pieces)
        assert {event.at for event in events if event.at >= len(before.rstrip())} == {start}


def test_where_an_unterminated_event_began_is_known() -> None:
    events, _ = events_of(ONE, b"data: oo", b"ps")
    assert events[-1].at == len(ONE)


def test_the_last_line_that_meant_nothing_is_kept() -> None:
    reader = EventReader(lambda _: True, LIMIT)
    reader.receive(b"hello\n" * 30 + ONE + b"proxy: backend went away")
    while reader.next() is not None:
        pass
    reader.close()
    assert reader.junk == [b"hello"] * 19 + [b"proxy: backend went away"]


def test_values_side_by_side_are_read_as_they_are_asked_for() -> None:
    reader = EventReader(lambda _: True, 10_000_000)
    reader.receive(b"data: " + b'{"a":1}' * 300_000 + b"\n\n")
    for _ in range(3):
        event = reader.next()
        assert event is not None
        assert event.value == {"a": 1}
    assert not reader.aligned


def test_a_piece_of_a_line_needs_no_look_for_events() -> None:
    reader = EventReader(lambda _: True, LIMIT)
    assert not reader.receive(ONE[:5])
    assert not reader.receive(ONE[5:9])
    assert reader.receive(ONE[9:])
    event = reader.next()
    assert event is not None
    assert event.value == {"a": 1}
    assert not reader.receive(b"data: " + b"x" * LIMIT)
    assert reader.receive(b"x")  # over the limit: an event of its own
    event = reader.next()
    assert event is not None
    assert event.kind is Kind.TOO_LARGE


@pytest.mark.parametrize(
    ("behind", "drained"), [(b"", True), (b"d", False), (b"\n", False), (ONE, False)]
)
def test_a_piece_that_is_one_whole_event_is_drained(behind: bytes, drained: bool) -> None:
    reader = EventReader(lambda _: True, LIMIT)
    reader.receive(ONE + behind)
    assert reader.next() is not None
    assert reader.drained is drained
    assert reader.aligned
    reader.next()
    assert not reader.drained or behind == ONE


def test_the_end_of_a_frame_is_told_though_nothing_follows() -> None:
    events, found = events_of(ONE.replace(b"\n", b"\r\n"))
    assert len(events) == 1
    assert found == ["F102", "F102"]


def test_every_kind_is_read_somewhere_above() -> None:
    assert {kind.name for kind in Kind} >= {"DATA", "COMMENT", "NOTHING", "DONE", "INVALID", "PAGE"}


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_does_not_depend_on_how_the_bytes_are_split(over: int, size: int) -> None:
    payload = b'{"a":"' + b"x" * (LIMIT - 8 + over) + b'"}'
    body = b"data: {}\n\ndata: " + payload + b"\n\n"
    reader = EventReader(lambda _: True, limit=LIMIT)
    events = []
    for start in range(0, len(body), size):
        reader.receive(body[start : start + size])
        while event := reader.next():
            events.append((event.kind.name, event.at if event.kind is Kind.TOO_LARGE else 0))
    assert events[1] == (("TOO_LARGE", 10) if over else ("DATA", 0))


CHUNK = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[%s]}\n\n'
)
HELLO = CHUNK % b'{"index":0,"delta":{"role":"assistant","content":"Hi"},"finish_reason":null}'
STOP = CHUNK % b'{"index":0,"delta":{},"finish_reason":"stop"}'


def normalized(body: bytes) -> bytes:
    normalizer = Normalizer(RequestInfo.parse("/v1/chat/completions", {"stream": True}))
    return normalizer.feed(body) + normalizer.close()


@pytest.mark.parametrize(
    "tail",
    [
        *(b"data: DONE\n\n", b"data: [done]\n\n", b"data: END\n\n", b"data: finished\n\n"),
        *(b"event: end\ndata: end\n\n", b"event: done\n\n", b"data: [DO"),
        b'data: {"id":"c","choices":[],"usa',
    ],
)
def test_behind_a_finish_other_words_and_torn_tails_are_the_end(tail: bytes) -> None:
    assert normalized(HELLO + STOP + tail) == HELLO + STOP + b"data: [DONE]\n\n"


@pytest.mark.parametrize("tail", [b"data: DONE\n\n", b"data: [DO", b"event: end\ndata: end\n\n"])
def test_before_a_finish_they_are_not(tail: bytes) -> None:
    out = normalized(HELLO + tail)
    assert b'"error"' in out
    assert b'"finish_reason":"stop"' not in out


@pytest.mark.parametrize(
    "line", [b"event: open\ndata: connected\n\n", b"event: end\ndata: end\n\n"]
)
def test_an_event_with_a_name_of_its_own_and_no_json_is_a_keep_alive(line: bytes) -> None:
    out = normalized(line + HELLO + STOP + b"data: [DONE]\n\n")
    assert out == b": keep-alive\n\n" + HELLO + STOP + b"data: [DONE]\n\n"


def test_an_event_line_in_pieces_does_not_bring_back_the_event_before() -> None:
    reader = EventReader(lambda _: True, limit=LIMIT, named=True)
    reader.receive(b'data: {"a": 1}\n\nevent: pi')
    assert [reader.next().value for _ in range(1)] == [{"a": 1}]  # type: ignore[union-attr]


@pytest.mark.parametrize("named", [True, False])
def test_a_piece_that_ends_within_a_name_is_read_once(named: bool) -> None:
    reader = EventReader(lambda _: True, LIMIT, named=named)
    reader.receive(b'data: {"a":1}\n\nevent: resp')
    first = reader.next()
    assert first is not None
    assert first.value == {"a": 1}
    assert reader.next() is None
