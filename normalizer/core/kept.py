"""What one stream makes us keep, against `Options.max_held_bytes`."""

from __future__ import annotations

# bytes beside those that came, about what the interpreter needs for each
CHOICE = 512
CALL = 512
INDEX = 128  # another index of a call
CHUNK = 1024  # a chunk or a fragment, parsed
COMMENT = 128


class Kept:
    """Bytes that are kept of one stream beside the event at hand, by estimate.

    * ``size``: of all that is kept; ``limit``: what it may be.
    * ``arrived``: bytes of the event at hand that nothing was counted for yet.

    Example::

        kept = Kept(8 * 1024 * 1024)
        kept.arrived = len(event)
        size = kept.keep(CHUNK)  # the event waits
        kept.size -= size        # and leaves
    """

    __slots__ = ("arrived", "limit", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.arrived = 0

    def keep(self, own: int) -> int:
        """Count something of the event at hand, with ``own`` bytes beside it; its size."""
        size = own + self.arrived
        self.arrived = 0
        self.size += size
        return size

    @property
    def over(self) -> bool:
        """Whether more is kept than may be."""
        return self.size > self.limit
