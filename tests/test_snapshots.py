"""Every cassette through both doors: the same bytes, and those that stand in tests/snapshots.

A snapshot is the answer as it left, in a file that opens as what it is. After a change that is
meant: ``pytest tests/test_snapshots.py --snapshot-update``, and read the diff.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.data import Snapshot, SnapshotCollection

from normalizer.cassette import ReplayTransport, load, replay_app
from normalizer.cassette.server import BrokenRecordingError
from normalizer.doors.asgi import NormalizingMiddleware
from normalizer.doors.transport import NormalizingTransport
from normalizer.snapshots import SSESnapshotExtension
from normalizer.wires.chat import envelope as chat_envelope
from normalizer.wires.responses import envelope as responses_envelope
from tests.conftest import PATIENCE

CASSETTES = Path(__file__).parents[1] / "cassettes"
SNAPSHOTS = Path(__file__).parent / "snapshots"
NAMES = sorted(
    str(path.relative_to(CASSETTES).with_suffix("")) for path in CASSETTES.rglob("*.yaml")
)


class StreamExtension(SSESnapshotExtension):
    """``snapshot(name="azure/opening-chunk.sse")`` is tests/snapshots/azure/opening-chunk.sse."""

    file_extension = ""

    @classmethod
    def dirname(cls, **_: Any) -> str:
        return str(SNAPSHOTS)

    @classmethod
    def get_location(cls, *, index: Any, **_: Any) -> str:
        return str(SNAPSHOTS / index)

    @classmethod
    def get_snapshot_name(cls, *, test_location: Any, index: Any = 0) -> str:
        return f"{test_location.methodname}[{index}]"

    @classmethod
    def matches_test_location(cls, *, snapshot_location: str, **_: Any) -> bool:
        return Path(snapshot_location).is_relative_to(SNAPSHOTS)

    def is_snapshot_location(self, *, location: str) -> bool:
        return Path(location).is_relative_to(SNAPSHOTS)

    def read_snapshot_collection(self, *, snapshot_location: str) -> SnapshotCollection:
        collection = SnapshotCollection(location=snapshot_location)
        index = Path(snapshot_location).relative_to(SNAPSHOTS)
        collection.add(Snapshot(name=f"{test_both_doors.__name__}[{index}]"))
        return collection


@pytest.fixture
def streams(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(StreamExtension)


class Left(NamedTuple):
    """What left through a door."""

    status: int
    content_type: str
    body: bytes


def through_transport(path: Path) -> Left:
    (interaction,) = load(path).interactions
    request = interaction.request
    body = bytearray()
    transport = NormalizingTransport(ReplayTransport(path))
    with httpx2.Client(transport=transport) as client:
        # the other door gets none that the cassette does not name
        del client.headers["user-agent"]
        with client.stream(
            request.method, request.uri, headers=list(request.headers), content=request.body
        ) as response:
            try:
                for piece in response.iter_bytes():
                    body += piece
            except httpx2.TransportError:
                assert interaction.response.end != "complete"
    return Left(response.status_code, response.headers["content-type"], bytes(body))


async def through_middleware(path: Path) -> Left:
    (interaction,) = load(path).interactions
    request = interaction.request
    sent: list[dict[str, Any]] = []
    received = iter([{"type": "http.request", "body": request.body}])

    async def receive() -> dict[str, Any]:
        message = next(received, None)
        if message is None:
            # the client stays: there is nothing more to receive
            await asyncio.get_running_loop().create_future()
        assert message is not None
        return message

    async def send(message: Any) -> None:
        sent.append(message)

    url = urlsplit(request.uri)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "path": url.path,
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in request.headers],
    }
    try:
        async with asyncio.timeout(PATIENCE):
            await NormalizingMiddleware(replay_app(path))(scope, receive, send)
    except BrokenRecordingError:
        assert interaction.response.end != "complete"
    start, *rest = sent
    return Left(
        start["status"],
        dict(start["headers"])[b"content-type"].decode(),
        b"".join(message.get("body", b"") for message in rest),
    )


def make_up_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids and times that an upstream does not name are the same in every run from here on."""
    numbers = itertools.count(1)
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=next(numbers) << 64))
    for envelope in (chat_envelope, responses_envelope):
        monkeypatch.setattr(envelope, "now", lambda: 1_700_000_000)


@pytest.mark.parametrize("name", NAMES)
def test_both_doors(name: str, streams: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch) -> None:
    path = CASSETTES / f"{name}.yaml"
    make_up_the_same(monkeypatch)
    left = through_transport(path)
    make_up_the_same(monkeypatch)
    assert asyncio.run(through_middleware(path)) == left
    kind = "sse" if left.content_type.startswith("text/event-stream") else "json"
    assert left.body.decode() == streams(name=f"{name}.{kind}")


def test_no_snapshot_without_a_cassette() -> None:
    written = {str(path.relative_to(SNAPSHOTS).with_suffix("")) for path in SNAPSHOTS.glob("*/*")}
    assert written <= set(NAMES), "delete the snapshots whose cassettes are gone"
