"""Notes: common surprises that are not deviations. They are shown, but not counted."""

from __future__ import annotations

from collections.abc import Iterator

from normalizer import Report, RequestInfo
from normalizer.cli.check.lint import Linted
from normalizer.cli.check.outcome import outcome, words

CONTINUES = "/v1/completions continues text: use /v1/chat/completions for a chat"


# What is invalid in the request of the probe `error`, by endpoint.
_INVALID = {
    "chat": "whose messages are not a list",
    "responses": "whose input is a number",
    "messages": "whose message has a number for its role",
}
# The words for an answer that the limit cut or the provider withheld, as each API calls them.
_CUT = {"length": "finish_reason length", "max_tokens": "stop_reason max_tokens"}
_WITHHELD = {"content_filter": "finish_reason content_filter", "refusal": "stop_reason refusal"}


def notes(linted: Linted) -> Iterator[str]:
    """Yield the notes on one answer, a line each.

    Example::

        list(notes(lint(answer)))  # ["finish_reason length: max_tokens=7 cut the answer"]
    """
    answer, request, report = linted.answer, linted.answer.request, linted.report
    if answer.status >= 300:
        yield _status(linted)
        return
    came = outcome(linted)
    if came == "nothing":
        said = words(linted)
        yield f"the body has no answer{f': {said}' if said else ''}"
        return
    if came == "failed":
        yield f"the answer failed: {words(linted)}{_code(linted)}"
    elif answer.probe == "error":
        invalid = _INVALID.get(request.endpoint or "chat", "that is invalid")
        yield f"the server answered a request {invalid}: it does not check its requests"
    if request.endpoint == "completions":
        yield CONTINUES
    yield from _of_finishes(request, report)
    if answer.probe is not None and request.tools and came == "answered" and _no_call(linted):
        yield ("the model answered with text and called no tool: it may not support tools")
    yield from _of_request(request, report)
    if answer.end == "closed":
        yield "the client closed the stream early, so its end was not checked"


def _of_finishes(request: RequestInfo, report: Report) -> Iterator[str]:
    """What the finishes tell of an answer that was not let to its end."""
    finishes = set(report.finish.values())
    for word in sorted(finishes & _CUT.keys()):
        limit = (
            "the token limit" if request.max_tokens is None else f"max_tokens={request.max_tokens}"
        )
        yield f"{_CUT[word]}: {limit} cut the answer"
        if report.characters_in.get("reasoning") and not report.characters_in.get("content"):
            yield "all tokens are reasoning, none are the answer: increase max_tokens"
    for word in sorted(finishes & _WITHHELD.keys()):
        yield f"{_WITHHELD[word]}: the provider withheld the rest"


def _of_request(request: RequestInfo, report: Report) -> Iterator[str]:
    """What the request asked for, and did not get."""
    if request.include_usage and report.usage is None and report.end == "done":
        yield "the request asked for stream_options.include_usage, but no usage came"
    if request.n is not None and len(report.finish) not in (0, request.n):
        yield f"the request asked for n={request.n} choices, but {len(report.finish)} came"


def _no_call(linted: Linted) -> bool:
    """Whether an answer ended as one without a call ends."""
    if linted.answer.request.endpoint == "responses":
        # its status is the same with and without a call
        return not linted.report.characters_in.get("arguments")
    return set(linted.report.finish.values()) <= {"stop", "end_turn"}


def _status(linted: Linted) -> str:
    status, said = linted.answer.status, words(linted)
    if status < 400:
        to = f" to {linted.answer.location}" if linted.answer.location else ""
        hint = f", a redirect{to}: use the URL that it leads to"
    else:
        hint = (f": {said}" if said else "") + _hint(status)
    unasked = linted.answer.unasked
    if unasked:
        hint += f"; {unasked} more {'probe was' if unasked == 1 else 'probes were'} not sent"
    return f"answered {status}{hint}"


def _hint(status: int) -> str:
    if status in (401, 403):
        return " (--key-env NAME names the variable with your key)"
    if status == 404:
        return " (is the path right? most base URLs end in /v1)"
    return ""


def _code(linted: Linted) -> str:
    error = linted.report.error
    code = error.get("code") if isinstance(error, dict) else None
    return f" (code {code})" if isinstance(code, (str, int)) and code != "" else ""
