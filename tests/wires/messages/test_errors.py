"""The status of an error in answer to `stream: false`."""

from __future__ import annotations

from typing import Any

import pytest

from normalizer.wires.messages.errors import status_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"type": "rate_limit_error"}, 429),
        ({"type": "made_up"}, 502),
        ({"type": [], "code": {}}, 502),
        ({}, 502),
    ],
)
def test_the_status_of_an_error_with_members_of_any_type(
    error: dict[str, Any], status: int
) -> None:
    assert status_of({"error": error}) == status
