"""What each Python client makes of an answer of the Responses API.

Each reader is what the client's own pages show; it takes the base URL and, for the transport, the
httpx2 clients to ask with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import openai
from agents import Agent, FunctionTool, OpenAIResponsesModel, RunConfig, Runner
from langchain_openai import ChatOpenAI
from pydantic_ai import messages as parts
from pydantic_ai.direct import model_request_stream
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIResponsesModel as PydanticModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.tools import ToolDefinition

from normalizer import NormalizingTransport
from tests.vendors.held import Failed, Held, Outcome, call

QUESTION = "Where does Oslo lie?"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def _http(normalized: bool) -> httpx2.AsyncClient:
    # without verification only because to load certificates takes longer than an answer
    transport = NormalizingTransport(verify=False) if normalized else None
    return httpx2.AsyncClient(transport=transport, verify=False)


def _client(base_url: str, http: httpx2.AsyncClient) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=base_url, api_key="sk-none", max_retries=0, http_client=http)


def _calls(items: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(call(one.name, one.arguments) for one in items if one.type == "function_call")


async def openai_create(base_url: str, http: httpx2.AsyncClient) -> Held:
    text, response = "", None
    async for event in await _client(base_url, http).responses.create(
        model="m", input=QUESTION, stream=True
    ):
        if event.type == "response.output_text.delta":
            text += event.delta
        elif event.type in ("response.completed", "response.incomplete"):
            response = event.response
        elif event.type == "response.failed":
            raise RuntimeError(event.response.error)
    if response is None:
        # the loop ended as it does after a whole answer
        return Held(text)
    return Held(text, response.output_text, _calls(response.output))


async def openai_stream(base_url: str, http: httpx2.AsyncClient) -> Held:
    text = ""
    async with _client(base_url, http).responses.stream(model="m", input=QUESTION) as stream:
        async for event in stream:
            if event.type == "response.output_text.delta":
                text += event.delta
            elif event.type == "response.failed":
                raise RuntimeError(event.response.error)
        response = await stream.get_final_response()
    return Held(text, response.output_text, _calls(response.output))


async def openai_agents(base_url: str, http: httpx2.AsyncClient) -> Held:
    called: list[tuple[str, Any]] = []

    async def get_weather(context: Any, arguments: str) -> str:
        called.append(call("get_weather", arguments))
        return ""

    agent = Agent(
        "weather",
        model=OpenAIResponsesModel("m", _client(base_url, http)),
        tools=[FunctionTool("get_weather", "", SCHEMA, get_weather)],
        tool_use_behavior="stop_on_first_tool",
    )
    run = Runner.run_streamed(agent, QUESTION, run_config=RunConfig(tracing_disabled=True))
    text = ""
    async for event in run.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            text += event.data.delta
    return Held(text, run.final_output, tuple(called))


async def langchain(base_url: str, http: httpx2.AsyncClient) -> Held:
    chat = ChatOpenAI(
        model="m",
        base_url=base_url,
        api_key="sk-none",
        max_retries=0,
        http_async_client=http,
        use_responses_api=True,
        streaming=True,
    )
    text, whole = "", None
    async for chunk in chat.astream(QUESTION):
        text += chunk.text
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    calls = tuple((one["name"], one["args"]) for one in whole.tool_calls)
    return Held(text, whole.text, calls)


async def pydantic_ai(base_url: str, http: httpx2.AsyncClient) -> Held:
    provider = OpenAIProvider(openai_client=_client(base_url, http))
    asked = ModelRequestParameters(
        function_tools=[ToolDefinition(name="get_weather", parameters_json_schema=SCHEMA)]
    )
    text = ""
    async with model_request_stream(
        PydanticModel("m", provider=provider),
        [parts.ModelRequest.user_text_prompt(QUESTION)],
        model_request_parameters=asked,
    ) as stream:
        async for event in stream:
            match event:
                case parts.PartStartEvent(part=parts.TextPart(content=more)):
                    text += more
                case parts.PartDeltaEvent(delta=parts.TextPartDelta(content_delta=more)):
                    text += more
        response = stream.get()
    calls = tuple((one.tool_name, one.args_as_dict()) for one in response.tool_calls)
    return Held(text, response.text or "", calls)


Reader = Callable[[str, httpx2.AsyncClient], Awaitable[Held]]

READERS: dict[str, Reader] = {
    "oc": openai_create,
    "os": openai_stream,
    "ag": openai_agents,
    "lc": langchain,
    "pa": pydantic_ai,
}


def read(name: str, base_url: str, seconds: float, *, normalized: bool = False) -> Outcome:
    """What the user of the client ``name`` holds; ``normalized``: over our transport."""

    async def reading() -> Held:
        async with _http(normalized) as http, asyncio.timeout(seconds):
            return await READERS[name](base_url, http)

    try:
        return asyncio.run(reading())
    except Exception as error:  # whatever a client raises at its user
        return Failed(f"{type(error).__name__}: {error}")
