"""What people trip over that is no deviation: said beside the findings, and never counted."""

from __future__ import annotations

from collections.abc import Iterator

from normalizer.cli.check.lint import Linted

CONTINUES = "/v1/completions continues text: use /v1/chat/completions for a chat"


def notes(linted: Linted) -> Iterator[str]:
    """Lines for people about one answer.

    Example::

        list(notes(lint(answer)))  # ["finish_reason length: max_tokens=7 cut the answer"]
    """
    request, report = linted.answer.request, linted.report
    if 300 <= linted.answer.status < 400:
        yield f"answered {linted.answer.status}, a redirect: give the URL that it leads to"
        return
    if linted.answer.status >= 400:
        yield f"answered {linted.answer.status}{_because(linted)}{_status(linted.answer.status)}"
        return
    finishes = set(report.finish.values())
    if request.endpoint == "completions":
        yield CONTINUES
    if "length" in finishes:
        limit = (
            "the token limit" if request.max_tokens is None else f"max_tokens={request.max_tokens}"
        )
        yield f"finish_reason length: {limit} cut the answer"
        if report.characters_in.get("reasoning") and not report.characters_in.get("content"):
            yield "all tokens went into reasoning, none into the answer: raise max_tokens"
    if "content_filter" in finishes:
        yield "finish_reason content_filter: the provider withheld the rest"
    if request.include_usage and report.usage is None and report.end == "done":
        yield "stream_options.include_usage was asked for, and no usage came"
    if request.n is not None and len(report.finish) not in (0, request.n):
        yield f"n={request.n} was asked for, {len(report.finish)} came"
    if linted.answer.end == "closed":
        yield "the client closed the stream before its end, which was not looked at"


def _because(linted: Linted) -> str:
    error = linted.report.error
    message = error.get("message") if isinstance(error, dict) else None
    return f": {message}" if isinstance(message, str) and message else ""


def _status(status: int) -> str:
    if status in (401, 403):
        return " (name the variable with your key: --key-env NAME)"
    if status == 404:
        return " (is the path right? most servers' base URL ends in /v1)"
    return ""
