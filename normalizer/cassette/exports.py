"""Export cassettes: the body of one answer as `.sse`, and all interactions as a HAR.

A HAR has one text for each body. The chunks, their times and the end stand beside it, in the member
``_stream``, where other tools pass over them, as HAR 1.2 says of members with an underscore. So
what is exported can be imported again without a loss.
"""

from __future__ import annotations

import base64
import json
from importlib import metadata
from typing import Any
from urllib.parse import parse_qsl

from normalizer.cassette._checks import CassetteError
from normalizer.cassette._decoding import decoded, without_coding
from normalizer.cassette.format import (
    Cassette,
    End,
    Headers,
    Interaction,
    RecordedRequest,
    RecordedResponse,
)
from normalizer.doors._codings import CodingError, decoder

# What Chrome writes as `_error`, and the import reads.
_ERRORS: dict[End, str] = {
    "cut": "net::ERR_INCOMPLETE_CHUNKED_ENCODING",
    "reset": "net::ERR_CONNECTION_RESET",
    "timeout": "net::ERR_TIMED_OUT",
    "closed": "net::ERR_ABORTED",
}

# A HAR needs a time for each request, and a cassette without metadata has not even the day.
_NO_DAY = "1970-01-01"


def to_sse(cassette: Cassette, number: int | None = None) -> bytes:
    """Return the body of one response without its content coding, as in a `.sse` file.

    ``number`` counts the interactions from 0. None: the only one. Raises `CassetteError` if there
    are several or none, for a wrong number, and for an unknown coding.

    Example::

        Path("answer.sse").write_bytes(to_sse(load("cassettes/vllm/tool-call.yaml")))
    """
    count = len(cassette.interactions)
    if number is None and count != 1:
        raise CassetteError(f"it holds {count} interactions: say which, from 0 to {count - 1}")
    number = number or 0
    if not 0 <= number < count:
        raise CassetteError(f"interactions[{number}]: there are {count}")
    response = cassette.interactions[number].response
    codings = [
        coding.strip().lower()
        for name, value in response.headers
        if name.lower() == "content-encoding"
        for coding in value.split(",")
    ]
    undo = decoder([coding for coding in codings if coding != "identity"])
    if undo is None:
        raise CassetteError(
            f"interactions[{number}].response: cannot undo content-encoding {', '.join(codings)}"
        )
    try:
        return b"".join(undo.decode(response.body))
    except CodingError as error:
        raise CassetteError(f"interactions[{number}].response.body: {error}") from error


def to_har(cassette: Cassette, number: int | None = None) -> bytes:
    """Return the interactions as a HAR 1.2, in UTF-8.

    ``number`` is the only interaction to export, from 0. None: all. ``timings.receive`` is the time
    from the head of an answer to its last chunk in milliseconds; ``send`` and ``wait`` are 0,
    because a cassette does not have them. Raises `CassetteError` for a wrong number and for a body
    in an unknown content coding.

    Example::

        Path("chat.har").write_bytes(to_har(load("chat.yaml")))
    """
    count = len(cassette.interactions)
    if number is not None and not 0 <= number < count:
        raise CassetteError(f"interactions[{number}]: there are {count}")
    numbers = range(count) if number is None else [number]
    day = cassette.metadata.date or _NO_DAY
    log = {
        "version": "1.2",
        "creator": {"name": "stream-normalizer", "version": metadata.version("stream-normalizer")},
        "entries": [_entry(cassette.interactions[at], at, day) for at in numbers],
        "comment": cassette.metadata.note,
    }
    return json.dumps({"log": log}, ensure_ascii=False, indent=2).encode() + b"\n"


def _entry(interaction: Interaction, number: int, day: str) -> dict[str, Any]:
    response = _decoded(interaction.response, number)
    received = response.times[-1] if response.times else 0
    return {
        "startedDateTime": f"{day}T00:00:00.000Z",
        "time": received,
        "request": _request(interaction.request),
        "response": _response(response),
        "cache": {},
        "timings": {"send": 0, "wait": 0, "receive": received},
    }


def _request(request: RecordedRequest) -> dict[str, Any]:
    query = _query(request.uri)
    return {
        "method": request.method,
        "url": request.uri,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _headers(request.headers),
        "queryString": [{"name": name, "value": value} for name, value in query],
        "headersSize": -1,
        "bodySize": len(request.body),
    } | ({"postData": _text(request.body, request.headers)} if request.body else {})


def _response(response: RecordedResponse) -> dict[str, Any]:
    error = _ERRORS.get(response.end)
    return {
        "status": response.status,
        "statusText": response.reason,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _headers(response.headers),
        "content": {"size": len(response.body), **_text(response.body, response.headers)},
        "redirectURL": dict(response.headers).get("location", ""),
        "headersSize": -1,
        "bodySize": len(response.body),
        "_stream": {"end": response.end, "chunks": response.lengths, "times": response.times},
    } | ({"_error": error} if error else {})


def _query(uri: str) -> list[tuple[str, str]]:
    # not by `urlsplit`, which raises for what only looks like a URL
    query = uri.partition("#")[0].partition("?")[2]
    try:
        return parse_qsl(query, keep_blank_values=True)
    except ValueError:  # more members than Python reads
        return []


def _headers(headers: Headers) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]


def _text(body: bytes, headers: Headers) -> dict[str, str]:
    kinds = [value for name, value in headers if name.lower() == "content-type"]
    found = {"mimeType": kinds[0] if kinds else "application/octet-stream"}
    try:
        return {**found, "text": body.decode()}
    except UnicodeDecodeError:
        return {**found, "text": base64.b64encode(body).decode(), "encoding": "base64"}


def _decoded(response: RecordedResponse, number: int) -> RecordedResponse:
    """Return a response without its content coding. Raises `CassetteError`."""
    found = decoded(response)
    if without_coding(found.headers) != found.headers:
        named = [value for name, value in found.headers if name.lower() == "content-encoding"]
        where = f"interactions[{number}].response"
        raise CassetteError(f"{where}: cannot undo content-encoding {', '.join(named)}")
    return found
