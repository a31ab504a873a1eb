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
