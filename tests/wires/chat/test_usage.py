"""Usage: never summed, once, and where the request asked for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from normalizer import Normalizer, Options, RequestInfo
from normalizer.wires.chat.usage import Usage
from tests.examples import assert_leaves
from tests.streams import CHAT, ENVELOPE, STREAM, USAGE, WITH_USAGE, chunk, normalize, raw, text
from tests.wires.chat.parts import codes, draft, finder, part

EARLIER = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
STOP = chunk({}, "stop")


def apart(usage: Any = USAGE, **members: Any) -> dict[str, Any]:
    return {**ENVELOPE, "choices": [], "usage": usage, **members}


def usages(
    *chunks: Any, request: dict[str, Any] = STREAM, **options: Any
) -> list[tuple[bool, Any]]:
    """Of each chunk that has a usage: whether it has choices, and the usage."""
    out = normalize(raw(*chunks), request, **options).chunks
    return [(bool(c["choices"]), c["usage"]) for c in out if c.get("usage") is not None]


def test_what_was_asked_for_comes_in_a_chunk_of_its_own() -> None:
    assert usages(*text("Hi"), {**STOP, "usage": USAGE}, request=WITH_USAGE) == [(False, USAGE)]


def test_what_was_not_asked_for_rides_on_the_finish() -> None:
    chunks = normalize(raw(*text("Hi"), STOP, apart())).chunks
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"] == USAGE
    assert all(c["choices"] for c in chunks)


@pytest.mark.parametrize("request_body", [STREAM, WITH_USAGE])
def test_the_last_one_leaves_once(request_body: dict[str, Any]) -> None:
    parts = [{**one, "usage": EARLIER} for one in text("a", "b")]
    got = usages(*parts, STOP, apart(), request=request_body)
    assert [usage for _, usage in got] == [USAGE]


def test_zeros_never_replace_a_real_one() -> None:
    assert usages(*text("Hi"), {**STOP, "usage": USAGE}, apart(ZERO)) == [(True, USAGE)]


def test_zeros_before_a_real_one_are_forgotten() -> None:
    parts = [{**one, "usage": ZERO} for one in text("Hi")]
    assert usages(*parts, {**STOP, "usage": USAGE}) == [(True, USAGE)]


def test_zeros_on_every_chunk_are_no_usage() -> None:
    """LocalAI sends them so."""
    assert usages(*({**one, "usage": ZERO} for one in text("Hi")), STOP) == []


def test_usage_in_a_choice_is_lifted_out_of_it() -> None:
    """Moonshot."""
    finish = chunk({}, "stop")
    finish["choices"][0]["usage"] = USAGE
    chunks = normalize(raw(*text("Hi"), finish)).chunks
    assert chunks[-1]["usage"] == USAGE
    assert "usage" not in chunks[-1]["choices"][0]


def test_usage_in_x_groq_is_copied() -> None:
    finish = chunk({}, "stop", x_groq={"id": "r", "usage": USAGE})
    last = normalize(raw(*text("Hi"), finish)).chunks[-1]
    assert last["usage"] == USAGE
    assert last["x_groq"] == {"id": "r", "usage": USAGE}


def test_half_a_usage_travels_under_another_name() -> None:
    half = {"prompt_tokens": 11, "total_tokens": 11}
    last = normalize(raw(*text("Hi"), {**STOP, "usage": half})).chunks[-1]
    assert last["native_usage"] == half
    assert "usage" not in last


def test_a_missing_total_is_filled_in_and_nulls_are_left_out() -> None:
    details = {"prompt_tokens_details": None}
    given = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": None, **details}
    assert usages(*text("Hi"), {**STOP, "usage": given}) == [(True, {**USAGE, **details})]


def test_no_arithmetic_is_mended() -> None:
    """xAI's total counts reasoning that its completion_tokens leave out."""
    odd = {"prompt_tokens": 291, "completion_tokens": 26, "total_tokens": 513}
    assert usages(*text("Hi"), {**STOP, "usage": odd}) == [(True, odd)]


def test_none_is_made_up() -> None:
    assert usages(*text("Hi"), STOP, request=WITH_USAGE) == []


def test_a_preview_at_the_beginning_does_not_end_the_stream() -> None:
    outcome = normalize(raw(apart(EARLIER), *text("Hi"), STOP, apart()), WITH_USAGE)
    assert outcome.said() == "Hi"
    assert [c["usage"] for c in outcome.chunks if c.get("usage")] == [USAGE]
    assert outcome.chunks[-1]["choices"] == []


def test_unknown_members_of_a_usage_chunk_ride_on_the_finish() -> None:
    chunks = normalize(raw(*text("Hi"), STOP, apart(cost="0"))).chunks
    assert chunks[-1]["cost"] == "0"


def test_nulls_beside_choices_may_stay() -> None:
    body = raw(*({**one, "usage": None} for one in [*text("Hi"), STOP]), apart())
    assert normalize(body, WITH_USAGE).out == body


def test_where_nothing_is_known_of_the_request_it_stays_where_it_is() -> None:
    for body in (raw(*text("Hi"), STOP, apart()), raw(*text("Hi"), {**STOP, "usage": USAGE})):
        assert normalize(body, None).out == body


@pytest.mark.parametrize(
    ("policy", "where"), [("chunk", [False]), ("finish", [True]), ("drop", []), ("request", [True])]
)
def test_policies(policy: str, where: list[bool]) -> None:
    got = usages(*text("Hi"), {**STOP, "usage": USAGE}, usage=policy)
    assert [choices for choices, _ in got] == where


def test_the_report_has_what_left() -> None:
    assert normalize(raw(*text("Hi"), STOP, apart())).report.usage == USAGE


def test_usage_of_several_choices_is_on_the_last_finish() -> None:
    parts = [*text("a"), chunk({"role": "assistant", "content": "b"}, index=1)]
    finishes = [chunk({}, "stop", index, usage=USAGE) for index in (0, 1)]
    got = normalize(raw(*parts, *finishes), {**STREAM, "n": 2}).chunks
    assert [c["choices"][0]["index"] for c in got if c.get("usage")] == [1]


def test_usage_that_comes_when_the_finish_has_left_is_reported() -> None:
    normalizer = Normalizer(RequestInfo.parse(CHAT, STREAM), Options(finish_timeout=1e-9))
    out = normalizer.feed(raw(*text("Hi"), STOP, done=False)) + normalizer.flush()
    out += normalizer.feed(raw(apart())) + normalizer.close()
    assert b"usage" not in out
    assert {"U602", "U609"} <= set(normalizer.report.repairs)


# --- the stage alone --------------------


ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
HALF = {"total_tokens": 7}
MORE = {**USAGE, "completion_tokens": 5, "total_tokens": 8}


@pytest.mark.parametrize(
    ("given", "final", "found"),
    [
        ([], None, set()),
        ([USAGE], USAGE, set()),
        ([USAGE, USAGE], USAGE, set()),
        ([USAGE, MORE], MORE, {"U610"}),
        ([USAGE, ZERO], USAGE, {"U606"}),
        ([ZERO], None, {"U606"}),
        ([HALF], None, {"U607"}),
        ([None, [], {}, 7, "x"], None, set()),
        ([{**USAGE, "searches": 1}, USAGE], {**USAGE, "searches": 1}, {"U608", "U610"}),
        ([{"input_tokens": 3, "output_tokens": 4}], None, {"U608"}),
    ],
)
def test_the_last_one_that_counts_stays(given: list[Any], final: Any, found: set[str]) -> None:
    finding = finder()
    stage = Usage(finding, asked=True)
    for one in given:
        stage.keep(one)
    value = stage.final()
    if final is not None or value is None:
        assert value == final
    else:
        assert {key: value[key] for key in USAGE} == USAGE
    assert codes(finding) == found


@pytest.mark.parametrize(("asked", "left"), [(True, {"usage": None}), (False, {}), (None, {})])
def test_it_is_taken_off_a_chunk_that_goes_on(asked: bool | None, left: dict[str, Any]) -> None:
    stage = Usage(finder(), asked=asked)
    one = draft({"index": 0}, usage=USAGE)
    stage.read(one, [part({"index": 0})])
    assert one.value == {**draft({"index": 0}).value, **left}
    assert stage.value == USAGE


def test_a_copy_in_x_groq_is_told_only_where_it_is_the_only_one() -> None:
    for behind, found in [([], {"U605"}), ([USAGE], set())]:
        finding = finder()
        stage = Usage(finding, asked=True)
        stage.read(draft({"index": 0}, x_groq={"usage": USAGE}), [part({"index": 0})])
        for one in behind:
            stage.keep(one)
        assert stage.final() == USAGE
        assert codes(finding) == found


def test_the_example_of_usage_count_float() -> None:
    assert_leaves(
        "U611",
        [
            {
                "id": "chatcmpl-1",
                "object": "chat.completion.chunk",
                "created": 1700000000,
                "model": "m",
                "choices": [
                    {
                        "index": 0,
                        "delta": {"role": "assistant", "content": "Hi"},
                        "finish_reason": None,
                    }
                ],
            },
            {
                "id": "chatcmpl-1",
                "object": "chat.completion.chunk",
                "created": 1700000000,
                "model": "m",
                "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
            },
            "data: [DONE]",
        ],
    )


@pytest.mark.parametrize("request_", [STREAM, WITH_USAGE])
def test_a_fraction_and_a_string_stay(request_: dict[str, Any]) -> None:
    odd = {"prompt_tokens": "3", "completion_tokens": 4.5, "total_tokens": 1e300}
    strings = dict.fromkeys(odd, "7")
    for one in (odd, strings):
        ((_, left),) = usages(*text("Hi"), {**STOP, "usage": one}, request=request_)
        assert left == one


def test_the_counts_of_a_whole_answer_become_integers() -> None:
    message = {"role": "assistant", "content": "Hi"}
    answer = {
        **ENVELOPE,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": dict.fromkeys(USAGE, 3.0),
    }
    n = Normalizer(RequestInfo.parse(CHAT, b'{"model":"m"}'), Options())
    left = json.loads(n.feed(json.dumps(answer).encode()) + n.close())
    assert [type(count) for count in left["usage"].values()] == [int] * 3
    assert n.report.codes == {"U611": 1}
