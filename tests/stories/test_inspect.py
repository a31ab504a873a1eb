"""`serve --inspect`, in a real browser, while a stream runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import anyio.to_thread
import httpx2
import pytest

from tests.conftest import PATIENCE, ASGIApp
from tests.proxy.conftest import Proxied
from tests.streams import CHAT, DONE, STREAM, chunk, event, text

Serve = Callable[[ASGIApp], str]


@pytest.fixture
def slow(serve: Serve) -> Iterator[tuple[str, threading.Event]]:
    """An upstream that sends two events, and its end when it is told to."""
    goes_on = threading.Event()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for one in text("Hi"):
            await send({"type": "http.response.body", "body": event(one), "more_body": True})
        await anyio.to_thread.run_sync(goes_on.wait, PATIENCE)
        last = event(chunk({"content": "!"}, "stop", id="other")) + DONE
        await send({"type": "http.response.body", "body": last})

    yield serve(app), goes_on
    goes_on.set()


def test_shows_a_stream_while_it_runs(
    browser: Any, proxy: Callable[..., Proxied], slow: tuple[str, threading.Event]
) -> None:
    upstream, goes_on = slow
    url = proxy(upstream, "--inspect").url
    page = browser.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{url}/_normalizer")
    page.wait_for_selector("#summary:has-text('No answer has passed yet')")
    with (
        httpx2.Client(timeout=PATIENCE, trust_env=False) as client,
        client.stream("POST", url + CHAT, json=STREAM) as response,
    ):
        pieces = response.iter_text()
        assert "assistant" in next(pieces)
        page.wait_for_selector(".row:has-text('+\"Hi\"')", timeout=PATIENCE * 1000)
        assert "running" in page.inner_text("#summary")
        goes_on.set()
        for _ in pieces:
            pass
    page.wait_for_selector("#summary:has-text('ended: done')", timeout=PATIENCE * 1000)
    assert "E202" in page.inner_text("#codes")
    assert page.locator(".row .left:has-text('finish stop')").count() == 1
    page.close()
    assert wrong == []


def test_is_off_unless_asked_for(
    proxy: Callable[..., Proxied], slow: tuple[str, threading.Event]
) -> None:
    upstream, goes_on = slow
    goes_on.set()
    url = proxy(upstream).url
    with httpx2.Client(timeout=PATIENCE, trust_env=False) as client:
        # the upstream's own answer: the path is not ours
        assert "stream-normalizer" not in client.get(f"{url}/_normalizer").text
