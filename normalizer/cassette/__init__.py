"""Recorded streams that stay streams: their pieces, their times and how they ended.

    RecordingTransport("chat.yaml")         records what a client of httpx or httpx2 gets
    ReplayTransport("chat.yaml")            answers it again, from the file
    RecordingMiddleware(app, "chat.yaml")   records what an ASGI application answers
    replay_app("chat.yaml")                 a server for any client

`normalizer.cassette.format` is the file, `faults` is what can be laid over it, `scrub` is what is
taken out of it. It needs the ``cassette`` extra, which brings vcrpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normalizer.cassette._matching import UnmatchedRequestError
    from normalizer.cassette.format import (
        Cassette,
        CassetteError,
        Interaction,
        Metadata,
        RecordedRequest,
        RecordedResponse,
        dump,
        load,
    )
    from normalizer.cassette.record import RecordingMiddleware, RecordingTransport
    from normalizer.cassette.replay import ReplayTransport
    from normalizer.cassette.scrub import verify
    from normalizer.cassette.server import replay_app

__all__ = [
    "Cassette",
    "CassetteError",
    "Interaction",
    "Metadata",
    "RecordedRequest",
    "RecordedResponse",
    "RecordingMiddleware",
    "RecordingTransport",
    "ReplayTransport",
    "UnmatchedRequestError",
    "dump",
    "load",
    "replay_app",
    "verify",
]

# Only what is asked for is imported: the format needs no more than PyYAML.
_FROM = {
    "RecordingMiddleware": "record",
    "RecordingTransport": "record",
    "ReplayTransport": "replay",
    "UnmatchedRequestError": "_matching",
    "replay_app": "server",
    "verify": "scrub",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_FROM.get(name, 'format')}")
    value = globals()[name] = getattr(module, name)
    return value
