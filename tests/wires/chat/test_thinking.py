"""Reasoning that is marked up in the text."""

from __future__ import annotations

from typing import Any

import pytest

from normalizer import Options, Report, RequestInfo
from normalizer.core.findings import Findings
from normalizer.wires.chat.markup import Markup
from tests.streams import chunk, normalize, raw
from tests.wires.chat.test_text_calls import REQUEST, read, splits

ANALYSIS = "<|channel|>analysis<|message|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>"

# the markup, a text, the reasoning in it, and the answer
THOUGHTS: list[tuple[str, str, str, str]] = [
    ("tags", "<think>\nHm.\n</think>\n\nFour.", "Hm.\n", "Four."),
    ("tags", "\n <thinking>Hm.</thinking>Four.", "Hm.", "Four."),
    ("tags", "<thought>Hm.</thought>\nFour.", "Hm.", "Four."),
    ("tags", "<reasoning>\nHm.\n</reasoning>\nFour.", "Hm.\n", "Four."),
    ("tags", "[THINK]Hm.[/THINK]Four.", "Hm.", "Four."),
    ("tags", "<seed:think>Hm.</seed:think>Four.", "Hm.", "Four."),
    ("tags", "◁think▷Hm.◁/think▷Four.", "Hm.", "Four."),
    ("tags", "<|START_THINKING|>Hm.<|END_THINKING|>Four.", "Hm.", "Four."),
    ("tags", "<think></think>Four.", "", "Four."),
    ("tags", "<think>a <thinking> b </thinking> c</think>d", "a <thinking> b </thinking> c", "d"),
    ("tags", "<think>never closed </thin", "never closed </thin", ""),
    ("tags", "<think>a</think>The tag </think> ends it.", "a", "The tag </think> ends it."),
    ("tags", "Four. <think>is a tag</think>", "", "Four. <think>is a tag</think>"),
    ("tags", "<thin ice", "", "<thin ice"),
    ("tags", "[THIN", "", "[THIN"),
    ("tags", "  \n", "", "  \n"),
    ("tags", "Here is my thought process: x", "", "Here is my thought process: x"),
    (
        "granite",
        "Here is my thought process: Hm.\n\nHere is my response: Four.",
        " Hm.\n\n",
        " Four.",
    ),
    ("granite", "Here's my thought process:\nHm. Here's my response:\nFour.", "Hm. ", "Four."),
    ("granite", "Here is my answer", "", "Here is my answer"),
    ("harmony", f"{ANALYSIS}Hm.<|end|>{FINAL}Four.<|return|>", "Hm.", "Four."),
    ("harmony", f"<|start|>assistant{ANALYSIS}Hm.<|end|>{FINAL}Four.", "Hm.", "Four."),
    (
        "harmony",
        (
            f"{ANALYSIS}Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>I look.<|end|>"
            f"<|start|>assistant{ANALYSIS} So.<|end|>{FINAL}Four."
        ),
        "Hm. So.",
        "I look.Four.",
    ),
    ("harmony", f"{ANALYSIS}Hm.<|channel|>final<|message|>Four.", "Hm.", "Four."),
    ("harmony", f"{ANALYSIS}never closed <|en", "never closed <|en", ""),
    ("harmony", "<|channel|>analysis and no more", "", "<|channel|>analysis and no more"),
    (
        "harmony",
        "Channels are <|channel|>analysis<|message|>",
        "",
        "Channels are <|channel|>analysis<|message|>",
    ),
    ("prompt", "Hm.\n</think>\n\nFour.", "Hm.\n", "Four."),
    ("prompt", "</think>Four.", "", "Four."),
    ("prompt", "Hm.</think>The tag </think> ends it.", "Hm.", "The tag </think> ends it."),
    ("prompt", "no answer yet </thi", "no answer yet </thi", ""),
]


@pytest.mark.parametrize(("markup", "text", "reasoning", "answer"), THOUGHTS)
def test_thoughts(markup: str, text: str, reasoning: str, answer: str) -> None:
    for pieces in splits(text):
        got = read(pieces, think_markup=(markup,))
        assert (got.reasoning, got.content) == (reasoning, answer)
        assert not got.codes or got.reasoning or "</think>" in text


def test_a_template_s_opener_may_be_written_too() -> None:
    for pieces in splits("<think>Hm.</think>Four."):
        got = read(pieces, think_markup=("tags", "prompt"))
        assert (got.reasoning, got.content) == ("Hm.", "Four.")


@pytest.mark.parametrize(
    ("pieces", "reasoning", "answer"),
    [
        (["x</think>y"], "x", "y"),
        (["Hm.\n</think>\n\nFour", "."], "Hm.\n", "Four."),
        (["x", "</think>y"], "", "x</think>y"),
        (["The tag </think> ends it."], "", "The tag </think> ends it."),
        (["The tag `</think>` ends it."], "", "The tag `</think>` ends it."),
        (["a <think>b</think>"], "", "a <think>b</think>"),
        (["</think>\n\nFour."], "", "Four."),
    ],
)
def test_a_closer_without_opener(pieces: list[str], reasoning: str, answer: str) -> None:
    """What was sent cannot be taken back: only what came with the closer can be reasoning."""
    got = read(pieces, think_tags=True)
    assert (got.reasoning, got.content) == (reasoning, answer)


def test_reasoning_leaves_as_it_comes() -> None:
    markup = Markup(Findings(Report()), Options(think_tags=True), REQUEST)
    assert markup.read(0, {"content": "<think>Let"}, ends=False) == [{"reasoning_content": "Let"}]
    assert markup.read(0, {"content": " me <"}, ends=False) == [{"reasoning_content": " me "}]
    assert markup.read(0, {"content": "b>"}, ends=False) == [{"reasoning_content": "<b>"}]


def test_a_finish_on_each_chunk_does_not_end_the_reasoning() -> None:
    markup = Markup(Findings(Report()), Options(think_tags=True), REQUEST)
    deltas = markup.read(0, {"content": "<think>x"}, ends=True)
    deltas += markup.read(0, {"content": "y</think>z"}, ends=True)
    assert deltas == [
        {"reasoning_content": "x"},
        {"reasoning_content": "y"},
        {"content": "z"},
    ]


def test_a_call_of_gpt_oss_behind_its_reasoning() -> None:
    text = (
        f"{ANALYSIS}I look.<|end|><|start|>assistant<|channel|>commentary to=functions.add "
        '<|constrain|>json<|message|>{"a": 1}<|call|>'
    )
    for pieces in splits(text):
        got = read(pieces, "harmony", think_tags=True)
        assert (got.calls, got.reasoning, got.content) == ([("add", {"a": 1})], "I look.", "")
        left = read(pieces, think_tags=True).content
        assert left == text.partition("<|end|>")[2]


# of all text "prompt" says that it is reasoning: for it there is no second pass
@pytest.mark.parametrize(
    ("markup", "text", "reasoning", "answer"), [row for row in THOUGHTS if row[0] != "prompt"]
)
def test_a_second_pass_changes_nothing(markup: str, text: str, reasoning: str, answer: str) -> None:
    first = read(list(text), think_markup=(markup,))
    options: Any = {"think_markup": (markup,)}
    again = Markup(Findings(Report()), Options(**options), RequestInfo(endpoint="chat"))
    deltas = [one for delta in first.deltas for one in again.read(0, dict(delta), ends=False)]
    second = "".join(one.get("content") or "" for one in deltas + again.rest(0))
    assert second == first.content


@pytest.mark.parametrize(
    ("chunks", "reasoning", "answer"),
    [
        ([chunk({"content": [{"type": "text", "text": "<think>x</think>y"}]})], "x", "y"),
        ([chunk({"content": "x</think>y"})], "x", "y"),
        (
            [chunk({"content": "<think>x"}, "stop"), chunk({"content": "y</think>z"}, "stop")],
            "xy",
            "z",
        ),
    ],
)
def test_markup_in_a_stream(chunks: list[Any], reasoning: str, answer: str) -> None:
    """In blocks, in one piece, and with a finish on each chunk."""
    outcome = normalize(raw(*chunks, chunk({}, "stop")), think_tags=True)
    assert (outcome.said("reasoning_content"), outcome.said()) == (reasoning, answer)
    assert outcome.finish() == "stop"
