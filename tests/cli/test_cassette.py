"""`stream-normalizer cassette show|verify|diff|import|export`."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from normalizer.cassette.format import Metadata, dump, load
from tests.cli.cassettes import PIECES, STREAM, URL, cassette
from tests.cli.conftest import Run
from tests.conftest import DONE, STREAMED

ROOT = Path(__file__).parents[2]
KEY = "sk-proj-0123456789abcdefghijABCDEFGHIJ"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    dump(cassette(PIECES, times=[1, 2, 30, 1234.5]), tmp_path / "chat.yaml")
    return tmp_path / "chat.yaml"


# ---------------------------------------------------------------- show


def test_show(run: Run, path: Path) -> None:
    result = run("cassette", "show", str(path))

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        str(path),
        "  recorded 2026-11-20, vLLM 0.9",
        "  A note.",
        f"0  POST {URL}",
        f"   200 OK, text/event-stream, {len(STREAM)} bytes in 4 chunks, 1,234 ms, complete",
    ]


def test_show_chunks(run: Run, path: Path) -> None:
    lines = run("cassette", "show", "--chunks", str(path)).stdout.splitlines()[5:]

    assert len(lines) == 4
    assert re.match(r" +0 +1\.0 ms +\d+ +data: \{", lines[0])
    assert re.match(r" +3 +1,234\.5 ms +14 +data: \[DONE\]\\n\\n", lines[3])


def test_show_a_folder_of_what_others_wrote(run: Run, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.yml", "deep/b.yaml"):
        (tmp_path / name).write_text("version: 1\ninteractions: []\n")

    result = run("cassette", "show", str(tmp_path))

    assert result.stdout.split() == [str(tmp_path / "a.yml"), str(tmp_path / "deep/b.yaml")]


def test_show_the_collection(run: Run) -> None:
    result = run("cassette", "show", "--chunks", str(ROOT / "cassettes"))

    assert result.exit_code == 0
    assert result.stdout.count("interactions") == 0
    assert result.stdout.count("cassettes/") >= 40


# ---------------------------------------------------------------- verify


def test_verify_a_clean_one(run: Run, path: Path) -> None:
    result = run("cassette", "verify", str(path))

    assert result.exit_code == 0
    assert result.stdout == "No secrets found in 1 cassette.\n"


def test_verify_says_where(run: Run, tmp_path: Path) -> None:
    dump(cassette([b"data: " + KEY.encode() + b"\n\n"]), tmp_path / "bad.yaml")

    result = run("cassette", "verify", str(tmp_path))

    assert result.exit_code == 1
    first, last = result.stdout.splitlines()
    assert first.startswith(f"{tmp_path / 'bad.yaml'}: interactions[0].response.body: byte 9: ")
    assert KEY not in result.output
    assert last == "Found 1 problem in 1 cassette."


# ---------------------------------------------------------------- import and export


def test_import_and_export_again(run: Run, tmp_path: Path) -> None:
    (tmp_path / "answer").write_bytes(STREAM)
    (tmp_path / "ask.json").write_text(json.dumps(STREAMED))
    target = tmp_path / "chat.yaml"

    result = run(
        "cassette",
        "import",
        str(tmp_path / "answer"),
        str(target),
        *("--url", URL, "--request", str(tmp_path / "ask.json")),
        *("--origin", "reconstructed", "--server", "TGI", "--version", "2", "--note", "A note."),
        *("--date", "2026-11-20", "--source", "https://example.org/1"),
        *("--source", "https://example.org/2"),
    )

    assert result.exit_code == 0, result.output
    assert result.stderr == f"{target}: 1 interaction\n"
    made = load(target)
    assert made.metadata == Metadata(
        origin="reconstructed",
        server="TGI",
        version="2",
        date="2026-11-20",
        note="A note.",
        sources=("https://example.org/1", "https://example.org/2"),
    )
    assert made.interactions[0].request.uri == URL
    assert json.loads(made.interactions[0].request.body) == STREAMED
    assert run("cassette", "export", str(target)).stdout_bytes == STREAM
    assert run("cassette", "export", str(target), "-o", str(tmp_path / "out.sse")).stdout == ""
    assert (tmp_path / "out.sse").read_bytes() == STREAM


def test_import_from_standard_input(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "new" / "chat.yaml"

    result = run("cassette", "import", "-", str(target), stdin=STREAM)

    assert result.exit_code == 0
    assert load(target).interactions[0].response.body == STREAM


def test_import_takes_secrets_out(run: Run, tmp_path: Path) -> None:
    headers = [{"name": "Authorization", "value": f"Bearer {KEY}"}]
    said = f"data: the key is {KEY}\n\n"
    entry = {
        "request": {"method": "POST", "url": f"https://x.org/v1?key={KEY}", "headers": headers},
        "response": {
            "status": 200,
            "headers": [{"name": "set-cookie", "value": "session=secret"}],
            "content": {"mimeType": "text/event-stream", "text": said},
        },
    }
    (tmp_path / "x.har").write_text(json.dumps({"log": {"entries": [entry]}}))
    target = tmp_path / "chat.yaml"

    result = run("cassette", "import", str(tmp_path / "x.har"), str(target))

    assert result.exit_code == 0, result.output
    text = target.read_text()
    assert KEY not in text
    assert "session" not in text
    assert len(load(target).interactions[0].response.body) == len(said)
    assert run("cassette", "verify", str(target)).exit_code == 0


def test_import_does_not_overwrite(run: Run, path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    (tmp_path / "a.sse").write_bytes(STREAM)

    result = run("cassette", "import", str(tmp_path / "a.sse"), str(path))

    assert result.exit_code == 2
    assert result.stderr == (f"Error: {path} already exists: choose another name, or --force\n")
    assert path.read_bytes() == before
    assert run("cassette", "import", "--force", str(tmp_path / "a.sse"), str(path)).exit_code == 0
    assert path.read_bytes() != before


def test_export_one_of_several(run: Run, tmp_path: Path) -> None:
    dump(cassette(PIECES, [DONE]), tmp_path / "two.yaml")

    assert (
        run("cassette", "export", "--interaction", "1", str(tmp_path / "two.yaml")).stdout_bytes
        == DONE
    )


@pytest.mark.parametrize("command", ["show", "verify", "export", "import", "replay"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "x.yaml: No such file or directory"),
        ("nothing", "x.yaml: no 'interactions': this is not a cassette of vcrpy 1.0 or later"),
        ("interactions: [", "x.yaml: while parsing"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(
    run: Run, tmp_path: Path, command: str, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "x.yaml").write_text(content)
    words = [command] if command == "replay" else ["cassette", command]
    more = [str(tmp_path / "target.yaml")] if command == "import" else []

    result = run(*words, str(tmp_path / "x.yaml"), *more)

    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert said in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cassette", "show", "EMPTY"], "the folder has no cassette"),
        (["cassette", "export", "TWO"], "2 interactions: say which, from 0 to 1 (--interaction)"),
        (["cassette", "export", "TWO", "--interaction", "2"], "interactions[2]: there are 2"),
        (["replay", "TWO", "--pace", "fast"], "'fast' is not instant, recorded or a speed"),
        (["replay", "TWO", "--pace", "-1"], "'-1' is not instant"),
        (["replay", "TWO", "--split", "words"], "split: 'words' is none of"),
        (["replay", "TWO", "--fault", "cut"], "'cut' is not of the form cut@3, or stall@3:2.5."),
        (["replay", "TWO", "--fault", "cut@1:2"], "is not of the form"),
        (["record", "--upstream", "localhost", "--cassette", "NEW"], "'localhost' is no URL"),
        (["record", "--upstream", URL, "--cassette", "BAD"], "this is not a cassette"),
        (
            ["record", "--upstream", URL, "--cassette", "NEW", "--key-env", "NOT_SET"],
            "the variable NOT_SET is not set",
        ),
    ],
)  # fmt: skip
def test_a_wrong_usage_says_what_is_wrong(
    run: Run, tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "BAD").write_text("nothing")
    dump(cassette(PIECES, [DONE]), tmp_path / "TWO")

    result = run(
        *(str(tmp_path / word) if word.isalpha() and word.isupper() else word for word in words)
    )

    assert result.exit_code == 2
    assert said in result.stderr.splitlines()[-1]
    assert not (tmp_path / "NEW").exists()


def test_a_port_that_is_taken(run: Run, path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run("replay", str(path), "--port", port)

    assert result.exit_code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in result.stderr
    assert "choose another --port" in result.stderr


def test_import_stable(run: Run, tmp_path: Path) -> None:
    source, target = tmp_path / "answer.sse", tmp_path / "x.yaml"
    source.write_bytes(b'data: {"id":"chatcmpl-0123456789","created":1763757600}\n\n')

    run("cassette", "import", str(source), str(target), "--stable")

    (interaction,) = load(target).interactions
    assert interaction.response.body == b'data: {"id":"chatcmpl-0-1","created":0}\n\n'


def test_export_as_har_and_back(run: Run, path: Path, tmp_path: Path) -> None:
    written, back = tmp_path / "x.har", tmp_path / "y.yaml"

    named = run("cassette", "export", str(path), "-o", str(written))
    said = run("cassette", "export", str(path), "--form", "har")

    assert (named.exit_code, said.exit_code) == (0, 0)
    assert said.stdout_bytes == written.read_bytes()
    assert run("cassette", "import", str(written), str(back), "--every").exit_code == 0
    chunks = [[each.response.chunks for each in load(file).interactions] for file in (path, back)]
    assert chunks[0] == chunks[1]


def test_import_a_trace_and_flows(run: Run, tmp_path: Path) -> None:
    data = Path(__file__).parents[1] / "cassette" / "data"
    for number, (name, said) in enumerate(
        [("curl-7.88.txt", "1 interaction"), ("mitmdump-11.flow", "1 interaction")]
    ):
        target = tmp_path / f"{number}.yaml"
        result = run("cassette", "import", str(data / name), str(target))
        assert (result.exit_code, said in result.stderr) == (0, True)
    # the bytes are the same, and the proxy's own header is not in the request
    done = run("cassette", "diff", str(tmp_path / "0.yaml"), str(tmp_path / "1.yaml"))
    assert (done.exit_code, done.stdout) == (0, "No differences in 1 interaction.\n")
    refused = run(
        "cassette", "import", str(data / "curl-7.88-trace-ascii.txt"), str(tmp_path / "2.yaml")
    )
    assert refused.exit_code == 2
    assert "line 4: " in refused.stderr
    assert "--trace FILE --trace-time" in refused.stderr
