"""Whole answers: one JSON object that is the response.

A whole answer where one was asked for is repaired in place, by the rules for a stream's terminal
event: envelope, usage, the form and the ids of its items. What is canonical leaves byte for byte.
Where a stream was asked for, it is repaired first, and then becomes events (streamed.py).
"""

from __future__ import annotations

import uuid
from typing import Any

from normalizer.core.dialects import RESPONSES, dialect_of
from normalizer.core.draft import Draft
from normalizer.core.errors import read_error
from normalizer.core.findings import Findings
from normalizer.core.own_error import own
from normalizer.wires.responses import failure
from normalizer.wires.responses.envelope import Envelope
from normalizer.wires.responses.form import Form
from normalizer.wires.responses.item_lifecycle import ITEM_ID
from normalizer.wires.responses.names import (
    CALLS,
    PREFIXES,
    as_text,
)


class Body:
    """Repairs one JSON response."""

    __slots__ = ("_envelope", "_form", "_found")

    def __init__(self, envelope: Envelope, found: Findings) -> None:
        self._found = found
        self._form = Form(found)
        self._envelope = envelope

    def repair(self, draft: Draft) -> dict[str, Any] | None:
        """Repair a response in place; the error that it is instead, if it is one."""
        value = draft.value
        if not isinstance(value, dict) or not is_response(value):
            dialect = dialect_of(value)
            if dialect is None or dialect == RESPONSES:
                return read_error(value)
            self._found(failure.OTHER_DIALECT)
            return own("upstream_invalid", failure.in_dialect(dialect))
        self._envelope.fit(draft, value, "completed")
        used: set[str] = set()
        output = value.get("output")
        for item in output if isinstance(output, list) else ():
            if isinstance(item, dict):
                self._item(draft, item, as_text(value.get("status")) or "completed", used)
        return None

    def _item(self, draft: Draft, item: dict[str, Any], status: str, used: set[str]) -> None:
        kind = self._form.item(draft, item, status)
        given = item.get("id")
        if (not as_text(given) or given in used) and self._found(ITEM_ID):
            draft.edit()
            item["id"] = f"{PREFIXES.get(kind, 'item')}_{uuid.uuid4().hex}"
            if item.get("encrypted_content") and "native_id" not in item:
                item["native_id"] = given if isinstance(given, str) else None
        used.add(as_text(item.get("id")))
        if kind in CALLS:
            self._form.call_id(draft, item, as_text(item.get("id")))


def is_response(value: dict[str, Any]) -> bool:
    """Return whether an object is a response, and no error."""
    if value.get("object") == "response":
        return True
    return "error" not in value and (
        isinstance(value.get("output"), list) or as_text(value.get("id")).startswith("resp")
    )
