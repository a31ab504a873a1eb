"""HAR out: what the format can hold, and beside it what it cannot; and the way back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from normalizer.cassette.diff import diff
from normalizer.cassette.exports import to_har
from normalizer.cassette.format import (
    Cassette,
    CassetteError,
    End,
    Interaction,
    Metadata,
    RecordedRequest,
    RecordedResponse,
    load,
)
from normalizer.cassette.imports import reads
from tests.conftest import DONE, HELLO, ROLE

COLLECTION = Path(__file__).parents[2] / "cassettes"
ASKED = RecordedRequest(
    method="POST",
    uri="http://h/v1/chat/completions?a=1&b=",
    headers=(("content-type", "application/json"),),
    body=b'{"q": "\xc3\x9f"}',
)


def one(response: RecordedResponse, request: RecordedRequest = ASKED) -> Cassette:
    return Cassette(
        Metadata(origin="recorded", date="2026-11-21"), (Interaction(request, response),)
    )


def entry(cassette: Cassette) -> Any:
    (found,) = json.loads(to_har(cassette))["log"]["entries"]
    return found


def streamed(end: End = "complete", *chunks: bytes) -> RecordedResponse:
    return RecordedResponse.from_chunks(
        chunks or [ROLE, HELLO[:9], HELLO[9:], DONE][: 4 if end == "complete" else 3],
        headers=(("content-type", "text/event-stream"),),
        times=[0.5, 20, 40.25, 41][: len(chunks) or (4 if end == "complete" else 3)],
        end=end,
    )


def test_what_a_har_can_hold() -> None:
    found = entry(one(streamed()))

    assert found["request"]["url"] == ASKED.uri
    assert found["request"]["queryString"] == [
        {"name": "a", "value": "1"},
        {"name": "b", "value": ""},
    ]
    assert found["request"]["postData"] == {"mimeType": "application/json", "text": '{"q": "ß"}'}
    assert found["response"]["content"]["text"].encode() == ROLE + HELLO + DONE
    assert found["timings"] == {"send": 0, "wait": 0, "receive": 41}
    assert found["time"] == 41
    assert found["startedDateTime"] == "2026-11-21T00:00:00.000Z"
    # HAR 1.2 wants all of these
    assert {"cookies", "httpVersion", "headersSize", "bodySize"} <= set(found["request"])
    assert {"cookies", "httpVersion", "redirectURL", "headersSize"} <= set(found["response"])


@pytest.mark.parametrize("end", ["complete", "cut", "reset", "timeout", "closed"])
def test_what_was_exported_can_be_imported(end: End) -> None:
    cassette = one(streamed(end))

    assert reads(to_har(cassette), "x.har") == cassette
    # and by those who pass over what is ours, but for chunks and times
    others = json.loads(to_har(cassette))
    del others["log"]["entries"][0]["response"]["_stream"]
    (kept,) = reads(json.dumps(others).encode(), "x.har").interactions
    assert (kept.response.body, kept.response.end) == (cassette.interactions[0].response.body, end)


def test_bytes_that_are_no_text() -> None:
    cassette = one(
        streamed("complete", b"data: \xff", b"\n\n"), dataclasses.replace(ASKED, body=b"\xfe")
    )

    assert reads(to_har(cassette), "x.har") == cassette


def test_the_collection_comes_back() -> None:
    for path in sorted(COLLECTION.rglob("*.yaml"))[::5]:
        cassette = load(path)
        again = reads(to_har(cassette), "x.har", every=True)
        for was, each in zip(cassette.interactions, again.interactions, strict=True):
            assert each.response.chunks == was.response.chunks
            assert (each.response.times, each.response.end) == (
                was.response.times,
                was.response.end,
            )
            assert each.request.body == was.request.body


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        ([], "log.entries[0].response._stream: expected a mapping"),
        ({}, "log.entries[0].response._stream.chunks: missing"),
        ({"chunks": [1]}, "log.entries[0].response._stream.chunks: they add up to 1"),
        ({"chunks": [], "end": "x"}, "log.entries[0].response._stream.end: 'x' is none of"),
    ],
)
def test_a_bad_stream_says_where(stream: Any, said: str) -> None:
    har = json.loads(to_har(one(streamed())))
    har["log"]["entries"][0]["response"]["_stream"] = stream

    with pytest.raises(CassetteError) as caught:
        reads(json.dumps(har).encode(), "x.har")

    assert str(caught.value).startswith(f"x.har: {said}")


@pytest.mark.parametrize("uri", ["http://[", "x", "http://h?a=" + "&" * 9, ""])
def test_what_is_no_url_stays(uri: str) -> None:
    cassette = one(streamed(), dataclasses.replace(ASKED, uri=uri))

    assert reads(to_har(cassette), "x.har") == cassette
    assert diff(cassette, cassette) == ()


def test_one_of_several_and_what_cannot_be_exported() -> None:
    each = Interaction(ASKED, streamed())
    both = Cassette(Metadata(), (each, each))
    assert len(json.loads(to_har(both))["log"]["entries"]) == 2
    assert len(json.loads(to_har(both, 1))["log"]["entries"]) == 1
    assert entry(Cassette(Metadata(), (each,)))["startedDateTime"].startswith("1970-01-01T")
    with pytest.raises(CassetteError, match=r"interactions\[2\]: there are 2"):
        to_har(both, 2)
    coded = dataclasses.replace(each.response, headers=(("content-encoding", "x"),))
    with pytest.raises(CassetteError, match=r"interactions\[0\].response: cannot undo .*coding x"):
        to_har(one(coded))
