"""What differs each time the same answer is recorded, and the same name for it each time.

Two recordings of one request differ in ids, times, measured durations and some headers, even if the
model says the same. With the option ``stable`` these are replaced when they are recorded:

* An id becomes its prefix, the number of the interaction in the file, and its own number in the
  answer: ``chatcmpl-9f2c41d7`` becomes ``chatcmpl-0-1``. It is the same one wherever it stands, in
  this answer and in the requests and answers that follow, so that what refers to it still does.
* A time becomes 0, or the first of January 1970. A duration becomes 0.
* The headers of `HEADERS` and the times of the chunks are left out.

Only members with these names count, and only ids that look random: ``functions.weather:0`` says
something, and an id that is empty or short is often what a test is about. Below the names of
`_OF_THE_USER` stand the user's own data, which stay as they are.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from normalizer.cassette._members import Member, members
from normalizer.cassette.format import RecordedRequest, RecordedResponse

_IDS = frozenset(
    {
        "id",
        "call_id",
        "conversation_id",
        "generation_id",
        "item_id",
        "message_id",
        "parent_id",
        "previous_response_id",
        "request_id",
        "response_id",
        "responseId",
        "session_id",
        "system_fingerprint",
        "tool_call_id",
        "tool_use_id",
        "trace_id",
        "encrypted_content",
        "signature",
    }
)
_TIMES = frozenset(
    {"created", "created_at", "createdAt", "completed_at", "expires_at", "started_at", "timestamp"}
)
_DURATIONS = frozenset(
    {
        "total_duration",
        "load_duration",
        "prompt_eval_duration",
        "eval_duration",
        "queue_time",
        "prompt_time",
        "completion_time",
        "total_time",
        "prompt_ms",
        "prompt_per_token_ms",
        "prompt_per_second",
        "predicted_ms",
        "predicted_per_token_ms",
        "predicted_per_second",
        "latency",
        "latency_ms",
        "processing_ms",
        "time_to_first_token",
    }
)
# OpenAI fills each event up to a length with it.
_PADDING = frozenset({"obfuscation"})

_OF_THE_USER = frozenset(
    {"arguments", "input", "metadata", "parameters", "properties", "schema", "json_schema", "tools"}
)

HEADERS = re.compile(
    r"date|age|expires|etag|last-modified|content-md5|server-timing|x-runtime|cf-cache-status"
    r"|via|x-served-by|x-cache.*|x-timer|.*ratelimit.*|.*-(?:ms|time|duration|latency|timing)",
    re.IGNORECASE,
)

# The prefix of an id says what it is the id of. A UUID may begin with letters too.
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_ID = re.compile(
    rf"(chatcmpl-tool-|(?:toolu|msg|req)_(?:bdrk|vrtx)_|(?!{_UUID})[a-z]{{1,12}}[-_])?"
    r"([A-Za-z0-9_+/=-]+)"
)
_OURS = re.compile(r"\d+-\d+")
_WORD = re.compile(rb"(?:[A-Za-z0-9_+/-]|\\/)+={0,2}")
_PART = re.compile(rb"[A-Za-z0-9_+-]+={0,2}")
# Ollama's are random numbers below 1000.
_ALWAYS = frozenset({"chatcmpl-", "cmpl-"})
_LEAST = 8  # signs of an id that is random

_YEAR = re.compile(rb'"\d{4}-\d\d-\d\d')
_NUMBER = re.compile(rb"-?\d+(\.\d+)?(?:[eE][+-]?\d+)?")
_EPOCH = b'"1970-01-01T00:00:00Z"'

# The ids that later requests may name. Of the oldest, nothing is known any more.
_MOST_IDS = 10_000


class _Edit(NamedTuple):
    start: int
    end: int
    text: bytes


class _Changes:
    """The edits of one body, and where its chunks end after them."""

    def __init__(self, edits: Iterable[_Edit]) -> None:
        self._edits: list[_Edit] = []
        for edit in sorted(edits):
            if not self._edits or edit.start >= self._edits[-1].end:
                self._edits.append(edit)

    def applied(self, body: bytes) -> bytes:
        """Return the body after the edits."""
        pieces, at = [], 0
        for edit in self._edits:
            pieces += [body[at : edit.start], edit.text]
            at = edit.end
        return b"".join([*pieces, body[at:]])

    def lengths(self, lengths: Iterable[int]) -> tuple[int, ...]:
        """Return the lengths of the chunks. What is replaced is in the chunk in which it began."""
        starts = [edit.start for edit in self._edits]
        grown = [len(edit.text) - (edit.end - edit.start) for edit in self._edits]
        grown = list(itertools.accumulate(grown, initial=0))
        ends = [0]
        for end in itertools.accumulate(lengths):
            before = bisect.bisect_left(starts, end)
            last = self._edits[before - 1].end if before else 0
            ends.append(max(end, last) + grown[before])
        found = (later - earlier for earlier, later in itertools.pairwise(ends))
        return tuple(length for length in found if length)


class Volatile:
    """The ids of one recording, and what each is replaced by."""

    def __init__(self) -> None:
        self._ids: dict[bytes, bytes] = {}

    def request(self, request: RecordedRequest) -> RecordedRequest:
        """Return a request with the ids of earlier answers replaced."""
        return dataclasses.replace(
            request,
            uri=self._named(request.uri.encode()).decode(),
            body=self._named(request.body),
        )

    def response(self, response: RecordedResponse, number: int) -> RecordedResponse:
        """Return an answer without what differs each time.

        ``number`` is that of the interaction in its file.
        """
        body = response.body
        edits = {edit.start: edit for edit in self._edits(body, number)}
        for edit in self._known_in(body):
            edits.setdefault(edit.start, edit)
        changes = _Changes(edits.values())
        whole = changes.applied(body)
        return dataclasses.replace(
            response,
            body=whole,
            lengths=changes.lengths(response.lengths),
            times=(),
            headers=tuple(
                (name, str(len(whole)) if _is_length(name, value, body) else value)
                for name, value in response.headers
                if not HEADERS.fullmatch(name)
            ),
        )

    def _named(self, data: bytes) -> bytes:
        return _Changes(self._known_in(data)).applied(data)

    def _known_in(self, data: bytes) -> Iterator[_Edit]:
        """Yield an edit for each known id."""
        for word in _WORD.finditer(data) if self._ids else ():
            # an id may have a slash in it, and may stand behind one, as in a URL
            is_whole = word[0].replace(b"\\/", b"/") in self._ids
            for match in [word] if is_whole else _PART.finditer(data, *word.span()):
                if named := self._ids.get(match[0].replace(b"\\/", b"/")):
                    yield _Edit(*match.span(), named)

    def _edits(self, body: bytes, number: int) -> Iterator[_Edit]:
        """Yield what to replace beside ids, and take note of the ids."""
        count = itertools.count(1)
        for member in _members(body):
            name, value = member.names[-1], body[member.start : member.end]
            if name in _IDS:
                self._note(name, value, number, count)
            elif (text := _constant(name, value)) is not None and text != value:
                yield _Edit(member.start, member.end, text)
        while len(self._ids) > _MOST_IDS:
            del self._ids[next(iter(self._ids))]

    def _note(self, name: str, value: bytes, number: int, count: Iterator[int]) -> None:
        text = value[1:-1].replace(b"\\/", b"/")
        if value[:1] != b'"' or not text or text in self._ids:
            return
        shape = _ID.fullmatch(text.decode("utf-8", "replace"))
        if shape is None or not (shape[1] in _ALWAYS or _looks_random(shape[2])):
            return
        prefix = shape[1] or f"{name.partition('_')[0]}-"
        self._ids[text] = f"{prefix}{number}-{next(count)}".encode()


def _looks_random(text: str) -> bool:
    if _OURS.fullmatch(text):
        return True
    mixed = text != text.lower() and text != text.upper()
    return len(text) >= _LEAST and (mixed or any(sign.isdigit() for sign in text))


def _constant(name: str, value: bytes) -> bytes | None:
    """Return what stands for a time, a duration or padding, or None if it stays."""
    if name in _PADDING:
        return b'"*"'
    if name in _TIMES and _YEAR.match(value):
        return _EPOCH
    if name in _TIMES or name in _DURATIONS:
        number = _NUMBER.fullmatch(value)
        return None if number is None else b"0.0" if number[1] else b"0"
    return None


def _members(body: bytes) -> Iterator[Member]:
    """Yield the members of all JSON in a body, but those of the user and those of models."""
    for start, end in _documents(body):
        found = [each for each in members(body, start, end) if each.names]
        models = {
            each.holder
            for each in found
            if each.names[-1] in ("object", "type") and body[each.start : each.end] == b'"model"'
        }
        for each in found:
            if each.holder not in models and _OF_THE_USER.isdisjoint(each.names):
                yield each


_DATA = re.compile(rb"(?:\A|(?<=[\r\n]))data: ?(?=[{\[])([^\r\n]*)")


def _documents(body: bytes) -> Iterator[tuple[int, int]]:
    """Yield the place of each JSON text: the data of each event, or the whole body."""
    if body.lstrip()[:1] in (b"{", b"["):
        yield 0, len(body)
        return
    for match in _DATA.finditer(body):
        yield match.span(1)


def _is_length(name: str, value: str, body: bytes) -> bool:
    return name.lower() == "content-length" and value == str(len(body))
