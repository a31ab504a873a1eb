"""Somebody else's tests, which the tests of the pytest plugin write and run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from normalizer.cassette.format import (
    Cassette,
    Interaction,
    Metadata,
    RecordedRequest,
    RecordedResponse,
    dump,
    load,
)
from tests.conftest import DONE, HELLO, ROLE, STOP, answering

# A session within this one unloads what it has loaded, so that the next would load it again.
for each in ("httpx", "httpx2", "vcr", "normalizer.cassette.replay", "pytest_recording._vcr"):
    importlib.import_module(each)

STREAM = [ROLE, HELLO, STOP, DONE]

# What is asked for, and read piece by piece, by each of the four clients.
ASKING = """
import asyncio, sys
import httpx, httpx2, pytest

URL = {url!r}

def ask(transport, library=httpx, question="q"):
    with library.Client(transport=transport) as client:
        with client.stream("POST", URL, json={{"stream": True, "q": question}}) as answer:
            return list(answer.iter_raw())

async def aask(transport, library, question="q"):
    async with library.AsyncClient(transport=transport) as client:
        async with client.stream("POST", URL, json={{"stream": True, "q": question}}) as answer:
            return [piece async for piece in answer.aiter_raw()]
"""


class Project:
    """Somebody's tests, and an upstream that counts what it is asked."""

    def __init__(self, pytester: pytest.Pytester, serve: Callable[[Any], str]) -> None:
        self.pytester = pytester
        self.asked = 0
        upstream = answering(*STREAM)

        async def counting(scope: Any, receive: Any, send: Any) -> None:
            self.asked += 1
            await upstream(scope, receive, send)

        self.url = serve(counting) + "/v1/chat/completions"

    def write(self, source: str, **files: str) -> None:
        self.pytester.makepyfile(
            test_it=ASKING.format(url=self.url) + source,
            **{name: ASKING.format(url=self.url) + text for name, text in files.items()},
        )

    def run(self, *arguments: str) -> pytest.RunResult:
        # without the filters of the session that this is a test of, and without Hypothesis, which
        # each of them would load anew
        return self.pytester.runpytest("-Wdefault", "-pno:hypothesispytest", *arguments)

    def cassette(self, name: str, module: str = "test_it") -> Path:
        return self.pytester.path / "cassettes" / module / name

    def record(self, name: str, *questions: str, module: str = "test_it") -> None:
        """Write a cassette as if these had been asked."""
        dump(
            Cassette(
                Metadata(),
                tuple(
                    Interaction(
                        RecordedRequest(
                            method="POST",
                            uri=self.url,
                            body=b'{"stream":true,"q":"%s"}' % question.encode(),
                        ),
                        RecordedResponse.from_chunks(STREAM, times=[1, 2, 3, 4]),
                    )
                    for question in questions
                ),
            ),
            self.cassette(name, module),
        )

    def questions(self, name: str) -> list[str]:
        return [
            each.request.body.decode().split('"')[-2]
            for each in load(self.cassette(name)).interactions
        ]


ONE = """
def test_one(stream_cassette):
    assert len(ask(stream_cassette.transport)) == 4
"""
