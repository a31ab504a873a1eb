"""The fast path: an event whose bytes differ from those of an earlier one in a few holes only.

Most events of a stream are the same bytes around another piece of text. Once a wire has repaired
one of them, what it does to the bytes around the text is known: the next event with the same bytes
around it needs no parsing. A template is learnt from what the wire did, never from a second copy of
its rules, and only where the wire says that nothing but the text decides about the next event
(`OneText`). Every other event clears it. Comparing costs half of what parsing does.

The text is the first of the holes. It may stand in several members, which then have to agree in the
next event too. The others are members that leave as they came, such as OpenAI's padding, and a
usage that is taken off every chunk: the wire gets each of them, in their order. An event that was
not sent because it says nothing is a template without a hole: only the same bytes say nothing too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from normalizer.core.findings import Findings
from normalizer.core.holes import TEXT, USAGE, Beside, Hole, agree, find_holes, parts, usage_hole
from normalizer.core.lenient import dumps, loads
from normalizer.core.report import Report
from normalizer.core.spelling import keep_spelling

# a JSON string's inside that ends where the template goes on: no quote that ends it, no escape that
# could be half a surrogate pair, nothing that JSON does not allow
_PLAIN = re.compile(
    rb'(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}))+'
).fullmatch
# and with the escapes only that we write: what leaves must not depend on the path it took
_WRITTEN = re.compile(rb'(?:[^"\\\x00-\x1f]|\\["\\bfnrt])+').fullmatch
# arguments without a bracket: one could end them, and what follows the end of arguments is in doubt
_ARGUMENTS = re.compile(rb'(?:[^"\\\x00-\x1f{}\[\]]|\\["\\/bfnrt])+').fullmatch
_WRITTEN_ARGUMENTS = re.compile(rb'(?:[^"\\\x00-\x1f{}\[\]]|\\["\\bfnrt])+').fullmatch
# what stands beside the text: neither "" nor 0, which may be left out
_PADDING = re.compile(rb"[\w+/=-]+").fullmatch
_NUMBER = re.compile(rb"[1-9][0-9]{0,14}").fullmatch
_CHOICES = 4  # templates at a time: one for each choice
_MISSES = 8  # templates learnt in vain before a stream is taken to be one that has none
_KEPT = 64  # texts that are taken together when they are counted


class OneText(NamedTuple):
    """The one text that an event had, where only it will differ in the next event.

    * ``text``: "" for an event that was not sent, and would not be if it came again.
    * ``kind``: in the report; ``choice``: of the text, or of what else tells events apart.
    * ``keep``: who has to know the texts that follow.
    * ``mirrors``: names of the members that may have the same text, where several have it.
    * ``beside``: members that leave as they came, and whose values mean nothing.
    * ``has_usage``: the event leaves with a usage, if it came with one.
    * ``own_codes``: deviations that the wire finds anew when it is given a usage (`take_usage`).
    * ``event``: the name in the `event:` line with which the event came and left. "": it has none.
    """

    text: str
    kind: str
    choice: int
    keep: Callable[[str], None] | None
    mirrors: frozenset[bytes] = frozenset()
    beside: Beside = ()
    has_usage: bool = False
    own_codes: frozenset[str] = frozenset()
    event: str = ""


class Template:
    """The bytes around a text, as they come and as they leave; what was repaired in them.

    `take` reads events as long as they are in the template. What it read is in ``texts`` until
    `settle` is called.
    """

    __slots__ = (
        "_before",
        "_fills",
        "_holes",
        "_leaves",
        "_limit",
        "_plain",
        "codes",
        "keep",
        "kind",
        "same",
        "takes_usage",
        "texts",
        "usages",
    )

    def __init__(
        self,
        came: bytes,
        came_holes: list[Hole],
        left: bytes,
        left_holes: list[Hole],
        text: OneText,
        codes: tuple[str, ...],
        limit: int,
    ) -> None:
        self._limit = limit
        self.kind = text.kind
        self.keep = text.keep
        self.codes = codes
        self.same = came == left
        names = [hole.name for hole in came_holes]
        self.takes_usage = USAGE in names
        self._plain = _PLAIN if self.same else _WRITTEN
        if text.kind == "arguments":
            self._plain = _ARGUMENTS if self.same else _WRITTEN_ARGUMENTS
        self.texts: list[bytes] = []
        self.usages: list[dict[str, Any]] = []  # taken off, and not yet the wire's
        self._before, *behind = parts(came, came_holes)
        # what each hole is, what fits into it, and the bytes behind it
        self._holes = [
            (name, self._fit(name, text), part) for name, part in zip(names, behind, strict=True)
        ]
        self._leaves: list[bytes] = []  # the bytes that leave, with places for the holes
        self._fills: list[str] = []  # and what comes into those
        if not self.same:
            self._leaves = [one for part in parts(left, left_holes) for one in (part, b"")][:-1]
            self._fills = [hole.name for hole in left_holes]

    def _fit(self, name: str, text: OneText) -> Callable[[bytes], object]:
        if name == TEXT:
            return self._plain
        if name == USAGE:
            return bool  # whether it is a usage shows when it is parsed
        return _PADDING if type(dict(text.beside)[name]) is str else _NUMBER

    @property
    def alone(self) -> bool:
        """Whether no other template may stand beside this one.

        Of the usages that several hold nobody knows which was the last, and whether an event says
        nothing depends on the one that was sent before it.
        """
        return self.takes_usage or not self._holes

    @property
    def full(self) -> bool:
        """Whether it is time to `settle`."""
        return len(self.texts) >= _KEPT

    def take(self, data: bytes, position: int, out: list[bytes]) -> int:
        """Read events that begin at ``position``; where the first one begins that is not mine.

        What leaves is put on ``out``, unless it is the `same` bytes as came.
        """
        if len(self._holes) != 1:
            return self._take_several(data, position, out)
        before, after = self._before, self._holes[0][2]
        start, tail, same = len(before), len(after), self.same
        texts, plain = self.texts, self._plain
        while data.startswith(before, position):
            at = position + start
            # not for what stands behind the text: it may be far away, or nowhere
            end = data.find(b"\n", at) + 2 - tail
            if end < at or end > position + self._limit or not data.startswith(after, end):
                break
            inside = data[at:end]
            if plain(inside) is None:
                break
            if not (inside.isascii() or _is_utf_8(inside)):
                break
            texts.append(inside)
            if not same:
                leaves_before, _, leaves_after = self._leaves
                out.append(leaves_before + inside + leaves_after)
            position = end + tail
        return position

    def _take_several(self, data: bytes, position: int, out: list[bytes]) -> int:
        before, after = self._before, self._holes[-1][2] if self._holes else b""
        while data.startswith(before, position):
            at = position + len(before)
            end = data.find(b"\n", at) + 2 if self._holes else at
            if end < at or end > position + self._limit + len(after):
                break
            values = self._read_holes(data, at, end)
            if values is None:
                break
            inside = values.get(TEXT, b"")
            if not (inside.isascii() or _is_utf_8(inside)):
                break
            if self.takes_usage:
                usage = _usage(values[USAGE])
                if usage is None:
                    break
                self.usages.append(usage)
            self.texts.append(inside)
            if not self.same:
                self._leaves[1::2] = [values[name] for name in self._fills]
                out.append(b"".join(self._leaves))
            position = end
        return position

    def _read_holes(self, data: bytes, at: int, end: int) -> dict[str, bytes] | None:
        """What is in the holes of an event, the first of them ``at``; None if something else is."""
        values: dict[str, bytes] = {}
        for name, fits, part in self._holes:
            stop = data.find(part, at, end)
            if stop < 0:
                return None
            value = data[at:stop]
            if name not in values and fits(value):
                values[name] = value
            elif values.get(name) != value:
                return None
            at = stop + len(part)
        return values if at == end else None

    def settle(self) -> tuple[int, str]:
        """How many events were read since the last time, and their text."""
        events = len(self.texts)
        inside = b"".join(self.texts)
        self.texts.clear()
        text = loads(b'"' + inside + b'"')[0] if b"\\" in inside else inside.decode()
        return events, text


class Templates:
    """The templates of one stream: one for each choice, as long as nothing but texts differs.

    ``last`` is the template that was learnt last while the next byte begins an event, else None.
    """

    __slots__ = ("_found", "_limit", "_misses", "_report", "_take_usage", "_templates", "last")

    def __init__(
        self,
        found: Findings,
        report: Report,
        take_usage: Callable[[dict[str, Any]], None],
        limit: int,
    ) -> None:
        self.last: Template | None = None
        self._templates: dict[int, Template] = {}
        self._found = found
        self._report = report
        self._take_usage = take_usage
        self._limit = limit
        self._misses = 0  # templates learnt since one was of use

    @property
    def wanted(self) -> bool:
        """Whether the stream is one in which templates are of use, as far as is known."""
        return self._misses < _MISSES

    @property
    def any(self) -> bool:
        """Whether there is a template."""
        return bool(self._templates)

    @property
    def several(self) -> bool:
        """Whether there is more than one template."""
        return len(self._templates) > 1

    def give_up(self) -> None:
        """Learn no more templates."""
        self.settle()
        self.clear()
        self._misses = _MISSES

    def clear(self) -> None:
        """Forget the templates: the next chunk's fate is not the last one's."""
        self._templates.clear()
        self.last = None

    def align(self, aligned: bool) -> None:
        """Say whether the next byte begins an event."""
        self.last = (
            next(reversed(self._templates.values())) if aligned and self._templates else None
        )

    def take(self, data: bytes, position: int, out: list[bytes]) -> int:
        """Take events that are in a template, from ``position`` on; where those end."""
        end, moved = position, True
        while moved:
            moved = False
            for template in self._templates.values():
                start, end = end, template.take(data, end, out)
                if end > start:
                    moved = len(self._templates) > 1
                    if template.same:
                        out.append(data[start:end])
                    if template.full:
                        self._settle(template)
        return end

    def settle(self) -> None:
        """Count what was read in the templates, as if it had gone through the stages."""
        for template in self._templates.values():
            if template.texts:
                self._settle(template)

    def _settle(self, template: Template) -> None:
        events, text = template.settle()
        self._misses = 0
        if template.kind:
            self._report.count(template.kind, events, len(text))
        else:
            self._report.events_in += events  # they said nothing, and were not sent
        self._found.again(template.codes, events)
        if template.keep is not None:
            template.keep(text)
        for usage in template.usages:
            self._take_usage(usage)
        template.usages.clear()

    def learn(self, raw: bytes, left: bytes, usage: Any, text: OneText) -> None:
        """Take the template of an event that came as ``raw`` and left as ``left``.

        ``usage`` is the one that it came with.
        """
        self._misses += 1
        codes = tuple(code for code in self._found.log if code not in text.own_codes)
        learnt = _learn(raw, left, usage, text, codes, self._limit)
        self._templates.pop(text.choice, None)
        if learnt is None:
            return
        alone = learnt.alone or any(one.alone for one in self._templates.values())
        if alone or len(self._templates) >= _CHOICES:
            self._templates.clear()
        self._templates[text.choice] = learnt


def _learn(
    raw: bytes,
    left: bytes,
    usage: Any,
    text: OneText,
    codes: tuple[str, ...],
    limit: int,
) -> Template | None:
    """The template of an event that came as ``raw`` and left as ``left``, around its one text."""
    field = b"event: " + text.event.encode() + b"\n" if text.event else b""
    came, goes = field + b"data: " + raw + b"\n\n", field + b"data: " + left + b"\n\n"
    if not left:
        return None if usage else Template(came, [], b"", [], text, codes, limit)
    inside = dumps(text.text)
    if raw == left and inside not in raw:
        inside = json.dumps(text.text).encode()
    came_holes = left_holes = find_holes(came, inside, text.mirrors, text.beside)
    if raw != left:
        left_holes = find_holes(goes, inside, text.mirrors, text.beside)
    if not came_holes or not left_holes or not agree(came_holes, left_holes):
        return None
    if usage and not text.has_usage:
        hole = usage_hole(came, came_holes)
        if hole is None:
            return None
        came_holes = sorted([*came_holes, hole])
    return Template(came, came_holes, goes, left_holes, text, codes, limit)


def _usage(data: bytes) -> dict[str, Any] | None:
    """The usage that the bytes in a hole are; None if they are none, half of one, or several."""
    try:
        usage, lenient = loads(data)
    except ValueError:
        return None
    if lenient or not isinstance(usage, dict):
        return None
    half = usage.get("prompt_tokens") is None or usage.get("completion_tokens") is None
    if half:
        return None
    keep_spelling(usage, data)
    return usage


def _is_utf_8(inside: bytes) -> bool:
    try:
        inside.decode()
    except UnicodeDecodeError:
        return False
    return True
