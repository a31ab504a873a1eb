"""The fast path: an event whose bytes differ from those of an earlier one in a few holes only.

Most events of a stream are the same bytes around another piece of text. Once a wire has repaired
one of them, what it does to the bytes around the text is known: the next event with the same bytes
around it needs no parsing. A template is learnt from what the wire did, never from a second copy of
its rules, and only where the wire says what else may differ (`core/form.py`). Comparing costs half
of what parsing does. Which templates a stream has is decided in `core/templates.py`.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.form import Form, Member, Rising, Text
from normalizer.core.holes import (
    BLANKS,
    Example,
    Hole,
    find_holes,
    match_of,
    match_of_member,
    parts,
    reader_of,
)
from normalizer.core.lenient import dumps, loads
from normalizer.core.report import Report

_KEPT = 64  # events that are taken together when they are counted
# what a hole has: a text, the value of a hole before it, what an expression matches, or else
_TEXT, _AGAIN, _MATCH, _MEMBER = range(4)
_BY_EXPRESSION = (_TEXT, _MATCH)


class Template:
    """The bytes around the holes of an event, as they come and as they leave.

    * ``form``: what the wire said of it. ``codes``: the deviations of each event.
    * ``same``: what leaves is what came. ``sends``: something leaves.
    * ``key``: the bytes around the holes; a later template with the same ones replaces this one.
    * ``ordered``: what was in the events has to be told before another template takes one.
    * ``before``: the bytes with which an event begins.
    * ``sure``: its form holds, as far as is known.
    * ``run``: how many of the events that are not counted yet came before another template's last.

    `read` takes events as long as they are in the template. What was in them is kept until
    `settle` is called.
    """

    __slots__ = (
        "_end",
        "_fills",
        "_leaves",
        "_limit",
        "_only",
        "_rewritten",
        "_rising",
        "_rows",
        "_slots",
        "_steps",
        "_written",
        "before",
        "codes",
        "form",
        "key",
        "ordered",
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
        self.run = 0
        self._rewritten = example.rewritten
        self._limit = limit
        self._rows: list[Any] = []  # of each event: the values in its holes
        self.before, *behind = parts(example.came, came)
        self.key = (self.before, *behind)
        self._slots: list[Text | Member] = []  # what the values are
        # of each hole: its kind, the value in it, what reads that, and the bytes behind it
        self._steps: list[tuple[int, int, Any, bytes]] = []
        self._rising: list[tuple[int, Rising]] = []
        self._written: list[int] = []
        for hole, after in zip(came, behind, strict=True):
            self._add_step(hole, example.came[hole.start : hole.end], after)
        self.ordered = any(member.takes is not None for member in form.members)
        self._leaves: list[bytes] = []  # the bytes that leave, with places for the holes
        self._fills: list[int] = []  # and the values that come into those
        if self.sends and not self.same:
            for hole in left:
                if hole.what not in self._slots:  # a number that none came with
                    self._add_slot(hole.what)
            self._leaves = [one for part in parts(example.left, left) for one in (part, b"")][:-1]
            self._fills = [self._slots.index(hole.what) for hole in left]
        # most templates have one text, and it stands once
        kinds = [step[0] for step in self._steps if step[2] is not BLANKS]
        alone = kinds == [_TEXT] and len(self._fills) == (not self.same)
        self._only = self._steps[0][2:] if alone else None
        # behind which there may be blanks; the bytes behind those
        self._end = self._steps[1][3] if alone and len(self._steps) > 1 else None

    def _add_step(self, hole: Hole, value: bytes, after: bytes) -> None:
        what = hole.what
        if what in self._slots:
            self._steps.append((_AGAIN, self._slots.index(what), None, after))
            return
        slot = self._add_slot(what)
        if isinstance(what, Text):
            self._steps.append((_TEXT, slot, match_of(what), after))
            return
        match = match_of_member(what, value)
        if match is not None:
            self._steps.append((_MATCH, slot, match, after))
        else:
            reader = reader_of(what, rewritten=self._rewritten)
            self._steps.append((_MEMBER, slot, reader, after))

    def _add_slot(self, what: Text | Member) -> int:
        """Make a place for a value of each event."""
        slot = len(self._slots)
        self._slots.append(what)
        if isinstance(what, Text):
            if self._rewritten:
                self._written.append(slot)
        elif what.rising is not None:
            self._rising.append((slot, what.rising))
        return slot

    def shares(self, other: Template) -> bool:
        """Whether somebody keeps the texts of both, and needs them in their order."""
        keeps = [text.keep for text in self.form.texts if text.keep is not None]
        return any(text.keep in keeps for text in other.form.texts) if keeps else False

    @property
    def full(self) -> bool:
        """Whether it is time to `settle`."""
        return len(self._rows) >= _KEPT

    @property
    def taken(self) -> int:
        """How many events were taken since the last `settle`."""
        return len(self._rows)

    # ------------------------------------------------------------------ events

    def read(self, data: bytes, position: int, out: list[bytes]) -> int:
        """Read events that begin at ``position``; where the first one begins that is not mine.

        What leaves is put on ``out``, unless it is the `same` bytes as came.
        """
        if self._only is None:
            return self._read_several(data, position, out)
        before, (match, after) = self.before, self._only
        start, tail = len(before), len(after)
        same, rewritten, behind = self.same, self._rewritten, self._end
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
            if rewritten:
                inside = _as_we_write(inside)
            self._rows.append(inside)
            if not same:
                leaves_before, _, leaves_after = self._leaves
                out.append(leaves_before + inside + leaves_after)
            position = end
        return position

    def _read_several(self, data: bytes, position: int, out: list[bytes]) -> int:
        before, slots = self.before, len(self._slots)
        while data.startswith(before, position):
            values = [b""] * slots
            end = self._read_holes(data, position + len(before), values)
            if end < 0 or end - position > self._limit:
                break
            self._rows.append(values)
            self._leave(values, out)
            position = end
        return position

    def _read_holes(self, data: bytes, at: int, values: list[bytes]) -> int:
        """Read what is in the holes of an event, the first of them ``at``.

        Return where the event ends, -1 if it is another one.
        """
        for kind, slot, reads, after in self._steps:
            if kind in _BY_EXPRESSION:
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
            rising.left += 1
            if self._leaves:
                values[slot] = b"%d" % rising.left
        if self._leaves:
            for slot in self._written:
                values[slot] = _as_we_write(values[slot])
            self._leaves[1::2] = [values[slot] for slot in self._fills]
            out.append(b"".join(self._leaves))

    # ------------------------------------------------------------------ what was in them

    def settle(self, report: Report) -> list[tuple[Text, str]]:
        """Tell the wire what was in the events; return their texts."""
        rows, form = self._rows, self.form
        events = len(rows)
        texts = []
        for slot, what in enumerate(self._slots):
            column = rows if self._only is not None else [row[slot] for row in rows]
            if isinstance(what, Text):
                text = _decoded(b"".join(column))
                texts.append((what, text))
                if what.keep is not None:
                    what.keep(text)
            elif what.takes is not None:
                for value in column:
                    report.events_in += 1  # what is found has the number of its event
                    what.takes(value)
            elif what.tell is not None:
                value = column[-1]
                what.tell(loads(b'"%b"' % value if type(what.value) is str else value)[0])
        if form.took is not None:
            form.took(events - self.run)
        self._rows = []
        self.run = 0
        return texts


def learn(example: Example, form: Form, codes: tuple[str, ...], limit: int) -> Template | None:
    """The template of an event; None where it is in doubt what the next one has otherwise."""
    holes = find_holes(example, form) if example.left else ([], [])
    return Template(example, *holes, form, codes, limit) if holes is not None else None


def _decoded(inside: bytes) -> str:
    return loads(b'"%b"' % inside)[0] if b"\\" in inside else inside.decode()


def _as_we_write(inside: bytes) -> bytes:
    """A text as our writer spells it: what leaves must not depend on the path that it took."""
    return dumps(loads(b'"%b"' % inside)[0])[1:-1] if b"\\" in inside else inside


def _is_utf_8(inside: bytes) -> bool:
    try:
        inside.decode()
    except UnicodeDecodeError:
        return False
    return True
