"""The live page: who may look, and what is to be seen while a stream runs."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from normalizer import NormalizingMiddleware
from normalizer.doors.asgi import Receive, Scope, Send
from normalizer.proxy import inspect
from normalizer.proxy.inspect import Inspector
from tests.streams import CHAT, DONE, STREAM, chunk, event, text

EVENTS = [
    *(event(one) for one in text("Hi")),
    event(chunk({"content": "!"}, id="other")),
    event(chunk({}, "stop")),
    DONE,
]


async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that streams `EVENTS`."""
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for one in EVENTS:
        await send({"type": "http.response.body", "body": one, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def inspected(token: str | None = None) -> Any:
    inspector = Inspector(token=token)
    return inspector.around(NormalizingMiddleware(upstream, trace=inspector.trace))


async def ask(
    app: Any,
    path: str = "/_normalizer",
    *,
    client: str = "127.0.0.1",
    host: str = "localhost:8080",
    method: str = "GET",
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    transport = httpx.ASGITransport(app, client=(client, 5000))
    async with httpx.AsyncClient(transport=transport) as http:
        url = f"http://server{path}"
        return await http.request(method, url, headers={"host": host, **(headers or {})})


async def answer(app: Any) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        response = await http.post(f"http://server{CHAT}", json=STREAM)
        assert response.text.endswith("[DONE]\n\n")


pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("client", "host"),
    [
        ("127.0.0.1", "localhost:8080"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.8.8.8", "LOCALHOST"),
        ("::1", "[::1]:8080"),
    ],
)
async def test_this_machine_may_look(client: str, host: str) -> None:
    response = await ask(inspected(), client=client, host=host)
    assert response.status_code == 200
    assert "connect-src 'self'" in response.text
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("client", "host", "headers"),
    [
        ("10.0.0.5", "localhost", {}),
        ("127.0.0.1", "evil.example", {}),
        ("127.0.0.1", "localhost.evil.example", {}),
        ("127.0.0.1", "127.0.0.1.nip.io", {}),
        ("127.0.0.1", "", {}),
        ("127.0.0.1", "localhost", {"x-forwarded-for": "10.0.0.5"}),
        ("127.0.0.1", "localhost", {"forwarded": "for=10.0.0.5"}),
        ("testclient", "localhost", {}),
    ],
)
@pytest.mark.parametrize("path", ["/_normalizer", "/_normalizer/records"])
async def test_others_may_not(client: str, host: str, headers: dict[str, str], path: str) -> None:
    app = inspected()
    await answer(app)
    response = await ask(app, path, client=client, host=host, headers=headers)
    assert response.status_code == 403
    assert "chatcmpl" not in response.text


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("?token=s3cret", {}, 200),
        ("", {"authorization": "Bearer s3cret"}, 200),
        ("?token=s3cre", {}, 403),
        ("", {"authorization": "Bearer wrong"}, 403),
        ("", {}, 403),
    ],
)
async def test_a_token(query: str, headers: dict[str, str], status: int) -> None:
    app = inspected("s3cret")
    response = await ask(
        app, "/_normalizer" + query, client="10.0.0.5", host="gpu.example", headers=headers
    )
    assert response.status_code == status


async def test_an_empty_token_is_none() -> None:
    with pytest.raises(ValueError, match="everybody"):
        Inspector(token="")


async def test_with_a_token_this_machine_needs_it_too() -> None:
    assert (await ask(inspected("s3cret"))).status_code == 403


async def test_shows_both_sides_of_an_answer() -> None:
    app = inspected()
    await answer(app)
    seen = (await ask(app, "/_normalizer/records")).json()
    (about,) = seen["answers"]
    assert (about["id"], about["path"]) == (1, CHAT)
    records = [record for _, record in seen["records"]]
    assert [one["line"] for one in records if one["type"] == "came"][:3] == [
        "role assistant",
        '+"Hi"',
        '+"!"',
    ]
    assert '"id":"chatcmpl-1"' in [one for one in records if one["type"] == "left"][2]["data"]
    assert seen["rules"]["E202"]["name"] == "id-changes"
    assert records[-1]["report"]["end"] == "done"


async def test_tells_only_what_is_new() -> None:
    app = inspected()
    await answer(app)
    seen = (await ask(app, "/_normalizer/records")).json()
    again = (await ask(app, f"/_normalizer/records?since={seen['change']}")).json()
    assert (again["records"], again["change"]) == ([], seen["change"])
    await answer(app)
    more = (await ask(app, f"/_normalizer/records?since={seen['change']}")).json()
    assert {number for number, _ in more["records"]} == {2}
    odd = (await ask(app, "/_normalizer/records?since=-1x")).json()
    assert len(odd["records"]) == 2 * len(seen["records"])


async def test_keeps_the_last_answers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "_ANSWERS", 3)
    app = inspected()
    for _ in range(5):
        await answer(app)
    seen = (await ask(app, "/_normalizer/records")).json()
    assert [about["id"] for about in seen["answers"]] == [3, 4, 5]


async def test_keeps_no_more_of_an_answer_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "_BYTES", 1000)
    app = inspected()
    await answer(app)
    seen = (await ask(app, "/_normalizer/records")).json()
    assert seen["answers"][0]["left_out"] > 0
    assert seen["records"][-1][1]["type"] == "end"


async def test_other_paths_and_methods() -> None:
    app = inspected()
    assert (await ask(app, "/_normalizer/other")).status_code == 404
    assert (await ask(app, method="POST")).status_code == 405
    assert (await ask(app, "/_normalizers")).status_code == 200  # the application's own
