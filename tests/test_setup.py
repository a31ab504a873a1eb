"""What `tools/test` installs: pinned, from no host by name, and not more than a run needs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PINS = sorted((ROOT / "tools" / "constraints").glob("*.txt"))
LOCKS = sorted(
    path
    for folders in ("*", "*/*")
    for path in (ROOT / "tests").glob(f"{folders}/package-lock.json")
    if "node_modules" not in path.parts
)


def functions(text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash that has the functions of tools/environment.sh."""
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail; source tools/environment.sh; {text}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )


@pytest.mark.parametrize("path", PINS, ids=lambda path: path.stem)
def test_constraints_are_exact_versions(path: Path) -> None:
    _, *pins = path.read_text(encoding="utf-8").splitlines()
    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9-]+==[0-9][\w.+!]*", pin)] == []
    assert len(pins) > 40


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.parent.name)
def test_locks_name_versions_and_hashes_but_no_hosts(path: Path) -> None:
    lock = json.loads(path.read_text(encoding="utf-8"))
    packages: dict[str, dict[str, Any]] = lock["packages"]
    wanted = json.loads(path.with_name("package.json").read_text(encoding="utf-8"))
    assert packages[""]["dependencies"] == wanted["dependencies"]
    installed = [one for name, one in packages.items() if name]
    assert installed
    assert all("version" in one and "integrity" in one for one in installed)
    assert not any("resolved" in one for one in installed)


def test_every_environment_has_its_versions() -> None:
    names = set(
        re.findall(r"environment \.venv\S* ([a-z][\w-]+)", (ROOT / "tools/test").read_text())
    )
    names |= set(re.findall(r"^ {4}'(openai\S+) ", (ROOT / "tools/test").read_text(), re.MULTILINE))
    assert names >= {"test", "stories", "vendors", "optillm", "openai2-httpx", "openai3-httpx2"}
    for name in sorted(names):
        assert functions(f"requirements {name}").stdout.split()
        assert Path(functions(f"constraints {name}").stdout.strip()) in PINS


def test_the_versions_are_the_ones_that_are_installed(tmp_path: Path) -> None:
    """pip gets them for what it installs, and for what it builds our wheel with."""
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$PIP_CONSTRAINT $PIP_BUILD_CONSTRAINT $*"\n')
    python.chmod(0o755)
    done = functions(
        f"root={tmp_path}; cp {ROOT}/pyproject.toml $root; mkdir -p $root/tools;"
        f" cp -r {ROOT}/tools/constraints $root/tools; environment env stories;"
        " cat $root/env/install.log"
    )
    assert done.returncode == 0, done.stderr
    pins = tmp_path / "tools" / "constraints" / "stories.txt"
    assert f"\n{pins} {pins} -m pip install " in done.stdout


@pytest.mark.parametrize(
    ("version", "renewed"), [("23.2.1", True), ("25.0.1", True), ("25.1", False)]
)
def test_a_pip_without_groups_is_renewed(tmp_path: Path, version: str, renewed: bool) -> None:
    (tmp_path / "pip.py").write_text(
        f"__version__ = {version!r}\nimport sys\nprint(sys.argv[1:])\n"
    )
    done = functions(f"new_pip {sys.executable}", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert ("'pip==" in done.stdout) == renewed


def test_each_environment_is_made_of_extras_and_groups_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras, groups = project["project"]["optional-dependencies"], project["dependency-groups"]
    text = (ROOT / "tools" / "environment.sh").read_text(encoding="utf-8")
    named = re.findall(r"--group ([\w-]+)", text)
    assert set(named) == set(groups)
    for names in re.findall(r"'(?:-e )?\.\[([\w,]+)\]", text):
        assert set(names.split(",")) <= set(extras)
    # who develops is not who uses
    assert not set(groups) & set(extras) - {"ray"}


@pytest.mark.parametrize(
    ("arguments", "needs"),
    [((), True), (("tests/clients_js", "-x"), True), (("tests/test_sse.py", "-k", "bom"), False)],
)
def test_node_packages_are_for_the_tests_that_run_javascript(
    arguments: tuple[str, ...], needs: bool
) -> None:
    text = (ROOT / "tools" / "test").read_text(encoding="utf-8")
    (line,) = (line for line in text.splitlines() if "node_packages tests/clients_js" in line)
    done = functions(f"node_packages() {{ echo installs; }}; set -- {' '.join(arguments)}; {line}")
    assert done.returncode == 0, done.stderr
    assert bool(done.stdout) == needs


def test_what_lies_beside_is_demanded_where_it_is_said_to_be(tmp_path: Path) -> None:
    """In a stranger's clone its tests are skipped with the reason; with CI_SHARED they fail."""
    clone = tmp_path / "clone"
    (clone / "tests").mkdir(parents=True)
    for name in ("__init__.py", "shared.py", "test_conform.py"):
        shutil.copy(ROOT / "tests" / name, clone / "tests")

    def outcome(**variables: str) -> str:
        without = {key: value for key, value in os.environ.items() if key != "CI_SHARED"}
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-rs", "-pno:cacheprovider", "tests"],
            cwd=clone,
            capture_output=True,
            text=True,
            check=False,
            env={**without, **variables},
        ).stdout

    assert "../shared/conform.py, which lies beside the repository, is not here" in outcome()
    assert "2 skipped" in outcome()
    assert "2 failed" in outcome(CI_SHARED="required")
