"""Each dialect of calls in text: what it is, what it is not, and however it is split."""

# ruff: noqa: RUF001

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest

from normalizer import Options, Report, RequestInfo
from normalizer.core.findings import Findings
from normalizer.wires.chat.markup import Markup
from normalizer.wires.chat.markup.text_calls import DIALECTS
from normalizer.wires.chat.markup.text_calls.values import json_of, types_of
from tests.streams import ENVELOPE, chunk, normalize, raw
from tests.streams import text as chunks

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "metric": {"type": "boolean"},
        "where": {"type": "object"},
        "code": {"type": "string"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
}
REQUEST = RequestInfo.parse(
    "/v1/chat/completions",
    {
        "model": "m",
        "stream": True,
        "tools": [
            {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}},
            {"type": "function", "function": {"name": "add"}},
        ],
    },
)
Call = tuple[str, Any]  # a name, and the value of the arguments


class Read(NamedTuple):
    content: str
    reasoning: str
    calls: list[Call]
    idents: list[str]
    codes: set[str]
    deltas: list[dict[str, Any]]


def read(
    pieces: Iterable[str],
    *dialects: str,
    key: str = "content",
    request: RequestInfo = REQUEST,
    **options: Any,
) -> Read:
    """What becomes of text that comes in pieces."""
    report = Report()
    markup = Markup(Findings(report), Options(text_tool_calls=dialects, **options), request)
    deltas = [one for piece in pieces for one in markup.read(0, {key: piece}, ends=False)]
    deltas += markup.rest(0)
    calls: list[list[str]] = []
    for fragment in (one for delta in deltas for one in delta.get("tool_calls", [])):
        function = fragment["function"]
        if "name" in function:
            calls.append([function["name"], "", fragment.get("id", "")])
        calls[-1][1] += function["arguments"]
    return Read(
        "".join(delta.get("content") or "" for delta in deltas),
        "".join(delta.get("reasoning_content") or "" for delta in deltas),
        [(name, _value(arguments)) for name, arguments, _ in calls],
        [ident for _, _, ident in calls],
        set(report.repairs),
        deltas,
    )


def _value(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def splits(text: str) -> Iterable[list[str]]:
    """The text whole, in two pieces wherever it may be cut, and in single characters."""
    yield [text]
    yield list(text)
    for at in range(1, len(text)):
        yield [text[:at], text[at:]]


OSLO: Call = ("get_weather", {"city": "Oslo"})
ADD: Call = ("add", {"a": 1})
NESTED: Call = ("get_weather", {"where": {"x": [1, "}]"]}, "city": 'a "b" \\ </s>'})
NESTED_JSON = json.dumps(NESTED[1])

# a dialect, a text, the calls in it, and the text that is left
CALLS: list[tuple[str, str, list[Call], str]] = [
    (
        "hermes",
        'Look:\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>',
        [OSLO],
        "Look:\n",
    ),
    (
        "hermes",
        '<tool_call>{"arguments": {"a": 1}, "name": "add"}</tool_call>\n'
        '<tool_call>{"name": "get_weather", "parameters": ' + NESTED_JSON + "}</tool_call>\n",
        [ADD, NESTED],
        "",
    ),
    ("hermes", '<tool_call>{"name": "add", "arguments": {"a": 1}}', [ADD], ""),
    (
        "kimi",
        (
            "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
            '<|tool_call_argument_begin|>{"city": "Oslo"}<|tool_call_end|><|tool_call_begin|>'
            'functions.add:1<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|>'
            "<|tool_calls_section_end|>"
        ),
        [OSLO, ADD],
        "",
    ),
    (
        "kimi",
        (
            "Hm. <|tool_calls_section_begin|>\n<|tool_call_begin|> get_weather:0 "
            f"<|tool_call_argument_begin|> {NESTED_JSON} <|tool_call_end|>\n"
            "<|tool_calls_section_end|> Done."
        ),
        [NESTED],
        "Hm.  Done.",
    ),
    (
        "deepseek",
        (
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
            '{"city": "Oslo"}\n```<｜tool▁call▁end｜>\n'
            "<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n"
            '```json\n{"a": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
        ),
        [OSLO, ADD],
        "",
    ),
    (
        "deepseek",
        (
            "So.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
            f"{NESTED_JSON}<｜tool▁call▁end｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>"
            '{"a": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
        ),
        [NESTED, ADD],
        "So.",
    ),
    (
        "dsml",
        (
            '<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n'
            '<｜DSML｜parameter name="city" string="true">5</｜DSML｜parameter>\n'
            '<｜DSML｜parameter name="extra" string="false">[1, {"a": null}]</｜DSML｜parameter>\n'
            '</｜DSML｜invoke>\n<｜DSML｜invoke name="add">\n'
            '<｜DSML｜parameter name="a" string="false">1</｜DSML｜parameter>\n'
            "</｜DSML｜invoke>\n</｜DSML｜function_calls>"
        ),
        [("get_weather", {"city": "5", "extra": [1, {"a": None}]}), ADD],
        "",
    ),
    (
        "dsml",
        (
            '<｜DSML｜tool_calls>\n<｜DSML｜invoke name="add">\n'
            "</｜DSML｜invoke>\n</｜DSML｜tool_calls>"
        ),
        [("add", {})],
        "",
    ),
    (
        "dsml",
        (
            '<｜｜DSML｜｜invoke name="add"><｜｜DSML｜｜parameter name="a" string="false">1'
            "</｜｜DSML｜｜parameter></｜｜DSML｜｜invoke> Done."
        ),
        [ADD],
        " Done.",
    ),
    (
        "qwen_coder",
        (
            "I look.\n<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n"
            "<parameter=days>\n3\n</parameter>\n<parameter=metric>\nTrue\n</parameter>\n"
            "</function>\n</tool_call>"
        ),
        [("get_weather", {"city": "Oslo", "days": 3, "metric": True})],
        "I look.\n",
    ),
    (
        "qwen_coder",
        (
            "<function=get_weather>\n<parameter=code>\n"
            "if a < b:\n    say('</parameter>')\n</parameter>"
            "\n</function>\n</tool_call>\n<tool_call><function=add><parameter=a>1</parameter>"
            "</function></tool_call>"
        ),
        [("get_weather", {"code": "if a < b:\n    say('</parameter>')"}), ADD],
        "",
    ),
    ("qwen_coder", "<tool_call>\n<function=add>\n</function>\n</tool_call>", [("add", {})], ""),
    (
        "qwen_coder",
        "<seed:tool_call><function=add><parameter=a>1</parameter></function></seed:tool_call>",
        [ADD],
        "",
    ),
    (
        "glm",
        (
            "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n"
            "<arg_key>where</arg_key>\n<arg_value>{'x': True}</arg_value>\n</tool_call>"
        ),
        [("get_weather", {"city": "Oslo", "where": {"x": True}})],
        "",
    ),
    (
        "glm",
        (
            "<tool_call>add<arg_key>a</arg_key><arg_value>1</arg_value></tool_call>"
            "<tool_call>add</tool_call>Done"
        ),
        [ADD, ("add", {})],
        "Done",
    ),
    (
        "minimax",
        (
            '\n\n<minimax:tool_call>\n<invoke name="get_weather">\n'
            '<parameter name="city">Oslo</parameter>\n<parameter name="note">null</parameter>\n'
            '</invoke>\n<invoke name="add">\n<parameter name="a">1</parameter>\n</invoke>\n'
            "</minimax:tool_call>"
        ),
        [("get_weather", {"city": "Oslo", "note": None}), ADD],
        "\n\n",
    ),
    (
        "mistral",
        (
            '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Oslo"}}, '
            '{"name": "add", "arguments": {"a": 1}}]'
        ),
        [OSLO, ADD],
        "",
    ),
    (
        "mistral",
        'Sure.[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}[TOOL_CALLS]add[ARGS]{"a": 1}',
        [OSLO, ADD],
        "Sure.",
    ),
    ("mistral", f"[TOOL_CALLS]get_weather{NESTED_JSON}", [NESTED], ""),
    (
        "llama",
        (
            '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Oslo"}}; '
            '{"name": "add", "parameters": {"a": 1}}<|eom_id|>'
        ),
        [OSLO, ADD],
        "",
    ),
    ("llama", '\n{"name": "add", "parameters": {"a": 1}}\n', [ADD], "\n"),
    (
        "llama",
        '{"type": "function", "name": "add", "parameters": {"a": 1}}<|eot_id|>',
        [ADD],
        "",
    ),
    (
        "pythonic",
        "[get_weather(city='Oslo'), add(a=1)]",
        [OSLO, ADD],
        "",
    ),
    (
        "pythonic",
        (
            "<|python_start|>[get_weather(where={'x': [1, '}]']}, city=\"a\\\"b\", metric=true)]"
            "<|python_end|>"
        ),
        [("get_weather", {"where": {"x": [1, "}]"]}, "city": 'a"b', "metric": True})],
        "",
    ),
    (
        "pythonic",
        "<|tool_call_start|>[add(a=1)]<|tool_call_end|>I add.",
        [ADD],
        "I add.",
    ),
    (
        "harmony",
        (
            "<|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json"
            '<|message|>{"city": "Oslo"}<|call|>'
        ),
        [OSLO],
        "",
    ),
    (
        "harmony",
        (
            f"<|channel|>commentary to=functions.get_weather<|message|>{NESTED_JSON}<|call|>"
            "<|start|>assistant to=functions.add<|channel|>commentary json"
            '<|message|>{"a": 1}'
        ),
        [NESTED, ADD],
        "",
    ),
    ("harmony", 'commentary to=functions.add json{"a": 1}', [ADD], ""),
    (
        "hunyuan",
        (
            '<tool_calls>[{"name": "get_weather", "arguments": {"city": "Oslo"}},\n'
            '{"name": "add", "arguments": {"a": 1}}]</tool_calls>'
        ),
        [OSLO, ADD],
        "",
    ),
    (
        "hunyuan",
        (
            "<tool_calls>\n<tool_call>get_weather<tool_sep>\n<arg_key>city</arg_key>\n"
            "<arg_value>Oslo</arg_value>\n</tool_call>\n<tool_call>add<tool_sep>"
            "<arg_key>a</arg_key><arg_value>1</arg_value></tool_call>\n</tool_calls>"
        ),
        [OSLO, ADD],
        "",
    ),
    (
        "granite",
        '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Oslo"}}]',
        [OSLO],
        "",
    ),
    ("granite", '<tool_call>[{"name": "add", "arguments": {"a": 1}}]</tool_call>', [ADD], ""),
    ("granite", '<function_call> {"name": "add", "arguments": {"a": 1}}', [ADD], ""),
    (
        "phi",
        '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Oslo"}}]<|/tool_call|>',
        [OSLO],
        "",
    ),
    ("phi", 'functools[{"name": "add", "arguments": {"a": 1}}]', [ADD], ""),
    (
        "react",
        'Thought: I look.\nAction: get_weather\nAction Input: {"city": "Oslo"}\nObservation:',
        [OSLO],
        "Thought: I look.\n",
    ),
    ("react", "Action: add\nAction Input: one and two", [("add", "one and two")], ""),
]


def test_every_dialect_is_in_the_table() -> None:
    assert {dialect for dialect, *_ in CALLS} == set(DIALECTS)


@pytest.mark.parametrize(("dialect", "text", "calls", "left"), CALLS)
def test_calls(dialect: str, text: str, calls: list[Call], left: str) -> None:
    for pieces in splits(text):
        got = read(pieces, dialect)
        assert (got.calls, got.content) == (calls, left), pieces


@pytest.mark.parametrize(("dialect", "text", "calls", "left"), CALLS)
def test_calls_among_all_dialects(dialect: str, text: str, calls: list[Call], left: str) -> None:
    """Many share an opener: what follows it decides."""
    for pieces in ([text], list(text)):
        got = read(pieces, *DIALECTS)
        assert (got.calls, got.content) == (calls, left), dialect


@pytest.mark.parametrize(("dialect", "text", "calls", "left"), CALLS)
def test_a_second_pass_changes_nothing(
    dialect: str, text: str, calls: list[Call], left: str
) -> None:
    first = read(list(text), *DIALECTS)
    markup = Markup(Findings(Report()), Options(text_tool_calls=tuple(DIALECTS)), REQUEST)
    again = [one for delta in first.deltas for one in markup.read(0, dict(delta), ends=False)]
    assert again + markup.rest(0) == first.deltas


@pytest.mark.parametrize(("dialect", "text", "calls", "left"), CALLS)
def test_tools_that_were_not_offered_are_text(
    dialect: str, text: str, calls: list[Call], left: str
) -> None:
    strange = text.replace("get_weather", "rm_rf").replace("add", "format_disk")
    for pieces in splits(strange):
        got = read(pieces, *DIALECTS)
        assert (got.calls, got.content) == ([], strange), pieces


@pytest.mark.parametrize("block", ["```xml\n{}\n```\nlike that", "a\n  ```\n{}\n```\n"])
@pytest.mark.parametrize(("dialect", "text", "calls", "left"), CALLS)
def test_code_is_text(dialect: str, text: str, calls: list[Call], left: str, block: str) -> None:
    quoted = block.replace("{}", text.strip())
    for pieces in ([quoted], list(quoted)):
        got = read(pieces, *DIALECTS)
        assert (got.calls, got.content) == ([], quoted), pieces


def test_what_is_behind_a_backtick_is_text() -> None:
    call = '<tool_call>{"name": "add", "arguments": {}}</tool_call>'
    for pieces in splits(f"So: `{call}`"):
        assert read(pieces, *DIALECTS).content == f"So: `{call}`"


def test_a_call_behind_a_code_block_is_one() -> None:
    text = "```\nls\n```\n<tool_call><function=add></function></tool_call>"
    for pieces in splits(text):
        got = read(pieces, *DIALECTS)
        assert (got.calls, got.content) == ([("add", {})], "```\nls\n```\n")


@pytest.mark.parametrize(("dialect", "text", "calls", "left"), CALLS)
def test_no_beginning_of_a_text_is_lost(
    dialect: str, text: str, calls: list[Call], left: str
) -> None:
    """Cut off, it is text, or the calls that were known and the text that is left."""
    for size in range(len(text)):
        got = read([text[:size]], dialect)
        if not got.calls:
            assert got.content == text[:size]
        else:
            names = [name for name, _ in got.calls]
            assert names == [name for name, _ in calls[: len(names)]]
            assert got.calls[:-1] == calls[: len(names) - 1]


TEXT = [
    "Models write <tool_call> and then JSON.",
    "Write <function=get_weather> and then a parameter.",
    "<tool_call>get_weather is called like this</tool_call>",
    '<tool_call>{"name": "get_weather"} and no end',
    "<tool_call><tool_call><tool_call>",
    "[TOOL_CALLS] is a token of Mistral's.",
    "[TOOL_CALLS]get_weather",
    "[1, 2, 3]",
    "[get_weather(1)]",
    "[get_weather(city=Oslo)]",
    "[get_weather(city='Oslo')] is how one calls it",
    '{"name": "get_weather", "parameters": {}} is a call',
    '{"name": "Oslo", "parameters": 5}',
    '{"name": "get_weather", "para',
    "{",
    "[",
    "<|python_tag|>print(1)",
    "<|channel|>commentary<|message|>I shall look.<|end|>",
    "The header is commentary to=functions.get_weather and so on {",
    "<｜tool▁calls▁begin｜> begins calls",
    "The word Action: get_weather in a sentence.",
    "Action: get_weather\nbut no input",
    "<minimax:tool_call>\n</minimax:tool_call>",
    '<minimax:tool_call><invoke name="get_weather"><b>x</b></invoke></minimax:tool_call>',
    "functools is a module; functools[1] is not",
    "<|tool_calls_section_begin|><|tool_calls_section_end|>",
    '<tool_call>{"name": "get_weather", "arguments": {<b>',
    "a < b and <tool_ca",
]


@pytest.mark.parametrize("text", TEXT)
def test_text_about_calls_is_text(text: str) -> None:
    for pieces in splits(text):
        got = read(pieces, *DIALECTS)
        assert (got.calls, got.content, got.codes) == ([], text, set()), pieces


def test_text_leaves_at_once() -> None:
    markup = Markup(Findings(Report()), Options(text_tool_calls=tuple(DIALECTS)), REQUEST)
    for piece in ("Hello", ", wor", "ld! {a}", " [b] 3 > 2", " x <- y"):
        assert markup.read(0, {"content": piece}, ends=False) == [{"content": piece}]


def test_only_what_an_opener_may_begin_with_is_held() -> None:
    markup = Markup(Findings(Report()), Options(text_tool_calls=("hermes",)), REQUEST)
    assert markup.read(0, {"content": "a <tool"}, ends=False) == [{"content": "a "}]
    assert markup.read(0, {"content": "_x"}, ends=False) == [{"content": "<tool_x"}]
    # what follows decides: no tool is called like that
    assert markup.read(0, {"content": '<tool_call>{"name": "x"'}, ends=False) == [
        {"content": '<tool_call>{"name": "x"'}
    ]


@pytest.mark.parametrize(
    ("dialect", "head", "end"),
    [
        (
            "kimi",
            (
                "<|tool_calls_section_begin|><|tool_call_begin|>functions.add:0"
                "<|tool_call_argument_begin|>"
            ),
            "<|tool_call_end|>",
        ),
        (
            "deepseek",
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>",
            "<｜tool▁call▁end｜>",
        ),
        ("mistral", "[TOOL_CALLS]add[ARGS]", ""),
        ("harmony", "<|channel|>commentary to=functions.add<|message|>", "<|call|>"),
    ],
)
def test_arguments_leave_as_they_come(dialect: str, head: str, end: str) -> None:
    markup = Markup(Findings(Report()), Options(text_tool_calls=(dialect,)), REQUEST)
    assert markup.read(0, {"content": head}, ends=False) == [{"content": ""}]
    (first,) = markup.read(0, {"content": '{"a": '}, ends=False)
    assert first["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": '}
    (second,) = markup.read(0, {"content": "1"}, ends=False)
    assert second == {"tool_calls": [{"function": {"arguments": "1"}}]}
    assert read([head, '{"a": "' + "x" * 100_000, '"}' + end], dialect).calls == [
        ("add", {"a": "x" * 100_000})
    ]


def test_broken_arguments_end_at_the_next_token() -> None:
    text = (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.add:0"
        '<|tool_call_argument_begin|>{"a": "never closed<|tool_call_end|>'
        "<|tool_calls_section_end|>Done."
    )
    for pieces in splits(text):
        got = read(pieces, "kimi")
        assert (got.calls, got.content) == ([("add", '{"a": "never closed')], "Done.")


def test_a_call_that_grows_beyond_the_limit_is_text() -> None:
    text = "<tool_call><function=add><parameter=a>" + "x" * 70_000
    pieces = [text[at : at + 1000] for at in range(0, len(text), 1000)]
    got = read([*pieces, "</parameter></function></tool_call>"], "qwen_coder")
    assert got.content == text + "</parameter></function></tool_call>"
    assert not got.calls


def test_ids_are_kept() -> None:
    kimi = next(text for dialect, text, *_ in CALLS if dialect == "kimi")
    assert read([kimi], "kimi").idents == ["functions.get_weather:0", "functions.add:1"]
    assert read(["[TOOL_CALLS]add[CALL_ID]abc123def[ARGS]{}"], "mistral").idents == ["abc123def"]


@pytest.mark.parametrize("dialect", ["kimi", "deepseek", "dsml"])
def test_calls_in_the_reasoning(dialect: str) -> None:
    _, text, calls, left = next(row for row in CALLS if row[0] == dialect)
    for pieces in (["Hm. " + text], ["Hm. ", *text]):
        got = read(pieces, dialect, key="reasoning_content")
        assert (got.calls, got.reasoning, got.content) == (calls, "Hm. " + left, "")
    got = read(["<think>Hm. " + text], dialect, think_tags=True)
    assert (got.calls, got.reasoning, got.content) == (calls, "Hm. " + left, "")


def test_other_dialects_are_not_looked_for_in_the_reasoning() -> None:
    text = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
    assert read([text], "hermes", key="reasoning_content").reasoning == text


def test_without_tools_nothing_is_a_call() -> None:
    request = RequestInfo.parse("/v1/chat/completions", {"model": "m"})
    for dialect, text, *_ in CALLS:
        assert read([text], dialect, request=request).content == text


@pytest.mark.parametrize(
    ("text", "schema", "written"),
    [
        ("5", {"type": "string"}, '"5"'),
        ("5", {"type": "integer"}, "5"),
        ("+5", {"type": "integer"}, "5"),
        ("5.50", {"type": "number"}, "5.50"),
        ("five", {"type": "integer"}, '"five"'),
        ("True", {"type": "boolean"}, "true"),
        ("yes", {"type": "boolean"}, '"yes"'),
        ("null", {"type": ["string", "null"]}, "null"),
        ("null", {"type": "string"}, '"null"'),
        ("None", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "null"),
        ("7", {"anyOf": [{"type": "integer"}, {"type": "string"}]}, "7"),
        ("7", {"enum": ["6", "7"]}, '"7"'),
        ("{'a': (1, True)}", {"type": "object"}, '{"a": [1, true]}'),
        ("{'a': {1}}", {"type": "object"}, "\"{'a': {1}}\""),
        ("[" * 100_000, {"type": "array"}, None),
        ('[1, "a"]', {"type": "array"}, '[1, "a"]'),
        ("12345678901234567890123", None, "12345678901234567890123"),
        ("Oslo", None, '"Oslo"'),
        ("1e999", {"type": "number"}, None),
        ("9" * 1000, {"type": "integer"}, None),
        ("\ud800", None, None),
        ("x", {"anyOf": 5, "type": 7, "enum": {}}, '"x"'),
        ("x", [], '"x"'),
    ],
)
def test_values(text: str, schema: Any, written: str | None) -> None:
    got = json_of(text, types_of(schema))
    assert got == written if written is not None else isinstance(got, str)


def test_a_schema_that_nests_without_end_says_nothing() -> None:
    schema: dict[str, Any] = {}
    schema["anyOf"] = [schema]
    assert types_of(schema) == frozenset()


# --- through the whole normalizer --------------------------------------------

BODY = {
    "model": "m",
    "stream": True,
    "tools": [
        {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}},
        {"type": "function", "function": {"name": "add"}},
    ],
}


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(("dialect", "text", "calls", "left"), CALLS)
def test_calls_in_a_stream(
    dialect: str, text: str, calls: list[Call], left: str, size: int
) -> None:
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    body = raw(*chunks(*pieces), chunk({}, "stop"))
    outcome = normalize(body, BODY, text_tool_calls=(dialect,))
    assert [(name, _value(arguments)) for _, name, arguments in outcome.calls] == calls
    assert (outcome.said(), outcome.finish()) == (left, "tool_calls")
    assert all(ident for ident, _, _ in outcome.calls)
    assert normalize(outcome.out, BODY, text_tool_calls=(dialect,)).out == outcome.out


@pytest.mark.parametrize(("dialect", "text", "calls", "left"), CALLS)
def test_calls_in_a_plain_completion(dialect: str, text: str, calls: list[Call], left: str) -> None:
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    value = {**ENVELOPE, "object": "chat.completion", "choices": [choice]}
    outcome = normalize(
        json.dumps(value).encode(), {**BODY, "stream": False}, text_tool_calls=(dialect,)
    )
    (got,) = json.loads(outcome.out)["choices"]
    functions = [one["function"] for one in got["message"]["tool_calls"]]
    assert [(one["name"], _value(one["arguments"])) for one in functions] == calls
    assert (got["message"]["content"] or "", got["finish_reason"]) == (left, "tool_calls")


def test_a_call_that_is_cut_off_has_the_arguments_that_came() -> None:
    body = raw(*chunks('[TOOL_CALLS]add[ARGS]{"a": ', "12"), chunk({}, "length"))
    outcome = normalize(body, BODY, text_tool_calls=("mistral",))
    assert [one[1:] for one in outcome.calls] == [("add", '{"a": 12')]
    assert outcome.finish() == "length"


def test_calls_of_each_choice_are_its_own() -> None:
    text = '[TOOL_CALLS]add[ARGS]{"a": 1}'
    deltas = [chunk({"content": one}, index=at) for one in text for at in (0, 1)]
    ends = [chunk({}, "stop", index=at) for at in (0, 1)]
    outcome = normalize(raw(*deltas, *ends), {**BODY, "n": 2}, text_tool_calls=("mistral",))
    assert [outcome.finish(at) for at in (0, 1)] == ["tool_calls"] * 2
    for at in (0, 1):
        fragments = [
            fragment["function"]
            for one in outcome.chunks
            for choice in one["choices"]
            if choice["index"] == at
            for fragment in choice["delta"].get("tool_calls", [])
        ]
        assert "".join(one.get("arguments", "") for one in fragments) == '{"a": 1}'


def test_a_call_beside_the_text_comes_behind_what_was_held() -> None:
    fragment = {"index": 0, "id": "x", "type": "function"}
    native = {**fragment, "function": {"name": "get_weather", "arguments": "{}"}}
    body = raw(*chunks("Hm <tool_"), chunk({"tool_calls": [native]}), chunk({}, "tool_calls"))
    outcome = normalize(body, BODY, text_tool_calls=("hermes",))
    assert [name for _, name, _ in outcome.calls] == ["get_weather"]
    assert outcome.said() == "Hm <tool_"
    kinds = [key for delta in outcome.deltas for key in delta if delta[key] and key != "role"]
    assert kinds.index("tool_calls") > max(at for at, one in enumerate(kinds) if one == "content")


def test_a_call_of_its_own_beside_the_text_is_no_repeat_of_one_that_is_streamed() -> None:
    """Only whole calls are compared: the head of every call of a tool is the same."""
    fragment = {"index": 0, "id": "x", "type": "function"}
    head = {**fragment, "function": {"name": "add", "arguments": ""}}
    rest = {"index": 0, "function": {"arguments": '{"a": 2}'}}
    body = raw(
        *chunks('[TOOL_CALLS]add[ARGS]{"a": 1}'),
        chunk({"tool_calls": [head]}),
        chunk({"tool_calls": [rest]}),
        chunk({}, "tool_calls"),
    )
    outcome = normalize(body, BODY, text_tool_calls=("mistral",))
    assert [name for _, name, _ in outcome.calls] == ["add", "add"]


def test_white_space_behind_a_call_waits_within_a_limit() -> None:
    text = '[TOOL_CALLS]add[ARGS]{"a": 1}'
    assert read([text, *" " * 200], "mistral").content == ""
    assert read([text, *" " * 200, "Done."], "mistral").content == " " * 200 + "Done."
    for pieces in ([text, " " * 1000], [text, *" " * 1000]):
        assert read(pieces, "mistral").content == " " * 1000
