"""Anthropic's clients, others' and Claude Code on broken streams: raw, and right through us.

Each client reads each stream from the upstream itself, through `stream-normalizer serve`, and, if
it is a Python one, through the transport. `RAW` says what it makes of the stream without us. Where
that is ``right`` already, it stays right through us.

Two things cannot be had:

* langchain-anthropic takes the count of input tokens from the last event only, where these streams
  have none: of its counts only the output is compared.
* a synchronous transport waits in the upstream's socket, so it cannot end an answer that the
  upstream leaves open. The proxy and the asynchronous transport do.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from normalizer import NormalizingTransport
from normalizer.cli.demo.upstream import Server
from tests.conftest import PATIENCE
from tests.proxy.conftest import Proxied
from tests.stories.conftest import missing
from tests.vendors.messages import claude_code, python
from tests.vendors.messages.deviations import (
    CANONICAL,
    DEVIATIONS,
    NOTE,
    Deviation,
    Held,
    Hung,
    Outcome,
    Raised,
)
from tests.vendors.messages.upstream import Upstream

HERE = Path(__file__).parent
BY_NAME = {one.name: one for one in (CANONICAL, *DEVIATIONS)}
JAVASCRIPT = {"sdk": "sdk", "ai-sdk": "ai_sdk"}
SYNCHRONOUS = {"create", "stream", "langchain"}
# the doors of clients that are no Python
PROGRAM_DOORS = ("raw", "serve")
# how many of them run beside each other
CLAUDES = 3
# How long a client may wait in front of an upstream that sends no more. Claude Code has to start.
SHORT, CLAUDE_SHORT = 2.0, 10.0
CLAUDE_PATIENCE = 4 * PATIENCE

# What each client makes of each stream. Anthropic's own are the documented loop over
# ``create(stream=True)`` and ``messages.stream()`` of anthropic-python, and @anthropic-ai/sdk.
RAW = """
                                create  stream  langchain  pydantic-ai  sdk     ai-sdk  claude-code
canonical                       right   right   right      right        right   right   right
data-only-no-event-line         wrong   raises  raises     raises       raises  right   raises
json-for-stream                 wrong   raises  raises     raises       raises  raises  raises
no-message-start                right   raises  right      raises       raises  right   raises
start-without-usage             raises  raises  right      raises       raises  raises  right
delta-without-start             raises  raises  right      right        raises  raises  raises
index-missing                   wrong   raises  wrong      right        wrong   raises  right
index-all-zero                  wrong   wrong   right      raises       wrong   right   right
thinking-delta-in-text-block    wrong   wrong   wrong      raises       wrong   raises  raises
no-block-stop                   wrong   right   right      right        right   wrong   raises
text-in-block-start             wrong   right   right      right        right   wrong   raises
tool-input-in-start             wrong   right   right      right        right   right   wrong
tool-stopped-early              wrong   right   right      right        right   wrong   wrong
partial-json-object             raises  raises  raises     right        raises  raises  wrong
tool-block-twice-identical      wrong   wrong   wrong      wrong        wrong   wrong   right
tool-id-twice                   right   right   right      right        right   right   wrong
stop-reason-end-turn-with-tool  wrong   wrong   wrong      wrong        wrong   wrong   right
stop-reason-length              wrong   wrong   wrong      wrong        wrong   wrong   wrong
no-message-delta                wrong   wrong   wrong      wrong        wrong   wrong   wrong
message-delta-no-usage          raises  raises  wrong      raises       raises  raises  right
message-delta-twice             wrong   wrong   wrong      wrong        wrong   wrong   wrong
no-message-stop                 right   right   right      right        raises  wrong   right
no-message-stop-left-open       hangs   hangs   hangs      hangs        hangs   hangs   hangs
cut-after-block-stop            wrong   wrong   wrong      wrong        raises  wrong   wrong
stop-reason-failure-word        wrong   wrong   wrong      wrong        wrong   wrong   wrong
error-openai-shape              wrong   wrong   wrong      wrong        raises  right   raises
"""


def _raw() -> dict[tuple[str, str], str]:
    """`RAW` by client and deviation."""
    (_, *clients), *rows = (line.split() for line in f"deviation {RAW.strip()}".splitlines())
    return {
        (client, name): how
        for name, *hows in rows
        for client, how in zip(clients, hows, strict=True)
    }


EXPECTED = _raw()
CLIENTS = tuple(dict.fromkeys(client for client, _ in EXPECTED))
# The AI SDK has words of its own.
AI_SDK_STOPS = {"tool_use": "tool-calls", "end_turn": "stop", "max_tokens": "length"}


def right(client: str, deviation: Deviation) -> Held | Raised:
    """What the user of ``client`` should hold."""
    held = deviation.right
    if isinstance(held, Raised):
        return held
    if client == "ai-sdk":
        return dataclasses.replace(held, stop=AI_SDK_STOPS[held.stop or ""])
    if client == "claude-code" and held.stop != "end_turn":
        return dataclasses.replace(held, stop=None)
    if client == "langchain" and held.usage:
        return dataclasses.replace(held, usage=(0, held.usage[1]))
    return held


def how(client: str, deviation: Deviation, outcome: Outcome) -> str:
    """What became of a stream, in a word of `RAW`."""
    wanted = right(client, deviation)
    if isinstance(outcome, Hung):
        return "hangs"
    if isinstance(outcome, Raised):
        named = isinstance(wanted, Raised) and wanted.words in outcome.words
        return "right" if named else "raises"
    return "right" if outcome == wanted else "wrong"


def patience(door: str, deviation: Deviation, *, is_claude: bool = False) -> float:
    """How many seconds a client may read."""
    if deviation.left_open and door == "raw":
        return CLAUDE_SHORT if is_claude else SHORT
    return CLAUDE_PATIENCE if is_claude else PATIENCE


class Doors:
    """The ways to the upstream; and what the clients that are programs read there, all at once."""

    def __init__(self, upstream: Upstream, addresses: dict[str, str]) -> None:
        self._upstream = upstream
        self._addresses = addresses
        self._pool = ThreadPoolExecutor(CLAUDES)

    def path(self, client: str, door: str, deviation: Deviation) -> str:
        return f"/{client}-{door}/{deviation.name}"

    def url(self, client: str, door: str, deviation: Deviation) -> str:
        return self._addresses[door] + self.path(client, door, deviation)

    def read(self, client: str, door: str, deviation: Deviation) -> Outcome:
        if client == "claude-code":
            return self.ran(door, deviation).outcome
        if client in JAVASCRIPT:
            return self._javascript(client)[door, deviation.name]
        transport = NormalizingTransport(finish_timeout=0.5) if door == "transport" else None
        url, seconds = self.url(client, door, deviation), patience(door, deviation)
        return python.outcome(lambda: python.READERS[client](url, transport, seconds))

    @functools.cache  # noqa: B019 - there is one, as long as the module's tests run
    def _javascript(self, client: str) -> dict[tuple[str, str], Outcome]:
        """All in one process: to import a client takes longer than to read with it."""
        if shutil.which("node") is None:
            missing("node")
        if not (HERE / "node_modules" / "ai").is_dir():
            missing("tests/vendors/messages/node_modules")
        asked = [
            {
                "key": [door, one.name],
                "url": self.url(client, door, one),
                "patience": patience(door, one),
                "request": python.ASKED,
            }
            for one in BY_NAME.values()
            for door in PROGRAM_DOORS
        ]
        done = subprocess.run(
            ["node", "read.mjs", JAVASCRIPT[client]],
            cwd=HERE,
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=True,
        )
        lines = map(json.loads, done.stdout.splitlines())
        return {tuple(line["key"]): _of_javascript(line) for line in lines}

    def ran(self, door: str, deviation: Deviation) -> claude_code.Ran:
        claude_code.installed()
        return self._claude_codes[door, deviation.name].result()

    @functools.cached_property
    def _claude_codes(self) -> dict[tuple[str, str], Future[claude_code.Ran]]:
        """A process each, some of them beside each other."""

        def ask(door: str, one: Deviation) -> claude_code.Ran:
            return claude_code.ask(
                self.url("claude-code", door, one),
                self._upstream.asked[self.path("claude-code", door, one)],
                patience(door, one, is_claude=True),
            )

        return {
            (door, one.name): self._pool.submit(ask, door, one)
            for one in BY_NAME.values()
            for door in PROGRAM_DOORS
        }

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def _of_javascript(line: dict[str, Any]) -> Outcome:
    if "hung" in line:
        return Hung()
    if "error" in line:
        return Raised(line["error"])
    calls = tuple((name, given) for name, given in line["calls"])
    usage = line["usage"] and tuple(line["usage"])
    return Held(line["text"], line["thinking"], calls, line["stop"], usage)


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    upstream = Upstream(BY_NAME)
    with Server(upstream) as server:
        # The clock of a held stop reason runs from the upstream's last byte: half a second is long.
        options = ("--no-access-log", "--finish-timeout", "0.5")
        proxied = Proxied("--upstream", server.address, *options)
        addresses = {"raw": server.address, "transport": server.address, "serve": proxied.url}
        doors = Doors(upstream, addresses)
        yield doors
        doors.close()
        proxied.stop()


def test_each_client_is_broken_by_at_least_eight() -> None:
    for client in CLIENTS:
        hows = [EXPECTED[client, one.name] for one in DEVIATIONS]
        assert len(hows) - hows.count("right") >= 8, client


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("client", CLIENTS)
def test_raw(client: str, name: str, doors: Doors) -> None:
    held = doors.read(client, "raw", BY_NAME[name])
    assert how(client, BY_NAME[name], held) == EXPECTED[client, name], held


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("client", CLIENTS)
def test_right_through_the_proxy(client: str, name: str, doors: Doors) -> None:
    held = doors.read(client, "serve", BY_NAME[name])
    assert how(client, BY_NAME[name], held) == "right", held


@pytest.mark.parametrize(
    ("client", "name"),
    [
        (client, one.name)
        for client in python.READERS
        for one in BY_NAME.values()
        if not (client in SYNCHRONOUS and one.left_open)
    ],
)
def test_right_through_the_transport(client: str, name: str, doors: Doors) -> None:
    held = doors.read(client, "transport", BY_NAME[name])
    assert how(client, BY_NAME[name], held) == "right", held


@pytest.mark.parametrize("one", DEVIATIONS, ids=lambda one: one.name)
def test_claude_code_runs_the_tool_that_was_meant(one: Deviation, doors: Doors) -> None:
    """What the model is told is what the command says, and it is told so once."""
    calls = one.right.calls if isinstance(one.right, Held) else ()
    assert doors.ran("serve", one).results == (NOTE,) * len(calls)
