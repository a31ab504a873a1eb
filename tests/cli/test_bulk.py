"""Many files and long files: `check` and `normalize` in bulk."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from normalizer import Normalizer, RequestInfo
from normalizer.cli import jobs
from normalizer.cli.check import sources
from normalizer.cli.check.lint import EVENTS_NAMED, Answer, Linted, lint
from normalizer.cli.group import Failure
from tests.cli.conftest import Run
from tests.conftest import DONE, HELLO, PATIENCE, ROLE, STOP, STREAM

Start = Callable[..., "subprocess.Popen[bytes]"]

CHAT = RequestInfo(endpoint="chat")
# The time of all events but the first one differs: a deviation in each of them.
LATER = HELLO.replace(b"1700000000", b"1700000001")


def stream_of(size: int, event: bytes = HELLO) -> bytes:
    """A stream of at least so many bytes."""
    return ROLE + event * (size // len(event)) + STOP + DONE


@pytest.fixture
def streams(tmp_path: Path) -> Path:
    """A folder of streams whose names say their number of events."""
    folder = tmp_path / "streams"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02}.sse").write_bytes(ROLE + HELLO * number + STOP + DONE)
    return folder


# --- long streams ---------------------------------------------------------------------------------


def peak(run: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("event", [HELLO, LATER])
def test_check_takes_no_more_memory_for_a_longer_stream(
    run: Run, tmp_path: Path, event: bytes
) -> None:
    path = tmp_path / "long.sse"

    def check() -> None:
        assert run("check", str(path)).exit_code == (event is LATER)

    path.write_bytes(stream_of(2_000_000, event))
    check()  # what is imported and compiled once does not count
    short = peak(check)
    path.write_bytes(stream_of(20_000_000, event))
    assert peak(check) < short + 1_000_000


def test_normalize_takes_no_more_memory_for_a_longer_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "long.sse"

    def normalize() -> None:
        assert run("normalize", str(path), "-o", str(tmp_path / "out")).exit_code == 0

    path.write_bytes(stream_of(1_000_000))
    normalize()
    short = peak(normalize)
    path.write_bytes(stream_of(10_000_000))
    assert peak(normalize) < short + 1_000_000
    assert (tmp_path / "out" / "long.sse").read_bytes() == path.read_bytes()


def test_no_more_is_read_at_once_than_a_piece(tmp_path: Path) -> None:
    path = tmp_path / "long.sse"
    path.write_bytes(stream_of(3 * sources.PIECE))
    answers = sources.answers(str(path), None)
    answer = next(answers)
    pieces = [answer.body, *answer.rest]
    assert max(map(len, pieces)) <= sources.PIECE + sources._CURLS
    assert b"".join(pieces) == path.read_bytes()


def test_lines_of_json_are_read_in_pieces(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "long.ndjson"
    lines = stream_of(3 * sources.PIECE).replace(b"data: ", b"").replace(b"\n\n", b"\n")
    path.write_bytes(lines.replace(b"[DONE]\n", b""))
    answer = next(sources.answers(str(path), None))
    assert answer.body == b""
    assert "B803" in run("check", str(path)).stdout


def test_a_long_recording_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    exchange = {"request": {"url": "http://x/v1/chat/completions", "body": {"stream": True}}}
    response = {"status": 200, "headers": [], "body": "x" * sources.PIECE}
    path.write_text(json.dumps({**exchange, "response": response}))
    assert not sources.is_stream(path.read_bytes()[: sources.PIECE], str(path))


def test_the_words_of_curl_behind_a_long_stream_are_its_end(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "cut.sse"
    said = b"curl: (28) Operation timed out after 30001 milliseconds with 9 bytes received\n"
    path.write_bytes(ROLE + HELLO * (2 * sources.PIECE // len(HELLO)) + said)
    found = json.loads(run("check", str(path), "--format", "json").stdout)
    assert [one["code"] for one in found["findings"]] == ["X707"]
    assert "(timeout)" in found["answers"][0]["report"]["error"]["message"]


def findings(linted: Linted) -> list[object]:
    return [(one.code, one.events, one.line, one.text, one.span) for one in linted.findings]


@pytest.mark.parametrize("size", [1, 7, 100, 1000, 10**6])
@pytest.mark.parametrize(
    "body",
    [
        ROLE + HELLO * 3 + LATER * 5 + HELLO + LATER + b"data: {\n\n" + STOP + DONE,
        (ROLE + HELLO * 5 + LATER * 5 + STOP + DONE).replace(b"\n", b"\r\n"),
        (ROLE + HELLO * 5 + LATER * 5 + STOP).replace(b"\n", b"\r").strip(),
        b'\n{\n"error": {"message": "boom"}\n}',
        b": a\n\nid: 1\n" + STREAM + HELLO,
        b"\n\n",
    ],
)
def test_findings_do_not_depend_on_the_pieces(body: bytes, size: int) -> None:
    whole = lint(Answer(name="x", body=body, request=CHAT))
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    split = lint(Answer(name="x", body=b"", rest=pieces, request=CHAT))
    assert findings(split) == findings(whole)


def test_events_of_one_form_are_not_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[bytes] = []
    feed = Normalizer.feed

    def count(self: Normalizer, data: bytes) -> bytes:
        fed.append(data)
        return feed(self, data)

    monkeypatch.setattr(Normalizer, "feed", count)
    found = lint(Answer(name="x", body=ROLE + HELLO + LATER * 1000 + STOP + DONE, request=CHAT))
    assert len(fed) < 20
    (finding,) = found.findings
    assert finding.events == tuple(range(3, 1003))
    assert (finding.code, finding.line, finding.last) == ("E206", 5, 1002)


def test_of_very_many_occurrences_the_first_are_named_and_all_are_counted(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "long.sse"
    path.write_bytes(ROLE + HELLO + LATER * (EVENTS_NAMED + 5) + STOP + DONE)
    (finding,) = json.loads(run("check", str(path), "--format", "json").stdout)["findings"]
    assert finding["events"] == list(range(3, EVENTS_NAMED + 3))
    assert finding["times"] == EVENTS_NAMED + 5
    said = run("check", str(path)).stdout
    assert f"({EVENTS_NAMED + 5} times, in events 3-{EVENTS_NAMED + 7})" in said


def test_a_line_without_an_end_is_not_kept_whole() -> None:
    def endless() -> list[bytes]:
        return [b"data: {" + b"x" * 2**20 for _ in range(32)]

    answer = Answer(name="x", body=b"", rest=endless(), request=CHAT)
    assert [one.code for one in lint(answer).findings][:1] == ["X710"]


# --- many files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["1", "3"])
def test_answers_have_the_order_of_the_files(run: Run, streams: Path, number: str) -> None:
    said = json.loads(run("check", str(streams), "--jobs", number, "--format", "json").stdout)
    assert [one["report"]["events_in"] for one in said["answers"]] == list(range(2, 42))


def test_the_output_does_not_depend_on_the_jobs(run: Run, streams: Path, tmp_path: Path) -> None:
    for path in sorted(streams.iterdir())[::3]:
        path.write_bytes(path.read_bytes().replace(b"data: ", b"data:"))
    one, several = (run("check", str(streams), "-j", number) for number in "14")
    assert (one.exit_code, one.stdout) == (several.exit_code, several.stdout)
    assert one.exit_code == 1


@pytest.mark.parametrize("number", ["1", "3"])
def test_a_file_that_cannot_be_read_does_not_end_the_others(
    run: Run, streams: Path, tmp_path: Path, number: str
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("interactions: 7\nversion: 1\n")
    good = [str(streams / "03.sse"), str(streams / "04.sse")]
    files = [good[0], str(bad), "nowhere.sse", good[1]]
    checked = run("check", *files, "--jobs", number)
    assert checked.exit_code == 2
    assert checked.stdout == "No deviations in 2 answers, 11 events.\n"
    assert [line.partition(": ")[2][:12] for line in checked.stderr.splitlines()] == [
        f"{bad}: "[:12],
        "nowhere.sse:",
    ]

    out = tmp_path / "out"
    repaired = run("normalize", *files, "-o", str(out), "--jobs", number)
    assert repaired.exit_code == 2
    assert sorted(path.name for path in out.iterdir()) == ["03.sse", "04.sse"]
    assert len(repaired.stderr.splitlines()) == 2


def test_processes_are_started_for_files_that_are_worth_it(streams: Path, tmp_path: Path) -> None:
    names = [str(path) for path in streams.iterdir()]
    big = tmp_path / "big.sse"
    big.write_bytes(b"x" * jobs._WORTH)
    assert jobs.Jobs(None, names)._number == 1
    assert jobs.Jobs(None, [*names, str(big)])._number == min(jobs._cores(), 41)
    assert jobs.Jobs(None, [str(big)])._number == 1
    assert jobs.Jobs(3, names)._number == 3


def test_a_process_that_dies_is_an_error(streams: Path) -> None:
    names = [str(path) for path in streams.iterdir()]
    with (
        pytest.raises(Failure, match="a process was killed"),
        jobs.Jobs(2, names) as processes,
    ):
        list(processes.in_order(_die, names))


def _die(name: str) -> str:
    if name.endswith("07.sse"):
        os.kill(os.getpid(), signal.SIGKILL)
    return name


# --- normalize ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["1", "3"])
def test_each_file_gets_a_file_of_its_name(
    run: Run, streams: Path, tmp_path: Path, number: str
) -> None:
    clean = {path.name: path.read_bytes() for path in streams.iterdir()}
    for path in streams.iterdir():
        path.write_bytes(path.read_bytes().replace(b"data: ", b"data:"))
    deep = streams / "deep"
    deep.mkdir()
    (deep / "a.sse").write_bytes(STREAM)
    more = tmp_path / "more.sse"
    more.write_bytes(STREAM)
    out = tmp_path / "out"
    args = ("normalize", str(streams), str(more), "-o", str(out), "-j", number, "--report")
    result = run(*args)
    assert result.exit_code == 0
    assert {path.name: path.read_bytes() for path in out.glob("??.sse")} == clean
    assert (out / "deep" / "a.sse").read_bytes() == (out / "more.sse").read_bytes() == STREAM
    lines = result.stderr.splitlines()
    assert lines[1] == (f"{streams / '01.sse'}: ended done; 3 events in, 3 out; repaired F103 4x")
    assert len(lines) == 42


def test_the_answers_of_a_recording_get_files_of_their_own(run: Run, tmp_path: Path) -> None:
    cassettes = Path(__file__).parents[2] / "cassettes"
    one = cassettes / "vllm" / "chat-seven-tokens.yaml"
    assert run("normalize", str(one), "-o", str(tmp_path)).exit_code == 0
    (written,) = tmp_path.iterdir()
    assert written.name == "chat-seven-tokens.yaml.sse"
    assert written.read_bytes() == run("normalize", str(one)).stdout_bytes


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("a.sse", "b/a.sse", "-o", "out"), "a.sse and b/a.sse have the same name"),
        (("a.sse", "-o", "."), "--output-dir: a.sse would be written over"),
        (("a.sse", "b/a.sse"), "several files, or a folder, need --output-dir DIR"),
        (("b",), "several files, or a folder, need --output-dir DIR"),
        (("-", "-o", "out"), "standard input has no name in a folder"),
    ],
)
def test_where_files_cannot_go(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: tuple[str, ...],
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").mkdir()
    for name in ("a.sse", "b/a.sse"):
        (tmp_path / name).write_bytes(STREAM)
    result = run("normalize", *args)
    assert result.exit_code == 2
    assert line in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_error_in_one_output_is_the_exit_code(run: Run, streams: Path, tmp_path: Path) -> None:
    (streams / "05.sse").write_bytes(ROLE + HELLO)
    assert run("normalize", str(streams), "-o", str(tmp_path / "out")).exit_code == 1


# --- Ctrl-C ---------------------------------------------------------------------------------------


def _interrupted(process: subprocess.Popen[bytes]) -> bytes:
    """What a process said that ends by Ctrl-C. Its pipes end with the last process."""
    for _ in range(int(PATIENCE)):
        # A signal that comes right before a read waits for the end of the read.
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=1)[1]
    raise TimeoutError


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
@pytest.mark.parametrize("number", ["1", "2"])
@pytest.mark.parametrize("command", ["check", "normalize"])
def test_ctrl_c_ends_all_processes_and_leaves_nothing_half_written(
    start: Start, tmp_path: Path, command: str, number: str
) -> None:
    pipes = [tmp_path / name for name in ("a.sse", "b.sse")]
    for pipe in pipes:
        os.mkfifo(pipe)
    out = tmp_path / "out"
    where = ("-o", str(out)) if command == "normalize" else ()
    process = start(command, *map(str, pipes), "--jobs", number, *where)
    # opening waits for the process that reads
    with pipes[0].open("wb") as writer:
        writer.write(ROLE + HELLO)
        writer.flush()
        said = _interrupted(process)
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert not out.exists() or list(out.iterdir()) == []
