"""One tool call of a stream: what has to be remembered of it, which is not its arguments."""

from __future__ import annotations

from typing import Any


class Call:
    """One call: what decides about the next fragment. Its arguments are not kept."""

    __slots__ = (
        "_depth",
        "_escaped",
        "_quoted",
        "custom",
        "given",
        "half",
        "head",
        "id",
        "name",
        "number",
        "stash",
        "stashed",
        "upstream",
        "with_arguments",
    )

    def __init__(self, ident: str, name: str, upstream: int | None) -> None:
        self.id = ident
        self.given = ident  # the upstream's: two calls may have been given the same
        self.name = name
        self.upstream = upstream
        self.number: int | None = None  # once its head has left
        self.head: dict[str, Any] | None = None
        self.stash: list[dict[str, Any]] = []  # fragments before the name
        self.stashed = 0  # bytes of these
        self.half = ""  # of a surrogate pair, at the end of the arguments so far
        self.with_arguments = False
        self.custom = False
        self._depth = 0
        self._quoted = self._escaped = False

    def hear(self, text: str) -> None:
        """Follow the arguments' brackets: whether they are closed is all that is kept."""
        if not text:
            return
        self.with_arguments = True
        if self._escaped:
            self._escaped = False
            text = text[1:]
        text = text.replace("\\\\", "")
        if text.endswith("\\"):
            self._escaped = True
            text = text[:-1]
        parts = text.replace('\\"', "").split('"')
        for number, part in enumerate(parts):
            if number:
                self._quoted = not self._quoted
            if not self._quoted:
                self._depth += part.count("{") + part.count("[")
                self._depth -= part.count("}") + part.count("]")

    @property
    def incomplete(self) -> bool:
        return self.with_arguments and (self._depth > 0 or self._quoted)
