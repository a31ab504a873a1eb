"""What differs between two recordings of the same requests, by interaction and by event.

What differs each time (see the option ``stable`` of `normalizer.cassette.scrub`) does not count,
and neither does where the socket split the chunks. Requests are compared first: those that are the
same belong together, and between them those to the same endpoint, in order.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from normalizer.cassette._decoding import decoded
from normalizer.cassette._volatile import Volatile
from normalizer.cassette.faults import Piece, Stream
from normalizer.cassette.format import Cassette, Headers, Interaction, RecordedResponse

_WIDTH = 100  # signs of a value
# Not by `urlsplit`, which raises for what only looks like a URL.
_PATH = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*)?([^?#]*)")
_BEFORE = 24  # signs that two long values share, shown before the difference


class Change(NamedTuple):
    """One line of a difference: ``-`` for the first recording, ``+`` for the second."""

    sign: Literal["-", "+"]
    text: str


class Difference(NamedTuple):
    """One place that differs.

    * ``interaction``: which one, such as ``interactions[0] POST http://h/v1/chat/completions``.
      Empty: what is said of the whole file.
    * ``where``: the place in it, such as ``event 3``. Empty: the whole interaction.
    * ``changes``: what each recording has there.
    """

    interaction: str
    where: str
    changes: tuple[Change, ...]


def diff(one: Cassette, other: Cassette, *, volatile: bool = False) -> tuple[Difference, ...]:
    """Return the differences between two recordings, in order. None: an empty tuple.

    ``volatile`` compares ids, times, durations, chunks and the day of the recording too.

    Example::

        for each in diff(load("old.yaml"), load("new.yaml")):
            print(each.interaction, each.where, *each.changes)
    """
    found = list(_of_metadata(one, other, volatile=volatile))
    old, new = (_prepared(each, volatile=volatile) for each in (one, other))
    for was, is_now in _paired(old, new):
        found += _of_interactions(was, is_now, volatile=volatile)
    return tuple(found)


# ---------------------------------------------------------------- which belong together


class _Numbered(NamedTuple):
    number: int
    interaction: Interaction

    @property
    def title(self) -> str:
        request = self.interaction.request
        return f"interactions[{self.number}] {request.method} {request.uri}"

    @property
    def endpoint(self) -> tuple[str, str]:
        request = self.interaction.request
        path = _PATH.match(request.uri)
        return request.method, path[1] if path else request.uri

    @property
    def asked(self) -> str:
        """The body of the request, the same for the same JSON."""
        body = self.interaction.request.body
        try:
            return json.dumps(json.loads(body), sort_keys=True)
        except (ValueError, RecursionError):
            return _text(body)


_Pair = tuple[_Numbered | None, _Numbered | None]


def _prepared(cassette: Cassette, *, volatile: bool) -> list[_Numbered]:
    names = Volatile()
    found = []
    for number, each in enumerate(cassette.interactions):
        request, response = each.request, decoded(each.response)
        if not volatile:
            # All as if they were the first, so that one more in between renames nothing behind it.
            request, response = names.request(request), names.response(response, 0)
        found.append(_Numbered(number, Interaction(request, response)))
    return found


def _paired(old: list[_Numbered], new: list[_Numbered]) -> Iterator[_Pair]:
    keys, others = ([(each.endpoint, each.asked) for each in side] for side in (old, new))
    for _, a, b, c, d in difflib.SequenceMatcher(None, keys, others, False).get_opcodes():
        yield from _by_endpoint(old[a:b], new[c:d])


def _by_endpoint(old: list[_Numbered], new: list[_Numbered]) -> Iterator[_Pair]:
    left = list(new)
    for was in old:
        same = next((each for each in left if each.endpoint == was.endpoint), None)
        if same is not None:
            left.remove(same)
        yield was, same
    for is_now in left:
        yield None, is_now


# ---------------------------------------------------------------- what differs in them


def _of_metadata(one: Cassette, other: Cassette, *, volatile: bool) -> Iterator[Difference]:
    for name in ("origin", "server", "version", "note", "sources", *(["date"] if volatile else [])):
        was, is_now = getattr(one.metadata, name), getattr(other.metadata, name)
        if was != is_now:
            yield Difference("", name, _changed(str(was or "-"), str(is_now or "-")))


def _of_interactions(
    was: _Numbered | None, is_now: _Numbered | None, *, volatile: bool
) -> Iterator[Difference]:
    if is_now is None:
        if was is not None:
            yield _alone(was, "-")
        return
    if was is None:
        yield _alone(is_now, "+")
        return
    title = was.title
    if was.number != is_now.number:
        title = title.replace("]", f" → {is_now.number}]", 1)
    for where, changes in _of_pair(was.interaction, is_now.interaction, volatile=volatile):
        if changes:
            yield Difference(title, where, changes)


def _alone(only: _Numbered, sign: Literal["-", "+"]) -> Difference:
    return Difference(only.title, "", (Change(sign, _shape(only.interaction.response)),))


_Found = tuple[str, tuple[Change, ...]]


def _of_pair(was: Interaction, is_now: Interaction, *, volatile: bool) -> Iterator[_Found]:
    asked, now = was.request, is_now.request
    yield "request.uri", _changed(asked.uri, now.uri)
    yield "request.headers", _of_headers(asked.headers, now.headers)
    yield "request.body", _of_bodies(asked.body, now.body)
    old, new = was.response, is_now.response
    yield "status", _changed(f"{old.status} {old.reason}", f"{new.status} {new.reason}")
    yield "headers", _of_headers(old.headers, new.headers)
    yield from _of_events(old, new)
    yield "end", _changed(old.end, new.end)
    if volatile:
        yield "chunks", _changed(str(list(old.lengths)), str(list(new.lengths)))
        yield "times", _changed(str(list(old.times)), str(list(new.times)))


def _of_headers(old: Headers, new: Headers) -> tuple[Change, ...]:
    was = {f"{name.lower()}: {value}" for name, value in old}
    is_now = {f"{name.lower()}: {value}" for name, value in new}
    return (
        *(Change("-", text) for text in sorted(was - is_now)),
        *(Change("+", text) for text in sorted(is_now - was)),
    )


def _of_bodies(was: bytes, is_now: bytes) -> tuple[Change, ...]:
    if was == is_now:
        return ()
    try:
        old, new = json.loads(was), json.loads(is_now)
    except (ValueError, RecursionError):
        return _changed(_text(was), _text(is_now))
    found = tuple(change for pair in _of_values(old, new, "") for change in pair)
    return found or _changed(_text(was), _text(is_now))


def _of_events(old: RecordedResponse, new: RecordedResponse) -> Iterator[_Found]:
    was, is_now = _events(old), _events(new)
    if was is None or is_now is None:
        yield "body", _of_bodies(old.body, new.body)
        return
    for _, a, b, c, d in difflib.SequenceMatcher(None, was, is_now).get_opcodes():
        if was[a:b] == is_now[c:d]:
            continue
        both = min(b - a, d - c)
        for number in range(both):
            yield f"event {a + number}", _of_event(was[a + number], is_now[c + number])
        for number in range(a + both, b):
            yield f"event {number}", (Change("-", _shortened(_text(was[number]))),)
        for number in range(c + both, d):
            # by its number in the second recording, where alone it is
            yield f"event {number}", (Change("+", _shortened(_text(is_now[number]))),)


def _events(response: RecordedResponse) -> list[bytes] | None:
    """Return the events of a stream, or None if the body is none."""
    kinds = [value for name, value in response.headers if name.lower() == "content-type"]
    if response.body.lstrip()[:1] in (b"{", b"[") or any("json" in kind for kind in kinds):
        return None
    ends = Stream((Piece(response.body),)).events
    return [response.body[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def _of_event(was: bytes, is_now: bytes) -> tuple[Change, ...]:
    old, new = _read(was), _read(is_now)
    if old is not None and new is not None and old[0] == new[0]:
        found = tuple(change for pair in _of_values(old[1], new[1], "") for change in pair)
        if found:
            return found
    return _changed(_text(was), _text(is_now))


def _read(event: bytes) -> tuple[list[bytes], Any] | None:
    """Return the lines of an event beside its data, and its data, if it is JSON."""
    lines = event.splitlines()
    data = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
    try:
        value = json.loads(b"\n".join(data))
    except (ValueError, RecursionError):
        return None
    return [line for line in lines if not line.startswith(b"data:")], value


def _of_values(was: Any, is_now: Any, where: str) -> Iterator[tuple[Change, ...]]:
    """Yield what differs between two JSON values, member by member."""
    if isinstance(was, dict) and isinstance(is_now, dict):
        for key in [*was, *(key for key in is_now if key not in was)]:
            at = f"{where}.{key}" if where else key
            if key not in is_now:
                yield (Change("-", f"{at}: {_shortened(_json(was[key]))}"),)
            elif key not in was:
                yield (Change("+", f"{at}: {_shortened(_json(is_now[key]))}"),)
            else:
                yield from _of_values(was[key], is_now[key], at)
    elif isinstance(was, list) and isinstance(is_now, list):
        for number, (old, new) in enumerate(zip(was, is_now, strict=False)):
            yield from _of_values(old, new, f"{where}[{number}]")
        for number in range(len(is_now), len(was)):
            yield (Change("-", f"{where}[{number}]: {_shortened(_json(was[number]))}"),)
        for number in range(len(was), len(is_now)):
            yield (Change("+", f"{where}[{number}]: {_shortened(_json(is_now[number]))}"),)
    elif type(was) is not type(is_now) or was != is_now:
        before = f"{where}: " if where else ""
        yield _changed(_json(was), _json(is_now), before)


# ---------------------------------------------------------------- texts


def _changed(was: str, is_now: str, before: str = "") -> tuple[Change, ...]:
    """Return two lines for two texts that differ, each shortened to where they do."""
    if was == is_now:
        return ()
    shared = next(
        (at for at, (a, b) in enumerate(zip(was, is_now, strict=False)) if a != b),
        min(len(was), len(is_now)),
    )
    # short texts are shown from their beginning
    start = 0 if max(len(was), len(is_now)) <= _WIDTH else max(shared - _BEFORE, 0)
    return (
        Change("-", before + _shortened(was, start)),
        Change("+", before + _shortened(is_now, start)),
    )


def _shortened(text: str, start: int = 0) -> str:
    shown = text[start : start + _WIDTH]
    return ("…" if start else "") + shown + ("…" if start + _WIDTH < len(text) else "")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _text(data: bytes) -> str:
    """Return bytes as a text of one line."""
    return repr(data.decode("utf-8", "backslashreplace"))[1:-1]


def _shape(response: RecordedResponse) -> str:
    events: Sequence[bytes] = _events(response) or ()
    many = f"{len(events)} events" if events else f"{len(response.body)} bytes"
    return f"{response.status} {response.reason}, {many}, {response.end}"
