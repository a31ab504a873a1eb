"""What every one of a kind of objects has had: all chunks of a stream, all deltas of a choice."""

from __future__ import annotations

from typing import Any


class Common:
    """The members that all objects so far had, with the value that all had, or null.

    Members in ``known`` are not counted. ``nulls``: their values are forgotten, all are null.
    ``settled``: no more objects need to be added, since nothing is common to all so far.

    Example::

        common = Common(frozenset({"id"}))
        common.add({"id": "a", "provider": "P", "tier": 1})
        common.add({"id": "b", "provider": "P", "tier": 2, "x": 3})
        assert common.members == {"provider": "P", "tier": None}
    """

    __slots__ = ("_known", "_nulls", "_seen", "members", "settled")

    def __init__(self, known: frozenset[str], *, nulls: bool = False) -> None:
        self._known = known
        self._nulls = nulls
        self._seen = False
        self.settled = False
        self.members: dict[str, Any] = {}

    def add(self, given: dict[str, Any]) -> None:
        """Take another object."""
        if not self._seen:
            self._seen = True
            # most have no members of their own: a comparison of sets is quicker than a loop
            if not given.keys() <= self._known:
                self._begin(given)
        elif self.members:
            self._narrow(given)
        self.settled = not self.members

    def _begin(self, given: dict[str, Any]) -> None:
        for key, value in given.items():
            if key not in self._known:
                self.members[key] = None if self._nulls else value

    def _narrow(self, given: dict[str, Any]) -> None:
        members = self.members
        for key in [key for key in members if key not in given]:
            del members[key]
        if not self._nulls:
            for key, value in members.items():
                if value is not None and value != given[key]:
                    members[key] = None
