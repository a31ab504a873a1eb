"""What one stream makes us keep, and its limit `Options.max_held_bytes`."""

from __future__ import annotations

# bytes beside those that came, about what the interpreter needs for each
CHOICE = 512
CALL = 512
INDEX = 128  # another index of a call
CHUNK = 1024  # a chunk or a fragment, parsed
COMMENT = 128


class Kept:
    """The bytes that are kept for one stream, by estimate, without the current event.

    * ``size``: the bytes of everything that is kept.
    * ``limit``: the limit of ``size``.
    * ``arrived``: bytes of the current event that are not counted yet.

    Example::

        kept = Kept(8 * 1024 * 1024)
        kept.arrived = len(event)
        size = kept.keep(CHUNK)  # the event waits
        kept.size -= size        # and is sent
    """

    __slots__ = ("arrived", "limit", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.arrived = 0

    def keep(self, own: int) -> int:
        """Count something of the current event, plus ``own`` bytes. Returns its size."""
        size = own + self.arrived
        self.arrived = 0
        self.size += size
        return size

    @property
    def over(self) -> bool:
        """Return whether more is kept than the limit."""
        return self.size > self.limit
