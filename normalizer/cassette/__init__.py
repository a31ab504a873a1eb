"""Recorded streams that stay streams: with their chunks, their times and their end.

    RecordingTransport("chat.yaml")         records the answers to a client of httpx or httpx2
    ReplayTransport("chat.yaml")            plays them again, from the file
    RecordingMiddleware(app, "chat.yaml")   records the answers of an ASGI application
    replay_app("chat.yaml")                 plays them from a server, to any client

`normalizer.cassette.format` is the file format. `faults` adds faults to a stream. `scrub` removes
secrets. All need the extra ``cassette``, which installs vcrpy.
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
