"""`stream-normalizer record` and `stream-normalizer replay`, over real sockets."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from normalizer.cassette.format import dump, load
from tests.cli.cassettes import PIECES, STREAM, cassette
from tests.conftest import (
    CHAT,
    DONE,
    EVENT_STREAM,
    HELLO,
    PATIENCE,
    ROLE,
    STOP,
    STREAMED,
    Gate,
    answering,
)

CASSETTES = Path(__file__).parents[2] / "cassettes"
KEY = "sk-proj-0123456789abcdefghijABCDEFGHIJ"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    dump(cassette(PIECES, times=[1, 2, 30, 1234.5]), tmp_path / "chat.yaml")
    return tmp_path / "chat.yaml"


# ---------------------------------------------------------------- replay


class Running:
    """A server of the command line, which has said where it listens."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        line = self.line()
        found = re.match(r"Listening on (http://[\d.]+:\d+), (.*)\.\n", line)
        assert found, line
        self.url, self.doing = found[1], found[2]
        assert self.line() == f"Point the client's base URL at {self.url}/v1 (Ctrl-C: end).\n"

    def line(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline().decode()

    def ended(self) -> str:
        """End it as a user does; what it says last."""
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=PATIENCE)
        return said.decode()


@pytest.fixture
def running(start: Any) -> Callable[..., Running]:
    return lambda *args: Running(start(*args, "--port", "0"))


def ask(url: str, **body: Any) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        return client.post(url + CHAT, json={**STREAMED, **body})


def test_replay(running: Callable[..., Running], path: Path) -> None:
    server = running("replay", str(path))

    assert server.doing == "playing 1 cassette"
    for _ in range(2):
        assert ask(server.url).content == STREAM
        assert server.line() == f"POST {CHAT} 200\n"
    missed = ask(server.url, model="other")
    assert missed.status_code == 404
    assert "body.model" in missed.json()["error"]["message"]
    assert server.line() == f"POST {CHAT} 404\n"


@pytest.mark.parametrize(
    ("cors", "allowed"), [((), True), (("--cors", "http://h:1"), True), (("--cors=none",), False)]
)
def test_replay_for_pages(
    running: Callable[..., Running], path: Path, cors: tuple[str, ...], allowed: bool
) -> None:
    server = running("replay", str(path), *cors)

    headers = {"origin": "http://h:1", "access-control-request-method": "POST"}
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        asked = client.options(server.url + CHAT, headers=headers)
        models = client.get(f"{server.url}/v1/models").json()["data"]

    assert asked.headers.get("access-control-allow-origin") == ("http://h:1" if allowed else None)
    assert [model["id"] for model in models] == [STREAMED["model"]]


def test_replay_once(running: Callable[..., Running], path: Path) -> None:
    server = running("replay", "--once", str(path))

    assert [ask(server.url).status_code for _ in range(2)] == [200, 404]


def test_replay_normalized(running: Callable[..., Running], tmp_path: Path) -> None:
    dump(cassette([b"data:" + HELLO[6:], STOP]), tmp_path / "x.yaml")

    raw = running("replay", "--raw", str(tmp_path))
    normalized = running("replay", "--normalized", str(tmp_path))

    assert not ask(raw.url).content.endswith(DONE)
    assert ask(normalized.url).content.endswith(DONE)


def test_replay_splits_and_paces(running: Callable[..., Running], path: Path) -> None:
    server = running("replay", str(path), "--split", "bytes", "--pace", "1000")

    with (
        httpx.Client(trust_env=False, timeout=PATIENCE) as client,
        client.stream("POST", server.url + CHAT, json=STREAMED) as response,
    ):
        pieces = list(response.iter_raw())
    assert b"".join(pieces) == STREAM
    assert len(pieces) > len(PIECES)


def read(response: httpx.Response, into: bytearray) -> None:
    for piece in response.iter_raw():
        into += piece


@pytest.mark.parametrize("fault", ["cut@2", "reset@2"])
def test_replay_breaks_off(running: Callable[..., Running], path: Path, fault: str) -> None:
    server = running("replay", str(path), "--fault", "ping@1", "--fault", fault)

    got = bytearray()
    with (
        httpx.Client(trust_env=False, timeout=PATIENCE) as client,
        client.stream("POST", server.url + CHAT, json=STREAMED) as response,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        read(response, got)
    assert got == ROLE + b": ping\n\n"


def test_a_fault_that_has_no_place_is_said(running: Callable[..., Running], path: Path) -> None:
    server = running("replay", str(path), "--fault", "cut@9")

    assert ask(server.url).status_code == 500
    assert server.line() == f"POST {CHAT} 500\n"
    assert "the stream has 4 events" in server.line()


# ---------------------------------------------------------------- record


def test_record_then_replay(
    running: Callable[..., Running], serve: Callable[[Any], str], tmp_path: Path
) -> None:
    upstream = serve(answering(*PIECES))
    path = tmp_path / "new" / "chat.yaml"
    server = running(
        *("record", "--upstream", f"{upstream}/v1", "--cassette", str(path)),
        *("--server", "Gate", "--version", "1", "--note", "A note."),
    )
    assert server.doing == f"recording {upstream}/v1 to {path}"

    assert ask(server.url).content == STREAM
    assert server.ended().endswith(f"{path}: 1 interaction recorded\n")

    recorded = load(path)
    (interaction,) = recorded.interactions
    assert interaction.request.uri == upstream + CHAT
    assert b"".join(interaction.response.chunks) == STREAM
    assert len(interaction.response.times) == len(interaction.response.chunks)
    assert recorded.metadata.origin == "recorded"
    assert (recorded.metadata.server, recorded.metadata.version) == ("Gate", "1")
    assert ask(running("replay", str(path)).url).content == STREAM


@pytest.mark.parametrize(
    "name", ["openai/responses-reasoning-call", "anthropic/messages-thinking-text-call"]
)
def test_record_then_replay_of_the_other_apis(
    name: str, running: Callable[..., Running], serve: Callable[[Any], str], tmp_path: Path
) -> None:
    (asked,) = load(CASSETTES / f"{name}.yaml").interactions
    where = urlsplit(asked.request.uri).path
    upstream = serve(answering(*asked.response.chunks))
    path = tmp_path / "x.yaml"

    def played(server: Running) -> bytes:
        with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
            return client.post(server.url + where, content=asked.request.body).content

    server = running("record", "--upstream", f"{upstream}/v1", "--cassette", str(path))
    assert played(server) == asked.response.body
    assert server.ended().endswith(f"{path}: 1 interaction recorded\n")
    for flag in ("--raw", "--normalized"):
        assert played(running("replay", flag, str(path))) == asked.response.body


def test_recording_again_with_stable_changes_nothing(
    running: Callable[..., Running], serve: Callable[[Any], str], tmp_path: Path
) -> None:
    answers = []
    for ident in (b"chatcmpl-0123456789ab", b"chatcmpl-417"):
        pieces = [each.replace(b"chatcmpl-1", ident) for each in PIECES]
        upstream = serve(answering(*pieces))
        path = tmp_path / f"{ident.decode()}.yaml"
        server = running("record", "--stable", "--upstream", upstream, "--cassette", str(path))
        assert ask(server.url).content == b"".join(pieces)
        server.ended()
        (interaction,) = load(path).interactions
        answers.append(interaction.response)

    # the socket may join the chunks in other places each time
    assert answers[0].body == answers[1].body
    assert answers[0].headers == answers[1].headers
    assert b'"id":"chatcmpl-0-1"' in answers[0].body


def test_each_piece_arrives_while_it_is_recorded(
    running: Callable[..., Running], serve: Callable[[Any], str], tmp_path: Path
) -> None:
    gate = Gate()
    upstream = serve(answering(ROLE, gate.passed, HELLO, STOP, DONE))
    server = running("record", "--upstream", upstream, "--cassette", str(tmp_path / "chat.yaml"))

    with (
        httpx.Client(trust_env=False, timeout=PATIENCE) as client,
        client.stream("POST", server.url + CHAT, json=STREAMED) as response,
    ):
        pieces = response.iter_raw()
        assert next(pieces) == ROLE
        # the upstream has sent no more than this, and the file holds it already
        assert load(tmp_path / "chat.yaml").interactions[0].response.body == ROLE
        gate.open()
        assert b"".join(pieces) == HELLO + STOP + DONE
    assert gate.in_time == [True]


def test_a_broken_upstream_is_recorded_as_broken(
    running: Callable[..., Running], serve: Callable[[Any], str], tmp_path: Path
) -> None:
    async def breaks() -> None:
        raise ConnectionAbortedError("as meant")

    upstream = serve(answering(ROLE, HELLO, breaks))
    server = running("record", "--upstream", upstream, "--cassette", str(tmp_path / "chat.yaml"))

    with pytest.raises(httpx.RemoteProtocolError):
        ask(server.url)
    server.ended()

    response = load(tmp_path / "chat.yaml").interactions[0].response
    assert (response.body, response.end) == (ROLE + HELLO, "cut")


def test_credentials_go_to_the_upstream_and_not_into_the_file(
    running: Callable[..., Running],
    serve: Callable[[Any], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bytes] = []

    async def upstream(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(value for name, value in scope["headers"] if name == b"authorization")
        await answering(*PIECES, headers=(EVENT_STREAM, (b"set-cookie", b"a=secret")))(
            scope, receive, send
        )

    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    path = tmp_path / "chat.yaml"
    flags = ("--upstream", serve(upstream), "--cassette", str(path), "--key-env", "UPSTREAM_KEY")
    server = running("record", *flags)

    ask(server.url)
    server.ended()

    assert seen == [f"Bearer {KEY}".encode()]
    assert KEY not in path.read_text()
    assert "secret" not in path.read_text()


def test_an_upstream_that_is_not_there_is_not_recorded(
    running: Callable[..., Running], tmp_path: Path
) -> None:
    path = tmp_path / "chat.yaml"
    server = running("record", "--upstream", "http://127.0.0.1:9", "--cassette", str(path))

    response = ask(server.url)
    assert response.status_code == 502
    assert response.json()["error"]["type"] == "upstream_unreachable"
    assert server.ended().endswith(f"{path}: 0 interactions recorded\n")
    assert not path.exists()


def test_a_path_that_leads_out_of_the_upstreams_is_refused(
    running: Callable[..., Running], tmp_path: Path
) -> None:
    kept = tmp_path / "chat.yaml"
    server = running("record", "--upstream", "http://127.0.0.1:9/v1", "--cassette", str(kept))
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /v1/../../admin HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"'..'" in answer
    server.ended()
    assert not kept.exists()


def test_an_upstreams_own_502_is_recorded(
    running: Callable[..., Running], serve: Callable[[Any], str], tmp_path: Path
) -> None:
    path = tmp_path / "chat.yaml"
    answer = answering(b"<html>bad gateway</html>", status=502, headers=())
    server = running("record", "--upstream", serve(answer), "--cassette", str(path))

    assert ask(server.url).content == b"<html>bad gateway</html>"
    server.ended()

    response = load(path).interactions[0].response
    assert (response.status, response.body) == (502, b"<html>bad gateway</html>")


@pytest.mark.parametrize(("flags", "kept"), [([], 2), (["--fresh"], 1)])
def test_a_file_is_added_to_unless_it_is_begun_anew(
    running: Callable[..., Running],
    serve: Callable[[Any], str],
    path: Path,
    flags: list[str],
    kept: int,
) -> None:
    upstream = serve(answering(*PIECES))
    server = running("record", "--upstream", upstream, "--cassette", str(path), *flags)

    ask(server.url)

    assert server.ended().endswith(f"{path}: 1 interaction recorded\n")
    assert len(load(path).interactions) == kept
