"""The judge itself: it finds each of these faults, and by the rule that names it.

Each fault is planted into an answer that left canonical, by a change of its text. A judge that
cannot fail judges nothing.
"""

from __future__ import annotations

import re

import pytest

from normalizer import Normalizer, RequestInfo
from tests.conformance import check

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
TOOLS = [{"type": "function", "name": "look", "function": {"name": "look"}}]
REQUESTS = {
    CHAT: {"stream": True, "tools": TOOLS, "stream_options": {"include_usage": True}},
    RESPONSES: {"stream": True, "tools": TOOLS},
    MESSAGES: {"stream": True, "tools": TOOLS, "messages": []},
}

_HEAD = '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":['
_RAW_CHAT = "".join(
    f"data: {_HEAD}{choices}]{usage}}}\n\n"
    for choices, usage in (
        ('{"index":0,"delta":{"role":"assistant","content":"Hel"},"finish_reason":null}', ""),
        ('{"index":0,"delta":{"content":"lo"},"finish_reason":null}', ""),
        ('{"index":0,"delta":{"reasoning_content":"Hm"},"finish_reason":null}', ""),
        (
            """{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function",
"function":{"name":"look","arguments":""}}]},"finish_reason":null}""".replace("\n", ""),
            "",
        ),
        (
            """{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\\"q\\":1}"}}]},
"finish_reason":null}""".replace("\n", ""),
            "",
        ),
        ('{"index":0,"delta":{},"finish_reason":"tool_calls"}', ""),
        ("", ',"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}'),
    )
)
_RAW_CHAT += "data: [DONE]\n\n"
_RAW_RESPONSES = """{"id":"r","object":"response","created_at":1,"status":"completed","model":"m",
"output":[{"id":"i","type":"message","status":"completed","role":"assistant","content":
[{"type":"output_text","text":"Hello","annotations":[]}]},{"id":"f","type":"function_call",
"status":"completed","call_id":"a","name":"look","arguments":"{\\"q\\":1}"}],
"usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}"""
_RAW_MESSAGES = """{"id":"m","type":"message","role":"assistant","model":"m","content":
[{"type":"text","text":"Hello"},{"type":"tool_use","id":"a","name":"look","input":{"q":1}}],
"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":4}}"""
RAW = {CHAT: _RAW_CHAT, RESPONSES: _RAW_RESPONSES, MESSAGES: _RAW_MESSAGES}

# of each API: the rule, a pattern in what left, and what it is replaced by
FAULTS = {
    CHAT: [
        ("wire", r"\n\n", "\r\n\r\n"),
        ("wire", r"^", "\ufeff"),
        ("wire", r"^data", "id: 1\ndata"),
        ("wire", r"^", "event: ping\ndata: {}\n\n"),
        ("wire", r'"created":1', '"created":NaN'),
        ("wire", r"Hel", r"\\ud83d"),
        ("wire", r"\Z", "data: [DONE]\n\n"),
        ("end", r"data: \[DONE\]\n\n", ""),
        ("end", r"data: [^\n]*tool_calls\"\}[^\n]*\n\n", ""),
        ("form", r'"id":"c"', '"id":""'),
        ("form", r'("id":)"c"(.*?"lo")', r'\1"d"\2'),
        ("form", r'"model":"m"', '"model":null'),
        ("form", r'"created":1', '"created":"1"'),
        ("form", r'"object":"chat.completion.chunk"', '"object":"chat.completion"'),
        ("form", r'"content":"lo"', '"content":[]'),
        ("form", r'"content":"lo"', '"content":"lo","tool_calls":null'),
        ("form", r'"id":"a"', '"id":""'),
        ("form", r'"name":"look"', '"name":""'),
        ("form", r'"arguments":""', '"arguments":"{"'),
        ("form", r'"finish_reason":"tool_calls"', '"finish_reason":"eos"'),
        ("form", r'"reasoning_content"', '"reasoning"'),
        ("form", r'"index":0', '"index":-1'),
        ("form", r'"delta":\{\}', '"delta":{"content":"!"}'),
        ("form", r"(data: \[DONE\])", r'data: {"error":"boom"}\n\n\1'),
        ("order", r'"role":"assistant",', ""),
        ("order", r'"content":"lo"', '"role":"assistant","content":"lo"'),
        ("order", r'"tool_calls":\[\{"index":0', '"tool_calls":[{"index":1'),
        ("order", r"(data: [^\n]*\"lo\"[^\n]*\n\n)(.*?)(data: \[DONE)", r"\2\1\3"),
        ("order", r"(data: [^\n]*\"Hel\"[^\n]*\n\n)", rf"\1data: {_HEAD}]}}\n\n"),
        ("lost", r"data: [^\n]*\"lo\"[^\n]*\n\n", ""),
        ("lost", r'"Hm"', '""'),
        ("lost", r'\{\\"q\\":1\}', r'{\\"q\\":'),
        ("lost", r'"name":"look"', '"name":"see"'),
        ("lost", r"data: [^\n]*prompt_tokens[^\n]*\n\n", ""),
        ("invented", r'"lo"', '"lo!"'),
        ("invented", r"(data: [^\n]*\"lo\"[^\n]*\n\n)", r"\1\1"),
        ("invented", r'(\{\\"q\\":1\})', r"\1\1"),
        ("usage", r'"completion_tokens":4', '"completion_tokens":5'),
    ],
    RESPONSES: [
        ("wire", r"event: response.created\n", ""),
        ("wire", r"event: response.created", "event: response.begun"),
        ("wire", r"\n\n", "\r\n\r\n"),
        ("end", r"event: response.completed.*", ""),
        ("end", r'("type":"output_text"[^}]*?"text":")Hello', r"\1Hell"),
        ("end", r'(event: response.completed.*"output":\[).*?(\],"usage)', r"\1\2"),
        ("end", r"event: response.output_item.done\n[^\n]*\n\n", ""),
        ("form", r'"model":"m"', '"model":""'),
        ("form", r'"created_at":1', '"created_at":"1"'),
        ("form", r'"name":"look"', '"name":""'),
        ("form", r'"call_id":"a"', '"call_id":""'),
        ("form", r'(output_item.done.*?)"annotations":\[\]', r'\1"notes":[]'),
        ("form", r'"delta":"Hello"', '"delta":["Hello"]'),
        ("order", r"event: response.created\n[^\n]*\n\n", ""),
        ("order", r'"sequence_number":2', '"sequence_number":0'),
        ("order", r'(output_text.delta[^\n]*"output_index":)0', r"\g<1>7"),
        ("order", r'(output_text.delta[^\n]*"item_id":)"\w+"', r'\1"other"'),
        ("order", r"event: response.content_part.added\n[^\n]*\n\n", ""),
        ("order", r"event: response.content_part.done\n[^\n]*\n\n", ""),
        ("order", r"(event: response.output_item.done\n[^\n]*\n\n)(.*\Z)", r"\2\1"),
        ("order", r'(event: response.completed.*?"id":)"r"', r'\1"s"'),
        ("lost", r"event: response.output_text.delta\n[^\n]*\n\n", ""),
        ("lost", r'("delta":"\{\\"q\\":)1\}', r"\1"),
        ("invented", r'("delta":"Hello)', r"\1!"),
        ("invented", r"(event: response.output_text.delta\n[^\n]*\n\n)", r"\1\1"),
        ("usage", r'"output_tokens":4', '"output_tokens":5'),
    ],
    MESSAGES: [
        ("wire", r"event: message_start\n", ""),
        ("wire", r"event: message_stop", "event: ping"),
        ("end", r"event: message_stop\n[^\n]*\n\n", ""),
        ("end", r"event: message_delta\n[^\n]*\n\n", ""),
        ("end", r"\Z", "data: [DONE]\n\n"),
        ("form", r'"id":"a"', '"id":""'),
        ("form", r'"model":"m"', '"model":null'),
        ("form", r'"stop_reason":"tool_use"', '"stop_reason":"stop"'),
        ("end", r'"stop_reason":"tool_use"', '"stop_reason":"end_turn"'),
        ("form", r'"input":\{\}', '"input":"{}"'),
        ("form", r'"text":""', '"text":"H"'),
        ("form", r'"output_tokens":4', '"output_tokens":null'),
        ("form", r'("type":)"text_delta","text":"Hello"', r'\1"text_delta","text":null'),
        (
            "form",
            r"event: message_stop.*",
            'event: error\ndata: {"type":"error","error":{"type":"boom","message":"x"}}\n\n',
        ),
        ("order", r"(event: message_start\n[^\n]*\n\n)", r"\1\1"),
        ("order", r"event: message_start\n[^\n]*\n\n", ""),
        ("order", r"event: content_block_stop\n[^\n]*\n\n", ""),
        ("order", r"(event: message_delta\n[^\n]*\n\n)", r"\1\1"),
        ("order", r'(content_block_start","index":)1', r"\g<1>2"),
        ("order", r'(content_block_delta","index":)1', r"\g<1>0"),
        ("order", r"\Z", 'event: ping\ndata: {"type":"ping"}\n\n'),
        ("lost", r'"text":"Hello"', '"text":"Hell"'),
        ("lost", r'("partial_json":"\{\\"q\\":)1\}', r"\1"),
        ("lost", r'"name":"look"', '"name":"see"'),
        ("invented", r'"text":"Hello"', '"text":"Hello!"'),
        ("usage", r'"output_tokens":4', '"output_tokens":5'),
    ],
}
OPTIONAL = "event: response.in_progress"
CASES = [(path, *fault) for path, faults in FAULTS.items() for fault in faults]


def canonical(path: str) -> str:
    normalizer = Normalizer(RequestInfo.parse(path, REQUESTS[path]))
    return (normalizer.feed(RAW[path].encode()) + normalizer.close()).decode()


def judged(path: str, out: str) -> list[str]:
    return [one.rule for one in check(path, REQUESTS[path], RAW[path].encode(), out.encode())]


@pytest.mark.parametrize("path", REQUESTS)
def test_what_the_faults_are_planted_in_has_none(path: str) -> None:
    assert judged(path, canonical(path)) == []


@pytest.mark.parametrize(("path", "rule", "pattern", "planted"), CASES)
def test_the_planted_fault_is_found(path: str, rule: str, pattern: str, planted: str) -> None:
    before = canonical(path)
    after = re.sub(pattern, planted, before, count=1, flags=re.DOTALL)
    assert after != before
    assert rule in judged(path, after)


@pytest.mark.parametrize("path", REQUESTS)
def test_no_event_can_be_missing(path: str) -> None:
    events = canonical(path).split("\n\n")[:-1]
    for at in range(len(events)):
        rest = [*events[:at], *events[at + 1 :]]
        if events[at].startswith(OPTIONAL):
            continue
        assert judged(path, "".join(f"{one}\n\n" for one in rest)), events[at]


@pytest.mark.parametrize("path", REQUESTS)
def test_no_event_can_come_twice(path: str) -> None:
    events = canonical(path).split("\n\n")[:-1]
    for at in range(len(events)):
        twice = [*events[: at + 1], *events[at:]]
        assert judged(path, "".join(f"{one}\n\n" for one in twice)), events[at]
