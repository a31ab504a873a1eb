"""`SSESnapshotExtension` in somebody else's tests."""

from __future__ import annotations

import re

import pytest

from tests.conftest import DONE, HELLO, ROLE

pytest_plugins = ["pytester"]

TEST = """
import pytest
from normalizer.snapshots import SSESnapshotExtension

@pytest.fixture
def stream(snapshot):
    return snapshot.use_extension(SSESnapshotExtension)

def test_answer(stream):
    assert {data!r} == stream
"""


def run(pytester: pytest.Pytester, data: object, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(test_it=TEST.format(data=data))
    # Hypothesis would be loaded anew for each of them
    return pytester.runpytest("-pno:hypothesispytest", *arguments)


def kept(pytester: pytest.Pytester) -> bytes:
    return (pytester.path / "__snapshots__" / "test_it" / "test_answer.sse").read_bytes()


@pytest.mark.parametrize(
    ("data", "written"),
    [
        (ROLE + DONE, ROLE + DONE),
        ("data: ß\n\n", "data: ß\n\n".encode()),
        ([ROLE[:7], ROLE[7:], DONE], ROLE + DONE),
        (b"data: 1\r\n\r\n: \r\n", b"data: 1\r\n\r\n: \r\n"),
        (b"data: \xff\n\n", b"data: \xff\n\n"),
        (b"", b""),
    ],
)
def test_a_stream_is_kept_byte_for_byte(
    pytester: pytest.Pytester, data: object, written: bytes
) -> None:
    assert run(pytester, data, "--snapshot-update").ret == 0
    assert kept(pytester) == written
    assert run(pytester, data).ret == 0


def test_a_difference_is_shown_by_event(pytester: pytest.Pytester) -> None:
    run(pytester, ROLE + HELLO + DONE, "--snapshot-update")

    result = run(pytester, ROLE + HELLO.replace(b"Hello", b"Goodbye") + DONE)

    result.assert_outcomes(failed=1)
    changed = [line.split()[1] for line in result.outlines if re.match(r"E +[-+] data: ", line)]
    assert changed == ["-", "+"]


@pytest.mark.parametrize("before", [b"data: 1\n\n", b"data: 1\n\ndata: 2\r\n\r\n"])
def test_line_ends_count(pytester: pytest.Pytester, before: bytes) -> None:
    run(pytester, before, "--snapshot-update")

    run(pytester, before.replace(b"\n", b"\r\n")).assert_outcomes(failed=1)


def test_an_unused_snapshot_is_found(pytester: pytest.Pytester) -> None:
    run(pytester, DONE, "--snapshot-update")
    (pytester.path / "__snapshots__" / "test_it" / "test_gone.sse").write_bytes(DONE)

    result = run(pytester, DONE)

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*1 snapshot passed. 1 snapshot unused."])


@pytest.mark.parametrize("data", [7, None, ["data: a text\n\n"]])
def test_what_is_no_stream_is_refused(pytester: pytest.Pytester, data: object) -> None:
    result = run(pytester, data, "--snapshot-update")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*TypeError*"])
    assert not (pytester.path / "__snapshots__").exists()


# ---------------------------------------------------------------- pairs

PAIR = TEST.replace("SSESnapshotExtension", "SSEPairExtension")
LEFT = HELLO.replace(b"Hello", b"Hallo")


def run_pair(pytester: pytest.Pytester, data: object, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(test_it=PAIR.format(data=data))
    return pytester.runpytest("-pno:hypothesispytest", *arguments)


def pair(pytester: pytest.Pytester) -> str:
    path = pytester.path / "__snapshots__" / "test_it" / "test_answer.sse.diff"
    return path.read_bytes().decode("utf-8", "surrogateescape")


def side(text: str, sign: str) -> bytes:
    """One stream of a pair, as it was."""
    _, _, *lines = text.splitlines(keepends=True) if "\r" not in text else text.split("\n")
    if "\r" in text:
        lines = [f"{line}\n" for line in lines[:-1]]
    found = ""
    for at, line in enumerate(lines):
        if line[0] in (" ", sign):
            found += line[1:]
            if lines[at + 1 : at + 2] and lines[at + 1].startswith("\\"):
                found = found.removesuffix("\n")
    return found.encode("utf-8", "surrogateescape")


def test_a_pair_shows_what_came_beside_what_left(pytester: pytest.Pytester) -> None:
    assert (
        run_pair(pytester, (ROLE + HELLO + DONE, ROLE + LEFT + DONE), "--snapshot-update").ret == 0
    )

    text = pair(pytester)
    role, hello, left, done = (each.decode().strip() for each in (ROLE, HELLO, LEFT, DONE))
    assert text == (f"--- came\n+++ left\n {role}\n \n-{hello}\n-\n+{left}\n+\n {done}\n \n")
    assert run_pair(pytester, (ROLE + HELLO + DONE, ROLE + LEFT + DONE)).ret == 0
    run_pair(pytester, (ROLE + HELLO + DONE, ROLE + HELLO + DONE)).assert_outcomes(failed=1)


@pytest.mark.parametrize(
    ("came", "left"),
    [
        (ROLE + DONE, ROLE + DONE),
        (b"", ROLE),
        (ROLE, ROLE[:-2]),
        (ROLE[:-2], ROLE),
        (b"data: 1\r\n\r\n", b"data: 1\n\n"),
        (b"data: \xff\n\n", "data: \u00df\n\n".encode()),
        (b"\n\n\ndata: 1", b"data: 1\n\n\n\n"),
    ],
)
def test_a_pair_has_both_byte_for_byte(pytester: pytest.Pytester, came: bytes, left: bytes) -> None:
    assert run_pair(pytester, (came, left), "--snapshot-update").ret == 0

    assert side(pair(pytester), "-") == came
    assert side(pair(pytester), "+") == left
    assert run_pair(pytester, (came, left)).ret == 0


@pytest.mark.parametrize("data", [DONE, (DONE,), (DONE, 7), [DONE, DONE]])
def test_what_is_no_pair_is_refused(pytester: pytest.Pytester, data: object) -> None:
    result = run_pair(pytester, data, "--snapshot-update")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*TypeError*"])
