"""`stream-normalizer check` on files, folders and standard input."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from normalizer import RequestInfo
from normalizer.catalogue import CODES
from normalizer.cli.check.lint import Answer, lint
from normalizer.cli.check.notes import CONTINUES
from normalizer.cli.check.severity import _OF, SEVERITIES, severity
from normalizer.cli.check.sources import answers
from tests.cli.conftest import Run
from tests.conftest import DONE, HELLO, ROLE, STOP, STREAM, WORLD, chunk

CASSETTES = Path(__file__).parents[2] / "cassettes"
TWICE = ROLE + HELLO + chunk({"role": "assistant", "content": " world"}) + STOP + DONE


@pytest.fixture
def sse(tmp_path: Path) -> Any:
    def sse(body: bytes, name: str = "answer.sse") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return str(path)

    return sse


def test_a_canonical_stream(run: Run, sse: Any) -> None:
    result = run("check", sse(STREAM))
    assert result.exit_code == 0
    assert result.stdout == "No deviations in 1 answer, 4 events.\n"


def test_a_finding_is_shown_at_its_place(run: Run, sse: Any) -> None:
    file = sse(TWICE)
    result = run("check", file)
    assert result.exit_code == 1
    head, line, marks, *rest = result.stdout.splitlines()
    assert head == f"{file}:3: warning: C302 role-repeated"
    at = line.index('"role":"assistant"')
    assert marks == "  | " + " " * (at - 4) + "^" * len('"role":"assistant"')
    explained = "\n".join(rest)
    assert "breaks: openai-python's `.stream()` joins them" in explained
    assert "fault: A later delta repeats the role." in explained
    assert "repaired: The role is removed from later deltas." in explained
    assert "warning  C302  role-repeated        1      1  repaired" in explained
    assert "Found 1 deviation in 1 of 1 answer, 4 events." in explained


def test_lines_are_no_longer_than_the_terminal(run: Run) -> None:
    said = run("check", str(CASSETTES)).stdout
    assert max(len(line) for line in said.splitlines() if line.startswith("  | ")) <= 100
    assert all(ord(sign) >= 32 for sign in said.replace("\n", ""))


def test_every_occurrence_has_its_event(run: Run, sse: Any) -> None:
    body = ROLE + HELLO.replace(b"data: ", b"data:") + WORLD + STOP + DONE.replace(b" ", b"")
    found = json.loads(run("check", "--format", "json", sse(body)).stdout)["findings"]
    assert [(one["code"], one["event"], one["events"]) for one in found] == [("F103", 2, [2, 4])]
    assert found[0]["line"] == 3
    assert found[0]["text"][slice(*found[0]["span"])] == "data:"
    assert found[0]["repaired"] is True


def test_the_numbers_are_the_reports() -> None:
    found = 0
    for path in sorted(CASSETTES.rglob("*.yaml")):
        for answer in answers(str(path), None):
            linted = lint(answer)
            counts = {finding.code: len(finding.events) for finding in linted.findings}
            assert counts == linted.report.codes
            for finding in linted.findings:
                # framing is found on an event's line, before the event is counted
                assert finding.events[0] - linted.report.repairs[finding.code].first in (0, 1)
                found += 1
    assert found


def test_what_is_explained_once_is_not_explained_again(run: Run, sse: Any) -> None:
    said = run("check", sse(TWICE, "a.sse"), sse(TWICE, "b.sse")).stdout
    assert said.count(": warning: C302 role-repeated") == 2
    assert said.count("breaks:") == 1
    assert "Found 1 deviation in 2 of 2 answers, 8 events." in said


def test_select_and_ignore(run: Run, sse: Any) -> None:
    file = sse(TWICE.replace(b"data: ", b"data:"))
    assert run("check", file).exit_code == 1
    assert run("check", "--ignore", "C3", "--silence", "F103", file).exit_code == 0
    assert "C302" not in run("check", "--select", "F", file).stdout


def test_select_and_ignore_take_names_and_lower_case(run: Run, sse: Any) -> None:
    file = sse(ROLE + chunk({"content": "!"}, "stop") + DONE)
    for given in ("finish-with-content", "s504", "S504", "s5", "c3,Finish-With-Content"):
        said = run("check", "--select", given, file)
        assert (said.exit_code, "S504" in said.stdout) == (1, True)
        assert run("check", "--ignore", given, file).exit_code == 0


@pytest.mark.parametrize("flag", ["select", "ignore"])
@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("S5O4", "S50"),
        ("finish-with-contents", "finish-with-content"),
        ("S504,T4O2", "T40"),
        ("Z9", "`stream-normalizer rules` lists them"),
        ("S5041", "S504"),
    ],
)
def test_a_code_that_there_is_not(run: Run, sse: Any, flag: str, given: str, near: str) -> None:
    file = sse(ROLE + chunk({"content": "!"}, "stop") + DONE)
    for result in (
        run("check", f"--{flag}", given, file),
        run("check", file, environ={f"NORMALIZER_{flag.upper()}": given}),
        run("normalize", f"--{flag}", given, stdin=STREAM),
    ):
        assert result.exit_code == 2
        assert result.stdout == ""
        assert repr(given.split(",")[-1]) in result.stderr
        assert near in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_guess_is_looked_for_where_it_is_asked_for(run: Run, sse: Any) -> None:
    body = ROLE + chunk({"content": "<think>a</think>b"}) + STOP + DONE
    assert run("check", sse(body)).exit_code == 0
    said = run("check", "--think-tags", sse(body)).stdout
    assert "C320 think-tags" in said
    assert "repaired with --think-tags" in said


def test_what_is_only_reported_says_so(run: Run, sse: Any) -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    half = {"index": 0, "function": {"arguments": '{"a":'}}
    body = chunk({"role": "assistant", "tool_calls": [call]}) + chunk({"tool_calls": [half]})
    said = run("check", sse(body + chunk({}, "tool_calls") + DONE)).stdout
    assert "T423 arguments-incomplete" in said
    assert "only reported" in said


# --- kinds of files -------------------------------------------------------------------------------


def test_a_folder(run: Run, sse: Any, tmp_path: Path) -> None:
    sse(STREAM, "a/one.sse")
    sse(TWICE, "a/b/two.sse")
    sse(b"no stream", "a/readme.md")
    said = run("check", str(tmp_path)).stdout
    assert "1 of 2 answers" in said


def test_the_cassettes_are_what_they_are_named_after(run: Run) -> None:
    result = run("check", "--format", "json", str(CASSETTES / "ollama"))
    found = json.loads(result.stdout)["findings"]
    indexes = [one for one in found if one["code"] == "T402"]
    assert {Path(one["target"]).stem for one in indexes} >= {"parallel-tool-calls"}


def test_a_capture(run: Run, sse: Any) -> None:
    request = {"method": "POST", "url": "http://h/v1/chat/completions", "json": {"stream": True}}
    pieces = [{"t_ms": 1, "b64": base64.b64encode(TWICE).decode()}]
    capture = {"request": request, "response": {"status": 200, "headers": [], "chunks": pieces}}
    said = run("check", sse(json.dumps(capture).encode(), "capture.json")).stdout
    assert "capture.json:3: warning: C302" in said


@pytest.mark.parametrize("body", [TWICE, b"\n" + TWICE, b"<html>502</html>", b""])
def test_standard_input(run: Run, body: bytes) -> None:
    result = run("check", "-", stdin=body)
    assert result.exit_code == 1
    assert result.stdout.startswith("-:")


def test_an_upstream_that_was_cut(run: Run) -> None:
    said = run("check", str(CASSETTES / "vllm" / "engine-died.yaml")).stdout
    assert "X707 truncated" in said


def test_a_client_that_left_is_no_deviation() -> None:
    request = RequestInfo.parse("/v1/chat/completions", {"stream": True})
    answer = Answer(name="x", body=ROLE + HELLO, request=request, end="closed")
    assert lint(answer).findings == ()
    answer = Answer(name="x", body=ROLE + HELLO, request=request)
    assert [finding.code for finding in lint(answer).findings] == ["X707"]


@pytest.mark.parametrize(
    ("name", "body", "line"),
    [
        ("nowhere.sse", None, "nowhere.sse: no such file; a server's URL begins with http://"),
        ("x.yaml", b"a: 1", "x.yaml: no 'interactions'"),
        ("x.json", b"[]", "x.json"),
        ("x.bin", b"\x00\x01", "it begins with b'\\x00\\x01'"),
        ("empty/", None, "no such file"),
    ],
)
def test_what_cannot_be_read(
    run: Run, sse: Any, tmp_path: Path, name: str, body: bytes | None, line: str
) -> None:
    file = str(tmp_path / name) if body is None else sse(body, name)
    result = run("check", file)
    assert result.exit_code == 2
    assert line in result.stderr
    assert result.stderr.count("\n") == 1


# --- formats --------------------------------------------------------------------------------------


def test_github(run: Run, sse: Any) -> None:
    file = sse(TWICE, "a,b.sse")
    result = run("check", "--format", "github", file)
    assert result.exit_code == 1
    quoted = file.replace(",", "%2C")
    assert result.stdout == (
        f"::warning file={quoted},line=5,title=C302 role-repeated::{file}:3: C302 role-repeated: "
        "A later delta repeats the role. The role is removed from later deltas.\n"
    )


def test_github_on_a_cassette_names_the_file(run: Run) -> None:
    path = CASSETTES / "ollama" / "parallel-tool-calls.yaml"
    for line in run("check", "--format", "github", str(path)).stdout.splitlines():
        found = re.match(
            rf"::(error|warning|notice) file={path},line=(\d+),title=.*?:(\d+): ", line
        )
        assert found is not None
        events = [
            number
            for number, text in enumerate(path.read_text().splitlines(), start=1)
            if text.strip().startswith("data: ")
        ]
        assert events[int(found[3]) - 1] == int(found[2])


def test_json(run: Run, sse: Any) -> None:
    result = run("check", "--format", "json", sse(STREAM), sse(TWICE, "twice.sse"))
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert [one["report"]["end"] for one in report["answers"]] == ["done", "done"]
    assert {one["target"] for one in report["findings"]} == {report["answers"][1]["target"]}


# --- notes ----------------------------------------------------------------------------------------


def test_seven_tokens_are_explained(run: Run) -> None:
    said = run("check", str(CASSETTES / "vllm" / "chat-seven-tokens.yaml")).stdout
    assert "note: finish_reason length: max_tokens=7 cut the answer" in said
    said = run("check", str(CASSETTES / "vllm" / "completions-seven-tokens.yaml")).stdout
    assert f"note: {CONTINUES}" in said
    assert "note: finish_reason length: max_tokens=7 cut the answer" in said


@pytest.mark.parametrize(
    ("request_", "body", "note"),
    [
        ({}, ROLE + HELLO + chunk({}, "length") + DONE, "length: the token limit cut the answer"),
        ({"max_tokens": 9}, ROLE + HELLO + chunk({}, "length") + DONE, "length: max_tokens=9 cut"),
        (
            {"max_tokens": 9},
            ROLE + chunk({"reasoning_content": "Hm"}) + chunk({}, "length") + DONE,
            "all tokens are reasoning",
        ),
        (
            {},
            ROLE + HELLO + chunk({}, "content_filter") + DONE,
            "content_filter: the provider withheld",
        ),
        (
            {"stream_options": {"include_usage": True}},
            STREAM,
            "include_usage, but no usage came",
        ),
        ({"n": 2}, STREAM, "n=2 choices, but 1 came"),
    ],
)
def test_notes(run: Run, sse: Any, request_: dict[str, Any], body: bytes, note: str) -> None:
    given = json.dumps({"stream": True, **request_})
    result = run("check", "--request", given, sse(body))
    assert note in result.stdout
    # a note is no finding
    assert result.exit_code == 0


ERROR = b'data: {"error":{"message":"CUDA out of memory","type":"e","param":null,"code":507}}\n\n'


def test_an_error_in_mid_stream_is_said_in_the_words_of_the_upstream(run: Run, sse: Any) -> None:
    result = run("check", sse(ROLE + HELLO + ERROR + DONE))
    assert result.exit_code == 1
    assert "note: the answer failed: CUDA out of memory (code 507)" in result.stdout
    assert "No deviations in 1 answer, 3 events; 1 failed." in result.stdout


@pytest.mark.parametrize("form", ["text", "json", "github"])
@pytest.mark.parametrize("body", [b'{"foo": 1}', b'{"choices": []}', b'{"foo": 1}\n{"foo": 2}\n'])
def test_what_holds_no_answer_is_not_green(run: Run, sse: Any, form: str, body: bytes) -> None:
    file = sse(body, "foo.json")
    result = run("check", file, "--format", form)
    assert result.exit_code in (1, 2)
    assert "No deviations" not in result.stdout
    if result.exit_code == 2:
        assert f"{file}: the body has no answer" in result.stderr


def test_a_plain_completion_is_an_answer(run: Run, sse: Any) -> None:
    message = {"role": "assistant", "content": "", "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
    result = run("check", sse(json.dumps({**head, "choices": [choice]}).encode(), "a.json"))
    assert result.exit_code == 0


def test_the_worst_comes_first(run: Run, sse: Any) -> None:
    finish = chunk({"content": "!"}, "stop")
    again = chunk({"role": "assistant", "content": "a", "tool_calls": []})
    file = sse(ROLE + again + finish + DONE)
    found = json.loads(run("check", "--format", "json", file).stdout)["findings"]
    assert [(one["code"], one["severity"]) for one in found] == [
        ("S504", "error"),
        ("C302", "warning"),
        ("C303", "warning"),
    ]
    rows = run("check", file).stdout.split("times  repair")[1].split("Found")[0].split("\n")
    assert [row.split()[:2] for row in rows if row.split()] == [
        ["error", "S504"],
        ["warning", "C302"],
        ["warning", "C303"],
    ]


def test_every_code_has_a_severity() -> None:
    assert {severity(code) for code in CODES} == set(SEVERITIES)
    assert severity("T402") == severity("T499") == "error"
    # the table has no word on a code that is none
    assert all(any(code.startswith(prefix) for code in CODES) for prefix in _OF)


@pytest.mark.parametrize("ascii_", [True, False])
def test_github_on_strings_of_json_and_on_base64(run: Run, sse: Any, ascii_: bool) -> None:
    body = ROLE + chunk({"role": "assistant", "content": "“é”"}) + STOP + DONE
    entry = {
        "request": {"method": "POST", "url": "http://h/v1/chat/completions", "headers": []},
        "response": {
            "status": 200,
            "headers": [{"name": "content-type", "value": "text/event-stream"}],
            "content": {"text": body.decode()},
        },
    }
    har = json.dumps({"log": {"entries": [entry, entry]}}, indent=1, ensure_ascii=ascii_)
    file = sse(har.encode(), "a.har")
    said = run("check", "--format", "github", file).stdout
    strings = [at for at, line in enumerate(har.split("\n"), start=1) if '"text": ' in line]
    assert [f"line={at}," in line for at, line in zip(strings, said.splitlines(), strict=True)] == [
        True,
        True,
    ]
    request = {"method": "POST", "url": "http://h/v1/chat/completions", "json": {"stream": True}}
    pieces = [{"t_ms": 1, "b64": base64.b64encode(TWICE).decode()}]
    capture = {"request": request, "response": {"status": 200, "headers": [], "chunks": pieces}}
    file = sse(json.dumps(capture).encode(), "capture.json")
    said = run("check", "--format", "github", file).stdout
    assert said.startswith(f"::warning file={file},title=C302")


def test_github_on_standard_input_names_no_file(run: Run) -> None:
    said = run("check", "--format", "github", "-", stdin=TWICE).stdout
    assert said.startswith("::warning title=C302 role-repeated::-:3: ")


def test_no_note_where_there_is_nothing_to_say(run: Run, sse: Any) -> None:
    assert "note" not in run("check", sse(STREAM)).stdout
