"""What the normalizer needs to know about the request of a stream."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson

Endpoint = Literal["chat", "completions", "responses", "messages"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RequestInfo:
    """The facts of a request that decide how its answer is repaired. None: unknown.

    Create it with `RequestInfo.parse`.

    * ``endpoint``: ``"chat"`` for paths that end in ``/chat/completions``, ``"completions"`` for
      other paths that end in ``/completions``, ``"responses"`` for paths that end in
      ``/responses``, ``"messages"`` for paths that end in ``/messages`` unless the body has no list
      ``messages``, or the value from the option ``paths``. None for all other paths: their answers
      are never changed.
    * ``stream``, ``include_usage``, ``n``, ``model``, ``max_tokens``: from the body.
    * ``tools``, ``functions``: whether the body offers any.
    * ``tool_names``: the names of those; ``tool_parameters``: the JSON schemas of their parameters.
    * ``knows_tools``: whether enough of the body is known to tell that a tool was not offered: it
      has ``messages``, ``prompt``, ``tools`` or ``functions``.
    * ``forced``: whether the body demands one tool by name.
    * ``codex``: whether the headers name Codex as the client. None: they name nobody.
    """

    endpoint: Endpoint | None
    stream: bool | None = None
    include_usage: bool | None = None
    n: int | None = None
    model: str | None = None
    max_tokens: int | None = None
    tools: bool = False
    functions: bool = False
    forced: bool = False
    tool_names: frozenset[str] = frozenset()
    knows_tools: bool = False
    codex: bool | None = None
    # no part of what makes two of them equal: a schema cannot be hashed
    tool_parameters: Mapping[str, Mapping[str, Any]] = dataclasses.field(
        default_factory=dict, compare=False, repr=False
    )

    @classmethod
    def parse(
        cls,
        path: str,
        body: bytes | dict[str, Any] | None = None,
        *,
        paths: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> RequestInfo:
        """Read the path (or URL) and the JSON body of a request.

        ``body`` is the bytes of the body, or the object itself. If it is None, or is not a JSON
        object, nothing is known about the request. ``paths`` is the option of `Options`.
        ``headers`` are those of the request, with names in lower case. No body makes it raise.

        Example::

            RequestInfo.parse("/v1/chat/completions", b'{"model": "m", "stream": true}')
        """
        endpoint = endpoint_of(path, paths)
        codex = _is_codex(headers)
        given = body is not None
        if isinstance(body, (bytes, bytearray, memoryview)):
            try:
                body = orjson.loads(body)
            except orjson.JSONDecodeError:
                body = None
        if given and endpoint == "messages" and not _asks_for_message(body):
            endpoint = None
        if not isinstance(body, dict):
            return cls(endpoint=endpoint, codex=codex)
        stream = body.get("stream")
        options = body.get("stream_options")
        options = options if isinstance(options, dict) else {}
        tools, functions = body.get("tools"), body.get("functions")
        choice, legacy = body.get("tool_choice"), body.get("function_call")
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        # most requests offer none
        offered = {**_offered(functions), **_offered(tools)} if functions or tools else {}
        return cls(
            endpoint=endpoint,
            stream=bool(stream) if isinstance(stream, (bool, int, type(None))) else None,
            include_usage=options.get("include_usage") is True,
            n=_count(body.get("n")) or 1,
            model=body["model"] if isinstance(body.get("model"), str) and body["model"] else None,
            max_tokens=_count(limit),
            tools=bool(tools),
            functions=bool(functions),
            forced=(isinstance(choice, dict) and choice.get("type") in ("function", "custom"))
            or isinstance(legacy, dict),
            tool_names=frozenset(offered) if offered else _NO_NAMES,
            tool_parameters={
                name: function["parameters"]
                for name, function in offered.items()
                if isinstance(function.get("parameters"), dict)
            },
            knows_tools=not _ASKS.isdisjoint(body),
            codex=codex,
        )

    @classmethod
    def guess(cls, body: bytes) -> RequestInfo:
        """Guess the request from the beginning of its answer.

        Example::

            RequestInfo.guess(b'data: {"type":"response.created"').endpoint  # "responses"
        """
        found = (endpoint for sign, endpoint in _SIGNS if sign.search(body))
        return cls(endpoint=next(found, "chat"))


# What is in the answers of one API only, as far as their beginnings tell. An item of the Responses
# API has the type "message" too: its own sign is asked for first.
_SIGNS: tuple[tuple[re.Pattern[bytes], Endpoint], ...] = (
    (re.compile(rb'"text_completion"'), "completions"),
    (re.compile(rb'"response\.|"object"\s*:\s*"response"'), "responses"),
    (re.compile(rb'"type"\s*:\s*"(?:message|message_start|content_block_\w+)"'), "messages"),
)

_NO_NAMES: frozenset[str] = frozenset()  # one for all requests without tools
# One of these is in every real request: without them only a part of it is known.
_ASKS = frozenset({"messages", "prompt", "input", "tools", "functions"})


_NAMED: Mapping[str, Endpoint] = {
    "completions": "completions",
    "responses": "responses",
    "messages": "messages",
}


def _is_codex(headers: Mapping[str, str] | None) -> bool | None:
    """Whether the headers are Codex's. None: they do not name their client."""
    if not headers:
        return None
    names = [headers[name] for name in ("originator", "user-agent") if headers.get(name)]
    return any("codex" in name.lower() for name in names) if names else None


# OpenAI's Assistants API: another protocol under the same ending.
_THREAD = re.compile(r"/threads/[^/]+/messages$")


def _asks_for_message(body: Any) -> bool:
    """Whether a body is one of Anthropic's Messages API; other APIs have paths that end so."""
    return isinstance(body, dict) and isinstance(body.get("messages"), list)


def endpoint_of(path: str, paths: Sequence[str] = ()) -> Endpoint | None:
    """Return what a path (or URL) alone says about the endpoint of `RequestInfo`."""
    path = urlsplit(path).path.rstrip("/")
    for named in paths:
        end, _, endpoint = named.partition("=")
        if path.endswith(end):
            return _NAMED.get(endpoint, "chat")
    if path.endswith("/chat/completions"):
        return "chat"
    if path.endswith("/responses"):
        return "responses"
    if path.endswith("/messages") and _THREAD.search(path) is None:
        return "messages"
    return "completions" if path.endswith("/completions") else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None


def _offered(tools: Any) -> dict[str, dict[str, Any]]:
    """The functions that a body offers, by name."""
    offered: dict[str, dict[str, Any]] = {}
    for tool in tools if isinstance(tools, list) else []:
        if not isinstance(tool, dict):
            continue
        function = tool.get("function", tool.get("custom", tool))
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            offered[function["name"]] = function
    return offered
