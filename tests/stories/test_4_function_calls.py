"""Story 4: function calls of api-for-open-llm. The page: docs/stories/4-function-calls.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import openai
import pytest

from tests.conftest import answering
from tests.proxy.conftest import Proxied
from tests.stories.conftest import Serve, asked

FUNCTION = "api-for-open-llm/function-call-ends-twice"
TOOL = "api-for-open-llm/tool-call-ends-twice"
THOUGHT = "Thought: 我需要查一下杭州的天气。"
ARGUMENTS = '{"city": "杭州"}'

Proxy = Callable[..., Proxied]
Replayed = Callable[[str], str]


class Turn(NamedTuple):
    """What an agent's loop has at the end of a stream."""

    text: str
    # name and arguments of each call, by either of the two ways to call
    calls: list[tuple[str, str]]
    finishes: list[str]


def turn(url: str, request: dict[str, Any]) -> Turn:
    text, finishes = "", []
    calls: dict[int, tuple[str, str]] = {}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-none", max_retries=0) as client:
        for chunk in client.chat.completions.create(**request):
            (choice,) = chunk.choices
            text += choice.delta.content or ""
            fragments = [(one.index, one.function) for one in choice.delta.tool_calls or []]
            if choice.delta.function_call is not None:
                fragments.append((0, choice.delta.function_call))
            for index, function in fragments:
                name, arguments = calls.get(index, ("", ""))
                calls[index] = (
                    name + (function.name or ""),
                    arguments + (function.arguments or ""),
                )
            if choice.finish_reason is not None:
                finishes.append(choice.finish_reason)
    return Turn(text, [calls[index] for index in sorted(calls)], finishes)


CALL = [("get_weather", ARGUMENTS)]


@pytest.mark.parametrize(
    ("name", "raw", "finish"),
    [
        (FUNCTION, ["function_call", "stop"], "function_call"),
        (TOOL, ["stop", "stop"], "tool_calls"),
    ],
)
def test_one_finish_of_the_right_kind(
    replayed: Replayed, proxy: Proxy, name: str, raw: list[str], finish: str
) -> None:
    upstream = replayed(name)
    # An agent that goes by the finish runs no tool: the last word is `stop`.
    assert turn(upstream, asked(name)) == Turn(THOUGHT, CALL, raw)
    assert turn(proxy(upstream).url, asked(name)) == Turn(THOUGHT, CALL, [finish])


# --- the call left in the text --------------------------------------------------------------------


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """A chunk in api-for-open-llm's form."""
    empty = {"content": None, "function_call": None, "role": None, "tool_calls": None}
    choice = {"delta": {**empty, **delta}, "finish_reason": finish, "index": 0, "logprobs": None}
    head = {"created": 1706692231, "model": "qwen-7b-chat", "object": "chat.completion.chunk"}
    return b"data: " + json.dumps({"id": "chatcmpl-3f1d", "choices": [choice], **head}).encode()


def left_in_the_text() -> Iterator[bytes]:
    """Qwen's ReAct template, whose call the server did not find: it comes as text, cut anywhere."""
    said = f"{THOUGHT}\nAction: get_weather\nAction Input: {ARGUMENTS}\nObservation:"
    yield _event({"role": "assistant", "content": ""})
    for start in range(0, len(said), 5):
        yield _event({"content": said[start : start + 5]})
    for delta in ({"content": ""}, {}):
        yield _event(delta, "stop")
    yield b"data: [DONE]"


@pytest.fixture
def upstream(serve: Serve) -> str:
    return serve(answering(*(event + b"\r\n\r\n" for event in left_in_the_text())))


def test_the_call_is_in_the_text_without_the_option(upstream: str, proxy: Proxy) -> None:
    for url in (upstream, proxy(upstream).url):
        got = turn(url, asked(TOOL))
        assert f"Action Input: {ARGUMENTS}" in got.text
        assert got.calls == []


def test_with_the_react_option_the_call_is_a_call(upstream: str, proxy: Proxy) -> None:
    proxied = proxy(upstream, "--text-tool-calls", "react")
    got = turn(proxied.url, asked(TOOL))
    assert got == Turn(f"{THOUGHT}\n", CALL, ["tool_calls"])
    assert "T432x1" in proxied.wait_for("repairs=")


def test_a_tool_that_was_not_offered_stays_text(upstream: str, proxy: Proxy) -> None:
    request = asked(TOOL)
    request["tools"][0]["function"]["name"] = "get_time"
    got = turn(proxy(upstream, "--text-tool-calls", "react").url, request)
    assert f"Action Input: {ARGUMENTS}" in got.text
    assert (got.calls, got.finishes) == ([], ["stop"])
