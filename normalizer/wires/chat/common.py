"""What every one of a kind of objects has had: all chunks of a stream, all deltas of a choice."""

from __future__ import annotations

from typing import Any


class Common:
    """The members that all objects so far have had, with the value that all had, or null.

    ``first`` is the first of the objects. Members in ``known`` are not counted. ``nulls``: their
    values are forgotten, all are null. Once ``members`` is empty it stays so, and no more objects
    need to be added.

    Example::

        common = Common({"id": "a", "provider": "P", "tier": 1}, frozenset({"id"}))
        common.add({"id": "b", "provider": "P", "tier": 2, "x": 3})
        assert common.members == {"provider": "P", "tier": None}
    """

    __slots__ = ("_nulls", "members")

    def __init__(
        self, first: dict[str, Any], known: frozenset[str], *, nulls: bool = False
    ) -> None:
        self._nulls = nulls
        self.members: dict[str, Any] = {}
        # most have no members of their own: a comparison of sets is quicker than a loop
        if not first.keys() <= known:
            own = {key: value for key, value in first.items() if key not in known}
            self.members = dict.fromkeys(own) if nulls else own

    def add(self, given: dict[str, Any]) -> None:
        """Take another object."""
        members = self.members
        for key in [key for key in members if key not in given]:
            del members[key]
        if not self._nulls:
            for key, value in members.items():
                if value is not None and value != given[key]:
                    members[key] = None
