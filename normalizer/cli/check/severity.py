"""How much harm a deviation does. It decides the order of the findings."""

from __future__ import annotations

from typing import Literal, get_args

Severity = Literal["error", "warning", "notice"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)

# By the longest prefix of the code. So a new code has the harm of its family.
_OF: dict[str, Severity] = {
    # framing: readers crash or read nothing
    "F": "error",
    "F102": "warning",
    "F112": "warning",
    "F114": "warning",
    "F116": "warning",
    "F117": "notice",
    # envelope and choices
    "E": "warning",
    "E203": "error",
    "E204": "notice",
    "E206": "notice",
    "E208": "notice",
    "E209": "error",
    "E210": "error",
    "E211": "error",
    "E212": "error",
    "E213": "error",
    "E215": "error",
    "E216": "notice",
    "E217": "error",
    # content and reasoning
    "C": "warning",
    "C301": "error",
    "C304": "notice",
    "C305": "error",
    "C306": "error",
    "C307": "error",
    "C313": "error",
    # tool calls: crashes and wrong calls
    "T": "error",
    "T415": "notice",
    # the finish: calls that are not run, text that is not read
    "S": "error",
    "S502": "warning",
    "S503": "warning",
    "S507": "warning",
    "S508": "warning",
    # usage
    "U": "warning",
    "U602": "error",
    "U607": "error",
    "U609": "notice",
    # errors and ends: failures that pass for successes
    "X": "error",
    "X703": "warning",
    "X704": "warning",
    "X705": "warning",
    "X706": "warning",
    "X712": "warning",
    # the kind of body
    "B": "error",
    "B806": "warning",
    "B807": "warning",
    # the Messages API: SDKs crash, Claude Code waits or runs a tool with `{}`
    "M": "error",
    "M102": "warning",
    "M105": "warning",
    "M204": "warning",
    "M313": "warning",
    "M314": "warning",
    "M409": "warning",
    "M410": "warning",
    "M503": "warning",
    "M507": "warning",
    "M605": "warning",
    "M606": "notice",
}


def severity(code: str) -> Severity:
    """Return the harm of the deviation ``code``.

    * ``"error"``: clients crash, call a wrong tool or no tool, or lose text silently.
    * ``"warning"``: some users or strict decoders are affected. The answer arrives.
    * ``"notice"``: no client is known to break.

    Example::

        severity("T402")  # "error"
    """
    return _OF.get(code) or _OF.get(code[:1], "warning")


def rank(code: str) -> int:
    """Return a number for sorting: 0 is the greatest harm."""
    return SEVERITIES.index(severity(code))
