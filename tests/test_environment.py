"""Options from the environment: for servers that construct the middleware without arguments."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from normalizer import NormalizingMiddleware, OptionError, Options
from tests.streams import CHAT, USAGE, chunk, event, raw, text

FIELDS: dict[str, tuple[str, Any]] = {
    "mode": ("report", "report"),
    "select": ("T4, S505", ("T4", "S505")),
    "ignore": ("S504,,U6 ,", ("S504", "U6")),
    "reasoning": ("both", "both"),
    "comments": ("drop", "drop"),
    "finish": ("keep", "keep"),
    "usage": ("chunk", "chunk"),
    "extras": ("drop", "drop"),
    "think_tags": ("1", True),
    "special_tokens": ("yes", True),
    "cumulative": ("on", True),
    "text_tool_calls": ("hermes, kimi", ("hermes", "kimi")),
    "max_event_bytes": ("4096", 4096),
    "finish_timeout": ("0.5", 0.5),
}


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_is_read_from_its_variable(field: str) -> None:
    given, value = FIELDS[field]
    options = Options.from_environ({f"NORMALIZER_{field.upper()}": given})
    assert getattr(options, field) == value
    assert type(getattr(options, field)) is type(value)
    assert options == Options(**{field: value})


def test_without_variables_it_is_the_defaults() -> None:
    assert Options.from_environ({}) == Options()
    assert Options.from_environ({"PATH": "/bin", "REASONING": "both"}) == Options()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((yes, True) for yes in ("1", "true", "YES", "On")),
        *((no, False) for no in ("0", "False", "no", "OFF")),
    ],
)
def test_truth_in_the_environment(text: str, value: bool) -> None:
    assert Options.from_environ({"NORMALIZER_THINK_TAGS": text}).think_tags is value


def test_what_is_given_wins_over_a_variable() -> None:
    environ = {"NORMALIZER_COMMENTS": "drop", "NORMALIZER_FINISH": "keep"}
    options = Options.from_environ(environ, comments="keep")
    assert (options.comments, options.finish) == ("keep", "keep")
    # even over one that could not be read
    environ = {"NORMALIZER_FINISH_TIMEOUT": "soon"}
    assert Options.from_environ(environ, finish_timeout=1.0).finish_timeout == 1.0


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("mode", "loud"),
        ("reasoning", "Reasoning"),
        ("think_tags", "maybe"),
        ("max_event_bytes", "8MB"),
        ("max_event_bytes", "0"),
        ("max_event_bytes", "1.5"),
        ("finish_timeout", "soon"),
        ("finish_timeout", "-1"),
    ],
)
def test_a_variable_that_cannot_be_read_is_named(field: str, given: str) -> None:
    with pytest.raises(OptionError, match=f"(?i){field}") as caught:
        Options.from_environ({f"NORMALIZER_{field.upper()}": given})
    assert given in str(caught.value)


def test_an_option_that_does_not_exist_is_named() -> None:
    with pytest.raises(OptionError, match="reasonning"):
        Options.from_environ({}, reasonning="both")


async def through(body: bytes, **options: Any) -> bytes:
    """A body as an application's answer, through a middleware made now."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    transport = httpx.ASGITransport(NormalizingMiddleware(app, **options))
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        answer = await client.post(CHAT, content=json.dumps({"model": "m", "stream": True}))
        return answer.content


@pytest.mark.anyio
async def test_a_middleware_made_without_arguments_reads_it(
    monkeypatch: pytest.MonkeyPatch, anyio_backend: Any
) -> None:
    del anyio_backend
    body = raw(
        *text(),
        b": ping\n\n",
        event(chunk({"reasoning": "why", "content": "<think>x</think>Hi"}, citations=["u"])),
        chunk({}, "stop", usage=USAGE),
    )
    plain = await through(body)
    assert b": ping" in plain
    assert b'"reasoning_content"' in plain
    monkeypatch.setenv("NORMALIZER_COMMENTS", "drop")
    monkeypatch.setenv("NORMALIZER_REASONING", "reasoning")
    monkeypatch.setenv("NORMALIZER_EXTRAS", "drop")
    monkeypatch.setenv("NORMALIZER_THINK_TAGS", "true")
    monkeypatch.setenv("NORMALIZER_USAGE", "drop")
    set_so = await through(body)
    for gone in (b": ping", b"reasoning_content", b"citations", b"<think>", b"prompt_tokens"):
        assert gone not in set_so
    assert b'"reasoning":"' in set_so
    given = await through(body, comments="keep", usage="chunk")
    assert b": ping" in given
    assert b'"choices":[],"usage":{' in given
    monkeypatch.setenv("NORMALIZER_IGNORE", "C3,S5,U6")
    monkeypatch.setenv("NORMALIZER_THINK_TAGS", "0")
    assert b"<think>x</think>Hi" in await through(body)
