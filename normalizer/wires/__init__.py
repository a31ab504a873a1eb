"""One folder a protocol: its canonical form, its stages, its whole body, its errors.

The core knows a protocol by the interface `normalizer.core.wire.Wire` and by this table only.
"""

from __future__ import annotations

from collections.abc import Callable

from normalizer.core.findings import Findings
from normalizer.core.kept import Kept
from normalizer.core.options import Options
from normalizer.core.report import Report
from normalizer.core.request import RequestInfo
from normalizer.core.wire import Wire
from normalizer.core.writer import Writer
from normalizer.wires.chat.wire import ChatWire
from normalizer.wires.messages.wire import MessagesWire
from normalizer.wires.responses.wire import ResponsesWire

# by the request's endpoint
WIRES: dict[str, Callable[..., Wire]] = {
    "chat": ChatWire,
    "completions": ChatWire,
    "responses": ResponsesWire,
    "messages": MessagesWire,
}


def wire_for(
    request: RequestInfo,
    options: Options,
    found: Findings,
    report: Report,
    kept: Kept,
    writer: Writer,
) -> Wire:
    """The wire of a request's endpoint; of one that is never touched, any."""
    wire = WIRES[request.endpoint or "chat"](request, options, found, report, kept, writer)
    if not options.stages:
        return wire
    from normalizer.stages import staged

    return staged(wire, options.stages, request, found)
