"""deploy/ray_data.py and `normalize_batch` in real Ray Data, on the cassettes."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from normalizer import Options
from normalizer.batch import normalize_batch
from normalizer.cassette.format import load
from tests.ray.conftest import ROOT
from tests.streams import CHAT, chunk, raw

# Ray warns of its own code.
pytestmark = pytest.mark.filterwarnings("ignore")

# All three are recorded, and name every id themselves.
FOLDERS = ("llama-cpp-python", "vllm", "gateway")
CASSETTES = sorted(path for name in FOLDERS for path in (ROOT / "cassettes" / name).glob("*.yaml"))
INTERACTIONS = [one for path in CASSETTES for one in load(path).interactions]
ROWS: list[dict[str, Any]] = [
    {
        "body": one.response.body,
        "path": one.request.uri,
        "request": one.request.body.decode(),
        "status": one.response.status,
        "broken": None if one.response.end == "complete" else one.response.end,
    }
    for one in INTERACTIONS
]
COUNTED = ("codes", "finish", "end", "error", "events_in", "events_out", "characters_out")


@pytest.fixture(autouse=True)
def _quiet(started: None) -> None:
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def sorted_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["body"])


def wanted() -> list[dict[str, Any]]:
    """The rows as they are without Ray."""
    out = normalize_batch({name: [row[name] for row in ROWS] for name in ROWS[0]})
    return sorted_rows(
        [dict(zip(out, values, strict=True)) for values in zip(*out.values(), strict=True)]
    )


def write(form: str, folder: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    if form == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), folder / "rows.parquet")
    elif form == "jsonl":
        lines = (json.dumps({**row, "body": row["body"].decode()}) for row in ROWS)
        (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    else:
        for number, path in enumerate(CASSETTES):
            (folder / f"{number}.yaml").write_bytes(path.read_bytes())


@pytest.mark.parametrize("form", ["parquet", "jsonl", "cassettes"])
def test_the_example(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    import pyarrow.parquet
    import ray_data

    source, target = tmp_path / "recorded", tmp_path / "canonical"
    source.mkdir()
    write(form, source)
    ray_data.main(str(source), str(target))
    written = pyarrow.parquet.read_table(target).to_pylist()
    if form == "jsonl":
        written = [{**row, "body": row["body"].encode()} for row in written]
    rows = sorted_rows(written)
    assert len(rows) == len(ROWS) > 20
    for row, plain in zip(rows, wanted(), strict=True):
        assert {name: row[name] for name in COUNTED} == {name: plain[name] for name in COUNTED}
        assert len(row["normalized"]) == len(plain["normalized"])
        assert row["body"] == plain["body"]
    answers: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for plain in wanted():
        answers.update(json.loads(plain["codes"]).keys())
        times.update(json.loads(plain["codes"]))
    lines = [f"{code}: {answers[code]} answers, {times[code]} times" for code in sorted(times)]
    assert capsys.readouterr().out.splitlines()[-len(lines) :] == lines


BAD = raw(chunk({"role": "assistant", "content": "Hi"}, "stop"))


@pytest.mark.parametrize("batch_format", ["default", "numpy", "pandas", "pyarrow"])
def test_every_format_of_a_batch(batch_format: str) -> None:
    import ray.data

    rows: list[dict[str, Any]] = [
        {"name": "good", "body": BAD, "path": CHAT, "status": 200},
        {"name": "guessed", "body": BAD, "path": None, "status": None},
        {"name": "null", "body": None, "path": CHAT, "status": 200},
    ]
    data = ray.data.from_items(rows, override_num_blocks=1)
    found = data.map_batches(
        normalize_batch, batch_format=batch_format, fn_kwargs={"options": Options(ignore=("S504",))}
    )
    rows = sorted(found.take_all(), key=lambda row: row["name"])
    assert [(row["name"], row["end"]) for row in rows] == [
        ("good", "done"),
        ("guessed", "done"),
        ("null", "invalid"),
    ]
    assert [row["normalized"] for row in rows] == [BAD, BAD, b""]
    assert [row["codes"] for row in rows] == ["{}"] * 3


def test_blocks_have_one_schema(tmp_path: Path) -> None:
    import pyarrow
    import ray.data

    bodies = [BAD, BAD[:-14], b"", None]
    data = ray.data.from_items([{"body": body} for body in bodies], override_num_blocks=4)
    data.map_batches(normalize_batch, batch_format="pyarrow").write_parquet(str(tmp_path))
    schemas = {pyarrow.parquet.read_schema(path) for path in tmp_path.glob("*.parquet")}
    added = {tuple((one.name, str(one.type)) for one in schema)[1:] for schema in schemas}
    assert len(added) == 1
