"""Deltas of one form leave by a template, without coming to the wire: what leaves is the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer import Normalizer, Options, Report
from normalizer.wires.messages.wire import MessagesWire
from tests.wires.messages.streams import (
    END,
    TEXT,
    THINKING,
    Event,
    delta,
    opened,
    piece,
    reason,
    request,
    start,
    stopped,
    text,
    thought,
    tool,
    written,
)

PING: Event = {"type": "ping"}
WORDS = [f"word {n} " for n in range(50)]


def through(body: bytes, pieces: list[bytes] | None = None) -> tuple[bytes, Report]:
    normalizer = Normalizer(request(), Options())
    out = b"".join([normalizer.feed(one) for one in pieces or [body]])
    return out + normalizer.close(), normalizer.report


def same_without_templates(body: bytes) -> tuple[bytes, Report]:
    """What leaves, which is the same without a template, and however the bytes were split."""
    out, report = through(body)
    single = [body[i : i + 1] for i in range(len(body))]
    frames = [one + b"\n\n" for one in body.split(b"\n\n") if one]
    with pytest.MonkeyPatch.context() as patch:
        others = [through(body, single), through(body, frames)]
        patch.setattr(MessagesWire, "has_templates", False)
        others.append(through(body))
    for other, its in others:
        assert other == out
        assert its.codes == report.codes
        assert (its.events_in, its.events_out) == (report.events_in, report.events_out)
        assert its.characters_in == report.characters_in
        assert its.characters_out == report.characters_out
        assert (its.end, its.finish, its.usage) == (report.end, report.finish, report.usage)
    return out, report


@pytest.mark.parametrize(("block", "of"), [(TEXT, text), (THINKING, thought)])
def test_deltas_of_one_form_do_not_come_to_the_wire(
    monkeypatch: pytest.MonkeyPatch, block: Event, of: Any
) -> None:
    came: list[Any] = []
    taken = MessagesWire.event

    def event(self: MessagesWire, draft: Any, name: str) -> None:
        came.append(draft.value["type"])
        taken(self, draft, name)

    monkeypatch.setattr(MessagesWire, "event", event)
    deltas = [of(0, word) for word in WORDS]
    body = written(start(), opened(0, block), *deltas, stopped(0), *END)
    out, report = through(body)
    assert out == body
    assert came.count("content_block_delta") == 2
    kind = "content" if block is TEXT else "reasoning"
    assert report.characters_out == {kind: len("".join(WORDS))}
    assert report.events_out == len(WORDS) + 5


ODD: tuple[Event | bytes, ...] = (
    *(text(0, ""), text(0, None), text(0, 7), text(1), text("0"), thought(0), piece(0), PING),
    *(delta(0, text="no type"), delta(0, type="text_delta", text="x", more=1)),
    *(stopped(0), opened(0, TEXT), opened(1, TEXT), tool(1), start(), start(id="msg_2")),
    *(reason(None), reason("max_tokens"), {"type": "message_stop"}, {"type": "news"}),
    b": comment\n\n",
    b"data: [DONE]\n\n",
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}\n\n',
    b'event: content_block_delta\ndata: {"index":0,"delta":{"type":"text_delta","text":"x"}}\n\n',
    written(text(0, "torn"))[:-9] + b"\n\n",
    written(text(0)).replace(b"Hi", b"\\ud83d"),
    written(text(0)).replace(b"Hi", b"\\ude00"),
    written(text(0)).replace(b"Hi", b"\xff"),
    written(text(0)).replace(b"Hi", b"a\tb"),
    written(text(0)).replace(b"\n\n", b"\r\n\r\n"),
    written({"type": "error", "error": {"type": "api_error", "message": "no"}}),
)


@pytest.mark.parametrize("odd", ODD, ids=[str(n) for n in range(len(ODD))])
def test_another_event_in_between(odd: Event | bytes) -> None:
    said = [text(0, word) for word in WORDS[:6]]
    same_without_templates(written(start(), opened(0, TEXT), *said, odd, *said, stopped(0), *END))


@given(
    st.lists(
        st.one_of(
            st.text(max_size=6).map(lambda said: text(0, said)),
            st.sampled_from(["0", "text", "text_delta", "\\", '"', "é", "\u2028"]).map(
                lambda said: text(0, said)
            ),
            st.sampled_from(ODD),
        ),
        max_size=12,
    ),
    st.booleans(),
)
def test_any_events(events: list[Event | bytes], ascii_only: bool) -> None:
    def framed(one: Event | bytes) -> bytes:
        if isinstance(one, bytes):
            return one
        data = json.dumps(one, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        return f"event: {one['type']}\ndata: ".encode() + data + b"\n\n"

    head = [start(), opened(0, TEXT), text(0, "a"), text(0, "b"), text(0, "c")]
    body = b"".join(framed(one) for one in (*head, *events, stopped(0), *END))
    same_without_templates(body)
