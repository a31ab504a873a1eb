"""The vendors' own clients and programs, between an upstream that deviates and its user.

Their licences are not ours, so nothing of them is in this repository: `tools/test` installs them,
each in the version that tools/constraints/vendors.txt and package-lock.json name. A program that is
not there skips its tests; in CI, where all of them are installed, that is a failure.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stories.conftest import missing

HERE = Path(__file__).parent
NODE_MODULES = HERE / "node_modules"


def demand(*modules: str) -> None:
    """Skip the tests of a file where one of these Python modules is missing; fail in CI."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            missing(f"{module} (.venv-vendors)")


def node() -> str:
    """The path of node, where the packages that it runs are installed too."""
    path = shutil.which("node")
    if path is None:
        missing("node")
    if not NODE_MODULES.is_dir():
        missing("tests/vendors/node_modules")
    return path


def alone(home: Path, **variables: str) -> dict[str, str]:
    """An environment in which a program finds no settings, proxies and keys but those given."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().endswith(("_PROXY", "_KEY", "_TOKEN", "_BASE_URL"))
    }
    return {**kept, "HOME": str(home), "NO_PROXY": "*", **variables}


@pytest.fixture(scope="module", autouse=True)
def _alone() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        yield
