"""pytest plugin: each test has its own cassette, and streams in it stay streams.

    @pytest.mark.stream_cassette(pace="recorded")
    def test_answer(stream_cassette):
        client = httpx.Client(transport=stream_cassette.transport)
        with client.stream("POST", "https://api.openai.com/v1/chat/completions", json=…) as answer:
            ...

``pytest --stream-record-mode=once`` records tests without a cassette. Without the option nothing is
sent. The words of the option, and the folders and names of the cassettes, are those of
pytest-recording. The names of options and fixtures differ, so both plugins can be installed.
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from normalizer.cassette import Interaction, ReplayTransport

RECORD_MODES = ("none", "once", "new_episodes", "all", "rewrite")
UNPLAYED = ("fail", "warn", "allow")

# for the fixture, which runs on behind the test and does not see how that ended
_passed = pytest.StashKey[bool]()


@dataclasses.dataclass(frozen=True, slots=True)
class StreamCassette:
    """The value of the fixture ``stream_cassette``.

    * ``path``: the file.
    * ``record_mode``: one of pytest-recording's words.
    * ``transport``: for ``httpx.Client``, ``httpx.AsyncClient``, ``httpx2.Client`` and
      ``httpx2.AsyncClient``, and so for libraries that accept such a client (openai's
      ``http_client``).
    """

    path: Path
    record_mode: str
    transport: ReplayTransport

    @property
    def unplayed(self) -> tuple[Interaction, ...]:
        """The recorded interactions that the test has not requested yet."""
        return self.transport.unplayed


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("stream-normalizer", "cassettes of streams")
    group.addoption(
        "--stream-record-mode",
        choices=RECORD_MODES,
        default=None,
        help="none (the default): send nothing, play the cassettes. once: record tests without a"
        " cassette. new_episodes: record requests without an answer. all, rewrite: record all"
        " again.",
    )
    parser.addini(
        "stream_cassette_unplayed",
        "A test passes, but leaves recorded answers unplayed: fail (default), warn or allow.",
        default="fail",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "stream_cassette(path=None, *, unplayed=None, record_mode=None, **options): set how the"
        " fixture stream_cassette plays and records. path is relative to the cassette folder of the"
        " test. The options are those of normalizer.cassette.ReplayTransport (pace, split, …).",
    )
    _one_of(UNPLAYED, config.getini("stream_cassette_unplayed"), "stream_cassette_unplayed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "call":
        item.stash[_passed] = report.passed
    return report


@pytest.fixture(scope="module")
def stream_cassette_dir(request: pytest.FixtureRequest) -> Path:
    """Return the folder of the cassettes of a module. Override it to change the folder."""
    return request.path.parent / "cassettes" / request.path.stem


@pytest.fixture
def stream_cassette_name(request: pytest.FixtureRequest) -> str:
    """Return the name of the cassette of a test, without ``.yaml``. Override it to change it."""
    name = (
        request.node.name if request.cls is None else f"{request.cls.__name__}.{request.node.name}"
    )
    # the characters that pytest-recording replaces, so that a test has one name for both
    return re.sub(r"[<>?%*:|\"'/\\]", "-", name)


@pytest.fixture
def stream_cassette_config() -> dict[str, Any]:
    """Return options for all markers, most often filters. Override it.

    Example::

        @pytest.fixture
        def stream_cassette_config():
            return {"filter_sensitive_data": {"<USER>": "alice"}}
    """
    return {}


@pytest.fixture
def stream_cassette(
    request: pytest.FixtureRequest,
    stream_cassette_dir: Path,
    stream_cassette_name: str,
    stream_cassette_config: dict[str, Any],
) -> Iterator[StreamCassette]:
    """The cassette of a test. --stream-record-mode decides whether it plays or records."""
    given = _marked(request.node.get_closest_marker("stream_cassette"), stream_cassette_config)
    named, unplayed, of_marker = (
        given.pop(key, None) for key in ("path", "unplayed", "record_mode")
    )
    unplayed = unplayed or request.config.getini("stream_cassette_unplayed")
    _one_of(UNPLAYED, unplayed, "stream_cassette: unplayed")
    mode: Any = request.config.getoption("--stream-record-mode") or of_marker or "none"
    _one_of(RECORD_MODES, mode, "stream_cassette: record_mode")

    path = Path(stream_cassette_dir) / (named or f"{stream_cassette_name}.yaml")
    there = path.exists()
    if mode == "none" and not there:
        _fail(f"{path} does not exist; record it with --stream-record-mode=once")
    if named is None and mode != "none" and request.node.get_closest_marker("vcr"):
        _fail(
            f"{path}: vcr and stream_cassette would both record to it; set a path for one of them"
        )
    # Imported here, because pytest loads this module in every session of every user.
    try:
        from normalizer.cassette import ReplayTransport
    except ModuleNotFoundError as error:
        _fail(f"stream_cassette needs {error.name}: pip install 'stream-normalizer[cassette]'")
    transport = ReplayTransport(path, record_mode=mode, **given)
    yield StreamCassette(path, mode, transport)
    transport.close()
    # if it recorded, the test may have received new answers instead
    played = mode == "none" or (mode == "once" and there)
    if played and unplayed != "allow" and request.node.stash.get(_passed, False):
        _check_unplayed(path, transport.unplayed, unplayed)


def _marked(marker: pytest.Mark | None, config: dict[str, Any]) -> dict[str, Any]:
    given = dict(config)
    if marker is not None:
        if len(marker.args) > 1:
            raise pytest.UsageError("stream_cassette: only the path can be given without a keyword")
        given |= dict(zip(("path",), marker.args, strict=False))
        given |= marker.kwargs
    return given


def _one_of(words: tuple[str, ...], word: Any, where: str) -> None:
    if word not in words:
        raise pytest.UsageError(f"{where}: {word!r} is none of {', '.join(words)}")


def _check_unplayed(path: Path, left: tuple[Interaction, ...], policy: str) -> None:
    if not left:
        return
    asked = ", ".join(f"{each.request.method} {each.request.uri}" for each in left[:3])
    text = (
        f"{path}: the test left {len(left)} of its recorded answers unplayed ({asked}"
        f"{', …' if len(left) > 3 else ''}); record it again with --stream-record-mode=rewrite, or"
        " set unplayed='allow'"
    )
    if policy == "fail":
        _fail(text)
    warnings.warn(pytest.PytestWarning(text), stacklevel=2)


def _fail(text: str) -> NoReturn:
    pytest.fail(text, pytrace=False)
