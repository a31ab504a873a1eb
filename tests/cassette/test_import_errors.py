"""Imports: which form a file has, what is said of a bad one; and the way back, to `.sse`."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from normalizer.cassette.format import (
    Cassette,
    CassetteError,
    Interaction,
    Metadata,
    RecordedResponse,
)
from normalizer.cassette.imports import form_of, reads, to_sse
from normalizer.cassette.scrub import scrub
from tests.cassette.test_imports import REQUEST, capture, entry, har, page
from tests.conftest import DONE, STREAM


@pytest.mark.parametrize(
    ("data", "name", "form"),
    [
        (b"anything", "a.sse", "sse"),
        (b"anything", "A.HAR", "har"),
        (b"anything", "a.chunks.txt", "chunks"),
        (b"anything", "a.yml", "vcr"),
        (b"\xef\xbb\xbfdata: x", "a.txt", "sse"),
        (b": comment\n", "a", "sse"),
        (b"HTTP/1.1 200 OK\r\n", "a", "sse"),
        (b"interactions: []", "a", "vcr"),
        (b'{"log": {}}', "a.json", "har"),
        (b'{"interactions": []}', "a.json", "vcr"),
        (b'{"response": {}}', "a.json", "capture"),
        (b'{"choices": []}', "a.json", "sse"),
        (b'{"a": 1}\n{"a": 2}\n', "a.txt", "sse"),
    ],
)
def test_the_form_is_told(data: bytes, name: str, form: str) -> None:
    assert form_of(data, name) == form


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        (b"<html>", "x.txt", "x.txt: it begins with b'<html>'"),
        (b"", "x", "x: it begins with b''"),
        (b'{"log": ', "x.har", "x.har: line 1, column 9: Expecting value"),
        (b"\xff", "x.har", "x.har: byte 0: not UTF-8"),
        (b"{}", "x.har", "x.har: document.log: missing"),
        (har(), "x.har", "x.har: log.entries: none of 0 has an event stream or a completion"),
        (
            har(page()),
            "x.har",
            "none of 1 has an event stream or a completion for an answer; ask for",
        ),
        (har({"request": {}}), "x.har", "x.har: log.entries[0].request.method: missing"),
        (har(entry({"size": 9, "mimeType": "text/event-stream"})), "x.har", "kept no body"),
        (
            har(entry(status=0, _error="net::ERR_FAILED")),
            "x.har",
            "no answer came (net::ERR_FAILED)",
        ),
        (
            har(entry({"mimeType": "text/event-stream", "encoding": "base64", "text": "a"})),
            "x.har",
            "x.har: log.entries[0].response.content.text: Invalid base64-encoded string",
        ),
        (capture(chunks=[{"t_ms": 1}]), "x.json", "x.json: response.chunks[0].b64: missing"),
        (capture(chunks=[{"b64": "YQ=="}]), "x.json", "response.chunks[0].t_ms: missing"),
        (capture(chunks=[{"t_ms": 1, "b64": "*"}]), "x.json", "response.chunks[0].b64: "),
        (capture(status="200"), "x.json", "response.status: expected a whole number"),
        (capture(headers=[["a"]]), "x.json", "response.headers[0]: expected name and value"),
        (capture(headers={"a": "b"}), "x.json", "response.headers: expected a list"),
        (
            capture(chunks=[{"t_ms": 2, "b64": "YQ=="}, {"t_ms": 1, "b64": "YQ=="}]),
            "x.json",
            "x.json: response.times: they run backwards",
        ),
        (b'{"a": 1}\nnot\n', "x.chunks.txt", "x.chunks.txt: line 2: no JSON payload"),
        (b"\n", "x.chunks.txt", "x.chunks.txt: line 1: no payload"),
        (b"curl: (7) Failed to connect\n", "x.sse", "x.sse: it holds no answer: curl: (7) Failed"),
        (b"HTTP/1.1 200 OK\r\na: b\r\n", "x", "x: the head does not end"),
        (b"HTTP/1.1 200 OK\r\nno header\r\n\r\n", "x", "x: line 2: b'no header' is no header"),
        (b"interactions: [", "x.yaml", "x.yaml: "),
        (b"interactions: 1", "x.yaml", "x.yaml: interactions: expected a list"),
        (b"\xff", "x.yaml", "x.yaml: byte 0: not UTF-8"),
        (b'{"interactions": [', "x.yaml", "x.yaml: line 1, column 19"),
    ],
)
def test_an_error_says_what_and_where(data: bytes, name: str, said: str) -> None:
    with pytest.raises(CassetteError) as caught:
        reads(data, name)

    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{name}: ")


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(CassetteError, match="x: form: 'pcap' is none of sse, har"):
        reads(b"", "x", "pcap")  # type: ignore[arg-type]


# ---------------------------------------------------------------- export


def recorded(*bodies: bytes, **given: Any) -> Cassette:
    responses = [RecordedResponse.from_chunks([body], **given) for body in bodies]
    return Cassette(Metadata(), tuple(Interaction(REQUEST, each) for each in responses))


def test_export_is_the_body() -> None:
    assert to_sse(recorded(STREAM)) == STREAM
    assert to_sse(recorded(STREAM, DONE), 1) == DONE


def test_export_undoes_codings() -> None:
    packed = recorded(gzip.compress(STREAM), headers=(("Content-Encoding", "identity, GZIP"),))

    assert to_sse(packed) == STREAM


@pytest.mark.parametrize(
    ("cassette", "number", "said"),
    [
        (recorded(DONE, DONE), None, "it holds 2 interactions: say which, from 0 to 1"),
        (recorded(DONE), 1, "interactions[1]: there are 1"),
        (recorded(DONE), -1, "interactions[-1]: there are 1"),
        (recorded(DONE, headers=(("content-encoding", "x"),)), 0, "cannot undo content-encoding x"),
        (
            recorded(DONE, headers=(("content-encoding", "gzip"),)),
            0,
            "interactions[0].response.body",
        ),
    ],
)
def test_what_cannot_be_exported(cassette: Cassette, number: int | None, said: str) -> None:
    with pytest.raises(CassetteError) as caught:
        to_sse(cassette, number)

    assert said in str(caught.value)


def test_a_header_of_any_signs_can_be_scrubbed() -> None:
    cassette = recorded(DONE, headers=(("x-\u2713", "\u2713"),))

    assert scrub(cassette).interactions[0].response.headers == (("x-\u2713", "\u2713"),)
