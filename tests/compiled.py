"""Whether the package under test is the compiled one, and which tests cannot run against that."""

from __future__ import annotations

from normalizer.core import template

COMPILED = not str(template.__file__).endswith(".py")

# by the beginning of a test's id
LEFT_OUT = {
    "tests/test_guard.py": "puts failing methods into classes of the core; compiled ones take none",
    "tests/test_growth.py": "counts calls of Python functions, which compiled ones are not",
    "tests/wires/chat/test_content.py::test_first_and_later_deltas[a-": (
        "hands the stage a delta of another type than it declares, which the wire never does"
    ),
}


def reason(test: str) -> str | None:
    """Return why a test is left out, None if it is not."""
    return next(
        (why for begin, why in LEFT_OUT.items() if COMPILED and test.startswith(begin)), None
    )
