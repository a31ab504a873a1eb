"""Snapshots of streams, for tests with syrupy: one `.sse` file for each, which opens as what it is.

Example::

    from normalizer.snapshots import SSESnapshotExtension

    @pytest.fixture
    def stream(snapshot):
        return snapshot.use_extension(SSESnapshotExtension)

    def test_answer(stream):
        assert httpx.post(…).content == stream
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from syrupy.data import SnapshotCollection
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

__all__ = ["SSESnapshotExtension"]


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
        if isinstance(data, str):
            return data
        if isinstance(data, Iterable) and not isinstance(data, bytes | bytearray | memoryview):
            data = b"".join(data)
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"a stream is bytes, a text or an iterable of bytes, not {data!r:.40}")
        return bytes(data).decode("utf-8", "surrogateescape")

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
