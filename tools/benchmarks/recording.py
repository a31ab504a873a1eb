"""What a recording adds to an event, and whether it adds more when the cassette is long."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2

from normalizer.cassette import RecordingTransport
from tools.benchmarks.synthetic import ASKED, PATHS, chat

ANSWERS = 40  # into one cassette
EVENTS = 500  # an answer
_SOME = 8  # answers, of which the median is taken


class _Pieces(httpx2.SyncByteStream):
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


def recording() -> tuple[float, float]:
    """µs of CPU that an event costs more than unrecorded: first answers of a cassette, and last."""
    pieces = list(chat(EVENTS))

    def respond(_request: httpx2.Request) -> httpx2.Response:
        head = {"content-type": "text/event-stream"}
        return httpx2.Response(200, headers=head, stream=_Pieces(pieces))

    with tempfile.TemporaryDirectory() as folder:
        bare = httpx2.Client(transport=httpx2.MockTransport(respond))
        transport = RecordingTransport(Path(folder) / "c.yaml", httpx2.MockTransport(respond))
        recorded = httpx2.Client(transport=transport)
        added: list[float] = []
        for number in range(ANSWERS + 1):
            cost = _read(recorded) - _read(bare)
            if number:  # the first imports, and makes the file
                added.append(cost / len(pieces))
        recorded.close()
        bare.close()
    return statistics.median(added[:_SOME]), statistics.median(added[-_SOME:])


def _read(client: httpx2.Client) -> float:
    began = time.process_time_ns()
    with client.stream("POST", f"http://bench{PATHS['chat']}", json=ASKED) as response:
        for _ in response.iter_raw():
            pass
    return (time.process_time_ns() - began) / 1000
