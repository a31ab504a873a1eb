"""What models write into their text that is no text; off unless asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from normalizer import OptionError, Options
from tests.streams import STREAM, Outcome, chunk, normalize, raw, text

NAMES = ("get_weather", "add")
TOOLS = {**STREAM, "tools": [{"type": "function", "function": {"name": n}} for n in NAMES]}
STOP = chunk({}, "stop")


def said(whole: str, size: int | None, request: dict[str, Any] = TOOLS, **options: Any) -> Outcome:
    """An answer in pieces of so many characters."""
    size = size or len(whole)
    pieces = [whole[i : i + size] for i in range(0, len(whole), size)]
    return normalize(raw(*text(*pieces), STOP), request, **options)


sizes = pytest.mark.parametrize("size", [1, 2, 5, 7, None])


# --- think -------------------------------------------------------------------


@sizes
@pytest.mark.parametrize(
    ("whole", "reasoning", "answer"),
    [
        ("<think>\nHm.\n</think>\n\nFour.", "Hm.\n", "Four."),
        ("  <think>Hm.</think>Four.", "Hm.", "Four."),
        ("◁think▷Hm.◁/think▷Four.", "Hm.", "Four."),
        ("<think>never closed", "never closed", ""),
        ("<think></think>Four.", "", "Four."),
        ("Four. <think>is a tag</think>", "", "Four. <think>is a tag</think>"),
        ("<think>a</think>The tag </think> ends it.", "a", "The tag </think> ends it."),
        ("<thin ice", "", "<thin ice"),
        ("<thi", "", "<thi"),
    ],
)
def test_think_tags(whole: str, reasoning: str, answer: str, size: int | None) -> None:
    outcome = said(whole, size, think_tags=True)
    assert (outcome.said("reasoning_content"), outcome.said()) == (reasoning, answer)
    assert outcome.finish() == "stop"


def test_think_tags_are_text_unless_asked_for() -> None:
    assert said("<think>a</think>b", None).said() == "<think>a</think>b"


# --- special tokens ----------------------------------------------------------


@sizes
@pytest.mark.parametrize(
    ("whole", "answer"),
    [
        ("Hello!</s>", "Hello!"),
        ("Hello!<|im_end|>\n", "Hello!"),
        ("Hello!<|user|><|observation|>", "Hello!"),
        ("Write </s> to end.", "Write </s> to end."),
        ("a <|im_end|> b<|im_end|>", "a <|im_end|> b"),
        ("Hello! <", "Hello! <"),
        ("Hello!  \n", "Hello!  \n"),
    ],
)
def test_special_tokens(whole: str, answer: str, size: int | None) -> None:
    assert said(whole, size, special_tokens=True).said() == answer


# --- cumulative --------------------------------------------------------------


def test_cumulative_content() -> None:
    body = raw(*text("He", "Hello", "Hello world"), STOP)
    assert normalize(body, cumulative=True).said() == "Hello world"
    assert normalize(body).said() == "HeHelloHello world"


def test_text_that_does_not_repeat_what_was_said_is_new() -> None:
    assert normalize(raw(*text("Hello", " world"), STOP), cumulative=True).said() == "Hello world"


# --- calls in text -----------------------------------------------------------

OSLO = '{"city": "Oslo"}'
HERMES = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
REACT = 'Thought: look\nAction: get_weather\nAction Input: {"city": "Oslo"}'
KIMI = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
    '<|tool_call_argument_begin|>{"city": "Oslo"}<|tool_call_end|>'
    "<|tool_call_begin|>functions.add:1"
    '<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|><|tool_calls_section_end|>'
)
DEEPSEEK = (
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
    '{"city": "Oslo"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
)


@sizes
@pytest.mark.parametrize(
    ("dialect", "whole", "calls", "answer"),
    [
        ("hermes", HERMES, [("get_weather", '{"city":"Oslo"}')], ""),
        (
            "hermes",
            f"Let me see. {HERMES} Done.",
            [("get_weather", '{"city":"Oslo"}')],
            "Let me see.  Done.",
        ),
        ("hermes", HERMES + HERMES, [("get_weather", '{"city":"Oslo"}')] * 2, ""),
        ("react", REACT, [("get_weather", '{"city": "Oslo"}')], "Thought: look\n"),
        (
            "react",
            REACT + "\nObservation:",
            [("get_weather", '{"city": "Oslo"}')],
            "Thought: look\n",
        ),
        ("react", "Action: add\nAction Input: one and two", [("add", "one and two")], ""),
        ("kimi", KIMI, [("get_weather", '{"city": "Oslo"}'), ("add", '{"a": 1}')], ""),
        ("deepseek", DEEPSEEK, [("get_weather", '{"city": "Oslo"}')], ""),
    ],
)
def test_calls_in_text(
    dialect: str, whole: str, calls: list[tuple[str, str]], answer: str, size: int | None
) -> None:
    outcome = said(whole, size, text_tool_calls=(dialect,))
    assert [(name, arguments) for _, name, arguments in outcome.calls] == calls
    assert outcome.said() == answer
    assert outcome.finish() == "tool_calls"


def test_kimi_s_ids_are_kept() -> None:
    outcome = said(KIMI, 3, text_tool_calls=("kimi",))
    assert [ident for ident, _, _ in outcome.calls] == [
        "functions.get_weather:0",
        "functions.add:1",
    ]


@sizes
@pytest.mark.parametrize(
    "whole",
    [
        HERMES.replace("get_weather", "rm_rf"),
        "Models write <tool_call> and then JSON.",
        '<tool_call>{"name": "get_weather", "arguments": {',
        "<tool_call>oops</tool_call> <tool_call",
        "The word Action: get_weather in a sentence.",
    ],
)
def test_what_is_no_call_is_text(whole: str, size: int | None) -> None:
    outcome = said(whole, size, text_tool_calls=("hermes", "react"))
    assert (outcome.said(), outcome.calls, outcome.finish()) == (whole, [], "stop")


def test_without_tools_in_the_request_nothing_is_a_call() -> None:
    assert said(HERMES, 4, STREAM, text_tool_calls=("hermes",)).said() == HERMES


def test_a_runaway_answer_is_shown() -> None:
    body = raw(*text("<tool_call>", *["x" * 1000] * 70), done=False)
    outcome = normalize(body, TOOLS, text_tool_calls=("hermes",))
    assert outcome.said() == "<tool_call>" + "x" * 70_000
    assert outcome.error["type"] == "upstream_truncated"


def test_a_call_that_is_given_beside_the_text_too_is_called_once() -> None:
    """api-for-open-llm streams ReAct's text and gives the call with the last piece of it."""
    function = {"name": "get_weather", "arguments": '{"city":"Oslo"}'}
    fragment = {"index": 0, "id": "get_weather", "type": "function", "function": function}
    last = chunk({"content": "\nObservation:", "tool_calls": [fragment]}, "tool_calls")
    outcome = normalize(raw(*text(REACT), last, STOP), TOOLS, text_tool_calls=("react",))
    assert [(name, arguments) for _, name, arguments in outcome.calls] == [
        ("get_weather", '{"city": "Oslo"}')
    ]
    assert "T435" in outcome.codes
    assert outcome.finish() == "tool_calls"


def test_a_plain_completion_is_read_too() -> None:
    message = {"role": "assistant", "content": f"<think>Hm.</think>{HERMES}", "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    value = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
    }
    request = {key: value for key, value in TOOLS.items() if key != "stream"}
    outcome = normalize(
        json.dumps(value).encode(), request, think_tags=True, text_tool_calls=("hermes",)
    )
    (got,) = json.loads(outcome.out)["choices"]
    assert got["message"]["reasoning_content"] == "Hm."
    assert got["message"]["tool_calls"][0]["function"]["name"] == "get_weather"
    assert got["finish_reason"] == "tool_calls"


def test_what_was_held_back_is_not_lost_when_the_stream_breaks() -> None:
    outcome = normalize(raw(*text("<thi"), done=False), think_tags=True)
    assert outcome.said() == "<thi"


def test_a_dialect_nobody_knows_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"'herms'; there are .*did you mean 'hermes'"):
        normalize(b"", text_tool_calls=("herms",))


def test_all_of_them_are_off_by_default() -> None:
    options = Options()
    guesses = (options.think_tags, options.special_tokens, options.cumulative)
    assert (*guesses, options.text_tool_calls) == (False, False, False, ())
