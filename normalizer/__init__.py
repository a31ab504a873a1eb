"""Streams of OpenAI- and Anthropic-compatible servers, as the original APIs send them.

A name is imported when it is asked for first. So ``import normalizer`` costs next to nothing, the
core comes without asyncio, and the command line prints its help without the core.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normalizer.core.exceptions import NormalizerError, OptionError
    from normalizer.core.normalizer import Normalizer
    from normalizer.core.options import Options
    from normalizer.core.report import Repair, Report
    from normalizer.core.request import RequestInfo
    from normalizer.doors.asgi import NormalizingMiddleware
    from normalizer.doors.transport import NormalizingTransport

__all__ = [
    "Normalizer",
    "NormalizerError",
    "NormalizingMiddleware",
    "NormalizingTransport",
    "OptionError",
    "Options",
    "Repair",
    "Report",
    "RequestInfo",
]

__version__ = "0.2.0"

_MODULES = {
    "Normalizer": "normalizer.core.normalizer",
    "NormalizerError": "normalizer.core.exceptions",
    "NormalizingMiddleware": "normalizer.doors.asgi",
    "NormalizingTransport": "normalizer.doors.transport",
    "OptionError": "normalizer.core.exceptions",
    "Options": "normalizer.core.options",
    "Repair": "normalizer.core.report",
    "Report": "normalizer.core.report",
    "RequestInfo": "normalizer.core.request",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value  # the next time it is found without coming here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
