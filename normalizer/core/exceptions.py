"""The errors of this package. All of them are a `NormalizerError`."""

from __future__ import annotations


class NormalizerError(Exception):
    """The base class of all errors of this package. Each error is also a built-in error.

    Example::

        try:
            transport = NormalizingTransport(select=("S5O4",))
        except NormalizerError as error:
            print(error)
    """


class OptionError(NormalizerError, ValueError):
    """An unknown option, or a value that it does not accept. The message names both."""
