"""Nothing that bytes hold makes `feed` or `close` raise: what tools/fuzz and its like found."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from normalizer import Normalizer, Options, RequestInfo
from normalizer.core.lenient import clean, dumps
from tests.streams import CHAT, COMPLETIONS, STREAM, USAGE, call, chunk, event, normalize, raw

ROOT = Path(__file__).parent.parent
TOOLS = {**STREAM, "tools": [{"type": "function", "function": {"name": "look"}}]}


@pytest.fixture(autouse=True)
def unguarded(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test passes because the last guard hid an exception."""
    caplog.set_level(logging.ERROR, "normalizer")
    yield
    assert not caplog.records, caplog.text


def deep(opens: str = "[", closes: str = "]", depth: int = 500) -> bytes:
    return (opens * depth + closes * depth).encode()


@pytest.mark.parametrize("nested", [deep(), deep('{"a":', "}", 300).replace(b":}", b":1}", 1)])
def test_deep_nesting_in_a_chunk_that_is_written_anew_is_kept(nested: bytes) -> None:
    body = b'data: {"choices":[{"delta":{"content":"x"}}],"z":' + nested + b"}\n\n"
    done = normalize(raw(body, chunk({}, "stop")))
    assert nested in done.out
    assert done.said() == "x"
    assert done.report.end == "done"


def test_deep_nesting_in_a_body_that_is_compared_is_kept() -> None:
    nested = deep('{"a":', "}", 500).replace(b":}", b":1}", 1)
    message = b'{"role":"assistant","content":"x","refusal":null}'
    body = (
        b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
        b'"message":' + message + b',"logprobs":null,"finish_reason":"stop"}],"z":' + nested + b"}"
    )
    done = normalize(body, {})
    assert nested in done.out
    assert done.report.end == "done"


def test_deep_nesting_in_json_that_only_lenient_parsing_reads_is_kept() -> None:
    """A chunk with NaN is copied first, without what JSON has not."""
    nested = deep(depth=200) + b',"n":NaN'
    body = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}],"z":' + nested + b"}\n\n"
    done = normalize(raw(body, chunk({}, "stop")))
    assert deep(depth=200) + b',"n":null' in done.out


def test_clean_and_dumps_do_not_need_a_stack() -> None:
    value: Any = {"a\ud800": float("nan"), "b": [1, 2**70, "ä"], "c": {}, "d": []}
    for _ in range(5000):
        value = [value, {"logprob": [float("inf")]}]
    written = dumps(value)
    assert written.startswith(b"[" * 5000)
    assert '{"a\ufffd":null,"b":[1,1180591620717411303424,"ä"],"c":{},"d":[]}'.encode() in written
    assert written.endswith(b'{"logprob":[-9999.0]}]')
    assert clean(clean(value)[0]) is not value


def test_an_index_with_too_many_digits_is_no_index() -> None:
    body = event({"choices": [{"index": "9" * 4301, "delta": {"content": "x"}}]})
    done = normalize(raw(body, chunk({}, "stop")))
    assert done.said() == "x"
    assert "E211" in done.codes


@pytest.mark.parametrize("broken", [b"{l}", b'{"a":}', b'{"a":01}', b"{1:2}"])
def test_a_usage_that_is_no_json_is_not_taken_for_one_in_a_frame(broken: bytes) -> None:
    chunks = [event({**chunk({"content": word}), "usage": USAGE}) for word in "abcd"]
    whole = event(json.loads(chunks[3][6:]))
    torn = whole.replace(json.dumps(USAGE, separators=(",", ":")).encode(), broken)
    assert torn != whole
    done = normalize(raw(*chunks, torn))
    assert done.said() == "abcd"
    assert done.error["type"] == "upstream_invalid"


@pytest.mark.parametrize("index", [[1], " ", {"a": 1}, 7, "1"])
def test_a_deltas_index_is_not_a_legacy_choices(index: Any) -> None:
    choice = {"index": 0, "delta": {"content": "x", "index": index}}
    done = normalize(raw(event({"choices": [choice]})), path=COMPLETIONS)
    assert done.chunks[0]["choices"][0]["text"] == "x"
    assert {one["choices"][0]["index"] for one in done.chunks} == {0}


def test_the_text_of_a_legacy_choices_delta_is_its_text() -> None:
    body = event({"choices": [{"index": 0, "delta": {"text": "x", "seed": 7}}]})
    done = normalize(raw(body), path=COMPLETIONS)
    assert done.chunks[0]["choices"][0]["text"] == "x"
    assert done.chunks[0]["choices"][0]["seed"] == 7


def test_a_legacy_completion_with_a_delta_in_its_delta_is_gathered() -> None:
    choice = {"index": [1], "delta": {"index": " ", "delta": {"content": "x"}, "content": "y"}}
    body = json.dumps({"choices": [choice]}).encode()
    done = normalize(body, {"model": "m"}, COMPLETIONS)
    assert json.loads(done.out)["choices"][0]["text"] == "y"


def test_a_call_that_is_no_object_beside_a_call_in_the_text() -> None:
    said = event(chunk({"content": "Action: look\nAction Input: {}\nObservation:"}))
    done = normalize(
        raw(said, event(chunk({"tool_calls": ["x"]}))), TOOLS, text_tool_calls=("react",)
    )
    assert [(name, arguments) for _, name, arguments in done.calls] == [("look", "{}")]


def test_arguments_that_are_an_object_before_the_name_with_their_repair_off() -> None:
    done = normalize(raw(call({"a": 1}), call("", name="f")), select=("E206",))
    assert b'"arguments":"{\\"a\\":1}"' in done.out
    assert b'"name":"f"' in done.out


@pytest.mark.parametrize("word", [[[[]]], [""], {"a": []}, [0]])
def test_a_finish_without_a_word_with_its_repair_off(word: Any) -> None:
    head = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    first = chunk({"role": "assistant", "content": "Hi"})
    some = chunk({"tool_calls": ["", head]}, word)
    done = normalize(raw(first, some, call("{")), ignore=("S503",))
    assert done.calls[0][1] == "f"


@pytest.mark.parametrize("holder", ["finish_reason", "text"])
def test_deep_nesting_where_a_word_is_expected(holder: str) -> None:
    path = COMPLETIONS if holder == "text" else CHAT
    body = b'data: {"choices":[{"index":0,"delta":{},"' + holder.encode() + b'":' + deep() + b"}]}"
    done = normalize(body + b"\n\ndata: [DONE]\n\n", path=path)
    assert done.report.end in ("done", "error")
    if holder == "text":
        assert done.chunks[0]["choices"][0]["text"] == deep().decode()


def test_the_fuzzer_finds_nothing_in_the_cassettes() -> None:
    done = subprocess.run(
        [sys.executable, "tools/fuzz", "--count", "300", "--corpus", "cassettes"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "300 executions" in done.stdout


SPELT = b'data: {"choices":[{"delta":{"content":"x"},"z":1.10}],"y":2.50}'
NO_DELTA = b'data: {"choices":[{"delta":[-1],"finish_reason":"length"}]}'
KIND_LATE = (
    b'data: {"choices":[{"delta":{"tool_calls":[{"custom":{}}]}}]}\n\n'
    b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"f"}}]}}]}'
)
ODD_INDEX = b"\n\n".join(
    b'data: {"choices":[{"delta":{"tool_calls":[' + fragment + b"]}}]}"
    for fragment in (
        b'{"function":{"name":"f"}}',
        b'{"function":{"arguments":"{"}}',
        b'{"index":[],"function":{"arguments":"a"}}',
    )
)
ODD_CALLS = b'data: {"choices":[{"delta":{"tool_calls":[7,{"index":0,"function":{"name":"f"}}]}}]}'
NO_USAGE = b'data: {"type":"message","usage":[]}\n\ndata: [DONE]'


@pytest.mark.parametrize(
    ("path", "body", "options"),
    [
        (CHAT, b"data: " + b"[" * 600 + b"]" * 600, {}),
        (CHAT, SPELT, {"extras": "drop"}),
        (CHAT, NO_DELTA, {"ignore": ("C3",)}),
        (CHAT, KIND_LATE, {}),
        (CHAT, ODD_INDEX, {"select": ("F106",)}),
        (CHAT, ODD_CALLS, {"select": ("E",)}),
        ("/v1/responses", b'{"response":{"id":"resp_1"}}', {"select": ("X7",)}),
        ("/v1/messages", NO_USAGE, {"ignore": ("M",)}),
    ],
)
def test_what_the_fuzzer_found_once(path: str, body: bytes, options: dict[str, Any]) -> None:
    """The last guard has nothing to catch."""
    for stream in (True, False):
        asked = {"messages": [], "functions": [{"name": "f"}], "stream": stream}
        request = RequestInfo.parse(path, asked)
        normalizer = Normalizer(request, Options(**options))
        out = normalizer.feed(body + b"\n\n") + normalizer.close()
        assert b"normalizer_error" not in out
