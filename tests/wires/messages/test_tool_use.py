"""Tool calls: ids, names, input in its pieces, and stops that wait."""

from __future__ import annotations

from typing import Any

import pytest

from normalizer.core.kept import Kept
from normalizer.wires.messages.tool_input import Input
from tests.wires.messages.streams import (
    PARIS,
    STOP,
    TEXT,
    Event,
    codes,
    kinds,
    opened,
    piece,
    reason,
    run,
    said,
    start,
    stopped,
    text,
    through,
    tool,
    written,
)

END = [reason("tool_use"), STOP]
CALLED = "message_start 0 0d 0. message_delta message_stop"


def calls(events: list[Event]) -> list[tuple[str, str, str]]:
    """Id, name and input of each call that leaves."""
    return [
        (one["content_block"]["id"], one["content_block"]["name"], said(events, "partial_json", n))
        for n, one in enumerate(one for one in events if one["type"] == "content_block_start")
        if one["content_block"]["type"] == "tool_use"
    ]


@pytest.mark.parametrize("ident", [..., None, "", 7, []])
def test_a_missing_id_is_made_up(ident: Any) -> None:
    [(made_up, _, _)] = calls(through(start(), tool(0, id=ident), piece(0), stopped(0), *END))
    assert made_up.startswith("toolu_")
    assert len(made_up) == len("toolu_") + 24


def test_a_repeated_id_under_another_name_is_made_up_at_once() -> None:
    other = [tool(1, name="get_time"), piece(1, '{"zone": '), piece(1, '"CET"}'), stopped(1)]
    sent = through(start(), tool(0), piece(0), stopped(0), *other, *END)
    first, second = calls(sent)
    assert first == ("toolu_1", "get_weather", PARIS)
    assert second[0] != "toolu_1"
    assert second[1:] == ("get_time", '{"zone": "CET"}')


def test_the_same_call_again_leaves_once() -> None:
    again = [tool(1), piece(1, '{"city":'), piece(1, '"Paris"}'), stopped(1)]
    events = [start(), tool(0), piece(0), stopped(0), *again, *END]
    assert kinds(through(*events)) == CALLED
    assert codes(*events) == {"M403"}


def test_the_same_name_with_another_input_is_another_call() -> None:
    other = [tool(1), piece(1, '{"city": "Rome"}'), stopped(1)]
    sent = through(start(), tool(0), piece(0), stopped(0), *other, *END)
    assert [call[1:] for call in calls(sent)] == [
        ("get_weather", PARIS),
        ("get_weather", '{"city": "Rome"}'),
    ]


@pytest.mark.parametrize(("half", "count"), [('{"city": "Pa', 1), ('{"zone": ', 2)])
def test_at_a_cut_a_piece_of_the_first_input_is_the_same_call(half: str, count: int) -> None:
    sent = through(start(), tool(0), piece(0), stopped(0), tool(1), piece(1, half))
    assert len(calls(sent)) == count
    assert sent[-1]["error"]["code"] == "upstream_truncated"


def test_a_head_without_a_name_waits_for_it() -> None:
    sent = through(start(), tool(0, name=""), tool(0), piece(0), stopped(0), *END)
    assert calls(sent) == [("toolu_1", "get_weather", PARIS)]
    late = through(start(), tool(0, name=None), piece(0), tool(0), stopped(0), *END)
    assert calls(late) == [("toolu_1", "get_weather", PARIS)]


def test_a_call_that_never_gets_a_name_is_no_call() -> None:
    sent = through(start(), tool(0, name=""), piece(0), stopped(0), *END)
    assert calls(sent) == []
    end = sent[-2]
    assert end["nameless_tool_use"] == [{"id": "toolu_1", "input_json": PARIS}]
    assert end["delta"]["stop_reason"] == "end_turn"
    cut = through(start(), tool(0, name=""), piece(0))
    assert cut[-1]["nameless_tool_use"] == end["nameless_tool_use"]


def test_input_in_the_start_leaves_before_the_stop() -> None:
    given = tool(0, input={"city": "Paris"})
    sent = through(start(), given, stopped(0), *END)
    assert kinds(sent) == CALLED
    assert sent[1]["content_block"]["input"] == {}
    assert calls(sent)[0][2] == '{"city":"Paris"}'


def test_deltas_stand_alone_beside_input_in_the_start() -> None:
    events = [start(), tool(0, input={"city": "Rome"}), piece(0, ""), piece(0), stopped(0), *END]
    assert calls(through(*events))[0][2] == PARIS
    assert codes(*events) == {"M405", "M406"}


@pytest.mark.parametrize("given", [None, "", [], ...])
def test_input_that_is_missing_is_an_empty_object(given: Any) -> None:
    sent = through(start(), tool(0, input=given), piece(0), stopped(0), *END)
    assert sent[1]["content_block"]["input"] == {}
    assert calls(sent)[0][2] == PARIS


def test_a_string_in_the_start_is_input() -> None:
    whole = through(start(), tool(0, input=PARIS), stopped(0), *END)
    assert calls(whole)[0][2] == PARIS
    first = through(start(), tool(0, input='{"city": '), piece(0, '"Paris"}'), stopped(0), *END)
    assert calls(first)[0][2] == PARIS


def test_input_that_code_on_the_server_gave_stays_in_the_start() -> None:
    call = tool(0, input={"city": "Paris"}, caller={"type": "code_execution_20250825"})
    body = written(start(), call, stopped(0), opened(1, TEXT), text(1), stopped(1), *END)
    assert run(body)[0] == body


def test_a_stop_waits_for_the_rest_of_the_input() -> None:
    early = [tool(0), stopped(0), tool(1, id="toolu_2", name="get_time"), stopped(1)]
    late = [piece(0), piece(1, '{"zone": "CET"}')]
    sent = through(start(), *early, *late, *END)
    assert kinds(sent) == "message_start 0 1 0d 1d 0. 1. message_delta message_stop"
    assert codes(start(), *early, *late, *END) == {"M407"}


def test_calls_that_overlap_stay_open() -> None:
    events = [tool(0), piece(0, '{"city": '), tool(1, id="toolu_2"), piece(1, '{"city": ')]
    events += [piece(0, '"Paris"}'), piece(1, '"Rome"}'), stopped(0), stopped(1)]
    body = written(start(), *events, *END)
    assert run(body)[0] == body


def test_a_call_without_arguments_is_complete() -> None:
    body = written(
        start(), tool(0), piece(0, ""), stopped(0), tool(1, id="b"), piece(1), stopped(1)
    )
    assert run(body, *END)[0] == body + written(*END)


def test_a_servers_call_is_stopped_at_once() -> None:
    call = tool(0, type="server_tool_use", id="srvtoolu_1")
    result = opened(1, {"type": "web_search_tool_result", "content": []})
    body = written(start(), call, stopped(0), result, stopped(1), reason(), STOP)
    assert run(body)[0] == body


@pytest.mark.parametrize("index", [0, 3, None])
def test_input_for_a_block_that_was_stopped_is_an_error(index: int | None) -> None:
    sent = through(start(), tool(0), piece(0), stopped(0), piece(index, "more"), *END)
    assert sent[-1]["error"]["code"] == "upstream_invalid"
    blank = through(start(), tool(0), piece(0), stopped(0), piece(index, " "), *END)
    assert kinds(blank) == CALLED


def test_input_without_an_index_goes_to_the_last_call() -> None:
    sent = through(start(), tool(0), piece(None, '{"city": '), piece(9, '"Paris"}'), *END)
    assert calls(sent)[0][2] == PARIS


def test_input_is_never_mended() -> None:
    body = written(start(), tool(0), piece(0, '{"city": Paris}'), stopped(0), *END)
    out, report = run(body)
    assert out == body
    assert set(report.codes) == {"M409"}


def test_odd_ids_pass_and_are_reported() -> None:
    body = written(start(), tool(0, id="functions.Read:0"), piece(0), stopped(0), *END)
    out, report = run(body)
    assert (out, set(report.codes)) == (body, {"M410"})


# ---------------------------------------------------------------- whether input is complete


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("", False),
        ("{}", True),
        (' {"a": "}"} ', True),
        ('{"a": "\\"}', False),
        ('{"a": "\\\\"}', True),
        ('{"a": [{"b": 1}]}', True),
        ('{"a": Paris}', False),
        ("{}{}", False),
        ("[1]", False),
        ('"{}"', False),
        ("{", False),
    ],
)
def test_input_is_complete_however_it_is_split(text: str, complete: bool) -> None:
    for size in (1, 2, 3, max(len(text), 1)):
        given = Input()
        for at in range(0, len(text), size):
            given.add(text[at : at + size], Kept(1000))
            _ = given.complete
        assert given.complete == complete
        assert given.text == text


def test_input_over_the_limit_is_forgotten_and_still_complete() -> None:
    kept = Kept(10)
    given = Input()
    for part in ('{"a": "', "x" * 20, '"', "}"):
        assert not given.complete
        given.add(part, kept)
    assert given.complete
    assert given.text is None
    assert kept.size == 0
