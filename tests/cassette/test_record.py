"""tools/record against a server of our own: what it keeps, and what it must not."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from normalizer.cassette.format import RecordedResponse, load

ROOT = Path(__file__).parents[2]
PIECES = [b'data: {"a":', b" 1}\n", b"\ndata: [DONE]\n\n"]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.send_header("set-cookie", "session=secret")
        self.send_header("x-request-id", "req_1")
        self.end_headers()
        broken, secret = "broken" in self.path, "secret" in self.path
        for piece in [b"sk-0123456789abcdefghij"] if secret else PIECES:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if not broken:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = broken

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


def record(url: str, out: Path) -> tuple[int, str]:
    tool = str(ROOT / "tools" / "record")
    command = [sys.executable, tool, "optillm", "--url", url, "--out", str(out)]
    done = subprocess.run(
        [*command, "--version", "1", "--only", "today-moa"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def recorded(out: Path) -> RecordedResponse:
    return load(out / "optillm" / "today-moa.yaml").interactions[0].response


def test_pieces_are_kept_and_cookies_are_not(server: str, tmp_path: Path) -> None:
    assert record(f"{server}/v1", tmp_path) == (0, "")

    response = recorded(tmp_path)
    assert response.chunks == PIECES
    assert len(response.times) == 3
    assert response.end == "complete"
    assert dict(response.headers) == {
        "content-type": "text/event-stream",
        "server": dict(response.headers)["server"],
        "transfer-encoding": "chunked",
    }


def test_a_broken_answer_is_recorded_as_broken(server: str, tmp_path: Path) -> None:
    assert record(f"{server}/broken/v1", tmp_path) == (0, "")

    assert recorded(tmp_path).chunks == PIECES
    assert recorded(tmp_path).end == "cut"


def test_a_secret_is_refused(server: str, tmp_path: Path) -> None:
    code, said = record(f"{server}/secret/v1", tmp_path)

    assert code == 1
    assert "looks like a secret" in said
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    code, said = record("http://127.0.0.1:9/v1", tmp_path)

    assert code == 1
    assert "recipes/README.md" in said
