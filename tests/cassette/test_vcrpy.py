"""Both ways between vcrpy and us: what either records, the other plays with the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest
import vcr  # type: ignore[import-untyped]

from normalizer.cassette import RecordingTransport, ReplayTransport, load, replay_app
from tests.cassette.reading import CLIENTS, Client
from tests.conftest import CHAT, STREAMED, ASGIApp, answering

Serve = Callable[[ASGIApp], str]
PIECES = [b'data: {"n": 0}\n\nda', b'ta: "\xe4\xbd', b'\xa0"\r\n\r\n', b"\xff\n\n"]

libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


@pytest.mark.parametrize("pieces", [PIECES, PIECES[:3], PIECES[:1]], ids=["binary", "crlf", "text"])
@pytest.mark.parametrize("client", CLIENTS)
def test_what_we_record_plays_in_plain_vcrpy(
    client: Client, pieces: list[bytes], serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "chat.yaml"
    url = serve(answering(*pieces)) + CHAT
    ours = client.read(url, RecordingTransport(path, client.transport()))

    with vcr.use_cassette(
        str(path), record_mode="none", match_on=["method", "uri", "body"]
    ) as tape:
        theirs = client.read(url)

    assert ours.body == theirs.body == b"".join(pieces)
    assert theirs.status == 200
    assert theirs.headers["content-type"] == ours.headers["content-type"]
    assert tape.all_played


@pytest.mark.parametrize("client", CLIENTS)
def test_what_plain_vcrpy_records_plays_here(client: Client, serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    url = serve(answering(*PIECES)) + CHAT
    with vcr.use_cassette(str(path)):
        theirs = client.read(url)

    ours = client.read(url, ReplayTransport(path))
    served = client.read(serve(replay_app(path)) + CHAT)

    # one chunk, for they have kept no more
    assert ours.pieces == [b"".join(PIECES)] == served.pieces
    assert theirs.body == ours.body
    assert (ours.status, ours.headers) == (theirs.status, theirs.headers)


@libraries
def test_a_cut_stream_is_lost_by_vcrpy_and_kept_by_us(
    library: ModuleType, serve: Serve, tmp_path: Path
) -> None:
    async def breaks() -> None:
        raise ConnectionAbortedError

    url = serve(answering(*PIECES[:3], breaks)) + CHAT
    with (
        vcr.use_cassette(str(tmp_path / "theirs.yaml")),
        pytest.raises(library.RemoteProtocolError),
    ):
        library.post(url, json=STREAMED)
    Client(library, None).read(url, RecordingTransport(tmp_path / "ours.yaml"))

    assert not (tmp_path / "theirs.yaml").exists()
    assert load(tmp_path / "ours.yaml").interactions[0].response.chunks == PIECES[:3]


@pytest.mark.parametrize("serializer", ["yaml", "json"])
def test_their_other_forms_play_here(serializer: str, serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / f"chat.{serializer}"
    url = serve(answering(b"data: 1\n\n")) + CHAT
    with vcr.use_cassette(str(path), serializer=serializer), httpx.Client() as client:
        client.post(url, json=STREAMED)

    with httpx.Client(transport=ReplayTransport(path)) as client:
        assert client.post(url, json=STREAMED).content == b"data: 1\n\n"


@libraries
def test_inside_of_vcrpy_the_inner_transport_is_recorded(
    library: ModuleType, serve: Serve, tmp_path: Path
) -> None:
    url = serve(answering(b"data: 1\n\n")) + CHAT

    def post() -> Any:
        transport = RecordingTransport(tmp_path / "ours.yaml")
        with library.Client(transport=transport) as client:
            return client.post(url, json=STREAMED).content

    with vcr.use_cassette(str(tmp_path / "theirs.yaml")):
        assert post() == b"data: 1\n\n"

    assert load(tmp_path / "theirs.yaml").interactions[0].response.body == b"data: 1\n\n"
    assert load(tmp_path / "ours.yaml").interactions[0].response.body == b"data: 1\n\n"
