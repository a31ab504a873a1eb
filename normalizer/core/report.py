"""What happened to one stream: what was repaired, what went in and out, how it ended."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

End = Literal["done", "error", "truncated", "empty", "closed"]


@dataclasses.dataclass(slots=True)
class Repair:
    """How often one deviation was repaired, and the number (from 1) of the first such event."""

    count: int
    first: int


@dataclasses.dataclass(slots=True)
class Report:
    """What a `Normalizer` did; complete once its `close` has returned.

    * ``repairs``: by deviation code, with the count and the number of the first event.
    * ``events_in`` / ``events_out``: events with data, comments and ``[DONE]`` not counted.
    * ``characters_in`` / ``characters_out``: by kind (``"content"``, ``"reasoning"``,
      ``"refusal"``, ``"arguments"``).
    * ``finish``: the finish_reason that left, by choice; ``usage``: the usage that left.
    * ``end``: ``"done"``, ``"error"`` (the upstream said so), ``"truncated"``, ``"empty"``, or
      ``"closed"`` (the client went away); None while the stream runs.
    * ``error``: the error that left, if one did.
    * ``id``, ``model``: as they left; ``model`` is the request's while the answer named none.
    * ``path``: of the request; ``upstream``: host and port that answered, where the door knows it;
      ``started``: when the request came in, or was sent, in Unix seconds; ``first_event`` and
      ``elapsed``: seconds from then to the first event that left, and to the end. Doors fill these
      in; of a bare `Normalizer` they are None.
    """

    repairs: dict[str, Repair] = dataclasses.field(default_factory=dict)
    events_in: int = 0
    events_out: int = 0
    characters_in: dict[str, int] = dataclasses.field(default_factory=dict)
    characters_out: dict[str, int] = dataclasses.field(default_factory=dict)
    finish: dict[int, str] = dataclasses.field(default_factory=dict)
    usage: dict[str, Any] | None = None
    end: End | None = None
    error: dict[str, Any] | None = None
    id: str | None = None
    model: str | None = None
    path: str | None = None
    upstream: str | None = None
    started: float | None = None
    first_event: float | None = None
    elapsed: float | None = None

    def count(self, kind: str, events: int, characters: int) -> None:
        """Count events that left as they came in number, with characters of one kind."""
        self.events_in += events
        self.events_out += events
        self.characters_in[kind] = self.characters_in.get(kind, 0) + characters
        self.characters_out[kind] = self.characters_out.get(kind, 0) + characters

    @property
    def codes(self) -> dict[str, int]:
        """Counts by code, sorted: what is logged, and nothing of the content."""
        return {code: self.repairs[code].count for code in sorted(self.repairs)}
