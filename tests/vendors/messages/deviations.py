"""Broken Messages streams, each with what is right.

A stream is one turn of an agent: it says something, and mostly calls the tool ``Bash``. The streams
are our own, after what servers and gateways were reported to send; the names are those of the
reports. They are small, because every client reads every one of them.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from tests.wires.messages.streams import (
    END,
    STOP,
    TEXT,
    Event,
    opened,
    piece,
    reason,
    start,
    stopped,
    text,
    thought,
    tool,
    written,
)

NOTE = "The kettle is blue."
COMMAND = {"command": "cat note.txt"}
INPUT = json.dumps(COMMAND)
# of `start` and `reason`
USAGE = (25, 5)


@dataclasses.dataclass(frozen=True)
class Held:
    """What the user of a client holds in the end; None is what the client does not tell."""

    text: str = ""
    thinking: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    stop: str | None = None
    # input and output tokens
    usage: tuple[int, int] | None = USAGE


@dataclasses.dataclass(frozen=True)
class Raised:
    """The client raised, and this is what it said."""

    words: str


@dataclasses.dataclass(frozen=True)
class Hung:
    """The client was still waiting when our patience ended."""


Outcome = Held | Raised | Hung


@dataclasses.dataclass(frozen=True)
class Deviation:
    name: str
    stream: bytes
    # an answer, or words that the error has
    right: Held | Raised
    media_type: str = "text/event-stream"
    # the upstream sends no more, and does not end its answer either
    left_open: bool = False


def bash(index: Any, **members: Any) -> Event:
    return tool(index, **{"name": "Bash", **members})


# The same answer in all of them: a text, and a call.
SAYS = [opened(0, TEXT), text(0, "Let me "), text(0, "look."), stopped(0)]
CALLS = [bash(1), piece(1, ""), piece(1, INPUT[:9]), piece(1, INPUT[9:]), stopped(1)]
CALLED = [reason("tool_use"), STOP]
LOOKS = Held("Let me look.", calls=(("Bash", COMMAND),), stop="tool_use")
# of the input tokens nobody told
UNCOUNTED = dataclasses.replace(LOOKS, usage=(0, 5))
SAID = Held("Let me look.", stop="end_turn")
WHOLE = written(start(), *SAYS, *CALLS, *CALLED)

CANONICAL = Deviation("canonical", WHOLE, LOOKS)


def without(event: Event, *members: str) -> Event:
    return {name: value for name, value in event.items() if name not in members}


def unindexed(*events: Event) -> list[Event]:
    return [without(event, "index") for event in events]


def unnamed(stream: bytes) -> bytes:
    """A stream without its ``event:`` lines."""
    lines = stream.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(b"event:"))


MESSAGE = {
    **start()["message"],
    "content": [
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": COMMAND},
    ],
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 25, "output_tokens": 5},
}

DEVIATIONS = (
    Deviation("data-only-no-event-line", unnamed(WHOLE), LOOKS),
    Deviation("json-for-stream", json.dumps(MESSAGE).encode(), LOOKS, "application/json"),
    Deviation("no-message-start", written(*SAYS, *CALLS, *CALLED), UNCOUNTED),
    Deviation(
        "start-without-usage",
        written(start(usage=...), *SAYS, *CALLS, *CALLED),
        UNCOUNTED,
    ),
    Deviation("delta-without-start", written(start(), *SAYS[1:], *CALLS, *CALLED), LOOKS),
    Deviation("index-missing", written(start(), *unindexed(*SAYS, *CALLS), *CALLED), LOOKS),
    Deviation(
        "index-all-zero",
        written(start(), *SAYS, *({**one, "index": 0} for one in CALLS), *CALLED),
        LOOKS,
    ),
    Deviation(
        "thinking-delta-in-text-block",
        written(start(), SAYS[0], thought(0, "Which note?"), *SAYS[1:], *CALLS, *CALLED),
        dataclasses.replace(LOOKS, thinking="Which note?"),
    ),
    Deviation(
        "no-block-stop",
        written(start(), *SAYS[:-1], *CALLS[:-1], *CALLED),
        LOOKS,
    ),
    Deviation(
        "text-in-block-start",
        written(start(), opened(0, {"type": "text", "text": "Let me look."}), stopped(0), *END),
        SAID,
    ),
    Deviation(
        "tool-input-in-start",
        written(start(), *SAYS, bash(1, input=COMMAND), stopped(1), *CALLED),
        LOOKS,
    ),
    Deviation(
        "tool-stopped-early",
        written(start(), *SAYS, CALLS[0], CALLS[-1], *CALLS[1:-1], *CALLED),
        LOOKS,
    ),
    Deviation(
        "partial-json-object",
        written(start(), *SAYS, CALLS[0], piece(1, COMMAND), stopped(1), *CALLED),
        LOOKS,
    ),
    Deviation(
        "tool-block-twice-identical",
        written(start(), *SAYS, *CALLS, *({**one, "index": 2} for one in CALLS), *CALLED),
        LOOKS,
    ),
    Deviation(
        "stop-reason-end-turn-with-tool",
        written(start(), *SAYS, *CALLS, *END),
        LOOKS,
    ),
    Deviation(
        "stop-reason-length",
        written(start(), *SAYS, reason("length"), STOP),
        dataclasses.replace(SAID, stop="max_tokens"),
    ),
    Deviation(
        "message-delta-no-usage",
        written(
            start(usage={"input_tokens": 25, "output_tokens": 5}),
            *SAYS,
            *CALLS,
            reason("tool_use", None),
            STOP,
        ),
        LOOKS,
    ),
    Deviation(
        "message-delta-twice",
        written(start(), *SAYS, *CALLS, reason("tool_use"), reason("end_turn"), STOP),
        LOOKS,
    ),
    Deviation("no-message-stop", written(start(), *SAYS, *CALLS, reason("tool_use")), LOOKS),
    Deviation(
        "no-message-stop-left-open",
        written(start(), *SAYS, *CALLS, reason("tool_use")),
        LOOKS,
        left_open=True,
    ),
    Deviation(
        "cut-after-block-stop", written(start(), *SAYS), Raised("before its message was complete")
    ),
    Deviation(
        "stop-reason-failure-word",
        written(start(), *SAYS, reason("error"), STOP),
        Raised("stopped with 'error'"),
    ),
    Deviation(
        "error-openai-shape",
        written(
            start(),
            *SAYS[:-1],
            b'data: {"error": {"message": "The kitchen burns.", "code": 500}}\n\n',
        ),
        Raised("The kitchen burns."),
    ),
)
