"""Where the marks are, on each rule's own example."""

from __future__ import annotations

import json

import pytest

from normalizer import Options, RequestInfo
from normalizer.catalogue import Rule, rule, rules
from normalizer.catalogue.places import place
from normalizer.cli.check.lint import Answer, Finding, lint

# Known only by a silence, which a file does not have.
SILENCE = {"S511", "U609"}
# Of these no place in particular is wrong.
NOWHERE = {"E216", "X703", "X708", "X710", "X712", "R705"}


def found(one: Rule) -> Finding:
    request = RequestInfo.parse(one.endpoint, json.dumps(one.request).encode())
    answer = Answer(name="x", body=b"".join(one.example), request=request, status=one.status)
    findings = lint(answer, Options(**one.options)).findings
    return next(each for each in findings if each.code == one.deviation.code)


@pytest.mark.parametrize(
    "code", [one.deviation.code for one in rules() if one.deviation.code not in SILENCE]
)
def test_every_rule_is_found_at_a_place(code: str) -> None:
    finding = found(rule(code))
    assert (finding.span is None) == (code in NOWHERE)
    if finding.span is not None:
        assert 0 <= finding.span.start < finding.span.end <= len(finding.text)
    # JSON over several lines is shown on one
    example = b"".join(rule(code).example).decode("utf-8", "replace")
    assert "".join(finding.text.split()) in "".join(example.split())


@pytest.mark.parametrize(
    ("code", "marked"),
    [
        ("F101", "\ufeff"),
        ("F103", "data:"),
        ("F105", "event: message"),
        ("E202", '"id":"chatcmpl-2"'),
        ("E210", '"choices":[]'),
        ("C302", '"role":"assistant"'),
        ("C303", '"role":null'),
        ("C301", '"delta":{'),
        ("T402", '"index":0'),
        ("T404", '"id":123'),
        ("T408", '"name":"get_weather"'),
        ("S503", '"finish_reason":"eos_token"'),
        # known one event later, and shown where it is
        ("S505", '"finish_reason":"stop"'),
        ("U607", '"usage":{"prompt_tokens":11,"total_tokens":11}'),
        ("X702", '"error":null'),
        ("B806", '"detail":"The model `m` does not exist."'),
    ],
)
def test_the_place(code: str, marked: str) -> None:
    finding = found(rule(code))
    assert finding.span is not None
    assert finding.text[finding.span.start : finding.span.end] == marked


@pytest.mark.parametrize(
    ("code", "line", "marked"),
    [
        ("E202", 'data: {"a" : {"id":1}, "id" : "x"}', '"id" : "x"'),
        (
            "S503",
            '{"choices":[{"finish_reason":null},{"finish_reason":"eos"}]}',
            '"finish_reason":"eos"',
        ),
        ("S503", '{"choices":[{"x\\"y":"}","finish_reason":"eos"}]}', '"finish_reason":"eos"'),
        # what is not there is marked where it should be
        ("E201", 'data: {"model":"m"}', "{"),
        ("T401", '{"choices":[{"delta":{"tool_calls":[{"id":"a"}]}}]}', "{"),
        ("E202", "data: [DONE]", None),
        ("E202", 'data: {"id":', None),
        ("E202", 'data: {"id" 1}', None),
        ("E202", "", None),
        ("NONE", '{"id":1}', None),
    ],
)
def test_of_a_line(code: str, line: str, marked: str | None) -> None:
    span = place(code, line)
    assert (line[span.start : span.end] if span else None) == marked


def test_deep_json_is_no_crash() -> None:
    assert place("E202", "[" * 100_000) is None
