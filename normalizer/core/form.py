"""What a wire says of an event: what the next one of its form may have otherwise.

The core learns from an event which bytes came and which left (`core/template.py`). The next event
with the same bytes around its *holes* leaves without being parsed. Only the wire knows what its
stages compare, count or remember; so the wire names the holes, and who has to know what was in
them:

=================================================  =================================================
a text that is streamed                            ``Text(said, kind, names, keep)``
a member that leaves as it came                    ``Member("obfuscation", value)``
... whose last value somebody compares             ``Member("p", value, tell=note)``
... that leaves with the stream's value instead    ``Member("created", value, instead=1700000000)``
... that does not leave, and is somebody's         ``Member("usage", value, takes=usage.take)``
... that is one more than in the event before      ``Member("sequence_number", 7, rising=numbers)``
=================================================  =================================================

All other bytes have to be the same. What the wire knows of its own state stands in `Form.holds`: it
is asked before a template is used again behind an event that went through the stages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Text(NamedTuple):
    """A piece of text that an event has, and that is another one in the next event.

    * ``said``: never "", which a stage may remove.
    * ``kind``: in the report's characters, "" for none. Brackets that close never pass in
      ``"arguments"``: whoever counts them finds the end of the arguments there.
    * ``names``: of the members that may have it. Where several have it, all of them do.
    * ``keep``: gets the texts that follow, joined; equal for all texts that have one order.
    * ``closes``: brackets that close pass all the same: nobody counts them before another event.
    """

    said: str
    kind: str
    names: frozenset[bytes]
    keep: Callable[[str], None] | None = None
    closes: bool = False


class Rising:
    """A number that each event of a stream has: one more than in the event before.

    * ``came``: in the event taken last; ``left``: in the event sent last. A wire that sends events
      of its own has other numbers there.

    The wire keeps both up to date, and so does each event that leaves by a template.

    Example::

        numbers = Rising()
        numbers.came, numbers.left = 6, 8
        Member("sequence_number", 6, rising=numbers)  # the next one has 7, and leaves with 9
    """

    __slots__ = ("came", "left")

    def __init__(self) -> None:
        self.came = self.left = -1


class Member(NamedTuple):
    """A member beside the text that may have another value in the next event.

    * ``name``: its name; only one member of the event may have it, or the first one of all.
    * ``value``: a string, an int, an object or a list. The next one is of the same type, and
      neither "" nor 0.
    * ``tell``: gets the last value at times, always before the next event that is parsed.
    * ``instead``: the member leaves with this value, and comes with any other one.
    * ``takes``: the member does not leave; gets the JSON of the values of events in a row, and adds
      one to `Report.events_in` for each, so that what it finds has the number of its event. The
      next value differs in its whole numbers only.
    * ``rising``: see `Rising`. An event that comes without the number leaves with the next one.
    """

    name: str
    value: Any
    tell: Callable[[Any], None] | None = None
    instead: str | int | None = None
    takes: Callable[[list[bytes]], None] | None = None
    rising: Rising | None = None

    @property
    def needed(self) -> bool:
        """Whether an event with the same value would not be one like this."""
        return self.takes is not None or self.rising is not None


PADDING = Member("", "")  # blanks between tokens: no member, and nobody's


class Form(NamedTuple):
    """What may differ between an event and the next one of its form.

    * ``texts``: none for an event that was not sent (``sends``).
    * ``members``: beside the texts.
    * ``holds``: whether an event of this form would be repaired now as this one was; asked behind
      other events, before it is told what templates have taken since. None: as long as the stream
      lasts.
    * ``took``: gets the number of events in a row that left so, the last ones of all.
    * ``alone``: no other form may leave by a template in between.
    * ``own_codes``: deviations that ``takes`` finds anew.
    * ``padded``: blanks before the last bracket of an event differ from event to event.
    """

    texts: tuple[Text, ...] = ()
    members: tuple[Member, ...] = ()
    holds: Callable[[], bool] | None = None
    took: Callable[[int], None] | None = None
    sends: bool = True
    alone: bool = False
    own_codes: frozenset[str] = frozenset()
    padded: bool = False
