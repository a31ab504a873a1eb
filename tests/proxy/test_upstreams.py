"""Where requests go, and with which headers: without a server."""

from __future__ import annotations

import pytest

from normalizer.proxy import Upstream, UpstreamError, Upstreams
from normalizer.proxy.upstreams import TargetError, to_client, to_upstream, without_keys


@pytest.mark.parametrize(
    ("url", "path", "target"),
    [
        ("http://h:8000", "/v1/chat/completions", "http://h:8000/v1/chat/completions"),
        ("http://h:8000/", "/v1/chat/completions", "http://h:8000/v1/chat/completions"),
        ("http://h:8000/v1", "/v1/chat/completions", "http://h:8000/v1/chat/completions"),
        ("http://h:8000/v1/", "/v1/chat/completions", "http://h:8000/v1/chat/completions"),
        ("http://h:8000/v1", "/chat/completions", "http://h:8000/v1/chat/completions"),
        ("https://h/api/v1", "/v1/models", "https://h/api/v1/models"),
        ("https://h/api", "/v1/models", "https://h/api/v1/models"),
        ("http://h/v1", "/v1", "http://h/v1"),
        ("http://h/v1", "/v1/", "http://h/v1/"),
        # only a whole /v1, and only at the beginning, is the one that both have
        ("http://h/v1", "/v1beta/models", "http://h/v1/v1beta/models"),
        ("http://h/v1", "/v10/models", "http://h/v1/v10/models"),
        ("http://h/apiv1", "/v1/models", "http://h/apiv1/v1/models"),
        ("http://h", "/x/v1/chat/completions", "http://h/x/v1/chat/completions"),
        ("http://h/v1", "/x/v1/models", "http://h/v1/x/v1/models"),
        # a client that always writes /v1, before an API whose version is another
        ("https://h/api/paas/v4", "/v1/chat/completions", "https://h/api/paas/v4/chat/completions"),
        ("https://h/api/paas/v4", "/chat/completions", "https://h/api/paas/v4/chat/completions"),
        (
            "https://r.openai.azure.com",
            "/openai/deployments/d/chat/completions",
            "https://r.openai.azure.com/openai/deployments/d/chat/completions",
        ),
        # as the client encoded it
        ("http://h", "/v1/models/a%2Fb%20c", "http://h/v1/models/a%2Fb%20c"),
        ("http://h", "//v1/models", "http://h//v1/models"),
    ],
)
def test_target(url: str, path: str, target: str) -> None:
    assert Upstream(url=url).target(path) == target
    assert Upstream(url=url).target(path, "api-version=1&x=%20") == f"{target}?api-version=1&x=%20"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://h", "/v1/../../admin"),
        ("http://h", "/.."),
        ("http://h/v1", "/v1/../admin"),
        ("http://h/v1", "/v1/.."),
        ("http://h/api", "/v1/../../admin"),
        ("http://h/api", "/%2e%2e/admin"),
        ("http://h/api", "/%2E./admin"),
        ("http://h/api", "/%252e%252e/admin"),
        ("http://h/api", "/..%2fadmin"),
        ("http://h/api", "/x%2f..%2f..%2fadmin"),
        ("http://h/api", "/..%5cadmin"),
        ("http://h/api", "/..\\admin"),
        ("http://h/api", "/..;x/admin"),
        # a server that keeps %2f, and one that joins slashes
        ("http://h/api", "/a%2fb/../../admin"),
        ("http://h/api", "//a//../../admin"),
        ("http://h", "*"),
        ("http://h/v1", ""),
    ],
)
def test_a_target_outside_of_the_upstream(url: str, path: str) -> None:
    with pytest.raises(TargetError):
        Upstream(url=url).target(path)


@pytest.mark.parametrize("path", ["/a/../b", "/a/./b", "/a..b/...", "/a%2f..%2fb", "/%2e/b"])
def test_dots_that_stay_within_the_upstream(path: str) -> None:
    assert Upstream(url="http://h/api").target(path) == f"http://h/api{path}"


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("key=K", ""),
        ("api-version=1&key=K&x=%20", "api-version=1&x=%20"),
        ("%6bey=K&API_KEY=K&access_token=K&a", "a"),
        ("keys=1&monkey=2&=&", "keys=1&monkey=2&=&"),
        ("", ""),
    ],
)
def test_a_query_without_keys(query: str, kept: str) -> None:
    assert without_keys(query) == kept


@pytest.mark.parametrize(
    "url", ["", "h:8000", "ftp://h", "http://", "http://h/v1?key=s3cret", "http://u:s3cret@h"]
)
def test_no_upstream(url: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        Upstream(url=url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "url"),
    [
        ("moa-gpt-4", "http://optillm"),
        ("gpt-4", "http://gpt"),
        ("gpt-4-mini", "http://gpt"),
        ("llama3", "http://default"),
        # the first that fits, and case counts
        ("moa-x", "http://optillm"),
        ("MOA-x", "http://default"),
        ("org/gpt-4", "http://default"),
        ("", "http://default"),
        (None, "http://default"),
    ],
)
def test_route(model: str | None, url: str) -> None:
    upstreams = Upstreams(
        default=Upstream(url="http://default"),
        routes=(
            Upstream(url="http://optillm", models="moa-*"),
            Upstream(url="http://gpt", models="gpt-*"),
            Upstream(url="http://never", models="moa-x"),
        ),
    )
    assert upstreams.of(model).url == url


def test_key_is_not_part_of_the_upstream() -> None:
    upstream = Upstream(url="http://h", key_env="K")
    assert upstream.key({"K": " s3cret\n"}) == "s3cret"
    assert "s3cret" not in repr(upstream)
    assert Upstream(url="http://h").key({"K": "s3cret"}) is None
    for environ in ({}, {"K": " "}):
        with pytest.raises(UpstreamError, match="the variable K is not set"):
            upstream.key(environ)


HOPS = [
    (b"Connection", b"close, X-Hop"),
    (b"connection", b"x-other"),
    (b"X-Hop", b"1"),
    (b"X-Other", b"1"),
    (b"Keep-Alive", b"timeout=5"),
    (b"Proxy-Authorization", b"Basic x"),
    (b"Proxy-Connection", b"keep-alive"),
    (b"TE", b"trailers"),
    (b"Trailer", b"X"),
    (b"Transfer-Encoding", b"chunked"),
    (b"Upgrade", b"h2c"),
]


def test_hop_by_hop_headers_of_a_request() -> None:
    ours = [(b"Host", b"proxy"), (b"Expect", b"100-continue")]
    kept = [(b"X-A", b"1"), (b"x-a", b"2"), (b"accept-encoding", b"br")]
    assert to_upstream([*HOPS, *ours, *kept], key=None, identity=False) == [
        ("x-a", "1"),
        ("x-a", "2"),
        ("accept-encoding", "br"),
    ]


def test_hop_by_hop_headers_of_an_answer() -> None:
    kept = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"content-length", b"3")]
    assert to_client([*HOPS, *kept], 200) == kept
    for status in (204, 304):
        assert to_client([*HOPS, *kept], status) == kept[:2]


def test_no_compression_is_asked_for() -> None:
    headers = to_upstream([(b"accept-encoding", b"br, gzip")], key=None, identity=True)
    assert headers == [("accept-encoding", "identity")]


@pytest.mark.parametrize(
    ("sent", "goes"),
    [
        ([], ("authorization", "Bearer own")),
        ([(b"authorization", b"Bearer theirs")], ("authorization", "Bearer own")),
        ([(b"api-key", b"theirs")], ("api-key", "own")),
        (
            [(b"x-api-key", b"theirs"), (b"authorization", b"theirs")],
            ("authorization", "Bearer own"),
        ),
        ([(b"X-Goog-Api-Key", b"theirs"), (b"cookie", b"s=1")], ("x-goog-api-key", "own")),
        (
            [(b"x-goog-api-key", b"theirs"), (b"authorization", b"theirs")],
            ("authorization", "Bearer own"),
        ),
        ([(b"Cookie", b"s=1"), (b"cookie", b"t=2")], ("authorization", "Bearer own")),
        ([(b"ocp-apim-subscription-key", b"theirs")], ("authorization", "Bearer own")),
    ],
)
def test_own_key(sent: list[tuple[bytes, bytes]], goes: tuple[str, str]) -> None:
    assert to_upstream(sent, key="own", identity=False) == [goes]


def test_values_that_are_no_ascii() -> None:
    sent = [(b"x-utf8", "ü".encode()), (b"x-latin", b"\xfc")]
    assert to_upstream(sent, key=None, identity=False) == [("x-utf8", "ü"), ("x-latin", "ü")]
