"""The form of a stream: event lines, types, pings, the start, and that clean bytes pass."""

from __future__ import annotations

import json

import pytest

from normalizer import Normalizer, RequestInfo
from tests.wires.messages.streams import (
    ASKED,
    END,
    STOP,
    TEXT,
    Event,
    codes,
    kinds,
    opened,
    read,
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

ANSWER = [opened(0, TEXT), text(0), stopped(0), *END]
WHOLE = "message_start 0 0d 0. message_delta message_stop"


def test_a_canonical_stream_leaves_byte_for_byte_and_reports_nothing() -> None:
    padded = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    padded += b'"delta":{"type":"text_delta","text":"!"}       }\n\n'
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'
    body = written(start(), ping, opened(0, TEXT), text(0), padded, stopped(0), *END)
    out, report = run(body)
    assert out == body
    assert report.codes == {}
    assert (report.end, report.id, report.model) == ("done", "msg_1", "m")
    assert report.characters_out == {"content": 3}


@pytest.mark.parametrize("pieces", [1, 7, 60])
def test_it_leaves_so_in_any_pieces(pieces: int) -> None:
    body = written(start(), *ANSWER)
    normalizer = Normalizer(ASKED)
    parts = [body[at : at + pieces] for at in range(0, len(body), pieces)]
    assert b"".join(map(normalizer.feed, parts)) + normalizer.close() == body


@pytest.mark.parametrize(
    ("line", "code"), [(b"", "M101"), (b"event: message\n", "M102"), (b"event: x\n", "M102")]
)
def test_the_event_line_is_the_type(line: bytes, code: str) -> None:
    bare = b"data: " + json.dumps(text(0)).encode() + b"\n\n"
    events: list[Event | bytes] = [start(), opened(0, TEXT), line + bare, stopped(0), *END]
    assert kinds(through(*events)) == WHOLE
    assert codes(*events) == {code}


@pytest.mark.parametrize("line", [b"event: content_block_delta\n", b""])
def test_a_type_comes_from_the_line_or_the_members(line: bytes) -> None:
    value = {key: item for key, item in text(0).items() if key != "type"}
    bare = line + b"data: " + json.dumps(value).encode() + b"\n\n"
    assert kinds(through(start(), opened(0, TEXT), bare, stopped(0), *END)) == WHOLE


@pytest.mark.parametrize("data", [b"data: {}\n", b'data: {"type": "ping", "a": 1}\n', b""])
def test_a_ping_has_its_type_and_nothing_else(data: bytes) -> None:
    out, _ = run(start(), b"event: ping\n" + data + b"\n", *ANSWER)
    assert b'event: ping\ndata: {"type":"ping"}\n\n' in out


def test_a_ping_passes_in_front_of_a_held_stop_reason() -> None:
    normalizer = Normalizer(ASKED)
    normalizer.feed(written(start(), *ANSWER[:-1]))
    assert normalizer.waiting is not None
    assert read(normalizer.feed(written({"type": "ping"}))) == [{"type": "ping"}]


@pytest.mark.parametrize("name", ["message_stop", "content_block_stop"])
def test_a_stop_without_data_is_one(name: str) -> None:
    bare = f"event: {name}\ndata:\n\n".encode()
    events = [bare if one["type"] == name else one for one in ANSWER]
    assert kinds(through(start(), *events)) == WHOLE


def test_a_comment_stays_where_it_stood() -> None:
    body = written(b": a\n\n", start(), b": b\n\n", *ANSWER[:-1], b": c\n\n", STOP)
    assert run(body)[0] == body


def test_done_is_left_out_and_counts_where_the_stop_is_missing() -> None:
    done = b"data: [DONE]\n\n"
    assert run(start(), *ANSWER, done)[0] == written(start(), *ANSWER)
    assert kinds(through(start(), *ANSWER[:-1], done)) == WHOLE
    assert codes(start(), *ANSWER, done) == {"M106"}


def test_what_comes_behind_the_stop_is_left_out() -> None:
    events = (start(), *ANSWER, text(0, "ghost"), STOP)
    assert run(*events)[0] == written(start(), *ANSWER)
    assert codes(*events) == {"M706"}


def test_an_unknown_event_passes_and_waits_for_the_start() -> None:
    new: Event = {"type": "weather", "a": 1}
    assert kinds(through(start(), new, *ANSWER)).startswith("message_start weather 0")
    assert kinds(through(new, start(), *ANSWER)).startswith("message_start weather 0")


@pytest.mark.parametrize("kind", ["a\nevent: message_stop", "\ud83d", ""])
def test_a_type_that_no_line_can_hold_is_none(kind: str) -> None:
    odd = b"data: " + json.dumps({"type": kind, "a": 1}).encode() + b"\n\n"
    assert kinds(through(start(), odd, *ANSWER)) == WHOLE


# ---------------------------------------------------------------- message_start


def test_a_missing_start_is_added_before_the_first_block() -> None:
    first, *others = through(*ANSWER)
    assert kinds([first, *others]) == WHOLE
    assert first["message"]["model"] == "m"
    assert first["message"]["id"].startswith("msg_")
    assert first["message"]["usage"] == {"input_tokens": 0, "output_tokens": 0}


@pytest.mark.parametrize(
    ("members", "filled"),
    [
        ({"id": None, "role": ...}, {"role": "assistant"}),
        ({"model": ""}, {"model": "m"}),
        ({"content": ...}, {"content": []}),
        ({"type": ..., "stop_sequence": ...}, {"type": "message", "stop_sequence": None}),
        ({"stop_reason": "end_turn"}, {"stop_reason": None}),
        ({"usage": ...}, {"usage": {"input_tokens": 0, "output_tokens": 0}}),
        ({"usage": {"input_tokens": "7"}}, {"usage": {"input_tokens": 7, "output_tokens": 0}}),
    ],
)
def test_the_members_of_the_form_are_filled_in(members: Event, filled: Event) -> None:
    message = through(start(**members), *ANSWER)[0]["message"]
    assert {name: message[name] for name in filled} == filled
    assert isinstance(message["id"], str)
    assert message["id"]


def test_an_id_stays_whatever_its_form() -> None:
    body = written(start(id="chatcmpl-1"), *ANSWER)
    assert run(body)[0] == body


def test_a_second_start_leaves_its_figures_behind() -> None:
    late = start(usage={"input_tokens": 30, "output_tokens": 1}, provider="x")
    events = through(*ANSWER[:2], late, *ANSWER[2:])
    assert kinds(events) == WHOLE
    assert events[-2]["usage"] == {"output_tokens": 5, "input_tokens": 30}
    assert events[-2]["provider"] == "x"
    assert kinds(through(start(), start(), *ANSWER)) == WHOLE


def test_another_answer_behind_content_is_an_error() -> None:
    events = through(start(), *ANSWER[:2], start(id="msg_2"), *ANSWER)
    assert kinds(events) == "message_start 0 0d error"
    assert events[-1]["error"]["code"] == "upstream_invalid"


def test_content_of_the_start_becomes_blocks() -> None:
    events = through(start(content=[{"type": "text", "text": "Oh"}, {"a": 1}]), *ANSWER)
    assert events[0]["message"]["content"] == []
    assert said(events, index=0) == "Oh"
    assert said(events) == "OhHi"


def test_calls_in_the_start_stay_and_have_indexes() -> None:
    call = tool(0)["content_block"]
    events = through(start(content=[call]), *ANSWER[:3], reason("end_turn"), STOP)
    assert events[0]["message"]["content"] == [call]
    assert kinds(events) == "message_start 1 1d 1. message_delta message_stop"
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


def test_a_message_without_its_wrapper_is_wrapped() -> None:
    bare = {**start()["message"], "type": "message_start"}
    assert through(bare, *ANSWER)[0] == start()


# ---------------------------------------------------------------- which requests


@pytest.mark.parametrize(
    ("path", "body", "endpoint"),
    [
        ("/v1/messages", {"messages": []}, "messages"),
        ("https://h/anthropic/v1/messages?beta=true", {"messages": []}, "messages"),
        ("/v1/messages", {"input": []}, None),
        ("/v1/messages/count_tokens", {"messages": []}, None),
        ("/v1/messages/batches", {"messages": []}, None),
        ("/v1/threads/thread_1/messages", {"messages": []}, None),
        ("/v1/chat/completions", {"messages": []}, "chat"),
    ],
)
def test_which_requests_are_the_wires(path: str, body: Event, endpoint: str | None) -> None:
    assert RequestInfo.parse(path, body).endpoint == endpoint


def test_an_option_names_further_paths() -> None:
    path = "/v1/projects/p/models/claude:streamRawPredict"
    asked = RequestInfo.parse(path, {"messages": []}, paths=(":streamRawPredict=messages",))
    assert asked.endpoint == "messages"


@pytest.mark.parametrize(
    ("answer", "endpoint"),
    [
        (written(start()), "messages"),
        (b'{"id": "msg_1", "type": "message", "content": []}', "messages"),
        (b'data: {"object":"text_completion"}', "completions"),
        (b'data: {"choices":[{"delta":{"content":"\\"type\\":\\"message_start\\""}}]}', "chat"),
        (b"", "chat"),
    ],
)
def test_the_request_is_guessed_from_the_answer(answer: bytes, endpoint: str) -> None:
    assert RequestInfo.guess(answer).endpoint == endpoint


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_done_behind_the_stop_is_one_however_it_is_split(size: int) -> None:
    body = written(start(), *ANSWER, b"data: [DONE]\n\n", b"data: [DONE]\n\n")
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    normalizer = Normalizer(ASKED)
    for one in pieces:
        normalizer.feed(one)
    assert normalizer.report.codes == {"M106": 1}
