"""Ten clients of the Responses API: broken by upstreams that deviate, and right through us.

Each client reads each stream from the upstream itself and through `stream-normalizer serve`, the
Python clients also over `NormalizingTransport`. Raw it has to be wrong exactly where
`responses_deviations` says so, and through us nowhere. Codex CLI and Grok Build take half a second
for an answer, so they read only what breaks them, and what is clean.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from normalizer.cli.demo.upstream import Server
from tests.proxy.conftest import Proxied
from tests.vendors.conftest import HERE, demand, node
from tests.vendors.held import LATE, SOON, Outcome, parsed
from tests.vendors.responses_deviations import CLEAN, CLIENTS, DEVIATIONS, Deviation
from tests.vendors.responses_programs import codex, grok, installed
from tests.vendors.responses_streams import after_call
from tests.vendors.upstream import Body, answers

demand("agents", "langchain_openai", "pydantic_ai")

from tests.vendors.responses_python import READERS, read  # noqa: E402 - needs what is demanded

# A client that fails may warn, and leave tasks and connections open: that is its own affair.
pytestmark = pytest.mark.filterwarnings("ignore")

ALL = (*CLEAN, *DEVIATIONS)
JAVASCRIPT = {"on": "openai", "ao": "ai_openai", "ar": "ai_open_responses"}
PROGRAMS = {"cx": codex, "gk": grok}
# Grok Build reads it raw; through us it once asked again and again.
BROKE_THROUGH_US = {"failed-without-words"}

Doors = dict[str, str]


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    """The upstream's address, and that of `stream-normalizer serve` before it."""
    bodies = {one.name: Body(one.body, one.content_type) for one in ALL}
    with Server(answers(bodies, after_call)) as server:
        proxied = Proxied("--upstream", server.address, "--no-access-log")
        yield {"raw": server.address, "serve": proxied.url}
        proxied.stop()


def patience(door: str) -> float:
    return SOON if door == "raw" else LATE


def is_as_expected(client: str, door: str, one: Deviation, outcome: Outcome) -> bool:
    """Right through us; raw, right where the client is not broken."""
    return (outcome == one.right_for(client)) == (door != "raw" or client not in one.broken)


def test_every_client_is_broken_by_eight_deviations() -> None:
    for client in CLIENTS:
        assert sum(client in one.broken for one in DEVIATIONS) >= 8, client


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
@pytest.mark.parametrize("client", READERS)
def test_python(doors: Doors, client: str, one: Deviation) -> None:
    for door, normalized in (("raw", False), ("serve", False), ("raw", True)):
        base_url = f"{doors[door]}/{one.name}/v1"
        seen_as = "transport" if normalized else door
        outcome = read(client, base_url, patience(seen_as), normalized=normalized)
        assert is_as_expected(client, seen_as, one, outcome), (seen_as, outcome)


@pytest.fixture(scope="module")
def read_in_javascript(doors: Doors) -> dict[tuple[str, str, str], Outcome]:
    """What each JavaScript client holds of each stream, by client, door and name."""
    held = {}
    # One process for all streams of a client: to import it takes longer than to read them.
    for client, script in JAVASCRIPT.items():
        for door, address in doors.items():
            asked = [{"name": one.name, "baseURL": f"{address}/{one.name}/v1"} for one in ALL]
            done = subprocess.run(
                [node(), str(HERE / "responses.mjs"), script, str(patience(door))],
                input=json.dumps(asked),
                capture_output=True,
                text=True,
                check=True,
            )
            for line in done.stdout.splitlines():
                got = json.loads(line)
                held[client, door, got["name"]] = parsed(got)
    return held


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
@pytest.mark.parametrize("client", JAVASCRIPT)
def test_javascript(
    doors: Doors,
    read_in_javascript: dict[tuple[str, str, str], Outcome],
    client: str,
    one: Deviation,
) -> None:
    for door in doors:
        outcome = read_in_javascript[client, door, one.name]
        assert is_as_expected(client, door, one, outcome), (door, outcome)


@pytest.mark.parametrize(
    ("client", "one"),
    [
        pytest.param(client, one, id=f"{client}-{one.name}")
        for client in PROGRAMS
        for one in ALL
        if one in CLEAN or client in one.broken or one.name in BROKE_THROUGH_US
    ],
)
def test_programs(doors: Doors, tmp_path: Path, client: str, one: Deviation) -> None:
    installed(client)
    for door, address in doors.items():
        home = tmp_path / door
        home.mkdir()
        outcome = PROGRAMS[client](f"{address}/{one.name}/v1", home, patience(door))
        assert is_as_expected(client, door, one, outcome), (door, outcome)
