"""What came of a request, apart from the form of its answer, and what `check` exits with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from normalizer.cli.check.lint import Linted

Outcome = Literal["answered", "refused", "failed", "nothing"]

_LONGEST = 200  # characters of what an upstream said instead of an answer
_UNSEEN = re.compile(r"<(script|style|head)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z!][^<>]*>")


def outcome(linted: Linted) -> Outcome:
    """What came of it.

    * ``"answered"``: an answer of a chat or completion; for the probe that a server has to refuse,
      its refusal.
    * ``"refused"``: a status of 300 and above. ``"failed"``: an error after the head.
    * ``"nothing"``: a success that holds no answer.

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
    # what was cut short is a finding, and no news about the server
    return "answered" if spoke or answer.end == "closed" else "nothing"


def words(linted: Linted) -> str:
    """What the upstream said instead of an answer, on one line; "" if it said nothing."""
    error = linted.report.error
    message = error.get("message") if isinstance(error, dict) else None
    if not isinstance(message, str) or not message:
        body = linted.answer.body[: 64 * 1024].decode("utf-8", "replace")
        message = _TAG.sub(" ", _UNSEEN.sub(" ", body))
    message = " ".join(message.split())
    return message if len(message) <= _LONGEST else f"{message[:_LONGEST]}…"


def exit_code(answers: Sequence[Linted]) -> int:
    """2 where a server, or all that was read, answered nothing; 1 for a finding or a failure; 0."""
    if unanswered(answers):
        return 2
    return 1 if any(_faulty(one) for one in answers) else 0


def unanswered(answers: Sequence[Linted]) -> list[Linted]:
    """The answers of what answered nothing at all: of each such server, or of all the files.

    What a file holds instead of an answer may be what was to be linted: with findings it counts.
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
    """Whether the error is the normaliser's own word on what came."""
    error = linted.report.error
    kind = error.get("type") if isinstance(error, dict) else None
    return isinstance(kind, str) and kind.startswith("upstream_")
