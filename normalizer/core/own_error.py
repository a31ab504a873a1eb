"""Errors that are our own: what is wrong with an answer, in the API's shape."""

from __future__ import annotations

from typing import Any


def own(kind: str, message: str, code: str | None = None) -> dict[str, Any]:
    """The event of an error of ours; ``kind`` is its type, such as ``upstream_truncated``."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
