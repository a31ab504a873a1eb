"""Files that appear whole or not at all, and the end of one that is written anew."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file, making its folder if need be; raises `OSError` and leaves the old one then."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        # mkstemp's file is the owner's alone, a cassette is everyone's to read
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def append(path: str | os.PathLike[str], size: int, data: bytes) -> None:
    """Write behind the first bytes of a file, in the place of what stood there.

    Raises `OSError`, and then nothing is behind them.
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
