"""The cassette file: vcrpy's YAML, and with it the shape in time that vcrpy drops.

A cassette of ours is read by plain vcrpy and pytest-recording, and theirs are read here. Two things
are added, in places that vcrpy passes over::

    version: 1
    stream_normalizer:            # where it comes from
      origin: recorded            # or reconstructed: written after a documented shape
      server: llama-cpp-python
      version: 0.3.36
      date: '2026-11-20'
      sources: []                 # URLs of the documented shape
      note: tiny random model
    interactions:
    - request: {method: POST, uri: …, headers: {…}, body: …}
      response:
        status: {code: 200, message: OK}
        headers: {content-type: [text/event-stream]}
        stream:                   # how the body arrived
          end: complete           # or cut, reset, timeout, closed
          chunks: [181, 164, 14]  # bytes of each piece, in order
          times: [0.1, 12.5, 13]  # milliseconds from the response's head
        body:
          string: |+
            data: {"id": …}

A body is a literal block where that holds it exactly. Other text, CR LF streams above all, is a
double-quoted scalar broken after each line feed, so that either way an event is a line group in a
diff. Bytes that are no UTF-8 are base64.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import datetime
import itertools
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

import yaml

from normalizer.cassette import _atomic, _yaml
from normalizer.cassette._checks import CassetteError as CassetteError
from normalizer.cassette._checks import brief, get, is_a, one_of

Origin = Literal["recorded", "reconstructed"]
End = Literal["complete", "cut", "reset", "timeout", "closed"]
Headers = tuple[tuple[str, str], ...]

_METADATA = ("origin", "server", "version", "date", "sources", "note")

OURS = "stream_normalizer"
# What vcrpy stores stands there; pytest-recording fails on a file that has it. Ours did too, once.
VCRPYS = "metadata"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """Where a cassette comes from. All fields are empty for a cassette of plain vcrpy.

    * ``origin``: ``"recorded"`` from a real server, ``"reconstructed"`` from a documented form, or
      None if the file does not name it.
    * ``server``, ``version``: the server that answered.
    * ``date``: the day of the recording, ISO 8601.
    * ``sources``: URLs of the sources of a reconstruction.
    * ``note``: one or two sentences.
    * ``other``: unknown keys, which are kept.
    * ``vcrpy``: the values that vcrpy stores under its own key ``metadata``, which are kept.
    """

    origin: Origin | None = None
    server: str = ""
    version: str = ""
    date: str = ""
    sources: tuple[str, ...] = ()
    note: str = ""
    other: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    vcrpy: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """A request as it was sent: headers as pairs of name and value, and the body as bytes.

    Headers with the same name are next to each other, here and in `RecordedResponse`, because
    vcrpy's format has no other order.
    """

    method: str
    uri: str
    headers: Headers = ()
    body: bytes = b""

    def __post_init__(self) -> None:
        object.__setattr__(self, "headers", _grouped(self.headers))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RecordedResponse:
    """An answer with the chunks of its body. `from_chunks` creates one from chunks.

    * ``status``, ``reason``: from the status line.
    * ``headers``: pairs of name and value.
    * ``body``: the bytes as they were sent, still encoded if ``content-encoding`` names a coding.
    * ``lengths``: the length of each chunk from the socket. Their sum is the length of the body.
    * ``times``: milliseconds from the head of the response to each chunk. Empty: unknown.
    * ``end``: ``"complete"``; ``"cut"`` by the server; ``"reset"`` of the connection; ``"timeout"``
      of the client; ``"closed"`` by the client.

    Raises `CassetteError` if lengths, times and body do not fit together.
    """

    status: int = 200
    reason: str = "OK"
    headers: Headers = ()
    body: bytes = b""
    lengths: tuple[int, ...] = ()
    times: tuple[float, ...] = ()
    end: End = "complete"

    def __post_init__(self) -> None:
        object.__setattr__(self, "headers", _grouped(self.headers))
        if any(length <= 0 for length in self.lengths):
            raise CassetteError("chunks: each has at least one byte")
        if sum(self.lengths) != len(self.body):
            raise CassetteError(
                f"chunks: they add up to {sum(self.lengths)}, the body has {len(self.body)} bytes"
            )
        if self.times and len(self.times) != len(self.lengths):
            raise CassetteError(f"times: {len(self.times)} for {len(self.lengths)} chunks")
        if any(not math.isfinite(time) or time < 0 for time in self.times):
            raise CassetteError("times: each is a number of milliseconds from the head on")
        if any(later < earlier for earlier, later in itertools.pairwise(self.times)):
            raise CassetteError("times: they run backwards")

    @classmethod
    def from_chunks(
        cls,
        chunks: Iterable[bytes],
        *,
        status: int = 200,
        reason: str = "OK",
        headers: Headers = (),
        times: Iterable[float] = (),
        end: End = "complete",
    ) -> Self:
        r"""Create a response from the chunks of its body. Chunks must not be empty.

        Example::

            RecordedResponse.from_chunks([b"data: [DO", b"NE]\n\n"], times=[0.2, 40.1])
        """
        pieces = list(chunks)
        return cls(
            status=status,
            reason=reason,
            headers=headers,
            body=b"".join(pieces),
            lengths=tuple(len(piece) for piece in pieces),
            times=tuple(times),
            end=end,
        )

    @property
    def chunks(self) -> list[bytes]:
        """The chunks of the body, in order."""
        ends = list(itertools.accumulate(self.lengths))
        return [
            self.body[end - length : end] for end, length in zip(ends, self.lengths, strict=True)
        ]


@dataclasses.dataclass(frozen=True, slots=True)
class Interaction:
    """A request and its response."""

    request: RecordedRequest
    response: RecordedResponse


@dataclasses.dataclass(frozen=True, slots=True)
class Cassette:
    """The content of one file."""

    metadata: Metadata
    interactions: tuple[Interaction, ...]


def load(path: str | os.PathLike[str]) -> Cassette:
    """Read a cassette: ours, or one of vcrpy or pytest-recording.

    Without the key ``stream``, a body is one complete chunk without times. If a recorder was
    killed, its journal beside the file is read too. Raises `CassetteError` for a file that is not a
    cassette, and `OSError` for one that cannot be read.

    Example::

        for interaction in load("cassettes/ollama/parallel-tool-calls.yaml").interactions:
            for chunk in interaction.response.chunks: ...
    """
    from normalizer.cassette import _journal  # it is made of the classes above

    # First the journal: it is taken away when the file holds all of it.
    left = _journal.read(path)
    data = Path(path).read_bytes()
    name = os.fspath(path)
    if left is None:
        return loaded(data, name)
    try:
        cassette = loaded(data, name)
    except CassetteError:
        # what it says of the streams that were open may have been written by half
        if left.size is None:
            raise
        cassette = loaded(data[: left.size], name)
    return Cassette(cassette.metadata, cassette.interactions[: left.before] + left.interactions)


def loaded(data: bytes, name: str) -> Cassette:
    """Read a cassette from the bytes of its file. See `loads`."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise CassetteError(f"{name}: byte {error.start}: not UTF-8") from error
    return loads(text, name)


def loads(text: str, name: str = "<cassette>") -> Cassette:
    """Read a cassette from its text. ``name`` is the name of the file in errors. See `load`."""
    try:
        document = _yaml.read(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # PyYAML lets through what Python says of a day or a number that is none
        raise CassetteError(f"{name}: {error}") from error
    try:
        return _cassette(document)
    except CassetteError as error:
        raise CassetteError(f"{name}: {error}") from error


def dump(cassette: Cassette, path: str | os.PathLike[str]) -> None:
    """Write a cassette, and create its folder. The file is written completely or not at all.

    Before that, the text is read back and compared. Raises `CassetteError` if it differs, and
    `OSError` if the file cannot be written.

    Example::

        dump(Cassette(Metadata(origin="recorded", …), (interaction,)), "cassettes/vllm/text.yaml")
    """
    from normalizer.cassette import _journal

    _atomic.write(path, dumps(cassette).encode())
    # It would put back what this file no longer holds.
    _journal.path_of(path).unlink(missing_ok=True)


def dumps(cassette: Cassette) -> str:
    """Return the text of a cassette. Raises `CassetteError` if it would not read back the same."""
    items = [item(each) for each in cassette.interactions]
    text = joined(cassette.metadata, items)
    if loads(text) != cassette:
        raise CassetteError("the cassette does not read back as it was; nothing was written")
    return text


def item(interaction: Interaction) -> str:
    """Return the text of one interaction. A recorder writes each only once."""
    return request_text(interaction.request) + response_text(interaction.response)


def request_text(request: RecordedRequest) -> str:
    """Return the first part of the text of an interaction."""
    return inner(_text([{"request": _write_request(request)}]))


def response_text(response: RecordedResponse) -> str:
    """Return the second part of the text of an interaction."""
    return " " + _text([{"response": _write_response(response)}]).removeprefix("-")


def joined(metadata: Metadata, items: Iterable[str]) -> str:
    """Return the text of a file with these interactions, given as texts."""
    text = behind(items)
    head = headed(metadata)
    return head + text if text else head.removesuffix(":\n") + ": []\n"


def headed(metadata: Metadata) -> str:
    """Return the text of a file in front of its first interaction."""
    values = {
        key: list(value) if isinstance(value, tuple) else value
        for key in _METADATA
        if (value := getattr(metadata, key))
    } | dict(metadata.other)
    head: dict[str, Any] = {"version": 1}
    if values or _is_ours(metadata.vcrpy):
        head[OURS] = values
    if metadata.vcrpy:
        head[VCRPYS] = dict(metadata.vcrpy)
    return _text(head) + "interactions:\n"


def behind(items: Iterable[str]) -> str:
    """Return the text of interactions that follow others, up to the end of the file."""
    texts = list(items)
    return "".join([*map(inner, texts[:-1]), *texts[-1:]])


def inner(text: str) -> str:
    """Return the text in front of another. A text that ends in a blank line ends the document."""
    return text[:-4] if text.endswith("\n...\n") else text


def _text(document: Any) -> str:
    try:
        return _yaml.write(document)
    except yaml.YAMLError as error:
        raise CassetteError(str(error)) from error


# ---------------------------------------------------------------- to plain objects


def _write_request(request: RecordedRequest) -> dict[str, Any]:
    return {
        "method": request.method,
        "uri": request.uri,
        "headers": _write_headers(request.headers),
        "body": _write_bytes(request.body),
    }


def _write_response(response: RecordedResponse) -> dict[str, Any]:
    stream: dict[str, Any] = {
        "end": response.end,
        "chunks": _yaml.OneLine(response.lengths),
    }
    if response.times:
        stream["times"] = _yaml.OneLine(response.times)
    return {
        "status": {"code": response.status, "message": response.reason},
        "headers": _write_headers(response.headers),
        "stream": stream,
        "body": {"string": _write_bytes(response.body)},
    }


def _write_headers(headers: Headers) -> dict[str, list[str]]:
    written: dict[str, list[str]] = {}
    for name, value in headers:
        written.setdefault(name, []).append(value)
    return written


def _grouped(headers: Headers) -> Headers:
    return tuple((name, each) for name, all_ in _write_headers(headers).items() for each in all_)


def _write_bytes(data: bytes) -> bytes | _yaml.Readable:
    try:
        return _yaml.Readable(data.decode())
    except UnicodeDecodeError:
        return data


# ---------------------------------------------------------------- from plain objects


def _cassette(document: Any) -> Cassette:
    if not isinstance(document, dict) or "interactions" not in document:
        raise CassetteError("no 'interactions': this is not a cassette of vcrpy 1.0 or later")
    if document.get("version", 1) != 1:
        raise CassetteError(f"version: {brief(document['version'])} is not 1")
    interactions = []
    for number, each in enumerate(is_a(list, document["interactions"], "interactions")):
        where = f"interactions[{number}]"
        request = get(dict, each, "request", where)
        response = get(dict, each, "response", where)
        interactions.append(
            Interaction(
                _request(request, f"{where}.request"), _response(response, f"{where}.response")
            )
        )
    return Cassette(_metadata_of(document), tuple(interactions))


def _metadata_of(document: dict[str, Any]) -> Metadata:
    vcrpys = is_a(dict, document.get(VCRPYS) or {}, VCRPYS)
    if OURS not in document and _is_ours(vcrpys):
        return _metadata(vcrpys, VCRPYS, {})
    return _metadata(document.get(OURS) or {}, OURS, vcrpys)


def _is_ours(vcrpys: Mapping[str, Any]) -> bool:
    return any(key in vcrpys for key in _METADATA)


def _metadata(values: Any, where: str, vcrpys: Mapping[str, Any]) -> Metadata:
    known = dict(is_a(dict, values, where))
    other = {key: known.pop(key) for key in list(known) if key not in _METADATA}
    # An unquoted date is a date to YAML; it is the same day.
    if isinstance(known.get("date"), datetime.date):
        known["date"] = known["date"].isoformat()
    known["sources"] = tuple(
        is_a(str, each, f"{where}.sources") for each in get(list, known, "sources", where, [])
    )
    for key in ("server", "version", "date", "note"):
        known[key] = get(str, known, key, where, "")
    origin = known.pop("origin", None)
    if origin is not None:
        one_of(get_args(Origin), origin, f"{where}.origin")
    return Metadata(origin=cast(Origin | None, origin), **known, other=other, vcrpy=vcrpys)


def _request(values: dict[str, Any], where: str) -> RecordedRequest:
    return RecordedRequest(
        method=get(str, values, "method", where),
        uri=get(str, values, "uri", where),
        headers=_headers(values.get("headers"), f"{where}.headers"),
        body=_bytes(values.get("body"), f"{where}.body"),
    )


def _response(values: dict[str, Any], where: str) -> RecordedResponse:
    if "status_code" in values:
        # vcrpy wrote answers to httpx like this before 6.0
        status, reason = get(int, values, "status_code", where), ""
        body = _bytes(values.get("content"), f"{where}.content")
    else:
        line = get(dict, values, "status", where)
        status = get(int, line, "code", f"{where}.status")
        reason = get(str, line, "message", f"{where}.status", "")
        body = _bytes(values.get("body"), f"{where}.body")
    stream = get(dict, values, "stream", where, {})
    whole = [len(body)] if body else []
    lengths = get(list, stream, "chunks", f"{where}.stream", whole)
    times = get(list, stream, "times", f"{where}.stream", [])
    end = stream.get("end", "complete")
    one_of(get_args(End), end, f"{where}.stream.end")
    try:
        return RecordedResponse(
            status=status,
            reason=reason,
            headers=_headers(values.get("headers"), f"{where}.headers"),
            body=body,
            lengths=tuple(is_a(int, each, "chunks") for each in lengths),
            times=tuple(is_a((int, float), each, "times") for each in times),
            end=cast(End, end),
        )
    except CassetteError as error:
        raise CassetteError(f"{where}.stream.{error}") from error


def _headers(values: Any, where: str) -> Headers:
    # vcrpy writes a list for each name; hand-written cassettes often a single text
    return tuple(
        (is_a(str, name, where), is_a(str, each, f"{where}.{name}"))
        for name, value in is_a(dict, values or {}, where).items()
        for each in (value if isinstance(value, list) else [value])
    )


def _bytes(value: Any, where: str) -> bytes:
    if isinstance(value, dict):
        if "base64_string" in value:
            try:
                return base64.b64decode(get(str, value, "base64_string", where), validate=False)
            except binascii.Error as error:
                raise CassetteError(f"{where}.base64_string: {error}") from error
        value, where = value.get("string"), f"{where}.string"
    if value is None:
        return b""
    text = is_a((str, bytes), value, where)
    return text if isinstance(text, bytes) else text.encode()
