"""What a user may choose, and where the choice comes from: keywords or NORMALIZER_* variables."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Literal, TypedDict, get_args, get_origin, get_type_hints


class OptionFields(TypedDict, total=False):
    """The fields of `Options` as keywords, for those who take them so."""

    mode: Literal["repair", "report"]
    select: tuple[str, ...]
    ignore: tuple[str, ...]
    reasoning: Literal["reasoning_content", "reasoning", "both", "keep"]
    comments: Literal["keep", "drop"]
    finish: Literal["split", "keep"]
    usage: Literal["request", "chunk", "finish", "drop"]
    extras: Literal["keep", "drop"]
    think_tags: bool
    special_tokens: bool
    cumulative: bool
    text_tool_calls: tuple[str, ...]
    max_event_bytes: int
    max_held_bytes: int
    finish_timeout: float


class OptionError(ValueError):
    """An option that does not exist, or a value that it cannot take; the message names both."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that can be chosen about one stream; every field has a default.

    Example::

        Options(reasoning="reasoning", ignore=("U601",))

    Raises `OptionError` for a value outside the ones a field names.

    * ``mode``: ``"repair"``, or ``"report"``: the bytes pass untouched, only the report is made.
    * ``select`` / ``ignore``: deviation codes or prefixes of codes (``"T4"``). An empty ``select``
      is all of them; ``ignore`` is taken away from it. What is off is not repaired or reported.
    * ``reasoning``: the one name that reasoning goes by, ``"both"``, or ``"keep"`` as it came.
    * ``comments``: keep or drop SSE comments, which carry idle connections.
    * ``finish``: ``"split"`` puts a finish on a chunk of its own, ``"keep"`` leaves it with the
      last content that it came with.
    * ``usage``: ``"request"`` does what the request asked for (``stream_options.include_usage``),
      ``"chunk"`` always sends a chunk of its own, ``"finish"`` puts it on the finish, ``"drop"``
      sends none.
    * ``extras``: keep or drop fields that the OpenAI API does not know.
    * ``think_tags``, ``special_tokens``, ``cumulative``, ``text_tool_calls``: repairs that need a
      guess and are off unless asked for. ``text_tool_calls`` names the dialects to look for:
      ``"hermes"``, ``"react"``, ``"kimi"``, ``"deepseek"``.
    * ``max_event_bytes``: bytes that one event, or a body that has to be read whole, may have.
    * ``max_held_bytes``: bytes that one stream may make us keep beside the event at hand; what is
      over it leaves unrepaired.
    * ``finish_timeout``: seconds of silence after which a held finish is let go by `flush`.
    """

    mode: Literal["repair", "report"] = "repair"
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    reasoning: Literal["reasoning_content", "reasoning", "both", "keep"] = "reasoning_content"
    comments: Literal["keep", "drop"] = "keep"
    finish: Literal["split", "keep"] = "split"
    usage: Literal["request", "chunk", "finish", "drop"] = "request"
    extras: Literal["keep", "drop"] = "keep"
    think_tags: bool = False
    special_tokens: bool = False
    cumulative: bool = False
    text_tool_calls: tuple[str, ...] = ()
    max_event_bytes: int = 8 * 1024 * 1024
    max_held_bytes: int = 8 * 1024 * 1024
    finish_timeout: float = 2.0

    def __post_init__(self) -> None:
        for name, hint in _HINTS.items():
            _check(name, hint, getattr(self, name))

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None, **given: Any) -> Options:
        """Options from ``NORMALIZER_<FIELD>`` variables; what is ``given`` wins over them.

        Lists are separated by commas, truth is one of 1/true/yes/on. Raises `OptionError`.

        Example::

            Options.from_environ({"NORMALIZER_REASONING": "both", "NORMALIZER_IGNORE": "U6,F103"})
        """
        environ = os.environ if environ is None else environ
        unknown = sorted(set(given) - set(_HINTS))
        if unknown:
            raise OptionError(
                f"no such option: {', '.join(unknown)} (there are {', '.join(_HINTS)})"
            )
        values = {
            name: _read(variable, hint, environ[variable])
            for name, hint in _HINTS.items()
            if name not in given and (variable := f"NORMALIZER_{name.upper()}") in environ
        }
        return cls(**{**values, **given})


def _check(name: str, hint: Any, value: Any) -> None:
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise OptionError(f"{name} is {value!r}; it is one of {', '.join(get_args(hint))}")
    elif get_origin(hint) is tuple:
        if not isinstance(value, tuple) or not all(isinstance(item, str) for item in value):
            raise OptionError(f"{name} is {value!r}; it is a tuple of strings")
    elif hint is bool:
        if not isinstance(value, bool):
            raise OptionError(f"{name} is {value!r}; it is True or False")
    elif isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise OptionError(f"{name} is {value!r}; it is a number above 0")


def _read(variable: str, hint: Any, text: str) -> Any:
    if get_origin(hint) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if hint is bool:
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off", ""):
            return False
        raise OptionError(f"{variable} is {text!r}; it is 1 or 0")
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            raise OptionError(f"{variable} is {text!r}; it is a number") from None
    return text


_HINTS = get_type_hints(Options)
