"""Recorded streams in bulk on Ray Data: check them, and make them canonical.

    pip install 'stream-normalizer[ray]'
    python deploy/ray_data.py recorded/ canonical/

``recorded/`` has Parquet files with the columns that `normalizer.batch` reads (``body``, ``path``,
``request``, ``status``, ``broken``) and any others; or lines of JSON (.jsonl) with these members;
or cassettes. ``canonical/`` gets Parquet files with the same rows and the columns that
`normalizer.batch` adds. At the end the program prints how often each deviation was found.

Ray reads, normalizes and writes block by block, on all machines of a cluster, so the size of the
data does not matter.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray.data
from ray.data import Dataset

from normalizer.batch import normalize_batch
from normalizer.cassette.format import loads


def read(source: str) -> Dataset:
    """Return the recorded answers of a folder: Parquet files, lines of JSON, or cassettes."""
    endings = {path.suffix for path in Path(source).rglob("*")}
    if ".parquet" in endings:
        return ray.data.read_parquet(source)
    if ".jsonl" in endings:
        return ray.data.read_json(source, file_extensions=["jsonl"])
    files = ray.data.read_binary_files(source, include_paths=True, file_extensions=["yaml"])
    return files.flat_map(answers)


def answers(file: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row for each answer in a cassette."""
    for one in loads(file["bytes"].decode(), file["path"]).interactions:
        end = one.response.end
        yield {
            "file": file["path"],
            "body": one.response.body,
            "path": one.request.uri,
            "request": one.request.body,
            "status": one.response.status,
            "broken": "" if end == "complete" else end,
        }


def main(source: str, target: str) -> None:
    # Arrow keeps what is null as null. NumPy, which is Ray's default, makes NaN of it.
    found = read(source).map_batches(normalize_batch, batch_format="pyarrow")
    found.write_parquet(target)
    answers_with, times = Counter[str](), Counter[str]()
    for row in ray.data.read_parquet(target, columns=["codes"]).iter_rows():
        codes = json.loads(row["codes"])
        answers_with.update(codes.keys())
        times.update(codes)
    for code in sorted(times):
        print(f"{code}: {answers_with[code]} answers, {times[code]} times")


if __name__ == "__main__":
    main(*sys.argv[1:])
