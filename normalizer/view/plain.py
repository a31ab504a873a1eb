"""What a plain program ends up with, that reads the stream as the documentation shows it.

The program for each wire is the function below whose source the page shows: it takes the first
choice, adds up the texts and the arguments, and stops at the finish. It trusts the stream, as most
programs do. So what it ends up with, raw and through us, is what a user would have seen.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from normalizer.core.exceptions import NormalizerError

_LINE = re.compile(r"\r\n|\r|\n")


@dataclasses.dataclass
class Got:
    """What the program holds in the end.

    ``calls`` are names with their arguments, by index or id. ``error`` is the exception that ended
    the program. ``finish`` is None if the program waits for more.
    """

    text: str = ""
    reasoning: str = ""
    calls: dict[Any, list[str]] = dataclasses.field(default_factory=dict)
    finish: str | None = None
    error: str | None = None
    events: int = 0

    def as_json(self) -> dict[str, Any]:
        """What the page shows; ``complaint`` says in a few words what is wrong, "" for nothing."""
        value = dataclasses.asdict(self)
        return {**value, "calls": list(self.calls.values()), "complaint": self.complaint}

    @property
    def complaint(self) -> str:
        """What is wrong with it, as far as the program alone can tell."""
        if self.error is not None:
            return self.error
        if not self.events:
            return "nothing at all: no event, no exception"
        broken = [name or "?" for name, text in self.calls.values() if not _is_object(text)]
        if broken:
            return f"arguments that are no JSON object: {', '.join(broken)}"
        if self.calls and self.finish not in ("tool_calls", "function_call", "tool_use"):
            return f"the calls are never made: the end is {self.finish!r}"
        if self.finish in ("tool_calls", "function_call", "tool_use") and not self.calls:
            return "calls nothing"
        if self.finish is None:
            return "it never ends"
        return "" if self.text or self.calls or self.reasoning else "no text"


class StreamError(NormalizerError):
    """An error event, as the client libraries raise it."""


def read_chat(events: Iterator[Any], got: Got) -> None:
    for chunk in events:
        if "error" in chunk:
            raise StreamError(chunk["error"])
        choice = chunk["choices"][0]
        delta = choice["delta"]
        got.text += delta.get("content") or ""
        got.reasoning += delta.get("reasoning_content") or ""
        for call in delta.get("tool_calls") or []:
            if call["index"] not in got.calls:
                got.calls[call["index"]] = [call["function"]["name"], ""]
            got.calls[call["index"]][1] += call["function"].get("arguments") or ""
        if choice["finish_reason"]:
            got.finish = choice["finish_reason"]
            break


def read_completions(events: Iterator[Any], got: Got) -> None:
    for chunk in events:
        if "error" in chunk:
            raise StreamError(chunk["error"])
        choice = chunk["choices"][0]
        got.text += choice["text"]
        if choice["finish_reason"]:
            got.finish = choice["finish_reason"]
            break


def read_responses(events: Iterator[Any], got: Got) -> None:
    for event in events:
        kind = event["type"]
        if kind in ("error", "response.failed"):
            raise StreamError(event.get("response", event).get("error", event))
        if kind == "response.output_text.delta":
            got.text += event["delta"]
        elif kind == "response.reasoning_summary_text.delta":
            got.reasoning += event["delta"]
        elif kind == "response.output_item.done" and event["item"]["type"] == "function_call":
            call = event["item"]
            got.calls[call["call_id"]] = [call["name"], call["arguments"]]
        elif kind in ("response.completed", "response.incomplete"):
            got.finish = "tool_calls" if got.calls else event["response"]["status"]
            break


def read_messages(events: Iterator[Any], got: Got) -> None:
    for event in events:
        kind = event["type"]
        if kind == "error":
            raise StreamError(event["error"])
        if kind == "content_block_start" and event["content_block"]["type"] == "tool_use":
            got.calls[event["index"]] = [event["content_block"]["name"], ""]
        elif kind == "content_block_delta":
            delta = event["delta"]
            got.text += delta.get("text", "")
            got.reasoning += delta.get("thinking", "")
            if delta["type"] == "input_json_delta":
                got.calls[event["index"]][1] += delta["partial_json"]
        elif kind == "message_delta":
            got.finish = event["delta"]["stop_reason"]
        elif kind == "message_stop":
            break


PROGRAMS: dict[str, Callable[[Iterator[Any], Got], None]] = {
    "chat": read_chat,
    "completions": read_completions,
    "responses": read_responses,
    "messages": read_messages,
}


def run(endpoint: str, body: bytes) -> Got:
    """Return what the program for ``endpoint`` ends up with, given the body of a stream.

    Example::

        run("chat", b'data: {"choices":[]}\\n\\n').error  # 'IndexError: list index out of range'
    """
    got = Got()
    try:
        PROGRAMS[endpoint](_events(body, got), got)
    except Exception as error:  # broad on purpose: whatever ends the program is what it shows
        got.error = f"{type(error).__name__}: {error}"
    return got


def source(endpoint: str) -> str:
    """Return the source of the program for ``endpoint``."""
    return inspect.getsource(PROGRAMS[endpoint])


def _events(body: bytes, got: Got) -> Iterator[Any]:
    """The JSON of the events of a stream, as the client libraries read them."""
    data: list[str] = []
    for line in _LINE.split(body.decode("utf-8", "replace")):
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            text = "\n".join(data)
            data.clear()
            if text.startswith("[DONE]"):
                return
            value = json.loads(text)
            got.events += 1
            yield value


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
