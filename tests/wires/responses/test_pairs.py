"""One rich stream with each deviation, and with each two: none hides what another one needs.

The judge compares what a changed stream holds with what leaves. One stream holds all kinds of items
whose events the wire knows, so that ids, indexes and ends of one can be taken for another's.
"""

from __future__ import annotations

import copy
import importlib.util
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from tests.shared import beside
from tests.wires.responses.streams import (
    STREAM,
    added,
    at,
    call,
    call_events,
    created,
    done,
    ended,
    event,
    message,
    message_events,
    normalize,
    part,
    raw,
    reasoning,
    response,
)

Events = list[dict[str, Any]]
SHELL = {
    "id": "ctc_1",
    "type": "custom_tool_call",
    "status": "completed",
    "call_id": "call_3",
    "name": "sh",
    "input": "ls -la",
}
SEARCH = {
    "id": "ws_1",
    "type": "web_search_call",
    "status": "completed",
    "action": {"type": "search", "query": "q"},
}


def rich() -> Events:
    thoughts = ("Think hard", "More")
    summary = [one for number, text in enumerate(thoughts) for one in thought(number, text)]
    return [
        created(),
        event("in_progress", response=response()),
        *(added(reasoning()), *summary, done(reasoning(*thoughts))),
        *message_events("Hel", "lo", " world", index=1),
        *call_events('{"a":', "1}", index=2),
        *call_events('{"b":', "2}", ident="fc_2", call_id="call_2", name="g", index=3),
        added({**SHELL, "input": "", "status": "in_progress"}, 4),
        event("custom_tool_call_input.delta", **at("ctc_1", 4), delta="ls -la"),
        event("custom_tool_call_input.done", **at("ctc_1", 4), input="ls -la"),
        done(SHELL, 4),
        added({**SEARCH, "status": "in_progress"}, 5),
        event("web_search_call.searching", **at("ws_1", 5)),
        done(SEARCH, 5),
        *message_events("Bye", ident="msg_2", index=6),
        ended(
            reasoning(*thoughts),
            message("Hello world"),
            call('{"a":1}'),
            call('{"b":2}', ident="fc_2", call_id="call_2", name="g"),
            SHELL,
            SEARCH,
            message("Bye", ident="msg_2"),
        ),
    ]


def thought(number: int, text: str) -> Events:
    place = {**at("rs_1"), "summary_index": number}
    return [
        event("reasoning_summary_part.added", **place, part=part("", "summary_text")),
        event("reasoning_summary_text.delta", **place, delta=text[:3]),
        event("reasoning_summary_text.delta", **place, delta=text[3:]),
        event("reasoning_summary_text.done", **place, text=text),
        event("reasoning_summary_part.done", **place, part=part(text, "summary_text")),
    ]


def without(*keys: str) -> Callable[[Events], Events]:
    return lambda events: [{k: v for k, v in one.items() if k not in keys} for one in events]


def dropped(*ends: str) -> Callable[[Events], Events]:
    return lambda events: [one for one in events if not one["type"].endswith(ends)]


def items_with(change: Callable[[int, dict[str, Any]], dict[str, Any]], end: str = "") -> Any:
    def changed(events: Events) -> Events:
        return [
            {**one, "item": change(n, one["item"])}
            if "item" in one and one["type"].endswith(end)
            else one
            for n, one in enumerate(events)
        ]

    return changed


def indexes(change: Callable[[int], int]) -> Callable[[Events], Events]:
    return lambda events: [
        {**one, "output_index": change(one["output_index"])} if "output_index" in one else one
        for one in events
    ]


def last(**members: Any) -> Callable[[Events], Events]:
    def changed(events: Events) -> Events:
        *rest, end = events
        return [
            *rest,
            {**end, "response": {**end["response"], **members}} if "response" in end else end,
        ]

    return changed


def rotated(events: Events) -> Events:
    return [
        {**one, "item_id": f"x{n}"} if "item_id" in one else one for n, one in enumerate(events)
    ]


def emptied(number: int, item: dict[str, Any]) -> dict[str, Any]:
    blank = {"content": [], "summary": [], "arguments": "", "input": ""}
    return {**item, **{key: one for key, one in blank.items() if key in item}}


def doubled(events: Events) -> Events:
    return [one for one in events for _ in range(1 if one["type"].endswith("delta") else 2)]


def flat(events: Events) -> Events:
    *rest, end = events
    return [*rest, {"type": end["type"], **end.get("response", {})}]


DEVIATIONS: dict[str, Callable[[Events], Events]] = {
    "no output_index": without("output_index"),
    "no item_id": without("item_id"),
    "no sequence_number": without("sequence_number"),
    "no content_index": without("content_index"),
    "no item added": dropped("output_item.added"),
    "no created": dropped("created", "in_progress"),
    "no part added": dropped("part.added"),
    "no part done": dropped("part.done"),
    "no text done": dropped("text.done", "arguments.done", "input.done"),
    "no item done": dropped("item.done"),
    "nothing done": dropped(".done"),
    "no delta": dropped(".delta"),
    "rotating item_id": rotated,
    "other ids at the end": items_with(lambda n, one: {**one, "id": f"y{n}"}, "done"),
    "items without id": items_with(lambda _, one: {k: v for k, v in one.items() if k != "id"}),
    "blank items at the end": items_with(emptied, "done"),
    "indexes from one": indexes(lambda index: index + 1),
    "indexes all zero": indexes(lambda _: 0),
    "empty output": last(output=[]),
    "null output": last(output=None),
    "another response": last(id="resp_2"),
    "usage of a chat": last(usage={"prompt_tokens": 3, "completion_tokens": 4}),
    "not nested": flat,
    "everything twice": doubled,
    "cut": lambda events: events[:-1],
}
PAIRS = [(one, one) for one in DEVIATIONS] + list(itertools.combinations(DEVIATIONS, 2))


@pytest.fixture(scope="module")
def judge() -> Any:
    spec = importlib.util.spec_from_file_location("responses", beside("conform_responses.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.judge


@pytest.mark.parametrize("first", DEVIATIONS)
def test_deviations_do_not_hide_each_other(first: str, judge: Any) -> None:
    for one, other in PAIRS:
        if one != first:
            continue
        events = [{**each, "sequence_number": n} for n, each in enumerate(rich())]
        events = DEVIATIONS[one](copy.deepcopy(events))
        if other != one:
            events = DEVIATIONS[other](events)
        body = raw(events, numbered=False)
        outcome = normalize(body)
        assert judge(body, outcome.out, dict(STREAM)) == [], f"{one}, {other}"
        assert normalize(outcome.out).out == outcome.out, f"{one}, {other}"


def test_the_rich_stream_is_canonical() -> None:
    body = raw(rich())
    assert normalize(body).out == body
