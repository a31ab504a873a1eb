"""The Dockerfile, step by step, in processes of this machine: few machines of tests have a daemon.

The files are those that .dockerignore lets through, pip runs as RUN says, and the result runs as
ENTRYPOINT and HEALTHCHECK say, without this checkout and without this environment's packages. What
is not tested is the base image, and what Docker itself does.
"""

from __future__ import annotations

import fnmatch
import importlib.metadata
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.conftest import CHAT, PATIENCE, STREAM, STREAMED, ASGIApp, Gate, answering
from tests.deploy.dockerfile import ROOT, Instruction, instructions, stages

BUILD, IMAGE = stages()
STOP_SIGNAL = next(signal.Signals[one.value] for one in IMAGE if one.name == "STOPSIGNAL")
UNSPACED = STREAM.replace(b"data: ", b"data:")
_MINUTES = 300.0  # seconds in which pip is done, also on a slow network


def only(stage: list[Instruction], name: str) -> list[str]:
    """The words of the one instruction with this name."""
    (found,) = (one.value for one in stage if one.name == name)
    return shlex.split(found) if isinstance(found, str) else found


def admitted(name: Path) -> bool:
    """Whether .dockerignore lets a file into the build. The last line that matches decides."""
    found = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        parts = name.parts if "**/" in line else [str(one) for one in (name, *name.parents)]
        if not line.startswith("#") and any(fnmatch.fnmatchcase(one, pattern) for one in parts):
            found = line.startswith("!")
    return found


def copy(sources: list[str], work: Path, target: str) -> None:
    """As COPY: a file into the folder or under the name, and what is in a folder."""
    for source in [path for pattern in sources for path in ROOT.glob(pattern)]:
        inside = source.is_dir()
        for path in [one for one in source.rglob("*") if one.is_file()] if inside else [source]:
            if admitted(path.relative_to(ROOT)):
                name = path.relative_to(source) if inside else ""
                into = work / target / (path.name if target.endswith("/") else name)
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, into)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that is /app in the image."""
    work, app = tmp_path_factory.mktemp("src"), tmp_path_factory.mktemp("app")
    for *sources, target in (one.value for one in BUILD if one.name == "COPY"):
        copy(sources, work, target)
    variables = (one.replace("/src", str(work)).split("=", 1) for one in only(BUILD, "ENV"))
    command = only(BUILD, "RUN")
    command[command.index("/app")] = str(app)
    done = subprocess.run(
        [sys.executable if word == "python" else word for word in command],
        cwd=work,
        env={**os.environ, **dict(variables)},
        capture_output=True,
        text=True,
        check=False,
        timeout=_MINUTES,
    )
    assert done.returncode == 0, done.stderr
    return app


class Container:
    """A process that runs as the image says, on a port of its own."""

    def __init__(self, app: Path, *arguments: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = str(free.getsockname()[1])
        variables = dict(one.replace("/app", str(app)).split("=", 1) for one in only(IMAGE, "ENV"))
        # nothing of this environment, and no home
        self._environ = {"PATH": os.defpath, "HOME": "/nonexistent", **variables}
        self._app = app
        self.url = f"http://127.0.0.1:{self._port}"
        self.process = subprocess.Popen(
            [*self._own("ENTRYPOINT"), *arguments],
            cwd=app,
            env=self._environ,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _own(self, name: str) -> list[str]:
        # without the packages of a virtual environment
        python = f"{sys.base_prefix}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
        words = [word.replace("8900", self._port) for word in only(IMAGE, name)]
        assert words[0] == "python"
        return [python, *words[1:]]

    def healthy(self) -> bool:
        """Whether HEALTHCHECK's command succeeds."""
        command = self._own("HEALTHCHECK")
        done = subprocess.run(command, env=self._environ, capture_output=True, check=False)
        return done.returncode == 0

    def ready(self) -> None:
        """Wait until it is listening, and then healthy."""
        assert self.process.stderr is not None
        assert any("Ctrl-C" in line for line in self.process.stderr)
        assert self.healthy()

    def ended(self) -> int:
        """Its exit code, or the signal that ended it: uvicorn repeats the one that it got."""
        return self.process.wait(PATIENCE)

    def remove(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def run(built: Path) -> Iterator[Callable[..., Container]]:
    started: list[Container] = []

    def start(*arguments: str) -> Container:
        started.append(Container(built, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.remove()


def test_it_serves_while_it_is_healthy(
    run: Callable[..., Container], serve: Callable[[ASGIApp], str]
) -> None:
    container = run("--upstream", serve(answering(UNSPACED)))
    container.ready()
    with httpx2.Client(trust_env=False) as client:
        assert client.post(container.url + CHAT, json=STREAMED).content == STREAM
        # for which the extra `metrics` is installed
        assert "normalizer_streams_total" in client.get(container.url + "/metrics").text
    container.process.send_signal(STOP_SIGNAL)
    assert container.ended() == -STOP_SIGNAL
    assert not container.healthy()


def test_a_stop_lets_open_streams_end(
    run: Callable[..., Container], serve: Callable[[ASGIApp], str]
) -> None:
    gate = Gate()
    half = len(UNSPACED) // 2
    upstream = serve(answering(UNSPACED[:half], gate.passed, UNSPACED[half:]))
    container = run("--upstream", upstream)
    container.ready()
    came = b""
    with (
        httpx2.Client(trust_env=False, timeout=PATIENCE) as client,
        client.stream("POST", container.url + CHAT, json=STREAMED) as answer,
    ):
        pieces = answer.iter_raw()
        came += next(pieces)
        container.process.send_signal(STOP_SIGNAL)
        while container.healthy():
            pass
        gate.open()
        came += b"".join(pieces)
    assert came == STREAM
    assert container.ended() == -STOP_SIGNAL


def test_without_arguments_it_explains_itself(run: Callable[..., Container]) -> None:
    assert only(IMAGE, "CMD") == ["--help"]
    container = run(*only(IMAGE, "CMD"))
    assert container.ended() == 0


def test_the_versions_are_those_of_the_tests(built: Path) -> None:
    (pins,) = (one for one in instructions() if one.value[-1:] == ["constraints.txt"])
    wanted = dict(
        line.split("==")
        for line in (ROOT / pins.value[0]).read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    found = {
        re.sub(r"[-_.]+", "-", one.name).lower(): one.version
        for one in importlib.metadata.distributions(path=[str(built)])
    }
    assert found.pop("stream-normalizer")
    assert {name: wanted.get(name) for name in found} == found
    assert {"aiohttp", "orjson", "uvicorn", "prometheus-client"} <= set(found)


def test_the_build_gets_what_it_copies_and_no_more() -> None:
    for name in ("normalizer/py.typed", "pyproject.toml", "tools/constraints/test.txt"):
        assert admitted(Path(name)), name
    for name in (".git/config", ".venv/bin/python", "tests/conftest.py", "tools/test", ".env"):
        assert not admitted(Path(name)), name
    assert not admitted(Path("normalizer/__pycache__/batch.cpython-311.pyc"))


def test_the_base_is_pinned_and_the_user_chooses_where_it_comes_from() -> None:
    first = instructions()[0]
    assert first.name == "ARG"
    # a version and a release of Debian, and no host of a registry
    assert re.fullmatch(r"BASE=python:3\.\d+\.\d+-slim-[a-z]+", first.value)
    assert [stage[0].value for stage in (BUILD, IMAGE)] == ["${BASE} AS build", "${BASE}"]
    assert [one.value for one in IMAGE if one.name == "COPY"] == [["--from=build", "/app", "/app"]]


def test_it_is_no_root_and_gets_the_signals() -> None:
    user, group = only(IMAGE, "USER")[0].split(":")
    assert int(user) > 0 < int(group)
    # The exec form: the process is number 1, with no shell that keeps the signals to itself.
    assert only(IMAGE, "ENTRYPOINT")[:4] == ["python", "-m", "normalizer", "serve"]
