"""The message of a whole answer: its role, its text, its reasoning.

Members are repaired where they stand. What is right stays, null, `[]` or not: a program that reads
`message.reasoning` reads null today, and shall tomorrow.

Reasoning goes by the name that the options choose. A text under one of the API-like names
(`reasoning`, `thinking`, …) moves to it, into a member that is null or empty if there is one. A
text that stands in something else (an object, blocks, another name) is copied: the thing itself may
hold a signature that the next request needs.

What a model wrote into its text that is no text (`<think>`, calls) is read only where the options
ask for it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation
from normalizer.core.lenient import clean, dumps
from normalizer.wires.chat import content as content_stage
from normalizer.wires.chat import reasoning as reasoning_stage
from normalizer.wires.chat.blocks import read_blocks
from normalizer.wires.chat.chunk import REASONING_KEYS, as_list
from normalizer.wires.chat.markup import Markup
from normalizer.wires.chat.reasoning import COMPANIONS, text_of
from normalizer.wires.chat.whole_calls import Mend, rename

MESSAGE_MISSING = Deviation(
    code="B809",
    name="message-missing",
    fault="A choice of a whole answer has no `message`, or its `message` has no `content`.",
    repair="The missing members are added.",
)

# The names that a text of reasoning is moved from; from the other ones it is copied.
_MOVED = ("reasoning_content", "reasoning", "thinking", "reasoning_text")
REASONING_MEMBERS = (*REASONING_KEYS, *COMPANIONS)
_CALLS = ("tool_calls", "function_call")

Message = dict[str, Any]


def message_of(choice: dict[str, Any], mend: Mend) -> Message:
    """The message of a choice, which has one from now on.

    A choice without one has its text in `text`, in the `delta` of a stream, or in `messages`.
    These stay: a program may read them.
    """
    message = choice.get("message")
    if isinstance(message, dict):
        # mlx_lm.server leaves it out if the model only reasoned: `KeyError: 'content'`
        if "content" not in message and mend(MESSAGE_MISSING):
            message["content"] = None
        return message
    made: Message = {"role": "assistant", "content": None, "refusal": None}
    # Infermatic has `text` on the chat path
    said = _said_elsewhere(choice)
    if isinstance(message, str) and message:
        made["content"] = message
    elif isinstance(said, dict):
        made.update(said)
    elif said is not None:
        made["content"] = said
    if mend(MESSAGE_MISSING):
        choice["message"] = made
    return made


def _said_elsewhere(choice: dict[str, Any]) -> Any:
    if isinstance(choice.get("delta"), dict):
        return choice["delta"]
    if isinstance(choice.get("text"), str):
        return choice["text"]
    messages = as_list(choice.get("messages"))
    texts = [read_blocks(one["content"])[0] for one in messages if _says(one)]
    return "".join(texts) if texts else None


def _says(message: Message) -> bool:
    return bool(message.get("content")) and message.get("role") in (None, "assistant")


def repair_text(message: Message, mend: Mend) -> str:
    """Make text of the content; return the reasoning that was among its blocks."""
    _repair_role(message, mend)
    content = message.get("content")
    if content is None or isinstance(content, str):
        return ""
    if not isinstance(content, (dict, list)):
        if mend(content_stage.CONTENT_NOT_TEXT):
            strict = clean(content)
            message["content"] = None if strict is None else dumps(strict).decode()
        return ""
    if not mend(content_stage.CONTENT_BLOCKS):
        return ""
    text, reasoning, others = read_blocks(content)
    message["content"] = text
    if others:
        before = message.get("content_blocks")
        message["content_blocks"] = [*_listed(before), *others]
    return reasoning


def _repair_role(message: Message, mend: Mend) -> None:
    if message.get("role") == "assistant" or not mend(content_stage.ROLE_MISSING):
        return
    if "role" in message:
        message["role"] = "assistant"
    else:
        _put_first(message, "role", "assistant")


def repair_reasoning(message: Message, policy: str, blocks: str, mend: Mend) -> None:
    """Give the reasoning of a message one name.

    ``policy`` is `Options.reasoning`; ``blocks`` is what `repair_text` found in the content.
    """
    if policy == "keep" and not blocks:
        return
    wanted = _wanted(policy)
    reasoning = _reasoning_of(message, blocks)
    if not reasoning:
        return
    texts = _movable(message)
    extra = _mirrors(texts, reasoning, wanted)
    if not extra and all(message.get(name) == reasoning for name in wanted):
        return
    several = len(texts) > len(wanted)
    if mend(reasoning_stage.REASONING_MIRRORED if several else reasoning_stage.REASONING_NAME):
        _place(message, reasoning, wanted, extra)


def _movable(message: Message) -> dict[str, str]:
    return {name: message[name] for name in _MOVED if _is_text(message.get(name))}


def _mirrors(texts: dict[str, str], reasoning: str, wanted: tuple[str, ...]) -> list[str]:
    """The names from which the reasoning moves to those that are wanted.

    A text that does not mirror the rest may be something else: it stays under its own name.
    """
    return [name for name, text in texts.items() if name not in wanted and text in reasoning]


def _reasoning_of(message: Message, blocks: str) -> str:
    """The longest reasoning of a message, with what was in blocks of the content."""
    given = {name: message[name] for name in REASONING_MEMBERS if name in message}
    said = max((_said(name, value) for name, value in given.items()), key=len, default="")
    if blocks in said:
        return said
    return blocks if said in blocks else said + blocks


def _wanted(policy: str) -> tuple[str, ...]:
    """The names that reasoning goes by."""
    if policy == "both":
        return ("reasoning_content", "reasoning")
    return ("reasoning_content",) if policy == "keep" else (policy,)


def _place(message: Message, said: str, wanted: tuple[str, ...], extra: list[str]) -> None:
    """Put the reasoning under the names that are wanted, and take it off the others."""
    if extra and not any(name in message for name in wanted):
        rename(message, extra.pop(0), dict.fromkeys(wanted, said))
    message.update(dict.fromkeys(wanted, said))
    for name in extra:
        del message[name]


def read_markup(index: int, message: Message, policy: str, markup: Markup, draft: Draft) -> None:
    """Take out of the text what is reasoning, a call or a token there."""
    content = message.get("content")
    if not isinstance(content, str):
        return
    given = {key: message[key] for key in ("content", *_CALLS) if key in message}
    deltas = markup.read(index, dict(given), ends=True)
    read = _joined(deltas)
    doubled = "function_call" in message and not _have(deltas, "function_call")
    if read == (content, "", _listed(given.get("tool_calls"))) and not doubled:
        return
    draft.edit()
    _put(message, read, _wanted(policy))
    if doubled:
        del message["function_call"]


class _Read(NamedTuple):
    """What was read in a text: all that is no markup, in one piece each."""

    text: str
    reasoning: str
    calls: list[Any]


def _joined(deltas: list[dict[str, Any]]) -> _Read:
    return _Read(
        "".join(one.get("content") or "" for one in deltas),
        "".join(one.get("reasoning_content") or "" for one in deltas),
        [call for one in deltas for call in _listed(one.get("tool_calls"))],
    )


def _put(message: Message, read: _Read, names: tuple[str, ...]) -> None:
    """Put what was read in the text where the API has it; ``names`` are those of the reasoning."""
    # the API's content beside calls is null
    message["content"] = read.text or (None if read.calls else "")
    if read.reasoning:
        for name in names:
            before = message.get(name)
            message[name] = (before if isinstance(before, str) else "") + read.reasoning
    if read.calls:
        message["tool_calls"] = read.calls


def _have(deltas: list[dict[str, Any]], key: str) -> bool:
    return any(key in delta for delta in deltas)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _said(name: str, value: Any) -> str:
    if isinstance(value, str):
        return "" if name in COMPANIONS else value
    return text_of(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _put_first(holder: dict[str, Any], key: str, value: Any) -> None:
    items = list(holder.items())
    holder.clear()
    holder[key] = value
    holder.update(items)
