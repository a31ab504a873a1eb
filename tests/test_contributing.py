"""The commands and the files of CONTRIBUTING.md exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from normalizer.catalogue import CODES
from normalizer.cli import COMMANDS
from tools.add_deviation import parser

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COMMANDS_OF_IT = [
    shlex.split(line.removeprefix("$ "))
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]
# what the reader has
OWN = {"answer.sse", "seen.sse", "right.sse"}


def test_it_has_the_commands_of_a_walk() -> None:
    programs = [command[0] for command in COMMANDS_OF_IT]
    assert programs[0] == "tools/test"
    assert {"tools/add-deviation", "tools/deviations", ".ci/run"} <= set(programs)


@pytest.mark.parametrize("command", COMMANDS_OF_IT, ids=" ".join)
def test_a_command_names_programs_files_and_codes_that_exist(command: list[str]) -> None:
    program, *words = command
    if program.startswith(".venv/"):
        assert program in (".venv/bin/python", ".venv/bin/stream-normalizer")
    elif "/" in program:
        assert (ROOT / program).stat().st_mode & 0o111
    if program.endswith("stream-normalizer"):
        assert words[0] in COMMANDS
    for word in words:
        if re.fullmatch(r"[A-Z]\d{3}", word):
            assert word in CODES
        elif re.fullmatch(r"[\w.-]+(/[\w.-]+)+|[\w-]+\.sse", word):
            assert word in OWN or (ROOT / word).exists()


def test_the_deviation_is_one_that_can_be_written() -> None:
    (command,) = (each for each in COMMANDS_OF_IT if "--fault" in each)
    given = parser().parse_args(command[1:])
    assert (str(given.example), str(given.leaves)) == ("seen.sse", "right.sse")


def test_the_flags_of_the_fuzzer_exist() -> None:
    (command,) = (each for each in COMMANDS_OF_IT if "tools/fuzz" in each)
    flags = [word for word in command if word.startswith("--")]
    done = subprocess.run(
        [sys.executable, "tools/fuzz", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert flags
    assert all(flag in done.stdout for flag in flags)


def test_its_links_and_paths_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)", PAGE)
    paths = re.findall(r"`([\w.-]+/[\w./-]*)`", PAGE)
    missing = [each for each in (*links, *paths) if not (ROOT / each).exists() and each != ".venv"]
    assert missing == []
