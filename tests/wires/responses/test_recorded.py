"""The second wire on all that was recorded, by the judge that shares no code with the package."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from normalizer import Normalizer, Options, RequestInfo
from tests.shared import beside
from tests.wires.responses.streams import PATH, STREAM, raw

ROOT = Path(__file__).parents[3]
ODD: tuple[Any, ...] = (
    *(None, 1, -1, 0, True, "", [], {}, "x", 1.5, [1], {"a": 1}, "msg_1", [{}]),
    *(10**30, "\ud83d", float("nan")),
)


def test_the_judge_finds_nothing() -> None:
    done = subprocess.run(
        [sys.executable, str(beside("conform_responses.py")), "--all"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    *found, rules, last = done.stdout.splitlines()
    assert found == []
    assert rules == "faults by rule: {}"
    good, _, count = last.split()[:3]
    assert good == count
    assert int(count) >= 270


@pytest.fixture(scope="module")
def judge() -> ModuleType:
    spec = importlib.util.spec_from_file_location("responses", beside("conform_responses.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recorded() -> list[list[dict[str, Any]]]:
    """The events of each stream that is not too long to be sent many times."""
    streams = []
    for file in sorted(beside("responses").rglob("*.json")):
        item = json.loads(file.read_text(encoding="utf-8"))
        text = item["response"].get("body_utf8", "") if isinstance(item, dict) else ""
        events = list(_events(text)) if len(text) < 40_000 else []
        if events:
            streams.append(events)
    return streams


def _events(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            value = json.loads(line.removeprefix("data:"))
        except ValueError:
            continue
        if isinstance(value, dict) and isinstance(value.get("type"), str):
            yield value


def changed(events: list[dict[str, Any]], chance: random.Random) -> list[dict[str, Any]]:
    """The events with some left out, doubled, moved, cut or with an odd value in them."""
    events = [dict(one) for one in events]
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(events))
        kind = chance.choice(("drop", "double", "move", "cut", "odd", "missing"))
        if kind == "drop" and len(events) > 1:
            del events[at]
        elif kind == "double":
            events.insert(at, dict(events[at]))
        elif kind == "move":
            events.insert(chance.randrange(len(events)), events.pop(at))
        elif kind == "cut":
            del events[at + 1 :]
        elif kind == "odd":
            events[at][chance.choice(list(events[at]))] = chance.choice(ODD)
        elif kind == "missing":
            key = chance.choice(("item_id", "output_index", "content_index", "sequence_number"))
            events = [{k: v for k, v in one.items() if k != key} for one in events]
    # what has no type of the API's is the upstream's own, and passes as it came
    return [one for one in events if str(one.get("type")).startswith("response.")] or events[:0]


def through(body: bytes, size: int) -> tuple[bytes, Normalizer]:
    normalizer = Normalizer(RequestInfo.parse(PATH, STREAM), Options())
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    out = b"".join([normalizer.feed(piece) for piece in pieces])
    return out + normalizer.close(), normalizer


def test_what_is_changed_leaves_canonical(judge: ModuleType) -> None:
    chance = random.Random(20261121)
    streams = recorded()
    for _ in range(400):
        events = changed(chance.choice(streams), chance)
        body = raw(events, numbered=False) if events else b""
        out, normalizer = through(body, len(body) or 1)
        faults: list[tuple[str, str]] = []

        def fault(rule: str, text: str, faults: list[tuple[str, str]] = faults) -> None:
            faults.append((rule, text))

        judge.order(judge.wire(out, fault), fault)
        assert faults == [], body.decode("utf-8", "replace")
        assert b"normalizer_error" not in out
        assert normalizer.report.end is not None
        # what is canonical leaves as it came
        assert through(out, len(out))[0] == out, body.decode("utf-8", "replace")
