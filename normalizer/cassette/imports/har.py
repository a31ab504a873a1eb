"""HAR, what the network panel of a browser exports; the body is whole and already decoded.

A HAR of `normalizer.cassette.exports` has the chunks too, in ``_stream``.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
from typing import Any, get_args

from normalizer.cassette._checks import CassetteError, get, is_a, one_of
from normalizer.cassette.format import (
    Cassette,
    End,
    Headers,
    Interaction,
    Metadata,
    RecordedRequest,
    RecordedResponse,
)
from normalizer.cassette.imports import _chosen

# The browser has undone these: they describe bytes that the HAR does not hold.
_OF_THE_WIRE = {"content-encoding", "content-length", "transfer-encoding"}

# Chrome names what broke the answer in `_error`.
_ENDS: dict[str, End] = {
    "ERR_ABORTED": "closed",
    "ERR_TIMED_OUT": "timeout",
    "ERR_CONNECTION_TIMED_OUT": "timeout",
    "ERR_CONNECTION_RESET": "reset",
}


def cassette(document: Any, *, every: bool = False) -> Cassette:
    """The interactions of a HAR that are about streams, or ``every`` one; `CassetteError`."""
    log = get(dict, document, "log", "document")
    entries = get(list, log, "entries", "log")
    interactions, day = [], ""
    for number, entry in enumerate(entries):
        where = f"log.entries[{number}]"
        if not every and not _is_wanted(entry, where):
            continue
        interactions.append(
            Interaction(
                _request(get(dict, entry, "request", where), f"{where}.request"),
                _response(get(dict, entry, "response", where), f"{where}.response"),
            )
        )
        day = day or get(str, entry, "startedDateTime", where, "")[:10]
    if not interactions:
        raise CassetteError(f"log.entries: {_chosen.none_of(len(entries), every=every)}")
    return Cassette(Metadata(origin="recorded", date=day), tuple(interactions))


def _is_wanted(entry: Any, where: str) -> bool:
    request = get(dict, entry, "request", where)
    method = get(str, request, "method", f"{where}.request")
    url = get(str, request, "url", f"{where}.request")
    content = get(dict, get(dict, entry, "response", where), "content", f"{where}.response", {})
    return _chosen.is_wanted(method, url, get(str, content, "mimeType", where, ""))


def _request(values: dict[str, Any], where: str) -> RecordedRequest:
    posted = get(dict, values, "postData", where, {})
    return RecordedRequest(
        method=get(str, values, "method", where),
        uri=get(str, values, "url", where),
        headers=_headers(values, where),
        body=_body(posted, f"{where}.postData"),
    )


def _response(values: dict[str, Any], where: str) -> RecordedResponse:
    status = get(int, values, "status", where)
    error = values.get("_error")
    if status == 0:
        raise CassetteError(f"{where}.status: 0, no answer came ({error or 'no reason given'})")
    body = _body(get(dict, values, "content", where, {}), f"{where}.content")
    response = RecordedResponse.from_chunks(
        [body] if body else [],
        status=status,
        reason=get(str, values, "statusText", where, ""),
        headers=tuple(
            (name, value) for name, value in _headers(values, where) if name not in _OF_THE_WIRE
        ),
        end=_end(error),
    )
    return response if "_stream" not in values else _streamed(response, values, where)


def _streamed(response: RecordedResponse, values: dict[str, Any], where: str) -> RecordedResponse:
    """The answer with its chunks, times and end, which our own export wrote beside it."""
    stream, where = get(dict, values, "_stream", where), f"{where}._stream"
    end = stream.get("end", "complete")
    one_of(get_args(End), end, f"{where}.end")
    lengths = get(list, stream, "chunks", where)
    times = get(list, stream, "times", where, [])
    try:
        return dataclasses.replace(
            response,
            lengths=tuple(is_a(int, each, "chunks") for each in lengths),
            times=tuple(is_a((int, float), each, "times") for each in times),
            end=end,
        )
    except CassetteError as error:
        raise CassetteError(f"{where}.{error}") from error


def _body(content: dict[str, Any], where: str) -> bytes:
    text = content.get("text")
    if text is None:
        if not content.get("size"):
            return b""
        raise CassetteError(
            f"{where}.text: missing, the browser kept no body; open the network panel before the"
            " request and export after the answer's end"
        )
    if content.get("encoding") != "base64":
        return str(is_a(str, text, f"{where}.text")).encode()
    try:
        return base64.b64decode(is_a(str, text, f"{where}.text"), validate=True)
    except binascii.Error as error:
        raise CassetteError(f"{where}.text: {error}") from error


def _headers(values: dict[str, Any], where: str) -> Headers:
    headers = []
    for number, each in enumerate(get(list, values, "headers", where, [])):
        name = get(str, each, "name", f"{where}.headers[{number}]").lower()
        # HTTP/2's pseudo-headers are the request line
        if not name.startswith(":"):
            headers.append((name, get(str, each, "value", f"{where}.headers[{number}]", "")))
    return tuple(headers)


def _end(error: Any) -> End:
    if not error:
        return "complete"
    return _ENDS.get(str(error).removeprefix("net::"), "cut")
