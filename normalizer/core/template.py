"""The fast path: an event whose bytes differ from those of an earlier one in one text only.

Most events of a stream are the same bytes around another piece of text. Once a wire has repaired
one of them, what it does to the bytes around the text is known: the next event with the same bytes
around it needs no parsing. A template is learnt from what the wire did, never from a second copy of
its rules, and only where the wire says that nothing but the text decides about the next event
(`OneText`). Every other event clears it. Comparing costs half of what parsing does.

Beside the text a template may have two more holes: OpenAI's padding (`obfuscation`), which leaves
as it is, and a usage that is taken off every chunk: the wire gets each of them, in their order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from normalizer.core.findings import Findings
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
_PADDING = re.compile(rb"[\w+/=-]*").fullmatch
# an object of numbers, one of them nested at the most
_USAGE = re.compile(rb"\{[^{}\[\]]*(?:\{[^{}\[\]]*\}[^{}\[\]]*)*\}")
_CHOICES = 4  # templates at a time: one for each choice
_MISSES = 8  # templates learnt in vain before a stream is taken to be one that has none
_KEPT = 64  # texts that are taken together when they are counted


class OneText(NamedTuple):
    """The one text that an event had, where only it will differ in the next event.

    * ``kind``: in the report; ``choice``: of the text, or of what else tells events apart.
    * ``keep``: who has to know the texts that follow.
    * ``padding``: a text that stands beside it against listeners.
    * ``has_usage``: the event leaves with a usage, if it came with one.
    * ``own_codes``: deviations that the wire finds anew when it is given a usage (`take_usage`).
    """

    text: str
    kind: str
    choice: int
    keep: Callable[[str], None] | None
    padding: str = ""
    has_usage: bool = False
    own_codes: frozenset[str] = frozenset()


class Template:
    """The bytes around a text, as they come and as they leave; what was repaired in them.

    `take` reads events as long as they are in the template. What it read is in ``texts`` until
    `settle` is called.
    """

    __slots__ = (
        "_after",
        "_before",
        "_hole",
        "_hole_first",
        "_leaves_after",
        "_leaves_before",
        "_limit",
        "_middle",
        "_plain",
        "codes",
        "keep",
        "kind",
        "same",
        "texts",
        "usages",
    )

    def __init__(
        self,
        came: list[bytes],
        left: list[bytes],
        hole: str,
        text: OneText,
        codes: tuple[str, ...],
        limit: int,
    ) -> None:
        self._limit = limit
        self.kind = text.kind
        self.keep = text.keep
        self.codes = codes
        self.same = came == left and hole != "usage"
        self._plain = _PLAIN if self.same else _WRITTEN
        if text.kind == "arguments":
            self._plain = _ARGUMENTS if self.same else _WRITTEN_ARGUMENTS
        self.texts: list[bytes] = []
        self.usages: list[dict[str, Any]] = []  # taken off, and not yet the wire's
        self._hole = hole  # "", or what the other hole is: "padding", "usage", "usage first"
        self._hole_first = hole == "usage first"
        self._before, self._after = came[0], came[-1]
        self._middle = came[1] if hole else b""
        self._leaves_before, self._leaves_after = left[0], left[-1]

    @property
    def takes_usage(self) -> bool:
        """Whether a usage is taken off each event."""
        return self._hole.startswith("usage")

    @property
    def full(self) -> bool:
        """Whether it is time to `settle`."""
        return len(self.texts) >= _KEPT

    def take(self, data: bytes, position: int, out: list[bytes]) -> int:
        """Read events that begin at ``position``; where the first one begins that is not mine.

        What leaves is put on ``out``, unless it is the `same` bytes as came.
        """
        if self._hole:
            return self._take_two(data, position, out)
        before, after = self._before, self._after
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
                out.append(self._leaves_before + inside + self._leaves_after)
            position = end + tail
        return position

    def _take_two(self, data: bytes, position: int, out: list[bytes]) -> int:
        before, middle, after = self._before, self._middle, self._after
        while data.startswith(before, position):
            at = position + len(before)
            last = data.find(b"\n", at) + 2 - len(after)
            if last < at or last > position + self._limit or not data.startswith(after, last):
                break
            end = data.find(middle, at, last)
            second = end + len(middle)
            if end < 0:
                break
            inside, other = data[at:end], data[second:last]
            if self._hole_first:
                inside, other = other, inside
            if self._plain(inside) is None or not (inside.isascii() or _is_utf_8(inside)):
                break
            if self._hole == "padding":
                if _PADDING(other) is None:
                    break
                if not self.same:
                    leaves = (self._leaves_before, inside, middle, other, self._leaves_after)
                    out.append(b"".join(leaves))
            else:
                usage = _usage(other)
                if usage is None:
                    break
                self.usages.append(usage)
                out.append(self._leaves_before + inside + self._leaves_after)
            self.texts.append(inside)
            position = last + len(after)
        return position

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
        self._report.count(template.kind, events, len(text))
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
        if len(self._templates) >= _CHOICES or any(
            one.takes_usage for one in self._templates.values()
        ):
            # of the usages that several templates would hold nobody knew which was the last
            self._templates.clear()
        if learnt is not None and not (learnt.takes_usage and self._templates):
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
    inside = dumps(text.text)
    if raw == left and inside not in raw:
        inside = json.dumps(text.text).encode()
    if len(inside) < 3 or raw.count(inside) != 1 or left.count(inside) != 1:
        return None
    came = [part + quote for part, quote in zip(raw.split(inside), (b'"', b""), strict=True)]
    goes = [part + quote for part, quote in zip(left.split(inside), (b'"', b""), strict=True)]
    came[1], goes[1] = b'"' + came[1], b'"' + goes[1]
    hole = ""
    if usage and not text.has_usage:
        hole = _usage_hole(came)
        if not hole:
            return None
    elif text.padding:
        hole = _padding_hole(came, goes, text.padding)
    came = [b"data: " + came[0], *came[1:-1], came[-1] + b"\n\n"]
    goes = [b"data: " + goes[0], *goes[1:-1], goes[-1] + b"\n\n"]
    return Template(came, goes, hole, text, codes, limit)


def _usage_hole(came: list[bytes]) -> str:
    for number, part in enumerate(came):
        start = part.find(b'"usage":')
        match = _USAGE.search(part, start) if start >= 0 else None
        if match is not None and part[start + 8 : match.start()].strip() == b"":
            came[number : number + 1] = [part[: match.start()], part[match.end() :]]
            return "usage" if number else "usage first"
    return ""


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


def _padding_hole(came: list[bytes], goes: list[bytes], padding: str) -> str:
    inside = dumps(padding)[1:-1]
    if not inside or came[1] != goes[1] or came[1].count(b'"' + inside + b'"') != 1:
        return ""
    middle, _, after = came[1].partition(b'"' + inside + b'"')
    came[1:] = [middle + b'"', b'"' + after]
    goes[1:] = came[1:]
    return "padding"


def _is_utf_8(inside: bytes) -> bool:
    try:
        inside.decode()
    except UnicodeDecodeError:
        return False
    return True
