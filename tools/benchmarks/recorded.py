"""Recorded streams of each API: from `../shared` where that lies beside, else from `cassettes/`."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from normalizer import RequestInfo
from tools.benchmarks.timing import Stream

ROOT = Path(__file__).parents[2]
RECORDED = [
    ROOT.parent / "shared" / name for name in ("corpus", "captures", "responses", "messages")
]
SIZES: dict[str, Callable[[int], bool]] = {
    "all": lambda _: True,
    "<= 10 events": lambda events: events <= 10,
    ">= 60 events": lambda events: events >= 60,
}
# by the endpoint of their requests
APIS = {
    "chat": ("chat", "completions"),
    "responses": ("responses",),
    "messages": ("messages",),
}


def recorded() -> Iterator[Stream]:
    """The recorded streams, event by event, except for those that do not begin with an event."""
    for path, body, answer in from_shared() if RECORDED[0].exists() else from_cassettes():
        events = [one + b"\n\n" for one in answer.split(b"\n\n") if one.strip()]
        request = RequestInfo.parse(path, body)
        known = request.endpoint is not None and request.stream
        if known and answer.startswith((b"data", b"event")) and len(events) > 2:
            yield Stream(request, events)


def from_shared() -> Iterator[tuple[str, Any, bytes]]:
    for folder in RECORDED:
        for file in sorted(folder.rglob("*.json")):
            item = orjson.loads(file.read_bytes())
            if "response" in item and "url" in item["request"]:
                request = item["request"]
                path = urlsplit(request["url"]).path
                yield path, body_in(path, request), body_of(item["response"])


def body_in(path: str, request: dict[str, Any]) -> Any:
    """The body of a recorded request. Many recordings of the younger APIs have none."""
    asked = request.get("json")
    if path.endswith("/completions") or isinstance(asked, dict):
        return asked
    return {"stream": True, "messages": []}


def body_of(response: dict[str, Any]) -> bytes:
    if "chunks" in response:
        return b"".join(base64.b64decode(chunk["b64"]) for chunk in response["chunks"])
    if "body_utf8" in response:
        return str(response["body_utf8"]).encode("utf-8", "surrogatepass")
    return base64.b64decode(response.get("body_b64", ""))


def from_cassettes() -> Iterator[tuple[str, Any, bytes]]:
    import yaml  # a compiled environment may lack it, and ../shared has no cassettes

    for file in sorted((ROOT / "cassettes").rglob("*.yaml")):
        for one in yaml.safe_load(file.read_text())["interactions"]:
            body = one["response"]["body"]["string"]
            request, body = one["request"], body.encode() if isinstance(body, str) else body
            yield urlsplit(request["uri"]).path, orjson.loads(request["body"] or "null"), body


def chosen() -> Iterator[tuple[str, str, list[Stream]]]:
    """Yield each API, each size of stream, and the streams of that size, if there are any."""
    streams = list(recorded())
    for api, endpoints in APIS.items():
        own = [one for one in streams if one.request.endpoint in endpoints]
        for size, fits in SIZES.items():
            fitting = [one for one in own if fits(len(one.pieces))]
            if fitting:
                yield api, size, fitting
