"""Read plain objects from outside. Errors name the place of the fault."""

from __future__ import annotations

import reprlib
from typing import Any

from normalizer.core.exceptions import NormalizerError

_NAMES: dict[type, str] = {dict: "a mapping", list: "a list", str: "a text", int: "a whole number"}


class CassetteError(NormalizerError, ValueError):
    """The cassette does not have the right format.

    The message names the file, the place and the fault.

    Example: ``x.yaml: interactions[0].response.stream.end: 'over' is none of complete, cut, …``
    """


_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 3
_BRIEF.maxlist = _BRIEF.maxdict = 3
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 60


def brief(value: Any) -> str:
    """Return a value as text for an error, shortened if it is long."""
    try:
        return f"{_BRIEF.repr(value):.60}"
    except ValueError:
        # Python does not write out a number of more than 4,300 digits
        return f"a {type(value).__name__}"


def get(kind: Any, values: Any, key: str, where: str, default: Any = None) -> Any:
    """Return the value of a key, of the expected kind. Missing or null gives the default."""
    value = is_a(dict, values, where).get(key)
    if value is None and default is not None:
        return default
    if value is None:
        raise CassetteError(f"{where}.{key}: missing")
    return is_a(kind, value, f"{where}.{key}")


def is_a(kind: Any, value: Any, where: str) -> Any:
    """Return the value if it is of the expected kind, or one of several. A bool is not a number."""
    kinds: tuple[type, ...] = kind if isinstance(kind, tuple) else (kind,)
    if isinstance(value, kinds) and not isinstance(value, bool):
        return value
    wanted = " or ".join(_NAMES.get(each, each.__name__) for each in kinds)
    raise CassetteError(f"{where}: expected {wanted}, found {brief(value)}")


def one_of(words: tuple[str, ...], value: Any, where: str) -> None:
    """Raise if the value is not one of the words."""
    if value not in words:
        raise CassetteError(f"{where}: {brief(value)} is none of {', '.join(words)}")
