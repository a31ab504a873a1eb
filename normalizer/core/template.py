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
    Match,
    find_holes,
    is_written,
    match_of_member,
    match_of_text,
    parts,
    reader_of,
)
from normalizer.core.lenient import dumps, loads

_BACKSLASH = ord("\\")  # bytes look for a byte string an order of magnitude slower
FULL = 64  # events that are taken together when they are counted
# what is in a hole: what an expression matches, a text, what an earlier hole has, a number that
# rises, or anything else
_MATCH, _TEXT, _AGAIN, _RISING, _OTHER = range(5)


class Template:
    """The bytes around the holes of an event, as they come and as they leave.

    * ``form``: what the wire said of it. ``codes``: the deviations of each event.
    * ``same``: what leaves is what came. ``sends``: something leaves.
    * ``before``: the bytes with which an event begins.
    * ``key``: all bytes around the holes: a later template with the same ones replaces this one.
    * ``rows``: of the events taken since the last `settle`, the values in their holes.
    * ``run``: how many of these were taken before another template took one.
    * ``sure``: its form holds, as far as is known.
    * ``ordered``: what was in its events has to be told before another template takes one.
    """

    __slots__ = (
        "_around",
        "_behind",
        "_end",
        "_holes",
        "_limit",
        "_match",
        "_rewritten",
        "before",
        "codes",
        "form",
        "key",
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
        self.same = same = example.same
        self.sends = bool(example.left)
        self.sure = True
        self.rows: list[Any] = []
        self.run = 0
        self._rewritten = example.rewritten
        self._limit = limit
        self.key = tuple(parts(example.came, came))
        self.before = self.key[0]
        # most templates have one text, and it stands once
        one = _only_text(came, form) if same or len(left) == 1 else None
        self._match: Match | None = match_of_text(one) if one is not None else None
        self._behind = self.key[1] if one is not None else b""
        # behind which there may be blanks; the bytes behind those
        self._end = self.key[2] if one is not None and len(came) > 1 else None
        self._around: list[bytes] | None = None  # the bytes that leave, around the text
        self._holes: _Holes | None = None  # of all other templates
        self.ordered = False
        if one is None:
            self._holes = _Holes(example, came, left, self.key)
            self.ordered = self._holes.ordered
        elif not same:
            self._around = parts(example.left, left)

    def shares(self, other: Template) -> bool:
        """Whether somebody keeps the texts of both, and needs them in their order."""
        keeps = [text.keep for text in self.form.texts if text.keep is not None]
        return any(text.keep in keeps for text in other.form.texts) if keeps else False

    # ------------------------------------------------------------------ events

    def read(self, data: bytes, position: int, out: list[bytes]) -> int:
        """Read events that begin at ``position``; where the first one begins that is not mine.

        What leaves is put on ``out``, unless it is the `same` bytes as came.
        """
        match = self._match
        if match is None:
            return self._read_several(data, position, out)
        before, after = self.before, self._behind
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
        before, holes = self.before, self._holes
        while holes is not None and data.startswith(before, position):
            values = holes.read(data, position + len(before), position + self._limit)
            if values is None:
                break
            self.rows.append(values)
            holes.leave(values, out)
            position = holes.end
        return position

    # ------------------------------------------------------------------ what was in them

    def settle(self) -> list[tuple[Text, str]]:
        """Tell the wire what was in the events; return their texts."""
        rows, form = self.rows, self.form
        holes = self._holes
        texts = [_tell_text(form.texts[0], rows)] if holes is None else holes.tell(rows)
        if form.took is not None:
            form.took(len(rows) - self.run)
        self.rows = []
        self.run = 0
        return texts


class _Holes:
    """The holes of an event that has more than one text.

    * ``end``: where the event ends that was read last.
    * ``ordered``: see `Template`.
    """

    __slots__ = (
        "_fills",
        "_leaves",
        "_rewritten",
        "_rising",
        "_sends",
        "_slots",
        "_steps",
        "_texts",
        "end",
        "ordered",
    )

    def __init__(
        self, example: Example, came: list[Hole], left: list[Hole], key: tuple[bytes, ...]
    ) -> None:
        self.end = 0
        self.ordered = False
        self._rewritten = example.rewritten
        self._sends = bool(example.left)
        self._slots: list[Text | Member] = []  # what the values are
        self._texts: list[int] = []  # the values that are texts
        self._rising: list[tuple[int, Rising]] = []  # and that are numbers that rise
        # of each hole: its kind, the value in it, what reads that, and the bytes behind it
        self._steps: list[tuple[int, int, Any, bytes]] = []
        for number, hole in enumerate(came, 1):
            self._add_step(hole.what, example.came[hole.start : hole.end], key[number])
        self._leaves: list[bytes] = []  # the bytes that leave, with places for the holes
        self._fills: list[int] = []  # and the values that come into those
        if self._sends and not example.same:
            for hole in left:
                if hole.what not in self._slots:  # a number that none came with
                    self._add_slot(hole.what)
            self._leaves = [one for part in parts(example.left, left) for one in (part, b"")][:-1]
            self._fills = [self._slots.index(hole.what) for hole in left]

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
        if what.rising is not None:
            self._steps.append((_RISING, slot, what.rising, after))
        elif match is not None:
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

    def read(self, data: bytes, at: int, limit: int) -> list[bytes] | None:
        """Read what is in the holes of an event, the first of them ``at``.

        Return None if it is another one, or ends behind ``limit``.
        """
        values = [b""] * len(self._slots)
        for kind, slot, reads, after in self._steps:
            if kind <= _TEXT:
                found = reads(data, at)
                if found is None:
                    return None
                stop, value = found.end(), found[0]
                if kind == _TEXT and not (value.isascii() or _is_utf_8(value)):
                    return None
            elif kind == _RISING:
                # as it came it leaves only where both numbers are the same
                if reads.came != reads.left and not self._rewritten:
                    return None
                value = b"%d" % (reads.came + 1)
                stop = at + len(value) if data.startswith(value, at) else -1
            elif kind == _AGAIN:
                value = values[slot]
                stop = at + len(value) if data.startswith(value, at) else -1
            else:
                stop = reads(data, at, after)
                value = data[at:stop] if stop >= 0 else b""
            if stop < 0 or not data.startswith(after, stop):
                return None
            values[slot] = value
            at = stop + len(after)
        self.end = at
        return values if at <= limit else None

    def leave(self, values: list[bytes], out: list[bytes]) -> None:
        """Write what leaves for the values of an event."""
        for slot, rising in self._rising:
            rising.came += 1
            rising.left += self._sends
            if self._leaves:
                values[slot] = b"%d" % rising.left
        if not self._leaves:
            return
        if self._rewritten:
            for slot in self._texts:
                if not is_written(values[slot]):
                    values[slot] = _as_we_write(values[slot])
        self._leaves[1::2] = [values[slot] for slot in self._fills]
        out.append(b"".join(self._leaves))

    def tell(self, rows: list[list[bytes]]) -> list[tuple[Text, str]]:
        """Tell what was in the holes of events; return their texts."""
        texts = []
        for slot, what in enumerate(self._slots):
            if isinstance(what, Text):
                texts.append(_tell_text(what, [row[slot] for row in rows]))
            elif what.takes is not None:
                what.takes([row[slot] for row in rows])
            elif what.tell is not None:
                last = rows[-1][slot]
                what.tell(loads(b'"%b"' % last if type(what.value) is str else last)[0])
        return texts


def _only_text(came: list[Hole], form: Form) -> Text | None:
    """The text of an event that has nothing beside it but blanks; None if there is more."""
    whats = [hole.what for hole in came if hole.what is not PADDING]
    return (
        form.texts[0] if len(form.texts) == 1 == len(whats) and whats[0] is form.texts[0] else None
    )


def _tell_text(text: Text, pieces: list[bytes]) -> tuple[Text, str]:
    """Tell what a text was in several events in a row, joined."""
    said = _decoded(b"".join(pieces))
    if text.keep is not None:
        text.keep(said)
    return text, said


def learn(example: Example, form: Form, codes: tuple[str, ...], limit: int) -> Template | None:
    """The template of an event; None where it is in doubt what the next one has otherwise."""
    holes = find_holes(example, form)
    return Template(example, *holes, form, codes, limit) if holes is not None else None


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
