"""Story 2: Azure, LangChain and a Gradio chat. The page: docs/stories/2-azure-gradio.md."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.stories.conftest import ROOT, Lines, asked, missing

if importlib.util.find_spec("gradio") is None:
    missing("Gradio (.venv-stories)")

from gradio_client import Client
from gradio_client.exceptions import AppError

OPENING = "azure/opening-chunk"
ANSWER = "Rivers carry minerals from rocks into the sea, where they stay."


class Shown(NamedTuple):
    """What the chat showed, and what it logged."""

    # the whole answer so far, each time it changed
    updates: list[str]
    error: str | None
    # as LangChain's callback handler got them
    tokens: list[str]
    # the last line of the log
    end: dict[str, Any]


Chat = Callable[..., Shown]
Replayed = Callable[[str], str]


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    """Asks in a Gradio chat on an endpoint what a cassette was asked."""
    running: list[tuple[subprocess.Popen[str], Lines]] = []

    def chat(endpoint: str, name: str, *options: str) -> Shown:
        *system, message = asked(name)["messages"]
        options += tuple(text for one in system for text in ("--system", one["content"]))
        log = tmp_path / f"log-{len(running)}.jsonl"
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.stories.gradio_chat", endpoint, str(log), *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # It would report to its makers, and keeps files in a temporary folder.
            env={
                **os.environ,
                "GRADIO_ANALYTICS_ENABLED": "False",
                "GRADIO_TEMP_DIR": str(tmp_path),
                "NO_PROXY": "*",
            },
        )
        assert process.stdout is not None
        lines = Lines(process.stdout)
        running.append((process, lines))
        url = lines.next(r"Serving on (\S+)")[1]
        client = Client(url, verbose=False, analytics_enabled=False)
        job = client.submit(message["content"], api_name="/chat")
        error = None
        try:
            updates = list(job)
            job.result()
        except AppError as raised:
            updates, error = job.outputs(), str(raised)
        finally:
            client.close()
        *tokens, end = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        return Shown(updates, error, [line["token"] for line in tokens], end)

    yield chat
    for process, lines in running:
        process.terminate()
        process.wait()
        lines.close()


def test_every_token_logged_is_a_token_shown(replayed: Replayed, chat: Chat) -> None:
    shown = chat(replayed(OPENING), OPENING, "--normalized")
    assert shown.error is None
    assert shown.updates == list(accumulate(shown.tokens))
    assert shown.updates[-1] == ANSWER
    report = {"codes": {"E210": 1}, "in": {"content": 63}, "out": {"content": 63}}
    assert shown.end == {"finish": "stop", "reports": [report]}
    assert len(ANSWER) == 63


def test_the_opening_chunk_ends_a_loop(replayed: Replayed, chat: Chat) -> None:
    # ChuanhuChatGPT's own loop over OpenAI's chunks takes the first choice of each.
    upstream = replayed(OPENING)
    raw = chat(upstream, OPENING, "--loop")
    assert raw == Shown([], "list index out of range", [], {"error": "IndexError"})
    right = chat(upstream, OPENING, "--loop", "--normalized")
    assert right.error is None
    assert right.updates == list(accumulate(right.tokens))
    assert right.updates[-1] == ANSWER


def test_the_filter_s_verdict_comes_late(replayed: Replayed, chat: Chat) -> None:
    # The text stands already when the filter stops it. LangChain keeps the finish before that one.
    name = "azure/async-filter-late-verdict"
    upstream = replayed(name)
    raw, right = chat(upstream, name), chat(upstream, name, "--normalized")
    assert raw.updates[-1] == right.updates[-1] == "At dawn they met by the mill…"
    assert raw.end["finish"] == "stop"
    assert right.end["finish"] == "content_filter"
    (report,) = right.end["reports"]
    assert report["in"] == report["out"] == {"content": len(right.updates[-1])}
