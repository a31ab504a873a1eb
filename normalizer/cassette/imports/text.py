"""Streams that were saved as text: bodies, with or without their head, and payloads alone."""

from __future__ import annotations

import json
import re

from normalizer.cassette._checks import CassetteError
from normalizer.cassette.format import (
    Cassette,
    End,
    Headers,
    Interaction,
    Metadata,
    RecordedRequest,
    RecordedResponse,
)

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? (\d{3})(?: ([^\r\n]*))?\r?\n")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")

# What curl says when it gives up stands in the file if its standard error went there too. Answers
# may speak of curl as well, but behind that they have a quotation mark.
_CURL_SAID = re.compile(rb"curl: \((\d+)\) [^\n\"]*\n?\Z")
_ENDS: dict[int, End] = {28: "timeout", 56: "reset"}


def body(data: bytes, request: RecordedRequest) -> Cassette:
    """The cassette of a saved body and, if curl wrote it, of its head; raises `CassetteError`."""
    end, size = end_of(data)
    if data and not size:
        raise CassetteError(f"it holds no answer: {data.decode(errors='replace').strip()}")
    head, data = _head(data[:size])
    status, reason, headers = head or (200, "OK", (("content-type", _kind(data)),))
    response = RecordedResponse.from_chunks(
        [data] if data else [], status=status, reason=reason, headers=headers, end=end
    )
    metadata = Metadata(origin="recorded" if head else None)
    return Cassette(metadata, (Interaction(request, response),))


def end_of(data: bytes) -> tuple[End, int]:
    """Return how a saved body ended, and its size without what curl said about that."""
    if said := _CURL_SAID.search(data):
        return _ENDS.get(int(said[1]), "cut"), said.start()
    return "complete", len(data)


def payloads(data: bytes, request: RecordedRequest) -> Cassette:
    """The cassette of a file with one JSON payload per line; raises `CassetteError`.

    The framing is made anew, a chunk for each event, and ``[DONE]`` is put at its end, as AI SDK's
    tests do with these files.
    """
    events = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if not line.strip():
            continue
        try:
            json.loads(line)
        except ValueError as error:
            raise CassetteError(f"line {number}: no JSON payload ({error})") from error
        events.append(b"data: " + line.strip() + b"\n\n")
    if not events:
        raise CassetteError("line 1: no payload; expected one JSON document in each line")
    response = RecordedResponse.from_chunks(
        [*events, b"data: [DONE]\n\n"],
        headers=(("content-type", "text/event-stream; charset=utf-8"),),
    )
    metadata = Metadata(note="Payloads only: framing, boundaries and [DONE] are made up.")
    return Cassette(metadata, (Interaction(request, response),))


def _kind(body: bytes) -> str:
    if not body.lstrip().startswith((b"{", b"[")):
        return "text/event-stream; charset=utf-8"
    try:
        json.loads(body)
    except ValueError:
        return "application/x-ndjson"
    return "application/json"


def _head(data: bytes) -> tuple[tuple[int, str, Headers] | None, bytes]:
    """Status, reason and headers if curl -i wrote them, and what follows them."""
    head = None
    # Behind an interim answer, a proxy's and a redirect comes the next head; the last counts.
    while line := _STATUS.match(data):
        end = _END_OF_HEAD.search(data, line.end() - 1)
        if end is None:
            raise CassetteError("the head does not end: no empty line after the headers")
        reason = (line[2] or b"").decode("latin-1").strip()
        headers = _headers(data[line.end() : end.start()])
        data = data[end.end() :]
        head = int(line[1]), reason, _of_the_body(headers, data)
    return head, data


def _headers(block: bytes) -> Headers:
    headers = []
    for number, line in enumerate(block.splitlines(), 2):
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise CassetteError(f"line {number}: {line!r:.40} is no header")
        headers.append((name.strip().lower(), value.strip()))
    return tuple(headers)


def _of_the_body(headers: Headers, body: bytes) -> Headers:
    """The headers that are true of the body as curl wrote it: decoded, and joined."""
    dropped = {"transfer-encoding", "content-length"}
    try:
        body.decode()
    except UnicodeDecodeError:
        return tuple(header for header in headers if header[0] not in dropped)
    # with --compressed the coding is undone: a compressed body is no UTF-8
    dropped.add("content-encoding")
    return tuple(header for header in headers if header[0] not in dropped)
