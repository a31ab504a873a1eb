"""The trace of one answer: what came, what was found in it, and where it went.

Which event that came is in one that leaves is not written down by the stages, it is seen: a stage
changes a JSON value in place, moves it, or puts it into another one, and each object, list and text
in what leaves is either one that came or new. So the trace keeps what has come and has not left,
and looks for it in all that leaves. Two texts that were joined are found in the new one.

Format, version 1: JSON, one record a line.

* ``{"type": "trace", "version": 1, "normalizer", "request", "options", "status"}`` comes first.
  ``request`` has ``endpoint``, ``model``, ``stream``; ``options`` are those that are not the
  default.
* ``{"type": "came", "n", "at", "byte", "kind", "event", "raw", "data", "found"}`` for each event
  that came. ``n`` counts from 1, ``at`` is in seconds since the trace began, ``byte`` is where in
  the body the event began. ``kind`` is one of `normalizer.core.tracing.Listener.came`. ``raw`` is
  all its bytes; a byte that is no UTF-8 is written as ``\\xNN``, and ``"escaped": true`` says so.
  ``data`` is its data on one line, ``found`` a list of ``{"code", "place"}``: the place is
  ``[start, end]`` in the characters of ``data``, or null.
* ``{"type": "left", "n", "at", "after", "kind", "event", "data", "from"}`` for each event that
  left. ``after`` is the ``n`` of what came last before it, ``from`` lists those that it is made of.
  It is empty for an event that is new.
* ``{"type": "end", "at", "report"}`` comes last.

The records of what left follow the record of the event after which it left.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

from normalizer.catalogue.places import place
from normalizer.core.event import Event
from normalizer.core.options import Options
from normalizer.core.report import Report
from normalizer.core.request import RequestInfo

VERSION = 1
_FOLLOWED = 4096  # events that have come and whose parts may still leave
_BYTES = 16 * 1024 * 1024  # of them
_JOINED = 64  # of them, those whose texts are looked for in longer ones

Record = dict[str, Any]
_DEFAULTS = dataclasses.asdict(Options())


class Trace:
    """Writes what becomes of each event of one answer, as records.

    ``write`` takes each record as soon as it is complete; ``clock`` gives seconds. One object for
    each answer; memory does not grow with its length. Should ``write`` raise, that is logged, the
    trace ends there, and the answer goes on.

    Example::

        records = []
        n = Normalizer(request, trace=Trace(records.append))
        n.feed(body)
        n.close()
        print(records[1]["found"])
    """

    def __init__(
        self, write: Callable[[Record], object], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._began = clock()
        self._events = _Events()
        self._came: Record | None = None  # whose deviations are not known yet
        self._left: list[Record] = []  # behind it
        self._numbers = [0, 0]  # of what came, of what left
        self._over = False
        self._byte = 0

    def _at(self) -> float:
        return round(self._clock() - self._began, 6)

    def begins(self, request: RequestInfo, options: Options, status: int) -> None:
        """Take what is known before the first byte."""
        chosen = dataclasses.asdict(options)
        self._write(
            {
                "type": "trace",
                "version": VERSION,
                "normalizer": version("stream-normalizer"),
                "request": {
                    "endpoint": request.endpoint,
                    "model": request.model,
                    "stream": request.stream,
                },
                "options": {k: v for k, v in chosen.items() if v != _DEFAULTS[k]},
                "status": status,
            }
        )

    def came(self, kind: str, raw: bytes, event: Event) -> None:
        """Take what came."""
        if self._over:
            return
        self._flush()
        self._numbers[0] += 1
        text, escaped = _text(raw)
        self._came = {
            "type": "came",
            "n": self._numbers[0],
            "at": self._at(),
            "byte": self._byte,
            "kind": kind,
            "event": event.name,
            "raw": text,
            "data": _text(event.data)[0],
            "found": [],
        }
        if escaped:
            self._came["escaped"] = True
        self._byte += len(raw)
        self._events.add(self._numbers[0], event.value, len(raw))

    def taken(self, codes: list[str]) -> None:
        """Take the deviations that were found in what came last."""
        if self._came is not None:
            data = self._came["data"] or self._came["raw"]
            self._came["found"] = [{"code": code, "place": _place(code, data)} for code in codes]
        self._flush()

    def left(self, kind: str, name: str, data: bytes, value: Any) -> None:
        """Take what leaves."""
        if self._over:
            return
        self._numbers[1] += 1
        came = self._events.take(value)
        if "body" in (kind, self._came and self._came["kind"]):
            # one whole answer: it is made of everything, or everything is made of it
            came = list(range(1, self._numbers[0] + 1)) if kind != "done" else []
        self._left.append(
            {
                "type": "left",
                "n": self._numbers[1],
                "at": self._at(),
                "after": self._numbers[0],
                "kind": kind,
                "event": name,
                "data": _text(data)[0],
                "from": came,
            }
        )

    def ends(self, report: Report) -> None:
        """Take the report. A trace ends once."""
        if self._over:
            return
        self._over = True
        self._flush()
        told = dataclasses.asdict(report)
        told["finish"] = {str(index): word for index, word in report.finish.items()}
        self._write({"type": "end", "at": self._at(), "report": told})

    def _flush(self) -> None:
        if self._came is not None:
            self._write(self._came)
            self._came = None
        for record in self._left:
            self._write(record)
        self._left.clear()


class _Events:
    """What has come and has not left: its objects, lists and texts."""

    def __init__(self) -> None:
        # by identity; the object is kept with it, so that no other one can have its id
        self._parts: dict[int, tuple[int, Any]] = {}
        self._of: deque[tuple[int, int, list[int]]] = deque()  # number, bytes and ids, by event
        self._bytes = 0

    def add(self, number: int, value: Any, size: int) -> None:
        """Take the value of an event that came, of ``size`` bytes."""
        mine = []
        for part in _walk(value):
            mine.append(id(part))
            self._parts[id(part)] = (number, part)
        self._of.append((number, size, mine))
        self._bytes += size
        while len(self._of) > _FOLLOWED or (self._bytes > _BYTES and len(self._of) > 1):
            self._forget(*self._of.popleft())

    def _forget(self, number: int, size: int, mine: list[int]) -> None:
        self._bytes -= size
        for ident in mine:
            # a part that has left may have made room for one of another event
            if ident in self._parts and self._parts[ident][0] == number:
                del self._parts[ident]

    def take(self, value: Any) -> list[int]:
        """The numbers of the events that a value which leaves is made of."""
        numbers, new = set(), []
        for part in _walk(value):
            known = self._parts.pop(id(part), None)
            if known is not None:
                numbers.add(known[0])
            elif type(part) is str:
                new.append(part)
        for text in new:
            numbers |= self._joined(text)
        return sorted(numbers)

    def _joined(self, text: str) -> set[int]:
        """The events whose texts a new text is made of."""
        numbers = set()
        for _, _, mine in itertools.islice(reversed(self._of), _JOINED):
            for ident in mine:
                number, part = self._parts.get(ident, (0, None))
                if type(part) is str and part in text:
                    numbers.add(number)
                    del self._parts[ident]
        return numbers


def _walk(value: Any) -> Iterator[Any]:
    """The objects, lists and texts of a JSON value that are no other value's too."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if type(one) is dict:
            yield one
            waiting += one.values()
        elif type(one) is list:
            yield one
            waiting += one
        elif type(one) is str and len(one) > 1:  # Python has one object for each character
            yield one


def _place(code: str, data: str) -> list[int] | None:
    span = place(code, data)
    return None if span is None else [span.start, span.end]


def _text(data: bytes) -> tuple[str, bool]:
    """Bytes as text, and whether some of them had to be escaped."""
    try:
        return data.decode(), False
    except UnicodeDecodeError:
        return data.decode(errors="backslashreplace"), True
