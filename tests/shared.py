"""What lies beside some checkouts: the judges, and the recorded streams that they judge by."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


def beside(name: str) -> Path:
    """A file or folder of ``../shared``; skips the test where there is none.

    With ``CI_SHARED=required`` it fails instead: `.ci/run` sets it where ``../shared`` exists, so
    that a green run there means that the judges ran.
    """
    path = SHARED / name
    if not path.exists():
        (pytest.fail if os.environ.get("CI_SHARED") == "required" else pytest.skip)(
            f"../shared/{name}, which lies beside the repository, is not here"
        )
    return path
