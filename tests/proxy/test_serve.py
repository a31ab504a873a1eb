"""The proxy as a server: its pages, its log, its end, its file, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import (
    CHAT,
    DONE,
    HELLO,
    PATIENCE,
    ROLE,
    STOP,
    STREAM,
    STREAMED,
    Gate,
    Receive,
    Send,
    answering,
)
from tests.proxy.conftest import Proxied, ServeApp

MOST_STREAMS = 100
UNSPACED = STREAM.replace(b"data: ", b"data:")


def serve_fails(*args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "normalizer", "serve", *args],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    *_, line = done.stderr.splitlines()
    return line


# --- pages and log --------------------------------------------------------------------------------


def test_healthz(proxied: Callable[..., Proxied], client: httpx2.Client) -> None:
    running = proxied("--upstream", "http://127.0.0.1:9")
    response = client.get(running.url + "/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert "healthz" not in running.stop()


def sample(page: str, name: str) -> float:
    """The value of a sample; 0 if it is not there."""
    return next((float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if name in line), 0)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_metrics(
    proxied: Callable[..., Proxied], serve: ServeApp, client: httpx2.Client, workers: str
) -> None:
    url = serve(answering(UNSPACED))
    running = proxied("--upstream", url, "--workers", workers)
    for _ in range(8):
        # a connection each, so that every worker gets some
        with httpx2.Client(timeout=PATIENCE, trust_env=False) as one:
            assert one.post(running.url + CHAT, json=STREAMED).content == STREAM
    for _ in range(8):
        running.wait_for("end=done")
    page = client.get(running.url + "/metrics").text
    assert sample(page, 'normalizer_streams_total{end="done",endpoint="chat"}') == 8
    repairs = sample(page, f'normalizer_repairs_total{{code="F103",upstream="{url}"}}')
    assert repairs == 8 * UNSPACED.count(b"data:")
    first = f'normalizer_time_to_first_event_seconds_count{{upstream="{url}"}}'
    assert sample(page, first) == 8


def test_what_a_client_names_makes_no_metric(
    proxied: Callable[..., Proxied], serve: ServeApp, client: httpx2.Client
) -> None:
    running = proxied("--upstream", serve(answering(STREAM)))
    client.post(running.url + CHAT, json={**STREAMED, "model": "made-up"})
    running.wait_for("end=done")
    assert "made-up" not in client.get(running.url + "/metrics").text


def test_access_log(
    proxied: Callable[..., Proxied], serve: ServeApp, client: httpx2.Client
) -> None:
    url = serve(answering(UNSPACED))
    running = proxied("--upstream", url)
    headers = {"authorization": "Bearer s3cret"}
    client.post(running.url + CHAT + "?key=s3cret", json=STREAMED, headers=headers)
    client.get(running.url + "/v1/%0Afake")
    line = running.wait_for("POST")
    events = UNSPACED.count(b"data:{")
    for words in (
        f'127.0.0.1 "POST {CHAT}" 200',
        f"upstream={url} first=",
        f"events={events}/{events} end=done repairs=F103x{events + 1}",
    ):
        assert words in line
    assert '"GET /v1/\\nfake" 200' in running.wait_for("GET")
    said = running.stop()
    assert "s3cret" not in said
    assert "Hello" not in said


def test_no_access_log(
    proxied: Callable[..., Proxied], serve: ServeApp, client: httpx2.Client
) -> None:
    running = proxied("--upstream", serve(answering(STREAM)), "--no-access-log")
    client.post(running.url + CHAT, json=STREAMED)
    assert CHAT not in running.stop()


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_streams_may_end(
    proxied: Callable[..., Proxied],
    serve: ServeApp,
    client: httpx2.Client,
    number: int,
    workers: str,
) -> None:
    stopping = Gate()
    running = proxied(
        "--upstream",
        serve(answering(ROLE, HELLO, stopping.passed, STOP, DONE)),
        "--workers",
        workers,
    )
    came = b""
    with client.stream("POST", running.url + CHAT, json=STREAMED) as response:
        for data in response.iter_raw():
            came += data
            if came == ROLE + HELLO:
                running.process.send_signal(number)
                running.wait_for("Waiting for connections to close")
                with pytest.raises(httpx2.ConnectError):
                    httpx2.get(running.url + "/healthz", trust_env=False)
                stopping.open()
    assert came == ROLE + HELLO + STOP + DONE
    assert stopping.in_time == [True]
    assert "Traceback" not in running.ended()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_streams_that_a_shutdown_cuts_say_so(
    proxied: Callable[..., Proxied],
    serve: ServeApp,
    client: httpx2.Client,
    number: int,
    workers: str,
) -> None:
    over = Gate()
    url = serve(answering(ROLE, HELLO, over.passed))
    running = proxied("--upstream", url, "--grace", "1", "--workers", workers)
    came = b""
    with client.stream("POST", running.url + CHAT, json=STREAMED) as response:
        for data in response.iter_raw():
            if not came:
                running.process.send_signal(number)
            came += data
    over.open()
    assert came.startswith(ROLE + HELLO)
    *_, error, done, rest = came.split(b"\n\n")
    assert json.loads(error[6:])["error"]["type"] == "upstream_truncated"
    assert b"ended because this server was shut down" in error
    assert (done, rest) == (DONE.strip(), b"")
    said = running.ended()
    assert "end=truncated" in said
    assert "Traceback" not in said


def test_an_answer_that_had_not_begun_at_the_shutdown_is_an_error(
    proxied: Callable[..., Proxied], serve: ServeApp, client: httpx2.Client
) -> None:
    came, over = Gate(), Gate()

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        came.open()
        await over.passed()

    running = proxied("--upstream", serve(app), "--grace", "1")

    def stop() -> None:
        assert came.wait()
        running.process.send_signal(signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    response = client.post(running.url + CHAT, json=STREAMED)
    over.open()
    thread.join()
    assert response.status_code == 503
    assert response.json()["error"]["type"] == "shutting_down"
    assert "Traceback" not in running.ended()


# --- its file and its flags -----------------------------------------------------------------------


def test_config_file(
    proxied: Callable[..., Proxied],
    serve: ServeApp,
    client: httpx2.Client,
    write: Callable[[str, str], Path],
) -> None:
    default, other = serve(answering(UNSPACED)), serve(answering(STREAM))
    path = write(
        "proxy.toml",
        f"""
        upstream = "http://127.0.0.1:9"
        mode = "report"
        access-log = false
        [route]
        "gpt-*" = {{ url = "{other}", key-env = "OTHER_KEY" }}
        "moa-*" = "{other}"
        """,
    )
    running = proxied("--config", str(path), "--upstream", default, environ={"OTHER_KEY": "s3cret"})
    # the command line's upstream, the file's option
    assert client.post(running.url + CHAT, json=STREAMED).content == UNSPACED
    for model in ("gpt-4", "moa-x"):
        request = {**STREAMED, "model": model}
        assert client.post(running.url + CHAT, json=request).content == STREAM
    said = running.stop()
    assert CHAT not in said
    assert "s3cret" not in said


def test_options_come_from_the_environment(
    proxied: Callable[..., Proxied], serve: ServeApp, client: httpx2.Client
) -> None:
    running = proxied(
        "--upstream", serve(answering(UNSPACED)), environ={"NORMALIZER_MODE": "report"}
    )
    assert client.post(running.url + CHAT, json=STREAMED).content == UNSPACED


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ((), "Error: Missing option '--upstream'."),
        (("--upstream", "localhost:8000"), "'localhost:8000' is no URL: it begins with http://"),
        (("--upstream", "http://u:s3cret@h"), "a key belongs into a variable that --key-env names"),
        (("--upstream", "http://h", "--route", "http://x"), "is not of the form 'gpt-*=https://…'"),
        (("--upstream", "http://h", "--key-env", "NOT_SET_1"), "NOT_SET_1 is not set"),
        (
            ("--upstream", "http://h", "--key-env", "a*=HOME"),
            "--key-env a*=…: no --route has this pattern",
        ),
        (("--upstream", "http://h", "--reasoning", "loud"), "Invalid value for '--reasoning'"),
        (("--upstream", "http://h", "--finish-timeout", "0"), "it is a number above 0"),
        (("--upstream", "http://h", "--host", "192.0.2.1"), "cannot listen on 192.0.2.1:8900"),
        (("--upstream", "http://h", "--cors", "http://a/"), "'http://a/' is no origin: it is"),
        (("--upstream", "http://h", "--max-body-bytes", "0"), "0 is not in the range x>=1"),
        (("--config", "nowhere.toml"), "nowhere.toml: No such file or directory"),
    ],
)
def test_errors_are_one_line(args: tuple[str, ...], line: str) -> None:
    said = serve_fails(*args)
    assert line in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("upstream = ", "proxy.toml: Invalid value (at "),
        ('upstrem = "http://h"', "no such key: upstrem (there are access-log, body-timeout,"),
        ('upstream = "http://h"\nreasoning = "loud"', "'loud' is not one of"),
        ('upstream = "http://h"\nroute = 1', "route is a table or a list"),
    ],
)
def test_errors_in_the_file_are_one_line(
    write: Callable[[str, str], Path], text: str, line: str
) -> None:
    assert line in serve_fails("--config", str(write("proxy.toml", text)))


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
        line = serve_fails("--upstream", "http://h", "--port", port)
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another" in line


def test_it_is_not_its_own_upstream() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
    line = serve_fails("--upstream", f"http://localhost:{port}/v1", "--port", port)
    assert "is this proxy itself" in line


def test_it_warns_of_keys_that_everybody_may_use(proxied: Callable[..., Proxied]) -> None:
    args = ("--upstream", "http://127.0.0.1:9", "--key-env", "KEY", "--host", "0.0.0.0")
    running = proxied(*args, environ={"KEY": "s3cret"})
    assert "whoever reaches 0.0.0.0:" in running.wait_for("Warning")


def workers_of(running: Proxied) -> list[int]:
    """Its servers, and not the process that counts what spawning leaves behind."""
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
    return [
        int(child)
        for child in children.read_text().split()
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def sockets_of(process: int) -> int:
    files = Path(f"/proc/{process}/fd").iterdir()
    return sum(os.readlink(file).startswith("socket:") for file in files)


def test_workers_share_the_streams_and_end_together(
    proxied: Callable[..., Proxied], serve: ServeApp
) -> None:
    goes_on = Gate()
    url = serve(answering(ROLE, HELLO, goes_on.passed, STOP, DONE))
    running = proxied("--upstream", url, "--workers", "2")
    with contextlib.ExitStack() as streams:
        client = streams.enter_context(httpx2.Client(timeout=PATIENCE, trust_env=False))
        client.get(running.url + "/healthz")
        workers = workers_of(running)
        before = {worker: sockets_of(worker) for worker in workers}
        opened: list[Iterator[bytes]] = []
        # Whoever is first accepts a connection, so their shares differ.
        while len(opened) < MOST_STREAMS and any(
            sockets_of(worker) < before[worker] + 6 for worker in workers
        ):
            stream = client.stream("POST", running.url + CHAT, json=STREAMED)
            opened.append(streams.enter_context(stream).iter_raw())
            assert next(opened[-1]).startswith(ROLE)
        assert len(opened) < MOST_STREAMS
        running.process.send_signal(signal.SIGTERM)
        for _ in workers:
            running.wait_for("Waiting for connections to close")
        goes_on.open()
        for answer in opened:
            assert b"".join(answer).endswith(STOP + DONE)
    assert "Traceback" not in running.ended()
    assert running.process.returncode == 0
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_a_worker_that_dies_is_replaced(
    proxied: Callable[..., Proxied], serve: ServeApp, client: httpx2.Client
) -> None:
    running = proxied("--upstream", serve(answering(STREAM)), "--workers", "2")
    client.get(running.url + "/healthz")
    workers = workers_of(running)
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    for _ in workers:
        running.wait_for("died (exit code -9)")
    assert client.post(running.url + CHAT, json=STREAMED).content == STREAM
