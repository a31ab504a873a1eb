"""What holds for any stream: any split, twice, canonical ones untouched, nothing lost, no crash."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normalizer import Normalizer, Options, RequestInfo
from normalizer.wires.chat.markup.text_calls import DIALECTS
from tests.streams import CHAT, DONE, ENVELOPE, STREAM, WITH_USAGE, chunk, event, normalize, raw

WORDS = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    [
        "Hello",
        " world",
        "\n\n",
        'say "hi"',
        "\\",
        "ä",
        "祝你",
        "😀",
        "data: x",
        "[DONE]",
        "</think>",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=4,
)
KNOWN = st.sampled_from(
    [
        *("id", "object", "created", "model", "choices", "usage", "error", "system_fingerprint"),
        *("index", "delta", "finish_reason", "message", "text", "logprobs", "role", "content"),
        *("reasoning", "reasoning_content", "reasoning_details", "refusal", "tool_calls"),
        *("function_call", "function", "name", "arguments", "type", "code", "detail", "x_groq"),
    ]
)
REQUESTS = st.sampled_from(
    [
        None,
        STREAM,
        WITH_USAGE,
        {"model": "m"},
        {**STREAM, "n": 2},
        {**STREAM, "functions": [{"name": "f"}]},
        {**STREAM, "tools": [{"type": "function", "function": {"name": "f"}}]},
    ]
)


@st.composite
def canonical(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    """A canonical stream of one choice, and the request that it answers."""
    asked = draw(st.booleans())
    extras: list[dict[str, Any]] = [{}, {"service_tier": "default"}, {"x": {"y": 1}}]
    firsts: list[dict[str, Any]] = [{"content": ""}, {"content": None, "refusal": None}, {}]
    extra, first = draw(st.sampled_from(extras)), draw(st.sampled_from(firsts))
    chunks: list[Any] = [chunk({"role": "assistant", **first}, **extra)]
    for kind, word in draw(
        st.lists(st.tuples(st.sampled_from(["reasoning_content", "content"]), WORDS.filter(bool)))
    ):
        chunks.append(chunk({kind: word}, **extra))
    arguments = draw(
        st.lists(st.lists(WORDS.filter(str.strip), min_size=1, max_size=4), max_size=2)
    )
    for number, parts in enumerate(arguments):
        head = {"index": number, "id": f"c{number}", "type": "function"}
        function = {"name": f"f{number}", "arguments": ""}
        chunks.append(chunk({"tool_calls": [{**head, "function": function}]}, **extra))
        text = json.dumps({"a": "".join(parts)}, ensure_ascii=False)
        size = -(-len(text) // len(parts))
        for start in range(0, len(text), size):
            fragment = {"index": number, "function": {"arguments": text[start : start + size]}}
            chunks.append(chunk({"tool_calls": [fragment]}, **extra))
    words = ["length", "content_filter", "tool_calls" if arguments else "stop"]
    chunks.append(chunk({}, draw(st.sampled_from(words)), **extra))
    if asked:
        usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        chunks.append({**ENVELOPE, "choices": [], "usage": usage})
    comments = draw(st.lists(st.integers(0, len(chunks)), max_size=2))
    for place in comments:
        chunks.insert(place, b": ping\n\n")
    return (WITH_USAGE if asked else STREAM), raw(*chunks)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A stream in which some values are anything at all."""
    _, body = draw(canonical())
    events = [json.loads(one[6:]) for one in body.split(b"\n\n") if one.startswith(b"data: {")]
    for _ in range(draw(st.integers(1, 4))):
        holder: Any = draw(st.sampled_from(events))
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys or draw(st.integers(0, 3)) == 0:
                break
            inner = holder[draw(st.sampled_from(keys))]
            if not isinstance(inner, (dict, list)):
                break
            holder = inner
        if isinstance(holder, dict):
            holder[draw(KNOWN)] = draw(JSON)
        else:
            holder.append(draw(JSON))
    written = [b"data: " + json.dumps(one).encode() + b"\n\n" for one in events]
    return b"".join(written) + (DONE if draw(st.booleans()) else b"")


def without_made_up(out: bytes) -> bytes:
    """Ids and times that are made up differ from run to run."""
    prefixes = rb"chatcmpl-|cmpl-|call_|msg_|toolu_|resp_|rs_|fc_|ctc_"
    names = rb"id|item_id|created|created_at"
    return re.sub(rb'"(?:%s)": ?(?:"(?:%s)[0-9a-f]+"|\d+)' % (names, prefixes), b"", out)


def split(body: bytes, draws: st.DataObject) -> list[bytes]:
    cuts = sorted(draws.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    return [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]


def blocks_and_comments(body: bytes) -> tuple[list[bytes], list[int]]:
    """The events of a stream, and for each comment how many of them came before it."""
    events: list[bytes] = []
    places: list[int] = []
    for block in body.split(b"\n\n"):
        if block.startswith(b":"):
            places.append(len(events))
        else:
            events.append(block)
    return events, places


def assert_as_it_came(out: bytes, body: bytes) -> None:
    """The same bytes; a comment may have passed in front of calls that waited, and no more."""
    events, places = blocks_and_comments(body)
    left, now = blocks_and_comments(out)
    assert left == events
    assert len(now) == len(places)
    for earlier, place in zip(now, places, strict=True):
        assert earlier <= place
        assert all(b'"tool_calls":[' in one for one in events[earlier:place])


# what is only reported: any text may be a call's arguments here, and there may be no text at all
REPORTED = {"T423", "X712"}


@given(canonical())
def test_what_is_canonical_leaves_byte_for_byte(stream: tuple[dict[str, Any], bytes]) -> None:
    request, body = stream
    outcome = normalize(body, request)
    assert_as_it_came(outcome.out, body)
    assert not outcome.codes - REPORTED


@given(canonical(), st.data())
def test_any_split_gives_the_same(
    stream: tuple[dict[str, Any], bytes], draws: st.DataObject
) -> None:
    request, body = stream
    whole = normalize(body, request)
    for pieces in (split(body, draws), [body[i : i + 1] for i in range(len(body))]):
        parts = normalize(b"", request, pieces=pieces)
        assert parts.out == whole.out
        assert parts.report.codes == whole.report.codes


@given(mutated(), REQUESTS, st.data())
@settings(max_examples=300)
def test_any_split_of_any_stream_gives_the_same(
    body: bytes, request_body: Any, draws: st.DataObject
) -> None:
    whole = normalize(body, request_body)
    for pieces in (split(body, draws), [body[i : i + 1] for i in range(len(body))]):
        parts = normalize(b"", request_body, pieces=pieces)
        assert without_made_up(parts.out) == without_made_up(whole.out)
        assert parts.report.codes == whole.report.codes
        assert parts.report.characters_in == whole.report.characters_in


@given(mutated(), REQUESTS)
@settings(max_examples=300)
def test_what_leaves_is_strict(body: bytes, request_body: Any) -> None:
    outcome = normalize(body, request_body)
    out = outcome.out.decode("utf-8")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    if outcome.normalizer.content_type != "text/event-stream; charset=utf-8":
        json.loads(out, parse_constant=refuse)
        return
    assert out.endswith("data: [DONE]\n\n")
    for block in out.split("\n\n")[:-1]:
        assert block.startswith((": ", ":", "data: "))
        assert "\n" not in block
        if block.startswith("data: {"):
            json.loads(block[6:], parse_constant=refuse)


@given(canonical(), st.data())
def test_twice_changes_nothing(stream: tuple[dict[str, Any], bytes], draws: st.DataObject) -> None:
    """Of a stream that was made uncanonical in the ways that upstreams have."""
    request, body = stream
    for found, put in draws.draw(st.lists(st.sampled_from(SPOILS), max_size=4, unique=True)):
        body = re.sub(found, put, body)
    once = normalize(body, request)
    twice = normalize(once.out, request)
    assert_as_it_came(twice.out, once.out)
    assert not twice.codes - REPORTED


# what upstreams do to a stream, as replacements in a canonical one
SPOILS = [
    (rb'"finish_reason":null', rb'"finish_reason":""'),
    (rb',"finish_reason":null', rb""),
    (rb'"delta":\{"content"', rb'"delta":{"role":"assistant","content"'),
    (rb'"delta":\{\}', rb'"delta":null'),
    (rb'"index":0,"delta"', rb'"delta"'),
    (rb'"finish_reason":"stop"', rb'"finish_reason":"eos"'),
    (rb'"reasoning_content"', rb'"reasoning"'),
    (rb'"tool_calls":\[\{"index":\d,', rb'"tool_calls":[{'),
    (rb'"tool_calls":\[\{"index":\d,', rb'"tool_calls":[{"index":0,'),
    (rb'"type":"function",', rb""),
    (rb'"model":"m"', rb'"model":""'),
    (rb'"created":\d+', rb'"created":1700000000.5'),
    (rb"(?m)^data: \[DONE\]\n\n", rb""),
    (rb"\n\n", rb"\r\n\r\n"),
    (rb"(?m)^data: ", rb"data:"),
    (rb'"delta":\{"content":("[^"\\]*")', rb'"text":\1,"delta":{"token_id":7,"content":\1'),
    (rb'("reasoning_content":("[^"\\]*"))', rb'\1,"reasoning":\2,"channel":"analysis"'),
    (rb'(?m)^(.*"delta":)\{.*\}(,"finish_reason":null.*\n\n)', rb"\g<0>\1{}\2\1{}\2\1{}\2"),
]


@given(canonical(), st.data())
def test_nothing_is_lost(stream: tuple[dict[str, Any], bytes], draws: st.DataObject) -> None:
    request, body = stream
    clean = normalize(body, request)
    for found, put in draws.draw(st.lists(st.sampled_from(SPOILS), max_size=5, unique=True)):
        body = re.sub(found, put, body)
    report = normalize(body, request).report
    assert report.characters_in == clean.report.characters_in
    said = {k: n for k, n in report.characters_out.items() if k != "arguments"}
    assert said == {k: n for k, n in report.characters_in.items() if k != "arguments"}


def the_fast_ways_agree(request_body: Any, pieces: list[bytes]) -> None:
    """Templates and plain chunks are short cuts: without them the same must come out."""
    fast = normalize(b"", request_body, pieces=pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("normalizer.core.templates.learn", lambda *_: None)
        patch.setattr("normalizer.wires.chat.chunks.Chunks._is_plain", lambda *_: False)
        slow = normalize(b"", request_body, pieces=pieces)
    assert without_made_up(fast.out) == without_made_up(slow.out)
    assert fast.report.codes == slow.report.codes
    assert fast.report.characters_out == slow.report.characters_out
    assert fast.report.events_out == slow.report.events_out


@given(mutated(), REQUESTS, st.data())
@settings(max_examples=200)
def test_the_fast_ways_do_what_the_stages_do(
    body: bytes, request_body: Any, draws: st.DataObject
) -> None:
    the_fast_ways_agree(request_body, split(body, draws))


@given(st.lists(WORDS.filter(bool), min_size=3, max_size=40), st.sampled_from(SPOILS), st.data())
def test_the_fast_ways_in_long_streams(
    words: list[str], spoil: tuple[bytes, bytes], draws: st.DataObject
) -> None:
    chunks = [chunk({"content": word}) for word in words]
    body = re.sub(*spoil, raw(chunk({"role": "assistant"}), *chunks, chunk({}, "stop")))
    the_fast_ways_agree(STREAM, split(body, draws))


def test_streams_through_one_process_share_nothing() -> None:
    """Two streams, event by event in turn: each is as if it were alone."""
    bodies = [
        [
            event(chunk({"role": "assistant", "content": word}, id=f"chatcmpl-{word}"))
            for word in words
        ]
        for words in (["a", "b", "c"], ["x", "y", "z"])
    ]
    alone = [normalize(b"", STREAM, pieces=[*one, DONE]).out for one in bodies]
    both = [Normalizer(RequestInfo.parse(CHAT, STREAM), Options()) for _ in bodies]
    out = [b"", b""]
    for events in zip(*bodies, strict=True):
        for number, one in enumerate(events):
            out[number] += both[number].feed(one)
    for number, normalizer in enumerate(both):
        out[number] += normalizer.feed(DONE) + normalizer.close()
    assert out == alone


OPTIONS: list[dict[str, Any]] = [
    *({"ignore": (family,)} for family in "FECTSUXB"),
    *({"reasoning": name} for name in ("reasoning", "both", "keep")),
    *({"usage": policy} for policy in ("chunk", "finish", "drop")),
    *({"finish": "keep"}, {"extras": "drop"}, {"comments": "drop"}, {"mode": "report"}),
    {"think_tags": True, "special_tokens": True, "cumulative": True},
    {"text_tool_calls": tuple(DIALECTS), "think_markup": ("harmony", "granite", "prompt")},
]


@given(mutated(), REQUESTS, st.sampled_from(OPTIONS), st.data())
@settings(max_examples=300)
def test_no_option_breaks_a_stream(
    body: bytes, request_body: Any, options: dict[str, Any], draws: st.DataObject
) -> None:
    pieces = split(body, draws)
    whole = normalize(body, request_body, **options)
    parts = normalize(b"", request_body, pieces=pieces, **options)
    assert without_made_up(parts.out) == without_made_up(whole.out)
    assert parts.report.codes == whole.report.codes
