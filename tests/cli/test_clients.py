"""`check --client`: what breaks that client."""

from __future__ import annotations

import pytest

from normalizer.catalogue import CODES
from normalizer.cli.check.clients import CLIENTS, breaks


@pytest.mark.parametrize(
    ("code", "client", "expected"),
    [
        ("M302", "claude-code", True),
        ("R706", "codex", False),
        ("R406", "codex", True),
        ("T403", "ai-sdk", True),
        ("E210", "openai-python", False),  # it reads past it
        ("F117", "openai-python", False),  # it ignores them
        ("F117", "langchain", False),  # langchaingo is another one
    ],
)
def test_who_breaks(code: str, client: str, expected: bool) -> None:
    assert breaks(code, client) is expected


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_breaks_on_some_and_not_on_all(client: str) -> None:
    found = [code for code in CODES if breaks(code, client)]
    assert 10 <= len(found) < len(CODES) // 2
