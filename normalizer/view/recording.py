"""One recorded answer as the page shows it: the trace, and what a program gets on both sides."""

from __future__ import annotations

from typing import Any

from normalizer.cassette._shapes import masked
from normalizer.cassette.format import Cassette
from normalizer.cassette.imports import to_sse
from normalizer.catalogue import rule
from normalizer.core.normalizer import Normalizer
from normalizer.core.options import Options
from normalizer.core.request import RequestInfo
from normalizer.trace import Record, Trace
from normalizer.view.lines import line_of
from normalizer.view.plain import run, source


class _Clock:
    """The time of the recording, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def view_of(
    cassette: Cassette, number: int, request: RequestInfo, options: Options, *, name: str
) -> dict[str, Any]:
    """Return what the page shows of one answer of a cassette.

    ``number`` counts the answers from 0. ``name`` is the title.

    * ``records``: of the trace, each event with its ``line``.
    * ``raw``, ``ours``: what a plain program gets; see `normalizer.view.plain.Got`.
    * ``program``: its source.
    * ``rules``: by code, what is wrong and what we do.
    """
    interaction = cassette.interactions[number]
    response = interaction.response
    body = to_sse(cassette, number)
    # the pieces are those of the connection, which are of no use where a coding was undone
    as_it_came = body == response.body
    chunks = response.chunks if as_it_came else [body]
    times = response.times if as_it_came else ()
    clock, records = _Clock(), list[Record]()
    normalizer = Normalizer(
        request, options, status=response.status, trace=Trace(records.append, clock=clock)
    )
    out = b""
    for place, chunk in enumerate(chunks):
        if place < len(times):
            clock.now = times[place] / 1000
        out += normalizer.feed(chunk)
    out += normalizer.close(None if response.end == "complete" else f"({response.end})")
    endpoint = request.endpoint or "chat"
    metadata = cassette.metadata
    return {
        "name": name,
        "server": " ".join(part for part in (metadata.server, metadata.version) if part),
        "date": metadata.date,
        "request": masked(interaction.request.body).decode("utf-8", "replace"),
        "timed": bool(times),
        "streams": request.stream is not False,
        "records": [with_line(record) for record in records],
        "raw": run(endpoint, body).as_json(),
        "ours": run(endpoint, out).as_json(),
        "program": source(endpoint),
        "rules": rules_of(records),
    }


def with_line(record: Record) -> Record:
    """Return a record of the trace with its ``line``, if it is of an event.

    Where keys are in what came, ``masked`` has it without them, to be passed on.
    """
    if record["type"] not in ("came", "left"):
        return record
    found = {**record, "line": line_of(record["kind"], record["event"], record["data"])}
    raw = record.get("raw", "").encode()
    hidden = masked(raw)
    if hidden != raw:
        found["masked"] = hidden.decode("utf-8", "replace")
    return found


def rules_of(records: list[Record]) -> dict[str, dict[str, str]]:
    """Return what is said of each code that was found."""
    codes = {found["code"] for record in records for found in record.get("found", ())}
    return {code: rule_of(code) for code in sorted(codes)}


def rule_of(code: str) -> dict[str, str]:
    """Return what the page says of a code."""
    known = rule(code)
    return {
        "name": known.deviation.name,
        "fault": known.deviation.fault,
        "repair": known.deviation.repair,
        "breaks": known.breaks,
        "seen": known.seen,
    }
