"""What a stranger's clone has: tests/recorded, the cassettes, and the example of each rule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from normalizer import Normalizer, RequestInfo
from normalizer.cassette import load
from normalizer.catalogue import rules
from tests.conformance import Fault, check

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "tests" / "recorded"


class Answer(NamedTuple):
    """An answer to a request for a stream."""

    name: str
    path: str
    request: dict[str, Any]
    raw: bytes

    def normalized(self, size: int | None = None) -> bytes:
        """What leaves of it in the default options, fed in pieces of `size` bytes."""
        normalizer = Normalizer(RequestInfo.parse(self.path, self.request))
        step = size or len(self.raw) or 1
        pieces = [self.raw[at : at + step] for at in range(0, len(self.raw), step)]
        return b"".join(map(normalizer.feed, pieces)) + normalizer.close()

    def faults(self, out: bytes) -> list[Fault]:
        return check(self.path, self.request, self.raw, out)


def recorded(file: Path) -> Iterator[Answer]:
    """The answers in a file of tests/recorded."""
    for one in json.loads(file.read_text(encoding="utf-8")):
        raw = "".join(one["body"]).encode()
        yield Answer(one["name"], one["path"], one["request"], raw)


def cassettes() -> Iterator[Answer]:
    for file in sorted((ROOT / "cassettes").rglob("*.yaml")):
        for interaction in load(file).interactions:
            request = json.loads(interaction.request.body)
            if request.get("stream") is True and interaction.response.status < 300:
                path = urlsplit(interaction.request.uri).path
                yield Answer(file.stem, path, request, interaction.response.body)


def examples() -> Iterator[Answer]:
    """The examples in the catalogue that need no options."""
    for rule in rules():
        if rule.request.get("stream") is True and not rule.options:
            raw = b"".join(rule.example)
            yield Answer(rule.deviation.code, rule.endpoint, dict(rule.request), raw)
