"""The input of a tool call: whether it is complete, and whether two calls have the same.

The pieces of a call's input leave as they come, and are never mended. Whether they are a complete
JSON object decides whether the stop of the call's block may leave: a client that runs a tool at a
stop that came too early runs it with ``{}``. Brackets and quotes are counted, each character once,
when somebody asks; the JSON is parsed when the brackets are closed for the first time.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from normalizer.core.findings import Deviation
from normalizer.core.kept import Kept
from normalizer.core.lenient import dumps, loads

INPUT_IN_START = Deviation(
    code="M405",
    name="input-in-start",
    fault="The input of a tool call is in the start of its block.",
    repair="The start gets `{}`, and the input becomes a delta before the stop.",
)
INPUT_TWICE = Deviation(
    code="M406",
    name="input-in-start-and-deltas",
    fault="The input of a tool call is in its start, and in deltas too.",
    repair="None, the deltas are the input.",
    reported=True,
)
STOPPED_EARLY = Deviation(
    code="M407",
    name="tool-stopped-early",
    fault="A tool block is stopped before its input is complete.",
    repair="The stop waits for the rest of the input, and at most for the stop reason.",
)
INPUT_WITHOUT_BLOCK = Deviation(
    code="M408",
    name="input-without-block",
    fault="A piece of input comes that no open tool block can take.",
    repair="The stream ends in an error.",
    structural=True,
)
INPUT_NOT_JSON = Deviation(
    code="M409",
    name="input-not-json",
    fault="The input of a tool call is not a JSON object.",
    repair="None, because input is never mended.",
    reported=True,
)

_MARK = re.compile(r'[{}\[\]"\\]')


class Input:
    """The input of one call, as far as it has come.

    ``kept`` bounds the text: beyond its limit the text is forgotten, and only the brackets count.

    Example::

        given = Input()
        given.add('{"city": ', kept)
        assert not given.complete
        given.add('"Paris"}', kept)
        assert given.complete
    """

    __slots__ = (
        "_closed",
        "_depth",
        "_escaped",
        "_parts",
        "_quoted",
        "_read",
        "_size",
        "blank",
        "deltas",
    )

    def __init__(self) -> None:
        self.deltas = 0  # pieces, empty ones too
        self.blank = True  # whether no piece has anything but white space
        self._parts: list[str] | None = []  # the text; None once it was forgotten
        self._size = 0
        self._read = 0  # parts whose brackets were counted
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self._closed: bool | None = None  # None: not yet; whether the closed text is an object

    def add(self, text: str, kept: Kept, *, needed: bool = False) -> None:
        """Take a piece; ``needed``: its text has not left and must not be forgotten."""
        self.deltas += 1
        if not text:
            return
        self.blank = self.blank and text.isspace()
        if self._parts is None:
            self._count(text)
            return
        self._parts.append(text)
        self._size += len(text)
        kept.size += len(text)
        if kept.over and not needed:
            self.forget(kept)

    @property
    def text(self) -> str | None:
        """All pieces together; None if they were too many to be kept."""
        return None if self._parts is None else "".join(self._parts)

    @property
    def complete(self) -> bool:
        """Whether the pieces are a complete JSON object."""
        if self._parts is not None:
            while self._read < len(self._parts):
                self._read += 1
                self._count(self._parts[self._read - 1])
        return self._closed is True

    def forget(self, kept: Kept) -> None:
        """Keep no text any longer: nobody compares it."""
        _ = self.complete
        if self._parts is not None:
            kept.size -= self._size
            self._parts = None

    def _count(self, text: str) -> None:
        """Count the brackets of a piece."""
        if self._closed is not None:
            # what follows a complete object makes it none, unless it is blank
            self._closed = self._closed and not text.strip()
            return
        skip = 0 if self._escaped else -1
        self._escaped = False
        if not (self._depth or self._quoted) and text.strip() and text.lstrip()[:1] != "{":
            self._closed = False
            return
        for mark in _MARK.finditer(text):
            at, sign = mark.start(), mark[0]
            if at == skip:
                continue
            if sign == "\\":
                skip = at + 1
            elif sign == '"':
                self._quoted = not self._quoted
            elif not self._quoted:
                self._depth += 1 if sign in "{[" else -1
                if self._depth <= 0:
                    self._closed = self._is_object(text[at + 1 :])
                    return
        self._escaped = skip == len(text)

    def _is_object(self, behind: str) -> bool:
        if behind.strip():
            return False
        if self._parts is None:
            return True
        return is_object("".join(self._parts[: self._read]))


def same_input(first: Input, second: Input) -> bool:
    """Whether two calls have the same input."""
    a, b = first.text, second.text
    return a is not None and b is not None and _canonical(a) == _canonical(b)


def part_of(first: Input, second: Input) -> bool:
    """Whether the input of the second call is the beginning of that of the first."""
    a, b = first.text, second.text
    return a is not None and b is not None and a.startswith(b)


def _canonical(text: str) -> Any:
    try:
        return orjson.dumps(orjson.loads(text or "{}"), option=orjson.OPT_SORT_KEYS)
    except (ValueError, TypeError):
        return text


def as_text(value: Any) -> str:
    """A piece of input as text: a value that is no string is its JSON."""
    return value if isinstance(value, str) else dumps(value).decode()


def object_of(text: str) -> Any:
    """The object whose JSON a text is; the text itself where it is none."""
    try:
        value, _ = loads(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return text
    return value if isinstance(value, dict) else text


def is_object(text: str) -> bool:
    """Whether a text is the JSON of an object. Example: ``is_object('{"a": 1}')``."""
    return isinstance(object_of(text), dict)
