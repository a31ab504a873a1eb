"""How people read a stream with a client library; each reader returns what its user would hold."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable
from typing import Any


@dataclasses.dataclass
class Answer:
    """What a reader made of a stream."""

    text: str = ""
    finish: str | None = None
    # id, name and arguments of each call
    calls: list[tuple[str | None, str | None, str]] = dataclasses.field(default_factory=list)
    # prompt_tokens and completion_tokens
    usage: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Raises:
    """The reader ended in an exception of this class, with these words in what it says."""

    exception: str
    words: str = ""

    @classmethod
    def of(cls, error: Exception) -> Raises:
        # openai keeps the type of an error event beside its message
        return cls(type(error).__name__, f"{error} {getattr(error, 'type', None)}")

    def matches(self, outcome: Outcome) -> bool:
        return (
            isinstance(outcome, Raises)
            and outcome.exception == self.exception
            and self.words in outcome.words
        )


Outcome = Answer | Raises


class Loop:
    """The loop over ``create(stream=True)`` that stands in everybody's code, chunk by chunk."""

    def __init__(self) -> None:
        self.answer = Answer()

    def take(self, chunk: Any) -> bool:
        """Read one chunk; True is to go on."""
        choice = chunk.choices[0]
        self.answer.text += choice.delta.content or ""
        for fragment in choice.delta.tool_calls or []:
            calls, function = self.answer.calls, fragment.function
            if fragment.index == len(calls):
                calls.append((fragment.id, function.name, function.arguments))
            else:
                ident, name, arguments = calls[fragment.index]
                calls[fragment.index] = (ident, name, arguments + function.arguments)
        if choice.finish_reason:
            self.answer.finish = choice.finish_reason
        if chunk.usage:
            self.answer.usage = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        return True


class UntilFinish(Loop):
    """The loop that breaks where it sees a finish_reason, as widely copied."""

    def take(self, chunk: Any) -> bool:
        if chunk.choices[0].finish_reason is not None:
            self.answer.finish = chunk.choices[0].finish_reason
            return False
        return super().take(chunk)


class UsageLoop(Loop):
    """The loop of those who asked for usage, and so know that its chunk has no choices."""

    def take(self, chunk: Any) -> bool:
        if chunk.choices:
            return super().take(chunk)
        self.answer.usage = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        return True


class LegacyLoop(Loop):
    """The loop over the legacy ``completions.create(stream=True)``."""

    def take(self, chunk: Any) -> bool:
        choice = chunk.choices[0]
        self.answer.text += choice.text
        if choice.finish_reason:
            self.answer.finish = choice.finish_reason
        return True


class LegacyUsageLoop(UsageLoop, LegacyLoop):
    """The same, over the legacy endpoint."""


def loop(client: Any, request: dict[str, Any], reader: type[Loop] = Loop) -> Answer:
    legacy = issubclass(reader, LegacyLoop)
    endpoint = client.completions if legacy else client.chat.completions
    reading = reader()
    with endpoint.create(**request) as stream:
        for chunk in stream:
            if not reading.take(chunk):
                break
    return reading.answer


async def async_loop(client: Any, request: dict[str, Any], reader: type[Loop] = Loop) -> Answer:
    legacy = issubclass(reader, LegacyLoop)
    endpoint = client.completions if legacy else client.chat.completions
    reading = reader()
    async with await endpoint.create(**request) as stream:
        async for chunk in stream:
            if not reading.take(chunk):
                break
    return reading.answer


def helper(client: Any, request: dict[str, Any]) -> Answer:
    """openai's own accumulation, ``chat.completions.stream()``."""
    request = {key: value for key, value in request.items() if key != "stream"}
    with client.chat.completions.stream(**request) as stream:
        for _ in stream:
            pass
        return of_completion(stream.get_final_completion())


async def async_helper(client: Any, request: dict[str, Any]) -> Answer:
    request = {key: value for key, value in request.items() if key != "stream"}
    async with client.chat.completions.stream(**request) as stream:
        async for _ in stream:
            pass
        return of_completion(await stream.get_final_completion())


def of_completion(completion: Any) -> Answer:
    choice, usage = completion.choices[0], completion.usage
    return Answer(
        text=choice.message.content or "",
        finish=choice.finish_reason,
        calls=[
            (call.id, call.function.name, call.function.arguments)
            for call in choice.message.tool_calls or []
        ],
        usage=usage and (usage.prompt_tokens, usage.completion_tokens),
    )


def of_message(tokens: list[str], message: Any) -> Answer:
    """What langchain gives: the tokens that reached a callback handler, the rest of the message."""
    usage = message.usage_metadata
    return Answer(
        text="".join(tokens),
        finish=message.response_metadata.get("finish_reason"),
        calls=[(call["id"], call["name"], json.dumps(call["args"])) for call in message.tool_calls],
        usage=usage and (usage["input_tokens"], usage["output_tokens"]),
    )


def outcome(read: Callable[[], Answer]) -> Outcome:
    """The answer, or the exception in its place."""
    try:
        return read()
    except Exception as error:
        return Raises.of(error)


async def async_outcome(read: Awaitable[Answer]) -> Outcome:
    try:
        return await read
    except Exception as error:
        return Raises.of(error)
