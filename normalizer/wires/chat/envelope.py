"""One id, one object, one time and one model for the whole stream, and other members of chunks."""

from __future__ import annotations

import time
import uuid
from collections import deque
from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.core.lenient import dumps
from normalizer.wires.chat.chunk import (
    OBJECTS,
    PADDING_KEYS,
    TOP_KEYS,
    Choice,
    Chunk,
    Endpoint,
    extras,
    is_news,
)
from normalizer.wires.chat.common import Common

ID_MISSING = Deviation(
    code="E201",
    name="id-missing",
    fault="The `id` of a chunk is missing or empty.",
    repair="The chunk gets the id of the stream.",
)
ID_CHANGES = Deviation(
    code="E202",
    name="id-changes",
    fault="The `id` changes within a stream.",
    repair="All chunks get the id of the first chunk.",
)
OBJECT_WRONG = Deviation(
    code="E203",
    name="object-wrong",
    fault="`object` is missing or is not the value that the endpoint has.",
    repair="`object` becomes the value that the endpoint has.",
)
CREATED_MISSING = Deviation(
    code="E204",
    name="created-missing",
    fault="`created` is missing or 0.",
    repair="The chunk gets the time of the stream.",
)
CREATED_FORM = Deviation(
    code="E205",
    name="created-not-seconds",
    fault="`created` is in milliseconds, a float or a string.",
    repair="It becomes an integer number of seconds.",
)
CREATED_CHANGES = Deviation(
    code="E206",
    name="created-changes",
    fault="`created` changes within a stream.",
    repair="All chunks get the time of the first chunk.",
)
MODEL_MISSING = Deviation(
    code="E207",
    name="model-missing",
    fault="`model` is missing or empty.",
    repair="The chunk gets the model of the stream, or else of the request.",
)
MODEL_CHANGES = Deviation(
    code="E208",
    name="model-changes",
    fault="`model` changes within a stream.",
    repair="All chunks get the model of the first chunk.",
)
RIDER_COLLIDES = Deviation(
    code="E216",
    name="rider-collides",
    fault="A member cannot move to another chunk, which has it with another value.",
    repair="The member gets a chunk of its own.",
)

# what a value is that is missing, and one that is not the stream's
_ID = (ID_MISSING, ID_CHANGES)
_MODEL = (MODEL_MISSING, MODEL_CHANGES)
# members that all chunks of a stream have; a chunk is not sent for them alone
_NO_NEWS = TOP_KEYS | {"system_fingerprint", "service_tier", "provider", *PADDING_KEYS}

_NOT_COMMON = TOP_KEYS | PADDING_KEYS  # members that a chunk of ours does not take from the others
_KEY_BYTES = 180  # what a key and its value take beside their text
_MILLISECONDS = 10**11  # as seconds that is the year 5138


def made_up_id(endpoint: Endpoint) -> str:
    """An id for a stream whose upstream sends none."""
    return f"{'chatcmpl' if endpoint == 'chat' else 'cmpl'}-{uuid.uuid4().hex}"


def now() -> int:
    """Seconds since the epoch: the time of a stream whose upstream names none."""
    return int(time.time())


class Envelope:
    """Gives all chunks of a stream the members that they share; the first good value stays.

    A chunk that is made here has what every chunk of the stream has had, so that a client that
    reads a member of its upstream's on each chunk finds it: the value, or null where it changed.
    """

    __slots__ = (
        "_began",
        "_common",
        "_endpoint",
        "_found",
        "_model",
        "created",
        "id",
        "model",
        "object",
    )

    def __init__(self, found: Findings, endpoint: Endpoint, model: str | None) -> None:
        self.object = OBJECTS[endpoint]
        self.id = ""
        self.created = 0
        self.model = ""
        self._found = found
        self._endpoint = endpoint
        self._model = model
        self._began = now()
        self._common: Common | None = None  # until a chunk has come

    def learn(self, chunk: Chunk) -> None:
        """Take what is good from a chunk that is not sent itself."""
        self.id = self.id or _text(chunk.get("id"))
        self.created = self.created or _seconds(chunk.get("created"))
        self.model = self.model or _text(chunk.get("model"))

    def read(self, draft: Draft) -> None:
        """Give a chunk with choices the stream's members."""
        common = self._common
        if common is None:
            self._common = Common(draft.value, _NOT_COMMON)
        elif common.members:
            common.add(draft.value)
        self.put(draft)

    def put(self, draft: Draft) -> None:
        """Put the stream's members on a chunk that is to be sent."""
        chunk = draft.value
        created = chunk.get("created")
        if (
            chunk.get("id") == self.id != ""
            and created == self.created != 0
            and type(created) is int
            and chunk.get("model") == self.model != ""
            and chunk.get("object") == self.object
        ):
            return
        self._repair(draft)

    def _repair(self, draft: Draft) -> None:
        chunk, found = draft.value, self._found
        # all are read before the first is changed: `edit` may put other objects for numbers
        ident, created, model = chunk.get("id"), chunk.get("created"), chunk.get("model")
        # an empty first id must not become the stream's: users look up answers by OpenRouter's
        # `gen-…`
        if not (self.id and self.created and self.model):
            self.learn(chunk)
            self._fill()
        if ident != self.id and found(_deviation(_ID, ident)):
            draft.edit()["id"] = self.id
        # openai-python's `.stream()` skips a chunk with another `object`, and loses its finish
        if chunk.get("object") != self.object and found(OBJECT_WRONG):
            draft.edit()["object"] = self.object
        if created != self.created or type(created) is not int:
            if found(self._created_deviation(created)):
                draft.edit()["created"] = self.created
        if model != self.model and found(_deviation(_MODEL, model)):
            draft.edit()["model"] = self.model

    def _created_deviation(self, created: Any) -> Deviation:
        # a float ends Go clients: "cannot unmarshal number … into Go struct field … of type int64"
        seconds = _seconds(created)
        if not seconds:
            return CREATED_MISSING
        return CREATED_CHANGES if type(created) is int and seconds == created else CREATED_FORM

    def varies(self, key: str) -> bool:
        """Whether a member of the chunks is known to have other values, or not to be in all."""
        return self._common is None or self._common.members.get(key) is None

    def chunk(self, choices: list[Choice]) -> Draft:
        """A chunk of our own."""
        self._fill()
        return Draft(
            {
                "id": self.id,
                "object": self.object,
                "created": self.created,
                "model": self.model,
                **(self._common.members if self._common is not None else {}),
                "choices": choices,
            }
        )

    def _fill(self) -> None:
        self.id = self.id or made_up_id(self._endpoint)
        self.created = self.created or self._began
        self.model = self.model or self._model or "unknown"


class Riders:
    """Members of chunks that are not sent themselves; they are put on the next one that is.

    ``waiting`` has one value a key, ``limit`` bytes in all: `full` says when it is time to let it
    go on a chunk of its own.
    """

    __slots__ = (
        "_delivered",
        "_delivered_size",
        "_found",
        "_held",
        "_later",
        "_limit",
        "_size",
        "waiting",
    )

    def __init__(self, found: Findings, limit: int, held: int) -> None:
        self.waiting: dict[str, Any] = {}
        self._delivered: dict[str, Any] = {}  # the last value of each key
        self._delivered_size = 0
        self._later: dict[str, deque[Any]] = {}  # values of keys of which one waits already
        self._size = 0  # bytes of what waits
        self._limit = limit
        self._held = held  # bytes that `_delivered` may have
        self._found = found

    def news(self, chunk: Chunk, sent: Chunk) -> bool:
        """Whether a chunk is worth sending for its own members, whatever its choices say."""
        if chunk.keys() <= _NO_NEWS:
            return False  # as most
        own = chunk.keys() - _NO_NEWS
        return any(is_news(key, chunk[key]) and chunk[key] != sent.get(key) for key in own)

    def take(self, chunk: Chunk, sent: Chunk) -> bool:
        """Take what is news in ``chunk``, given the chunk that was sent last.

        Return whether there was any.
        """
        news = [one for one in extras(chunk).items() if self._is_new(*one, sent)]
        if not news:
            return False
        padding = [(key, chunk[key]) for key in PADDING_KEYS if chunk.get(key) is not None]
        for key, value in [*news, *padding]:
            if key in self.waiting and key not in PADDING_KEYS:
                self._later.setdefault(key, deque()).append(value)
            else:
                self.waiting[key] = value
            self._size += _KEY_BYTES + len(key) + len(dumps(value))
        return True

    def _is_new(self, key: str, value: Any, sent: Chunk) -> bool:
        """Whether neither the last chunk nor an earlier rider has this value."""
        known = (sent.get(key), self._delivered.get(key), self.waiting.get(key))
        return is_news(key, value) and value not in known

    def progress(self, chunk: Chunk) -> bool:
        """Return whether ``chunk`` has a newer value of a member that waits or that was sent."""
        for key, value in extras(chunk).items():
            last = self.waiting.get(key, self._delivered.get(key))
            if last is not None and last != value and is_news(key, value):
                return True
        return False

    @property
    def count(self) -> int:
        """How many values wait."""
        return len(self.waiting) + sum(map(len, self._later.values()))

    def rest(self) -> list[tuple[str, Any]]:
        """All that waits, in order."""
        later = [(key, value) for key, values in self._later.items() for value in values]
        return [*self.waiting.items(), *later]

    def wait(self, key: str, value: list[Any]) -> None:
        """Let the items of a list wait, with those that wait already under ``key``."""
        self.waiting[key] = [*self.waiting.get(key, ()), *value]

    @property
    def full(self) -> bool:
        """Whether what waits is over the limit."""
        return self._size > self._limit

    def mount(self, chunk: Chunk) -> bool:
        """Put what waits on a chunk that is to be sent; was it changed?"""
        changed = False
        stay = {}
        for key, value in self.waiting.items():
            there = chunk.get(key)
            if there is None:
                chunk[key] = value
                changed = True
            elif there != value:
                stay[key] = value
                continue
            self._delivered[key] = value
        self._delivered_size += self._size
        if self._delivered_size > self._held:
            # what is forgotten may be delivered once more, if it comes once more
            self._delivered.clear()
            self._delivered_size = 0
        for key in [key for key in self._later if key not in stay]:
            stay[key] = self._later[key].popleft()
            if not self._later[key]:
                del self._later[key]
        self.waiting = stay
        if not stay:
            self._size = 0
        return changed

    def collides(self, chunk: Chunk) -> bool:
        """Whether a chunk of its own is needed for what waits: ``chunk`` has other values."""
        differ = bool(self._later) or any(
            chunk.get(key) not in (None, value) for key, value in self.waiting.items()
        )
        if differ and self.waiting.keys() <= PADDING_KEYS:
            self.waiting = {}
            return False
        return differ and self._found(RIDER_COLLIDES)


def _deviation(kinds: tuple[Deviation, Deviation], given: Any) -> Deviation:
    missing, changes = kinds
    return changes if _text(given) else missing


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value if value.strip() else ""
    return str(value) if type(value) is int else ""


def _seconds(value: Any) -> int:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return 0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 10**17:
        return 0
    return int(value / 1000 if value >= _MILLISECONDS else value)
