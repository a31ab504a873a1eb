"""The pytest plugin: answers that nobody asked for, and pytest-recording beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from normalizer.cassette import RecordingTransport, load
from tests.cassette.project import ONE, STREAM, Project

pytest_plugins = ["pytester"]

COLLECTION = sorted((Path(__file__).parents[2] / "cassettes").rglob("*.yaml"))


@pytest.fixture
def project(pytester: pytest.Pytester, serve: Callable[[Any], str]) -> Project:
    return Project(pytester, serve)


# ---------------------------------------------------------------- answers that nobody asked for


@pytest.mark.parametrize(
    ("set_in", "policy", "outcome"),
    [
        ("nothing", "fail", {"passed": 1, "errors": 1}),
        ("ini", "fail", {"passed": 1, "errors": 1}),
        ("ini", "warn", {"passed": 1, "warnings": 1}),
        ("ini", "allow", {"passed": 1}),
        ("marker", "fail", {"passed": 1, "errors": 1}),
        ("marker", "warn", {"passed": 1, "warnings": 1}),
        ("marker", "allow", {"passed": 1}),
    ],
)
def test_an_unplayed_answer(
    project: Project, set_in: str, policy: str, outcome: dict[str, int]
) -> None:
    project.record("test_one.yaml", "q", "unplayed")
    marked = f"@pytest.mark.stream_cassette(unplayed='{policy}')" if set_in == "marker" else ""
    project.write(marked + ONE)
    if set_in == "ini":
        project.pytester.makeini(f"[pytest]\nstream_cassette_unplayed = {policy}")

    for mode in ("none", "once"):
        result = project.run(f"--stream-record-mode={mode}")
        result.assert_outcomes(**outcome)
        if policy != "allow":
            result.stdout.fnmatch_lines(
                ["*the test left 1 of its recorded answers unplayed (POST http*"]
            )


def test_unplayed_answers_of_a_test_that_failed_are_not_told(project: Project) -> None:
    project.record("test_one.yaml", "q")
    project.write("def test_one(stream_cassette):\n    assert False")

    project.run().assert_outcomes(failed=1)


def test_who_records_needs_not_ask_for_the_old_answers(project: Project) -> None:
    project.record("test_one.yaml", "old")
    project.write(ONE)

    project.run("--stream-record-mode=new_episodes").assert_outcomes(passed=1)


def test_a_policy_that_is_none(project: Project) -> None:
    project.record("test_one.yaml", "q")
    project.write("@pytest.mark.stream_cassette(unplayed='no')" + ONE)

    result = project.run()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*stream_cassette: unplayed: 'no' is none of fail, warn, allow"])

    project.pytester.makeini("[pytest]\nstream_cassette_unplayed = no")
    assert project.run().ret == pytest.ExitCode.USAGE_ERROR


# ---------------------------------------------------------------- beside pytest-recording


def test_beside_pytest_recording(project: Project) -> None:
    project.record("test_stream.yaml", "q")
    project.write("""
@pytest.mark.vcr
def test_plain(record_mode):
    assert record_mode == "once"
    with httpx.Client() as client:
        client.post(URL, json={})

def test_stream(stream_cassette):
    assert stream_cassette.record_mode == "none"
    assert len(ask(stream_cassette.transport)) == 4
""")

    project.run("--record-mode=once").assert_outcomes(passed=2)

    assert project.asked == 1
    assert project.cassette("test_plain.yaml").exists()


def test_in_one_test_with_vcr(project: Project) -> None:
    project.record("streams.yaml", "q")
    project.write("""
@pytest.mark.vcr
@pytest.mark.stream_cassette("streams.yaml")
def test_both(stream_cassette):
    with httpx.Client() as client:
        assert client.post(URL, json={}).status_code == 200
    assert len(ask(stream_cassette.transport)) == 4
""")

    project.run("--record-mode=once").assert_outcomes(passed=1)
    project.run().assert_outcomes(passed=1)
    assert project.asked == 1


def test_pytest_recording_plays_what_we_recorded(project: Project) -> None:
    path = project.cassette("test_plain.yaml")
    with httpx.Client(transport=RecordingTransport(path), trust_env=False) as client:
        for question in ("one", "two"):
            answer = client.post(project.url, json={"q": question})
    project.write("""
@pytest.mark.vcr
def test_plain(record_mode):
    assert record_mode == "none"
    for question in ("one", "two"):
        with httpx.Client() as client:
            answer = client.post(URL, json={"q": question})
        assert answer.text.count("data:") == 4
        assert answer.headers["content-type"].startswith("text/event-stream")
""")

    result = project.pytester.runpytest_subprocess("--record-mode=none", "-pno:hypothesispytest")

    result.assert_outcomes(passed=1)
    assert answer.content == b"".join(STREAM)
    assert project.asked == 2
    assert load(path).metadata.origin == "recorded"


@pytest.mark.parametrize(
    "path", COLLECTION[::6], ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_pytest_recording_plays_the_collection(path: Path, pytester: pytest.Pytester) -> None:
    asked = load(path).interactions[0].request
    folder = pytester.mkdir("cassettes").joinpath("test_it")
    folder.mkdir()
    (folder / "test_one.yaml").write_bytes(path.read_bytes())
    pytester.makepyfile(
        test_it=f"""
import httpx, pytest

@pytest.mark.vcr
def test_one():
    answer = httpx.request({asked.method!r}, {asked.uri!r}, content={asked.body!r})
    assert answer.content == {load(path).interactions[0].response.body!r}
"""
    )

    result = pytester.runpytest_subprocess("--record-mode=none", "-pno:hypothesispytest")

    result.assert_outcomes(passed=1)


def test_two_recorders_are_kept_from_one_file(project: Project) -> None:
    project.write("@pytest.mark.vcr" + ONE)

    result = project.run("--stream-record-mode=once")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*vcr and stream_cassette would both record to it*"])


def test_without_pytest_recording(project: Project) -> None:
    project.record("test_one.yaml", "q")
    project.write(ONE)

    project.run("-p", "no:recording").assert_outcomes(passed=1)


def test_a_session_without_cassettes_imports_no_library(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import sys\n"
        "def test_it():\n"
        "    assert not {'httpx', 'httpx2', 'vcr', 'yaml', 'syrupy', 'click'} & set(sys.modules)\n"
    )

    others = ("recording", "syrupy", "anyio", "hypothesispytest")
    result = pytester.runpytest_subprocess(*(f"-pno:{name}" for name in others))

    result.assert_outcomes(passed=1)
