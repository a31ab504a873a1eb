"""The last guard: an exception that nobody foresaw ends the answer with an error of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from normalizer import Normalizer, Options, RequestInfo
from normalizer.core.stream import EventStream
from normalizer.core.templates import Templates
from normalizer.core.writer import Writer
from normalizer.wires.chat.body import Body
from normalizer.wires.chat.choices import Choices
from normalizer.wires.chat.chunks import Chunks
from normalizer.wires.chat.content import Content
from normalizer.wires.chat.envelope import Envelope, Riders
from normalizer.wires.chat.finish import Finish
from normalizer.wires.chat.gathered import Gathered
from normalizer.wires.chat.holdback import Holdback
from normalizer.wires.chat.reasoning import Reasoning
from normalizer.wires.chat.wire import ChatWire
from tests.streams import CHAT, STREAM, call, chunk, event, normalize, raw

Patch = pytest.MonkeyPatch

CONTENT = "what the model said"
HEAD = chunk({"role": "assistant", "content": "Hi"})
# with its role once more it goes the long way, through every stage
ODD = chunk({"role": "assistant", "content": CONTENT})
MORE = chunk({"content": " you"})


def raising(method: Callable[..., Any], *, at: int | set[int]) -> Callable[..., Any]:
    """The method, which raises when it is called for the ``at``-th time, or each of several."""
    times = {at} if isinstance(at, int) else at
    calls = []

    def made(*args: Any, **members: Any) -> Any:
        calls.append(1)
        if len(calls) in times:
            raise KeyError(CONTENT)
        return method(*args, **members)

    return made


def failing_at(monkeypatch: Patch, at: int) -> None:
    monkeypatch.setattr(Chunks, "take", raising(Chunks.take, at=at))


def ends_in_our_error(done: Any) -> None:
    assert done.error["type"] == "normalizer_error"
    assert "KeyError" in done.error["message"]
    assert CONTENT not in done.out.decode()
    assert done.out.endswith(b"data: [DONE]\n\n")
    assert done.out.count(b"[DONE]") == 1
    assert done.report.end == "error"
    assert done.report.error == done.error


def test_guard_ends_a_stream_with_an_error_event(
    monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    failing_at(monkeypatch, 2)
    done = normalize(raw(HEAD, MORE))
    assert done.said() == "Hi"
    ends_in_our_error(done)
    (record,) = caplog.records
    assert record.name == "normalizer"
    assert record.__dict__["failure"] == "KeyError"
    assert "chunks.take" in record.getMessage()
    assert CONTENT not in record.getMessage()
    assert record.exc_info is None  # a formatter would write the message, which is content


@pytest.mark.parametrize(
    ("stage", "method"),
    [
        (Choices, "place"),
        (Finish, "read"),
        (Envelope, "read"),
        (Content, "read"),
        (Reasoning, "read"),
        (Riders, "news"),
        (Holdback, "take"),
        (ChatWire, "event"),
        (ChatWire, "form"),
        (Templates, "learn"),
        (Writer, "send"),
    ],
)
def test_guard_wherever_the_fault_is(monkeypatch: Patch, stage: Any, method: str) -> None:
    normalizer = Normalizer(RequestInfo.parse(CHAT, STREAM), Options())
    out = normalizer.feed(event(HEAD))
    with monkeypatch.context() as patch:
        patch.setattr(stage, method, raising(getattr(stage, method), at=1))
        out += normalizer.feed(event(ODD))
    out += normalizer.feed(event(ODD)) + normalizer.close()
    assert out.startswith(event(HEAD))
    *_, last, done, nothing = out.split(b"\n\n")
    assert json.loads(last.removeprefix(b"data: "))["error"]["type"] == "normalizer_error"
    assert (done, nothing) == (b"data: [DONE]", b"")
    assert out.count(b"[DONE]") == 1
    assert normalizer.report.end == "error"


def test_guard_lets_nothing_leave_behind_the_end(monkeypatch: Patch) -> None:
    failing_at(monkeypatch, 2)
    normalizer = Normalizer(RequestInfo.parse(CHAT, STREAM), Options())
    normalizer.feed(event(HEAD))
    assert b"normalizer_error" in normalizer.feed(event(MORE))
    assert normalizer.ended
    assert normalizer.waiting is None
    assert normalizer.feed(event(MORE)) == normalizer.flush() == normalizer.close() == b""
    assert normalizer.report.end == "error"


def test_guard_lets_what_is_held_leave_first(monkeypatch: Patch) -> None:
    failing_at(monkeypatch, 3)
    done = normalize(raw(HEAD, call("", id="a", name="f"), MORE))
    assert [name for _, name, _ in done.calls] == ["f"]
    ends_in_our_error(done)


def test_guard_delivers_the_end_although_what_is_held_fails_too(
    monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    failing_at(monkeypatch, 2)
    monkeypatch.setattr(Holdback, "cut", raising(Holdback.cut, at=1))
    ends_in_our_error(normalize(raw(HEAD, MORE)))
    assert len(caplog.records) == 2


def test_guard_in_close(monkeypatch: Patch) -> None:
    monkeypatch.setattr(ChatWire, "close", raising(ChatWire.close, at=1))
    done = normalize(raw(HEAD, done=False))
    assert done.said() == "Hi"
    ends_in_our_error(done)


def test_guard_in_flush(monkeypatch: Patch) -> None:
    monkeypatch.setattr(EventStream, "flush", raising(EventStream.flush, at=1))
    normalizer = Normalizer(RequestInfo.parse(CHAT, STREAM), Options(finish_timeout=1e-9))
    normalizer.feed(raw(HEAD, chunk({}, "stop"), done=False))
    assert b"normalizer_error" in normalizer.flush()
    assert normalizer.ended


def test_guard_in_the_report(monkeypatch: Patch) -> None:
    """What left in frames is counted when somebody asks; that it fails must not cost the answer."""
    normalizer = Normalizer(RequestInfo.parse(CHAT, STREAM), Options())
    normalizer.feed(event(HEAD))
    monkeypatch.setattr(EventStream, "settle", raising(EventStream.settle, at=1))
    assert normalizer.report.end is None
    assert normalizer.feed(event(MORE)) == event(MORE)


@pytest.mark.parametrize(
    "body",
    [
        raw(HEAD, MORE, chunk({}, "stop")),
        json.dumps(
            {
                "object": "chat.completion",
                "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
            }
        ).encode(),
    ],
)
def test_guard_for_a_whole_body_is_an_error_body(monkeypatch: Patch, body: bytes) -> None:
    failing_at(monkeypatch, 2)
    monkeypatch.setattr(Body, "tell", raising(Body.tell, at=1))
    done = normalize(body, {"model": "m"})
    error = json.loads(done.out)["error"]
    assert error["type"] == "normalizer_error"
    assert done.normalizer.status == 502
    assert done.normalizer.content_type == "application/json"
    assert done.report.end == "error"


@pytest.mark.parametrize("times", [{1}, {1, 2, 3}])
def test_guard_where_the_completion_cannot_be_written(monkeypatch: Patch, times: set[int]) -> None:
    monkeypatch.setattr(Gathered, "completion", raising(Gathered.completion, at=times))
    done = normalize(raw(HEAD, chunk({}, "stop")), {"model": "m"})
    assert json.loads(done.out)["error"]["type"] == "normalizer_error"
    assert done.normalizer.status == 502
    assert done.report.end == "error"


def test_guard_leaves_an_error_status_and_its_words(monkeypatch: Patch) -> None:
    monkeypatch.setattr(ChatWire, "error_body", raising(ChatWire.error_body, at=1))
    body = b'{"detail": "no credit"}'
    done = normalize(body, status=402)
    assert done.out == body
    assert done.normalizer.status == 402
    assert done.report.end == "error"


def test_guard_touches_nothing_where_only_a_report_is_made(monkeypatch: Patch) -> None:
    failing_at(monkeypatch, 2)
    normalizer = Normalizer(RequestInfo.parse(CHAT, STREAM), Options(mode="report"))
    pieces = [event(HEAD), event(MORE), event(MORE)]
    assert [normalizer.feed(piece) for piece in pieces] == pieces
    assert normalizer.close() == b""
    assert normalizer.report.end == "error"


def test_guard_lets_what_ends_a_program_through(monkeypatch: Patch) -> None:
    def interrupted(*args: Any, **members: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Chunks, "take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        normalize(raw(HEAD))
