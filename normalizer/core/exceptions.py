"""The errors that this package raises; all of them are a `NormalizerError`."""

from __future__ import annotations


class NormalizerError(Exception):
    """The root of what this package raises on purpose; each is a built-in error too.

    Example::

        try:
            transport = NormalizingTransport(select=("S5O4",))
        except NormalizerError as error:
            print(error)
    """


class OptionError(NormalizerError, ValueError):
    """An option that does not exist, or a value that it cannot take; the message names both."""
