"""How an answer is read: what left strictly, what came leniently.

What left must be as the contract says, so each byte that is otherwise is a fault. What came may be
anything: here each JSON object is found that a patient reader finds, up to the end of the stream.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

DONE = "[DONE]"
DECODER = json.JSONDecoder(strict=False)
LONE_SURROGATE = re.compile(
    r"(?<!\\)(?:\\\\)*(?:\\ud[89ab]..(?!\\ud[c-f])|(?<!\\ud[89ab]..)\\ud[c-f])", re.IGNORECASE
)
KEYWORDS_OF_THE_END = {"done", "[done]", "end", "[end]", "finished", "[finished]"}


class Fault(NamedTuple):
    """One thing that is wrong with an answer.

    `rule` is one of `wire`, `form`, `order`, `end`, `lost`, `invented` and `usage`.
    """

    rule: str
    text: str


class Event(NamedTuple):
    """An event that left: its name (the empty string in a chat) and its object."""

    name: str
    value: dict[str, Any]


class Left(NamedTuple):
    """What left: the events in their order, and whether `[DONE]` is behind them."""

    events: list[Event]
    done: bool
    faults: list[Fault]


class Came(NamedTuple):
    """What came: the objects up to `[DONE]`, if it came; and how much was readable.

    `names` has the name of each object's event. `readable` counts the objects before the first JSON
    that cannot be read.
    """

    objects: list[dict[str, Any]]
    names: list[str]
    done: bool
    readable: int


def strictly(out: bytes, *, named: bool) -> Left:
    """Read what left. `named` says whether each event has to have an `event:` line."""
    events: list[Event] = []
    faults: list[Fault] = []
    done = False
    try:
        text = out.decode()
    except UnicodeDecodeError as error:
        return Left([], False, [Fault("wire", f"no UTF-8: {error}")])
    if "\r" in text or text.startswith("\ufeff") or not text.endswith("\n\n"):
        faults.append(Fault("wire", "CR, a byte order mark, or no blank line at the end"))
    for block in text.split("\n\n")[:-1]:
        if all(line.startswith(": ") for line in block.split("\n")):
            continue
        if done:
            faults.append(Fault("wire", f"behind [DONE]: {block[:80]}"))
        if block == f"data: {DONE}":
            done = True
            continue
        try:
            event = _event(block, named=named)
        except ValueError as error:
            faults.append(Fault("wire", f"{error}: {block[:80]}"))
        else:
            events.append(event)
    return Left(events, done, faults)


def _event(block: str, *, named: bool) -> Event:
    *head, data = block.split("\n")
    if not data.startswith("data: ") or len(head) != named:
        raise ValueError("the lines are not those of an event")
    value = json.loads(data.removeprefix("data: "), parse_constant=_no_json)
    if not isinstance(value, dict):
        raise ValueError("no object")  # noqa: TRY004 - like JSON that cannot be read
    if LONE_SURROGATE.search(data):
        raise ValueError("half a surrogate pair")
    if not named:
        return Event("", value)
    if head[0] != f"event: {value.get('type')}":
        raise ValueError("the event's line and its object differ in type")
    return Event(value["type"], value)


def _no_json(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def leniently(raw: bytes) -> Came:
    """Read what came, with or without events around the JSON."""
    text = raw.decode("utf-8", "replace").lstrip("\ufeff")
    whole = _loads(text)
    if isinstance(whole, list | dict | str) and whole != [DONE]:
        objects = list(_objects(whole))
        return Came(objects, [""] * len(objects), False, len(objects))
    return _lines(re.split(r"\r\n|\n|\r", text))


def _lines(lines: list[str]) -> Came:
    objects: list[dict[str, Any]] = []
    names: list[str] = []
    pending = name = ""
    broken: int | None = None
    for line in [*lines, ""]:
        field, data = _field(line, pending)
        if field == "event":
            name = data
        if field not in ("data", "error", ""):
            continue
        if not pending and data.startswith(DONE):
            return Came(objects, names, True, len(objects) if broken is None else broken)
        if pending and list(_objects(_loads(data))) not in ([], [{}]):
            pending = ""  # the JSON before it never ended
            broken = len(objects) if broken is None else broken
        value = _loads(pending + data) if data else None
        found = [] if value is None else list(_objects(value))
        if field == "error":
            found = [{"error": one.get("error", one)} for one in found]
        objects += found
        names += [name] * len(found)
        pending = pending + data if value is None and data else ""
        if not line.strip():
            name = ""
        if pending and pending.strip().lower() in KEYWORDS_OF_THE_END and objects:
            return Came(objects, names, True, len(objects) if broken is None else broken)
    return Came(objects, names, False, len(objects) if broken is None else broken)


def _field(line: str, pending: str) -> tuple[str, str]:
    """The name of a line's field, and its value; a comment has the name `:`."""
    if line.startswith(":"):
        return ":", ""
    if line.lstrip()[:1] in ("{", "[") or (pending and not line.startswith("data:")):
        return "data", line.strip()
    field, _, value = line.lstrip().partition(":")
    value = value.strip()
    while value.startswith("data:"):
        value = value.removeprefix("data:").strip()
    return field, value


def _loads(text: str) -> Any:
    """The JSON of a text, or None. Several values behind each other become a list."""
    found = []
    rest = text.strip()
    while rest:
        try:
            value, end = DECODER.raw_decode(rest)
        except ValueError:
            return None
        found.append(value)
        rest = rest[end:].lstrip()
    return found[0] if len(found) == 1 else found or None


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """The objects in a line's JSON: it may be a list of them, or text with JSON in it."""
    if isinstance(value, str):
        value = _loads(value)
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            yield one
