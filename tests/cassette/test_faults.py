"""Faults and splits on streams alone, without a cassette and without a client."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer.cassette import CassetteError
from normalizer.cassette.faults import (
    Cut,
    Double,
    Fault,
    Garbage,
    Piece,
    Ping,
    Reset,
    Stall,
    Stream,
)

ONE, TWO, THREE = b"data: 1\n\n", b"data: 2\r\n\r\n", b"data: 3\r\r"
STREAM = Stream((Piece(ONE, 10), Piece(TWO[:4], 20), Piece(TWO[4:] + THREE, 30)))


def data(stream: Stream) -> list[bytes]:
    return [piece.data for piece in stream.pieces]


def test_events_end_at_a_blank_line_of_any_kind() -> None:
    assert STREAM.events == [len(ONE), len(ONE + TWO), len(ONE + TWO + THREE)]
    assert Stream((Piece(ONE + b"rest"),)).events == [len(ONE), len(ONE) + 4]
    assert Stream((Piece(b"a\r\nb\n\n\n\nc\n\n"),)).events == [8, 11]
    assert Stream(()).events == []


def test_cut_ends_the_stream_behind_events_or_bytes() -> None:
    assert Cut(after_events=1)(STREAM) == Stream((Piece(ONE, 10),), "cut")
    assert Cut(after_events=0)(STREAM) == Stream((), "cut")
    assert Cut(after_bytes=len(ONE) + 2)(STREAM) == Stream(
        (Piece(ONE, 10), Piece(TWO[:2], 20)), "cut"
    )
    # an event that ends in the middle of a piece ends it there
    assert data(Cut(after_events=2)(STREAM)) == [ONE, TWO[:4], TWO[4:]]


def test_reset_and_endless_silence_end_it_too() -> None:
    assert Reset(after_events=1)(STREAM) == Stream((Piece(ONE, 10),), "reset")
    assert Stall(after_events=1)(STREAM) == Stream((Piece(ONE, 10),), "timeout")


def test_stall_is_silence_in_front_of_what_follows() -> None:
    stalled = Stall(after_events=1, seconds=2)(STREAM)

    assert data(stalled) == data(STREAM)
    assert [piece.stall for piece in stalled.pieces] == [0, 2, 0]
    twice = Stall(after_events=1, seconds=1)(stalled)
    assert [piece.stall for piece in twice.pieces] == [0, 3, 0]
    late = Stall(after_events=3, seconds=2)(STREAM)
    assert late.pieces[-1] == Piece(b"", None, 2)
    assert late.body == STREAM.body


def test_what_is_inserted_is_a_piece_of_its_own() -> None:
    assert data(Ping(after_events=2)(STREAM)) == [ONE, TWO[:4], TWO[4:], b": ping\n\n", THREE]
    assert data(Ping(after_events=0, data=b":\n\n")(STREAM))[0] == b":\n\n"
    assert Garbage(after_bytes=0, data=b"?")(STREAM).body == b"?" + STREAM.body
    # it comes with what came before it
    assert Ping(after_events=1)(STREAM).pieces[1] == Piece(b": ping\n\n", 10)


def test_garbage_is_the_same_each_time_and_differs_by_place() -> None:
    first, same, other = (Garbage(after_events=each)(STREAM).body for each in (1, 1, 2))

    assert first == same != other
    assert len(first) == len(STREAM.body) + 16


def test_an_event_is_doubled() -> None:
    assert Double(event=2)(STREAM).body == ONE + TWO + TWO + THREE
    assert Double(event=1)(STREAM).body == ONE + ONE + TWO + THREE


@pytest.mark.parametrize("kind", [Cut, Reset, Stall, Garbage, Ping])
def test_a_seed_draws_the_place(kind: Any) -> None:
    stream = Stream(tuple(Piece(b"data: %d\n\n" % number) for number in range(50)))

    assert kind(seed=3)(stream) == kind(seed=3)(stream)
    assert len({kind(seed=seed)(stream).body for seed in range(20)}) > 5
    assert kind(seed=3)(Stream(())).body in (b"", b": ping\n\n", Garbage(seed=3)(Stream(())).body)


def test_a_seed_draws_the_event() -> None:
    stream = Stream(tuple(Piece(b"data: %d\n\n" % number) for number in range(50)))

    assert Double(seed="a")(stream) == Double(seed="a")(stream)
    assert len({Double(seed=seed)(stream).body for seed in range(20)}) > 5


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Cut(after_events=4), "Cut(after_events=4, after_bytes=None, seed=None): the stream has 3"),
        (Ping(after_bytes=99), "the body has 29 bytes"),
        (Double(event=4), "the stream has 3 events"),
    ],
)
def test_a_place_that_is_not_there_is_told(fault: Fault, said: str) -> None:
    with pytest.raises(CassetteError) as raised:
        fault(STREAM)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (Cut, {}, "one of after_events, after_bytes and seed is needed"),
        (Cut, {"after_events": 1, "seed": 1}, "one of after_events, after_bytes and seed"),
        (Ping, {"after_bytes": -1}, "below zero"),
        (Double, {}, "one of event and seed is needed"),
        (Double, {"event": 0}, "counted from 1 on"),
    ],
)
def test_a_fault_without_a_place_is_none(kind: Any, given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        kind(**given)


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=9), max_size=9),
    offset=st.integers(0, 90),
    at=st.lists(st.integers(-5, 90)),
)
def test_no_byte_is_lost_or_moved(pieces: list[bytes], offset: int, at: list[int]) -> None:
    stream = Stream(tuple(Piece(each, float(number)) for number, each in enumerate(pieces)))
    offset = min(offset, len(stream.body))

    before, behind = stream.parted(offset)
    assert Stream(before).body == stream.body[:offset]
    assert Stream(behind).body == stream.body[offset:]
    split = stream.split(at)
    assert split.body == stream.body
    assert all(piece.data for piece in (*split.pieces, *before, *behind))
    times = [piece.time or 0 for piece in split.pieces]
    assert times == sorted(times)
