"""Which pages of other origins may use the proxy."""

from __future__ import annotations

import re
from collections.abc import Iterable

from normalizer.doors.asgi import ASGIApp

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+")


def origin(text: str) -> str:
    """``text`` as browsers send it; raises ValueError if it is no origin.

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
    """``app`` for pages of ``origins`` too: preflights are answered, answers get the headers.

    Needs starlette. Raises ValueError for what is no origin.
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
