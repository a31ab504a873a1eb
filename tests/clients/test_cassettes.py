"""openai-python on every cassette: what went in comes out of the client, through either door."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from normalizer import Report
from normalizer.cassette import load
from normalizer.cli.demo.upstream import base_path
from tests.clients import readers
from tests.clients.cases import CASSETTES
from tests.clients.conftest import Door
from tests.clients.readers import Answer, Raises

pytestmark = [
    pytest.mark.parametrize("door", ["transport", "middleware"], indirect=True),
    pytest.mark.parametrize("name", CASSETTES),
]


def asked(name: str) -> dict[str, Any]:
    request: dict[str, Any] = json.loads(load(CASSETTES[name]).interactions[0].request.body)
    return request


def reader(name: str) -> type[readers.Loop]:
    return readers.LegacyUsageLoop if "prompt" in asked(name) else readers.UsageLoop


def check(name: str, got: readers.Outcome, report: Report) -> None:
    if report.error is not None:
        assert isinstance(got, Raises)
        assert report.error["message"] in got.words
        return
    assert isinstance(got, Answer)
    # what the client has is what we sent, and that is what came
    assert len(got.text) == report.characters_out.get("content", 0)
    for kind in ("content", "reasoning", "refusal"):
        assert report.characters_out.get(kind, 0) == report.characters_in.get(kind, 0)
    assert got.finish in report.finish.values()
    if got.finish == "tool_calls":
        assert (
            sum(len(arguments) for _, _, arguments in got.calls)
            == (report.characters_out["arguments"])
        )
        assert all(ident and called for ident, called, _ in got.calls)
    if "stream_options" in asked(name):
        assert got.usage == _tokens(report)


def _tokens(report: Report) -> tuple[int, int] | None:
    usage = report.usage
    return (usage["prompt_tokens"], usage["completion_tokens"]) if usage else None


def given(name: str, door: Door) -> dict[str, Any]:
    url = f"{door.address}/{name}{base_path(load(CASSETTES[name]))}"
    return {"base_url": url, "api_key": "none", "max_retries": 0}


def test_loop(name: str, door: Door) -> None:
    with openai.OpenAI(**given(name, door), http_client=door.client()) as client:
        got = readers.outcome(lambda: readers.loop(client, asked(name), reader(name)))
    check(name, got, door.report())


@pytest.mark.anyio
async def test_async_loop(name: str, door: Door) -> None:
    http_client = door.client(asynchronous=True)
    async with openai.AsyncOpenAI(**given(name, door), http_client=http_client) as client:
        got = await readers.async_outcome(readers.async_loop(client, asked(name), reader(name)))
    check(name, got, door.report())
