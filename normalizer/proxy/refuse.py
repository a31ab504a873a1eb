"""Requests that the proxy refuses before anything else."""

from __future__ import annotations

from normalizer.doors.asgi import Scope


def refusal(scope: Scope) -> tuple[int, str] | None:
    """Return status and message for a request to refuse, or None."""
    hosts, websocket = 0, False
    for name, value in scope["headers"]:
        key = name.lower()
        if key == b"host":
            hosts += 1
        elif key == b"upgrade" and b"websocket" in value.lower():
            websocket = True
    if hosts > 1 or (hosts == 0 and scope.get("http_version") == "1.1"):
        return 400, f"A request has one Host header, this one has {hosts}."
    if websocket:
        return 501, "WebSockets are not supported: send plain HTTP requests."
    return None
