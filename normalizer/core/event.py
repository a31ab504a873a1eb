"""One event of a stream, as the reader hands it on."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, Final


class Kind(enum.Enum):
    """What an `Event` is: `value` holds the JSON of DATA, `data` the bytes of all others."""

    DATA = enum.auto()
    COMMENT = enum.auto()
    NOTHING = enum.auto()  # it says nothing, but it keeps a connection alive
    DONE = enum.auto()
    END_WORD = enum.auto()  # it can only mean the end behind a finish; see `Event.otherwise`
    INVALID = enum.auto()  # neither JSON nor anything else that is known
    PAGE = enum.auto()  # HTML
    TOO_LARGE = enum.auto()


# Python 3.11 looks a member of an enum up slowly, and this one is asked for with each event.
DATA: Final = Kind.DATA


@dataclasses.dataclass(slots=True)
class Event:
    """One event. ``data`` is its bytes on one line; ``lenient`` data has to be written anew."""

    kind: Kind
    data: bytes
    value: Any = None
    lenient: bool = False
    name: str = ""
    at: int = 0  # bytes of the stream before its line, the first one if it has several

    @property
    def otherwise(self) -> Kind:
        """What an END_WORD is where no finish stands in front of it; of others, their kind."""
        if self.kind is not Kind.END_WORD:
            return self.kind
        return Kind.NOTHING if has_name_of_its_own(self.name) or not self.data else Kind.INVALID


def has_name_of_its_own(name: str) -> bool:
    """Whether an event's name says that its data need not be a part of the answer."""
    return name not in ("", "error", "message")
