"""Which deviations break a client. The notes on a rule say who breaks; there is no second list."""

from __future__ import annotations

import functools
import re

from normalizer.catalogue import rule

# by the name of `--client`: how the notes name it
_NAMED: dict[str, re.Pattern[str]] = {
    name: re.compile(pattern)
    for name, pattern in {
        "openai-python": r"\bopenai-python\b|\bPython SDK\b",
        "openai-node": r"\bopenai-node\b",
        "langchain": r"(?i:\blangchain\b)",
        "ai-sdk": r"\bAI SDK\b",
        "codex": r"\bCodex\b",
        "claude-code": r"\bClaude Code\b",
    }.items()
}
CLIENTS = tuple(_NAMED)
_CLAUSE = re.compile(r"(?<=[.;:,])\s+")
# how the notes say of a client that it does not break
_UNHARMED = re.compile(r"\bread past\b|\bignores them\b")


@functools.cache
def breaks(code: str, client: str) -> bool:
    """Return whether the notes on a code name a client among those that it breaks.

    Example::

        breaks("M302", "claude-code")  # True
    """
    clauses = _CLAUSE.split(rule(code).breaks)
    return any(_NAMED[client].search(one) and not _UNHARMED.search(one) for one in clauses)
