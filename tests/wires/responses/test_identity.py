"""Which item an event belongs to, and the ids and numbers under which it leaves."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wires.responses.streams import (
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


def without(one: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key not in keys}


def numbers(events: list[Any]) -> list[int]:
    return [one["sequence_number"] for one in events]


@pytest.mark.parametrize("number", [..., None, 0, "3", 1.0, True])
def test_numbers_rise_from_the_last_one(number: object) -> None:
    events = [created(), *message_events("Hi"), ended(message("Hi"))]
    body = b"".join(
        raw({**one, "sequence_number": number} if number is not ... else one, numbered=False)
        for one in events
    )
    outcome = normalize(body)
    assert numbers(outcome.events) == list(range(len(events)))
    assert outcome.codes == {"R104"}


def test_gaps_in_the_numbers_stay() -> None:
    events = [created(), *message_events("Hi"), ended(message("Hi"))]
    body = raw(*({**one, "sequence_number": 10 * n} for n, one in enumerate(events)))
    assert normalize(body).out == body


def test_numbers_behind_an_event_of_ours_are_no_fault() -> None:
    outcome = normalize(raw(created(), message_events("Hi")[1:], ended(message("Hi"))))
    assert numbers(outcome.events) == list(range(len(outcome.events)))
    assert outcome.codes == {"R202"}


def test_the_first_id_of_the_response_is_its_id() -> None:
    last = ended(message("Hi"), id="resp_2")
    outcome = normalize(raw(created(), message_events("Hi"), last))
    assert outcome.events[-1]["response"]["id"] == "resp_1"
    assert outcome.events[-1]["response"]["native_id"] == "resp_2"
    assert outcome.report.id == "resp_1"


def test_an_id_that_came_too_late_is_native() -> None:
    outcome = normalize(raw(message_events("Hi"), ended(message("Hi"))))
    assert outcome.events[-1]["response"]["id"] == outcome.events[0]["response"]["id"] != "resp_1"
    assert outcome.events[-1]["response"]["native_id"] == "resp_1"


def test_ids_that_change_with_each_event() -> None:
    events = message_events("Hel", "lo")
    for number, one in enumerate(events):
        if "item_id" in one:
            one["item_id"] = f"opaque_{number}"
    outcome = normalize(raw(created(), events, ended(message("Hello", ident="opaque_9"))))
    assert {one.get("item_id", "msg_1") for one in outcome.events} == {"msg_1"}
    assert outcome.said() == "Hello"
    assert outcome.output == [message("Hello")]


def test_parallel_calls_with_ids_that_change() -> None:
    first, second = call_events("{}"), call_events("[]", ident="fc_2", index=1, call_id="call_2")
    for number, one in enumerate([*first, *second]):
        if "item_id" in one:
            one["item_id"] = f"opaque_{number}"
    mixed = [first[0], second[0], second[1], first[1], *first[2:], *second[2:]]
    outcome = normalize(raw(created(), mixed, ended(call("{}"), call("[]", call_id="call_2"))))
    assert [one["arguments"] for one in outcome.output] == ["{}", "[]"]
    assert [one["call_id"] for one in outcome.output] == ["call_1", "call_2"]


def test_two_items_with_one_id() -> None:
    first, second = call_events("{}"), call_events("[]", index=1, call_id="call_2")
    mixed = [first[0], second[0], second[1], first[1], *first[2:], *second[2:]]
    outcome = normalize(raw(created(), mixed, ended(call("{}"), call("[]", call_id="call_2"))))
    ids = [one["id"] for one in outcome.output]
    assert ids[0] == "fc_1" != ids[1]
    assert [one["arguments"] for one in outcome.output] == ["{}", "[]"]


def test_two_kinds_at_one_index() -> None:
    thought = reasoning("Hm")
    outcome = normalize(
        raw(
            created(),
            added(reasoning()),
            added(call(status="in_progress")),
            event("reasoning_summary_text.delta", **at("rs_1"), summary_index=0, delta="Hm"),
            arguments_delta("{}"),
            done(thought),
            done(call("{}")),
            ended(thought, call("{}")),
        )
    )
    assert [one["output_index"] for one in outcome.of("output_item.added")] == [0, 1]
    assert outcome.output == [thought, call("{}")]


def test_indexes_from_one_and_none_at_all() -> None:
    events = message_events("Hi")
    for index in (1, ...):
        changed = [{**one, "output_index": index} for one in events]
        changed = [without(one, "output_index") if index is ... else one for one in changed]
        outcome = normalize(raw(created(), changed, ended(message("Hi"))))
        assert {one["output_index"] for one in outcome.events if "output_index" in one} == {0}
        assert outcome.types.count("output_item.added") == 1


def test_no_references_at_all() -> None:
    outcome = normalize(
        raw(
            created(),
            event("reasoning_summary_text.delta", delta="Hm"),
            event("output_text.delta", delta="Hi"),
            ended(),
        )
    )
    assert [one["type"] for one in outcome.output] == ["reasoning", "message"]
    assert (outcome.said("reasoning_summary_text"), outcome.said()) == ("Hm", "Hi")


def test_an_index_that_counts_tokens_means_the_open_part() -> None:
    events = message_events("a", "b", "c")
    for number, one in enumerate(one for one in events if one["type"].endswith("delta")):
        one["content_index"] = number
    outcome = normalize(raw(created(), events, ended(message("abc"))))
    assert outcome.output == [message("abc")]
    assert {one["content_index"] for one in outcome.of("output_text.delta")} == {0}


def test_parts_that_count_on_over_items_begin_at_0() -> None:
    events = [
        {**one, "content_index": 1} if "content_index" in one else one
        for one in message_events("Hi")
    ]
    outcome = normalize(raw(created(), events, ended(message("Hi"))))
    assert (
        outcome.types == normalize(raw(created(), message_events("Hi"), ended(message("Hi")))).types
    )
    assert outcome.codes == {"R304"}


def test_a_second_message_that_was_never_added() -> None:
    head = message_events("Hello")[:3]
    outcome = normalize(
        raw(
            created(),
            head,
            text_delta("Bye", "msg_2", 1),
            ended(message("Hello"), message("Bye", ident="msg_2")),
        )
    )
    assert [one["id"] for one in outcome.output] == ["msg_1", "msg_2"]


def test_encrypted_content_keeps_the_id_that_it_came_with() -> None:
    last = reasoning(ident="rs_B", encrypted_content="gAAA")
    outcome = normalize(raw(created(), added(reasoning(ident="rs_A")), done(last), ended(last)))
    for item in (outcome.of("output_item.done")[0]["item"], outcome.output[0]):
        assert (item["id"], item["native_id"]) == ("rs_A", "rs_B")
        assert item["encrypted_content"] == "gAAA"


def test_a_call_without_ids_gets_them() -> None:
    outcome = normalize(raw(created(), done(call("{}", ident=..., call_id=...)), ended()))
    item = outcome.output[0]
    assert item["id"].startswith("fc_")
    assert item["call_id"] == item["id"]


def test_a_tool_of_the_server_may_change_its_call_id() -> None:
    head = {"id": "ts_1", "type": "tool_search_call", "call_id": "call_1", "status": "in_progress"}
    last = {**head, "call_id": "call_2", "status": "completed"}
    body = raw(created(), added(head), done(last), ended(last))
    assert normalize(body).out == body


def test_events_of_a_tool_find_their_item() -> None:
    item = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    searching = event("web_search_call.searching", item_id="", output_index=4)
    outcome = normalize(raw(created(), added(item), searching, done(item, 4), ended(item)))
    assert outcome.of("web_search_call.searching")[0]["item_id"] == "ws_1"
    assert outcome.of("web_search_call.searching")[0]["output_index"] == 0


@pytest.mark.parametrize("odd", [[], {}, 1.5, None, True, ["a"], "\ud800"])
def test_no_reference_makes_it_raise(odd: object) -> None:
    events = [created(), *message_events("Hi"), ended(message("Hi"))]
    for key in ("item_id", "output_index", "content_index", "type", "item", "part", "delta"):
        changed = [{**one, key: odd} if key in one else one for one in events]
        body = b"".join(
            b"event: response.x\ndata: " + __import__("json").dumps(one).encode() + b"\n\n"
            for one in changed
        )
        outcome = normalize(body)
        assert "normalizer_error" not in outcome.out.decode()
        assert outcome.events[-1]["type"] in ("response.completed", "response.failed")


def test_a_response_object_is_filled_in() -> None:
    bare = event("created", response={"id": "resp_1"})
    last = event("completed", response={"id": "resp_1", "text": {"verbosity": "low"}})
    outcome = normalize(raw(bare, message_events("Hi"), last))
    for one in (outcome.events[0]["response"], outcome.events[-1]["response"]):
        assert (one["object"], one["model"]) == ("response", "m")
        assert isinstance(one["created_at"], int)
    assert outcome.events[-1]["response"]["status"] == "completed"
    assert outcome.events[-1]["response"]["text"] == {
        "verbosity": "low",
        "format": {"type": "text"},
    }


def test_a_float_is_no_integer() -> None:
    outcome = normalize(
        raw(created(created_at=1700000000.0), message_events("Hi"), ended(message("Hi")))
    )
    assert b'"created_at":1700000000,' in outcome.out
    assert b"1700000000.0" not in outcome.out


def test_a_string_is_a_part() -> None:
    last = {**message(), "content": "Hi"}
    outcome = normalize(raw(created(), done(last), ended(last)))
    assert outcome.output == [message("Hi") | {"content": [part("Hi")]}]


def test_arguments_that_are_an_object_are_its_json() -> None:
    outcome = normalize(raw(created(), done(call({"a": [1]})), ended(call({"a": [1]}))))
    assert outcome.output[0]["arguments"] == '{"a":[1]}'
    spaced = call_events('{"a": [1]}')
    outcome = normalize(raw(created(), spaced[:-1], done(call({"a": [1]})), ended()))
    assert outcome.output[0]["arguments"] == '{"a": [1]}'


def test_halves_of_a_character_are_joined() -> None:
    body = raw(created(), message_events("")[:2])
    for half in ("\\ud83d", "\\ude00!"):
        body += raw(text_delta("HALF")).replace(b"HALF", half.encode())
    outcome = normalize(body + raw(ended(message("\U0001f600!"))))
    assert outcome.said() == "\U0001f600!"
    assert outcome.output == [message("\U0001f600!")]


def test_nothing_is_kept_over_the_limit() -> None:
    events = message_events(*["x" * 100] * 10)
    outcome = normalize(raw(created(), events, ended()), max_response_bytes=500)
    assert outcome.said() == "x" * 1000
    assert "R503" in outcome.codes
    assert outcome.types[-1] == "completed"


def test_what_waits_is_bounded() -> None:
    waiting = [arguments_delta("x" * 100) for _ in range(200)]
    outcome = normalize(raw(created(), waiting, ended()), max_held_bytes=50_000)
    assert outcome.types[-1] == "failed"
    assert outcome.report.error is not None
    assert outcome.report.error["type"] == "upstream_too_large"


def test_ids_that_change_for_ever_are_bounded() -> None:
    deltas = [text_delta("x", f"opaque_{n}") for n in range(3000)]
    outcome = normalize(raw(created(), deltas, ended()), max_held_bytes=200_000)
    assert outcome.said() == "x" * 3000
    assert outcome.types[-1] == "completed"
    assert response()["id"] == "resp_1"


def test_an_id_that_only_an_event_inside_said_is_the_items() -> None:
    done_event = event(
        "function_call_arguments.done", **at("fc_9"), name="f", arguments="{}", call_id="call_9"
    )
    outcome = normalize(raw(created(), done_event, ended()))
    assert outcome.output[0]["id"] == "fc_9"
    assert outcome.output[0]["call_id"] == "call_9"


def test_a_call_that_was_never_added_waits_for_its_call_id() -> None:
    outcome = normalize(raw(created(), call_events("{}")[1:], ended()))
    assert outcome.of("output_item.added")[0]["item"]["call_id"] == "call_1"
    assert outcome.output == [call("{}")]


def test_a_call_whose_call_id_never_comes_leaves_at_the_end() -> None:
    events = call_events("{}")[1:-1]
    for end in (ended(), event("failed", response=response("failed")), b"data: [DONE]\n\n"):
        outcome = normalize(raw(created(), events, end))
        assert [one["name"] for one in outcome.output] == ["f"]
        assert outcome.said("function_call_arguments") == "{}"


def test_parts_that_were_streamed_as_one_are_sent_once() -> None:
    deltas = [
        event("reasoning_summary_text.delta", **at("rs_1"), summary_index=n, delta=text)
        for n, text in enumerate(("Think", "More"))
    ]
    outcome = normalize(
        raw(created(), added(reasoning()), deltas, ended(reasoning("Think", "More")))
    )
    assert outcome.said("reasoning_summary_text") == "ThinkMore"
