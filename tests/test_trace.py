"""The trace: what came, what was found in it, and what it went into."""

from __future__ import annotations

import json
from typing import Any

import pytest

from normalizer import Normalizer, Options, RequestInfo
from normalizer.trace import Trace
from tests.streams import CHAT, STREAM, USAGE, call, chunk, event, raw, text

Record = dict[str, Any]


def traced(
    body: bytes,
    request: dict[str, Any] = STREAM,
    *,
    path: str = CHAT,
    size: int = 7,
    **options: Any,
) -> tuple[list[Record], bytes]:
    """The records of an answer that came in pieces of ``size`` bytes, and what left."""
    records: list[Record] = []
    normalizer = Normalizer(
        RequestInfo.parse(CHAT, json.dumps(request).encode()),
        Options(**options),
        trace=Trace(records.append, clock=lambda: 0.0),
    )
    out = b"".join(normalizer.feed(body[at : at + size]) for at in range(0, len(body), size))
    out += normalizer.close()
    assert json.loads(json.dumps(records)) == records  # all of it is JSON
    return records, out


def came(records: list[Record]) -> list[Record]:
    return [one for one in records if one["type"] == "came"]


def left(records: list[Record]) -> list[Record]:
    return [one for one in records if one["type"] == "left"]


def test_has_all_bytes_that_came_and_all_that_left() -> None:
    body = b"\xef\xbb\xbf" + raw(*text("Hi", "!"), b": ping\n\n", chunk({}, "stop"))
    body = body.replace(b"\n\n", b"\r\n\r\n", 2)
    records, out = traced(body)
    assert "".join(one["raw"] for one in came(records)).encode() == body
    assert [one["byte"] for one in came(records)][:2] == [0, len(came(records)[0]["raw"].encode())]
    sent = [
        (one["data"] if one["kind"] == "comment" else f"data: {one['data']}") + "\n\n"
        for one in left(records)
    ]
    assert "".join(sent).encode() == out
    assert [one["kind"] for one in came(records)] == [
        "data",
        "data",
        "data",
        "comment",
        "data",
        "done",
        "end",
    ]


def test_tells_codes_with_their_places() -> None:
    records, _ = traced(raw(*text("Hi"), chunk({"content": "!"}, id="other"), chunk({}, "stop")))
    (changed,) = [one for one in came(records) if one["found"]]
    assert changed["n"] == 3
    (found,) = changed["found"]
    assert found["code"] == "E202"
    start, end = found["place"]
    assert changed["data"][start:end] == '"id":"other"'


def test_a_framing_fault_belongs_to_its_own_event() -> None:
    first, second, finish = text("Hi")[0], chunk({"content": "!"}), chunk({}, "stop")
    body = event(first) + event(second).replace(b"data: ", b"data:") + event(finish)
    records, _ = traced(body + b"data: [DONE]\n\n", size=len(body))
    assert [[one["code"] for one in each["found"]] for each in came(records)] == [
        [],
        ["F103"],
        [],
        [],
        [],
    ]


def test_an_event_that_leaves_as_it_came() -> None:
    records, _ = traced(raw(*text("Hi", " you"), chunk({}, "stop")))
    assert [one["from"] for one in left(records)] == [[1], [2], [3], [4], []]
    assert left(records)[1]["data"] == came(records)[1]["data"]


def test_an_event_that_is_held_says_after_which_one_it_left() -> None:
    records, _ = traced(raw(*text("Hi"), chunk({}, "stop"), chunk({}, "stop"), done=True))
    finish = [one for one in left(records) if '"stop"' in one["data"]]
    assert [(one["from"], one["after"]) for one in finish] == [([3], 5)]


def test_an_event_that_is_split() -> None:
    records, _ = traced(raw(*text("Hi"), chunk({"content": "!"}, "stop")))
    assert [(one["from"], one["after"]) for one in left(records)[2:4]] == [([3], 3), ([3], 4)]


def test_members_that_move_to_another_event() -> None:
    azure = chunk({}, prompt_filter_results=[{"prompt_index": 0}])
    azure["choices"] = []
    records, _ = traced(raw(azure, *text("Hi"), chunk({}, "stop")))
    assert left(records)[0]["from"] == [1, 2]


def test_texts_that_are_joined() -> None:
    body = raw(
        call(id="call_1", name="get_", type="function"),
        call(name="weather"),
        call("{}"),
        chunk({}, "tool_calls"),
    )
    records, _ = traced(body)
    (head,) = [one for one in left(records) if "get_weather" in one["data"]]
    assert head["from"] == [1, 2]


def test_an_event_that_is_new_is_from_none() -> None:
    records, _ = traced(raw(*text("Hi")))
    new = [one for one in left(records) if not one["from"]]
    assert ['"finish_reason":"stop"' in one["data"] for one in new] == [True, False]
    assert new[1]["kind"] == "done"


def test_what_leaves_is_not_a_matter_of_the_trace() -> None:
    body = raw(*text(*"abcdefgh"), chunk({}, "stop"), chunk({}, usage=USAGE))
    records, out = traced(body)
    normalizer = Normalizer(RequestInfo.parse(CHAT, STREAM))
    assert normalizer.feed(body) + normalizer.close() == out
    assert records[-1]["report"]["events_out"] == normalizer.report.events_out


@pytest.mark.parametrize("stream", [True, False])
def test_a_whole_body(stream: bool) -> None:
    message = {"role": "assistant", "content": "Hi"}
    choice = {"index": 0, "message": message, "finish_reason": "eos_token"}
    body = json.dumps({"id": "x", "object": "chat.completion", "choices": [choice]}).encode()
    records, out = traced(body, {**STREAM, "stream": stream})
    (one,) = came(records)
    assert (one["kind"], one["raw"].encode()) == ("body", body)
    assert "S503" in {found["code"] for found in one["found"]}
    if not stream:
        assert [each["data"].encode() for each in left(records)] == [out]
    assert {tuple(each["from"]) for each in left(records) if each["kind"] != "done"} == {(1,)}


def test_a_stream_that_becomes_one_body() -> None:
    records, out = traced(raw(*text("Hi"), chunk({}, "stop")), {**STREAM, "stream": False})
    assert [each["kind"] for each in left(records)] == ["body"]
    assert left(records)[0]["data"].encode() == out


def test_bytes_that_are_no_text() -> None:
    records, _ = traced(b"data: \xff\n\n" + raw(*text("Hi"), chunk({}, "stop")))
    assert came(records)[0]["escaped"] is True
    assert "\\xff" in came(records)[0]["raw"]


def test_the_frame_of_the_trace() -> None:
    records, _ = traced(raw(*text("Hi"), chunk({}, "stop")), usage="drop")
    assert records[0]["version"] == 1
    assert records[0]["options"] == {"usage": "drop"}
    assert records[0]["request"] == {"endpoint": "chat", "model": "m", "stream": True}
    assert records[-1]["type"] == "end"
    assert records[-1]["report"]["finish"] == {"0": "stop"}


@pytest.mark.parametrize("at", range(8))
def test_an_answer_goes_on_without_a_trace_that_fails(
    at: int, caplog: pytest.LogCaptureFixture
) -> None:
    records: list[Record] = []

    def write(record: Record) -> None:
        if len(records) == at:
            raise OSError("the disk is full")
        records.append(record)

    body = raw(*text("Hi"), chunk({}, "stop"))
    normalizer = Normalizer(RequestInfo.parse(CHAT, STREAM), trace=Trace(write))
    assert normalizer.feed(body) + normalizer.close() == body
    assert len(records) == at
    assert [one.getMessage() for one in caplog.records] == ["the trace failed, and ends here"]


def test_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("normalizer.trace._BYTES", 1000)
    trace = Trace(lambda _: None)
    normalizer = Normalizer(RequestInfo.parse(CHAT, STREAM), trace=trace)
    for _ in range(200):
        normalizer.feed(event(chunk({})))  # they say nothing: nothing of them leaves
    assert trace._events._bytes <= 1000
    assert len(trace._events._parts) < 100


def test_bytes_behind_the_end() -> None:
    records, _ = traced(raw(*text("Hi"), chunk({}, "stop")) + b"data: {}\n\n")
    kinds = [one["kind"] for one in came(records)]
    assert kinds.count("data") == 3
    assert set(kinds[4:]) == {"behind", "end"}
