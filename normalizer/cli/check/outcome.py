"""The outcome of a request, and the exit code of `check`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from normalizer.cli.check.lint import Linted

Outcome = Literal["answered", "refused", "failed", "nothing"]

_LONGEST = 200  # characters of the text that came instead of an answer
_UNSEEN = re.compile(r"<(script|style|head)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z!][^<>]*>")


def outcome(linted: Linted) -> Outcome:
    """Return the outcome of a request.

    * ``"answered"``: there is an answer of a model. The invalid request of a probe
      counts as answered if the server refused it.
    * ``"refused"``: the status is 300 or above.
    * ``"failed"``: an error came after the head.
    * ``"nothing"``: the status is a success, but the body has no answer.

    Example::

        outcome(lint(answer))  # "refused", for one with status 401
    """
    answer, report = linted.answer, linted.report
    if answer.status >= 300:
        wanted = answer.probe == "error" and answer.status in (400, 413, 415, 422)
        return "answered" if wanted else "refused"
    spoke = bool(report.finish) or any(report.characters_in.values())
    if report.end == "error" and (spoke or not _ours(linted)):
        return "failed"
    # a cut stream is a finding, and the server did answer
    return "answered" if spoke or answer.end == "closed" else "nothing"


def words(linted: Linted) -> str:
    """Return the text that came instead of an answer, on one line, or ""."""
    error = linted.report.error
    message = error.get("message") if isinstance(error, dict) else None
    if not isinstance(message, str) or not message:
        body = linted.answer.body.decode("utf-8", "replace")
        message = _TAG.sub(" ", _UNSEEN.sub(" ", body))
    message = " ".join(message.split())
    return message if len(message) <= _LONGEST else f"{message[:_LONGEST]}…"


def exit_code(answers: Sequence[Linted]) -> int:
    """Return 2 if a server or all files answered nothing, 1 for a finding or failure, else 0."""
    if unanswered(answers):
        return 2
    return 1 if any(_faulty(one) for one in answers) else 0


def unanswered(answers: Sequence[Linted]) -> list[Linted]:
    """Return the answers of each server that answered nothing, and of the files if all of them did.

    A file without an answer counts as answered if it has findings.
    """
    found: list[Linted] = []
    for server in dict.fromkeys(one.answer.server for one in answers):
        there = [one for one in answers if one.answer.server == server]
        silent = all(outcome(one) in ("refused", "nothing") for one in there)
        if silent and (server is not None or not any(one.findings for one in there)):
            found += there
    return found


def _faulty(one: Linted) -> bool:
    if one.findings or one.answer.unasked or one.answer.status >= 500:
        return True
    return outcome(one) in ("failed", "nothing")


def _ours(linted: Linted) -> bool:
    """Return whether the normalizer made the error."""
    error = linted.report.error
    kind = error.get("type") if isinstance(error, dict) else None
    return isinstance(kind, str) and kind.startswith("upstream_")
