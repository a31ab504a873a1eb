"""Blocks: indexes, starts and stops, deltas in the right block, surrogate pairs."""

from __future__ import annotations

from typing import Any

import pytest

from normalizer import Normalizer
from tests.wires.messages.streams import (
    ASKED,
    END,
    STOP,
    TEXT,
    THINKING,
    Event,
    codes,
    delta,
    kinds,
    opened,
    piece,
    read,
    reason,
    run,
    said,
    signed,
    start,
    stopped,
    text,
    thought,
    through,
    tool,
    written,
)

REASONED = reason("tool_use")


def blocks(*events: Event | bytes, **options: Any) -> str:
    """The blocks of a stream, in short, without its frame."""
    short = kinds(through(start(), *events, *END, **options))
    return short.removeprefix("message_start ").removesuffix(" message_delta message_stop")


@pytest.mark.parametrize(
    "indexes", [(1, 2), (0, 2), (0, 0), (None, None), (5, 3), ("0", 1.0), ([], {})]
)
def test_blocks_are_numbered_in_the_order_of_their_starts(indexes: tuple[Any, Any]) -> None:
    first, second = indexes
    thinking = [opened(first, THINKING), thought(first), signed(first), stopped(first)]
    answer = [opened(second, TEXT), text(second), text(second), stopped(second)]
    assert blocks(*thinking, *answer) == "0 0d 0d 0. 1 1d 1d 1."


@pytest.mark.parametrize("index", [0, None, 3])
def test_a_delta_opens_the_block_that_it_needs(index: int | None) -> None:
    events = [thought(index), text(index), text(index), stopped(index)]
    sent = through(start(), *events, *END)
    assert kinds(sent[1:-2]) == "0 0d 0. 1 1d 1d 1."
    assert [one["content_block"] for one in sent if "content_block" in one] == [THINKING, TEXT]


def test_an_empty_delta_opens_nothing() -> None:
    assert blocks(text(0, ""), opened(0, TEXT), text(0), stopped(0), text(0, "")) == "0 0d 0."


def test_a_start_that_comes_again_is_left_out() -> None:
    again = [opened(0, TEXT), text(0), opened(0, {"type": "text", "text": "!"}), text(0)]
    sent = through(start(), *again, stopped(0), *END)
    assert kinds(sent[1:-2]) == "0 0d 0d 0d 0."
    assert said(sent) == "Hi!Hi"


def test_another_kind_on_an_open_index_is_another_block() -> None:
    events = [opened(0, TEXT), text(0), opened(0, THINKING), thought(0), stopped(0)]
    assert blocks(*events) == "0 0d 0. 1 1d 1."


def test_missing_stops_are_added_and_stray_ones_left_out() -> None:
    assert blocks(stopped(0), opened(0, TEXT), text(0), tool(1), piece(1)) == "0 0d 0. 1 1d 1."
    assert blocks(opened(0, TEXT), text(0), stopped(0), stopped(0), stopped(7)) == "0 0d 0."


@pytest.mark.parametrize(
    ("wrong", "short"),
    [
        ([opened(0, THINKING), thought(0), text(0), stopped(0)], "0 0d 0. 1 1d 1."),
        ([opened(0, TEXT), thought(0), text(0), stopped(0)], "0 0. 1 1d 1. 2 2d 2."),
        ([opened(0, TEXT), text(0), stopped(0), text(0)], "0 0d 0. 1 1d 1."),
        ([tool(0), piece(0), text(0), text(0), stopped(0)], "0 0d 0. 1 1d 1d 1."),
    ],
)
def test_a_delta_gets_a_block_of_its_kind(wrong: list[Event], short: str) -> None:
    assert blocks(*wrong) == short


def test_text_leaves_with_the_event_that_brings_it() -> None:
    normalizer = Normalizer(ASKED)
    for event in (thought(None), text(0), text(4), thought(0)):
        sent = read(normalizer.feed(written(event)))
        assert sent[-1]["delta"] == event["delta"]


def test_what_comes_behind_the_stop_reason_leaves_before_it() -> None:
    events = [start(), opened(0, TEXT), text(0), stopped(0), reason(), opened(1, TEXT)]
    sent = through(*events, text(1), stopped(1), STOP)
    assert kinds(sent) == "message_start 0 0d 0. 1 1d 1. message_delta message_stop"
    assert codes(*events, text(1), stopped(1), STOP) == {"M307"}


def test_what_a_start_holds_leaves_as_deltas() -> None:
    held = {"type": "thinking", "thinking": "Hm", "signature": "c2ln"}
    sent = through(start(), opened(0, held), stopped(0), *END)
    assert sent[1]["content_block"] == THINKING
    assert (said(sent, "thinking"), said(sent, "signature")) == ("Hm", "c2ln")
    sent = through(start(), opened(0, held), signed(0, "b3Ro"), stopped(0), *END)
    assert said(sent, "signature") == "b3Ro"


@pytest.mark.parametrize(
    ("block", "whole"),
    [
        ({"type": "thinking", "thinking": ""}, THINKING),
        ({"type": "text"}, TEXT),
        ({"text": None}, TEXT),
        (None, TEXT),
        ({"type": "text", "text": "", "citations": []}, {**TEXT, "citations": []}),
    ],
)
def test_the_members_of_a_start_are_filled_in(block: Any, whole: Event) -> None:
    sent = through(start(), opened(0, block), stopped(0), *END)
    assert sent[1]["content_block"] == whole


@pytest.mark.parametrize(
    "kind", ["redacted_thinking", "web_search_tool_result", "fallback", "compaction", "new_kind"]
)
def test_other_kinds_pass_as_they_came(kind: str) -> None:
    other = opened(0, {"type": kind, "data": "x", "content": None})
    body = written(start(), other, stopped(0), opened(1, TEXT), text(1), stopped(1), *END)
    assert run(body)[0] == body


def test_any_delta_of_an_unknown_kind_is_that_blocks() -> None:
    events = [opened(0, {"type": "new_tool_use", "id": "a"}), piece(0), text(0), stopped(0)]
    body = written(start(), *events, *END)
    assert run(body)[0] == body


def test_a_delta_of_an_unknown_type_passes_into_its_block() -> None:
    new = delta(0, type="new_delta", a=1)
    body = written(start(), opened(0, TEXT), new, text(0), stopped(0), *END)
    assert run(body)[0] == body


@pytest.mark.parametrize(
    ("members", "came"),
    [
        ({"text": "Hi"}, "Hi"),
        ({"type": None, "text": "Hi"}, "Hi"),
        ({"type": "text_delta", "text": 7}, "7"),
        ({"type": "text_delta", "text": {"a": [1]}}, '{"a":[1]}'),
        ({"type": "text_delta", "text": None}, ""),
        ({"type": "text_delta", "text": []}, ""),
    ],
)
def test_the_form_of_a_text_delta(members: Event, came: str) -> None:
    sent = through(start(), opened(0, TEXT), delta(0, **members), text(0), stopped(0), *END)
    assert said(sent) == came + "Hi"


def test_thinking_under_the_name_of_text_is_thinking() -> None:
    wrong = delta(0, type="thinking_delta", text="Hm")
    assert said(through(start(), opened(0, THINKING), wrong, *END), "thinking") == "Hm"


def test_a_signature_is_never_made_up() -> None:
    sent, report = run(start(), opened(0, THINKING), thought(0), stopped(0), *END)
    assert sent == written(start(), opened(0, THINKING), thought(0), stopped(0), *END)
    assert set(report.codes) == {"M313"}


def test_a_thinking_block_with_nothing_but_a_signature_is_canonical() -> None:
    body = written(start(), opened(0, THINKING), signed(0), stopped(0), *END)
    out, report = run(body)
    assert (out, report.codes) == (body, {})


def test_an_empty_text_block_passes_or_is_dropped() -> None:
    events = [opened(0, TEXT), text(0, ""), stopped(0), opened(1, TEXT), text(1), stopped(1)]
    assert blocks(*events) == "0 0d 0. 1 1d 1."
    assert blocks(*events, empty_blocks="drop") == "0 0d 0."
    assert codes(start(), *events, *END) == {"M314"}


def test_a_pair_of_surrogates_in_two_deltas_is_one_character() -> None:
    halves = [text(0, "a\ud83d"), {"type": "ping"}, text(0, "\ude00b"), text(0, "\ud83d")]
    sent = through(start(), opened(0, TEXT), *halves, stopped(0), *END)
    assert said(sent) == "a\U0001f600b\ufffd"


def test_citations_need_a_text_block() -> None:
    cited = delta(0, type="citations_delta", citation={"cited_text": "x"})
    assert blocks(opened(0, THINKING), thought(0), cited, text(0)) == "0 0d 0. 1 1d 1d 1."


def test_many_open_blocks_end_in_an_error_and_not_in_more_memory() -> None:
    normalizer = Normalizer(ASKED)
    body = b"".join(written(tool(index, id=f"call_{index}")) for index in range(20_000))
    out = normalizer.feed(body) + normalizer.close()
    assert read(out)[-1]["error"]["code"] == "upstream_too_large"


def test_nothing_ends_twice() -> None:
    assert kinds(through(start(), opened(0, TEXT), text(0), REASONED, STOP, STOP)).endswith(
        "0. message_delta message_stop"
    )
