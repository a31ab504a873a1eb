"""Ids: those that are made up where the upstream has none, and those that the API refuses."""

from __future__ import annotations

import re
import uuid

_ACCEPTED = re.compile(r"[a-zA-Z0-9_-]+")


def made_up(prefix: str) -> str:
    """An id that nobody else has. Example: ``made_up("toolu_")``."""
    return prefix + uuid.uuid4().hex[:24]


def is_accepted(ident: str) -> bool:
    """Whether the API takes an id in a request. Example: ``not is_accepted("f:0")``."""
    return _ACCEPTED.fullmatch(ident) is not None
