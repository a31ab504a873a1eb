"""The holdback alone: what waits, and the order in which it leaves."""

from __future__ import annotations

from typing import Any

import pytest

from normalizer import Options, RequestInfo
from normalizer.core.draft import Draft
from normalizer.core.kept import Kept
from normalizer.wires.chat.blank import Blank
from normalizer.wires.chat.held import Piece
from normalizer.wires.chat.holdback import Holdback
from normalizer.wires.chat.stages import Stages
from tests.streams import USAGE
from tests.wires.chat.parts import draft, finder, part


class Output:
    """What left, in words: a text, a finish, a comment, a usage."""

    def __init__(self) -> None:
        self.left: list[str] = []

    def send(self, draft: Draft, _name: str = "") -> None:
        for choice in draft.value["choices"]:
            word, delta = choice.get("finish_reason"), choice["delta"]
            said = "".join(str(value) for value in delta.values())
            self.left.append(f"{choice['index']}:{said or word}")
        if draft.value.get("usage"):
            self.left.append("usage")

    def comment(self, text: bytes) -> None:
        self.left.append(text.decode())

    def done(self) -> None:
        self.left.append("[DONE]")


class Held:
    """A holdback with stages of its own, whose choices have begun."""

    def __init__(self, *, asked: bool = False, limit: int = 10_000) -> None:
        found, self.kept = finder(), Kept(limit)
        request = RequestInfo(endpoint="chat", include_usage=asked)
        self.stages = Stages(request, Options(), found, self.kept)
        blank = Blank(self.stages.envelope, "chat")
        self.output = Output()
        self.back = Holdback(
            self.stages, blank, "chat", Options(), found, found.report, self.output, self.kept
        )

    def piece(self, index: int, delta: dict[str, Any], word: str | None = None) -> None:
        choice = {"index": index, "delta": delta, "finish_reason": word}
        self.back.order[index] = None
        self.stages.content.open(index)
        says = any(delta.values())
        if says and self.back.ends:
            self.back.goes_on(index, text=True)
        self.back.take(Piece(draft(choice), index, [], word, says))

    def say(self, what: str) -> None:
        """One step: ``0 a`` a text, ``0 .stop`` a finish, ``:`` a comment, ``usage``."""
        index, _, said = what.partition(" ")
        if what == ":":
            if self.back.comment(b":"):
                self.output.comment(b":")
        elif what == "usage":
            one = draft(usage=USAGE)
            assert self.stages.usage.read_apart(one)
            self.back.usage_came()
        elif said.startswith("."):
            self.piece(int(index), {}, said[1:])
        else:
            self.piece(int(index), {"content": said})


@pytest.mark.parametrize(
    ("steps", "before", "behind"),
    [
        (["0 a", "0 b"], ["0:a", "0:b"], ["0:stop"]),
        (["0 a", "0 .stop"], ["0:a"], ["0:stop"]),
        (["0 a", "0 .stop", "0 b"], ["0:a", "0:b"], ["0:stop"]),
        (["0 a", "0 .stop", "0 .length"], ["0:a"], ["0:length"]),
        (["0 a", "0 .stop", ":"], ["0:a"], ["0:stop", ":"]),
        (["0 a", "1 b", "0 .stop", ":", "1 .stop"], ["0:a", "1:b", ":"], ["0:stop", "1:stop"]),
        (["0 a", "0 .stop", ":", "usage", ":"], ["0:a"], ["0:stop", ":", "usage", ":"]),
        (["0 a", "usage", "0 .stop"], ["0:a"], ["0:stop", "usage"]),
    ],
)
def test_order(steps: list[str], before: list[str], behind: list[str]) -> None:
    held = Held(asked="usage" in steps)
    for step in steps:
        held.say(step)
    assert held.output.left == before
    held.back.done()
    assert held.output.left == before + behind
    assert not held.back.holding
    assert held.kept.size == 0


def test_an_error_lets_what_was_held_go_nowhere() -> None:
    held = Held()
    for step in ("0 a", "0 .stop", ":"):
        held.say(step)
    held.back.cut()
    assert held.output.left == ["0:a", ":"]


def test_silence_lets_the_finish_go_and_a_late_one_is_not_sent_again() -> None:
    held = Held()
    held.say("0 a")
    held.say("0 .stop")
    assert held.back.holding
    held.back.release()
    held.back.released = True
    held.say("0 .stop")
    held.back.done()
    assert held.output.left == ["0:a", "0:stop"]
    assert held.back.finished


def test_comments_over_the_limit_leave() -> None:
    held = Held(limit=1000)
    held.say("0 a")
    held.say("0 .stop")
    for _ in range(100):
        held.say(":")
    assert held.output.left.count(":") > 50
    held.back.done()
    assert held.output.left.count(":") == 100


def test_what_rides_leaves_on_the_next_chunk() -> None:
    held = Held()
    held.back.ride(draft(x=1))
    assert held.output.left == []
    assert not held.back.idle
    held.say("0 a")
    assert held.back.sender.last["x"] == 1
    held.say("0 b")
    assert held.back.idle


def test_a_choice_that_is_put_off_is_taken_up_once() -> None:
    held = Held()
    one = part({"index": 1, "delta": {}}).draft
    held.back.put_off(1, one)
    assert held.back.taken_up(1) is one
    assert held.back.taken_up(1) is None
    assert held.kept.size == 0
