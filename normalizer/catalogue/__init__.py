"""The table of all deviations, and the notes on each.

A deviation is declared in the file that repairs it. Notes that a repair does not need (who sends
it, who breaks, an example) are in ``rules/*.toml``, one file for each declaring module. They are
read when somebody asks for them.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from normalizer.core import envelopes, errors, event_data, kinds, sse
from normalizer.core.findings import Deviation
from normalizer.wires.chat import (
    call_doubts,
    call_members,
    choices,
    chunks,
    content,
    envelope,
    finish,
    holdback,
    later_fragments,
    legacy_calls,
    message,
    reasoning,
    tool_calls,
    usage,
    whole_calls,
    whole_message,
    wire,
)
from normalizer.wires.chat import kinds as chat_kinds
from normalizer.wires.chat.markup import leaks, text_calls, thinking
from normalizer.wires.chat.markup.text_calls import repeats
from normalizer.wires.messages import (
    block_start,
    blocks,
    body,
    deltas,
    events,
    message_start,
    stop_reason,
    tool_input,
    tool_use,
)
from normalizer.wires.messages import errors as messages_errors
from normalizer.wires.messages import usage as messages_usage
from normalizer.wires.responses import (
    ends,
    failure,
    form,
    item_events,
    item_lifecycle,
    outlet,
    part_texts,
    reading,
    response_lifecycle,
    text_events,
    unknown,
)
from normalizer.wires.responses import envelope as responses_envelope
from normalizer.wires.responses import usage as responses_usage
from normalizer.wires.responses import wire as responses_wire

# Every module that repairs something declares what it repairs.
_DECLARED_IN: tuple[ModuleType, ...] = (
    *(sse, event_data, errors, envelopes, kinds, chat_kinds),
    *(call_doubts, call_members, choices, chunks, content, envelope, finish, holdback, message),
    *(leaks, repeats, thinking, *text_calls.FAMILIES),
    *(later_fragments, legacy_calls),
    *(reasoning, tool_calls, usage, whole_calls, whole_message, wire),
    # the Responses API's
    *(
        reading,
        outlet,
        response_lifecycle,
        item_events,
        item_lifecycle,
        text_events,
        part_texts,
        form,
        ends,
    ),
    *(unknown, failure, responses_envelope, responses_usage, responses_wire),
    *(events, message_start, blocks, block_start, deltas, tool_use, tool_input),
    *(stop_reason, messages_usage, messages_errors, body),
)


def _declared(module: ModuleType) -> list[Deviation]:
    return [value for value in vars(module).values() if type(value) is Deviation]


DEVIATIONS: tuple[Deviation, ...] = tuple(
    sorted(
        {one.code: one for module in _DECLARED_IN for one in _declared(module)}.values(),
        key=lambda deviation: deviation.code,
    )
)
CODES: tuple[str, ...] = tuple(deviation.code for deviation in DEVIATIONS)
STRUCTURAL: frozenset[str] = frozenset(one.code for one in DEVIATIONS if one.structural)


def known() -> tuple[Deviation, ...]:
    """Return our deviations, and those of the stages that are installed (`normalizer.stages`)."""
    from normalizer import stages

    return (*DEVIATIONS, *(rule.deviation for rule in stages.rules()))


@functools.lru_cache(maxsize=64)
def covered(names: tuple[str, ...]) -> frozenset[str]:
    """Return the codes that match codes or prefixes. Example: ``covered(("U60",))``."""
    if not names:
        return frozenset()
    # the packages of other stages are imported only for who names their codes
    deviations = known() if any(name.startswith("Z") for name in names) else DEVIATIONS
    return frozenset(one.code for one in deviations if one.code.startswith(names))


@functools.lru_cache(maxsize=64)
def switched_off(
    select: tuple[str, ...], ignore: tuple[str, ...], *, staged: bool = False
) -> frozenset[str]:
    """Return the codes that ``select`` and ``ignore`` turn off.

    Both contain codes or prefixes of codes. ``staged``: stages of other packages run too.

    A structural deviation is always repaired. ``ignore`` does not turn off its report, but a
    ``select`` without it does.
    """
    deviations = known() if staged else DEVIATIONS
    structural = {one.code for one in deviations if one.structural}
    unselected = {one.code for one in deviations} - covered(select) if select else set()
    return frozenset(unselected | (covered(ignore) - structural))


# Letters that are typed for digits, and what they are taken for.
_MISREAD = str.maketrans("OIL", "011")


def code_of(given: str) -> str | None:
    """Return the code or prefix for a code, a prefix or a name in any case. None: there is no such.

    Example: ``code_of("finish-with-content")``, ``code_of("t4")``.
    """
    upper, name = given.upper(), given.lower().replace("_", "-")
    if upper and any(code.startswith(upper) for code in CODES):
        return upper
    deviations = known()
    if upper and any(one.code.startswith(upper) for one in deviations):
        return upper
    return next((one.code for one in deviations if one.name == name), None)


def misread(given: str) -> str | None:
    """Return the code or prefix that is meant, if letters were typed for digits."""
    upper = given.upper()
    guess = upper[:1] + upper[1:].translate(_MISREAD)
    return guess if guess != upper and code_of(guess) == guess else None


def deviation(code: str) -> Deviation:
    """Return the deviation with this code. Raises KeyError. Example: ``deviation("E210").name``."""
    for one in DEVIATIONS if code in CODES else known():
        if one.code == code:
            return one
    raise KeyError(code)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A deviation with the notes on it. The pages of the documentation are generated from rules.

    * ``seen``: who sends it.
    * ``breaks``: which clients fail, and how.
    * ``traps``: what a naive repair would break.
    * ``sources``: URLs.
    * ``example``: a raw body with the deviation. After each piece except the last, the upstream is
      silent for longer than ``finish_timeout``.
    * ``request``, ``endpoint``, ``status``: the request of the example, and the status of its
      answer.
    * ``options``: the `Options` for the repair, if the defaults are not enough.
    * ``also``: other codes that the example needs.
    * ``always``: why a structural deviation cannot be ignored.
    """

    deviation: Deviation
    seen: str
    breaks: str
    example: tuple[bytes, ...]
    sources: tuple[str, ...] = ()
    traps: str = ""
    request: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: {"model": "m", "stream": True}
    )
    endpoint: str = "/v1/chat/completions"
    status: int = 200
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    also: tuple[str, ...] = ()
    always: str = ""


def rule(code: str) -> Rule:
    """Return the notes on the deviation with this code. Raises KeyError."""
    if code not in CODES:
        from normalizer import stages

        return {one.deviation.code: one for one in stages.rules()}[code]
    return _rules()[code]


def rules() -> tuple[Rule, ...]:
    """Return the notes on all deviations, in the order of their codes."""
    return tuple(_rules().values())


@functools.cache
def _rules() -> dict[str, Rule]:
    # the codes above are asked for more often than these notes, and need neither
    import importlib.resources
    import tomllib

    folder = importlib.resources.files("normalizer.catalogue") / "rules"
    entries: dict[str, Any] = {}
    for file in folder.iterdir():
        if file.name.endswith(".toml"):
            entries |= tomllib.loads(file.read_text(encoding="utf-8"))
    read = paired(DEVIATIONS, entries)
    return {code: read[code] for code in CODES}


def paired(deviations: Iterable[Deviation], entries: Mapping[str, Any]) -> dict[str, Rule]:
    """Pair each deviation with its entry. Raises ValueError if one is missing or left over."""
    known = {one.code: one for one in deviations}
    if entries.keys() != known.keys():
        raise ValueError(f"no pair in rules/*.toml: {sorted(entries.keys() ^ known.keys())}")
    return {code: _read(one, dict(entries[code])) for code, one in known.items()}


def _read(deviation: Deviation, entry: dict[str, Any]) -> Rule:
    if "example_base64" in entry:
        pieces = [base64.b64decode(entry.pop("example_base64"))]
    else:
        example = entry.pop("example", "")
        pieces = [text.encode() for text in (example if isinstance(example, list) else [example])]
    if not all(pieces):
        raise ValueError(f"{deviation.code} in rules/*.toml has no example")
    if "request" in entry:
        entry["request"] = json.loads(entry["request"])
    for key in ("sources", "also"):
        entry[key] = tuple(entry.get(key, ()))
    options = {**(deviation.option or {}), **entry.pop("options", {})}
    try:
        return Rule(deviation=deviation, example=tuple(pieces), options=options, **entry)
    except TypeError as error:
        raise ValueError(f"{deviation.code} in rules/*.toml: {error}") from None
