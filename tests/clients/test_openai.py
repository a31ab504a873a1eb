"""openai-python on the streams of `cases`: what it gets raw, and what it gets through us."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import openai
import pytest

from normalizer.doors.transport import NormalizingTransport
from tests.clients import readers
from tests.clients.cases import BROKEN, CHAT, COMPLETIONS, Case
from tests.clients.conftest import Door, Servers
from tests.clients.readers import Answer, Outcome, Raises

LOOPS = {
    "loop": readers.Loop,
    "until_finish": readers.UntilFinish,
    "completions": readers.LegacyLoop,
}


def pairs(*wanted: str) -> list[Any]:
    """Every case with every reader that it is for."""
    return [
        pytest.param(case, reader, id=f"{case.name}-{reader}")
        for case in [*CHAT, *COMPLETIONS]
        for reader in case.readers
        if reader in wanted
    ]


def asked(case: Case) -> dict[str, Any]:
    prompt: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
    if case in COMPLETIONS:
        prompt = {"prompt": "hello"}
    return {"model": "m", "stream": True, **prompt, **case.request}


def sync_client(door: Door, case: Case) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{door.address}/{case.name}/v1",
        api_key="none",
        max_retries=0,
        http_client=door.client(),
    )


def async_client(door: Door, case: Case) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=f"{door.address}/{case.name}/v1",
        api_key="none",
        max_retries=0,
        http_client=door.client(asynchronous=True),
    )


def check(case: Case, reader: str, door: Door, got: Outcome) -> None:
    report = None if door.name == "raw" else door.report()
    expected = case.expected(reader, door.name)
    if isinstance(expected, Raises):
        assert expected.matches(got), f"expected {expected}, got {got}"
    else:
        assert got == expected
    if report is not None:
        assert report.codes, "nothing was repaired"
        if reader == "loop" and isinstance(got, Answer):
            assert len(got.text) == report.characters_out.get("content", 0)


@pytest.mark.parametrize(("case", "reader"), pairs("loop", "until_finish", "completions"))
def test_loop(case: Case, reader: str, door: Door) -> None:
    with sync_client(door, case) as client:
        got = readers.outcome(lambda: readers.loop(client, asked(case), LOOPS[reader]))
    check(case, reader, door, got)


@pytest.mark.anyio
@pytest.mark.parametrize(("case", "reader"), pairs("loop", "until_finish", "completions"))
async def test_async_loop(case: Case, reader: str, door: Door) -> None:
    async with async_client(door, case) as client:
        got = await readers.async_outcome(readers.async_loop(client, asked(case), LOOPS[reader]))
    check(case, reader, door, got)


@pytest.mark.parametrize(("case", "reader"), pairs("helper"))
def test_helper(case: Case, reader: str, door: Door) -> None:
    with sync_client(door, case) as client:
        got = readers.outcome(lambda: readers.helper(client, asked(case)))
    check(case, reader, door, got)


@pytest.mark.anyio
@pytest.mark.parametrize(("case", "reader"), pairs("helper"))
async def test_async_helper(case: Case, reader: str, door: Door) -> None:
    async with async_client(door, case) as client:
        got = await readers.async_outcome(readers.async_helper(client, asked(case)))
    check(case, reader, door, got)


AZURE = [pytest.param(case, id=case.name) for case in CHAT if case.name.startswith("azure-")]


def azure(case: Case, door: Door) -> dict[str, Any]:
    """Its clients ask below ``/openai/deployments/<name>/``, with the version as a query."""
    return {
        "azure_endpoint": f"{door.address}/{case.name}",
        "azure_deployment": "gpt-4o",
        "api_version": "2024-10-21",
        "api_key": "none",
        "max_retries": 0,
    }


@pytest.mark.parametrize("case", AZURE)
def test_azure_loop(case: Case, door: Door) -> None:
    with openai.AzureOpenAI(**azure(case, door), http_client=door.client()) as client:
        got = readers.outcome(lambda: readers.loop(client, asked(case)))
    check(case, "loop", door, got)


@pytest.mark.anyio
@pytest.mark.parametrize("case", AZURE)
async def test_azure_async_loop(case: Case, door: Door) -> None:
    http_client = door.client(asynchronous=True)
    async with openai.AsyncAzureOpenAI(**azure(case, door), http_client=http_client) as client:
        got = await readers.async_outcome(readers.async_loop(client, asked(case)))
    check(case, "loop", door, got)


def test_broken_connection(door: Door) -> None:
    with sync_client(door, BROKEN) as client:
        got = readers.outcome(lambda: readers.loop(client, asked(BROKEN)))
    if door.name == "raw":
        # which of them depends on the versions of openai and of its HTTP library
        assert isinstance(got, Raises)
        assert got.exception in ("APIConnectionError", "RemoteProtocolError")
    else:
        # what was said before is there, and then one error that says what happened
        assert Raises("APIError", "upstream_truncated").matches(got)
        report = door.report()
        assert report.end == "truncated"
        assert report.characters_out == {"content": len("Grüß dich")}


def test_the_report_is_at_the_response(servers: Servers, http: ModuleType) -> None:
    (case,) = [case for case in CHAT if case.name == "azure-opening-chunk"]
    door = Door("transport", servers.raw, http, NormalizingTransport(), None)
    with sync_client(door, case) as client:
        raw = client.chat.completions.with_raw_response.create(**asked(case))
        report = raw.http_response.extensions["normalizer"]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse())
    assert report.characters_out == {"content": len(text)}
    assert report.end == "done"
    assert report.codes
