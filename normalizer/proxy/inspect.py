"""The page of `serve --inspect`: the last answers, what came and what left, while they run.

What passes through a proxy is private. So the page is off unless it is asked for, and it is shown

* to programs on this machine, asked for under a name of this machine. A page of the net that has
  its own name point here (DNS rebinding) comes with that name in `Host`, and a reverse proxy in
  front of us comes with `Forwarded` headers: both are refused.
* to whoever has the token, if one is set. Then nobody else, this machine included.

It is outside of CORS, so that no other origin reads it.
"""

from __future__ import annotations

import hmac
import ipaddress
import itertools
import time
from collections import deque
from typing import Any
from urllib.parse import parse_qs

import orjson

from normalizer.core.tracing import Listener
from normalizer.doors.asgi import ASGIApp, Receive, Scope, Send
from normalizer.trace import Record, Trace

PATH = "/_normalizer"
_ANSWERS = 50  # that are kept
_BYTES = 8 * 1024 * 1024  # of one answer that are kept, as they came
_AT_ONCE = 2000  # records in one answer of ours
_FORWARDED = frozenset((b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"))
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]


class Inspector:
    """Keeps the traces of the last answers, and shows them at `PATH`.

    ``token`` is asked for as ``?token=`` or as a bearer token; None: only this machine may look.
    Raises ValueError for an empty one.

    Example::

        inspector = Inspector(token=None)
        app = inspector.around(NormalizingMiddleware(app, trace=inspector.trace))
    """

    def __init__(self, *, token: str | None = None) -> None:
        if token == "":
            raise ValueError("an empty token would let everybody look")
        self._token = token
        self._answers: deque[_Seen] = deque(maxlen=_ANSWERS)
        self._ids = itertools.count(1)
        self._changes = itertools.count(1)

    def trace(self, path: str) -> Listener:
        """Return the listener for the answer to a request."""
        seen = _Seen(next(self._ids), path, self._changes)
        self._answers.append(seen)
        return Trace(seen.add)

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return an application that has the page, and is ``app`` in all else."""

        async def inspected(scope: Scope, receive: Receive, send: Send) -> None:
            path = scope.get("path", "")
            if scope["type"] != "http" or not (path == PATH or path.startswith(PATH + "/")):
                await app(scope, receive, send)
                return
            await _respond(send, *self._page(scope))

        return inspected

    def _page(self, scope: Scope) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer to a request below `PATH`."""
        why = self._why_not(scope)
        if why:
            return 403, "text/plain; charset=utf-8", why.encode()
        if scope["method"] != "GET":
            return 405, "text/plain; charset=utf-8", b"only GET\n"
        if scope["path"] == PATH:
            from normalizer.view.page import page

            return 200, "text/html; charset=utf-8", page([], live=True).encode()
        if scope["path"] == PATH + "/records":
            return 200, "application/json", orjson.dumps(self._since(_query(scope, "since")))
        return 404, "text/plain; charset=utf-8", b"there is no such page\n"

    def _why_not(self, scope: Scope) -> str:
        """Why a request may not see the page; "" if it may."""
        headers = dict(scope["headers"])
        if self._token is not None:
            given = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
            given = given or _query(scope, "token").encode()
            right = hmac.compare_digest(given, self._token.encode())
            return "" if right else f"{PATH} needs the token: ?token=…\n"
        client = scope.get("client")
        if not (client and _is_loopback(client[0])) or _FORWARDED & headers.keys():
            return f"{PATH} is for this machine only, unless --inspect-token is set\n"
        if not _is_here(headers.get(b"host", b"").decode("latin-1")):
            return f"{PATH} is to be asked for as localhost or 127.0.0.1\n"
        return ""

    def _since(self, since: str) -> dict[str, Any]:
        """What has changed since an earlier answer of ours, which ended with ``change``."""
        from normalizer.view.recording import rules_of, with_line

        last = int(since) if since.isdecimal() and len(since) < 16 else 0
        new = [
            (change, seen.number, record)
            for seen in self._answers
            for change, record in seen.records
            if change > last
        ]
        new.sort(key=lambda one: one[0])
        del new[_AT_ONCE:]
        return {
            "change": new[-1][0] if new else last,
            "answers": [seen.about() for seen in self._answers],
            "records": [[number, with_line(record)] for _, number, record in new],
            "rules": rules_of([record for _, _, record in new]),
        }


class _Seen:
    """One answer: the records of its trace, each with the number of the change that it was."""

    def __init__(self, number: int, path: str, changes: itertools.count[int]) -> None:
        self.number = number
        self.records: list[tuple[int, Record]] = []
        self._path = path
        self._began = time.time()
        self._changes = changes
        self._bytes = 0
        self._left_out = 0

    def add(self, record: Record) -> None:
        """Keep a record, while there is room."""
        self._bytes += len(record.get("raw", "")) + len(record.get("data", ""))
        if self._bytes > _BYTES and record["type"] != "end":
            self._left_out += 1
        else:
            self.records.append((next(self._changes), record))

    def about(self) -> dict[str, Any]:
        return {
            "id": self.number,
            "path": self._path,
            "began": self._began,
            "left_out": self._left_out,
        }


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_here(host: str) -> bool:
    """Whether a `Host` is a name of this machine that nobody else can have."""
    name = host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return name.lower() == "localhost" or _is_loopback(name.strip("[]"))


def _query(scope: Scope, name: str) -> str:
    query: bytes = scope.get("query_string", b"")
    return parse_qs(query.decode("latin-1")).get(name, [""])[0]


async def _respond(send: Send, status: int, content_type: str, body: bytes) -> None:
    headers = [(b"content-type", content_type.encode()), *_HEADERS]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
