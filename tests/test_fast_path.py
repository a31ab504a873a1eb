"""Long streams of like chunks: they leave as one would alone, and the report counts all of them.

Each stream goes through whole, where most of its chunks take the fast path, and byte by byte,
where none does: what leaves and what is reported are the same.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from normalizer import Normalizer, Options, RequestInfo
from tests.streams import (
    CHAT,
    COMPLETIONS,
    ENVELOPE,
    STREAM,
    USAGE,
    WITH_USAGE,
    Outcome,
    call,
    chunk,
    event,
    normalize,
    raw,
    text,
)

STOP = chunk({}, "stop")
WORDS = [f"word {n} " for n in range(150)]


def both(body: bytes, request: Any = STREAM, **options: Any) -> Outcome:
    """The body fed whole; fed byte by byte it is the same."""
    whole = normalize(body, request, **options)
    single = normalize(b"", request, pieces=[body[i : i + 1] for i in range(len(body))], **options)
    assert whole.out == single.out
    assert whole.report.codes == single.report.codes
    assert whole.report.end == single.report.end
    assert whole.report.usage == single.report.usage
    assert whole.report.characters_in == single.report.characters_in
    assert whole.report.characters_out == single.report.characters_out
    return whole


def counted(position: int) -> dict[str, int]:
    return {"prompt_tokens": 3, "completion_tokens": position, "total_tokens": 3 + position}


@pytest.mark.parametrize("request_body", [STREAM, WITH_USAGE])
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_usage_on_every_chunk(request_body: Any, place: str, nested: bool) -> None:
    more = {"prompt_tokens_details": {"cached_tokens": 1}} if nested else {}
    said = []
    for position, word in enumerate(WORDS):
        usage = {"usage": {**counted(position), **more}}
        one = chunk({"content": word})
        said.append({**usage, **one} if place == "before" else {**one, **usage})
    outcome = both(raw(*text(), *said, STOP), request_body)
    assert outcome.said() == "".join(WORDS)
    usages = [one["usage"] for one in outcome.chunks if one.get("usage")]
    assert usages == [{**counted(len(WORDS) - 1), **more}]
    assert outcome.report.usage == usages[0]
    assert outcome.report.codes["U601"] == len(WORDS)


def test_a_member_that_one_usage_in_between_has_stays() -> None:
    said = [chunk({"content": w}, usage=counted(n)) for n, w in enumerate(WORDS[:20])]
    said[12]["usage"] = {**counted(12), "searches": 2}
    said[15]["usage"] = counted(14)
    outcome = both(raw(*text(), *said, STOP))
    assert outcome.report.usage == {**counted(19), "searches": 2}
    assert outcome.report.codes["U610"] == 18


@pytest.mark.parametrize("odd", [None, 7, [1], "x", {}, {"a": [{}]}])
def test_a_usage_that_is_of_another_form_in_between(odd: Any) -> None:
    said = [chunk({"content": w}, usage=counted(n)) for n, w in enumerate(WORDS[:20])]
    said[12]["usage"] = odd
    assert both(raw(*text(), *said, STOP)).said() == "".join(WORDS[:20])


@pytest.mark.parametrize("odd", ["", "a b", 'a"b', "é", None, 7, {"x": 1}])
@pytest.mark.parametrize("repaired", ["", "before", "behind"])
def test_padding_that_differs_in_each_chunk(odd: Any, repaired: str) -> None:
    said = [
        chunk({"content": word}, obfuscation="xyz"[: n % 3 + 1]) for n, word in enumerate(WORDS)
    ]
    for one in said if repaired else []:
        if repaired == "behind":
            del one["created"]
        one["created"] = 1700000000.5
    said[70]["obfuscation"] = odd
    outcome = both(raw(*text(), *said, STOP))
    assert outcome.said() == "".join(WORDS)
    paddings = [one.get("obfuscation") for one in outcome.chunks[1:-1]]
    assert paddings == [one["obfuscation"] for one in said]


@pytest.mark.parametrize("padding", ["", "content", "word", "m", "ab"])
def test_padding_that_stands_elsewhere_too(padding: str) -> None:
    said = [chunk({"content": word}, obfuscation=padding) for word in WORDS[:30]]
    said += [chunk({"content": word}, obfuscation=word[:2]) for word in WORDS[:30]]
    body = raw(*text(), *said, STOP)
    assert both(body).out == body


def test_padding_before_the_text() -> None:
    said = [
        {"obfuscation": "ab"[: n % 2 + 1], **chunk({"content": w})} for n, w in enumerate(WORDS)
    ]
    body = raw(*text(), *said, STOP)
    assert both(body).out == body


def test_a_usage_and_padding_on_every_chunk() -> None:
    said = [
        chunk({"content": word}, obfuscation="ab"[: n % 2 + 1], usage=counted(n))
        for n, word in enumerate(WORDS)
    ]
    outcome = both(raw(*text(), *said, STOP))
    assert outcome.said() == "".join(WORDS)
    assert [one.get("obfuscation") for one in outcome.chunks[1:-1]] == ["a", "ab"] * 75


@pytest.mark.parametrize(
    "odd",
    [
        b'"\\ud83d"',
        b'"\\ude00"',
        b'"a\\"b"',
        b'"\\u00e9"',
        b'"\xc3\xa9"',
        b'"\xff"',
        b'"\xe2\x82"',
        b'"a\\/b"',
        b'""',
        b"null",
        b'"\\n"',
        b'"\t"',
        b'"a","role":"user","content":"b"',
    ],
)
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("repaired", [False, True])
def test_a_text_of_another_spelling_in_between(odd: bytes, repaired: bool, padded: bool) -> None:
    more: dict[str, Any] = {"created": 1700000000.5} if repaired else {}
    more |= {"obfuscation": "abc"} if padded else {}
    said = [event({**chunk({"content": word}), **more}) for word in WORDS[:40]]
    said[20] = said[20].replace(json.dumps(WORDS[20]).encode(), odd)
    assert odd in said[20]
    outcome = both(raw(*text(), *said, STOP))
    assert outcome.said().startswith("".join(WORDS[:20]))
    assert outcome.said().endswith("".join(WORDS[21:40]))


def test_a_text_beside_each_delta_is_neither_the_answer_nor_counted() -> None:
    said = []
    for number, word in enumerate(WORDS[:40]):
        one = chunk({"content": "same"})
        one["choices"][0]["text"] = word if number % 2 else "same"
        said.append(one)
    body = raw(*text(), *said, STOP)
    outcome = both(body)
    assert outcome.out == body
    assert outcome.report.characters_in == {"content": 4 * 40}


@pytest.mark.parametrize(
    ("kind", "counted_as"), [("content", "content"), ("reasoning_content", "reasoning")]
)
def test_a_closing_message_behind_many_pieces_is_known(kind: str, counted_as: str) -> None:
    said = [chunk({kind: word}) for word in WORDS]
    closing = chunk({}, "stop")
    closing["choices"][0]["message"] = {"role": "assistant", kind: "".join(WORDS) + "end"}
    outcome = both(raw(*text(), *said, closing))
    assert outcome.said(kind) == "".join(WORDS) + "end"
    assert outcome.report.characters_in == {counted_as: len("".join(WORDS)) + 3}


def test_arguments_in_many_pieces_of_several_calls() -> None:
    fragments = []
    for number in (0, 1):
        fragments.append(call("", index=number, id=f"call_{number}", name="look", type="function"))
        fragments += [call(piece, index=number) for piece in ['{"q":"', *WORDS[:40], '"}']]
    body = raw(*text(), *fragments, chunk({}, "tool_calls"))
    outcome = both(body)
    assert outcome.out == body
    assert [one[2] for one in outcome.calls] == ['{"q":"' + "".join(WORDS[:40]) + '"}'] * 2
    cut = both(raw(*text(), *fragments[:-1], chunk({}, "tool_calls")))
    assert "T423" in cut.codes


def test_choices_that_take_turns() -> None:
    request = {**STREAM, "n": 6}
    said = [chunk({"role": "assistant", "content": ""}, index=i) for i in range(6)]
    said += [chunk({"content": word}, index=n % 6) for n, word in enumerate(WORDS)]
    said += [chunk({}, "stop", index=i) for i in range(6)]
    outcome = both(raw(*said), request)
    assert outcome.out == raw(*said)
    assert [outcome.said(index=i) for i in range(6)] == ["".join(WORDS[i::6]) for i in range(6)]


def test_a_legacy_completion_s_pieces() -> None:
    envelope = {**ENVELOPE, "object": "text_completion"}
    choice = {"index": 0, "text": "", "logprobs": None, "finish_reason": None}
    said = [{**envelope, "choices": [{**choice, "text": word}]} for word in WORDS]
    said.append({**envelope, "choices": [{**choice, "finish_reason": "stop"}]})
    outcome = both(raw(*said), path=COMPLETIONS)
    assert outcome.out == raw(*said)
    assert outcome.report.characters_in == {"content": len("".join(WORDS))}


def test_an_event_over_the_limit_among_many() -> None:
    said = [chunk({"content": word}) for word in WORDS[:30]]
    said[20] = chunk({"content": "x" * 600})
    outcome = both(raw(*text(), *said, STOP), max_event_bytes=500)
    assert outcome.said() == "".join(WORDS[:20])
    assert outcome.error["type"] == "upstream_too_large"
    said = [chunk({"content": word}, obfuscation="ab") for word in WORDS[:30]]
    said[20]["obfuscation"] = "x" * 600
    outcome = both(raw(*text(), *said, STOP), max_event_bytes=500)
    assert outcome.said() == "".join(WORDS[:20])
    assert outcome.error["type"] == "upstream_too_large"


def with_text(word: str, **delta: Any) -> dict[str, Any]:
    """A chunk as Together sends them: the text beside the delta that has it too."""
    one = chunk({"role": "assistant", "content": word, **delta})
    one["choices"][0]["text"] = word
    return one


@pytest.mark.parametrize("odd", [0, 7, -1, 1.5, 10**20, True, None, "7", [7]])
@pytest.mark.parametrize("path", [None, COMPLETIONS])
def test_a_text_twice_in_each_chunk_and_its_token(odd: Any, path: str | None) -> None:
    said = [with_text(word, token_id=number) for number, word in enumerate(WORDS)]
    said[50] = with_text(WORDS[50], token_id=odd)
    outcome = both(raw(*said, STOP), **({"path": path} if path else {}))
    choices = [one["choices"][0] for one in outcome.chunks[:-1]]
    assert [one["text"] for one in choices] == WORDS
    tokens = [one.get("delta", one).get("token_id") for one in choices]
    assert tokens[10:50] + tokens[51:60] == [*range(10, 50), *range(51, 60)]
    assert tokens[50] == (odd or (None if path else odd))
    assert outcome.report.characters_in == {"content": len("".join(WORDS))}


@pytest.mark.parametrize("odd", ["", "word", "other ", '"', "\ud83d", None, 5])
@pytest.mark.parametrize("holder", ["delta", "choice"])
def test_a_text_twice_that_differs_once(odd: Any, holder: str) -> None:
    said = [with_text(word) for word in WORDS[:40]]
    choice = said[20]["choices"][0]
    if holder == "delta":
        choice["delta"]["content"] = odd
    else:
        choice["text"] = odd
    body = raw(*(json_event(one) for one in said), STOP)
    assert both(body).said().endswith("".join(WORDS[21:40]))


def json_event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


@pytest.mark.parametrize("text_is", ["content", "role", "m", "chatcmpl-1", "assistant", "text"])
def test_a_text_that_is_another_member_s_value_too(text_is: str) -> None:
    said = [with_text(word) for word in [text_is, text_is, *WORDS[:20], text_is]]
    for one in said[5:]:
        one["choices"][0]["delta"]["role"] = "user"
        one["model"] = one["choices"][0]["text"]
    assert both(raw(*said, STOP)).said() == text_is * 2 + "".join(WORDS[:20]) + text_is


@pytest.mark.parametrize("second", ["reasoning", "thinking", "details", "details without index"])
@pytest.mark.parametrize("odd", [None, "", "x", "much longer than the word that it stands for"])
@pytest.mark.parametrize("policy", ["reasoning_content", "reasoning", "both", "keep"])
def test_reasoning_under_two_names(second: str, odd: str | None, policy: str) -> None:
    def one(word: str, other: str | None) -> dict[str, Any]:
        detail = {"type": "reasoning.text", "text": other, "index": 0}
        if second == "details without index":
            del detail["index"]
        name = "reasoning_details" if "details" in second else second
        value: Any = [detail] if "details" in second else other
        return chunk({"reasoning_content": word, name: value, "channel": "analysis"})

    said = [one(word, word) for word in WORDS[:30]]
    said[10] = one("the word", odd)
    for position in range(12, 20):
        said[position] = one("x", odd)
    both(raw(*text("Hi"), *said, STOP), reasoning=policy)


@pytest.mark.parametrize("created", [1700000000, 1700000007])
@pytest.mark.parametrize("more", [{}, {"x": 1}, {"usage": USAGE}, {"x_groq": {"usage": USAGE}}])
def test_chunks_that_say_nothing_among_others(created: int, more: dict[str, Any]) -> None:
    nothing = chunk({}, created=created, **more)
    said: list[dict[str, Any]] = []
    for number, word in enumerate(WORDS[:40]):
        said += [nothing] * (number % 5 * 3) + [chunk({"content": word})]
    outcome = both(raw(*text(), *said, nothing, STOP, nothing), WITH_USAGE)
    assert outcome.said() == "".join(WORDS[:40])
    assert outcome.report.events_in == len(said) + 4
    assert outcome.report.characters_in == {"content": len("".join(WORDS[:40]))}


def test_usages_in_turn_in_chunks_that_say_nothing() -> None:
    said = []
    for number in (1, 2, 2, 1, 1, 3, 1, 1):
        one = chunk({})
        one["choices"][0]["usage"] = counted(number)
        said.append(one)
    outcome = both(raw(*text("Hi"), *said, STOP), WITH_USAGE)
    assert outcome.report.usage == counted(1)


@pytest.mark.parametrize("kind", ["content", "reasoning"])
@pytest.mark.parametrize("beside", [True, False])
def test_messages_that_begin_with_what_was_sent(kind: str, beside: bool) -> None:
    said = []
    for word in ["a", "a", "b", "aab", "aabb", "x", "x"]:
        one = chunk({kind: word})
        one["choices"][0]["message"] = {kind: word}
        if not beside:
            del one["choices"][0]["delta"]
        said.append(one)
    both(raw(*text(), *said, STOP))


def test_a_text_that_stands_in_the_usage_too() -> None:
    said = []
    for number, word in enumerate(WORDS[:30]):
        usage = {**counted(number), "text": word if number % 3 else "word"}
        said.append(chunk({"content": word}, usage=usage))
    outcome = both(raw(*text(), *said, STOP), WITH_USAGE)
    assert outcome.said() == "".join(WORDS[:30])


def test_bytes_that_are_no_text_and_that_nobody_repairs() -> None:
    logprobs = {"content": [{"token": "a", "bytes": [97], "logprob": -0.1, "top_logprobs": []}]}
    odd = chunk({"content": "a"})
    odd["choices"][0]["logprobs"] = logprobs
    body = raw(*text("Hi"), odd, odd, odd, chunk({}, "stop"))
    body = body.replace(b'"bytes":[97]', b'"x":"\xff","bytes":[97]')
    normalizer = Normalizer(RequestInfo.parse(CHAT, STREAM), Options(ignore=("F118",)))
    assert normalizer.feed(body) + normalizer.close() == body
