"""Decode content codings in pieces, for the answers of applications and upstreams that compress.

The output is limited for each step. So a small body cannot use much memory, or much time at once.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from normalizer.core.exceptions import NormalizerError

# Bytes that one piece decodes to at most; brotli's decompressor may exceed it.
STEP_BYTES = 256 * 1024

# A body may decode to so many times its bytes, once it is longer than `FREE_BYTES`. No stream of a
# model comes near it (gzip itself ends at 1,032); what exceeds it is made to exhaust its reader.
MAX_RATIO = 200
FREE_BYTES = 16 * 1024 * 1024


# Codings that one body may have, one in another; httpx2 undoes as many.
_MAX_CODINGS = 5


class CodingError(NormalizerError, ValueError):
    """The bytes do not match their Content-Encoding. The message is that of the decompressor."""


class _Stage(Protocol):
    """One coding. ``midway``: the coding expects more bytes."""

    midway: bool

    def decode(self, data: bytes) -> Iterator[bytes]: ...


class Decoder:
    """Decode one coding or several. It returns every byte as soon as it can be decoded.

    ``idle``: there is nothing to decode, and the bytes come as they are.
    """

    def __init__(self, stages: list[_Stage]) -> None:
        self._stages = stages
        self.idle = not stages
        self._came = 0
        self._left = 0

    def decode(self, data: bytes) -> Iterable[bytes]:
        """Return the decoded pieces of ``data``, each of about `STEP_BYTES` at most.

        While they are read, `CodingError` may be raised, also if the bytes decode to more than
        `MAX_RATIO` times their number.
        """
        return self._decoded(data) if self._stages else (data,)

    def _decoded(self, data: bytes) -> Iterator[bytes]:
        self._came += len(data)
        pieces: Iterable[bytes] = (data,)
        for stage in self._stages:
            pieces = _through(stage, pieces)
        for piece in pieces:
            self._left += len(piece)
            if self._left > max(FREE_BYTES, MAX_RATIO * self._came):
                raise CodingError(
                    f"{self._came} bytes decode to more than {MAX_RATIO} times as many"
                )
            yield piece

    @property
    def midway(self) -> bool:
        """Whether a body that ends here was cut, because its compression expects more."""
        return any(stage.midway for stage in self._stages)


# It has no state, so all bodies without a coding share it.
NOTHING = Decoder([])


def decoder(codings: list[str]) -> Decoder | None:
    """Return a decoder for ``codings`` in the order they were applied, or None for unknown ones."""
    if not codings:
        return NOTHING
    stages: list[_Stage] = []
    if len(codings) > _MAX_CODINGS:
        return None
    for coding in reversed(codings):
        make = _STAGES.get(coding)
        stage = make() if make is not None else None
        if stage is None:
            return None
        stages.append(stage)
    return Decoder(stages)


def _through(stage: _Stage, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from stage.decode(piece)


def _gzip() -> _Stage:
    return _Zlib(zlib.MAX_WBITS | 16)


def _deflate() -> _Stage:
    return _Zlib(zlib.MAX_WBITS)


class _Zlib:
    def __init__(self, window: int) -> None:
        self._window = window
        self._zlib = zlib.decompressobj(window)
        self._begun = False
        self.midway = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        held = False  # what the limit held back when all the data was in
        while data or held:
            self.midway = True
            try:
                piece = self._zlib.decompress(data, STEP_BYTES)
            except zlib.error as error:
                if self._begun or self._window != zlib.MAX_WBITS:
                    raise CodingError(str(error)) from error
                # Half of the world sends deflate without the zlib header that the RFC asks for.
                self._window = -zlib.MAX_WBITS
                self._zlib = zlib.decompressobj(self._window)
                continue
            self._begun = self._begun or bool(piece)
            data = self._zlib.unconsumed_tail
            held = len(piece) == STEP_BYTES and not self._zlib.eof
            if self._zlib.eof:
                # The next member: some compress every event for itself.
                data = self._zlib.unused_data
                self._zlib = zlib.decompressobj(self._window)
                self.midway = False
            if piece:
                yield piece


def _brotli() -> _Stage | None:
    module = _first_of("brotli", "brotlicffi")
    return None if module is None else _Brotli(module)


class _Brotli:
    def __init__(self, module: Any) -> None:
        self._error: type[Exception] = module.error
        decompressor = module.Decompressor()
        self._decompress = getattr(decompressor, "process", None) or decompressor.decompress
        self._is_finished: Callable[[], bool] = decompressor.is_finished
        # since brotli 1.2; before it, and in brotlicffi before 1.2, all comes out in one piece
        self._bounded = hasattr(decompressor, "can_accept_more_data")
        self.midway = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        more = bool(data)
        while more:
            try:
                if self._bounded:
                    piece = self._decompress(data, output_buffer_limit=STEP_BYTES)
                else:
                    piece = self._decompress(data)
            except self._error as error:
                raise CodingError(str(error)) from error
            self.midway = not self._is_finished()
            data = b""
            more = self._bounded and bool(piece)
            if piece:
                yield piece


def _zstd() -> _Stage | None:
    module = _first_of("compression.zstd", "backports.zstd")
    if module is not None:
        return _Zstd(module.ZstdDecompressor, module.ZstdError)
    module = _first_of("zstandard")
    return None if module is None else _Zstandard(module)


class _Zstd:
    """Decode zstd with Python's own module, or with its backport."""

    def __init__(self, make: Any, error: type[Exception]) -> None:
        self._make = make
        self._error = error
        self._frame = make()
        self.midway = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data or (self.midway and not self._frame.needs_input):
            try:
                piece = self._frame.decompress(data, STEP_BYTES)
            except self._error as error:
                raise CodingError(str(error)) from error
            data = b""
            self.midway = not self._frame.eof
            if self._frame.eof:
                data, self._frame = self._frame.unused_data, self._make()
            if piece:
                yield piece


class _Zstandard:
    """Decode zstd with the module zstandard. Its decompressor has no limit for one step.

    A block of zstd has at most 128 KiB. The input is given in pieces of a few bytes, so a step
    returns few blocks.
    """

    _STEP = 64

    def __init__(self, module: Any) -> None:
        self._make: Callable[[], Any] = lambda: module.ZstdDecompressor().decompressobj()
        self._error: type[Exception] = module.ZstdError
        self._frame = self._make()
        self.midway = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), self._STEP):
            part = data[at : at + self._STEP]
            while part:
                self.midway = True
                try:
                    piece = self._frame.decompress(part)
                except self._error as error:
                    raise CodingError(str(error)) from error
                part = b""
                if self._frame.eof:
                    part, self._frame = self._frame.unused_data, self._make()
                    self.midway = bool(part)
                if piece:
                    yield piece


def _first_of(*names: str) -> Any:
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


_STAGES: dict[str, Callable[[], _Stage | None]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
