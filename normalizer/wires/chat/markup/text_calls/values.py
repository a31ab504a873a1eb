"""Values of parameters that markup gives as text, in the types that a tool's schema allows.

vLLM and SGLang convert by the schema too and differ in detail (a null, a boolean that is none). The
rule here: a type that the schema names and the text can be, the narrowest first. Where the schema
says nothing, JSON if the text is JSON. Otherwise the text is a string, and none of it is lost.

Sources: https://github.com/vllm-project/vllm/blob/main/vllm/tool_parsers/qwen3coder_tool_parser.py
https://github.com/sgl-project/sglang/blob/main/python/sglang/srt/function_call/minimax_m2.py
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from typing import Any

from normalizer.core.lenient import loads

# schemas nest; a deeper one says nothing
_DEPTH = 8
_INTEGER = re.compile(r"[+-]?\d{1,308}")
_NUMBER = re.compile(r"[+-]?(\d{1,308}(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")

_NAMES = {
    **dict.fromkeys(("str", "text", "varchar", "char", "enum"), "string"),
    **dict.fromkeys(("int", "long", "short"), "integer"),
    **dict.fromkeys(("float", "double"), "number"),
    "bool": "boolean",
    **dict.fromkeys(("list", "arr", "tuple"), "array"),
    **dict.fromkeys(("dict", "map"), "object"),
}
_JSON_TYPES = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
    list: "array",
    dict: "object",
}


def types_of(schema: Any, depth: int = _DEPTH) -> frozenset[str]:
    """The JSON types that a JSON schema allows; none if it does not say."""
    if not isinstance(schema, dict) or depth == 0:
        return frozenset()
    return _named(schema) or _enumerated(schema) or _of_any(schema, depth)


def _named(schema: dict[str, Any]) -> frozenset[str]:
    given = schema.get("type")
    names = given if isinstance(given, list) else [given]
    lower = (one.lower() for one in names if isinstance(one, str))
    return frozenset(_NAMES.get(one, one) for one in lower)


def _enumerated(schema: dict[str, Any]) -> frozenset[str]:
    values = schema.get("enum")
    values = values if isinstance(values, list) else []
    return frozenset(_JSON_TYPES.get(type(one), "string") for one in values)


def _of_any(schema: dict[str, Any], depth: int) -> frozenset[str]:
    """The types of all alternatives; none if one of them does not say."""
    for key in ("anyOf", "oneOf"):
        alternatives = schema.get(key)
        if isinstance(alternatives, list) and alternatives:
            each = [types_of(one, depth - 1) for one in alternatives]
            return frozenset().union(*each) if all(each) else frozenset()
    return frozenset()


def json_of(text: str, types: frozenset[str]) -> str:
    """The JSON of the value that a parameter's text stands for. Never raises.

    Text that is JSON already is kept as it is: no digit of a number changes.

    Example::

        json_of("5", frozenset({"integer"}))  # '5'
        json_of("5", frozenset({"string"}))  # '"5"'
        json_of("5", frozenset())  # '5'
    """
    stripped = text.strip()
    if not types and _is_json(stripped):
        return stripped
    for kind, read in _READ.items():
        if kind in types and (written := read(stripped)):
            return written
    return json.dumps(text, ensure_ascii=False)


def _is_json(text: str) -> bool:
    try:
        return not loads(text.encode("utf-8", "surrogatepass"))[1]
    except ValueError:
        return False


def _null(text: str) -> str:
    return "null" if text.lower() in ("null", "none") else ""


def _boolean(text: str) -> str:
    return text.lower() if text.lower() in ("true", "false") else ""


def _integer(text: str) -> str:
    if _INTEGER.fullmatch(text) is None:
        return ""
    return text if _is_json(text) else str(int(text))


def _number(text: str) -> str:
    return text if _NUMBER.fullmatch(text) and _is_json(text) else _integer(text)


def _container(text: str) -> str:
    if text[:1] not in ("{", "["):
        return ""
    if _is_json(text):
        return text
    # templates that print Python's own notation teach models to write it
    try:
        return json.dumps(ast.literal_eval(text), ensure_ascii=False, allow_nan=False)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return ""


_READ: dict[str, Callable[[str], str]] = {
    "null": _null,
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "object": _container,
    "array": _container,
}
