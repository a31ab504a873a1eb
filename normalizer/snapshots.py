"""Snapshots of streams, for tests with syrupy.

`SSESnapshotExtension` stores a stream in an `.sse` file, which opens as what it is.
`SSEPairExtension` stores two, what came beside what left, in an `.sse.diff` file.

Example::

    from normalizer.snapshots import SSESnapshotExtension

    @pytest.fixture
    def stream(snapshot):
        return snapshot.use_extension(SSESnapshotExtension)

    def test_answer(stream):
        assert httpx.post(…).content == stream
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from syrupy.data import SnapshotCollection
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

__all__ = ["SSEPairExtension", "SSESnapshotExtension"]

# An event with the blank line behind it, whatever the line endings are.
_EVENT = re.compile(r".+?(?:(?:\r\n|\r(?!\n)|\n){2,}|\Z)", re.DOTALL)


class SSESnapshotExtension(SingleFileSnapshotExtension):
    """Store a stream in ``__snapshots__/<test module>/<test>.sse``, byte for byte.

    It accepts bytes, a text, or the pieces of a stream (an iterable of bytes), and raises
    `TypeError` for other values. A failure shows a diff of lines, and so of events. To use another
    folder or file extension, override ``dirname`` or ``file_extension`` as in syrupy's own
    extensions.
    """

    file_extension = "sse"
    _write_mode = WriteMode.TEXT

    def serialize(self, data: Any, **_: Any) -> str:
        return _text(data)

    # The base class opens files as text, which on reading turns CR LF into LF.
    def read_snapshot_data_from_location(self, *, snapshot_location: str, **_: Any) -> str | None:
        try:
            return Path(snapshot_location).read_bytes().decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return None

    @classmethod
    def write_snapshot_collection(
        cls, *, snapshot_collection: SnapshotCollection, **_: Any
    ) -> None:
        (snapshot,) = snapshot_collection
        data = str(snapshot.data).encode("utf-8", "surrogateescape")
        Path(snapshot_collection.location).write_bytes(data)


class SSEPairExtension(SSESnapshotExtension):
    """Store what came and what left in ``__snapshots__/<test module>/<test>.sse.diff``.

    The value is a pair of streams, each as in `SSESnapshotExtension`. The file has both completely,
    event by event, in the form of a diff: lines behind a blank are in both, those behind ``-`` only
    in the first, and those behind ``+`` only in the second. If a stream does not end in a line
    feed, ``\\ No newline at end of file`` says so. Raises `TypeError` for other values.

    Example::

        assert (came, left) == snapshot.use_extension(SSEPairExtension)
    """

    file_extension = "sse.diff"

    def serialize(self, data: Any, **_: Any) -> str:
        if not isinstance(data, tuple) or len(data) != 2:
            raise TypeError(f"a pair is a tuple of what came and what left, not {data!r:.40}")
        came, left = (_EVENT.findall(_text(each)) for each in data)
        lines = ["--- came\n", "+++ left\n"]
        for kind, a, b, c, d in difflib.SequenceMatcher(None, came, left).get_opcodes():
            if kind == "equal":
                lines += _marked(" ", came[a:b])
            else:
                lines += [*_marked("-", came[a:b]), *_marked("+", left[c:d])]
        return "".join(lines)


def _text(data: Any) -> str:
    """Return a stream as a text. Raises `TypeError` if it is none."""
    if isinstance(data, str):
        return data
    if isinstance(data, Iterable) and not isinstance(data, bytes | bytearray | memoryview):
        data = b"".join(data)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"a stream is bytes, a text or an iterable of bytes, not {data!r:.40}")
    return bytes(data).decode("utf-8", "surrogateescape")


def _marked(sign: str, events: list[str]) -> list[str]:
    """Return the lines of events, each behind a sign."""
    lines = []
    for line in re.findall(r"[^\n]*\n|[^\n]+", "".join(events)):
        is_whole = line.endswith("\n")
        lines.append(
            f"{sign}{line}" if is_whole else f"{sign}{line}\n\\ No newline at end of file\n"
        )
    return lines
