"""The outer layer of the proxy: `/healthz`, `/metrics`, the access log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from normalizer.core.report import Report
from normalizer.core.request import endpoint_of
from normalizer.doors.asgi import ASGIApp, Message, Receive, Scope, Send
from normalizer.proxy.answers import (
    ShuttingDownError,
    UpstreamBrokenError,
    error_body,
    respond,
)
from normalizer.proxy.metrics import Metrics
from normalizer.proxy.refuse import refusal
from normalizer.proxy.upstreams import Upstream

# Seconds in which the last words of an answer leave that a shutdown cuts.
_LAST_WORDS = 0.5

access = logging.getLogger("normalizer.access")


class Observer:
    """Answer `/healthz` and `/metrics`, and log a line for each other request when it is over.

    It also refuses invalid requests. If the server cancels a task at shutdown, it ends the answer:
    with an error if no answer has started, or with an error event and `[DONE]` in a stream.

    The line contains no query, header or content, because those contain keys and prompts.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, *, paths: Sequence[str] = ()) -> None:
        """``paths`` is the option of `Options`: the metrics name the API of each answer."""
        self._app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = refusal(scope)
        pages = ("/healthz", "/metrics")
        if refused is None and scope["method"] in ("GET", "HEAD") and scope["path"] in pages:
            if scope["path"] == "/healthz":
                await respond(send, 200, {"status": "ok"})
            else:
                await respond(send, *self._metrics.page())
            return
        state = scope.setdefault("state", {})
        seen = _Seen(send)
        try:
            if refused is not None:
                status, message = refused
                error = error_body(message, "invalid_request_error")
                await respond(seen.send, status, error, close=True)
            else:
                await self._app(scope, receive, seen.send)
        except ShuttingDownError:
            # The stream has had its error event and its `[DONE]`; any other answer is only half.
            if seen.streams and seen.total is None and "normalizer" in state:
                async with asyncio.timeout(_LAST_WORDS):
                    await seen.send({"type": "http.response.body", "body": b""})
        except asyncio.CancelledError:
            if seen.status is not None:
                raise
            async with asyncio.timeout(_LAST_WORDS):
                message = "The proxy is shutting down: send the request again."
                await respond(seen.send, 503, error_body(message, "shutting_down"), close=True)
        except UpstreamBrokenError:
            # It was logged; the server closes a connection whose answer is not complete.
            pass
        finally:
            self._over(scope, seen)

    def _over(self, scope: Scope, seen: _Seen) -> None:
        report: Report | None = scope["state"].get("normalizer")
        upstream: Upstream | None = scope["state"].get("upstream")
        url = upstream.url if upstream is not None else "-"
        if report is not None:
            endpoint = endpoint_of(f"http://app{scope['path']}", self._paths) or "-"
            self._metrics.count(report, endpoint, url, seen.first if seen.streams else None)
        if access.isEnabledFor(logging.INFO):
            access.info("%s", _line(scope, seen, report, url))


class _Seen:
    """What has passed of an answer, and when."""

    __slots__ = ("_began", "_send", "first", "status", "streams", "total")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._began = time.perf_counter()
        self.status: int | None = None
        self.streams = False
        self.first: float | None = None  # seconds to the first bytes of the body
        self.total: float | None = None  # seconds to the last

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.streams = any(
                name == b"content-type" and value.startswith(b"text/event-stream")
                for name, value in message.get("headers", ())
            )
        else:
            if self.first is None and message.get("body"):
                self.first = time.perf_counter() - self._began
            if not message.get("more_body"):
                self.total = time.perf_counter() - self._began
        await self._send(message)

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._began if self.total is None else self.total


def _line(scope: Scope, seen: _Seen, report: Report | None, url: str) -> str:
    client = scope.get("client")
    words = [
        client[0] if client else "-",
        f'"{scope["method"]} {scope["path"]}"'.encode("unicode_escape").decode(),
        str(seen.status or "-"),
        f"{seen.elapsed:.3f}s",
        f"upstream={url}",
    ]
    if report is not None:
        if seen.streams and seen.first is not None:
            words.append(f"first={seen.first:.3f}s")
        words.append(f"events={report.events_in}/{report.events_out}")
        words.append(f"end={report.end}")
        repairs = ",".join(f"{code}x{count}" for code, count in report.codes.items())
        words.append(f"repairs={repairs or '-'}")
    return " ".join(words)
