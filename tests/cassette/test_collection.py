"""The collection: each file loads, says where it comes from, holds no secret, plays in vcrpy."""

from __future__ import annotations

import collections
import datetime
import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import vcr  # type: ignore[import-untyped]

from normalizer import RequestInfo
from normalizer.cassette import load, verify
from normalizer.cassette.format import dumps

ROOT = Path(__file__).parents[2]
PATHS = sorted((ROOT / "cassettes").glob("*/*.yaml"))

SECRET = re.compile(
    r"sk-[\w-]{16,}|Bearer\s+\S|AKIA[0-9A-Z]{16}|gh[pousr]_\w{20,}|eyJ[\w-]{20,}\.eyJ|set-cookie"
    r"|-----BEGIN|(?:api[-_]?key|authorization|organization|request-id)[\"']?\s*:"
    r"|(?<![\w:/.])/(?:home|root|Users|tmp|work)/\w",
    re.IGNORECASE,
)

# Addresses that stand in the providers' own documentation; any other host could be somebody's own.
PUBLIC = {
    "127.0.0.1",
    "api.anthropic.com",
    "api.deepseek.com",
    "api.githubcopilot.com",
    "api.groq.com",
    "api.minimax.io",
    "api.mistral.ai",
    "api.moonshot.cn",
    "api.openai.com",
    "api.perplexity.ai",
    "api.together.xyz",
    "chatgpt.com",
    "dashscope.aliyuncs.com",
    "generativelanguage.googleapis.com",
    "openrouter.ai",
}

each = pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")


def test_there_are_cassettes() -> None:
    upstreams = {path.parent.name for path in PATHS}
    assert {"azure", "ollama", "optillm", "vllm", "llama-cpp-python"} <= upstreams
    assert len(upstreams) >= 10
    assert len(PATHS) >= 40
    apis = collections.Counter(
        RequestInfo.parse(urlsplit(each.request.uri).path, each.request.body).endpoint
        for path in PATHS
        for each in load(path).interactions
    )
    assert apis["responses"] >= 12
    assert apis["messages"] >= 10


@each
def test_it_is_in_our_form(path: Path) -> None:
    # who edits one by hand is told to put it through `dump`
    assert dumps(load(path)) == path.read_text(encoding="utf-8")


@each
def test_it_says_where_it_comes_from(path: Path) -> None:
    metadata = load(path).metadata

    assert metadata.server
    assert metadata.version
    assert metadata.note.endswith(".")
    assert datetime.date.fromisoformat(metadata.date)
    assert metadata.origin in ("recorded", "reconstructed")
    if metadata.origin == "reconstructed":
        assert metadata.sources
        assert "made up" in metadata.note
    assert all(source.startswith("https://") for source in metadata.sources)


@each
def test_the_request_is_whole(path: Path) -> None:
    for interaction in load(path).interactions:
        body = json.loads(interaction.request.body)
        address = urlsplit(interaction.request.uri)

        assert isinstance(body["stream"], bool)
        assert body["model"]
        assert body.get("messages") or body.get("prompt") or body.get("input")
        assert RequestInfo.parse(address.path, interaction.request.body).endpoint is not None
        assert address.hostname in PUBLIC or (address.hostname or "").startswith("example-")
        assert {name for name, _ in interaction.request.headers} <= {"accept", "content-type"}
        assert len(interaction.response.times) == len(interaction.response.chunks) > 0


@each
def test_it_holds_no_secret(path: Path) -> None:
    assert SECRET.findall(path.read_text(encoding="utf-8")) == []
    assert verify(load(path)) == []


@each
def test_plain_vcrpy_plays_it(path: Path) -> None:
    with vcr.use_cassette(str(path), record_mode="none"), httpx.Client() as client:
        for interaction in load(path).interactions:
            sent = interaction.request
            response = client.post(sent.uri, content=sent.body, headers=list(sent.headers))

            assert response.status_code == interaction.response.status
            assert response.content == interaction.response.body


@pytest.mark.parametrize(
    "text",
    [
        "authorization: Bearer abc",
        '"api_key": "x"',
        "sk-proj-abcdefghijklmnop",
        "set-cookie: a=b",
        "load /home/someone/model.gguf",
    ],
)
def test_a_secret_would_be_found(text: str) -> None:
    assert SECRET.search(text)


def test_the_table_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "cassette_table", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
