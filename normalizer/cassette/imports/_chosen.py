"""Which requests of a long recording are imported: those for answers that may be streams."""

from __future__ import annotations

import re

# Not by `urlsplit`, which raises for what only looks like a URL.
_PATH = re.compile(r"[^?#]*/(?:completions|responses|messages)(?:[?#]|\Z)")


def is_wanted(method: str, url: str, content_type: str) -> bool:
    """Return whether an exchange is about a stream, or asked an API that has streams."""
    if method in ("OPTIONS", "CONNECT"):
        return False
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "text/event-stream" or _PATH.match(url) is not None


def none_of(count: int, *, every: bool) -> str:
    """Return what the error says if nothing of the recording is wanted."""
    text = f"none of {count} has an event stream or a completion for an answer"
    return text if every else f"{text}; ask for every entry to take them all"
