"""The table of all deviations, each declared where it is repaired, and what is known about them.

What a repair needs not know (who sends it, who breaks, an example) stands in ``rules/*.toml``, a
file for each declaring module, and is read when somebody asks for it.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import importlib.resources
import json
import tomllib
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from normalizer.core import sse
from normalizer.core.findings import Deviation
from normalizer.wires.chat import (
    choices,
    completion,
    content,
    envelope,
    errors,
    finish,
    reasoning,
    tool_calls,
    usage,
)
from normalizer.wires.chat.markup import leaks, text_calls, thinking
from normalizer.wires.chat.markup.text_calls import repeats

# by the name of the file in rules/
_DECLARED_IN: Mapping[str, tuple[ModuleType, ...]] = {
    "framing": (sse,),
    "envelope": (envelope,),
    "choices": (choices,),
    "content": (content,),
    "reasoning": (reasoning,),
    "tool_calls": (tool_calls,),
    "finish": (finish,),
    "usage": (usage,),
    "errors": (errors,),
    "markup": (thinking, leaks, repeats, *text_calls.FAMILIES),
    "bodies": (completion,),
}


def _declared(modules: Iterable[ModuleType]) -> list[Deviation]:
    return [value for one in modules for value in vars(one).values() if type(value) is Deviation]


DEVIATIONS: tuple[Deviation, ...] = tuple(
    sorted(
        (one for modules in _DECLARED_IN.values() for one in _declared(modules)),
        key=lambda deviation: deviation.code,
    )
)
CODES: tuple[str, ...] = tuple(deviation.code for deviation in DEVIATIONS)
STRUCTURAL: frozenset[str] = frozenset(one.code for one in DEVIATIONS if one.structural)


@functools.lru_cache(maxsize=64)
def covered(names: tuple[str, ...]) -> frozenset[str]:
    """The codes that codes and prefixes of codes stand for. Example: ``covered(("U60",))``."""
    return frozenset(code for code in CODES if names and code.startswith(names))


@functools.lru_cache(maxsize=64)
def switched_off(select: tuple[str, ...], ignore: tuple[str, ...]) -> frozenset[str]:
    """The codes that ``select`` and ``ignore``, codes or prefixes of codes, leave out.

    A structural one is repaired and told whatever ``ignore`` covers; not selected, it is not told.
    """
    unselected = frozenset(CODES) - covered(select) if select else frozenset()
    return unselected | (covered(ignore) - STRUCTURAL)


# Letters that are typed for digits, and what they are taken for.
_MISREAD = str.maketrans("OIL", "011")


def code_of(given: str) -> str | None:
    """The code, or prefix of codes, that a user means by one, by a prefix or by a name.

    In any case; None: there is no such.

    Example: ``code_of("finish-with-content")``, ``code_of("t4")``.
    """
    upper, name = given.upper(), given.lower().replace("_", "-")
    if upper and any(code.startswith(upper) for code in CODES):
        return upper
    return next((one.code for one in DEVIATIONS if one.name == name), None)


def misread(given: str) -> str | None:
    """The code or prefix that letters were typed for digits in, if it is one."""
    upper = given.upper()
    guess = upper[:1] + upper[1:].translate(_MISREAD)
    return guess if guess != upper and code_of(guess) == guess else None


def deviation(code: str) -> Deviation:
    """The deviation with this code. Raises KeyError. Example: ``deviation("E210").name``."""
    for one in DEVIATIONS:
        if one.code == code:
            return one
    raise KeyError(code)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A deviation and what is known about it. The pages of the documentation are made of these.

    * ``seen``: who sends it; ``breaks``: which client fails and how; ``traps``: what a naive
      repair ruins; ``sources``: URLs.
    * ``example``: a raw body that has it. After each piece but the last the upstream is silent for
      longer than ``finish_timeout``.
    * ``request``, ``endpoint``, ``status``: what the example answers, and with what.
    * ``options``: with what `Options` it is repaired, where the defaults do not.
    * ``also``: codes that the example cannot do without.
    * ``always``: why a structural one cannot be ignored.
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
    """What is known about the deviation with this code. Raises KeyError."""
    return _rules()[code]


def rules() -> tuple[Rule, ...]:
    """What is known about each deviation, in the order of their codes."""
    return tuple(_rules().values())


@functools.cache
def _rules() -> dict[str, Rule]:
    folder = importlib.resources.files("normalizer.catalogue") / "rules"
    read: dict[str, Rule] = {}
    for name, module in _DECLARED_IN.items():
        text = (folder / f"{name}.toml").read_text(encoding="utf-8")
        read |= paired(_declared(module), tomllib.loads(text))
    return {code: read[code] for code in CODES}


def paired(deviations: Iterable[Deviation], entries: Mapping[str, Any]) -> dict[str, Rule]:
    """Each deviation with its entry; ValueError where one has none, or an entry fits none."""
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
