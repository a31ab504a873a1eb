"""Claude Code itself, for one question: what it held of the answer, and which tools it ran."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.stories.conftest import missing
from tests.vendors.messages.deviations import NOTE, Held, Hung, Outcome, Raised
from tests.vendors.messages.upstream import DONE, DONE_USAGE

HERE = Path(__file__).parent
CLAUDE = HERE / "node_modules" / ".bin" / "claude"


def installed() -> None:
    """Skip where there is no Claude Code."""
    if not CLAUDE.exists():
        missing("Claude Code (tests/vendors/messages/node_modules)")


@dataclasses.dataclass(frozen=True)
class Ran:
    """What Claude Code answered, and what its tools did: of each, what the model is told of it."""

    outcome: Outcome
    results: tuple[str, ...] = ()


def ask(url: str, asked: list[dict[str, Any]], patience: float) -> Ran:
    """Let it ask ``url`` what is in a file; ``asked`` gets the requests that it makes there."""
    with tempfile.TemporaryDirectory() as folder:
        home, project = Path(folder) / "home", Path(folder) / "project"
        home.mkdir()
        project.mkdir()
        (project / "note.txt").write_text(f"{NOTE}\n", encoding="utf-8")
        try:
            done = subprocess.run(
                [
                    *(CLAUDE, "-p", "What is in note.txt?", "--tools", "Bash"),
                    *("--output-format", "json"),
                ],
                cwd=project,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(home),
                    "ANTHROPIC_BASE_URL": url,
                    "ANTHROPIC_API_KEY": "none",
                    "CLAUDE_CODE_MAX_RETRIES": "0",
                    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
                    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
                },
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Ran(Hung())
    return _ran(done, asked)


def _ran(done: subprocess.CompletedProcess[str], asked: list[dict[str, Any]]) -> Ran:
    assert asked, f"Claude Code asked nothing:\n{done.stdout}{done.stderr}"
    try:
        said = json.loads(done.stdout)
    except ValueError:
        return Ran(Raised(f"{done.stdout}{done.stderr}"))
    results = tuple(
        str(block["content"])
        for block in _content(asked[-1], "user")
        if block.get("type") == "tool_result"
    )
    if said["is_error"]:
        return Ran(Raised(str(said["result"])), results)
    blocks = _content(asked[-1], "assistant") or [{"type": "text", "text": said["result"]}]
    if len(asked) > 1 and said["result"] != DONE:
        return Ran(Raised(f"the last turn was {said['result']!r}"), results)
    held = Held(
        "".join(one["text"] for one in blocks if one["type"] == "text"),
        "".join(one["thinking"] for one in blocks if one["type"] == "thinking"),
        tuple((one["name"], one["input"]) for one in blocks if one["type"] == "tool_use"),
        # It does not tell the reason, but goes on after any other.
        "end_turn" if len(asked) == 1 else None,
        _usage(said["modelUsage"], turns=len(asked)),
    )
    return Ran(held, results)


def _content(request: dict[str, Any], role: str) -> list[dict[str, Any]]:
    """The blocks of all messages of ``role``."""
    return [
        block
        for message in request["messages"]
        if message["role"] == role and isinstance(message["content"], list)
        for block in message["content"]
    ]


def _usage(models: dict[str, dict[str, int]], *, turns: int) -> tuple[int, int]:
    """What it counted of the first turn."""
    totals = [sum(one[name] for one in models.values()) for name in ("inputTokens", "outputTokens")]
    if turns > 1:
        totals = [total - last for total, last in zip(totals, DONE_USAGE, strict=True)]
    return totals[0], totals[1]
