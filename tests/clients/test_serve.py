"""openai-python and LangChain on ten streams: raw, and through `stream-normalizer serve`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import openai
import pytest

from normalizer.cli.demo.upstream import Server
from tests.broken import TEN, Broken, Failed, Held, Outcome, call, counts, upstream
from tests.clients import readers
from tests.proxy.conftest import Proxied


@pytest.fixture(scope="module")
def doors() -> Iterator[dict[str, str]]:
    """The upstream's address, and that of `stream-normalizer serve` before it."""
    with Server(upstream()) as server:
        proxied = Proxied("--upstream", server.address, "--no-access-log")
        yield {"raw": server.address, "serve": proxied.url}
        proxied.stop()


def outcome(got: readers.Outcome) -> Outcome:
    if isinstance(got, readers.Raises):
        return Failed(got.words)
    assert all(ident for ident, _, _ in got.calls) or got.finish != "tool_calls"
    calls = tuple(call(name or "", arguments) for _, name, arguments in got.calls)
    return Held(got.text, got.finish, calls, counts(got.usage))


def openai_python(url: str, broken: Broken, http: ModuleType) -> Outcome:
    with (
        http.Client() as http_client,
        openai.OpenAI(
            base_url=url, api_key="none", max_retries=0, http_client=http_client
        ) as client,
    ):
        return outcome(
            readers.outcome(lambda: readers.loop(client, broken.request, readers.UsageLoop))
        )


def langchain(url: str, broken: Broken, http: ModuleType) -> Outcome:
    langchain_openai = pytest.importorskip("langchain_openai")
    callbacks = pytest.importorskip("langchain_core.callbacks")
    tokens: list[str] = []

    class Tokens(callbacks.BaseCallbackHandler):  # type: ignore[misc,name-defined]
        def on_llm_new_token(self, token: str, **_: Any) -> None:
            tokens.append(token)

    request = broken.request

    def read() -> readers.Answer:
        with http.Client() as http_client, warnings.catch_warnings():
            # of pydantic, about the values that the raw streams have
            warnings.simplefilter("ignore")
            chat = langchain_openai.ChatOpenAI(
                base_url=url,
                api_key="none",
                max_retries=0,
                model=request["model"],
                streaming=True,
                stream_usage="stream_options" in request,
                callbacks=[Tokens()],
                http_client=http_client,
            )
            messages = [(message["role"], message["content"]) for message in request["messages"]]
            given = {key: request[key] for key in ("tools", "functions") if key in request}
            return readers.of_message(tokens, chat.invoke(messages, **given))

    return outcome(readers.outcome(read))


READERS = {"openai-python": openai_python, "langchain": langchain}


@pytest.mark.parametrize("broken", TEN, ids=lambda one: one.name)
@pytest.mark.parametrize("client", READERS)
def test_broken_without(
    client: str, broken: Broken, doors: dict[str, str], http: ModuleType
) -> None:
    got = READERS[client](f"{doors['raw']}/{broken.name}/v1", broken, http)
    assert got == broken.raw[client]


@pytest.mark.parametrize("broken", TEN, ids=lambda one: one.name)
@pytest.mark.parametrize("client", READERS)
def test_right_with(client: str, broken: Broken, doors: dict[str, str], http: ModuleType) -> None:
    got = READERS[client](f"{doors['serve']}/{broken.name}/v1", broken, http)
    assert got == broken.right
