"""Story 1: OptiLLM behind a front end that streams. The page: docs/stories/1-optillm.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.clients.readers import Answer, Loop, UntilFinish, loop
from tests.conftest import DONE, ROLE, STOP, chunk
from tests.proxy.conftest import Proxied
from tests.stories.conftest import Ask, Serve

# As the cassettes were asked.
QUESTION = "What is two plus two?"
MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": QUESTION},
]
RECORDED = (
    "<thinking>Two plus two; <reflection>ok</reflection></thinking><output>Hello wörld 4</output>"
)
TOKENS = ["Two ", "plus ", "two ", "är ", "fyra ", "✓."]
ANSWER = "".join(TOKENS)
MODELS = ["moa-local", "re2-local", "none-local"]

Proxy = Callable[..., Proxied]
Replayed = Callable[[str], str]


async def completions(request: Request) -> Response:
    """A model server in OpenAI's own form, streaming or not, as OptiLLM's approaches ask."""
    body = await request.json()
    assert body["model"] == "local"
    if body.get("stream"):
        chunks = [ROLE, *(chunk({"content": token}) for token in TOKENS), STOP, DONE]
        return StreamingResponse(iter(chunks), media_type="text/event-stream")
    message = {"role": "assistant", "content": ANSWER, "refusal": None}
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": "stop"}
        for index in range(body.get("n") or 1)
    ]
    usage = {"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000}
    return JSONResponse({**head, "model": "local", "choices": choices, "usage": usage})


@pytest.fixture(scope="module")
def address(serve_module: Serve, optillm: Callable[[str], str]) -> str:
    """OptiLLM of today before a local upstream."""
    routes = [Route("/v1/chat/completions", completions, methods=["POST"])]
    return optillm(serve_module(Starlette(routes=routes)))


# --- in a browser ---------------------------------------------------------------------------------

RETRY = "Error, please try again."


@pytest.mark.parametrize("model", MODELS)
def test_today_s_answer_is_on_the_page(address: str, proxy: Proxy, ask: Ask, model: str) -> None:
    outcome = ask(proxy(address).url, QUESTION, model=model)
    assert outcome["request"] == {"model": model, "messages": MESSAGES, "stream": True}
    assert (outcome["answer"], outcome["error"]) == (ANSWER, "")


@pytest.mark.parametrize(
    ("name", "repair"),
    [
        # plain JSON, where a stream was asked for
        ("optillm/before-streaming", "B801x1"),
        # a chunk that does not say what it is
        ("optillm/first-streaming-moa", "E203x1"),
    ],
)
def test_the_oldest_s_answer_is_on_the_page(
    replayed: Replayed, proxy: Proxy, ask: Ask, name: str, repair: str
) -> None:
    upstream = replayed(name)
    raw = ask(upstream, QUESTION, model="moa-gpt-4o-mini")
    assert (raw["answer"], raw["error"]) == ("", RETRY)
    proxied = proxy(upstream)
    right = ask(proxied.url, QUESTION, model="moa-gpt-4o-mini")
    assert (right["answer"], right["error"]) == (RECORDED, "")
    # the operator sees why
    assert repair in proxied.wait_for("repairs=")


# --- with openai-python ---------------------------------------------------------------------------


def read(url: str, model: str, reader: type[Loop]) -> Answer:
    request: dict[str, Any] = {"model": model, "messages": MESSAGES, "stream": True}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-none", max_retries=0) as client:
        return loop(client, request, reader)


@pytest.mark.parametrize("model", MODELS)
def test_a_loop_that_leaves_at_the_finish(address: str, proxy: Proxy, model: str) -> None:
    raw = read(address, model, UntilFinish)
    # Approaches answer in one chunk, its text beside its finish; only `none-` has them apart.
    assert raw == Answer(ANSWER if model == "none-local" else "", "stop")
    assert read(proxy(address).url, model, UntilFinish) == Answer(ANSWER, "stop")


def test_a_loop_over_plain_json(replayed: Replayed, proxy: Proxy) -> None:
    upstream = replayed("optillm/before-streaming")
    assert read(upstream, "moa-gpt-4o-mini", Loop) == Answer("", None)
    assert read(proxy(upstream).url, "moa-gpt-4o-mini", Loop) == Answer(RECORDED, "stop")
