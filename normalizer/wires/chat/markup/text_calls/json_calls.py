"""Calls as JSON behind an opener: `{"name": …, "arguments": {…}}`, or a list of them.

The JSON is held until it has ended: where in it the arguments are is only known then. It is given
up as soon as it can be no call: at a character that JSON has in strings only, or where its first
member is the name of a tool that was not offered. The closer may be missing at the end of the text,
because servers take it for a stop string and leave it out.

- Hermes, Qwen 2.5 and 3: https://huggingface.co/Qwen/Qwen3-8B/blob/main/tokenizer_config.json
- Granite 3 and 20B: https://github.com/vllm-project/vllm/blob/main/vllm/tool_parsers/granite_tool_parser.py
- Phi-4 mini: https://huggingface.co/microsoft/Phi-4-mini-instruct#tool-enabled-function-calling-format
- Hunyuan A13B: `<tool_calls>[…]</tool_calls>`, https://huggingface.co/tencent/Hunyuan-A13B-Instruct
- Llama 3: https://www.llama.com/docs/model-cards-and-prompt-formats/llama3_1/ (bare, or behind
  `<|python_tag|>`, which code interpreter calls have too: those are no JSON and stay text)

No call: `Models write <tool_call> and then JSON.`, `<tool_call>{"name": "not_offered"…`, and a bare
object with text behind it, which is an answer in JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from normalizer.core.findings import Deviation
from normalizer.core.lenient import dumps, loads
from normalizer.wires.chat.markup.source import Part, Reading, TextSource
from normalizer.wires.chat.markup.text_calls.dialect import Dialect, Tools, Where, call

HERMES_CALL = Deviation(
    code="T431",
    name="hermes-call-in-text",
    fault="The text has `<tool_call>{…}</tool_call>` (Hermes, Qwen).",
    repair="It becomes a tool call.",
    option={"text_tool_calls": ("hermes",)},
)
LLAMA_CALL = Deviation(
    code="T442",
    name="llama-call-in-text",
    fault='The answer is `{"name": …, "parameters": …}` as text (Llama 3).',
    repair="It becomes a tool call.",
    option={"text_tool_calls": ("llama",)},
)
HUNYUAN_CALL = Deviation(
    code="T444",
    name="hunyuan-call-in-text",
    fault="The text has `<tool_calls>[…]</tool_calls>` (Hunyuan, Jamba).",
    repair="The list becomes tool calls.",
    option={"text_tool_calls": ("hunyuan",)},
)
GRANITE_CALL = Deviation(
    code="T445",
    name="granite-call-in-text",
    fault="The text has `<|tool_call|>[…]` (Granite).",
    repair="The list becomes tool calls.",
    option={"text_tool_calls": ("granite",)},
)
PHI_CALL = Deviation(
    code="T446",
    name="phi-call-in-text",
    fault="The text has `functools[…]` or `<|tool_call|>[…]<|/tool_call|>` (Phi-4).",
    repair="The list becomes tool calls.",
    option={"text_tool_calls": ("phi",)},
)

# what a call's first member may be
_FIRST = ('"name"', '"arguments"', '"parameters"', '"function"', '"type"', '"id"')
_NAME = re.compile(r'[^"\\]*')


class JsonForm(NamedTuple):
    """How a dialect wraps the JSON of its calls.

    * ``begins``: the bracket that it begins with, ``{`` or ``[``.
    * ``ends``: the closers; ``closed``: one has to follow, unless the text ends.
    * ``separator``: what stands before another call.
    * ``alone``: nothing but a closer may follow.
    """

    begins: str
    ends: tuple[str, ...] = ()
    closed: bool = False
    separator: str = ""
    alone: bool = False

    def read(self, source: TextSource, tools: Tools, _opener: str) -> Reading[bool]:
        """Read the calls behind an opener."""
        calls: list[Part] = []
        more = True
        while more:
            yield from source.blanks()
            start = source.position
            if not (yield from self._value(source, tools)):
                return False
            read = list(calls_of(source.since(start), tools))
            if not read:
                return False
            calls += read
            yield from source.blanks()
            more = bool(self.separator and (yield from source.take(self.separator)))
        if not (yield from self._ended(source)):
            return False
        yield from calls
        return True

    def _value(self, source: TextSource, tools: Tools) -> Reading[bool]:
        """Read JSON that may be a call of an offered tool, or a list of calls."""
        if not (yield from source.take(self.begins)):
            return False
        yield from source.blanks()
        if self.begins == "[":
            if not (yield from source.take("{")):
                return False
            yield from source.blanks()
        member = yield from source.take(*_FIRST)
        if not member:
            return False
        if member == '"name"' and not (yield from _offered(source, tools)):
            return False
        depth = 2 if self.begins == "[" else 1
        return (yield from source.value(depth=depth))

    def _ended(self, source: TextSource) -> Reading[bool]:
        end = yield from source.take(*self.ends)
        if self.alone:
            yield from source.blanks()
            yield from source.peek()
        needs_more = self.alone or (self.closed and not end)
        return source.over or not needs_more


def _offered(source: TextSource, tools: Tools) -> Reading[bool]:
    """Read ``: "name"`` and say whether it is the name of an offered tool."""
    yield from source.blanks()
    if not (yield from source.take(":")):
        return False
    yield from source.blanks()
    if not (yield from source.take('"')):
        return False
    name = yield from source.word(_NAME)
    return name in tools.names and bool((yield from source.take('"')))


def calls_of(text: str, tools: Tools) -> Iterator[Part]:
    """The calls that JSON holds; none unless all that it holds are calls of offered tools."""
    try:
        value, _ = loads(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return
    functions = [_function(one) for one in (value if isinstance(value, list) else [value])]
    if all(one.get("name") in tools.names for one in functions):
        for one in functions:
            given = one.get("arguments", one.get("parameters", {}))
            text = given if isinstance(given, str) else dumps(given).decode()
            ident = one.get("id")
            yield call(one["name"], text, ident if isinstance(ident, str) else "")


def _function(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {}
    value = value["function"] if isinstance(value.get("function"), dict) else value
    return value if isinstance(value.get("name"), str) else {}


_HERMES = JsonForm("{", ("</tool_call>",), closed=True)
_TAGGED = JsonForm("{", ("<|eom_id|>", "<|eot_id|>"), separator=";")
_BARE = _TAGGED._replace(alone=True)
_HUNYUAN = JsonForm("[", ("</tool_calls>",), closed=True)
# Phi wraps the same list, where both were chosen
_GRANITE = JsonForm("[", ("</tool_call>", "<|end_of_text|>", "<|/tool_call|>"))
_GRANITE_20B = JsonForm("{", ("</function_call>",))
_FUNCTOOLS = JsonForm("[")
_PHI = JsonForm("[", ("<|/tool_call|>",))
_PHI_BARE = JsonForm("{", ("<|/tool_call|>",))

DIALECTS = {
    "hermes": (Dialect(HERMES_CALL, ("<tool_call>",), _HERMES.read),),
    "llama": (
        Dialect(LLAMA_CALL, ("<|python_tag|>",), _TAGGED.read),
        # the opener of a bare object is its bracket, which is the object's own
        Dialect(LLAMA_CALL, ("{",), _BARE.read, Where.START),
    ),
    "hunyuan": (Dialect(HUNYUAN_CALL, ("<tool_calls>",), _HUNYUAN.read),),
    "granite": (
        Dialect(GRANITE_CALL, ("<|tool_call|>", "<tool_call>"), _GRANITE.read),
        Dialect(GRANITE_CALL, ("<function_call>",), _GRANITE_20B.read),
    ),
    "phi": (
        Dialect(PHI_CALL, ("<|tool_call|>",), _PHI.read),
        Dialect(PHI_CALL, ("<|tool_call|>",), _PHI_BARE.read),
        Dialect(PHI_CALL, ("functools",), _FUNCTOOLS.read),
    ),
}
