"""How an unexpected exception is logged: where it was raised, without any content.

The last guard is in `Normalizer`. It also describes how the answer ends.
"""

from __future__ import annotations

import logging
import traceback

_logger = logging.getLogger("normalizer")


def log_failure(error: Exception) -> None:
    """Log an exception of ours with its traceback, but without its message and those of its causes.

    A message may quote a model or a user, such as the key of a `KeyError`. ``failure`` of the log
    record is the class of the exception, for programs.
    """
    stack = "".join(traceback.format_tb(error.__traceback__))
    name = type(error).__name__
    _logger.error(
        "an answer could not be normalized; please report this: %s at\n%s",
        name,
        stack,
        extra={"failure": name},
    )
