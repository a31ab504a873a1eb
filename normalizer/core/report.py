"""What happened to one stream: the repairs, the counts, the end."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

End = Literal["done", "error", "truncated", "empty", "closed"]


@dataclasses.dataclass(slots=True)
class Repair:
    """How often one deviation was repaired, and the number of the first such event, from 1."""

    count: int
    first: int


@dataclasses.dataclass(slots=True)
class Report:
    """What a `Normalizer` did. It is complete when `close` has returned.

    * ``repairs``: by code, with the count and the number of the first event.
    * ``events_in``, ``events_out``: events with data. Comments and ``[DONE]`` do not count.
    * ``characters_in``, ``characters_out``: by kind (``"content"``, ``"reasoning"``, ``"refusal"``,
      ``"arguments"``).
    * ``finish``: the finish_reason that was sent, by choice.
    * ``usage``: the usage that was sent.
    * ``end``: ``"done"``, ``"error"`` (the upstream sent an error), ``"truncated"``, ``"empty"``,
      or ``"closed"`` (the client disconnected). None while the stream runs.
    * ``error``: the error that was sent, if there was one.
    * ``id``, ``model``: as they were sent. ``model`` is the model of the request until the answer
      names one.
    * ``path``: the path of the request.
    * ``upstream``: host and port of the upstream, if the door knows them.
    * ``started``: the time of the request, in Unix seconds.
    * ``first_event``, ``elapsed``: seconds from the request to the first event that was sent, and
      to the end.

    Doors set the last five. In a report of a bare `Normalizer` they are None.
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
        """Count events that passed unchanged, with characters of one kind."""
        self.events_in += events
        self.events_out += events
        self.characters_in[kind] = self.characters_in.get(kind, 0) + characters
        self.characters_out[kind] = self.characters_out.get(kind, 0) + characters

    @property
    def codes(self) -> dict[str, int]:
        """The counts by code, sorted. This is what is logged. It has no content."""
        return {code: self.repairs[code].count for code in sorted(self.repairs)}
