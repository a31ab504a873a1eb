"""Runs the command line, in this process or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from normalizer.cli.group import normalizer

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Runs `normalizer` with arguments, in this process; what it said and its exit code."""

    def run(*args: str, stdin: bytes = b"", environ: dict[str, str] | None = None) -> Result:
        runner = CliRunner(env={"COLUMNS": "100", **(environ or {})})
        result = runner.invoke(normalizer, args, input=stdin, prog_name="stream-normalizer")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def start() -> Any:
    """Starts `python -m normalizer` with arguments and pipes; ended behind the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*args: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "normalizer", *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ,
            bufsize=0,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
