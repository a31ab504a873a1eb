"""Write a file completely or not at all, or rewrite the end of a file."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file, and create its folder. On `OSError` the old file stays."""
    with writing(path) as file:
        file.write(data)


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing, and create its folder. It is there when the block ends.

    If the block raises, the old file stays.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        # mkstemp's file is the owner's alone, a cassette is everyone's to read
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def append(path: str | os.PathLike[str], size: int, data: bytes) -> None:
    """Write after the first bytes of a file, and replace what followed them.

    Raises `OSError`. Then nothing follows them.
    """
    flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        # What is in front is whole: so is the file at any time but while the data is written.
        os.ftruncate(descriptor, size)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
