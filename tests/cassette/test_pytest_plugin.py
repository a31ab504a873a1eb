"""The pytest plugin in somebody else's tests: recording, playing, folders and names."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from normalizer.cassette.format import load
from tests.cassette.project import ONE, STREAM, Project

pytest_plugins = ["pytester"]


@pytest.fixture
def project(pytester: pytest.Pytester, serve: Callable[[Any], str]) -> Project:
    return Project(pytester, serve)


def test_it_is_an_entry_point() -> None:
    (entry,) = (
        entry
        for entry in importlib.metadata.entry_points(group="pytest11")
        if entry.value == "normalizer.pytest_plugin"
    )
    assert entry.name == "stream-normalizer"


# ---------------------------------------------------------------- recording, word by word


def test_once_records_and_none_plays(project: Project) -> None:
    project.write(ONE)

    project.run("--stream-record-mode=once").assert_outcomes(passed=1)
    assert project.asked == 1
    assert load(project.cassette("test_one.yaml")).interactions[0].response.chunks == STREAM
    project.run().assert_outcomes(passed=1)
    assert project.asked == 1


def test_none_fails_without_a_cassette(project: Project) -> None:
    project.write(ONE)

    result = project.run()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*test_one.yaml does not exist; record it with --stream-record-mode=once"]
    )
    assert project.asked == 0
    assert not project.cassette("test_one.yaml").exists()


TWO = """
def test_one(stream_cassette):
    ask(stream_cassette.transport, question="old")
    ask(stream_cassette.transport, question="new")
"""


@pytest.mark.parametrize(
    ("mode", "passes", "asked", "kept"),
    [
        ("none", False, 0, ["old"]),
        ("once", False, 0, ["old"]),
        ("new_episodes", True, 1, ["old", "new"]),
        ("all", True, 2, ["old", "new"]),
        ("rewrite", True, 2, ["old", "new"]),
    ],
)
def test_each_word_on_a_cassette_that_lacks_an_answer(
    project: Project, mode: str, passes: bool, asked: int, kept: list[str]
) -> None:
    project.record("test_one.yaml", "old")
    project.write(TWO)

    project.run(f"--stream-record-mode={mode}").assert_outcomes(passed=passes, failed=not passes)

    assert project.asked == asked
    assert project.questions("test_one.yaml") == kept


@pytest.mark.parametrize("mode", ["all", "rewrite"])
def test_what_is_rewritten_is_gone(project: Project, mode: str) -> None:
    project.record("test_one.yaml", "gone")
    project.write(ONE)

    project.run(f"--stream-record-mode={mode}").assert_outcomes(passed=1)

    assert project.questions("test_one.yaml") == ["q"]


def test_the_option_comes_before_the_marker(project: Project) -> None:
    project.write("@pytest.mark.stream_cassette(record_mode='once')" + ONE)

    project.run("--stream-record-mode=none").assert_outcomes(errors=1)
    project.run().assert_outcomes(passed=1)
    assert project.asked == 1


def test_a_word_that_is_none(project: Project) -> None:
    project.write(ONE)

    result = project.run("--stream-record-mode=sometimes")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--stream-record-mode: invalid choice: 'sometimes'*"])


# ---------------------------------------------------------------- playing


def test_all_four_clients(project: Project) -> None:
    project.record("test_all.yaml", "q", "q", "q", "q")
    project.write("""
def test_all(stream_cassette):
    for library in (httpx, httpx2):
        assert len(ask(stream_cassette.transport, library)) == 4
        assert len(asyncio.run(aask(stream_cassette.transport, library))) == 4
    assert stream_cassette.unplayed == ()
""")

    project.run().assert_outcomes(passed=1)
    assert project.asked == 0


def test_the_marker_splits_paces_and_breaks(project: Project) -> None:
    for name in ("test_split", "test_pace", "test_cut"):
        project.record(f"{name}.yaml", "q")
    project.write("""
from normalizer.cassette.faults import Cut

@pytest.mark.stream_cassette(split="bytes")
def test_split(stream_cassette):
    assert {len(piece) for piece in ask(stream_cassette.transport)} == {1}

@pytest.mark.stream_cassette(pace=0.5)
def test_pace(stream_cassette, monkeypatch):
    waited = []
    monkeypatch.setattr("normalizer.cassette._playing.sleep", waited.append)
    ask(stream_cassette.transport)
    assert sum(waited) > 0

@pytest.mark.stream_cassette(faults=[Cut(after_events=2)])
def test_cut(stream_cassette):
    with pytest.raises(httpx.RemoteProtocolError):
        ask(stream_cassette.transport)
""")

    project.run().assert_outcomes(passed=3)


def test_another_question_says_what_differs(project: Project) -> None:
    project.record("test_one.yaml", "other")
    project.write(ONE)

    result = project.run()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['*body.q: "other" was recorded, "q" is asked*'])


def test_an_option_that_is_none(project: Project) -> None:
    project.record("test_one.yaml", "q")
    project.write("@pytest.mark.stream_cassette(paec=1)" + ONE)

    result = project.run()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*TypeError: no such option: paec"])


# ---------------------------------------------------------------- folders and names


def test_names_are_pytest_recordings(project: Project) -> None:
    project.write("""
class TestChat:
    @pytest.mark.parametrize("name", ["a/b", "plain"])
    def test_one(self, stream_cassette, name, vcr_cassette_dir, default_cassette_name):
        assert str(stream_cassette.path.parent) == vcr_cassette_dir
        assert stream_cassette.path.name == default_cassette_name + ".yaml"
        ask(stream_cassette.transport)
""")

    project.run("--stream-record-mode=once").assert_outcomes(passed=2)

    assert project.cassette("TestChat.test_one[a-b].yaml").exists()
    assert project.cassette("TestChat.test_one[plain].yaml").exists()


def test_a_path_is_below_the_folder(project: Project) -> None:
    project.record("shared/chat.yaml", "q")
    project.write("@pytest.mark.stream_cassette('shared/chat.yaml')" + ONE)

    project.run().assert_outcomes(passed=1)


def test_an_absolute_path(project: Project, tmp_path: Path) -> None:
    project.record(str(tmp_path / "chat.yaml"), "q")
    project.write(f"@pytest.mark.stream_cassette(path={str(tmp_path / 'chat.yaml')!r})" + ONE)

    project.run().assert_outcomes(passed=1)


def test_folder_name_and_options_can_be_overridden(project: Project) -> None:
    project.write(
        """
@pytest.fixture(scope="module")
def stream_cassette_dir(tmp_path_factory):
    return str(tmp_path_factory.getbasetemp() / "kept")

@pytest.fixture
def stream_cassette_name(request):
    return "of-" + request.node.name

@pytest.fixture
def stream_cassette_config():
    return {"filter_sensitive_data": {"<WORD>": "password-of-alice"}, "split": "bytes"}

@pytest.mark.stream_cassette(split="events", record_mode="once")
def test_one(stream_cassette, request, tmp_path_factory):
    assert len(ask(stream_cassette.transport, question="password-of-alice")) == 4
    path = tmp_path_factory.getbasetemp() / "kept" / "of-test_one.yaml"
    assert stream_cassette.path == path
    assert "<WORD>" in path.read_text()
    assert "alice" not in path.read_text()
"""
    )

    project.run().assert_outcomes(passed=1)


def test_the_marker_comes_before_the_fixture_of_options(project: Project) -> None:
    project.record("test_one.yaml", "q")
    project.write("""
@pytest.fixture
def stream_cassette_config():
    return {"split": "bytes", "unplayed": "warn", "path": "nowhere.yaml"}

@pytest.mark.stream_cassette("test_one.yaml", split="events", unplayed="fail")
def test_one(stream_cassette):
    assert len(ask(stream_cassette.transport)) == 4
""")

    project.run().assert_outcomes(passed=1)


def test_what_a_test_left_open_is_closed_behind_it(project: Project) -> None:
    project.write("""
left = []

def test_one(stream_cassette):
    client = httpx.Client(transport=stream_cassette.transport)
    left.append(client)
    answer = client.send(client.build_request("POST", URL, json={}), stream=True)
    left.append(answer.iter_raw())
    next(left[-1])

def test_two():
    folder = next(iter(__import__("pathlib").Path().glob("cassettes/test_it")))
    assert [path.name for path in folder.iterdir()] == ["test_one.yaml"]
""")

    project.run("--stream-record-mode=once").assert_outcomes(passed=2)
