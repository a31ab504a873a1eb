"""Find what looks like a secret in a cassette, also if a stream sent it in pieces."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

from normalizer.cassette import _shapes
from normalizer.cassette._decoding import decoded
from normalizer.cassette.format import Cassette, Headers, Interaction, RecordedResponse
from normalizer.doors._answer import codings

# What people put in the place of a secret.
_PLACEHOLDER = re.compile(
    r"(?:bearer|basic)?\W*(?:redacted|dummy|filtered|removed|hidden|masked|placeholder|none|x{3,})?\W*"
    r"|<[^<>]*>|\[[^][]*\]",
    re.IGNORECASE,
)
_DATA = re.compile(rb"^data: ?(.*?)\r?$", re.MULTILINE)


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """A part of a cassette that should not be published.

    * ``where``: its place, such as ``interactions[0].response.body: byte 120``.
    * ``what``: the kind of secret.
    * ``excerpt``: its first few characters.
    """

    where: str
    what: str
    excerpt: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" ({self.excerpt}…)" if self.excerpt else "")


def verify(cassette: Cassette) -> list[Problem]:
    """Find everything that looks like a secret in a cassette. An empty list means that it is clean.

    It searches URLs, headers, both bodies, the metadata, and the joined texts of the events of a
    stream. So it finds a key that a model sent in pieces. Masked secrets and placeholders are no
    problems.

    Example::

        for problem in verify(load("cassettes/vllm/text.yaml")):
            print(problem)
    """
    metadata = dataclasses.asdict(cassette.metadata)
    problems = list(_in(json.dumps(metadata, ensure_ascii=False, default=str).encode(), "metadata"))
    for number, interaction in enumerate(cassette.interactions):
        problems += _in_interaction(interaction, f"interactions[{number}]")
    return problems


def _in_interaction(interaction: Interaction, where: str) -> Iterator[Problem]:
    request, response = interaction.request, interaction.response
    uri = f"{where}.request.uri"
    if _shapes.masked_url(request.uri) != request.uri:
        yield Problem(uri, "a password or a parameter named as a secret")
    yield from _in(request.uri.encode(), uri)
    yield from _in_headers(request.headers, f"{where}.request.headers")
    yield from _in(request.body, f"{where}.request.body")
    yield from _in_headers(response.headers, f"{where}.response.headers")
    response = decoded(response)
    body = f"{where}.response.body"
    if codings([(name.encode(), value.encode()) for name, value in response.headers]):
        yield Problem(body, "a content coding that cannot be undone, so that nothing is known")
    # What stands there whole is found again in what the events add up to, and said once.
    found = list(_in(response.body, body))
    yield from found or _spread(response, body)


def _in(data: bytes, where: str) -> Iterator[Problem]:
    for found in _shapes.find(data):
        yield Problem(f"{where}: byte {found.start}", found.name, _excerpt(data[found.start :]))


def _in_headers(headers: Headers, where: str) -> Iterator[Problem]:
    for name, value in headers:
        if _PLACEHOLDER.fullmatch(value):
            continue
        if _shapes.IDENTIFYING.fullmatch(name):
            what = "a header that holds a credential, or names a customer or a request"
            yield Problem(f"{where}.{name}", what, _excerpt(value.encode()))
        elif _shapes.masked_url(value) != value:
            yield Problem(f"{where}.{name}", "a parameter named as a secret")
        else:
            yield from _in(value.encode(), f"{where}.{name}")


def _spread(response: RecordedResponse, where: str) -> Iterator[Problem]:
    texts: dict[str, list[str]] = {}
    for match in _DATA.finditer(response.body):
        try:
            event = json.loads(match[1])
        except ValueError:
            continue
        for path, text in _texts(event, ""):
            texts.setdefault(path, []).append(text)
    for path, pieces in texts.items():
        data = "".join(pieces).encode(errors="replace")
        for found in _shapes.find(data):
            yield Problem(
                f"{where}: {path} of all events", found.name, _excerpt(data[found.start :])
            )


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _texts(each, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _texts(each, f"{path}[{number}]")


def _excerpt(secret: bytes) -> str:
    return secret[:4].decode(errors="replace")
