"""Real software in processes of their own: OptiLLM, a browser, the proxy between them."""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

import pytest

from normalizer.cassette import replay_app
from normalizer.cassette.format import load
from tests.conftest import PATIENCE, ASGIApp
from tests.proxy.conftest import Proxied

ROOT = Path(__file__).parents[2]
CASSETTES = ROOT / "cassettes"
OPTILLM = ROOT / ".venv-optillm" / "bin" / "optillm"
CHROMIUM = Path("/usr/bin/chromium")
NODE_MODULES = Path(__file__).parent / "node_modules"

Ask = Callable[..., dict[str, Any]]
Serve = Callable[[ASGIApp], str]


def missing(what: str) -> NoReturn:
    """Skip, on a machine that cannot have ``what``; in CI, where nothing may be skipped, fail."""
    reason = f"{what} is not here; tools/test installs it where it can"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)


def asked(name: str) -> dict[str, Any]:
    """The body of the request that a cassette was recorded with."""
    (interaction,) = load(CASSETTES / f"{name}.yaml").interactions
    request: dict[str, Any] = json.loads(interaction.request.body)
    return request


class Lines:
    """The lines of a process's output, read in a thread so that it never blocks."""

    def __init__(self, output: IO[str]) -> None:
        self._output = output
        self._said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self._output:
            self._lines.put(line)
        self._lines.put(None)

    def next(self, pattern: str = "") -> re.Match[str]:
        """The next line that has ``pattern`` in it; fails if there will be none."""
        while True:
            try:
                line = self._lines.get(timeout=3 * PATIENCE)
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"never said {pattern!r}, but:\n{''.join(self._said)}")
            self._said.append(line)
            if match := re.search(pattern, line):
                return match

    def close(self) -> None:
        self._reader.join()
        self._output.close()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def replayed(serve: Serve) -> Callable[[str], str]:
    """Plays a cassette from a server; the server's URL."""
    return lambda name: serve(replay_app(CASSETTES / f"{name}.yaml", allow_playback_repeats=True))


@pytest.fixture
def proxy() -> Iterator[Callable[..., Proxied]]:
    """Starts `stream-normalizer serve` before an upstream, with further options."""
    running: list[Proxied] = []

    def proxy(upstream: str, *options: str) -> Proxied:
        running.append(Proxied("--upstream", f"{upstream}/v1", *options))
        return running[-1]

    yield proxy
    for one in running:
        one.stop()


@pytest.fixture(scope="module")
def optillm(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], str]]:
    """Starts OptiLLM before an upstream; its URL."""
    if not OPTILLM.exists():
        missing("OptiLLM (.venv-optillm)")
    running: list[tuple[subprocess.Popen[str], Lines]] = []
    home = str(tmp_path_factory.mktemp("optillm"))

    def start(upstream: str) -> str:
        process = subprocess.Popen(
            [OPTILLM, "--host", "127.0.0.1", "--port", "0", "--base-url", f"{upstream}/v1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=home,
            # It keeps files at home; with another provider's key it would ask that one.
            env={
                **{name: value for name, value in os.environ.items() if "API_KEY" not in name},
                "HOME": home,
                "NO_PROXY": "*",
                "OPENAI_API_KEY": "sk-none",
            },
        )
        assert process.stdout is not None
        lines = Lines(process.stdout)
        running.append((process, lines))
        return lines.next(r"Running on (http://[\d.:]+)")[1]

    yield start
    for process, lines in running:
        process.terminate()
        process.wait()
        lines.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium, for pages of our own."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        missing(str(CHROMIUM))
    with sync_api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Asks at a chat page in a browser; what the page asked for, and what it shows."""
    if not CHROMIUM.exists():
        missing(str(CHROMIUM))
    node = shutil.which("node")
    if node is None:
        missing("node")
    if not (NODE_MODULES / "playwright-core").exists() or not (NODE_MODULES / "deep-chat").exists():
        missing("tests/stories/node_modules")
    process = subprocess.Popen(
        [node, str(Path(__file__).parent / "browser.mjs"), str(CHROMIUM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    lines, stdin = Lines(process.stdout), process.stdin

    def ask(url: str, question: str, *, model: str) -> dict[str, Any]:
        asked = {"url": url, "question": question, "model": model}
        stdin.write(json.dumps(asked) + "\n")
        stdin.flush()
        outcome: dict[str, Any] = json.loads(lines.next(r"^{.*}$")[0])
        assert "failed" not in outcome, outcome
        return outcome

    yield ask
    stdin.close()
    process.wait()
    lines.close()
