"""Every recorded Messages stream: by the judge, in any pieces, again, and with other values."""

from __future__ import annotations

import copy
import importlib.util
import json
import random
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from normalizer import Normalizer, Options, RequestInfo
from normalizer.catalogue import Rule, rules
from tests.shared import SHARED, beside
from tests.wires.messages.streams import Event, read, request, written
from tools.deviations import run

FOLDER = SHARED / "messages"
SMALL = 20_000
EXAMPLES = [
    one
    for one in rules()
    if one.deviation.code.startswith("M") and one.request.get("stream") and not one.options
]


@pytest.fixture(scope="session")
def judge() -> ModuleType:
    spec = importlib.util.spec_from_file_location("messages", beside("conform_messages.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def through(asked: RequestInfo, *pieces: bytes, **options: Any) -> bytes:
    normalizer = Normalizer(asked, Options(**options))
    return b"".join(map(normalizer.feed, pieces)) + normalizer.close()


def test_the_judge_finds_nothing(judge: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    beside("messages")
    found = judge.run_all(FOLDER, "", judge.package, judge.step_package)
    assert found == 0, capsys.readouterr().out


@pytest.mark.parametrize("one", EXAMPLES, ids=lambda one: one.deviation.code)
def test_what_leaves_of_an_example_is_canonical(one: Rule, judge: ModuleType) -> None:
    left = run(one)
    raw = b"".join(one.example)
    assert judge.judge(raw, left.out, dict(one.request), one.endpoint) == []


# ---------------------------------------------------------------- values that nobody expects

VALUES: list[Any] = [None, 0, -1, True, 1.5, "", "x", [], {}, [1], {"a": 1}, "\ud83d", 10**30]
VALUES += [float("nan"), "error", "stop", "tool_use", [{"type": "text", "text": "q"}]]


def streams() -> list[list[Event]]:
    """The events of the small recorded streams."""
    found = []
    for file in sorted(FOLDER.rglob("*.json")):
        item = json.loads(file.read_text(encoding="utf-8"))
        body = item.get("response", {}).get("body_utf8", "") if isinstance(item, dict) else ""
        if 0 < len(body) < SMALL and body.startswith("event: message_start"):
            lines = [line[6:] for line in body.splitlines() if line.startswith("data: {")]
            found.append([json.loads(line) for line in lines if line.endswith("}")])
    return found


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*path, key))


def mutated(events: list[Event], draw: random.Random) -> bytes:
    """A stream with some values changed, and events left out, doubled or exchanged."""
    events = copy.deepcopy(events)
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(events))
        act = draw.random()
        if act < 0.1 and len(events) > 1:
            del events[at]
        elif act < 0.2:
            events.insert(draw.randrange(len(events)), copy.deepcopy(events[at]))
        elif act < 0.3:
            other = draw.randrange(len(events))
            events[at], events[other] = events[other], events[at]
        elif found := list(places(events[at])):
            *path, key = draw.choice(found)
            holder = events[at]
            for step in path:
                holder = holder[step]
            holder[key] = copy.deepcopy(draw.choice(VALUES))
    return written(*({"type": "x", **one} for one in events))


@pytest.mark.parametrize("seed", range(8))
def test_no_value_makes_it_raise_and_what_leaves_is_left_alone(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    beside("messages")
    draw = random.Random(seed)
    asked = request(tools=[{"name": "get_weather"}])
    recorded = streams()
    for _ in range(60):
        raw = mutated(draw.choice(recorded), draw)
        out = through(asked, raw)
        assert caplog.records == [], raw
        events = read(out)
        assert [one["type"] for one in events].count("message_start") <= 1
        assert events[-1]["type"] in ("message_stop", "error")
        assert through(asked, out) == out
        if len(raw) < 4000 and b"toolu_" not in out and b'"msg_' not in out:
            assert through(asked, *(raw[at : at + 1] for at in range(len(raw)))) == out


@pytest.mark.parametrize("seed", range(4))
def test_no_value_makes_a_whole_message_raise(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    draw = random.Random(seed)
    content = [{"type": "text", "text": "Hi"}, {"type": "thinking", "thinking": "Hm"}]
    content += [{"type": "tool_use", "id": "a", "name": "b", "input": {"c": 1}}]  # type: ignore[dict-item]
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}
    whole = {**message, "content": content, "stop_reason": "end_turn", "usage": {"input_tokens": 1}}
    for _ in range(200):
        value = copy.deepcopy(whole)
        *path, key = draw.choice(list(places(value)))
        holder: Any = value
        for step in path:
            holder = holder[step]
        holder[key] = draw.choice(VALUES)
        body = json.dumps(value).encode("utf-8", "surrogatepass")
        for stream in (True, False):
            out = through(request(stream=stream), body)
            assert caplog.records == [], body
            assert out
