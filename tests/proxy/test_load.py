"""A thousand streams, all of them open at once, without an error."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "load"


@pytest.mark.skipif(
    os.environ.get("CI") != "true" and 0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2500,
    reason="the system allows too few open files",
)
@pytest.mark.parametrize("args", [(), ("--dirty", "--workers", "2")])
def test_a_thousand_streams_at_once(args: tuple[str, ...]) -> None:
    given = ("--streams", "1000", "--events", "4", "--interval", "0.1", *args)
    done = subprocess.run(
        [sys.executable, str(TOOL), *given], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counted = [line.split()[-4] for line in done.stdout.splitlines()[2:4]]
    assert counted == ["0", "0"], done.stdout
