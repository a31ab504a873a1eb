"""Answers to lint out of files, folders and standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from normalizer import RequestInfo
from normalizer.cassette.format import CassetteError, RecordedRequest
from normalizer.cassette.imports import UNKNOWN, Form, form_of, reads, to_sse
from normalizer.cli.check.lint import Answer
from normalizer.cli.group import Failure

_ENDINGS = (".sse", ".har", ".chunks.txt", ".yaml", ".yml", ".json", ".ndjson", ".jsonl")


def files(targets: Iterable[str]) -> Iterator[str]:
    """The files that targets name, folders searched; ``-`` is standard input.

    Raises `Failure` for a target that is neither.
    """
    for target in targets:
        path = Path(target)
        if target != "-" and path.is_dir():
            found = sorted(str(each) for each in path.rglob("*") if each.name.endswith(_ENDINGS))
            if not found:
                raise Failure(f"{target}: there is no stream in it ({', '.join(_ENDINGS)})")
            yield from found
        elif target == "-" or path.exists():
            yield target
        else:
            raise Failure(f"{target}: no such file; a server's URL begins with http://")


def answers(name: str, request: RequestInfo | None) -> Iterator[Answer]:
    """The answers to chat and completion requests in a file, or in standard input for ``-``.

    ``request`` stands for the request of a file that does not hold it; None: what the answer tells.
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
            # lines can be counted where the file is the body and nothing else
            file=name if form == "sse" and body == data and name != "-" else None,
        )


def _form(data: bytes, name: str) -> Form:
    try:
        return form_of(data, name)
    except CassetteError as error:
        if name == "-":
            # An upstream may have sent anything: what it is instead of a stream is a finding.
            return "sse"
        raise CassetteError(f"{name}: {error}") from None


def _request(recorded: RecordedRequest, body: bytes, given: RequestInfo | None) -> RequestInfo:
    if recorded is not UNKNOWN:
        return RequestInfo.parse(recorded.uri, recorded.body)
    if given is not None:
        return given
    legacy = b'"text_completion"' in body
    return RequestInfo.parse("/v1/completions" if legacy else "/v1/chat/completions")
