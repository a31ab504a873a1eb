"""Compressed bodies: in pieces of every size, cut, and made to exhaust whoever undoes them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import pytest

from normalizer.doors import _codings
from normalizer.doors._codings import CodingError, decoder
from normalizer.doors.asgi import NormalizingMiddleware
from normalizer.doors.transport import NormalizingTransport
from tests.conftest import CHAT, EVENT_STREAM, HELLO, ROLE, STREAM, STREAMED, answering

URL = f"http://upstream.test{CHAT}"

both = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def brotli(data: bytes) -> bytes:
    packed: bytes = pytest.importorskip("brotli").compress(data)
    return packed


def zstd(data: bytes) -> bytes:
    packed: bytes = pytest.importorskip("zstandard").compress(data)
    return packed


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "br": ("br", brotli),
    "zstd": ("zstd", zstd),
}
each = pytest.mark.parametrize(("coding", "pack"), PACKERS.values(), ids=PACKERS)


@each
@pytest.mark.parametrize("step", [7, 1000, 1 << 30])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a" * 5_000_000,
        b"a" * _codings.STEP_BYTES,
        b"a" * 2 * _codings.STEP_BYTES,
        bytes(range(256)) * 1000,
    ],
    ids=["empty", "long", "one step", "two steps", "varied"],
)
def test_every_byte_comes_out(
    coding: str, pack: Callable[[bytes], bytes], step: int, data: bytes
) -> None:
    packed = pack(data)
    undo = decoder([coding])
    assert undo is not None
    pieces: list[bytes] = []
    for at in range(0, len(packed), step):
        pieces += undo.decode(packed[at : at + step])
    assert b"".join(pieces) == data
    assert not undo.midway


@each
def test_a_cut_body_is_midway(coding: str, pack: Callable[[bytes], bytes]) -> None:
    undo = decoder([coding])
    assert undo is not None
    assert not undo.midway
    [*undo.decode(pack(STREAM)[:-1])]
    assert undo.midway


@each
def test_few_bytes_decode_in_bounded_steps_up_to_a_limit(
    coding: str, pack: Callable[[bytes], bytes]
) -> None:
    undo = decoder([coding])
    assert undo is not None
    bomb = pack(b":" * 100_000_000)
    pieces = []
    with pytest.raises(CodingError, match="more than 200 times as many"):  # noqa: PT012
        for piece in undo.decode(bomb):
            pieces.append(len(piece))  # noqa: PERF401  # what came before the error counts
    assert sum(pieces) <= max(_codings.FREE_BYTES, _codings.MAX_RATIO * len(bomb))
    # zstandard has no limit of its own
    assert max(pieces) <= (16 if coding == "zstd" else 2) * _codings.STEP_BYTES


def test_codings_without_end_are_not_undone() -> None:
    assert decoder(["gzip"] * 5) is not None
    assert decoder(["gzip"] * 6) is None


def answer(library: Any, body: bytes) -> Any:
    class Body(library.SyncByteStream):  # type: ignore[misc]
        def __iter__(self) -> Any:
            yield body

    headers = {"content-type": "text/event-stream", "content-encoding": "gzip"}
    return library.Response(200, headers=headers, stream=Body())


def post(library: Any, body: bytes) -> Any:
    transport = NormalizingTransport(library.MockTransport(lambda _: answer(library, body)))
    with library.Client(transport=transport) as client:
        return client.post(URL, json=STREAMED)


@both
def test_a_body_cut_in_its_compression_says_so(library: Any) -> None:
    response = post(library, gzip.compress(STREAM)[:12])
    assert b"cut in its compression" in response.content
    assert response.extensions["normalizer"].error is not None


@both
def test_a_whole_stream_may_end_within_its_compression(library: Any) -> None:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    packed = packer.compress(STREAM) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert post(library, packed).content == STREAM


@both
def test_a_bomb_raises_the_librarys_own_error(library: Any) -> None:
    comment = b":" + b" " * 1_000_000 + b"\n\n"
    packed = gzip.compress(ROLE + HELLO + comment * 60)
    with pytest.raises(library.DecodingError, match="more than 200 times"):
        post(library, packed)


@pytest.mark.anyio
async def test_a_middlewares_body_cut_in_its_compression_says_so() -> None:
    head = (EVENT_STREAM, (b"content-encoding", b"gzip"))
    app = NormalizingMiddleware(answering(gzip.compress(STREAM)[:12], headers=head))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport) as client:
        response = await client.post(URL, json=STREAMED)
    assert b"cut in its compression" in response.content
