"""Heads: what of them passes through the proxy, and what is of one connection only."""

from __future__ import annotations

import gzip

import httpx2
import pytest

from tests.conftest import CHAT, STREAM, STREAMED, answering
from tests.proxy.conftest import Proxied, Recorder

OCTETS = (b"content-type", b"application/octet-stream")


def test_the_request_arrives_as_it_was_sent(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client
) -> None:
    upstream.app = answering(b"ok")
    headers = {"authorization": "Bearer theirs", "x-title": "chat", "cookie": "a=1"}
    client.request("PATCH", f"{proxy.url}/v1/a%2Fb/c?x=%20&y", headers=headers, content=b"b")
    scope = upstream.requests[-1]
    assert scope["method"] == "PATCH"
    assert scope["raw_path"] == b"/v1/a%2Fb/c"
    assert scope["query_string"] == b"x=%20&y"
    assert upstream.header("authorization") == "Bearer theirs"
    assert upstream.header("x-title") == "chat"
    assert upstream.header("cookie") == "a=1"
    assert upstream.header("content-type") is None
    assert upstream.header("host") == "{}:{}".format(*scope["server"])
    assert upstream.header("user-agent") == client.headers["user-agent"]


def test_no_compression_is_asked_for_where_the_answer_is_read(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client
) -> None:
    upstream.app = answering(STREAM)
    client.post(proxy.url + CHAT, json=STREAMED, headers={"accept-encoding": "gzip"})
    assert upstream.header("accept-encoding") == "identity"
    client.get(proxy.url + "/v1/models", headers={"accept-encoding": "gzip"})
    assert upstream.header("accept-encoding") == "gzip"


def test_an_upstream_that_compresses_all_the_same(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client
) -> None:
    headers = ((b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip"))
    upstream.app = answering(gzip.compress(STREAM), headers=headers)
    response = client.post(proxy.url + CHAT, json=STREAMED)
    assert response.content == STREAM
    assert "content-encoding" not in response.headers


def test_another_answer_stays_compressed(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client
) -> None:
    body = gzip.compress(b"[]")
    upstream.app = answering(body, headers=(OCTETS, (b"content-encoding", b"gzip")))
    with client.stream("GET", proxy.url + "/v1/files") as response:
        assert b"".join(response.iter_raw()) == body
    assert response.headers["content-encoding"] == "gzip"


def test_the_head_of_an_answer_passes(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client
) -> None:
    headers = (OCTETS, (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"))
    upstream.app = answering(b"ok", status=418, headers=headers)
    response = client.get(proxy.url + "/v1/files")
    assert response.status_code == 418
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    # of the upstream, none of ours beside it
    assert response.headers.get_list("server") == ["uvicorn"]
    assert len(response.headers.get_list("date")) == 1
    client.cookies.clear()
    client.get(proxy.url + "/v1/files")
    assert upstream.header("cookie") is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_the_clients(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client, status: int
) -> None:
    upstream.app = answering(status=status, headers=((b"location", b"/elsewhere"),))
    before = len(upstream.requests)
    response = client.post(proxy.url + CHAT, json=STREAMED)
    assert (response.status_code, response.headers["location"]) == (status, "/elsewhere")
    assert len(upstream.requests) == before + 1


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_without_a_body(
    upstream: Recorder, proxy: Proxied, client: httpx2.Client, method: str, status: int
) -> None:
    upstream.app = answering(status=status, headers=((b"content-length", b"5"),))
    if status != 304:
        # uvicorn itself refuses the other two with that header
        upstream.app = answering(status=status, headers=())
    response = client.request(method, proxy.url + "/v1/files/1")
    assert (response.status_code, response.content) == (status, b"")
    # and the connection can be used again
    upstream.app = answering(b"ok")
    assert client.get(proxy.url + "/v1/files").content == b"ok"
