"""`stream-normalizer check` on servers of the Responses and of the Messages API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from normalizer.cli.check.probe_table import PROBES
from tests.cli.conftest import Run
from tests.cli.test_probes import ServeApp, Server, as_json
from tests.conftest import ASGIApp, answering
from tests.wires.messages import streams as messages
from tests.wires.responses import streams as responses

NO = {"message": "no", "type": "invalid_request_error"}


def framed(events: list[Any]) -> bytes:
    return b"".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events)


class Responses(Server):
    """A server of the Responses API that knows no tools."""

    def answer(self, path: str, request: dict[str, Any]) -> ASGIApp:
        if not isinstance(request["input"], str):
            return as_json({"error": {**NO, "param": "input", "code": None}}, 400)
        said = responses.message("Hi")
        if not request["stream"]:
            return as_json(responses.response("completed", (said,)))
        events = [
            responses.created(),
            *responses.message_events("Hi"),
            responses.ended(said),
        ]
        return answering(framed([{**one, "sequence_number": n} for n, one in enumerate(events)]))


class Messages(Server):
    """A server of the Messages API that knows no tools."""

    def answer(self, path: str, request: dict[str, Any]) -> ASGIApp:
        if request["messages"][0]["role"] != "user":
            return as_json({"type": "error", "error": NO}, 400)
        word = "max_tokens" if request["max_tokens"] == 7 else "end_turn"
        if not request["stream"]:
            content = [{"type": "text", "text": "Hi"}]
            return as_json({**messages.start()["message"], "content": content, "stop_reason": word})
        opened = messages.opened(0, messages.TEXT)
        events = [messages.start(), opened, messages.text(0), messages.stopped(0)]
        return answering(framed([*events, messages.reason(word), messages.STOP]))


@pytest.mark.parametrize(
    ("server", "api"), [(Responses("m"), "responses"), (Messages("m"), "messages")]
)
@pytest.mark.parametrize("by_path", [True, False])
def test_every_probe_of_an_api(
    run: Run, serve: ServeApp, server: Server, api: Any, by_path: bool
) -> None:
    server.asked.clear()
    base = serve(server) + "/v1"
    result = run("check", f"{base}/{api}") if by_path else run("check", base, "--api", api)
    assert result.exit_code == 0, result.output
    assert len(server.asked) == len(PROBES[api])
    assert {request["model"] for request in server.asked} == {"m"}
    assert server.paths[-1] == f"/v1/{api}"
    assert "error: note: answered 400: no" in result.stdout
    for probe in ("tools", "parallel-tools"):
        assert f"{probe}: note: the model answered with text and called no tool" in result.stdout
    if api == "messages":
        note = "max_tokens=7: note: stop_reason max_tokens: max_tokens=7 cut the answer"
        assert note in result.stdout


@pytest.mark.parametrize(
    ("kind", "api", "code"),
    [(Responses, "responses", "R101"), (Messages, "messages", "M101")],
)
def test_what_a_server_does_wrong_is_found(
    run: Run, serve: ServeApp, kind: type[Server], api: str, code: str
) -> None:
    class Wrong(kind):  # type: ignore[misc, valid-type]
        def answer(self, path: str, request: dict[str, Any]) -> ASGIApp:
            given = kind("m").answer(path, request)

            async def without_lines(scope: Any, receive: Any, send: Any) -> None:
                async def sent(message: Any) -> None:
                    body = message.get("body", b"")
                    lines = [one for one in body.split(b"\n") if not one.startswith(b"event:")]
                    await send({**message, "body": b"\n".join(lines)} if body else message)

                await given(scope, receive, sent)

            return without_lines

    result = run("check", serve(Wrong("m")) + "/v1", "--api", api, "--probe", "text")
    assert f"text:1: warning: {code}" in result.stdout or f"text:1: error: {code}" in result.stdout
    assert result.exit_code == 1


@pytest.mark.parametrize(("api", "names"), [("responses", {b"authorization"}), ("messages", None)])
def test_the_key_is_where_the_api_has_it(
    run: Run, serve: ServeApp, api: str, names: set[bytes] | None
) -> None:
    server = (Responses if api == "responses" else Messages)("m")
    args = ("--api", api, "--probe", "text", "--key-env", "PROBE_KEY")
    run("check", serve(server) + "/v1", *args, environ={"PROBE_KEY": "s3cret"})
    sent = server.headers[-1]
    having = {name for name, value in sent.items() if b"s3cret" in value}
    assert having == (names or {b"authorization", b"x-api-key"})
    assert (b"anthropic-version" in sent) == (api == "messages")


def test_a_probe_that_an_api_does_not_have(run: Run) -> None:
    result = run("check", "http://127.0.0.1:9/v1/responses", "--probe", "n=2", "--model", "m")
    assert result.exit_code == 2
    assert "there is no such probe of the API responses" in result.stderr


@pytest.mark.parametrize(("kind", "api"), [(Responses, "responses"), (Messages, "messages")])
def test_a_server_that_checks_nothing(
    run: Run, serve: ServeApp, kind: type[Server], api: str
) -> None:
    class Willing(kind):  # type: ignore[misc, valid-type]
        def answer(self, path: str, request: dict[str, Any]) -> ASGIApp:
            good = {"input": "hi", "messages": [{"role": "user"}]}
            return kind("m").answer(path, {**request, **good})

    result = run("check", serve(Willing("m")) + "/v1", "--api", api, "--probe", "error")
    assert "error: note: the server answered a request whose" in result.stdout
