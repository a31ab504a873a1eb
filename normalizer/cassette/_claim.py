"""Reserve a file for one recorder, among all programs of a machine."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from pathlib import Path

# Most answers are short, and then the other recorder is done at once. To wait longer would hold up
# every stream of an event loop.
_PATIENCE = 1.0
_PAUSE = 0.01

_TAKEN = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})
_APPENDING = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # others may not read what is locked there, so it is a byte far behind the end
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def claim(path: Path) -> int:
    """Open a file for appending, create it if necessary, and keep every other recorder out of it.

    Closing the descriptor, or the death of the program, releases the file. Raises `OSError`, and
    `BlockingIOError` if another recorder does not release it within a second.
    """
    until = time.monotonic() + _PATIENCE
    while True:
        descriptor = os.open(path, _APPENDING, 0o644)
        try:
            if _locked(descriptor) and _is_there(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if time.monotonic() >= until:
            raise BlockingIOError(
                errno.EAGAIN,
                "another program is recording to it; give each its own, or one after the other",
                os.fspath(path),
            )
        time.sleep(_PAUSE)


def let_go(descriptor: int, path: Path, *, remove: bool) -> None:
    """Close a reserved file and delete it."""
    # While it is locked, for it may be the next one's as soon as it is not.
    if remove and sys.platform != "win32":
        path.unlink(missing_ok=True)
    os.close(descriptor)
    if remove and sys.platform == "win32":
        # there an open file stays, so that what cannot be removed is somebody's
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _locked(descriptor: int) -> bool:
    try:
        _lock(descriptor)
    except OSError as error:
        # a file system without locks: who records there is alone
        return error.errno not in _TAKEN
    return True


def _is_there(descriptor: int, path: Path) -> bool:
    """Return whether the name still belongs to the open file, and the file was not deleted."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
