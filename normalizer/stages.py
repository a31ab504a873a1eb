"""Stages of other packages: repairs of faults that only your own servers have.

A package names its stage by an entry point in the group ``stream_normalizer.stages``. Installing
it changes nothing: the option ``stages`` names those that run, in their order. They run before
ours, on each JSON event and on each whole JSON answer. So ours read and check what a stage has
repaired as if the upstream had sent it so. docs/stages.md has one that works.

What it costs: with a stage, no event leaves by a template, because the stage has to see each.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import re
import traceback
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol, cast

from normalizer.core.draft import Draft as Draft
from normalizer.core.exceptions import OptionError
from normalizer.core.findings import Deviation as Deviation
from normalizer.core.findings import Findings as Findings
from normalizer.core.request import RequestInfo as RequestInfo

if TYPE_CHECKING:
    from normalizer.catalogue import Rule
    from normalizer.core.wire import Wire

GROUP = "stream_normalizer.stages"
_logger = logging.getLogger("normalizer")
_CODE = re.compile(r"Z\d{3}")


class Stage(Protocol):
    """A stage of one answer. Its class is what the entry point names.

    ``rules`` are its deviations, with their notes (`normalizer.catalogue.Rule`). Their codes are
    ``Z`` and three digits.
    """

    rules: Sequence[Rule]

    def __init__(self, request: RequestInfo, found: Findings) -> None:
        """Begin an answer to ``request``."""

    def __call__(self, draft: Draft) -> None:
        """Take one JSON event, or one whole JSON answer: ``draft.value``, an object.

        Write ``if found(DEVIATION):``, and only then change what ``draft.edit()`` returns. A stage
        that raises is logged, and is left out of the rest of the answer.
        """


def names() -> list[str]:
    """Return the names of the stages that are installed."""
    return sorted({one.name for one in entry_points(group=GROUP)})


@functools.cache
def load(name: str) -> type[Stage]:
    """Return the stage of this name. Raises `OptionError` if it is missing or broken."""
    for one in entry_points(group=GROUP):
        if one.name == name:
            return _loaded(one)
    there = ", ".join(names()) or "none"
    raise OptionError(f"stages has {name!r}, which is not installed (there are: {there})")


def _loaded(entry: EntryPoint) -> type[Stage]:
    try:
        stage = cast("type[Stage]", entry.load())
        codes = [rule.deviation.code for rule in stage.rules]
    except Exception as error:
        raise OptionError(f"stages has {entry.name!r}, which cannot be loaded: {error}") from error
    odd = [code for code in codes if not _CODE.fullmatch(code)]
    if odd or len(set(codes)) < len(codes):
        raise OptionError(
            f"stages has {entry.name!r}, whose codes are not Z and three digits: {codes}"
        )
    return stage


@functools.cache
def rules() -> tuple[Rule, ...]:
    """Return the rules of all installed stages. One that cannot be loaded has none."""
    found: dict[str, Rule] = {}
    for name in names():
        try:
            own = load(name).rules
        except OptionError:
            continue  # who names it in `stages` is told
        for rule in own:
            options = {**rule.options, "stages": (name,)}
            found.setdefault(rule.deviation.code, dataclasses.replace(rule, options=options))
    return tuple(found[code] for code in sorted(found))


def staged(wire: Wire, chosen: Iterable[str], request: RequestInfo, found: Findings) -> Wire:
    """Return the wire with the chosen stages before it."""
    return cast("Wire", _Staged(wire, [load(name)(request, found) for name in chosen]))


class _Staged:
    """A wire whose events and answers pass the stages first. All else is the wire's own."""

    __slots__ = ("_stages", "_wire")

    has_templates = False

    def __init__(self, wire: Wire, stages: list[Stage]) -> None:
        self._wire = wire
        self._stages = stages

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire, name)

    @property
    def junk(self) -> list[bytes]:
        return self._wire.junk

    @junk.setter
    def junk(self, lines: list[bytes]) -> None:
        self._wire.junk = lines

    def event(self, draft: Draft, name: str) -> None:
        self._pass(draft)
        self._wire.event(draft, name)

    def body(self, draft: Draft) -> dict[str, Any] | None:
        self._pass(draft)
        return self._wire.body(draft)

    def answer(self, value: Any) -> None:
        draft = Draft(value)
        self._pass(draft)
        self._wire.answer(draft.value)

    def _pass(self, draft: Draft) -> None:
        for stage in [*self._stages] if isinstance(draft.value, dict) else ():
            try:
                stage(draft)
            except Exception as error:  # somebody else's code: the answer goes on without it
                _log(stage, error)
                self._stages.remove(stage)


def _log(stage: Stage, error: Exception) -> None:
    """Log where a stage raised, without the message, which may quote a user."""
    _logger.error(
        "the stage %s raised %s, and is left out of the rest of the answer, at\n%s",
        type(stage).__qualname__,
        type(error).__name__,
        "".join(traceback.format_tb(error.__traceback__)),
    )
