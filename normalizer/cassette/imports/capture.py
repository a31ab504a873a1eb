"""Captures: JSON that holds each piece of a body in base64, and when it came."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from normalizer.cassette._checks import CassetteError, get, is_a
from normalizer.cassette.format import (
    Cassette,
    Headers,
    Interaction,
    Metadata,
    RecordedRequest,
    RecordedResponse,
)
from normalizer.cassette.imports import _json


def cassette(document: Any) -> Cassette:
    """The cassette of one capture; raises `CassetteError`."""
    values = is_a(dict, document, "document")
    metadata = Metadata(
        origin="recorded",
        server=get(str, values, "server", "document", ""),
        version=get(str, values, "version", "document", ""),
        # the day of an ISO 8601 time
        date=get(str, values, "captured_at", "document", "")[:10],
    )
    request = _request(get(dict, values, "request", "document"))
    response = _response(get(dict, values, "response", "document"))
    return Cassette(metadata, (Interaction(request, response),))


def _request(values: dict[str, Any]) -> RecordedRequest:
    body = get(str, values, "raw", "request", "").encode()
    headers = _headers(get(list, values, "headers", "request", []), "request.headers")
    if not body and values.get("json") is not None:
        body = _json.compact(values["json"])
        # a body is compared as JSON where this says that it is
        headers = headers or (("content-type", "application/json"),)
    return RecordedRequest(
        method=get(str, values, "method", "request"),
        uri=get(str, values, "url", "request"),
        headers=headers,
        body=body,
    )


def _response(values: dict[str, Any]) -> RecordedResponse:
    pieces, times = [], []
    for number, each in enumerate(get(list, values, "chunks", "response")):
        where = f"response.chunks[{number}]"
        try:
            piece = base64.b64decode(get(str, each, "b64", where), validate=True)
        except binascii.Error as error:
            raise CassetteError(f"{where}.b64: {error}") from error
        time = get((int, float), each, "t_ms", where)
        if piece:
            pieces.append(piece)
            times.append(time)
    status = get(int, values, "status", "response")
    headers = _headers(get(list, values, "headers", "response", []), "response.headers")
    try:
        return RecordedResponse.from_chunks(pieces, status=status, headers=headers, times=times)
    except CassetteError as error:
        raise CassetteError(f"response.{error}") from error


def _headers(pairs: Any, where: str) -> Headers:
    headers = []
    for number, pair in enumerate(is_a(list, pairs, where)):
        if len(is_a(list, pair, f"{where}[{number}]")) != 2:
            raise CassetteError(f"{where}[{number}]: expected name and value, found {pair!r:.60}")
        name, value = (is_a(str, each, f"{where}[{number}]") for each in pair)
        headers.append((name, value))
    return tuple(headers)
