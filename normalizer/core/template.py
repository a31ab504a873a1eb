"""The fast path: an event whose bytes differ from those of an earlier one in a few holes only.

Most events of a stream are the same bytes around another piece of text. Once a wire has repaired
one of them, what it does to the bytes around the text is known: the next event with the same bytes
around it needs no parsing. A template is learnt from what the wire did, never from a second copy of
its rules, and only where the wire says what else may differ (`core/form.py`). Comparing costs half
of what parsing does. Which templates a stream has is decided in `core/templates.py`.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.form import PADDING, Form, Member, Rising, Text
from normalizer.core.holes import (
    BLANKS,
    Example,
    Hole,
    find_holes,
    is_written,
    match_of_member,
    match_of_text,
    parts,
    reader_of,
)
from normalizer.core.lenient import dumps, loads

_BACKSLASH = ord("\\")  # bytes look for a byte string an order of magnitude slower
_KEPT = 64  # events that are taken together when they are counted
# what is in a hole: what an expression matches, a text, what an earlier hole has, or anything else
_MATCH, _TEXT, _AGAIN, _OTHER = range(4)


class Template:
    """The bytes around the holes of an event, as they come and as they leave.

    * ``form``: what the wire said of it. ``codes``: the deviations of each event.
    * ``same``: what leaves is what came. ``sends``: something leaves.
    * ``before``: the bytes with which an event begins.
    * ``rows``: of the events taken since the last `settle`, the values in their holes.
    * ``run``: how many of these were taken before another template took one.
    * ``sure``: its form holds, as far as is known.
    * ``ordered``: what was in its events has to be told before another template takes one.
    """

    __slots__ = (
        "_around",
        "_end",
        "_fills",
        "_leaves",
        "_limit",
        "_only",
        "_rewritten",
        "_rising",
        "_slots",
        "_steps",
        "_texts",
        "before",
        "codes",
        "form",
        "ordered",
        "rows",
        "run",
        "same",
        "sends",
        "sure",
    )

    def __init__(
        self,
        example: Example,
        came: list[Hole],
        left: list[Hole],
        form: Form,
        codes: tuple[str, ...],
        limit: int,
    ) -> None:
        self.form = form
        self.codes = codes
        self.same = example.same
        self.sends = bool(example.left)
        self.sure = True
        self.rows: list[Any] = []
        self.run = 0
        self._rewritten = example.rewritten
        self._limit = limit
        self.before, *behind = parts(example.came, came)
        self.ordered = False
        self._slots: list[Text | Member] = []  # what the values are
        self._texts: list[int] = []  # the values that are texts
        self._rising: list[tuple[int, Rising]] = []  # and that are numbers that rise
        # of each hole: its kind, the value in it, what reads that, and the bytes behind it
        self._steps: list[tuple[int, int, Any, bytes]] = []
        for hole, after in zip(came, behind, strict=True):
            self._add_step(hole.what, example.came[hole.start : hole.end], after)
        self._leaves: list[bytes] = []  # the bytes that leave, with places for the holes
        self._fills: list[int] = []  # and the values that come into those
        if self.sends and not self.same:
            for hole in left:
                if hole.what not in self._slots:  # a number that none came with
                    self._add_slot(hole.what)
            self._leaves = [one for part in parts(example.left, left) for one in (part, b"")][:-1]
            self._fills = [self._slots.index(hole.what) for hole in left]
        # most templates have one text, and it stands once
        single = [hole.what for hole in came if hole.what is not PADDING] == list(form.texts)
        single = single and len(form.texts) == 1 and (self.same or len(left) == 1)
        self._only = self._steps[0][2:] if single else None
        # behind which there may be blanks; the bytes behind those
        self._end = self._steps[1][3] if single and len(self._steps) > 1 else None
        self._around = (self._leaves[0], self._leaves[2]) if single and self._leaves else None

    def _add_step(self, what: Text | Member, value: bytes, after: bytes) -> None:
        if what in self._slots:
            self._steps.append((_AGAIN, self._slots.index(what), None, after))
            return
        slot = self._add_slot(what)
        if isinstance(what, Text):
            self._steps.append((_TEXT, slot, match_of_text(what), after))
            return
        self.ordered = self.ordered or what.takes is not None
        match = match_of_member(what, value)
        if match is not None:
            self._steps.append((_MATCH, slot, match, after))
        else:
            self._steps.append((_OTHER, slot, reader_of(what, rewritten=self._rewritten), after))

    def _add_slot(self, what: Text | Member) -> int:
        """Make a place for a value of each event."""
        slot = len(self._slots)
        self._slots.append(what)
        if isinstance(what, Text):
            self._texts.append(slot)
        elif what.rising is not None:
            self._rising.append((slot, what.rising))
        return slot

    def shares(self, other: Template) -> bool:
        """Whether somebody keeps the texts of both, and needs them in their order."""
        keeps = [text.keep for text in self.form.texts if text.keep is not None]
        return any(text.keep in keeps for text in other.form.texts) if keeps else False

    @property
    def key(self) -> tuple[bytes, tuple[bytes, ...]]:
        """The bytes around the holes: a later template with the same ones replaces this one."""
        return self.before, tuple(step[3] for step in self._steps)

    @property
    def full(self) -> bool:
        """Whether it is time to `settle`."""
        return len(self.rows) >= _KEPT

    # ------------------------------------------------------------------ events

    def read(self, data: bytes, position: int, out: list[bytes]) -> int:
        """Read events that begin at ``position``; where the first one begins that is not mine.

        What leaves is put on ``out``, unless it is the `same` bytes as came.
        """
        if self._only is None:
            return self._read_several(data, position, out)
        before, (match, after) = self.before, self._only
        start, tail = len(before), len(after)
        around, rewritten, behind = self._around, self._rewritten, self._end
        while data.startswith(before, position):
            found = match(data, position + start)
            if found is None:
                break
            end = found.end() + tail
            if not data.startswith(after, end - tail):
                break
            if behind is not None:
                blanks = BLANKS(data, end)
                if blanks is None or not data.startswith(behind, blanks.end()):
                    break
                end = blanks.end() + len(behind)
            if end - position > self._limit:
                break
            inside = found[0]
            if not (inside.isascii() or _is_utf_8(inside)):
                break
            if rewritten and _BACKSLASH in inside and not is_written(inside):
                inside = _as_we_write(inside)
            self.rows.append(inside)
            if around is not None:
                out.append(around[0] + inside + around[1])
            position = end
        return position

    def _read_several(self, data: bytes, position: int, out: list[bytes]) -> int:
        before, slots = self.before, len(self._slots)
        while data.startswith(before, position):
            values = [b""] * slots
            end = self._read_holes(data, position + len(before), values)
            if end < 0 or end - position > self._limit:
                break
            self.rows.append(values)
            if self._leaves or self._rising:
                self._leave(values, out)
            position = end
        return position

    def _read_holes(self, data: bytes, at: int, values: list[bytes]) -> int:
        """Read what is in the holes of an event, the first of them ``at``.

        Return where the event ends, -1 if it is another one.
        """
        for kind, slot, reads, after in self._steps:
            if kind <= _TEXT:
                found = reads(data, at)
                if found is None:
                    return -1
                stop, value = found.end(), found[0]
                if kind == _TEXT and not (value.isascii() or _is_utf_8(value)):
                    return -1
            elif kind == _AGAIN:
                value = values[slot]
                stop = at + len(value) if data.startswith(value, at) else -1
            else:
                stop = reads(data, at, after)
                value = data[at:stop]
            if stop < 0 or not data.startswith(after, stop):
                return -1
            values[slot] = value
            at = stop + len(after)
        return at

    def _leave(self, values: list[bytes], out: list[bytes]) -> None:
        """Write what leaves for the values of an event."""
        for slot, rising in self._rising:
            rising.came += 1
            rising.left += self.sends
            values[slot] = b"%d" % rising.left
        if not self._leaves:
            return
        if self._rewritten:
            for slot in self._texts:
                if not is_written(values[slot]):
                    values[slot] = _as_we_write(values[slot])
        self._leaves[1::2] = [values[slot] for slot in self._fills]
        out.append(b"".join(self._leaves))

    # ------------------------------------------------------------------ what was in them

    def settle(self) -> list[tuple[Text, str]]:
        """Tell the wire what was in the events; return their texts."""
        rows, form = self.rows, self.form
        texts = []
        for slot, what in enumerate(self._slots):
            column = rows if self._only is not None else [row[slot] for row in rows]
            if isinstance(what, Text):
                text = _decoded(b"".join(column))
                texts.append((what, text))
                if what.keep is not None:
                    what.keep(text)
            else:
                _tell(what, column)
        if form.took is not None:
            form.took(len(rows) - self.run)
        self.rows = []
        self.run = 0
        return texts


def learn(example: Example, form: Form, codes: tuple[str, ...], limit: int) -> Template | None:
    """The template of an event; None where it is in doubt what the next one has otherwise."""
    holes = find_holes(example, form)
    return Template(example, *holes, form, codes, limit) if holes is not None else None


def _tell(member: Member, values: list[bytes]) -> None:
    """Tell what a member had in several events in a row."""
    if member.takes is not None:
        member.takes(values)
    elif member.tell is not None:
        last = values[-1]
        member.tell(loads(b'"%b"' % last if type(member.value) is str else last)[0])


def _decoded(inside: bytes) -> str:
    text: str = loads(b'"%b"' % inside)[0] if _BACKSLASH in inside else inside.decode()
    return text


def _as_we_write(inside: bytes) -> bytes:
    """A text as our writer spells it: what leaves must not depend on the path that it took."""
    return dumps(_decoded(inside))[1:-1]


def _is_utf_8(inside: bytes) -> bool:
    try:
        inside.decode()
    except UnicodeDecodeError:
        return False
    return True
