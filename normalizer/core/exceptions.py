"""The root of the errors of this package, and the error of its options."""

from __future__ import annotations


class NormalizerError(Exception):
    """The base class of all errors of this package. Those that users meet are also built-in errors.

    Example::

        try:
            transport = NormalizingTransport(select=("S5O4",))
        except NormalizerError as error:
            print(error)
    """


class OptionError(NormalizerError, ValueError):
    """An unknown option, or a value that it does not accept. The message names both."""
