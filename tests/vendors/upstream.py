"""A server that answers each client with the bytes that the request's path names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

from tests.conftest import ASGIApp, Receive, Send


class Body(NamedTuple):
    content: bytes
    content_type: str


Answer = Callable[[dict[str, Any]], Body | None]


def answers(bodies: Mapping[str, Body], after_call: Answer) -> ASGIApp:
    """An application that answers a POST below ``/NAME/`` with the body of that name.

    A program that is asked for a call runs it and asks again: the body of this second request goes
    to ``after_call``, whose answer is sent in place of the named one unless it is None. All other
    requests are answered with 404: the programs ask for lists of models, and they do without.
    """

    def answer(scope: MutableMapping[str, Any], asked: bytes) -> Body | None:
        body = bodies.get(scope["path"].split("/")[1])
        if scope["method"] != "POST" or body is None:
            return None
        return after_call(json.loads(asked)) or body

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        asked, more = b"", True
        while more:
            message = await receive()
            asked, more = asked + message.get("body", b""), message.get("more_body", False)
        body = answer(scope, asked)
        content, content_type = body or _NOTHING
        headers = [(b"content-type", content_type.encode())]
        status = 404 if body is None else 200
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for piece in re.split(rb"(?<=\n\n)", content):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


_NOTHING = Body(b'{"error":{"message":"nothing is here"}}', "application/json")
