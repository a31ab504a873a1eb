"""The stages of one stream of chunks, in the order in which a chunk passes them."""

from __future__ import annotations

from normalizer.core.findings import Findings
from normalizer.core.kept import Kept
from normalizer.core.options import Options
from normalizer.core.request import RequestInfo
from normalizer.wires.chat.choices import Choices
from normalizer.wires.chat.chunk import endpoint_of
from normalizer.wires.chat.content import Content
from normalizer.wires.chat.envelope import Envelope, Riders
from normalizer.wires.chat.finish import Finish
from normalizer.wires.chat.reasoning import Reasoning
from normalizer.wires.chat.tool_calls import ToolCalls
from normalizer.wires.chat.usage import Usage

_OWN_CHUNK = {"chunk": True, "finish": False, "drop": False}


class Stages:
    """One object a concern. Each owns what it knows of the stream; the others ask it."""

    __slots__ = (
        "choices",
        "content",
        "envelope",
        "finish",
        "reasoning",
        "riders",
        "tools",
        "usage",
    )

    def __init__(self, request: RequestInfo, options: Options, found: Findings, kept: Kept) -> None:
        endpoint = endpoint_of(request)
        self.finish = Finish(found, request)
        self.choices = Choices(found, endpoint, request.n)
        self.envelope = Envelope(found, endpoint, request.model)
        self.riders = Riders(found, options.max_event_bytes, options.max_held_bytes)
        self.usage = Usage(found, asked=_OWN_CHUNK.get(options.usage, request.include_usage))
        self.content = Content(found)
        self.reasoning = Reasoning(found, options.reasoning)
        self.tools = ToolCalls(found, kept, request)
