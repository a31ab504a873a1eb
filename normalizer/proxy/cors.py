"""Which pages of other origins may use the proxy."""

from __future__ import annotations

import re
from collections.abc import Iterable

from normalizer.doors.asgi import ASGIApp

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+")


def origin(text: str) -> str:
    """Return an origin in the spelling of browsers. Raises ValueError for an invalid origin.

    Example::

        origin("https://Chat.example.com")  # https://chat.example.com
    """
    lowered = text.lower()
    if lowered not in ("*", "null") and not _ORIGIN.fullmatch(lowered):
        raise ValueError(
            f"{text!r} is no origin: it is scheme://host or scheme://host:port, without a path, "
            "or '*' for all"
        )
    return lowered


def with_cors(app: ASGIApp, origins: Iterable[str]) -> ASGIApp:
    """Wrap ``app`` so that pages of ``origins`` may use it: it answers preflights and adds headers.

    Needs starlette. Raises ValueError for an invalid origin.
    """
    from starlette.middleware.cors import CORSMiddleware

    return CORSMiddleware(
        app,
        allow_origins=[origin(one) for one in origins],
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["*"],
        # A page of the net may ask a proxy on localhost.
        allow_private_network=True,
    )
