"""Requests that the proxy refuses before anything else."""

from __future__ import annotations

from normalizer.doors.asgi import Scope


def refusal(scope: Scope) -> tuple[int, str] | None:
    """Return status and message for a request to refuse, or None."""
    headers = [(name.lower(), value.lower()) for name, value in scope["headers"]]
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (hosts == 0 and scope.get("http_version") == "1.1"):
        return 400, f"A request has one Host header, this one has {hosts}."
    if any(name == b"upgrade" and b"websocket" in value for name, value in headers):
        return 501, "WebSockets are not supported: send plain HTTP requests."
    return None
