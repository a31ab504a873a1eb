"""What the users of anthropic-python, langchain-anthropic and pydantic-ai hold of a stream.

`READERS` has a function for each: it takes the address of the API, a transport or None, and the
seconds that it may wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import httpx2

from tests.stories.conftest import missing
from tests.vendors.messages.deviations import Held, Hung, Outcome, Raised

MODEL = "m"
MAX_TOKENS = 1000
# of deltas
MEMBERS = ("text", "thinking", "partial_json")
SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}}
TOOL = {"name": "Bash", "description": "Run a command", "input_schema": SCHEMA}
ASKED: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": MAX_TOKENS,
    "messages": [{"role": "user", "content": "What is in note.txt?"}],
    "tools": [TOOL],
}


def library(name: str) -> Any:
    """A module of the environment that tools/test makes for these tests."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        missing(f"{name.partition('.')[0]} (.venv-vendors-messages)")


def outcome(read: Callable[[], Held]) -> Outcome:
    """What ``read`` returns or raises, whatever that is."""
    anthropic = library("anthropic")
    with warnings.catch_warnings():
        # of pydantic, about the values that the raw streams have
        warnings.simplefilter("ignore")
        try:
            return read()
        except Exception as error:
            # A broken stream makes clients raise anything; pydantic-ai wraps a timeout.
            timeouts = (anthropic.APITimeoutError, httpx2.TimeoutException)
            if isinstance(error, timeouts) or isinstance(error.__cause__, timeouts):
                return Hung()
            return Raised(f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def anthropic_python(url: str, transport: Any, patience: float) -> Iterator[Any]:
    """A client of anthropic-python."""
    with (
        httpx2.Client(transport=transport, timeout=patience) as http_client,
        library("anthropic").Anthropic(
            base_url=url, api_key="none", max_retries=0, timeout=patience, http_client=http_client
        ) as client,
    ):
        yield client


class Loop:
    """What a loop over events keeps, as the documentation shows it: a method for each type."""

    def __init__(self) -> None:
        self._blocks: dict[int, list[Any]] = {}
        self._calls: list[tuple[str, Any]] = []
        self._stop: str | None = None
        self._usage = (0, 0)

    def message_start(self, event: Any) -> None:
        self._usage = (event.message.usage.input_tokens, event.message.usage.output_tokens)

    def content_block_start(self, event: Any) -> None:
        self._blocks[event.index] = [event.content_block, ""]

    def content_block_delta(self, event: Any) -> None:
        for member in MEMBERS:
            self._blocks[event.index][1] += getattr(event.delta, member, "")

    def content_block_stop(self, event: Any) -> None:
        block, said = self._blocks[event.index]
        # An agent runs its tool here.
        if block.type == "tool_use":
            self._calls.append((block.name, json.loads(said or "{}")))

    def message_delta(self, event: Any) -> None:
        self._stop = event.delta.stop_reason
        self._usage = (event.usage.input_tokens or self._usage[0], event.usage.output_tokens)

    def message_stop(self, _: Any) -> None:
        pass

    def held(self) -> Held:
        text, thinking = (
            "".join(said for block, said in self._blocks.values() if block.type == kind)
            for kind in ("text", "thinking")
        )
        return Held(text, thinking, tuple(self._calls), self._stop, self._usage)


def create(url: str, transport: Any, patience: float) -> Held:
    """anthropic-python's ``create(stream=True)``."""
    loop = Loop()
    with anthropic_python(url, transport, patience) as client:
        for event in client.messages.create(**ASKED, stream=True):
            getattr(loop, event.type)(event)
    return loop.held()


def of_kinds(blocks: Any, member: str, *kinds: str) -> list[list[Any]]:
    """The blocks of each kind."""
    return [[one for one in blocks if getattr(one, member) == kind] for kind in kinds]


def stream(url: str, transport: Any, patience: float) -> Held:
    """Its own accumulation: ``messages.stream()`` and ``get_final_message()``."""
    with (
        anthropic_python(url, transport, patience) as client,
        client.messages.stream(**ASKED) as answer,
    ):
        message = answer.get_final_message()
    texts, thoughts, calls = of_kinds(message.content, "type", "text", "thinking", "tool_use")
    return Held(
        "".join(one.text for one in texts),
        "".join(one.thinking for one in thoughts),
        tuple((one.name, one.input) for one in calls),
        message.stop_reason,
        (message.usage.input_tokens, message.usage.output_tokens),
    )


def langchain(url: str, transport: Any, patience: float) -> Held:
    """langchain-anthropic's chunks, added up."""
    chat = library("langchain_anthropic").ChatAnthropic(
        model=MODEL,
        max_tokens=MAX_TOKENS,
        base_url=url,
        api_key="none",
        max_retries=0,
        timeout=patience,
    )
    with anthropic_python(url, transport, patience) as client:
        if transport is not None:
            # It takes no http_client: who wants one puts a client of anthropic-python in its place.
            vars(chat)["_client"] = client
        whole = None
        for chunk in chat.bind_tools([TOOL]).stream("What is in note.txt?"):
            whole = chunk if whole is None else whole + chunk
    if whole is None:
        return Held(usage=None)
    usage = whole.usage_metadata
    return Held(
        "".join(one["text"] for one in whole.content_blocks if one["type"] == "text"),
        "".join(one["reasoning"] for one in whole.content_blocks if one["type"] == "reasoning"),
        tuple((one["name"], one["args"]) for one in whole.tool_calls),
        whole.response_metadata.get("stop_reason"),
        usage and (usage["input_tokens"], usage["output_tokens"]),
    )


def pydantic_ai(url: str, transport: Any, patience: float) -> Held:
    """pydantic-ai's response; its ``finish_reason`` as the word that it was made of."""
    direct, messages = library("pydantic_ai.direct"), library("pydantic_ai.messages")
    models, anthropic = library("pydantic_ai.models"), library("anthropic")

    async def read() -> Any:
        async with (
            httpx2.AsyncClient(transport=transport, timeout=patience) as http_client,
            anthropic.AsyncAnthropic(
                base_url=url,
                api_key="none",
                max_retries=0,
                timeout=patience,
                http_client=http_client,
            ) as client,
        ):
            provider = library("pydantic_ai.providers.anthropic").AnthropicProvider(
                anthropic_client=client
            )
            model = library("pydantic_ai.models.anthropic").AnthropicModel(MODEL, provider=provider)
            tool = library("pydantic_ai.tools").ToolDefinition(
                name="Bash", parameters_json_schema=SCHEMA
            )
            async with direct.model_request_stream(
                model,
                [messages.ModelRequest.user_text_prompt("What is in note.txt?")],
                model_request_parameters=models.ModelRequestParameters(function_tools=[tool]),
            ) as streamed:
                async for _ in streamed:
                    pass
                return streamed.get()

    response = asyncio.run(read())
    texts, thoughts, calls = of_kinds(response.parts, "part_kind", "text", "thinking", "tool-call")
    return Held(
        "".join(one.content for one in texts),
        "".join(one.content for one in thoughts),
        tuple((one.tool_name, one.args_as_dict()) for one in calls),
        (response.provider_details or {}).get("finish_reason"),
        (response.usage.input_tokens, response.usage.output_tokens),
    )


READERS = {
    "create": create,
    "stream": stream,
    "langchain": langchain,
    "pydantic-ai": pydantic_ai,
}
