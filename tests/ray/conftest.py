"""Real Ray on this machine: one instance for all tests, ended with everything that it started."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stories.conftest import missing

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def started() -> Iterator[None]:
    """Start Ray. Its processes find the examples of ``deploy``."""
    if importlib.util.find_spec("ray") is None:
        missing("ray (.venv-ray)")
    import ray

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        # for the driver, and for the processes that Ray starts
        patch.setenv("PYTHONPATH", str(ROOT / "deploy"))
        patch.setattr(sys, "path", [str(ROOT / "deploy"), *sys.path])
        ray.init(
            "local",
            num_cpus=1,  # and so one process for the tasks of Ray Data
            object_store_memory=100 * 1024 * 1024,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            _temp_dir=folder,
        )
        try:
            yield
        finally:
            ray.shutdown()
