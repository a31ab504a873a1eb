"""How an exception is logged that nobody foresaw: where it was raised, and nothing of the content.

`Normalizer` is its last guard; what becomes of the answer is said there.
"""

from __future__ import annotations

import logging
import traceback

_logger = logging.getLogger("normalizer")


def log_failure(error: Exception) -> None:
    """Log an exception of ours with its traceback, without its message and those of its causes.

    A message may quote what a model or a user said, such as the key of a `KeyError`. The
    exception's class is the record's ``failure``, for programs that look for it.
    """
    stack = "".join(traceback.format_tb(error.__traceback__))
    name = type(error).__name__
    _logger.error(
        "an answer could not be normalized; please report this: %s at\n%s",
        name,
        stack,
        extra={"failure": name},
    )
