"""`cassette diff`: what differs between two recordings, and what does not count."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from normalizer.cassette.diff import Change, Difference, diff
from normalizer.cassette.format import (
    Cassette,
    Interaction,
    Metadata,
    RecordedRequest,
    RecordedResponse,
    dump,
    load,
)
from tests.cli.conftest import Run
from tests.cli.conftest import run as run  # the fixture

COLLECTION = Path(__file__).parents[2] / "cassettes"
URL = "http://h/v1/chat/completions"
SSE = (("content-type", "text/event-stream"),)


def event(text: str, **more: Any) -> bytes:
    value = {"id": "chatcmpl-0123456789", "created": 1, "delta": {"content": text}, **more}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def one(*events: bytes, asked: Any = None, uri: str = URL, **given: Any) -> Interaction:
    response = RecordedResponse.from_chunks(events, headers=given.pop("headers", SSE), **given)
    body = json.dumps(asked or {"a": 1}).encode()
    return Interaction(RecordedRequest(method="POST", uri=uri, body=body), response)


def tape(*interactions: Interaction, **about: Any) -> Cassette:
    return Cassette(Metadata(**about), interactions)


def shown(old: Cassette, new: Cassette, **options: Any) -> list[tuple[str, list[str]]]:
    return [
        (each.where, [f"{sign} {text}" for sign, text in each.changes])
        for each in diff(old, new, **options)
    ]


HI = [event("Hi"), event(" you"), b"data: [DONE]\n\n"]


def test_what_differs_each_time_does_not_count() -> None:
    again = [each.replace(b"0123456789", b"abcdef0123").replace(b": 1", b": 99") for each in HI]
    old = tape(one(*HI, times=[1, 2, 3]), date="2026-01-01")
    new = tape(one(b"".join(again), headers=(*SSE, ("date", "today"))), date="2026-01-02")

    assert diff(old, new) == ()
    places = [where for where, _ in shown(old, new, volatile=True)]
    assert places == ["date", "headers", "event 0", "event 1", "chunks", "times"]


def test_a_member_of_an_event() -> None:
    new = [event("Hi"), event(" they", usage={"n": 1}), *HI[2:]]

    assert diff(tape(one(*HI)), tape(one(*new))) == (
        Difference(
            f"interactions[0] POST {URL}",
            "event 1",
            (
                Change("-", 'delta.content: " you"'),
                Change("+", 'delta.content: " they"'),
                Change("+", 'usage: {"n": 1}'),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ([HI[0], HI[2]], [("event 1", ["- data: "])]),
        ([*HI, b": ping\n\n"], [("event 3", ["+ : ping\\n\\n"])]),
        ([HI[0], b"event: x\n" + HI[1], HI[2]], [("event 1", ["- data: ", "+ event: x\\n"])]),
        ([HI[0], b"data: {\n\n", HI[2]], [("event 1", ["- data: ", "+ data: {\\n\\n"])]),
        ([*HI[:2], HI[2] + b"\r\n"], [("event 2", ["- data: [DONE]\\n", "+ data: [DONE]\\n"])]),
    ],
)  # fmt: skip
def test_events(new: list[bytes], expected: list[tuple[str, list[str]]]) -> None:
    found = shown(tape(one(*HI)), tape(one(*new)))

    assert [where for where, _ in found] == [where for where, _ in expected]
    for (_, lines), (_, begins) in zip(found, expected, strict=True):
        assert len(lines) == len(begins)
        assert all(line.startswith(begin) for line, begin in zip(lines, begins, strict=True))


def test_heads_ends_and_whole_bodies() -> None:
    old = tape(one(b'{"a": [1, 2]}', headers=(("content-type", "application/json"),)))
    new = tape(
        one(b'{"a": [1, 3, 4]}', headers=(("x", "y"),), status=500, reason="No", end="cut"),
        server="vLLM",
    )

    assert shown(old, new) == [
        ("server", ["- -", "+ vLLM"]),
        ("status", ["- 200 OK", "+ 500 No"]),
        ("headers", ["- content-type: application/json", "+ x: y"]),
        ("body", ["- a[1]: 2", "+ a[1]: 3", "+ a[2]: 4"]),
        ("end", ["- complete", "+ cut"]),
    ]


def test_true_is_not_one() -> None:
    old, new = (tape(one(event("", x=x))) for x in (1, True))
    assert shown(old, new) == [("event 0", ["- x: 1", "+ x: true"])]


def test_requests_that_are_the_same_belong_together() -> None:
    a, b, c = (one(*HI, asked={"q": q}) for q in "abc")
    other = one(event("Bye"), asked={"q": "c"})

    found = diff(tape(a, c), tape(a, b, other))

    assert [(each.interaction, each.where) for each in found] == [
        (f"interactions[1] POST {URL}", ""),
        (f"interactions[1 → 2] POST {URL}", "event 0"),
        (f"interactions[1 → 2] POST {URL}", "event 1"),
        (f"interactions[1 → 2] POST {URL}", "event 2"),
    ]
    assert found[0].changes == (Change("+", "200 OK, 3 events, complete"),)


def test_a_changed_request_is_compared_with_that_in_its_place() -> None:
    old = tape(one(*HI, asked={"q": "a", "n": 1}), one(*HI, uri="http://h/v1/x"))
    new = tape(one(*HI, asked={"q": "b", "n": 1}))

    assert shown(old, new) == [
        ("request.body", ['- q: "a"', '+ q: "b"']),
        ("", ["- 200 OK, 3 events, complete"]),
    ]


def test_long_values_are_shown_where_they_differ() -> None:
    old, new = (tape(one(event("x" * 5000 + last + "y" * 500))) for last in "ab")

    ((_, (was, is_now)),) = shown(old, new)

    assert "xxa" in was
    assert "xxb" in is_now
    assert max(len(was), len(is_now)) < 140


@pytest.mark.parametrize(
    "path", sorted(COLLECTION.rglob("*.yaml"))[::9], ids=lambda path: path.stem
)
def test_nothing_differs_from_itself(path: Path) -> None:
    cassette = load(path)
    assert diff(cassette, cassette) == ()
    assert diff(cassette, cassette, volatile=True) == ()


# ---------------------------------------------------------------- the command


def test_the_command(run: Run, tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    dump(tape(one(*HI)), old)
    dump(tape(one(event("Ho"), *HI[1:])), new)

    same = run("cassette", "diff", str(old), str(old))
    assert (same.exit_code, same.stdout) == (0, "No differences in 1 interaction.\n")
    found = run("cassette", "diff", str(old), str(new))
    assert found.exit_code == 1
    assert found.stdout.splitlines() == [
        f"--- {old}",
        f"+++ {new}",
        f"interactions[0] POST {URL}",
        "  event 0",
        '    - delta.content: "Hi"',
        '    + delta.content: "Ho"',
        "Found 1 difference.",
    ]
    assert re.search("\x1b\\[", found.stdout) is None


def test_a_file_that_cannot_be_read(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("interactions: 1")
    found = run("cassette", "diff", str(bad), str(bad))
    assert found.exit_code == 2
    assert "bad.yaml: interactions: expected a list" in found.stderr
