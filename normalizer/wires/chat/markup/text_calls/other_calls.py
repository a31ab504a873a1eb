"""Calls that are neither JSON nor markup: lines of ReAct, and calls in Python's notation.

- ReAct: `Action:` on a line of its own, `Action Input:` on a later one. The arguments are what
  stands there, up to `Observation:` or the end, whether it is JSON or not.
  https://github.com/xusenlinzy/api-for-open-llm/issues/231
- Llama 3.2 and 4: the whole answer is `[f(a=1), g(b="x")]`, in `<|python_start|>` in some
  https://www.llama.com/docs/model-cards-and-prompt-formats/llama4/
- LFM2: the same in `<|tool_call_start|>`: https://huggingface.co/LiquidAI/LFM2-1.2B#tool-use

No call: `Action: f` within a line, `[1, 2]`, a list of calls with text behind it, arguments that
are no literals or have no names.
"""

from __future__ import annotations

import ast
import json
import re
from types import MappingProxyType

from normalizer.core.findings import Deviation
from normalizer.wires.chat.markup.source import PYTHON, Part, Reading, TextSource
from normalizer.wires.chat.markup.text_calls.dialect import Dialect, Tools, Where, call

REACT_CALL = Deviation(
    code="T432",
    name="react-call-in-text",
    fault="The text has `Action:` and `Action Input:` (ReAct).",
    repair="They become a tool call.",
    option={"text_tool_calls": ("react",)},
)
PYTHONIC_CALL = Deviation(
    code="T443",
    name="pythonic-call-in-text",
    fault="The answer is `[f(a=1)]` as text (Llama 3.2 and 4, LFM2).",
    repair="It becomes tool calls.",
    option={"text_tool_calls": ("pythonic",)},
)

_LINE = re.compile(r"[^\n]*")
_NAME = re.compile(r"[\w.-]*")


def _react(source: TextSource, tools: Tools, _opener: str) -> Reading[bool]:
    yield from source.blanks()
    line = yield from source.word(_LINE)
    name = line.rstrip()
    if name not in tools.names or not (yield from source.take("\n")):
        return False
    yield from source.blanks()
    if not (yield from source.take("Action Input:")):
        return False
    text, _ = yield from source.until("\nObservation:")
    yield call(name, text.strip())
    return True


def _pythonic(source: TextSource, tools: Tools, opener: str) -> Reading[bool]:
    start = source.position
    yield from source.blanks()
    if not (yield from source.take("[")):
        return False
    yield from source.blanks()
    name = yield from source.word(_NAME)
    if name not in tools.names or (yield from source.peek()) != "(":
        return False
    if not (yield from source.value(PYTHON, depth=1)):
        return False
    calls = _calls_of(source.since(start).strip(), tools)
    if not calls:
        return False
    yield from source.blanks()
    end = yield from source.take("<|python_end|>", "<|tool_call_end|>", "<|eot_id|>", "<|eom_id|>")
    if opener == "[":
        yield from source.blanks()
        yield from source.peek()
    if not source.over and (opener == "[" or not end):
        return False
    yield from calls
    return True


def _calls_of(text: str, tools: Tools) -> list[Part]:
    """The calls in a list in Python's notation; none unless all are calls of offered tools."""
    try:
        value = ast.parse(text, mode="eval").body
        elements = value.elts if isinstance(value, ast.List) else []
        calls = [(_name(one), _arguments(one)) for one in elements]
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return []
    return [call(*one) for one in calls] if all(name in tools.names for name, _ in calls) else []


def _name(value: ast.expr) -> str:
    return ast.unparse(value.func) if isinstance(value, ast.Call) else ""


def _arguments(value: ast.expr) -> str:
    """The arguments of a call. Raises ValueError for those with no name, or that are no values."""
    if not isinstance(value, ast.Call) or value.args:
        raise ValueError("no call with names")
    given = {}
    for keyword in value.keywords:
        if keyword.arg is None:
            raise ValueError("arguments of a mapping")
        given[keyword.arg] = ast.literal_eval(_with_json_words(keyword.value))
    return json.dumps(given, ensure_ascii=False, allow_nan=False)


class _JsonWords(ast.NodeTransformer):
    """Models mix in JSON's words for Python's."""

    _WORDS = MappingProxyType({"true": True, "false": False, "null": None})

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self._WORDS:
            return node
        return ast.copy_location(ast.Constant(self._WORDS[node.id]), node)


def _with_json_words(value: ast.expr) -> ast.expr:
    changed: ast.expr = _JsonWords().visit(value)
    return changed


DIALECTS = {
    "react": (Dialect(REACT_CALL, ("Action:",), _react, Where.LINE),),
    "pythonic": (
        Dialect(PYTHONIC_CALL, ("<|python_start|>", "<|tool_call_start|>"), _pythonic),
        Dialect(PYTHONIC_CALL, ("[",), _pythonic, Where.START),
    ),
}
