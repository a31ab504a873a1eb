"""One line for each event, as somebody would say it: `+"Hel"`, `call get_weather`, `finish stop`.

A line is for reading only. Nothing depends on it, and an event that it does not understand is shown
by its beginning.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_LONG = 80  # characters of a text, and of data that is not understood


def line_of(kind: str, name: str, data: str) -> str:
    """Return the line of an event.

    ``kind``, ``name`` and ``data`` are ``kind``, ``event`` and ``data`` of a record of the trace.

    Example::

        line_of("data", "", '{"choices":[{"delta":{"content":"Hel"}}]}')  # '+"Hel"'
    """
    if kind not in ("data", "body"):
        return _OTHER.get(kind, kind) if kind != "comment" else _cut(data)
    try:
        value = json.loads(data)
    except ValueError:
        return _cut(" ".join(data.split()))
    said = ", ".join(_words(value, name)) if isinstance(value, dict) else ""
    return said or _cut(data)


_OTHER = {
    "done": "[DONE]",
    "end": "the body ends",
    "cut": "the connection breaks off",
    "silence": "silence",
    "behind": "bytes behind the end",
    "nothing": "an event without data",
    "page": "a page of HTML",
    "too_large": "an event that is too large",
}


def _words(value: dict[str, Any], name: str) -> Iterator[str]:
    error = value.get("error")
    if error:
        message = error.get("message") if isinstance(error, dict) else error
        yield f"error: {_cut(str(message or error))}"
        return
    kind = value.get("type") or name
    if isinstance(value.get("choices"), list):
        yield from _chunk(value)
    elif isinstance(kind, str) and kind:
        yield from _typed(kind, value)


def _chunk(value: dict[str, Any]) -> Iterator[str]:
    """What a chunk, a legacy chunk or a whole completion says."""
    choices = [one for one in value["choices"] if isinstance(one, dict)]
    for choice in choices:
        several = len(choices) > 1 or choice.get("index") not in (0, None)
        begin = f"[{choice.get('index')}] " if several else ""
        said = ", ".join(_choice(choice))
        if said:
            yield begin + said
    if not value["choices"]:
        yield "no choices"
    yield from _usage(value.get("usage"))


def _choice(choice: dict[str, Any]) -> Iterator[str]:
    held = choice.get("delta") or choice.get("message")
    delta = held if isinstance(held, dict) else {}
    if delta.get("role"):
        yield f"role {delta['role']}"
    for key in ("reasoning_content", "reasoning", "refusal"):
        if isinstance(delta.get(key), str) and delta[key]:
            yield f"{key.partition('_')[0]} {_quoted(delta[key])}"
    text = delta.get("content") if "text" not in choice else choice["text"]
    if text:
        yield f"+{_quoted(text)}"
    for call in [*_list(delta.get("tool_calls")), {"function": delta.get("function_call")}]:
        yield from _call(call)
    if choice.get("finish_reason") is not None:
        yield f"finish {choice['finish_reason']}"
    if not delta and not text and choice.get("finish_reason") is None:
        yield "an empty delta"


def _call(call: Any) -> Iterator[str]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return
    number = f" {call['index']}" if call.get("index") else ""
    if function.get("name"):
        yield f"call{number} {function['name']}"
    if function.get("arguments"):
        yield f"arguments{number} {_quoted(function['arguments'])}"


def _typed(kind: str, value: dict[str, Any]) -> Iterator[str]:
    """What an event of Responses or Messages says."""
    held = [value.get(key) for key in ("delta", "item", "content_block", "part", "message")]
    objects = [one for one in held if isinstance(one, dict)]
    yield kind.removeprefix("response.") if kind.count(".") > 1 else kind
    if isinstance(value.get("delta"), str):
        yield f"+{_quoted(value['delta'])}"
    for one in objects:
        for key in ("text", "thinking", "partial_json"):
            if isinstance(one.get(key), str) and one[key]:
                yield f"+{_quoted(one[key])}"
        if isinstance(one.get("name"), str):
            yield f"call {one['name']}"
        elif isinstance(one.get("type"), str) and one.get("type") != kind:
            yield str(one["type"])
        if one.get("stop_reason"):
            yield f"stop {one['stop_reason']}"
    answer = value.get("response") or value.get("message")
    yield from _usage(value.get("usage") or (isinstance(answer, dict) and answer.get("usage")))


def _usage(usage: Any) -> Iterator[str]:
    if not isinstance(usage, dict):
        return
    come = usage.get("prompt_tokens", usage.get("input_tokens"))
    gone = usage.get("completion_tokens", usage.get("output_tokens"))
    yield f"usage {'?' if come is None else come}+{'?' if gone is None else gone}"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _quoted(text: Any) -> str:
    return json.dumps(_cut(text) if isinstance(text, str) else text, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= _LONG else text[:_LONG] + "…"
