"""Read answers to lint from files, folders and standard input."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from normalizer import RequestInfo
from normalizer.cassette.format import CassetteError, RecordedRequest
from normalizer.cassette.imports import UNKNOWN, Form, form_of, reads, to_sse
from normalizer.cli.check.lint import Answer
from normalizer.cli.group import Failure

_ENDINGS = (".sse", ".har", ".chunks.txt", ".yaml", ".yml", ".json", ".ndjson", ".jsonl")


def files(targets: Iterable[str]) -> Iterator[str]:
    """Yield the files that targets name. Folders are searched, and ``-`` is standard input.

    Raises `Failure` for a target that does not exist.
    """
    for target in targets:
        path = Path(target)
        if target != "-" and path.is_dir():
            found = sorted(str(each) for each in path.rglob("*") if each.name.endswith(_ENDINGS))
            if not found:
                raise Failure(f"{target}: the folder has no stream ({', '.join(_ENDINGS)})")
            yield from found
        elif target == "-" or path.exists():
            yield target
        else:
            raise Failure(f"{target}: no such file; a server's URL begins with http://")


def answers(name: str, request: RequestInfo | None) -> Iterator[Answer]:
    """Yield the answers in a file that can be repaired. ``-`` is standard input.

    ``request`` is the request for a file that does not contain it. None: guess it from the answer.
    Raises `Failure` for a file that cannot be read.
    """
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise Failure(f"{name}: {error.strerror}") from None
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
