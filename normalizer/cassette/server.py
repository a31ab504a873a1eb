"""`replay_app`: a server that plays a cassette to any client, also to real front ends."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Unpack
from urllib.parse import quote, unquote, urlsplit

from normalizer.cassette import _playing
from normalizer.cassette._cors import Cors
from normalizer.cassette._matching import MATCH_ON, Source, UnmatchedRequestError
from normalizer.cassette._playing import Pace, Played, Player, Playing
from normalizer.cassette._vcrpy import Matcher
from normalizer.cassette.faults import Fault
from normalizer.cassette.format import End, RecordedRequest
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

_MESSAGES = re.compile(r"/messages(?:/|\Z)")
_THREAD = re.compile(r"/threads/[^/]+/messages")  # of OpenAI's Assistants


class BrokenRecordingError(NormalizerError, ConnectionAbortedError):
    """The recorded body broke here. It is raised so that the server breaks its own body too.

    ``ended_because`` has the reason in words that a client may read, those of `ReplayTransport`.
    """

    def __init__(self, end: End) -> None:
        super().__init__(f"the recorded body was {end} here")
        _, words = _playing.BREAKS[end]
        self.ended_because = f"its connection broke ({words})"


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
    """Create a Starlette application that plays the answers of a cassette, like `ReplayTransport`.

    The options are those of the transport. Run it with uvicorn, or mount it. The path below the
    mount is compared. A request without an answer gets status 404, and an error in the form of the
    API that was asked (Anthropic's at ``…/messages``, else OpenAI's), which names the most similar
    recorded request. If the recorded body broke, `BrokenRecordingError` is raised, so that the
    server breaks the connection. A recorded timeout is silence until the client disconnects.
    Headers of the recorded connection are left out.

    ``cors`` is the origin whose pages may use it, such as ``http://localhost:3000``, ``"*"`` for
    any, or None for none. ``GET …/models`` lists the models of the recorded requests, if they name
    any and no answer to it was recorded.

    ``app.state.recordings.unplayed`` has the answers that were not requested yet. Raises the errors
    of `ReplayTransport`.

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
        form = _form_of(scope)
        if asked is None:
            ignored = f"{scope['method']} {scope['path']}: the options say to ignore it"
            await _json(send, 404, form.error(ignored))
            return
        try:
            played, playing = self._player.play(asked)
        except UnmatchedRequestError as error:
            if (models := self._models(asked, form)) is None:
                await _json(send, 404, form.error(str(error)))
            else:
                await _json(send, 200, models)
            return
        await _answer(played, playing, receive, send)

    def _models(self, asked: RecordedRequest, form: _Form) -> object:
        """Return the list of models, or one model, or None if the request is for neither."""
        _, found, name = urlsplit(asked.uri).path.rstrip("/").rpartition("/models")
        if asked.method != "GET" or not found:
            return None
        models = self._player.recordings.models
        if models and not name:
            return form.models([form.model(model) for model in models])
        return form.model(unquote(name[1:])) if unquote(name[1:]) in models else None


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
            raise BrokenRecordingError(played.end)
        else:
            await send({"type": "http.response.body", "body": b""})
    finally:
        await gone.cancel()


class _Form(NamedTuple):
    """How an API writes what the server says itself: an error, a model, the list of models."""

    error: Callable[[str], object]
    model: Callable[[str], dict[str, object]]
    models: Callable[[list[dict[str, object]]], object]


_OPENAI = _Form(
    error=lambda text: {
        "error": {
            "message": text,
            "type": "invalid_request_error",
            "param": None,
            "code": "not_recorded",
        }
    },
    model=lambda name: {"id": name, "object": "model", "created": 0, "owned_by": "cassette"},
    models=lambda models: {"object": "list", "data": models},
)

_ANTHROPIC = _Form(
    error=lambda text: {"type": "error", "error": {"type": "not_found_error", "message": text}},
    model=lambda name: {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": "1970-01-01T00:00:00Z",
    },
    models=lambda models: {
        "data": models,
        "has_more": False,
        "first_id": models[0]["id"],
        "last_id": models[-1]["id"],
    },
)


def _form_of(scope: Scope) -> _Form:
    """Return the form of the API that was asked. OpenAI's APIs all have one form of errors."""
    path = scope["path"]
    is_messages = _MESSAGES.search(path) is not None and _THREAD.search(path) is None
    is_theirs = is_messages or b"anthropic-version" in dict(scope["headers"])
    return _ANTHROPIC if is_theirs else _OPENAI


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
