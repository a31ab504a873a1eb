"""A whole answer as a stream: what a client gets that asked for one.

The answer is repaired first, as any whole answer is (`body`), so that its chunks are canonical: a
role, the reasoning, members of the message that nobody here knows, the text, the refusal, the
calls, the finish; long texts in deltas of bounded size. Nothing of it is lost:

- Scalars of the answer are repeated on all chunks, as members of a stream are. Objects and lists,
  and texts too long to be repeated, are on the first chunk.
- Members of the choice that belong to the text go with its first delta, which is whole then: log
  probabilities have to match their text. The others go with the finish.
- A call whose id is its own goes as the API sends it: a head, then its arguments. Other calls go
  as one whole each, so that the rules about fragments see which call they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from normalizer.wires.chat.call import TEXT_OF
from normalizer.wires.chat.call_members import kind_of
from normalizer.wires.chat.chunk import (
    CHOICE_KEYS,
    DECLARED,
    OBJECTS,
    TEXT_KEYS,
    TOP_KEYS,
    Choice,
    Chunk,
    Delta,
    Endpoint,
    as_list,
)
from normalizer.wires.chat.kinds import own_numbers
from normalizer.wires.chat.whole_message import REASONING_MEMBERS

# characters of text in one delta
DELTA_CHARACTERS = 4096
# characters of the members that are repeated on all chunks: a few may make many chunks large
REPEATED_CHARACTERS = 2048

# Other places of the finish: the choice has it already, and on a chunk it would be a finish again.
_FINISHES = frozenset({"finish_reason", "finishReason"})


def chunks_of(
    value: dict[str, Any], endpoint: Endpoint, *, apart: bool, failed: bool = False
) -> Iterator[Chunk]:
    """Yield the chunks of a stream with the same content as a whole answer.

    ``apart``: the usage comes in a chunk of its own. ``failed``: the answer is an error, which
    follows; no finish and no usage comes before it.

    Example::

        list(chunks_of(completion, "chat", apart=False))
    """
    head = {**_repeated(value), "object": OBJECTS[endpoint]}
    known = head.keys() | TOP_KEYS | _FINISHES
    extras = {key: item for key, item in value.items() if key not in known}
    usage = None if failed else value.get("usage")
    for number, piece, ends in _pieces(as_list(value.get("choices")), endpoint, failed=failed):
        chunk = {**head, "choices": [{"index": number, **piece}], **extras}
        extras = {}
        # not apart: the request did not ask for a chunk without choices, which breaks `choices[0]`
        if ends and usage is not None and not apart:
            chunk["usage"] = usage
            usage = None
        yield chunk
    if usage is not None:
        yield {**head, "choices": [], "usage": usage}


def _pieces(
    choices: list[Choice], endpoint: Endpoint, *, failed: bool
) -> Iterator[tuple[int, Choice, bool]]:
    """Each choice in pieces: its index, the piece, and whether that is the last finish."""
    of_endpoint = _of_text if endpoint == "completions" else _of_chat
    for number, choice in _numbered(choices):
        for piece in of_endpoint(choice, failed):
            last = choice is choices[-1] and piece["finish_reason"] is not None
            yield number, piece, last


def says_something(value: dict[str, Any]) -> bool:
    """Return whether a choice of a whole answer holds text, reasoning or a call."""
    keys = ("content", "refusal", "tool_calls", "function_call", *REASONING_MEMBERS)
    for choice in as_list(value.get("choices")):
        message = choice.get("message")
        if choice.get("text") or (isinstance(message, dict) and any(map(message.get, keys))):
            return True
    return False


def _repeated(value: dict[str, Any]) -> dict[str, Any]:
    """What all chunks repeat: the envelope, and as many scalars as are not too long together."""
    apart = {"choices", "usage", "error", *_FINISHES}
    repeated: dict[str, Any] = {}
    size = 0
    for key, item in value.items():
        if key in apart or isinstance(item, (dict, list)):
            continue
        size += len(key) + (len(item) if isinstance(item, str) else 1)
        if size <= REPEATED_CHARACTERS or key in ("id", "created", "model"):
            repeated[key] = item
    return repeated


def _numbered(choices: list[Choice]) -> Iterator[tuple[int, Choice]]:
    """Each choice with its index; a second one with the same index gets another."""
    wanted = [choice.get("index") for choice in choices]
    numbers = own_numbers([index if type(index) is int else None for index in wanted])
    yield from zip(numbers, choices, strict=True)


def _of_text(choice: Choice, failed: bool) -> Iterator[Choice]:
    """The one piece of a legacy completion's choice: its finish stays on its text."""
    apart = ("index", "message", "delta", "usage")
    members = {key: item for key, item in choice.items() if key not in apart}
    text = choice.get("text")
    finish = None if failed else choice.get("finish_reason")
    yield {**members, "text": text if isinstance(text, str) else "", "finish_reason": finish}


def _of_chat(choice: Choice, failed: bool) -> Iterator[Choice]:
    message = choice["message"] if isinstance(choice.get("message"), dict) else {}
    others = _own_members(choice, failed)
    spoken = _take_text_members(choice, others)
    for delta in _deltas(message, whole=bool(spoken)):
        belongs = spoken if delta.get("content") else {}
        yield {"delta": delta, **belongs, "finish_reason": None}
        if belongs:
            spoken = {}
    if spoken:
        yield {"delta": {}, **spoken, "finish_reason": None}
    finish = None if failed else choice.get("finish_reason")
    if finish is not None or any(item is not None for item in others.values()):
        yield {"delta": {}, **others, "finish_reason": finish}


def _take_text_members(choice: Choice, others: dict[str, Any]) -> dict[str, Any]:
    """Take the members that belong to the text out of the others of its choice."""
    taken = {key: others.pop(key) for key in TEXT_KEYS if others.get(key) is not None}
    if choice.get("logprobs") is not None:
        taken["logprobs"] = choice["logprobs"]
    return taken


def _own_members(choice: Choice, failed: bool) -> dict[str, Any]:
    """The members of a choice that its upstream added; an error's choice has no finish."""
    apart = {*CHOICE_KEYS, "messages", "error", *(_FINISHES if failed else ())}
    return {key: item for key, item in choice.items() if key not in apart}


def _deltas(message: dict[str, Any], *, whole: bool) -> Iterator[Delta]:
    """The deltas of a message in their order; ``whole``: its text must not be cut."""
    thought = {key: message[key] for key in REASONING_MEMBERS if message.get(key)}
    apart = {*DECLARED, *_FINISHES, *thought, "tool_results"}
    empty, others = _parted({key: item for key, item in message.items() if key not in apart})
    content, results = message.get("content"), message.get("tool_results")
    yield {"role": "assistant", "content": None if content is None else "", **empty}
    yield from _reasoning(thought)
    if others:
        yield others
    yield from _content(content, whole=whole)
    yield from _refusal(message.get("refusal"))
    yield from _function_call(message.get("function_call"))
    yield from _tool_calls(as_list(message.get("tool_calls")))
    if results is not None:
        yield {"tool_results": results}  # a client matches them with calls that it knows


def _parted(members: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The members that are empty, which begin a stream, and those that have a value."""
    empty = {key: item for key, item in members.items() if item in (None, "", [])}
    return empty, {key: item for key, item in members.items() if key not in empty}


def _refusal(refusal: Any) -> Iterator[Delta]:
    if isinstance(refusal, str):
        yield from ({"refusal": part} for part in _parts(refusal))


def _content(content: Any, *, whole: bool) -> Iterator[Delta]:
    if content is None:
        return
    if whole or not isinstance(content, str):
        yield {"content": content}
    else:
        yield from ({"content": part} for part in _parts(content))


def _reasoning(thought: dict[str, Any]) -> Iterator[Delta]:
    """A text in pieces; beside what mirrors it, both whole: together they are known to be one."""
    texts = list(thought.items())
    if len(texts) == 1 and isinstance(texts[0][1], str):
        yield from ({texts[0][0]: part} for part in _parts(texts[0][1]))
    elif thought:
        yield thought


def _function_call(function: Any) -> Iterator[Delta]:
    """A `function_call`; beside several calls it is the one that came first."""
    if isinstance(function, dict) and function:
        for one in _fragments({"function": function}):
            yield {"function_call": one["function"]}


def _tool_calls(calls: list[dict[str, Any]]) -> Iterator[Delta]:
    idents = [call["id"] for call in calls if isinstance(call.get("id"), str)]
    # ids that two calls share need the rules for fragments
    own = len(set(idents)) == len(calls)
    for number, call in enumerate(calls):
        call = {"index": number, **{key: item for key, item in call.items() if key != "index"}}
        yield from ({"tool_calls": [one]} for one in (_fragments(call) if own else [call]))


def _fragments(call: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A call as its head and pieces of its arguments."""
    kind = kind_of(call)
    holder, member = call.get(kind), TEXT_OF[kind]
    text = holder.get(member) if isinstance(holder, dict) else None
    if not isinstance(holder, dict) or not isinstance(text, str):
        yield call
        return
    yield {**call, kind: {**holder, member: ""}}
    place = {"index": call["index"]} if "index" in call else {}
    for part in _parts(text):
        yield {**place, kind: {member: part}}


def _parts(text: str) -> Iterator[str]:
    for start in range(0, len(text), DELTA_CHARACTERS):
        yield text[start : start + DELTA_CHARACTERS]
