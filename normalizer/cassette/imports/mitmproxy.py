"""Flows, as `mitmdump -w` and mitmproxy's "save" write them; mitmproxy itself is not needed.

mitmproxy joins a body before it writes it. So the body of a flow is one chunk, and its time is that
of the last byte. A body that mitmproxy streams is not in the file, unless the option
``store_streamed_bodies`` is set.
"""

from __future__ import annotations

import datetime
from typing import Any

from normalizer.cassette._checks import CassetteError, get, is_a
from normalizer.cassette.format import (
    Cassette,
    End,
    Headers,
    Interaction,
    Metadata,
    RecordedRequest,
    RecordedResponse,
)
from normalizer.cassette.imports import _chosen, _tnetstring

# mitmproxy has joined the chunks of the transfer coding; HTTP/1 alone has these headers.
_OF_THE_WIRE = {"transfer-encoding", "connection", "keep-alive", "proxy-connection"}

_PORTS = {"http": 80, "https": 443}

# What its error says is of the proxy's own; the first that is in it tells the end.
_ENDS: tuple[tuple[str, End], ...] = (
    ("client disconnected", "closed"),
    ("client closed", "closed"),
    ("timed out", "timeout"),
    ("timeout", "timeout"),
    ("reset", "reset"),
)

_UNKEPT = (
    "mitmproxy kept no body ({reason}); leave out such flows with"
    " `mitmdump -nr OLD -w NEW '!~e & ~s'`, or record with --set store_streamed_bodies=true"
)


def cassette(data: bytes, *, every: bool = False) -> Cassette:
    """The interactions of a file of flows that are about streams, or ``every`` HTTP flow.

    Raises `CassetteError`, which names the flow and its member, or the byte.
    """
    interactions, day, count = [], "", 0
    for number, (at, flow) in enumerate(_tnetstring.values(data)):
        where = f"flows[{number}]"
        if not isinstance(flow, dict) or "version" not in flow:
            raise CassetteError(f"byte {at}: {where} is no flow of mitmproxy")
        if "request" not in flow:  # DNS, TCP and UDP are no exchanges
            continue
        count += 1
        request = _request(get(dict, flow, "request", where), f"{where}.request")
        answered = flow.get("response") or {}
        if not every and not _is_wanted(request, answered, f"{where}.response"):
            continue
        interactions.append(Interaction(request, _response(flow, where)))
        day = day or _day(flow["request"].get("timestamp_start"))
    if not interactions:
        raise CassetteError(f"flows: {_chosen.none_of(count, every=every)}")
    return Cassette(Metadata(origin="recorded", date=day), tuple(interactions))


def _is_wanted(request: RecordedRequest, answered: Any, where: str) -> bool:
    headers = dict(_headers(is_a(dict, answered, where), where))
    return _chosen.is_wanted(request.method, request.uri, headers.get("content-type", ""))


def _request(values: dict[str, Any], where: str) -> RecordedRequest:
    return RecordedRequest(
        method=_text(values, "method", where),
        uri=_uri(values, where),
        headers=_headers(values, where),
        body=_content(values, where, "it was streamed") if values.get("content") else b"",
    )


def _uri(values: dict[str, Any], where: str) -> str:
    path = _text(values, "path", where)
    if path.startswith(("http://", "https://")):
        return path
    scheme = _text(values, "scheme", where) or "http"
    headers = dict(_headers(values, where))
    # in transparent mode, the host is an address, and the client's name for it is in the headers
    authority = _text(values, "authority", where, "") or headers.get("host", "")
    if not authority:
        authority = _text(values, "host", where)
        port = get(int, values, "port", where, _PORTS.get(scheme, 80))
        if port != _PORTS.get(scheme):
            authority += f":{port}"
    return f"{scheme}://{authority}{path}"


def _response(flow: dict[str, Any], where: str) -> RecordedResponse:
    error = flow.get("error")
    said = _text(error, "msg", f"{where}.error", "") if isinstance(error, dict) else ""
    if flow.get("response") is None:
        raise CassetteError(f"{where}.response: no answer came ({said or 'no reason given'})")
    values = get(dict, flow, "response", where)
    where = f"{where}.response"
    body = _content(values, where, said or "it was streamed")
    begun, ended = values.get("timestamp_start"), values.get("timestamp_end")
    times: tuple[float, ...] = ()
    if body and _is_time(begun) and _is_time(ended) and ended >= begun:
        times = (round((ended - begun) * 1000, 2),)
    return RecordedResponse.from_chunks(
        [body] if body else [],
        status=get(int, values, "status_code", where),
        reason=_text(values, "reason", where, ""),
        headers=_headers(values, where),
        times=times,
        end=_end(said),
    )


def _content(values: dict[str, Any], where: str, reason: str) -> bytes:
    content = values.get("content")
    if content is None:
        raise CassetteError(f"{where}.content: missing, {_UNKEPT.format(reason=reason)}")
    content = is_a((bytes, str), content, f"{where}.content")
    return content if isinstance(content, bytes) else content.encode()


def _headers(values: dict[str, Any], where: str) -> Headers:
    headers = []
    for number, pair in enumerate(get((list, tuple), values, "headers", where, [])):
        at = f"{where}.headers[{number}]"
        if len(is_a(list, pair, at)) != 2:
            raise CassetteError(f"{at}: expected name and value, found {pair!r:.60}")
        name, value = (_decoded(is_a((bytes, str), each, at)) for each in pair)
        if (name := name.lower()) not in _OF_THE_WIRE:
            headers.append((name, value))
    return tuple(headers)


def _text(values: Any, key: str, where: str, default: str | None = None) -> str:
    return _decoded(get((bytes, str), values, key, where, default))


def _decoded(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _is_time(value: Any) -> bool:
    # not a number, below zero or after the year 9999: what no clock says
    return isinstance(value, (int, float)) and 0 <= value < 253_402_300_800


def _day(begun: Any) -> str:
    if not _is_time(begun):
        return ""
    return datetime.datetime.fromtimestamp(begun, tz=datetime.UTC).date().isoformat()


def _end(said: str) -> End:
    lowered = said.lower()
    if not lowered:
        return "complete"
    return next((end for words, end in _ENDS if words in lowered), "cut")
