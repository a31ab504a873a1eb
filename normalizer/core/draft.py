"""One JSON event on its way through the house, with the bytes that it came as.

An event that nobody changes leaves as the bytes that it came as, so that a canonical stream leaves
byte for byte. Whoever changes the value takes it by `Draft.edit`, which voids the bytes: there is
no other record of whether an event was changed.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.lenient import dumps
from normalizer.core.spelling import keep_spelling


class Draft:
    """A JSON object and the bytes that it came as.

    * ``value``: the object, or what a whole body is instead; read it as you like, change it through
      `edit` only.
    * ``raw``: its JSON on one line as it came; None once it was changed, where it is made by us, or
      where only a lenient parser could read it.

    Example::

        draft = Draft({"id": ""}, b'{"id":""}')
        draft.edit()["id"] = "chatcmpl-1"
        assert draft.raw is None
    """

    __slots__ = ("raw", "value")

    def __init__(self, value: Any, raw: bytes | None = None) -> None:
        self.value: Any = value
        self.raw = raw

    def edit(self) -> dict[str, Any]:
        """The value, to be changed: the bytes that it came as are void from now on.

        Numbers that would be spelt otherwise in what we write keep their spelling.
        """
        value: dict[str, Any] = self.value
        if self.raw is not None:
            keep_spelling(value, self.raw)
            self.raw = None
        return value

    def json(self) -> bytes:
        """The JSON that leaves, on one line."""
        return dumps(self.value) if self.raw is None else self.raw
