"""`stream-normalizer check` on a live server, which is asked a fixed set of things."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest

from normalizer.cli.check.notes import CONTINUES
from normalizer.cli.check.probe_table import PROBES as ALL_PROBES
from tests.cli.conftest import Run
from tests.conftest import (
    DONE,
    HELLO,
    ROLE,
    STOP,
    STREAM,
    ASGIApp,
    Receive,
    Send,
    answering,
    chunk,
)

PROBES = ALL_PROBES["chat"]
ServeApp = Callable[[ASGIApp], str]
JSON = (b"content-type", b"application/json")


def as_json(value: Any, status: int = 200) -> ASGIApp:
    return answering(json.dumps(value).encode(), status=status, headers=(JSON,))


class Server:
    """A server with one model that streams to everything, and notes what it was asked."""

    def __init__(self, *models: str) -> None:
        self.models = models
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[bytes, bytes]] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        self.headers.append(dict(scope["headers"]))
        if scope["path"] == "/v1/models":
            data = [{"id": model} for model in self.models]
            await as_json({"object": "list", "data": data})(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        request = json.loads(body)
        self.asked.append(request)

        async def nothing() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": b""}

        await self.answer(scope["path"], request)(scope, nothing, send)

    def answer(self, path: str, request: dict[str, Any]) -> ASGIApp:
        if not isinstance(request.get("messages", []), list):
            error = {"message": "messages is no list", "type": "invalid_request_error"}
            return as_json({"error": {**error, "param": "messages", "code": None}}, 400)
        if path.endswith("/v1/completions"):
            choice = {"index": 0, "text": "there", "logprobs": None, "finish_reason": "length"}
            head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m"}
            one = json.dumps({**head, "choices": [choice]}).encode()
            return answering(b"data: " + one + b"\n\n" + DONE)
        if not request["stream"]:
            message = {"role": "assistant", "content": "Hi", "refusal": None}
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
            head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
            return as_json({**head, "choices": [choice]})
        if request.get("n") == 2:
            return as_json({"detail": "n must be 1"}, 422)
        if request["max_tokens"] == 7:
            return answering(ROLE, HELLO, chunk({}, "length"), DONE)
        return answering(STREAM)


def test_a_server_is_asked_every_probe(run: Run, serve: ServeApp) -> None:
    server = Server("tiny")
    result = run("check", serve(server) + "/v1")
    assert len(server.asked) == len(PROBES)
    assert {request["model"] for request in server.asked} == {"tiny"}
    assert server.paths.count("/v1/completions") == 1
    for note in (
        "usage: note: the request asked for stream_options.include_usage, but no usage came",
        "max_tokens=7: note: finish_reason length: max_tokens=7 cut the answer",
        f"completions: note: {CONTINUES}",
        "n=2: note: answered 422: n must be 1",
        "error: note: answered 400: messages is no list",
    ):
        assert note in result.stdout
    # the one thing that is wrong with it
    assert result.exit_code == 1
    assert "n=2:1: warning: B806 error-body-shape" in result.stdout
    assert f" in 1 of {len(PROBES)} answers" in result.stdout
    assert "; 1 refused." in result.stdout
    # it knows no tools
    assert "parallel-tools: note: the model answered with text and called no tool" in result.stdout


def test_its_bare_address_is_enough_for_an_endpoint(run: Run, serve: ServeApp) -> None:
    server = Server("tiny")
    run("check", serve(server) + "/v1/chat/completions", "--probe", "text")
    assert server.paths == ["/v1/models", "/v1/chat/completions"]


def test_only_some_probes(run: Run, serve: ServeApp) -> None:
    server = Server()
    url = serve(server) + "/v1/"
    result = run("check", url, "--model", "m", "--probe", "text", "--probe", "no-stream")
    assert result.exit_code == 0
    assert [request["stream"] for request in server.asked] == [True, False]


@pytest.mark.parametrize(
    ("models", "line"),
    [
        (("b", "a"), "choose a model with --model; it has a, b"),
        ((), "choose a model with --model\n"),
    ],
)
def test_the_model_has_to_be_known(
    run: Run, serve: ServeApp, models: tuple[str, ...], line: str
) -> None:
    result = run("check", serve(Server(*models)) + "/v1")
    assert result.exit_code == 2
    assert line in result.stderr


def test_what_a_server_does_wrong_is_found(run: Run, serve: ServeApp) -> None:
    async def cut() -> None:
        raise ConnectionAbortedError

    class Wrong(Server):
        def answer(self, path: str, request: dict[str, Any]) -> ASGIApp:
            if "tools" in request:
                return answering(ROLE, HELLO, cut)
            return answering(STREAM.replace(b"data: ", b"data:"))

    result = run("check", serve(Wrong("m")) + "/v1", "--probe", "text", "--probe", "tools")
    assert "text:1: error: F103" in result.stdout
    assert "tools:2: error: X707" in result.stdout


def test_a_server_that_is_silent(run: Run, serve: ServeApp) -> None:
    class Silent(Server):
        def answer(self, path: str, request: dict[str, Any]) -> ASGIApp:
            async def wait() -> None:
                while (await self.receive())["type"] != "http.disconnect":
                    pass

            return answering(ROLE, HELLO, wait)

        async def __call__(
            self, scope: MutableMapping[str, Any], receive: Receive, send: Send
        ) -> None:
            self.receive = receive
            await super().__call__(scope, receive, send)

    url = serve(Silent()) + "/v1"
    result = run("check", url, "--model", "m", "--probe", "text", "--timeout", "0.2")
    assert "text:2: error: X707 truncated" in result.stdout


def test_the_key_is_sent_and_not_shown(run: Run, serve: ServeApp) -> None:
    server = Server()
    url = serve(server) + "/v1"
    args = ("check", url, "--model", "m", "--probe", "text")
    result = run(*args, "--key-env", "PROBE_KEY", environ={"PROBE_KEY": "s3cret"})
    assert server.headers[-1][b"authorization"] == b"Bearer s3cret"
    assert "s3cret" not in result.output
    # a key of another server is not sent to this one
    run(*args, environ={"OPENAI_API_KEY": "s3cret"})
    assert b"authorization" not in server.headers[-1]
    missing = run(*args, "--key-env", "PROBE_KEY_2")
    assert missing.exit_code == 2
    assert "the variable PROBE_KEY_2 is not set" in missing.stderr


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "--key-env NAME"), (404, "most base URLs end in /v1"), (500, "answered 500")],
)
def test_what_to_do_about_a_status(run: Run, serve: ServeApp, status: int, hint: str) -> None:
    error = {"message": "no", "type": None, "param": None, "code": None}
    url = serve(as_json({"error": error}, status))
    result = run("check", url, "--model", "m", "--probe", "text")
    assert f"text: note: answered {status}: no" in result.stdout
    assert hint in result.stdout
    assert result.exit_code == 2
    assert f"{url} answered nothing; text: answered {status}: no" in result.stderr


def test_a_redirect_is_not_followed(run: Run, serve: ServeApp) -> None:
    server = Server()
    elsewhere = (b"location", serve(server).encode())
    url = serve(answering(status=307, headers=(elsewhere,)))
    result = run("check", url, "--model", "m", "--probe", "text")
    assert f"answered 307, a redirect to {elsewhere[1].decode()}: use the URL" in result.stdout
    assert result.exit_code == 2
    assert server.asked == []


class Refusing(Server):
    """A server that answers as many probes as ``willing``, and the rest with a status."""

    def __init__(self, status: int, *, willing: int = 0, words: bytes | None = None) -> None:
        super().__init__("m")
        self.status, self.willing, self.words = status, willing, words

    def answer(self, path: str, request: dict[str, Any]) -> ASGIApp:
        if len(self.asked) <= self.willing:
            return super().answer(path, request)
        if self.words is not None:
            return answering(self.words, status=self.status)
        error = {"message": "I will not", "type": None, "param": None, "code": None}
        return as_json({"error": error}, self.status)


@pytest.mark.parametrize("form", ["text", "json", "github"])
@pytest.mark.parametrize("status", [307, 401, 403, 404, 500, 501, 503])
def test_a_server_that_answers_nothing(run: Run, serve: ServeApp, status: int, form: str) -> None:
    server = Refusing(status)
    result = run("check", serve(server) + "/v1", "--format", form)
    assert result.exit_code == 2
    assert f"answered nothing; text: answered {status}" in result.stderr
    assert "No deviations" not in result.stdout
    stops = status in (401, 403, 404)
    assert len(server.asked) == (1 if stops else len(PROBES))
    if form == "text" and stops:
        assert f"; {len(PROBES) - 1} more probes were not sent" in result.stdout


def test_a_page_in_its_own_words(run: Run, serve: ServeApp) -> None:
    page = b"<html><head><title>x</title></head><body><h1>Bad gateway</h1> cf</body></html>"
    url = serve(Refusing(502, words=page)) + "/v1"
    result = run("check", url, "--probe", "text")
    assert "text: note: answered 502: Bad gateway cf\n" in result.stdout
    assert result.exit_code == 2


def test_no_answer_in_a_success(run: Run, serve: ServeApp) -> None:
    url = serve(Refusing(200, words=b'{"foo": 1}')) + "/v1"
    result = run("check", url, "--probe", "no-stream", "--probe", "text")
    assert result.exit_code == 2
    assert 'no-stream: note: the body has no answer: {"foo": 1}' in result.stdout


@pytest.mark.parametrize(("status", "code", "asked"), [(403, 1, 3), (500, 1, 4), (422, 0, 4)])
def test_a_server_that_answers_some(
    run: Run, serve: ServeApp, status: int, code: int, asked: int
) -> None:
    server = Refusing(status, willing=2)
    probes = [f"--probe={name}" for name in ("text", "max_tokens=7", "tools", "no-stream")]
    result = run("check", serve(server) + "/v1", *probes)
    assert result.exit_code == code
    assert len(server.asked) == asked
    assert f"; {asked - 2} refused." in result.stdout


def test_a_server_without_legacy_completions(run: Run, serve: ServeApp) -> None:
    class Without(Server):
        def answer(self, path: str, request: dict[str, Any]) -> ASGIApp:
            if path.endswith("/v1/completions"):
                return answering(b"404 page not found", status=404)
            return super().answer(path, request)

    server = Without("m")
    probes = [f"--probe={name}" for name in ("text", "completions", "error")]
    result = run("check", serve(server) + "/v1", *probes)
    assert len(server.asked) == 3
    assert "completions: note: answered 404: 404 page not found" in result.stdout


def test_a_refusal_alone_is_what_was_asked_for(run: Run, serve: ServeApp) -> None:
    result = run("check", serve(Server("m")) + "/v1", "--probe", "error")
    assert "error: note: answered 400: messages is no list" in result.stdout
    assert result.exit_code == 0


def test_a_server_that_refuses_nothing(run: Run, serve: ServeApp) -> None:
    class Willing(Server):
        def answer(self, path: str, request: dict[str, Any]) -> ASGIApp:
            return answering(STREAM)

    result = run("check", serve(Willing("m")) + "/v1", "--probe", "error")
    assert (
        "error: note: the server answered a request whose messages are not a list" in result.stdout
    )


def test_a_key_is_asked_for_before_a_model(run: Run, serve: ServeApp) -> None:
    error = {"message": "no such key", "type": None, "param": None, "code": None}
    result = run("check", serve(as_json({"error": error}, 401)) + "/v1")
    assert result.exit_code == 2
    assert "/v1/models: answered 401: no such key (--key-env NAME" in result.stderr


def test_live_findings_have_no_file(run: Run, serve: ServeApp) -> None:
    class Wrong(Server):
        def answer(self, path: str, request: dict[str, Any]) -> ASGIApp:
            return answering(STREAM.replace(b"data: ", b"data:"))

    said = run("check", serve(Wrong("m")) + "/v1", "--probe=text", "--format=github").stdout
    assert said.startswith("::error title=F103 no-space-after-data::text:1: ")


def test_a_server_that_is_down(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    result = run("check", url, "--model", "m")
    assert result.exit_code == 2
    assert f"{url} cannot be reached" in result.stderr
    assert "is the server running?" in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_probe_streams_for_ever() -> None:
    assert len({probe.name for probe in PROBES}) == len(PROBES)
    assert all(probe.body["max_tokens"] <= 1024 for probe in PROBES)
    assert STOP in STREAM
