"""Every cassette through both doors: the same bytes, and those that stand in tests/snapshots.

A snapshot is the answer as it left, in a file that opens as what it is. After a change that is
meant: ``pytest tests/test_snapshots.py --snapshot-update``, and read the diff.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.data import Snapshot, SnapshotCollection
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from normalizer.asgi import NormalizingMiddleware
from normalizer.cassette.format import Interaction, load
from normalizer.stages import envelope
from normalizer.transport import NormalizingTransport

CASSETTES = Path(__file__).parents[1] / "cassettes"
SNAPSHOTS = Path(__file__).parent / "snapshots"
NAMES = sorted(
    str(path.relative_to(CASSETTES).with_suffix("")) for path in CASSETTES.rglob("*.yaml")
)


class StreamExtension(SingleFileSnapshotExtension):
    """``snapshot(name="azure/opening-chunk.sse")`` is tests/snapshots/azure/opening-chunk.sse."""

    file_extension = ""
    # text, for the sake of a diff by lines; but written and read without newline translation
    _write_mode = WriteMode.TEXT

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

    def read_snapshot_data_from_location(self, *, snapshot_location: str, **_: Any) -> str | None:
        path = Path(snapshot_location)
        return path.read_bytes().decode() if path.exists() else None

    @classmethod
    def write_snapshot_collection(
        cls, *, snapshot_collection: SnapshotCollection, **_: Any
    ) -> None:
        (snapshot,) = snapshot_collection
        Path(snapshot_collection.location).write_bytes(str(snapshot.data).encode())


@pytest.fixture
def streams(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(StreamExtension)


class Left(NamedTuple):
    """What left through a door."""

    status: int
    content_type: str
    body: bytes


class Played(httpx2.BaseTransport):
    """An upstream that answers with a cassette, in its pieces, and breaks where it was cut."""

    def __init__(self, interaction: Interaction) -> None:
        self._response = interaction.response

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(
            self._response.status,
            headers=list(self._response.headers),
            stream=self._stream(),
            request=request,
        )

    def _stream(self) -> httpx2.SyncByteStream:
        response = self._response

        class Stream(httpx2.SyncByteStream):
            def __iter__(self) -> Iterator[bytes]:
                yield from response.chunks
                if response.end != "complete":
                    raise httpx2.RemoteProtocolError(response.end)

        return Stream()


def through_transport(interaction: Interaction) -> Left:
    request = interaction.request
    body = bytearray()
    transport = NormalizingTransport(Played(interaction))
    with (
        httpx2.Client(transport=transport) as client,
        client.stream(
            request.method, request.uri, headers=list(request.headers), content=request.body
        ) as response,
    ):
        try:
            for piece in response.iter_bytes():
                body += piece
        except httpx2.RemoteProtocolError:
            assert interaction.response.end != "complete"
    return Left(response.status_code, response.headers["content-type"], bytes(body))


async def through_middleware(interaction: Interaction) -> Left:
    request, response = interaction.request, interaction.response
    sent: list[dict[str, Any]] = []

    async def upstream(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        headers = [(name.lower().encode(), value.encode()) for name, value in response.headers]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        for piece in response.chunks:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if response.end != "complete":
            raise httpx2.RemoteProtocolError(response.end)
        await send({"type": "http.response.body"})

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
        await NormalizingMiddleware(upstream)(scope, receive, send)
    except httpx2.RemoteProtocolError:
        assert response.end != "complete"
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
    monkeypatch.setattr(envelope, "now", lambda: 1_700_000_000)


@pytest.mark.parametrize("name", NAMES)
def test_both_doors(name: str, streams: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch) -> None:
    (interaction,) = load(CASSETTES / f"{name}.yaml").interactions
    make_up_the_same(monkeypatch)
    left = through_transport(interaction)
    make_up_the_same(monkeypatch)
    assert asyncio.run(through_middleware(interaction)) == left
    kind = "sse" if left.content_type.startswith("text/event-stream") else "json"
    assert left.body.decode() == streams(name=f"{name}.{kind}")


def test_no_snapshot_without_a_cassette() -> None:
    written = {str(path.relative_to(SNAPSHOTS).with_suffix("")) for path in SNAPSHOTS.glob("*/*")}
    assert written <= set(NAMES), "delete the snapshots whose cassettes are gone"
