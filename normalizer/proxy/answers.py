"""Answers of the proxy's own, and why an exchange fails."""

from __future__ import annotations

import json
from typing import Any

from normalizer.core.exceptions import NormalizerError
from normalizer.doors.asgi import Message, Send


class UpstreamBrokenError(NormalizerError):
    """The upstream's body broke after its head was forwarded."""

    ended_because = "its connection broke"


class UpstreamSilentError(UpstreamBrokenError):
    """The upstream was silent in the middle of its body for longer than the timeout."""

    ended_because = "nothing came within the timeout"


class ShuttingDownError(UpstreamBrokenError):
    """The answer was not complete when the time for the shutdown was over."""

    ended_because = "this server was shut down"


class ClientLeftError(NormalizerError):
    """The client closed its connection in the middle of its request."""


class RefusedError(NormalizerError):
    """The body of a request is too long or too slow: a status and an error message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def error_body(message: str, kind: str) -> dict[str, Any]:
    """Return an error in the API's form."""
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


async def respond(send: Send, status: int, body: Any, *, close: bool = False) -> None:
    """Send an answer of our own: an object as JSON, or bytes as plain text.

    ``close`` closes the connection after the answer.
    """
    plain = isinstance(body, bytes)
    content = body if plain else json.dumps(body).encode()
    content_type = b"text/plain; charset=utf-8" if plain else b"application/json"
    start: Message = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", content_type),
            (b"content-length", b"%d" % len(content)),
            *([(b"connection", b"close")] if close else []),
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": content})
