"""How a break is told to the client, in words that complete "The upstream's stream ended …".

The name of an exception's class means nothing to who reads the message, and may be another one
with the next version of a library.
"""

from __future__ import annotations

_LONGEST = 200  # characters of a library's own words


def of_connection(error: Exception) -> str:
    """How a connection broke, with the words that its library has for it.

    Example: ``of_connection(ReadError("reset"))`` is "because its connection broke (reset)".
    """
    words = " ".join(str(error).split())[:_LONGEST]
    return f"because its connection broke ({words})" if words else "because its connection broke"


def of_application(error: Exception) -> str:
    """How an application's answer broke off.

    An exception's words are the application's own business, as they are in a server's 500. One that
    is made to be told has them in ``ended_because``.
    """
    told = getattr(error, "ended_because", None)
    return f"because {told if isinstance(told, str) else 'the application raised an exception'}"
