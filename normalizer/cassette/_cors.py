"""Let pages of other origins use a replay server."""

from __future__ import annotations

from normalizer.doors.asgi import ASGIApp, Message, Receive, Scope, Send

_RawHeaders = list[tuple[bytes, bytes]]

# A day; browsers take less.
_MAX_AGE = b"86400"


class Cors:
    """ASGI middleware that lets pages of an origin read the answers. ``"*"`` allows any origin.

    It answers preflight requests. Pages of other origins, and clients that are not pages, get
    answers without CORS headers. Without an ``origin``, everything passes unchanged.
    """

    def __init__(self, app: ASGIApp, origin: str) -> None:
        self._app = app
        self._allowed = None if origin == "*" else origin.rstrip("/").encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = dict(scope["headers"]) if scope["type"] == "http" else {}
        origin = asked.get(b"origin")
        if origin is None:
            await self._app(scope, receive, send)
            return
        allowing = self._allowing(origin)
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in asked:
            await _preflight(asked, allowing, send)
            return

        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [
                    (name, value)
                    for name, value in message.get("headers", ())
                    if not name.lower().startswith(b"access-control-")
                ]
                message = {**message, "headers": [*headers, *allowing]}
            await send(message)

        await self._app(scope, receive, adding)

    def _allowing(self, origin: bytes) -> _RawHeaders:
        if self._allowed not in (None, origin):
            return [(b"vary", b"origin")]
        # its name and no asterisk, which a page that sends cookies could not read
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"vary", b"origin"),
        ]


async def _preflight(asked: dict[bytes, bytes], allowing: _RawHeaders, send: Send) -> None:
    headers = [*allowing, (b"content-length", b"0")]
    if len(allowing) > 1:
        headers += [
            (b"access-control-allow-methods", asked[b"access-control-request-method"]),
            (b"access-control-max-age", _MAX_AGE),
        ]
        if wanted := asked.get(b"access-control-request-headers"):
            headers.append((b"access-control-allow-headers", wanted))
        if asked.get(b"access-control-request-private-network") == b"true":
            headers.append((b"access-control-allow-private-network", b"true"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
