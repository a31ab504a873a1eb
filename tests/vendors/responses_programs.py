"""Codex CLI and Grok Build, each asked one question without a terminal.

Both are binaries that speak the Responses API to the address in their settings. They run a call
(`get_weather` is no tool of theirs, so it fails) and ask again. Their upstream answers this second
request with a text that names the call, as the program sent it back.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.stories.conftest import missing
from tests.vendors.conftest import NODE_MODULES, alone, node
from tests.vendors.held import Failed, Held, Outcome, call
from tests.vendors.responses_streams import CALLED

QUESTION = "Where does Oslo lie?"
CODEX = NODE_MODULES / "@openai" / "codex" / "bin" / "codex.js"
GROK = NODE_MODULES / "@xai-official" / "grok-linux-x64" / "bin" / "grok.br"

CODEX_SETTINGS = """
model = "m"
model_provider = "upstream"
web_search = "disabled"

[model_providers.upstream]
name = "upstream"
base_url = "{base_url}"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
stream_idle_timeout_ms = 5000
"""

GROK_SETTINGS = """
[models]
default = "upstream"

[model.upstream]
model = "m"
name = "upstream"
base_url = "{base_url}"
api_backend = "responses"
api_key = "sk-none"
max_retries = 0
"""

GROK_OFFLINE = {
    "GROK_DISABLE_AUTOUPDATER": "1",
    "GROK_MAX_RETRIES": "0",
    "GROK_TELEMETRY_ENABLED": "0",
}


def _run(
    command: list[str], home: Path, seconds: float, **variables: str
) -> tuple[int, str, str] | None:
    """Exit status and output of a program; None if it hung."""
    try:
        done = subprocess.run(
            command,
            cwd=home,
            env=alone(home, **variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return None
    return done.returncode, done.stdout, done.stderr


def _held(text: str, answer: str) -> Held:
    if answer.startswith(CALLED):
        name, _, arguments = answer.removeprefix(CALLED).strip().partition(" ")
        return Held(calls=(call(name, arguments),))
    return Held(text, answer)


def codex(base_url: str, home: Path, seconds: float) -> Outcome:
    """`codex exec --json`, whose settings are in ``home``."""
    (home / "config.toml").write_text(CODEX_SETTINGS.format(base_url=base_url))
    command = [node(), str(CODEX), "exec", "--json", "--skip-git-repo-check", "--ephemeral"]
    done = _run([*command, QUESTION], home, seconds, CODEX_HOME=str(home))
    if done is None:
        return Failed("hung")
    events: list[dict[str, Any]] = [json.loads(line) for line in done[1].splitlines()]
    for event in events:
        if event["type"] == "turn.failed":
            return Failed(event["error"]["message"])
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    text = "".join(item["text"] for item in items if item["type"] == "agent_message")
    return _held(text, text)


def grok(base_url: str, home: Path, seconds: float) -> Outcome:
    """`grok -p` in its own format, whose settings are in ``home``."""
    (home / ".grok").mkdir(exist_ok=True)
    (home / ".grok" / "config.toml").write_text(GROK_SETTINGS.format(base_url=base_url))
    command = [str(unpacked_grok()), "-p", QUESTION, "--output-format", "streaming-json"]
    done = _run(command, home, seconds, **GROK_OFFLINE)
    if done is None:
        return Failed("hung")
    events = [json.loads(line) for line in done[1].splitlines() if line.startswith("{")]
    if done[0] != 0 or not any(event["type"] == "end" for event in events):
        return Failed(done[1] + done[2])
    text = "".join(event["data"] for event in events if event["type"] == "text")
    return _held(text, text)


def installed(client: str) -> None:
    """Skip the test where there is no program for ``client``; fail in CI."""
    path = {"cx": CODEX, "gk": GROK}[client]
    node()
    if not path.exists():
        # Grok Build is an optional package, because it is made for Linux on x86-64 here
        missing(str(path.relative_to(NODE_MODULES.parent)))


@functools.cache
def unpacked_grok() -> Path:
    """The binary, which its package holds compressed until somebody unpacks it."""
    path = NODE_MODULES / ".grok"
    # A file of our own, put in place in one step: whoever finds it finds all of it.
    if not path.exists() or path.stat().st_mtime < GROK.stat().st_ctime:
        part = path.with_suffix(f".{os.getpid()}")
        subprocess.run([node(), "-e", _UNPACK, str(GROK), str(part)], check=True)
        part.rename(path)
    return path


_UNPACK = """
const { readFileSync, writeFileSync } = require('fs');
const [, packed, path] = process.argv;
writeFileSync(path, require('zlib').brotliDecompressSync(readFileSync(packed)), { mode: 0o755 });
"""
