"""The response object that some events hold: one id for the stream, and the members it must have.

The id is the first that the upstream names. Where something has to leave before it names one, an id
is made up, and is kept: a client that has seen an id would take another for another response. The
upstream's own then rides as ``native_id``. What else a response lacks comes from the stream's other
responses, then from the request.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.core.request import RequestInfo
from normalizer.wires.responses.names import as_text
from normalizer.wires.responses.usage import Usage

RESPONSE_ID = Deviation(
    code="R301",
    name="responses-response-id",
    fault="The response has no id, or another one than before.",
    repair="The first id is kept, and `native_id` has the upstream's.",
)
RESPONSE_MEMBERS = Deviation(
    code="R406",
    name="responses-response-members",
    fault="A response lacks `object`, `created_at`, `status`, `model` or `output`, or they have "
    "another form.",
    repair="They are filled in from the stream's other responses, then from the request.",
)
TEXT_FORMAT = Deviation(
    code="R407",
    name="responses-text-format-missing",
    fault="`text` of a response has no `format`.",
    repair='It gets `{"type": "text"}`.',
)

# What a made-up response repeats of the stream's others: how the answer is made, not what it holds.
_REPEATED = (
    *("background", "instructions", "max_output_tokens", "max_tool_calls", "metadata"),
    *("parallel_tool_calls", "previous_response_id", "prompt_cache_key", "reasoning"),
    *("safety_identifier", "service_tier", "store", "temperature", "text", "tool_choice"),
    *("tools", "top_logprobs", "top_p", "truncation", "user"),
)
_BLANK: dict[str, Any] = {
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "output": [],
    "parallel_tool_calls": True,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "usage": None,
}


def now() -> int:
    """The time in Unix seconds."""
    return int(time.time())


class Envelope:
    """Gives the stream's response objects one identity and their form.

    * ``id``, ``model``: as they leave, "" and None while nothing has.
    """

    __slots__ = (
        "_created_at",
        "_found",
        "_last",
        "_made_up",
        "_native",
        "_repeated",
        "_request",
        "_usage",
        "id",
        "model",
    )

    def __init__(self, request: RequestInfo, found: Findings) -> None:
        self.id = ""
        self.model: str | None = None
        self._made_up = False  # the id is ours: that the upstream's is another is no fault
        self._created_at: int | None = None
        self._native = ""  # the upstream's id, where ours was made up
        self._last: dict[str, Any] = {}  # the response that was learnt last
        self._repeated: dict[str, Any] = {}  # settings of those before it that it may not have
        self._request = request
        self._found = found
        self._usage = Usage(found)

    def learn(self, response: dict[str, Any]) -> None:
        """Take the id, model and time of a response, if none is known yet, and its settings."""
        self.id = self.id or as_text(response.get("id"))
        self.model = self.model or as_text(response.get("model")) or None
        if self._created_at is None:
            self._created_at = _seconds(response.get("created_at"))
        if self._last and self._last.keys() != response.keys():
            self._repeat(self._last)
        self._last = response

    def _repeat(self, response: dict[str, Any]) -> None:
        self._repeated.update({key: response[key] for key in _REPEATED if key in response})

    def fit(self, draft: Draft, response: dict[str, Any], status: str) -> None:
        """Give a response that stands in this draft its id and its members."""
        self.learn(response)
        given = as_text(response.get("id"))
        if not given or given != (self.id or self._identity()):
            if (given and self._made_up) or self._found(RESPONSE_ID):
                draft.edit()
                response["id"] = self._identity()
                self._native = given or self._native
                if self._native:
                    response.setdefault("native_id", self._native)
        if not _is_whole(response):
            for key, value in self._lacking(response, status):
                if self._found(RESPONSE_MEMBERS):
                    draft.edit()
                    response[key] = value
        text = response.get("text")
        if isinstance(text, dict) and not isinstance(text.get("format"), dict):
            if self._found(TEXT_FORMAT):
                draft.edit()
                text["format"] = {"type": "text"}
        self._usage.within(draft, response)

    def created(self, response: dict[str, Any]) -> dict[str, Any]:
        """The response of a `response.created` that is made up, by what the next event holds."""
        self.learn(response)
        return self._made("in_progress", {})

    def ending(self, status: str, members: dict[str, Any]) -> dict[str, Any]:
        """The response of a terminal event that is made up."""
        return self._made(status, members)

    def _made(self, status: str, members: dict[str, Any]) -> dict[str, Any]:
        self._repeat(self._last)
        repeated = dict(self._repeated)
        text = repeated.get("text")
        if isinstance(text, dict) and not isinstance(text.get("format"), dict):
            repeated["text"] = {**text, "format": {"type": "text"}}
        made = {
            "id": self._identity(),
            "object": "response",
            "created_at": self._created(),
            "status": status,
            "model": self._model(),
            **_BLANK,
            **repeated,
            **members,
        }
        return {**made, "native_id": self._native} if self._native else made

    def _identity(self) -> str:
        if not self.id:
            self._made_up = True
            self.id = f"resp_{uuid.uuid4().hex}"
        return self.id

    def _created(self) -> int:
        if self._created_at is None:
            self._created_at = now()
        return self._created_at

    def _model(self) -> str:
        return self.model or self._request.model or "unknown"

    def _lacking(self, response: dict[str, Any], status: str) -> list[tuple[str, Any]]:
        """The members that the response has to get."""
        lacking: list[tuple[str, Any]] = []
        if response.get("object") != "response":
            lacking.append(("object", "response"))
        at = response.get("created_at")
        if type(at) is not int:
            seconds = _seconds(at)
            lacking.append(("created_at", self._created() if seconds is None else seconds))
        if not as_text(response.get("status")):
            lacking.append(("status", status))
        if not as_text(response.get("model")):
            lacking.append(("model", self._model()))
        if not isinstance(response.get("output"), list):
            lacking.append(("output", []))
        return lacking


def _is_whole(response: dict[str, Any]) -> bool:
    """Whether a response has all members that it must have, in the usual form."""
    get = response.get
    return bool(
        get("object") == "response"
        and type(get("created_at")) is int
        and type(get("output")) is list
        and get("status")
        and type(get("status")) is str
        and get("model")
        and type(get("model")) is str
    )


def _seconds(value: Any) -> int | None:
    """A time in whole seconds."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        return int(value)
    if isinstance(value, float) and 0 < value < 1e12:
        return int(value)
    return value if type(value) is int else None
