"""Probes: the fixed set of requests that `check` sends to a live server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2

from normalizer import RequestInfo
from normalizer.cli.check.lint import Answer, End, lint
from normalizer.cli.check.notes import notes
from normalizer.cli.group import Failure

_CHAT, _COMPLETIONS = "chat/completions", "completions"
_MOST = 16 * 1024 * 1024  # bytes of one answer: a model may never stop


class Probe(NamedTuple):
    """A request without its model: name, path and body."""

    name: str
    path: str
    body: dict[str, Any]


def _asked(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city, right now.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
_HELLO = {"messages": _asked("Say hello in five words."), "stream": True, "max_tokens": 256}
_CITIES = "What is the weather in Paris, in Tokyo and in Lima? Call the tool once for each of them."

PROBES = (
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
            "messages": _asked("What is the weather in Paris? Use the tool."),
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
        _COMPLETIONS,
        {"prompt": "Once upon a time", "stream": True, "max_tokens": 16},
    ),
    # Every server has to refuse it. The form of its refusal is checked.
    Probe("error", _CHAT, {"messages": "no list", "stream": True, "max_tokens": 1}),
)


class Server:
    """A live server with an API like OpenAI's. Use it as a context manager.

    ``url`` is its base URL, most often with the path ``/v1``. ``key`` is its API key. ``timeout``
    is the longest silence, in seconds.
    """

    def __init__(self, url: str, *, key: str | None, timeout: float) -> None:
        if not urlsplit(url).hostname:
            raise Failure(f"{url} is not the URL of a server, such as http://localhost:8000/v1")
        for ending in (_CHAT, _COMPLETIONS):
            url = url.rstrip("/").removesuffix(f"/{ending}")
        self.url = url
        headers = {"accept-encoding": "identity"}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        self._client = httpx2.Client(headers=headers, timeout=timeout)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def model(self) -> str:
        """Return the only model of the server. Raises `Failure` if it has several or none."""
        try:
            answer = self._client.get(f"{self.url}/models")
            if answer.status_code in (401, 403):
                said = Answer(
                    name="models",
                    body=answer.content,
                    request=RequestInfo.parse("/v1/chat/completions"),
                    status=answer.status_code,
                )
                raise Failure(f"{self.url}/models: {next(notes(lint(said)))}")
            listed = [str(one["id"]) for one in answer.json()["data"]]
        except httpx2.TransportError as error:
            raise self._failure(error) from None
        except (ValueError, KeyError, TypeError):
            listed = []
        if len(listed) == 1:
            return listed[0]
        there = f"; it has {', '.join(sorted(listed)[:20])}" if listed else ""
        raise Failure(f"{self.url}: choose a model with --model{there}")

    def ask(self, probe: Probe, model: str) -> Answer:
        """Send a probe and read its answer. Raises `Failure` if the server cannot be reached."""
        body = {"model": model, **probe.body}
        url = f"{self.url}/{probe.path}"
        pieces: list[bytes] = []
        end: End = "complete"
        try:
            with self._client.stream("POST", url, json=body) as response:
                try:
                    end = _read(response.iter_bytes(), pieces)
                except httpx2.TimeoutException:
                    end = "timeout"
                except httpx2.TransportError:
                    end = "cut"
        except httpx2.TransportError as error:
            raise self._failure(error) from None
        return Answer(
            name=probe.name,
            probe=probe.name,
            server=self.url,
            location=response.headers.get("location", ""),
            body=b"".join(pieces),
            request=RequestInfo.parse(url, json.dumps(body).encode()),
            status=response.status_code,
            end=end,
        )

    def _failure(self, error: httpx2.TransportError) -> Failure:
        if isinstance(error, httpx2.TimeoutException):
            return Failure(f"{self.url}: no answer within the timeout (--timeout SECONDS)")
        return Failure(f"{self.url} cannot be reached: {error}; is the server running?")


def _read(body: Iterable[bytes], pieces: list[bytes]) -> End:
    size = 0
    for piece in body:
        pieces.append(piece)
        size += len(piece)
        if size > _MOST:
            return "closed"
    return "complete"


def stops(probe: Probe, status: int) -> bool:
    """Return whether more probes make no sense: the key is wrong, or the API or model is missing.

    A server without the legacy completions may have everything else.
    """
    return status in (401, 403) or (status == 404 and probe.path == _CHAT)


def chosen(names: tuple[str, ...]) -> Iterator[Probe]:
    """Yield the probes with these names, or all probes if there are no names."""
    yield from (probe for probe in PROBES if not names or probe.name in names)
