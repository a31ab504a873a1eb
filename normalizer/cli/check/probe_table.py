"""The requests that `check` sends: a table for each API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Api = Literal["chat", "responses", "messages"]

COMPLETIONS = "completions"
_CHAT, _RESPONSES, _MESSAGES = "chat/completions", "responses", "messages"


class Probe(NamedTuple):
    """A request without its model: name, path and body."""

    name: str
    path: str
    body: dict[str, Any]


def _asked(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


_GREET = "Say hello in five words."
_PARIS = "What is the weather in Paris? Use the tool."
_CITIES = "What is the weather in Paris, in Tokyo and in Lima? Call the tool once for each of them."
_NAMED = {"name": "get_weather", "description": "The weather in a city, right now."}
_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
# the three ways of writing one tool
_WEATHER = {"type": "function", "function": {**_NAMED, "parameters": _SCHEMA}}
_FLAT_WEATHER = {"type": "function", **_NAMED, "parameters": _SCHEMA, "strict": False}
_INPUT_WEATHER = {**_NAMED, "input_schema": _SCHEMA}

_HELLO = {"messages": _asked(_GREET), "stream": True, "max_tokens": 256}

_CHAT_PROBES = (
    Probe("text", _CHAT, _HELLO),
    Probe("usage", _CHAT, {**_HELLO, "stream_options": {"include_usage": True}}),
    Probe("n=2", _CHAT, {**_HELLO, "n": 2}),
    Probe(
        "max_tokens=7",
        _CHAT,
        {"messages": _asked("Count from one to fifty, in words."), "stream": True, "max_tokens": 7},
    ),
    Probe(
        "tools",
        _CHAT,
        {
            "messages": _asked(_PARIS),
            "tools": [_WEATHER],
            "stream": True,
            "max_tokens": 512,
        },
    ),
    Probe(
        "parallel-tools",
        _CHAT,
        {"messages": _asked(_CITIES), "tools": [_WEATHER], "stream": True, "max_tokens": 1024},
    ),
    Probe("no-stream", _CHAT, {**_HELLO, "stream": False}),
    Probe(
        "completions",
        COMPLETIONS,
        {"prompt": "Once upon a time", "stream": True, "max_tokens": 16},
    ),
    # Every server has to refuse it. The form of its refusal is checked.
    Probe("error", _CHAT, {"messages": "no list", "stream": True, "max_tokens": 1}),
)

_ASK = {"stream": True, "max_output_tokens": 512}
_RESPONSES_PROBES = (
    Probe("text", _RESPONSES, {"input": _GREET, **_ASK}),
    Probe("tools", _RESPONSES, {"input": _PARIS, "tools": [_FLAT_WEATHER], **_ASK}),
    Probe("parallel-tools", _RESPONSES, {"input": _CITIES, "tools": [_FLAT_WEATHER], **_ASK}),
    Probe("no-stream", _RESPONSES, {"input": _GREET, **_ASK, "stream": False}),
    Probe("error", _RESPONSES, {"input": 7, **_ASK}),
)

_SAY = {"stream": True, "max_tokens": 512}
_MESSAGES_PROBES = (
    Probe("text", _MESSAGES, {"messages": _asked(_GREET), **_SAY}),
    Probe(
        "max_tokens=7",
        _MESSAGES,
        {"messages": _asked("Count from one to fifty, in words."), "stream": True, "max_tokens": 7},
    ),
    Probe("tools", _MESSAGES, {"messages": _asked(_PARIS), "tools": [_INPUT_WEATHER], **_SAY}),
    Probe(
        "parallel-tools",
        _MESSAGES,
        {"messages": _asked(_CITIES), "tools": [_INPUT_WEATHER], **_SAY},
    ),
    Probe("no-stream", _MESSAGES, {"messages": _asked(_GREET), **_SAY, "stream": False}),
    # a list: the paths of other APIs end in the same word, and their bodies have none
    Probe("error", _MESSAGES, {"messages": [{"role": 7}], **_SAY}),
)

PROBES: Mapping[Api, tuple[Probe, ...]] = {
    "chat": _CHAT_PROBES,
    "responses": _RESPONSES_PROBES,
    "messages": _MESSAGES_PROBES,
}
APIS = tuple(PROBES)

# The names of all probes. Most of them are in every API.
NAMES = tuple(dict.fromkeys(probe.name for probes in PROBES.values() for probe in probes))


def api_of(url: str) -> Api:
    """Return the API that the path of a URL names: a chat, unless its last word is another.

    Example::

        api_of("http://localhost:8000/v1/responses")  # "responses"
    """
    last = url.rstrip("/").rpartition("/")[2]
    return "responses" if last == _RESPONSES else "messages" if last == _MESSAGES else "chat"


def base_of(url: str) -> str:
    """Return a URL without the path of an endpoint.

    Example::

        base_of("http://localhost:8000/v1/chat/completions")  # "http://localhost:8000/v1"
    """
    for ending in (_CHAT, COMPLETIONS, _RESPONSES, _MESSAGES):
        url = url.rstrip("/").removesuffix(f"/{ending}")
    return url


def chosen(api: Api, names: tuple[str, ...]) -> tuple[Probe, ...]:
    """Return the probes of an API with these names, or all of them if there are no names."""
    return tuple(probe for probe in PROBES[api] if not names or probe.name in names)
