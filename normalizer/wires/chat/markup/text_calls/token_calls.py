"""Calls between the special tokens of a model: the name, a token, and the arguments as JSON.

Nothing that people write looks like these. So a call begins where its name is read and its JSON
begins, and the arguments leave as they come. They end with the JSON, or at the next token. A call
that is cut off has the arguments that came, as any call in a stream has.

- Kimi K2: https://huggingface.co/moonshotai/Kimi-K2-Instruct/blob/main/docs/tool_call_guidance.md
  The id, `functions.f:0`, is kept: the model wants it back.
- DeepSeek V3 and R1 put the JSON into a code block, V3.1 does not:
  https://huggingface.co/deepseek-ai/DeepSeek-V3-0324/blob/main/tokenizer_config.json
  https://huggingface.co/deepseek-ai/DeepSeek-V3.1#toolcall
- Mistral: a JSON list, and since tokenizer 11 `[TOOL_CALLS]f[ARGS]{…}`, with `[CALL_ID]` in some
  https://github.com/raullenchai/Rapid-MLX/issues/1071
  https://github.com/ml-explore/mlx-lm/issues/1374
- gpt-oss: https://developers.openai.com/cookbook/articles/openai-harmony
  Servers that leave special tokens out leave `commentary to=functions.f json{…}`:
  https://github.com/vllm-project/vllm/issues/32587

No call: a token with no call behind it, a tool that was not offered, a preamble in the commentary.
"""

from __future__ import annotations

import re

from normalizer.core.findings import Deviation
from normalizer.wires.chat.markup.source import NAME_CHARACTERS, Reading, TextSource
from normalizer.wires.chat.markup.text_calls.dialect import Dialect, Tools, streamed
from normalizer.wires.chat.markup.text_calls.json_calls import JsonForm

KIMI_CALL = Deviation(
    code="T433",
    name="kimi-call-in-text",
    fault="The text or the reasoning has `<|tool_calls_section_begin|>` (Kimi).",
    repair="The section becomes tool calls.",
    option={"text_tool_calls": ("kimi",)},
)
DEEPSEEK_CALL = Deviation(
    code="T434",
    name="deepseek-call-in-text",
    fault="The text or the reasoning has `<｜tool▁calls▁begin｜>` (DeepSeek).",
    repair="The section becomes tool calls.",
    option={"text_tool_calls": ("deepseek",)},
)
MISTRAL_CALL = Deviation(
    code="T440",
    name="mistral-call-in-text",
    fault="The text has `[TOOL_CALLS]` (Mistral).",
    repair="What follows becomes tool calls.",
    option={"text_tool_calls": ("mistral",)},
)
HARMONY_CALL = Deviation(
    code="T441",
    name="harmony-call-in-text",
    fault="The text has `<|channel|>commentary to=functions.f` (gpt-oss).",
    repair="The frame becomes a tool call.",
    option={"text_tool_calls": ("harmony",)},
)

# ---------------------------------------------------------------------- Kimi

_KIMI_SECTION = "<|tool_calls_section_begin|>"
_KIMI_BEGIN = "<|tool_call_begin|>"
_KIMI_ENDS = ("<|tool_call_end|>", "<|tool_calls_section_end|>")
_KIMI_IDENT = re.compile(r"[^<>\s]*")
_KIMI_NAME = re.compile(r"(?:functions\.)?(.+?)(?::\d+)?")


def _kimi(source: TextSource, tools: Tools, opener: str) -> Reading[bool]:
    begun = opener == _KIMI_BEGIN
    while True:
        yield from source.blanks()
        if not begun and not (yield from source.take(_KIMI_BEGIN)):
            return bool((yield from source.take(_KIMI_ENDS[1])))
        begun = False
        yield from source.blanks()
        ident = yield from source.word(_KIMI_IDENT)
        name = _KIMI_NAME.fullmatch(ident)
        if name is None or name[1] not in tools.names:
            return False
        yield from source.blanks()
        if not (yield from source.take("<|tool_call_argument_begin|>")):
            return False
        yield from source.blanks()
        if not (yield from streamed(source, name[1], ident, _KIMI_ENDS)):
            return False
        yield from source.blanks()
        yield from source.take(_KIMI_ENDS[0])
        source.commit()


# ---------------------------------------------------------------------- DeepSeek

_DEEPSEEK_SECTION = "<｜tool▁calls▁begin｜>"
_DEEPSEEK_BEGIN = "<｜tool▁call▁begin｜>"
_DEEPSEEK_SEPARATOR = "<｜tool▁sep｜>"
_DEEPSEEK_ENDS = ("<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>")


def _deepseek(source: TextSource, tools: Tools, opener: str) -> Reading[bool]:
    begun = opener == _DEEPSEEK_BEGIN
    while True:
        yield from source.blanks()
        if not begun and not (yield from source.take(_DEEPSEEK_BEGIN)):
            return bool((yield from source.take(_DEEPSEEK_ENDS[1])))
        begun = False
        name = yield from _deepseek_name(source)
        if name not in tools.names:
            return False
        yield from source.blanks()
        block = yield from source.take("```json")
        yield from source.blanks()
        if not (yield from streamed(source, name, "", _DEEPSEEK_ENDS)):
            return False
        yield from source.blanks()
        if block:
            yield from source.take("```")
            yield from source.blanks()
        yield from source.take(_DEEPSEEK_ENDS[0])
        source.commit()


def _deepseek_name(source: TextSource) -> Reading[str]:
    """Read the name, and before it the type of the tool where there is one (V3, R1)."""
    while True:
        name, end = yield from source.until(_DEEPSEEK_SEPARATOR, "\n", limit=NAME_CHARACTERS)
        if not end or name.strip() != "function" or end == "\n":
            return name.strip() if end else ""


# ---------------------------------------------------------------------- Mistral

_MISTRAL = "[TOOL_CALLS]"
_MISTRAL_NAME = re.compile(r"[^\s\[\]{}<>\"]*")
_MISTRAL_LIST = JsonForm("[")


def _mistral(source: TextSource, tools: Tools, opener: str) -> Reading[bool]:
    yield from source.blanks()
    if (yield from source.peek()) == "[":
        return (yield from _MISTRAL_LIST.read(source, tools, opener))
    name = yield from source.word(_MISTRAL_NAME)
    if name not in tools.names:
        return False
    yield from source.blanks()
    ident = ""
    if (yield from source.take("[CALL_ID]")):
        ident = yield from source.word(_MISTRAL_NAME)
    yield from source.take("[ARGS]")
    yield from source.blanks()
    return (yield from streamed(source, name, ident))


# ---------------------------------------------------------------------- harmony

_MESSAGE = "<|message|>"
_HARMONY_ENDS = ("<|call|>", "<|end|>", "<|return|>")
_HEADER = re.compile(
    r"(?:<\|start\|>assistant)?(?:<\|channel\|>\w+|commentary)?\s*to=(?:functions\.)?([\w.-]+)"
    r"(?:\s*<\|channel\|>\w+)?(?:\s*<\|constrain\|>\s*\w+|\s+\w+)?\s*"
)


def _harmony(source: TextSource, tools: Tools, opener: str) -> Reading[bool]:
    header, end = yield from source.until(_MESSAGE, "{", limit=NAME_CHARACTERS)
    recipient = _HEADER.fullmatch(opener + header)
    if not end or recipient is None or recipient[1] not in tools.names:
        return False
    if end == "{":
        source.at -= 1
    yield from source.blanks()
    if not (yield from streamed(source, recipient[1], "", _HARMONY_ENDS)):
        return False
    yield from source.blanks()
    return bool((yield from source.take(*_HARMONY_ENDS)))


DIALECTS = {
    "kimi": (Dialect(KIMI_CALL, (_KIMI_SECTION, _KIMI_BEGIN), _kimi, in_reasoning=True),),
    "deepseek": (
        Dialect(DEEPSEEK_CALL, (_DEEPSEEK_SECTION, _DEEPSEEK_BEGIN), _deepseek, in_reasoning=True),
    ),
    "mistral": (Dialect(MISTRAL_CALL, (_MISTRAL,), _mistral),),
    "harmony": (
        Dialect(
            HARMONY_CALL,
            ("<|start|>assistant", "<|channel|>commentary", "<|channel|>analysis to="),
            _harmony,
        ),
        # as servers leave it that leave special tokens out
        Dialect(HARMONY_CALL, ("commentary to=functions.",), _harmony),
    ),
}
