"""openai-node, LangChain JS and the AI SDK on ten streams: raw, and through the proxy."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from normalizer.cli.demo.upstream import Server
from tests.broken import JAVASCRIPT, TEN, Broken, Failed, Held, Outcome, call, counts, upstream
from tests.proxy.conftest import Proxied

HERE = Path(__file__).parent
READERS = {"openai-node": "openai", "langchain-js": "langchain", "ai-sdk": "ai_sdk"}


def missing() -> str | None:
    """Why the clients cannot run here; in CI that is a failure."""
    if shutil.which("node") is None:
        return "there is no node"
    if not (HERE / "node_modules").is_dir():
        return "npm install was not run in tests/clients_js, as tools/test does"
    return None


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    if reason := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="module")
def doors() -> Iterator[dict[str, str]]:
    """The upstream's address, and that of `stream-normalizer serve` before it."""
    with Server(upstream()) as server:
        proxied = Proxied("--upstream", server.address, "--no-access-log")
        yield {"raw": server.address, "serve": proxied.url}
        proxied.stop()


def outcome(got: dict[str, Any]) -> Outcome:
    if "error" in got:
        return Failed(got["error"])
    assert all(ident for ident, _, _ in got["calls"]) or got["finish"] != "tool_calls"
    return Held(
        text=got["text"],
        # the AI SDK has words of its own
        finish=got["finish"] and got["finish"].replace("-", "_"),
        calls=tuple(call(name, arguments) for _, name, arguments in got["calls"]),
        usage=counts(got["usage"]),
    )


@pytest.fixture(scope="module")
def read(doors: dict[str, str]) -> dict[tuple[str, str, str], Outcome]:
    """What each client holds of each stream, by client, door and name."""
    held = {}
    # One process for all streams of a client: to import it takes longer than to read them.
    for client in JAVASCRIPT:
        for door, address in doors.items():
            asked = [
                {"name": one.name, "baseURL": f"{address}/{one.name}/v1", "request": one.request}
                for one in TEN
            ]
            done = subprocess.run(
                ["node", "read.mjs", READERS[client]],
                cwd=HERE,
                input=json.dumps(asked),
                capture_output=True,
                text=True,
                check=True,
            )
            for line in done.stdout.splitlines():
                got = json.loads(line)
                held[client, door, got["name"]] = outcome(got)
    return held


@pytest.mark.parametrize("broken", TEN, ids=lambda one: one.name)
@pytest.mark.parametrize("client", JAVASCRIPT)
def test_broken_without(
    client: str, broken: Broken, read: dict[tuple[str, str, str], Outcome]
) -> None:
    assert read[client, "raw", broken.name] == broken.raw[client]


@pytest.mark.parametrize("broken", TEN, ids=lambda one: one.name)
@pytest.mark.parametrize("client", JAVASCRIPT)
def test_right_with(client: str, broken: Broken, read: dict[tuple[str, str, str], Outcome]) -> None:
    right = broken.right
    if client == "ai-sdk" and isinstance(right, Held) and right.finish == "function_call":
        right = dataclasses.replace(right, finish="tool_calls")  # it has one word for both
    assert read[client, "serve", broken.name] == right
