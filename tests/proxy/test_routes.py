"""Several upstreams: by model, the merged list, and whose key goes where."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import httpx2
import pytest

from tests.conftest import CHAT, STREAM, STREAMED, Receive, Send, answering
from tests.proxy.conftest import Proxied, Recorder, ServeApp

JSON = (b"content-type", b"application/json")


def listing(*models: str, **members: Any) -> Any:
    """An upstream with these models, which streams to everything that is posted."""
    data = [{"id": model, "object": "model", **members} for model in models]
    answer = answering(json.dumps({"object": "list", "data": data}).encode(), headers=(JSON,))

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await (answer if scope["method"] == "GET" else answering(STREAM))(scope, receive, send)

    return app


class Upstreams:
    """Three recorded upstreams and the proxy before them."""

    def __init__(self, proxied: Callable[..., Proxied], serve: ServeApp) -> None:
        self.default = Recorder(listing("llama3", "gpt-4", owner="default"))
        self.optillm = Recorder(listing("moa-llama3", "llama3", owner="optillm"))
        self.openai = Recorder(listing("gpt-4", "gpt-5", "whisper", owner="openai"))
        environ = {"DEFAULT_KEY": "default-s3cret", "OPENAI_KEY": "openai-s3cret"}
        urls = [serve(one) for one in (self.default, self.optillm, self.openai)]
        self.proxied = proxied(
            *("--upstream", f"{urls[0]}/v1", "--key-env", "DEFAULT_KEY"),
            *("--route", f"moa-*={urls[1]}"),
            *("--route", f"gpt-*={urls[2]}/v1", "--key-env", "gpt-*=OPENAI_KEY"),
            environ=environ,
        )

    @property
    def all(self) -> list[Recorder]:
        return [self.default, self.optillm, self.openai]


@pytest.fixture
def upstreams(proxied: Callable[..., Proxied], serve: ServeApp) -> Upstreams:
    return Upstreams(proxied, serve)


def test_requests_go_where_their_model_is(upstreams: Upstreams, client: httpx2.Client) -> None:
    headers = {"authorization": "Bearer theirs"}
    url = upstreams.proxied.url + CHAT
    for model in ("llama3", "moa-llama3", "gpt-4"):
        response = client.post(url, json={**STREAMED, "model": model}, headers=headers)
        assert response.content == STREAM
    assert [len(one.requests) for one in upstreams.all] == [1, 1, 1]
    assert [one.requests[0]["path"] for one in upstreams.all] == [CHAT] * 3
    keys = [one.header("authorization") for one in upstreams.all]
    assert keys == ["Bearer default-s3cret", "Bearer theirs", "Bearer openai-s3cret"]
    said = upstreams.proxied.stop()
    assert "s3cret" not in said
    assert "theirs" not in said


def test_a_key_is_in_no_other_request(upstreams: Upstreams, client: httpx2.Client) -> None:
    url = upstreams.proxied.url
    for path in ("/v1/models", "/v1/models/gpt-4", "/v1/files"):
        client.get(url + path, headers={"api-key": "theirs", "x-api-key": "theirs"})
    client.post(url + CHAT, json={**STREAMED, "model": "moa-llama3"})
    own = {"default-s3cret": upstreams.default, "openai-s3cret": upstreams.openai}
    for key, owner in own.items():
        for one in upstreams.all:
            sent = [value for scope in one.requests for _, value in scope["headers"]]
            assert any(key in value.decode() for value in sent) == (one is owner)
    # where they put their own, which did not go to an upstream that has one
    assert upstreams.default.header("api-key") == "default-s3cret"
    sent = [value for scope in upstreams.openai.requests for _, value in scope["headers"]]
    assert b"theirs" not in sent


def test_credentials_of_the_client_go_to_no_upstream_with_a_key(
    upstreams: Upstreams, client: httpx2.Client
) -> None:
    headers = {"cookie": "s=theirs", "x-goog-api-key": "theirs"}
    client.get(upstreams.proxied.url + "/v1/files?key=theirs&after=1", headers=headers)
    scope = upstreams.default.requests[-1]
    assert scope["query_string"] == b"after=1"
    assert not any(b"theirs" in value for _, value in scope["headers"])
    # one without a key of its own gets them all
    client.get(upstreams.proxied.url + "/v1/models/moa-x?key=theirs", headers=headers)
    assert upstreams.optillm.requests[-1]["query_string"] == b"key=theirs"
    assert upstreams.optillm.header("cookie") == "s=theirs"


def test_models_are_merged(upstreams: Upstreams, client: httpx2.Client) -> None:
    answer = client.get(upstreams.proxied.url + "/v1/models").json()
    listed = [(model["id"], model["owner"]) for model in answer["data"]]
    # each from the upstream that a request for it goes to; whisper would go to the default
    assert listed == [
        ("llama3", "default"),
        ("moa-llama3", "optillm"),
        ("gpt-4", "openai"),
        ("gpt-5", "openai"),
    ]
    assert answer["object"] == "list"
    assert len(answer["data"][0]) == 3


def test_models_of_those_that_answer(upstreams: Upstreams, client: httpx2.Client) -> None:
    upstreams.default.app = answering(b"<html>", headers=(JSON,))
    upstreams.openai.app = answering(b'{"error": {}}', status=401, headers=(JSON,))
    answer = client.get(upstreams.proxied.url + "/v1/models").json()
    assert [model["id"] for model in answer["data"]] == ["moa-llama3"]
    assert "no list of models: status 401" in upstreams.proxied.wait_for("status 401")


def test_models_of_none(upstreams: Upstreams, client: httpx2.Client) -> None:
    for one in upstreams.all:
        one.app = answering(b'{"error": {"message": "no"}}', status=401, headers=(JSON,))
    response = client.get(upstreams.proxied.url + "/v1/models")
    assert (response.status_code, response.json()["error"]["message"]) == (401, "no")


def test_one_model_is_asked_where_it_is(upstreams: Upstreams, client: httpx2.Client) -> None:
    client.get(upstreams.proxied.url + "/v1/models/gpt-4")
    assert [len(one.requests) for one in upstreams.all] == [0, 0, 1]
    assert upstreams.openai.requests[0]["path"] == "/v1/models/gpt-4"


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[1]", b'{"model": 1}', b'{"model": "x"}'])
def test_what_fits_no_route_goes_to_the_default(
    upstreams: Upstreams, client: httpx2.Client, body: bytes
) -> None:
    client.post(upstreams.proxied.url + "/v1/embeddings", content=body)
    assert [len(one.requests) for one in upstreams.all] == [1, 0, 0]


def test_a_model_in_a_body_of_many_parts(upstreams: Upstreams, client: httpx2.Client) -> None:
    received: list[bytes] = []

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            received.append(message.get("body", b""))
        await answering(STREAM)(scope, receive_nothing, send)

    async def receive_nothing() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b""}

    body = json.dumps({**STREAMED, "pad": "x" * 300_000, "model": "gpt-4"}).encode()

    def parts() -> Iterator[bytes]:
        yield body[:9]
        yield body[9:]

    upstreams.openai.app = app
    headers = {"content-type": "application/json"}
    response = client.post(upstreams.proxied.url + CHAT, content=parts(), headers=headers)
    assert response.content == STREAM
    assert b"".join(received) == body
