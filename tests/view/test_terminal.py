"""The trace in a terminal."""

from __future__ import annotations

import click
import pytest

from normalizer import Normalizer, RequestInfo
from normalizer.catalogue import DEVIATIONS
from normalizer.trace import Trace
from normalizer.view.terminal import SideBySide
from tests.streams import STREAM, chunk, raw, text

NAMES = {deviation.code: deviation for deviation in DEVIATIONS}


def shown(body: bytes, width: int = 80) -> list[str]:
    lines: list[str] = []
    request = RequestInfo.parse("/v1/chat/completions", STREAM)
    side_by_side = SideBySide(lines.append, width=width, names=NAMES)
    normalizer = Normalizer(request, trace=Trace(side_by_side))
    normalizer.feed(body)
    normalizer.close()
    return lines


def plain(body: bytes, width: int = 80) -> str:
    return "\n".join(" ".join(click.unstyle(line).split()) for line in shown(body, width))


def test_both_sides() -> None:
    body = raw(
        *text("Hi"), chunk({"content": "!"}, id="other"), chunk({}, "stop"), chunk({}, "stop")
    )
    assert plain(body) == (
        "#1 role assistant │ #1 role assistant\n"
        '#2 +"Hi" │ #2 +"Hi"\n'
        '#3 +"!" │ #3 +"!"\n'
        "E202 id-changes\n"
        "#4 finish stop │\n"
        "#5 finish stop │\n"
        "S508 finish-twice\n"
        "#6 [DONE] │ #4 finish stop (#4)\n"
        "│ #5 [DONE]\n"
        "#7 the body ends │\n"
        "\n"
        "ended done; 2 kinds of fault; not sent: #5"
    )


def test_colours() -> None:
    lines = shown(raw(*text("Hi"), chunk({"content": "!"}, id="other"), chunk({}, "stop")))
    (changed,) = [line for line in lines if '"!"' in line]
    assert changed.count("\x1b[33m") == 2
    assert lines[1].count("\x1b[33m") == 0
    (waited,) = [line for line in lines if "(#4)" in line]
    assert "\x1b[34m" in waited


@pytest.mark.parametrize("width", [10, 80, 81, 200])
def test_the_columns_are_straight(width: int) -> None:
    body = raw(*text("床前明月光" * 20, "x" * 300), chunk({}, "stop"))
    lines = [click.unstyle(line) for line in shown(body, width)]
    half = (max(width, 40) - 3) // 2
    for line in lines[:3]:
        left, _, right = line.partition(" │ ")
        assert sum(2 if "一" <= sign <= "鿿" else 1 for sign in left) == half
        assert sum(2 if "一" <= sign <= "鿿" else 1 for sign in right) <= half
