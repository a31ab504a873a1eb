"""The order of events: what is made up when, and what is held."""

from __future__ import annotations

import pytest

from normalizer import Normalizer, Options, RequestInfo
from tests.wires.responses.streams import (
    DONE,
    PATH,
    STREAM,
    added,
    arguments_delta,
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
    text_delta,
)

CLEAN = raw(
    created(),
    event("in_progress", response=response()),
    message_events("Hello", " world"),
    call_events('{"a":', "1}", index=1),
    ended(message("Hello world"), call('{"a":1}')),
)


def test_a_canonical_stream_leaves_byte_for_byte() -> None:
    outcome = normalize(CLEAN)
    assert outcome.out == CLEAN
    assert outcome.codes == set()
    assert outcome.report.end == "done"


def test_a_canonical_stream_split_anywhere_leaves_byte_for_byte() -> None:
    for size in (1, 2, 7, 100):
        pieces = [CLEAN[i : i + size] for i in range(0, len(CLEAN), size)]
        assert normalize(b"", pieces=pieces).out == CLEAN


def test_text_leaves_at_once() -> None:
    normalizer = Normalizer(RequestInfo.parse(PATH, STREAM), Options())
    assert b"Hel" in normalizer.feed(raw(text_delta("Hel")))
    assert b"lo" in normalizer.feed(raw(text_delta("lo")))


def test_what_a_first_delta_needs_is_made_up() -> None:
    outcome = normalize(raw(text_delta("Hi"), ended(message("Hi"))))
    assert outcome.types == [
        *("created", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    assert {"R201", "R202", "R203", "R205", "R206", "R207"} <= outcome.codes
    assert outcome.of("output_item.done")[0]["item"] == outcome.output[0] == message("Hi")


def test_text_that_only_a_done_holds_leaves_as_a_delta() -> None:
    outcome = normalize(
        raw(
            created(),
            event("output_text.done", **at(), content_index=0, text="Hi"),
            ended(message("Hi")),
        )
    )
    assert outcome.said() == "Hi"
    assert outcome.types[3:5] == ["output_text.delta", "output_text.done"]


@pytest.mark.parametrize("output", [[], None, ...], ids=["empty", "null", "missing"])
def test_text_that_only_an_item_holds_leaves_once(output: object) -> None:
    outcome = normalize(
        raw(
            created(),
            done(message("Hi")),
            event("completed", response=response("completed", output)),
        )
    )
    assert outcome.said() == "Hi"
    assert outcome.output == [message("Hi")]


def test_text_that_only_the_terminal_holds_leaves_before_it() -> None:
    outcome = normalize(raw(created(), ended(reasoning("Hm"), message("Hi"))))
    assert outcome.said() == "Hi"
    assert outcome.said("reasoning_summary_text") == "Hm"
    assert outcome.types[-1] == "completed"


def test_the_rest_of_a_text_leaves_before_its_done() -> None:
    outcome = normalize(
        raw(
            created(),
            added(message(status="in_progress")),
            text_delta("Hel"),
            done(message("Hello")),
            ended(message("Hello")),
        )
    )
    assert outcome.said() == "Hello"
    assert "R204" in outcome.codes


def test_a_text_that_was_changed_stays_the_upstreams() -> None:
    events = message_events("secret")
    events[-2:] = [
        event("content_part.done", **at(), content_index=0, part=part("[cut]")),
        done(message("[cut]")),
    ]
    events[3]["text"] = "[cut]"
    outcome = normalize(raw(created(), events, ended(message("[cut]"))))
    assert outcome.said() == "secret"
    assert outcome.of("output_text.done")[0]["text"] == "[cut]"
    assert outcome.output == [message("[cut]")]
    assert outcome.codes == {"R502"}


def test_a_head_with_text_leaves_blank_and_then_the_text() -> None:
    outcome = normalize(
        raw(created(), added(message("Hi", status="in_progress")), done(message("Hi")), ended())
    )
    assert outcome.of("output_item.added")[0]["item"]["content"] == []
    assert outcome.said() == "Hi"
    assert "R208" in outcome.codes


def test_arguments_in_a_head_count_only_if_no_delta_follows() -> None:
    head = call('{"a":1}', status="in_progress")
    for deltas in ([], [arguments_delta('{"a":1}')]):
        outcome = normalize(raw(created(), added(head), *deltas, done(call("")), ended()))
        assert outcome.said("function_call_arguments") == '{"a":1}'
        assert outcome.output[0]["arguments"] == '{"a":1}'


def test_twice_the_same_counts_once() -> None:
    events = message_events("Hi")
    doubled = [one for one in events for _ in range(2 if "delta" not in one else 1)]
    outcome = normalize(raw(created(), created(), doubled, ended(message("Hi"))))
    assert outcome.types == normalize(raw(created(), events, ended(message("Hi")))).types
    assert outcome.codes == {"R209"} | ({"R104"} & outcome.codes)


def test_text_behind_the_end_of_its_item_is_a_new_item() -> None:
    outcome = normalize(
        raw(created(), message_events("Hello"), text_delta("Bye"), ended(message("Hello")))
    )
    assert [one["content"][0]["text"] for one in outcome.output] == ["Hello", "Bye"]
    assert outcome.of("output_item.done")[0]["item"] == message("Hello")
    assert "R210" in outcome.codes


def test_items_may_overlap() -> None:
    first, second = call_events("{}"), call_events("[]", ident="fc_2", index=1, call_id="call_2")
    body = raw(
        created(),
        [first[0], second[0], second[1], first[1], *second[2:], *first[2:]],
        ended(call("{}"), call("[]", ident="fc_2", call_id="call_2")),
    )
    assert normalize(body).out == body


def test_a_call_waits_for_its_name() -> None:
    head = call(name=..., status="in_progress")
    body = raw(created(), added(head), arguments_delta("{}"), done(call("{}")), ended(call("{}")))
    outcome = normalize(body)
    assert outcome.of("output_item.added")[0]["item"]["name"] == "f"
    assert outcome.types[1:3] == ["output_item.added", "function_call_arguments.delta"]
    assert "R212" in outcome.codes


def test_arguments_before_their_head_follow_it() -> None:
    body = raw(
        created(),
        arguments_delta('{"a"'),
        added(call(status="in_progress")),
        arguments_delta(":1}"),
        done(call('{"a":1}')),
        ended(call('{"a":1}')),
    )
    outcome = normalize(body)
    assert outcome.types[1:4] == [
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.delta"),
    ]
    assert outcome.said("function_call_arguments") == '{"a":1}'


def test_a_call_that_is_never_named_rides_on_the_terminal() -> None:
    outcome = normalize(
        raw(created(), message_events("Hi"), arguments_delta("{}", index=1), ended())
    )
    assert [one["type"] for one in outcome.output] == ["message"]
    calls = outcome.events[-1]["response"]["nameless_tool_calls"]
    assert [one["arguments"] for one in calls] == ["{}"]
    assert "R213" in outcome.codes


def test_unknown_events_before_created_follow_it() -> None:
    limits = {"type": "codex.rate_limits", "limit_reached": True}
    outcome = normalize(raw(limits, created(), message_events("Hi"), ended(message("Hi"))))
    assert outcome.types[:2] == ["created", "codex.rate_limits"]
    assert "R107" in outcome.codes


@pytest.mark.parametrize(
    ("headers", "passes"),
    [({}, True), ({"originator": "codex_cli_rs"}, True), ({"user-agent": "OpenAI/JS 6"}, False)],
)
def test_private_events_ride_where_the_client_is_not_codex(
    headers: dict[str, str], passes: bool
) -> None:
    limits = {"type": "codex.rate_limits", "limit": 1}
    outcome = normalize(raw(created(), limits, message_events("Hi"), ended()), headers=headers)
    assert ("codex.rate_limits" in outcome.types) is passes
    if not passes:
        assert outcome.of("output_item.added")[0]["codex.rate_limits"]["limit"] == 1


@pytest.mark.parametrize(
    ("option", "left"), [("keep", True), ("ride", False), ("drop-private", False)]
)
def test_the_option_says_what_becomes_of_private_events(option: str, left: bool) -> None:
    body = raw(created(), {"type": "codex.x", "a": 1}, message_events("Hi"), ended())
    outcome = normalize(body, unknown_events=option)
    assert ("codex.x" in outcome.types) is left
    assert (b'"codex.x":{' in outcome.out) is (option == "ride")


def test_a_new_type_of_the_api_passes_with_its_item() -> None:
    new = event("canvas.drawn", item_id="ig_9", output_index=0, line=[1])
    item = {"id": "ig_9", "type": "canvas", "status": "completed"}
    body = raw(created(), added(item), new, done(item), ended(item))
    assert normalize(body).out == body


@pytest.mark.parametrize(
    "silent",
    [
        b"data: \n\n",
        b"data: null\n\n",
        b'data: {"type":"ping"}\n\n',
        b'event: response.heartbeat\ndata: {"type":"response.heartbeat","sequence_number":7}\n\n',
        b'data: {"type":"response.in_progress"}\n\n',
    ],
)
def test_what_says_nothing_is_a_comment(silent: bytes) -> None:
    outcome = normalize(raw(silent, created(), silent, message_events("Hi"), ended(message("Hi"))))
    assert outcome.out.count(b": keep-alive\n\n") == 2
    assert outcome.types[0] == "created"


def test_done_leaves_once_if_it_came() -> None:
    assert normalize(CLEAN + DONE + DONE).out == CLEAN + DONE


def test_nothing_of_the_response_follows_its_end() -> None:
    outcome = normalize(CLEAN + raw(done(message("late"), 5), {"type": "usage.report", "n": 1}))
    assert outcome.types[-2:] == ["completed", "usage.report"]
    assert outcome.codes == {"R104", "R110"}


@pytest.mark.parametrize(
    ("came", "leaves"),
    [
        ("reasoning_part.added", "content_part.added"),
        ("reasoning_content.delta", "reasoning_text.delta"),
        ("reasoning_summary.delta", "reasoning_summary_text.delta"),
        ("text.delta", "output_text.delta"),
    ],
)
def test_synonyms_get_the_apis_name(came: str, leaves: str) -> None:
    members = {"delta": "x", "part": {"type": "reasoning_text", "text": ""}}
    outcome = normalize(raw(created(), event(came, **at("it_1"), **members), ended()))
    assert leaves in outcome.types
    assert came not in outcome.types
    assert "R105" in outcome.codes


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed"])
def test_a_response_that_is_done_ends_by_its_status(status: str) -> None:
    last = event("done", response=response(status, error={"code": "c", "message": "m"}))
    outcome = normalize(raw(created(), message_events("Hi"), last))
    assert outcome.types[-1] == status


def test_a_created_that_comes_too_late_still_leaves_what_it_holds() -> None:
    late = created(metadata={"a": "b"})
    outcome = normalize(raw(text_delta("Hi"), late, late, ended(message("Hi"))))
    assert outcome.types.count("created") == 1
    assert [one["response"]["metadata"] for one in outcome.of("in_progress")] == [{"a": "b"}]


def test_a_type_of_a_million_words_takes_no_time() -> None:
    long = event("a_" * 500_000 + "call.done", item_id="x_1")
    outcome = normalize(raw(created(), long, message_events("Hi"), ended(message("Hi"))))
    assert outcome.types[-1] == "completed"
