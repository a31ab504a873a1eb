"""tools/add-deviation, in a copy of the tree: it writes everything but the repair."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.streams import chunk, raw, text
from tools import add_deviation
from tools.add_deviation import RefusedError, judged, parser, planned

ROOT = Path(__file__).parents[1]
STAGE = "normalizer/wires/chat/choices.py"
STOP = chunk({}, "stop")
RIGHT = raw(*text("Hi"), STOP)
SEEN = raw(*text("Hi"), {**STOP, "system_fingerprint": 7})
FLAGS = {
    "name": "fingerprint-not-text",
    "fault": "`system_fingerprint` is a number.",
    "repair": "`system_fingerprint` is removed.",
    "seen": "Nobody.",
    "breaks": "Nobody.",
    "source": "https://example.com/issues/1",
    "row": "A fingerprint that is a number",
    "place": "system_fingerprint",
    "harm": "notice",
    "code": "E298",
}


def flags(folder: Path, **changed: Any) -> list[str]:
    """The arguments for a right deviation, with some flags changed, or left out (None)."""
    for name, body in (("seen.sse", SEEN), ("right.sse", RIGHT)):
        (folder / name).write_bytes(body)
    given = {**FLAGS, "example": folder / "seen.sse", "leaves": folder / "right.sse", **changed}
    pairs = ((f"--{key.replace('_', '-')}", value) for key, value in given.items())
    return [
        STAGE,
        *(str(word) for key, value in pairs if value is not None for word in (key, value)),
    ]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The parts of the tree that it reads and writes."""
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns("__pycache__", "node_modules", ".*", "*.so")
    for folder in ("normalizer", "tools", "tests", "docs"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignored)
    for file in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / file, tree / file)
    return tree


def run(tree: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the copy, with its modules and not with those of this tree."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tree)},
    )


def test_what_it_writes_is_whole_and_lacks_the_repair(tree: Path, tmp_path: Path) -> None:
    done = run(tree, "tools/add-deviation", *flags(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "1. The repair, in normalizer/wires/chat/choices.py" in done.stdout

    shown = run(
        tree,
        "-c",
        "import json; from normalizer.catalogue import rule; from tools.deviations import table\n"
        "from normalizer.catalogue import places; from normalizer.cli.check import severity\n"
        "one = rule('E298'); d = one.deviation\n"
        "print(json.dumps([d.name, d.fault, d.repair, one.seen, one.sources,"
        " one.example[0].decode(), severity.severity('E298'), places.known('E298'), table()]))",
    )
    assert shown.returncode == 0, shown.stderr
    *declared, readme = json.loads(shown.stdout)
    assert declared == [
        *(FLAGS["name"], FLAGS["fault"], FLAGS["repair"], FLAGS["seen"], [FLAGS["source"]]),
        *(SEEN.decode(), "notice", True),
    ]
    assert f"| {FLAGS['row']} | E298 |" in readme

    pytest_ = ("-m", "pytest", "-q", "-pno:cacheprovider", "-k", "fingerprint")
    test = run(tree, *pytest_, "tests/wires/chat/test_choices.py")
    assert "1 failed" in test.stdout
    assert "AssertionError" in test.stdout
    assert run(tree, "tools/deviations", "--check").returncode == 1

    again = run(tree, "tools/add-deviation", *flags(tmp_path))
    assert again.returncode == 2
    assert "there is a E298 fingerprint-not-text already" in again.stderr


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"name": "Fingerprint"}, "kebab-case"),
        ({"name": "choices-missing"}, "E209 choices-missing already"),
        ({"code": "E209"}, "E209 choices-missing already"),
        ({"code": "Z101"}, "letter"),
        ({"fault": "it is a number"}, "one sentence"),
        ({"fault": "It is wrong. It is a number."}, "two sentences"),
        ({"repair": "What the upstream says is removed."}, "private meaning"),
        ({"seen": "nobody"}, "--seen"),
        ({"source": "example.com"}, "https"),
        ({"also": "E299"}, "no E299"),
        ({"row": None, "row_of": "E299"}, "no E299"),
        ({"place": None, "code": "B898"}, "name a --place"),
        ({"place": None, "place_text": "("}, "no pattern"),
        ({"example": "nowhere.sse"}, "nowhere.sse is no file"),
        ({"leaves": ROOT / "README.md"}, "not canonical"),
        ({"request": "[]"}, "JSON object"),
        ({"test": "tests/nowhere.py"}, "name the stage's tests"),
    ],
)
def test_wrong_input_writes_nothing(
    changed: dict[str, Any],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = flags(tmp_path, **changed)
    monkeypatch.delattr(Path, "write_text")
    assert add_deviation.main(arguments) == 2
    said = capsys.readouterr()
    assert told in said.err
    assert said.err.endswith("Nothing was written.\n")
    assert said.out == ""


def test_an_example_with_another_fault_is_refused(tmp_path: Path) -> None:
    arguments = flags(tmp_path)
    (tmp_path / "seen.sse").write_bytes(SEEN.replace(b"data: ", b"data:"))
    given = parser().parse_args(arguments)
    with pytest.raises(RefusedError, match="also has F103"):
        judged(given)
    given.also = ["F103"]
    assert judged(given) == "E298"


def test_bytes_that_toml_cannot_hold_as_text(tmp_path: Path) -> None:
    arguments = flags(tmp_path, also="F102")
    (tmp_path / "seen.sse").write_bytes(SEEN.replace(b"\n", b"\r\n"))
    given = parser().parse_args(arguments)
    files = planned(given, judged(given))
    (rules,) = (files[path] for path in files if path.suffix == ".toml")
    assert "example_base64 = " in rules


def test_the_next_code_is_free(tmp_path: Path) -> None:
    usage = ["normalizer/wires/chat/usage.py", *flags(tmp_path, code=None)[1:]]
    assert judged(parser().parse_args(usage)).startswith("U6")
    # it declares two families
    with pytest.raises(RefusedError, match="name the --code"):
        judged(parser().parse_args(["normalizer/wires/chat/wire.py", *usage[1:]]))
