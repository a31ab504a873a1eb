"""Numbers keep the text that they came with, where their event is written anew."""

from __future__ import annotations

import copy
import json
import pickle
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer import Normalizer, RequestInfo
from normalizer.core.draft import Draft
from normalizer.core.lenient import clean, dumps, loads, without_spelling
from normalizer.core.spelling import Spelt, keep_spelling

ODD = [
    *(
        "1.10",
        "12345678901234567890123",
        "1e400",
        "-1e400",
        "1E5",
        "1e+2",
        "0.10",
        "1e16",
        "5e-400",
    ),
    *("0.1234567890123456789", "-98765432109876543210", "1.0e2", "9" * 5000),
]
PLAIN = ["0", "-1", "1.5", "-0.0", "107.711", "9223372036854775807", "18446744073709551615", "1e-8"]


def edited(data: bytes) -> bytes:
    value, lenient = loads(data)
    draft = Draft(value, None if lenient else data)
    draft.edit()["more"] = True
    return draft.json()


@pytest.mark.parametrize("number", [*ODD, *PLAIN])
@pytest.mark.parametrize("shape", ['{"a":%s}', '{"a":[1,{"b":[%s,"x"]}]}', '{"a":[%s]}'])
def test_a_number_keeps_its_spelling_where_something_else_is_changed(
    shape: str, number: str
) -> None:
    data = (shape % number).encode()
    assert edited(data) == data[:-1] + b',"more":true}'


@pytest.mark.parametrize("number", ODD)
def test_it_keeps_it_on_its_way_into_another_object(number: str) -> None:
    draft = Draft({}, b"{}")
    other = Draft(value := loads(b'{"a":%s}' % number.encode())[0], b'{"a":%s}' % number.encode())
    draft.edit()["rides"] = [other.edit()["a"]]
    assert draft.json() == b'{"rides":[%s]}' % number.encode()
    assert type(value["a"]) is Spelt


def test_a_value_that_was_changed_is_what_leaves() -> None:
    draft = Draft({"a": 1.1, "b": 1.1}, b'{"a":1.10,"b":1.10}')
    draft.edit()["a"] = 2.5
    assert draft.json() == b'{"a":2.5,"b":1.10}'


def test_text_that_looks_like_one_stays_text() -> None:
    assert edited(b'{"a":": 1.10, 2.50","b":1.5}') == b'{"a":": 1.10, 2.50","b":1.5,"more":true}'


def test_a_spelt_number_is_a_number() -> None:
    number = Spelt("1.10")
    assert number == 1.1
    assert copy.deepcopy(number).spelling == "1.10"
    assert pickle.loads(pickle.dumps(number)).spelling == "1.10"  # noqa: S301
    assert int(Spelt("1e400")) > 0
    assert json.dumps(number) == "1.1"
    assert type(without_spelling(number)) is float
    assert without_spelling("1.10") == "1.10"
    assert dumps(clean({"a": number})) == b'{"a":1.10}'


def test_nan_is_still_none_of_json() -> None:
    assert dumps(clean(loads(b'{"a":NaN,"b":1e400}')[0])) == b'{"a":null,"b":1e400}'


@pytest.mark.parametrize("data", [b"[" * 5000 + b"1.10" + b"]" * 5000, b"[1.10]", b'{"a":[1.10]}'])
def test_what_is_not_as_it_was_parsed_is_left_alone(data: bytes) -> None:
    value = {"a": 1.1}
    keep_spelling(value, data)
    assert dumps(value) == b'{"a":1.1}'


NUMBERS = st.from_regex(
    re.compile(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?", re.ASCII),
    fullmatch=True,
)


def spelt(value: Any) -> str:
    """JSON with numbers given as the texts in a tuple of one."""
    if isinstance(value, tuple):
        return str(value[0])
    if isinstance(value, dict):
        members = (f"{dumps(key).decode()}:{spelt(item)}" for key, item in value.items())
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(spelt, value))}]"
    return orjson.dumps(value).decode()


VALUES = st.recursive(
    st.tuples(NUMBERS) | st.text(max_size=4) | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(VALUES)
def test_any_number_keeps_its_spelling(value: Any) -> None:
    data = spelt({"x": value}).replace("-0,", "0,").encode()
    if re.search(rb"-0(?![.\deE])", data):
        return  # orjson reads an integer -0 as 0
    assert edited(data) == data[:-1] + b',"more":true}'


def test_a_chunk_that_is_repaired_keeps_its_numbers() -> None:
    normalizer = Normalizer(RequestInfo.parse("/v1/chat/completions", {"stream": True}))
    out = normalizer.feed(
        b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop","p":0.10}],'
        b'"z":12345678901234567890123,"y":1.10}\n\n'
    )
    out += normalizer.close()
    for text in (b'"p":0.10', b'"z":12345678901234567890123', b'"y":1.10'):
        assert text in out
