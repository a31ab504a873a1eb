"""`replay_app`: a cassette plays to any client, real front ends too, from a server of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Unpack
from urllib.parse import quote, unquote, urlsplit

from normalizer.cassette import _playing
from normalizer.cassette._cors import Cors
from normalizer.cassette._matching import MATCH_ON, Source, UnmatchedRequestError
from normalizer.cassette._playing import Pace, Played, Player, Playing
from normalizer.cassette._vcrpy import Matcher
from normalizer.cassette.faults import Fault
from normalizer.cassette.format import RecordedRequest
from normalizer.cassette.record import texts, url_of
from normalizer.cassette.scrub import ScrubOptions
from normalizer.core.exceptions import NormalizerError
from normalizer.doors import _task
from normalizer.doors.asgi import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from starlette.applications import Starlette

# They are about the connection that was recorded; a server writes its own.
_OF_THE_CONNECTION = {"connection", "date", "keep-alive", "proxy-authenticate", "proxy-connection"}
_OF_THE_CONNECTION |= {"server", "te", "trailer", "transfer-encoding", "upgrade"}


class BrokenRecordingError(NormalizerError, ConnectionAbortedError):
    """Raised in a server where the recorded body broke off, so that the one it sends does too."""


def replay_app(
    cassettes: Source | Iterable[Source],
    pace: Pace = "instant",
    *,
    split: str | None = None,
    faults: Sequence[Fault] = (),
    match_on: Sequence[str | Matcher] = MATCH_ON,
    allow_playback_repeats: bool = False,
    cors: str | None = "*",
    **options: Unpack[ScrubOptions],
) -> Starlette:
    """Make a Starlette application that answers from a cassette, as `ReplayTransport` does.

    The options are those of the transport. Any client can be pointed at it: run it with uvicorn, or
    mount it, and the path below the mount is the one that is compared. A request that has no answer
    gets status 404, and an error in OpenAI's form that says which recorded request was nearest.
    Where the recorded body broke off, `BrokenRecordingError` is raised, so that the server breaks
    the connection; a recorded timeout is silence until the client goes away. Headers of the
    recorded connection are left out.

    Pages may ask from everywhere: ``cors`` is the origin that may, as ``http://localhost:3000``,
    ``"*"`` for any, None for none. ``GET …/models`` lists the models that the recorded requests
    name, if they name one and nothing was recorded for it.

    What nobody has asked for yet is ``app.state.recordings.unplayed``. Raises as `ReplayTransport`.

    Example::

        uvicorn.run(replay_app("cassettes/vllm/text.yaml", pace="recorded"), port=8000)
    """
    from starlette.applications import Starlette
    from starlette.routing import Route

    player = Player(
        cassettes,
        pace=pace,
        split=split,
        faults=faults,
        match_on=match_on,
        allow_playback_repeats=allow_playback_repeats,
        options=options,
    )
    endpoint: ASGIApp = _Endpoint(player)
    if cors is not None:
        endpoint = Cors(endpoint, cors)
    app = Starlette(routes=[Route("/{path:path}", endpoint)])
    app.state.recordings = player.recordings
    return app


class _Endpoint:
    """The ASGI application behind every path."""

    def __init__(self, player: Player) -> None:
        self._player = player

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        message: Message = {"more_body": True}
        while message.get("more_body"):
            message = await receive()
            body += message.get("body", b"")
        asked = self._player.asked(
            RecordedRequest(
                method=scope["method"],
                uri=url_of(_below_mount(scope)),
                headers=texts(scope["headers"]),
                body=bytes(body),
            )
        )
        if asked is None:
            await _not_found(
                send, f"{scope['method']} {scope['path']}: the options say to ignore it"
            )
            return
        try:
            played, playing = self._player.play(asked)
        except UnmatchedRequestError as error:
            if (models := self._models(asked)) is None:
                await _not_found(send, str(error))
            else:
                await _json(send, 200, models)
            return
        await _answer(played, playing, receive, send)

    def _models(self, asked: RecordedRequest) -> object:
        """What a server says of its models, or of one; None if that is not what is asked."""
        _, found, name = urlsplit(asked.uri).path.rstrip("/").rpartition("/models")
        if asked.method != "GET" or not found:
            return None
        models = [
            {"id": model, "object": "model", "created": 0, "owned_by": "cassette"}
            for model in self._player.recordings.models
        ]
        if models and not name:
            return {"object": "list", "data": models}
        return next((model for model in models if model["id"] == unquote(name[1:])), None)


async def _answer(played: Played, playing: Playing, receive: Receive, send: Send) -> None:
    headers = [
        (name.lower().encode(), value.encode("latin-1", "replace"))
        for name, value in _playing.without(played.headers, _OF_THE_CONNECTION)
    ]
    await send({"type": "http.response.start", "status": played.status, "headers": headers})

    async def until_gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    # A server tells who has left only to who asks, and some of the waits are long.
    gone = _task.start(until_gone)
    try:
        while (coming := playing.next()) is not None:
            wait, data = coming
            # without waiting too: several streams take turns
            await _playing.asleep(wait)
            if wait and await gone.wait(0):
                return
            if data:
                await send({"type": "http.response.body", "body": data, "more_body": True})
        if played.end == "timeout":
            await gone.wait()
        elif played.end != "complete":
            raise BrokenRecordingError(f"the recorded body was {played.end} here")
        else:
            await send({"type": "http.response.body", "body": b""})
    finally:
        await gone.cancel()


async def _not_found(send: Send, text: str) -> None:
    error = {
        "message": text,
        "type": "invalid_request_error",
        "param": None,
        "code": "not_recorded",
    }
    await _json(send, 404, {"error": error})


async def _json(send: Send, status: int, value: object) -> None:
    body = json.dumps(value, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _below_mount(scope: Scope) -> Scope:
    root = scope.get("root_path", "").rstrip("/")
    if not root or not scope["path"].startswith(root):
        return scope
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    return {
        **scope,
        "path": scope["path"].removeprefix(root),
        "raw_path": raw.removeprefix(quote(root).encode()),
    }
