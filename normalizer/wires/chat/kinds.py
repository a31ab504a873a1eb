"""Which kind of answer a JSON body is, whatever its headers and names claim.

An answer is an object with choices. Whether it is a whole one or a chunk of a stream, its choices
tell: a `message` is whole, a `delta` is not. The name in `object` decides only where neither is.

A gateway may put the whole answer into an envelope, `{"data": {…}, "success": true}`, or write it
as a JSON string. It is taken out, one level. The members beside it are added behind its own.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.envelopes import unwrapped
from normalizer.core.findings import Deviation
from normalizer.wires.chat.chunk import Choice, Endpoint, as_list

COMPLETION_FORM = Deviation(
    code="B807",
    name="completion-form",
    fault="Only a lenient parser can read the JSON of a whole answer.",
    repair="It is written as strict JSON.",
)
ANSWER_IN_ENVELOPE = Deviation(
    code="B808",
    name="answer-in-envelope",
    fault="A whole answer is inside an envelope, or is a JSON string.",
    repair="The answer is taken out, and the members beside it move to it.",
)
WHOLE: dict[Endpoint, str] = {"chat": "chat.completion", "completions": "text_completion"}


def is_completion(value: dict[str, Any]) -> bool:
    """Return whether an object is a whole answer, not a chunk: its name alone does not tell."""
    choices = as_list(value.get("choices"))
    if any("message" in choice for choice in choices):
        return True
    named = value.get("object") == WHOLE["chat"]
    return named and not any("delta" in choice for choice in choices)


def has_choices(value: Any) -> bool:
    """Return whether a JSON value is an answer: an object with choices in it."""
    return isinstance(value, dict) and bool(choices_in(value.get("choices")))


def taken_out(value: Any) -> dict[str, Any] | None:
    """Return the answer that an envelope or a JSON string holds; None if ``value`` is neither.

    Example::

        taken_out({"data": {"choices": [{}]}, "ok": True})  # {"choices": [{}], "ok": True}
    """
    opened = unwrapped(value)
    # SAP and Cline wrap all their answers; without choices inside it is another kind of answer
    if opened is None or not has_choices(opened[0]):
        return None
    return _with_riders(*opened)


def _with_riders(answer: dict[str, Any], beside: dict[str, Any]) -> dict[str, Any]:
    """The answer with the members beside it; those that it has itself are put in `envelope`."""
    riders = {key: item for key, item in beside.items() if key not in answer}
    collide = {key: item for key, item in beside.items() if key in answer}
    return {**answer, **riders, **({"envelope": collide} if collide else {})}


def own_numbers(wanted: list[int | None]) -> list[int]:
    """Give each choice the index that it wants, or else its place; each index once.

    Example::

        own_numbers([1, None, 1])  # [1, 0, 2]
    """
    taken: set[int] = {index for index in wanted if index is not None}
    given: set[int] = set()
    numbers: list[int] = []
    free = 0  # no smaller one is free: the numbers are looked through once
    for place, index in enumerate(wanted):
        number = place if index is None else index
        if number in given or (index is None and number in taken):
            while free in taken:
                free += 1
            number = free
        given.add(number)
        taken.add(number)
        numbers.append(number)
    return numbers


def choices_in(given: Any) -> list[Choice]:
    """Return the choices in what may be a list or one object, and may hold bare texts."""
    items = given if isinstance(given, list) else [given]
    texts = [
        {"message": {"role": "assistant", "content": one}} if isinstance(one, str) and one else one
        for one in items
    ]
    return [one for one in texts if isinstance(one, dict)]
