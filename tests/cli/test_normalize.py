"""The filter: events leave as they come, and the end of the stream ends it."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.conftest import DONE, HELLO, PATIENCE, ROLE, STOP, STREAM, WORLD

Start = Callable[..., "subprocess.Popen[bytes]"]


def read(process: subprocess.Popen[bytes], count: int) -> bytes:
    """At least so many bytes of what leaves; fails if they do not come."""
    assert process.stdout is not None
    data = b""
    while len(data) < count:
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
        assert ready, data
        piece = os.read(process.stdout.fileno(), 65536)
        assert piece, data
        data += piece
    return data


def write(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(data)


def test_each_event_leaves_before_the_next_comes(start: Start) -> None:
    process = start("normalize")
    for event in (ROLE, HELLO, WORLD):
        write(process, event.replace(b"data: ", b"data:"))
        assert read(process, len(event)) == event
    write(process, STOP + DONE)
    assert read(process, len(STOP + DONE)) == STOP + DONE


def test_the_end_of_the_stream_ends_the_filter(start: Start) -> None:
    process = start("normalize")
    write(process, STREAM)  # and standard input stays open
    assert process.wait(PATIENCE) == 0
    assert read(process, len(STREAM)) == STREAM


def test_a_held_finish_leaves_in_a_silence(start: Start) -> None:
    process = start("normalize", "--finish-timeout", "0.05")
    write(process, ROLE + HELLO + STOP)
    assert read(process, len(ROLE + HELLO + STOP)) == ROLE + HELLO + STOP
    write(process, DONE)
    assert process.wait(PATIENCE) == 0


def test_a_reader_that_leaves_is_no_crash(start: Start) -> None:
    process = start("normalize")
    assert process.stdout is not None
    write(process, ROLE)
    read(process, len(ROLE))
    process.stdout.close()
    write(process, HELLO)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(PATIENCE) == 1
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()


def test_a_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "answer.sse"
    path.write_bytes(STREAM.replace(b"\n\n", b"\r\n\r\n"))
    result = run("normalize", str(path))
    assert (result.exit_code, result.stdout_bytes) == (0, STREAM)


def test_the_report(run: Run) -> None:
    result = run("normalize", "--report", stdin=STREAM.replace(b"data: ", b"data:"))
    assert result.stderr == "ended done; 4 events in, 4 out; repaired F103 5x\n"
    assert run("normalize", "--report", stdin=STREAM).stderr.endswith("repaired nothing\n")


def legacy(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1700000000, "model": "m"}
    return f"data: {json.dumps({**head, 'choices': [choice]})}\n\n".encode()


def test_a_legacy_completion_is_known_by_its_object(run: Run) -> None:
    stream = legacy("Once") + legacy(" upon", "length") + DONE
    assert run("normalize", stdin=stream).stdout_bytes == stream


def test_the_request_decides(run: Run, tmp_path: Path) -> None:
    request = {"model": "m", "stream": False}
    whole = run("normalize", "--request", json.dumps(request), stdin=STREAM)
    message = json.loads(whole.stdout)["choices"][0]["message"]
    assert message["content"] == "Hello world"
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request))
    assert run("normalize", "--request", f"@{path}", stdin=STREAM).stdout == whole.stdout


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("{", "--request is not JSON: "),
        ("[1]", "--request is not a JSON object"),
        ("@nowhere.json", "--request @nowhere.json: No such file or directory"),
    ],
)
def test_a_request_that_is_none(run: Run, given: str, line: str) -> None:
    result = run("normalize", "--request", given, stdin=STREAM)
    assert result.exit_code == 2
    assert line in result.stderr


@pytest.mark.parametrize("body", [b"", b"\n\n", b"<html>no</html>", b'{"error": "boom"}'])
def test_what_is_no_stream_is_an_error(run: Run, body: bytes) -> None:
    request: dict[str, Any] = {"model": "m", "stream": True}
    result = run("normalize", "--request", json.dumps(request), stdin=body)
    assert result.exit_code == 1
    error, done = result.stdout.strip().split("\n\n")
    assert json.loads(error.removeprefix("data: "))["error"]["message"]
    assert done == "data: [DONE]"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"hello\n", 1),
        (b"", 1),
        (ROLE + HELLO, 1),
        (ROLE + HELLO + b'data: {"error": {"message": "boom"}}\n\n' + DONE, 1),
        (STREAM, 0),
    ],
)
def test_it_exits_with_1_where_an_error_leaves(run: Run, body: bytes, code: int) -> None:
    assert run("normalize", stdin=body).exit_code == code


# --- recordings -----------------------------------------------------------------------------------

CASSETTES = Path(__file__).parents[2] / "cassettes"
SEVEN = CASSETTES / "vllm" / "chat-seven-tokens.yaml"


def test_a_cassette_is_played(run: Run, tmp_path: Path) -> None:
    result = run("normalize", "--report", str(SEVEN))
    assert result.exit_code == 0
    assert result.stdout.startswith('data: {"id":"chatcmpl-')
    assert result.stdout.endswith("data: [DONE]\n\n")
    assert "messages" not in result.stdout
    assert "repaired S504 1x" in result.stderr
    # by how it begins, where its name says nothing
    other = tmp_path / "recorded"
    other.write_bytes(SEVEN.read_bytes())
    assert run("normalize", str(other)).stdout == result.stdout


def test_its_own_request_decides_and_a_given_one_wins(run: Run) -> None:
    assert "data: " in run("normalize", str(SEVEN)).stdout
    given = run("normalize", "--request", '{"stream": false}', str(SEVEN))
    assert json.loads(given.stdout)["choices"][0]["finish_reason"] == "length"


def test_of_several_answers_one_is_chosen(run: Run, tmp_path: Path) -> None:
    url = "http://h/v1/chat/completions"
    asked = {"postData": {"text": '{"stream": true}'}, "method": "POST", "url": url, "headers": []}
    kind = [{"name": "content-type", "value": "text/event-stream"}]
    bodies = (STREAM, STREAM.replace(b"world", b"there"))
    answers = [
        {"status": 200, "headers": kind, "content": {"text": body.decode()}} for body in bodies
    ]
    entries = [{"request": asked, "response": answer} for answer in answers]
    file = tmp_path / "a.har"
    file.write_text(json.dumps({"log": {"entries": entries}}))
    result = run("normalize", str(file))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "the file has 2 answers: choose one with --interaction, from 0 to 1" in result.stderr
    for number, body in enumerate(bodies):
        chosen = run("normalize", "--interaction", str(number), str(file))
        assert (chosen.exit_code, chosen.stdout_bytes) == (0, body)
    beyond = run("normalize", "--interaction", "2", str(file))
    assert beyond.exit_code == 2
    assert "from 0 to 1" in beyond.stderr


def test_a_number_of_a_stream(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "answer.sse"
    path.write_bytes(STREAM)
    result = run("normalize", "--interaction", "1", str(path))
    assert result.exit_code == 2
    assert "is not a recording of several answers" in result.stderr


@pytest.mark.parametrize("request_", [(), ("--request", "{}")])
def test_a_cassette_from_a_pipe(run: Run, request_: tuple[str, ...]) -> None:
    result = run("normalize", *request_, stdin=SEVEN.read_bytes())
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "standard input is a cassette: name its file" in result.stderr


def test_a_cassette_that_cannot_be_read(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("interactions:\n- request: [\n")
    result = run("normalize", str(file))
    assert result.exit_code == 2
    assert str(file) in result.stderr
    assert result.stderr.count("\n") == 1
