"""Whole JSON answers: repaired in place, or as the chunks that they become.

An answer may come in an envelope, or be an error, with or without a part of an answer beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.errors import read_error
from normalizer.core.findings import Findings
from normalizer.core.kinds import COMPLETION_FOR_STREAM, ERROR_BODY_FOR_STREAM
from normalizer.core.lenient import clean
from normalizer.core.options import Options
from normalizer.core.report import Report
from normalizer.core.request import RequestInfo
from normalizer.wires.chat.body import Body, is_error
from normalizer.wires.chat.chunk import Chunk, endpoint_of
from normalizer.wires.chat.kinds import (
    ANSWER_IN_ENVELOPE,
    COMPLETION_FORM,
    has_choices,
    taken_out,
)
from normalizer.wires.chat.streamed import chunks_of, says_something


class Answers:
    """Reads the whole answer to one request.

    Example::

        error = answers.repair(draft)
        draft.json()  # the answer, if that is None
    """

    __slots__ = ("_endpoint", "_found", "_options", "_report", "_request")

    def __init__(
        self, request: RequestInfo, options: Options, found: Findings, report: Report
    ) -> None:
        self._request = request
        self._endpoint = endpoint_of(request)
        self._options = options
        self._found = found
        self._report = report

    def streamed(self, value: Any) -> tuple[Iterable[Chunk], dict[str, Any] | None]:
        """The chunks that an answer becomes where a stream was asked for, and the error it is."""
        value, _ = self._opened(value)
        error = read_error(_without_empty_error(value))
        # a part of an answer is delivered before the error
        if error is not None and not (has_choices(value) and says_something(value)):
            self._found(ERROR_BODY_FOR_STREAM)
            return (), {key: item for key, item in error.items() if key != "choices"}
        if not has_choices(value):
            return (), None
        self._found(COMPLETION_FOR_STREAM if error is None else ERROR_BODY_FOR_STREAM)
        draft = Draft(value)
        # the markup is read in the chunks, as that of any stream
        own_error = Body(self._request, self._options, self._found).repair(draft, markup=False)
        error = error or own_error
        apart, failed = self._request.include_usage is True, error is not None
        return chunks_of(draft.value, self._endpoint, apart=apart, failed=failed), error

    def repair(self, draft: Draft) -> dict[str, Any] | None:
        """Repair an answer in place; return the error that it is instead, if it is one."""
        value, opened = self._opened(draft.value)
        if opened:
            if isinstance(draft.value, dict):
                draft.edit()  # the numbers within keep their spelling
            draft.value, draft.raw = value, None
        error = read_error(_without_empty_error(value))
        if error is not None:
            return error
        found = self._found
        if not has_choices(value):
            if not opened:
                self._make_strict(draft)
            return None
        if draft.raw is None and not found.any and not found(COMPLETION_FORM):
            return None
        body = Body(self._request, self._options, found)
        error = body.repair(draft)
        if error is None:
            body.tell(self._report, draft.value)
        return error

    def _make_strict(self, draft: Draft) -> None:
        """Make strict JSON of a body that only a lenient parser could read."""
        if draft.raw is None and self._found(COMPLETION_FORM):
            draft.value = clean(draft.value)

    def _opened(self, value: Any) -> tuple[Any, bool]:
        """An answer out of its envelope, and whether it was in one."""
        inner = taken_out(value)
        if inner is None or not self._found(ANSWER_IN_ENVELOPE):
            return value, False
        return inner, True


def _without_empty_error(value: Any) -> Any:
    """The answer without an `error` that means none: in a whole answer it stays."""
    if not isinstance(value, dict) or "error" not in value:
        return value
    error = value["error"]
    if not error or (isinstance(error, dict) and not is_error(error)):
        return {key: item for key, item in value.items() if key != "error"}
    return value
