"""Content codings undone piece by piece, for answers that an ASGI application compressed itself."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class CodingError(ValueError):
    """The bytes are not what their Content-Encoding says; the message is the decompressor's."""


class Decoder:
    """Undoes one coding or several; every byte that can be known leaves at once."""

    def __init__(self, stages: list[Callable[[bytes], Iterator[bytes]]]) -> None:
        self._stages = stages

    def decode(self, data: bytes) -> Iterator[bytes]:
        """The decoded pieces of ``data``; raises `CodingError`."""
        pieces: Iterable[bytes] = (data,)
        for stage in self._stages:
            pieces = _through(stage, pieces)
        yield from pieces


def decoder(codings: list[str]) -> Decoder | None:
    """What undoes ``codings`` (in the order they were applied); None if a module is missing."""
    stages = []
    for coding in reversed(codings):
        make = _STAGES.get(coding)
        stage = make() if make is not None else None
        if stage is None:
            return None
        stages.append(stage)
    return Decoder(stages)


def _through(stage: Callable[[bytes], Iterator[bytes]], pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from stage(piece)


def _gzip() -> Callable[[bytes], Iterator[bytes]]:
    return _Zlib(zlib.MAX_WBITS | 16).decode


def _deflate() -> Callable[[bytes], Iterator[bytes]]:
    return _Zlib(zlib.MAX_WBITS).decode


class _Zlib:
    def __init__(self, window: int) -> None:
        self._window = window
        self._zlib = zlib.decompressobj(window)
        self._begun = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            try:
                piece = self._zlib.decompress(data)
            except zlib.error as error:
                if self._begun or self._window != zlib.MAX_WBITS:
                    raise CodingError(str(error)) from error
                # Half of the world sends deflate without the zlib header that the RFC asks for.
                self._window = -zlib.MAX_WBITS
                self._zlib = zlib.decompressobj(self._window)
                continue
            self._begun = self._begun or bool(piece)
            data = self._zlib.unused_data
            if self._zlib.eof:
                # The next member: some compress every event for itself.
                self._zlib = zlib.decompressobj(self._window)
            if piece:
                yield piece


def _brotli() -> Callable[[bytes], Iterator[bytes]] | None:
    module = _first_of("brotli", "brotlicffi")
    if module is None:
        return None
    decompressor = module.Decompressor()
    decompress = getattr(decompressor, "process", None) or decompressor.decompress

    def decode(data: bytes) -> Iterator[bytes]:
        try:
            yield decompress(data)
        except module.error as error:
            raise CodingError(str(error)) from error

    return decode


def _zstd() -> Callable[[bytes], Iterator[bytes]] | None:
    module = _first_of("compression.zstd", "backports.zstd", "zstandard")
    if module is None:
        return None
    make = module.ZstdDecompressor
    if module.__name__ == "zstandard":

        def make() -> Any:
            return module.ZstdDecompressor().decompressobj()

    frame = make()

    def decode(data: bytes) -> Iterator[bytes]:
        nonlocal frame
        while data:
            try:
                piece = frame.decompress(data)
            except module.ZstdError as error:
                raise CodingError(str(error)) from error
            data = b""
            if frame.eof:
                data, frame = frame.unused_data, make()
            yield piece

    return decode


def _first_of(*names: str) -> Any:
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


_STAGES: dict[str, Callable[[], Callable[[bytes], Iterator[bytes]] | None]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
