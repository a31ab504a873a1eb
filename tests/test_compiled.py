"""The package as mypyc compiles it (`tools/test --compiled`): all of it, and it does the same.

Everywhere else these tests are skipped. Which other tests run against it is said in tools/test, and
which of those cannot in tests/compiled.py.
"""

from __future__ import annotations

import fnmatch
import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.compiled import COMPILED

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not COMPILED and "COMPILED" not in os.environ, reason="the package is not compiled"
)


def test_every_module_that_is_to_be_compiled_is() -> None:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    hook = configuration["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
    sources = {path for pattern in hook["include"] for path in ROOT.glob(pattern)}
    assert len(sources) > 100
    for path in sorted(sources):
        name = path.relative_to(ROOT).as_posix()
        pure = any(fnmatch.fnmatch(name, pattern) for pattern in hook["exclude"])
        module = importlib.util.find_spec(
            name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        )
        assert module is not None, name
        assert str(module.origin).endswith(".py") is pure, name


def outcomes(**environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "outcomes.py"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONHASHSEED": "0",
            "PYTHONSAFEPATH": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_every_recorded_stream_has_the_same_bytes_and_codes() -> None:
    compiled, *ours = outcomes()
    pure, *theirs = outcomes(PYTHONPATH=str(ROOT))
    assert not compiled.endswith(".py")
    assert pure == str(ROOT / "normalizer" / "core" / "template.py")
    assert len(ours) > 100
    assert ours == theirs
