"""langchain-openai on the streams of `cases`, with a callback handler as applications have it."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain_openai", reason="tools/test has environments with langchain-openai")

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_openai import AzureChatOpenAI, ChatOpenAI

from tests.clients import readers
from tests.clients.cases import CHAT, Case
from tests.clients.conftest import Door
from tests.clients.readers import Answer, Outcome, Raises

CASES = [pytest.param(case, id=case.name) for case in CHAT if "langchain" in case.readers]


class Tokens(BaseCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_llm_new_token(self, token: str, **_: Any) -> None:
        self.seen.append(token)


class AsyncTokens(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[str] = []

    async def on_llm_new_token(self, token: str, **_: Any) -> None:
        self.seen.append(token)


def chat_openai(case: Case, door: Door, **http: Any) -> ChatOpenAI:
    return ChatOpenAI(base_url=f"{door.address}/{case.name}/v1", api_key="none", **COMMON, **http)


def azure_chat_openai(case: Case, door: Door, **http: Any) -> AzureChatOpenAI:
    return AzureChatOpenAI(
        azure_endpoint=f"{door.address}/{case.name}",
        azure_deployment="gpt-4o",
        api_version="2024-10-21",
        api_key="none",
        **COMMON,
        **http,
    )


MODELS = pytest.mark.parametrize("make", [chat_openai, azure_chat_openai])
# With stream_usage the request would ask for usage, and that is not what the cases answer.
COMMON: dict[str, Any] = {
    "model": "m",
    "max_retries": 0,
    "streaming": True,
    "stream_usage": False,
}


def check(case: Case, door: Door, got: Outcome, tokens: list[str]) -> None:
    report = None if door.name == "raw" else door.report()
    expected = case.expected("langchain", door.name)
    if isinstance(expected, Raises):
        assert expected.matches(got), f"expected {expected}, got {got}"
    else:
        assert got == expected
    if report is not None:
        # every token that went in, also where an error came after it
        assert len("".join(tokens)) == report.characters_out.get("content", 0)
        assert report.characters_out == report.characters_in
        if isinstance(got, Answer):
            assert report.finish == {0: got.finish}


@MODELS
@pytest.mark.parametrize("case", CASES)
def test_invoke(case: Case, door: Door, make: Any) -> None:
    handler = Tokens()

    def read() -> Answer:
        with door.client() as http:
            model = make(case, door, http_client=http).bind(**case.request)
            message = model.invoke("hello", config={"callbacks": [handler]})
        return readers.of_message(handler.seen, message)

    check(case, door, readers.outcome(read), handler.seen)


@pytest.mark.anyio
@MODELS
@pytest.mark.parametrize("case", CASES)
async def test_ainvoke(case: Case, door: Door, make: Any) -> None:
    handler = AsyncTokens()

    async def read() -> Answer:
        async with door.client(asynchronous=True) as http:
            model = make(case, door, http_async_client=http).bind(**case.request)
            message = await model.ainvoke("hello", config={"callbacks": [handler]})
        return readers.of_message(handler.seen, message)

    check(case, door, await readers.async_outcome(read()), handler.seen)
