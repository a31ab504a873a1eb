"""Read answers to lint from files, folders and standard input.

A stream is read piece by piece while it is linted, however long it is. Other forms, such as
cassettes, are read whole, and so is a file of one piece.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from normalizer import RequestInfo
from normalizer.cassette.format import CassetteError, RecordedRequest
from normalizer.cassette.imports import UNKNOWN, Form, form_of, reads, to_sse
from normalizer.cassette.imports.text import end_of
from normalizer.cli.check.lint import Answer, End
from normalizer.cli.group import Failure

PIECE = 256 * 1024  # bytes that are read at once
_CURLS = 4096  # bytes at the end of a file in which curl may say how the body ended
_ENDINGS = (".sse", ".har", ".chunks.txt", ".yaml", ".yml", ".json", ".ndjson", ".jsonl")


def files(targets: Iterable[str]) -> Iterator[str]:
    """Yield the files that targets name. Folders are searched, and ``-`` is standard input.

    A target that does not exist, and a folder without streams, is yielded as it is.
    """
    for target in targets:
        path = Path(target)
        if target != "-" and path.is_dir():
            found = sorted(str(each) for each in path.rglob("*") if each.name.endswith(_ENDINGS))
            yield from found or (target,)
        else:
            yield target


def answers(name: str, request: RequestInfo | None) -> Iterator[Answer]:
    """Yield the answers in a file that can be repaired. ``-`` is standard input.

    The body of an answer may be read from the file until the next answer is asked for.
    ``request`` is the request for a file that does not contain it. None: guess it from the answer.
    Raises `Failure` for a file that cannot be read.
    """
    try:
        if name == "-":
            yield from _read(sys.stdin.buffer, name, request)
        else:
            with Path(name).open("rb") as file:
                yield from _read(file, name, request)
    except FileNotFoundError:
        raise Failure(f"{name}: no such file; a server's URL begins with http://") from None
    except IsADirectoryError:
        raise Failure(f"{name}: the folder has no stream ({', '.join(_ENDINGS)})") from None
    except OSError as error:
        raise Failure(f"{name}: {error.strerror}") from None


def _read(file: BinaryIO, name: str, request: RequestInfo | None) -> Iterator[Answer]:
    start = file.read(PIECE)
    if len(start) == PIECE and is_stream(start, name):
        yield _streamed(start, file, name, request)
    else:
        yield from _whole(start + file.read(), name, request)


def is_stream(start: bytes, name: str) -> bool:
    """Return whether a file that begins so is nothing but the body of a stream."""
    if start.startswith(b"HTTP/"):
        return False  # with its head, as `curl -i` writes it
    if name.lower().endswith(".sse"):
        return True
    line, _, behind = start.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")
    if line.startswith(b"{"):
        # a line of JSON, and another line: no file of another form begins so
        return bool(behind.strip()) and _is_json(line)
    try:
        return form_of(start, name) == "sse"
    except CassetteError:
        return name == "-"


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _streamed(start: bytes, file: BinaryIO, name: str, request: RequestInfo | None) -> Answer:
    rest = _Rest(start, file)
    return Answer(
        name=name,
        body=b"",
        rest=rest,
        ended=rest.end,
        request=request or RequestInfo.guess(start),
        file=name if name != "-" else None,
    )


class _Rest:
    """The pieces of a body that is read while it is linted, and how it ended."""

    def __init__(self, start: bytes, file: BinaryIO) -> None:
        self._start = start
        self._file = file
        self._end: End = "complete"

    def __iter__(self) -> Iterator[bytes]:
        held = self._start
        while piece := self._file.read(PIECE):
            yield held[:-_CURLS]
            held = held[-_CURLS:] + piece
        self._end, size = end_of(held)
        yield held[:size]

    def end(self) -> End:
        return self._end


def _whole(data: bytes, name: str, request: RequestInfo | None) -> Iterator[Answer]:
    try:
        form = _form(data, name)
        cassette = reads(data, name, form)
        bodies = [to_sse(cassette, number) for number in range(len(cassette.interactions))]
    except CassetteError as error:
        raise Failure(str(error)) from None
    several = len(bodies) > 1
    text = _Text(data, bodies)
    for number, (one, body) in enumerate(zip(cassette.interactions, bodies, strict=True)):
        info = _request(one.request, body, request)
        if info.endpoint is None:
            continue
        yield Answer(
            name=f"{name}[{number}]" if several else name,
            body=body,
            request=info,
            status=one.response.status,
            end=one.response.end,
            file=name if name != "-" else None,
            line_in_file=functools.partial(text.line, number),
        )


class _Text:
    """The text of a file. It maps lines of the bodies to lines of the file.

    A body may be the whole file, a block of lines in it, or a string of JSON or YAML.
    """

    def __init__(self, data: bytes, bodies: list[bytes]) -> None:
        self._data = data
        self._bodies = bodies

    def line(self, number: int, line: int) -> int | None:
        """Map line ``line`` (from 1) of body ``number`` (from 0). None: unknown."""
        if self._bodies[number] == self._data:
            return line
        return self._lines[number].get(line)

    @functools.cached_property
    def _lines(self) -> list[dict[int, int]]:
        lines: list[dict[int, int]] = []
        forms, at, counted, upto = list(_WRITTEN), 0, 1, 0
        for body in self._bodies:
            found: dict[int, int] = {}
            for number, line in enumerate(re.split(rb"\r\n|\r|\n", body), start=1):
                if not line.strip():
                    continue
                for form in forms:
                    written = form(line.strip())
                    begin = self._data.find(written, at)
                    if begin >= 0:
                        break
                else:
                    # a body in another spelling (base64) has no lines in the file
                    break
                # the form that fits one line fits the next, so it is tried first
                forms = [form, *(each for each in _WRITTEN if each is not form)]
                counted += self._data.count(b"\n", upto, begin)
                at, upto = begin + len(written), begin
                found[number] = counted
            lines.append(found)
        return lines


def _string(line: bytes) -> bytes:
    words = json.dumps(line.decode("utf-8", "replace"), ensure_ascii=False)
    return words[1:-1].encode("utf-8", "replace")


def _ascii_string(line: bytes) -> bytes:
    return json.dumps(line.decode("utf-8", "replace"))[1:-1].encode()


_WRITTEN: tuple[Callable[[bytes], bytes], ...] = (bytes, _string, _ascii_string)


def _form(data: bytes, name: str) -> Form:
    try:
        return form_of(data, name)
    except CassetteError as error:
        if name == "-":
            # An upstream may send anything. The lint reports what is not a stream.
            return "sse"
        raise CassetteError(f"{name}: {error}") from None


def _request(recorded: RecordedRequest, body: bytes, given: RequestInfo | None) -> RequestInfo:
    if recorded is not UNKNOWN:
        return RequestInfo.parse(recorded.uri, recorded.body)
    if given is not None:
        return given
    return RequestInfo.guess(body)
