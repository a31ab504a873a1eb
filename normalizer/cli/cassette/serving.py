"""`stream-normalizer record` and `replay`: servers for clients."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from normalizer.cassette.faults import Cut, Double, Fault, Garbage, Ping, Reset, Stall
from normalizer.cassette.format import CassetteError, load
from normalizer.cli.cassette.common import (
    FILE,
    PLACES,
    count,
    described,
    files_in,
    metadata,
    needing,
    reported,
)
from normalizer.cli.group import Failure
from normalizer.doors.asgi import ASGIApp, Message, NormalizingMiddleware, Receive, Scope, Send

_HOST = click.option(
    "--host", default="127.0.0.1", show_default=True, help="The address to listen on."
)


def _port(default: int) -> Callable[[Callable[..., Any]], Any]:
    return click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=default,
        show_default=True,
        metavar="N",
        help="The port to listen on. 0: any free port.",
    )


@click.command()
@click.option("--upstream", required=True, metavar="URL", help="The server to forward requests to.")
@click.option(
    "--cassette", "path", required=True, type=FILE, metavar="FILE", help="The file to record to."
)
@click.option(
    "--key-env", metavar="NAME", help="The environment variable with the API key of the upstream."
)
@click.option("--fresh", is_flag=True, help="Start the file again. Default: add to it.")
@click.option(
    "--stable",
    is_flag=True,
    help="Replace ids, times and durations, so that recording again changes little.",
)
@_HOST
@_port(8901)
@described
def record(
    *,
    upstream: str,
    path: Path,
    key_env: str | None,
    fresh: bool,
    stable: bool,
    host: str,
    port: int,
    **description: str,
) -> None:
    """Run a reverse proxy that records the answers of an upstream.

    Set the base URL of a client to it, and send the requests to record:

    \b
        stream-normalizer record --upstream http://localhost:8000/v1 --cassette chat.yaml
        → base URL http://127.0.0.1:8901/v1

    The client gets each piece as it comes. Its credentials are forwarded, but not recorded.
    """
    with needing("record"):
        import vcr  # type: ignore[import-untyped]  # noqa: F401

        from normalizer.cli.cassette.recorder import Recorder
        from normalizer.proxy import Upstream, UpstreamError
    with reported():
        before = len(load(path).interactions) if path.exists() and not fresh else 0
    try:
        target = Upstream(url=upstream, key_env=key_env)
        target.key()
    except UpstreamError as error:
        raise click.UsageError(f"{error}.") from None
    recorder = Recorder(
        target, path, fresh=fresh, metadata=metadata("recorded", **description), stable=stable
    )
    _serve(recorder, host, port, f"recording {target.url} to {path}")
    with reported():
        after = len(load(path).interactions) if path.exists() else before
    click.echo(f"{path}: {count(after - before, 'interaction')} recorded", err=True)


class _Pace(click.ParamType[Any]):
    name = "pace"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in ("instant", "recorded"):
            return value
        with contextlib.suppress(ValueError):
            if 0 < (speed := float(value)) < float("inf"):
                return speed
        return self.fail(f"{value!r} is not instant, recorded or a speed above 0.", param, ctx)


class _FaultAt(click.ParamType[Any]):
    name = "fault"
    _FORM = re.compile(r"(cut|reset|stall|garbage|ping|double)@(\d+)(?::(\d+(?:\.\d+)?))?")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        match = self._FORM.fullmatch(value)
        if match is None or (match[3] and match[1] != "stall"):
            self.fail(f"{value!r} is not of the form cut@3, or stall@3:2.5.", param, ctx)
        name, events = match[1], int(match[2])
        if name == "double":
            # double names an event, the others a place between two events
            return Double(event=max(events, 1))
        if name == "stall":
            return Stall(after_events=events, seconds=float(match[3]) if match[3] else None)
        kinds = {"cut": Cut, "reset": Reset, "garbage": Garbage, "ping": Ping}
        return kinds[name](after_events=events)


@click.command()
@click.argument("files", type=PLACES, nargs=-1, required=True)
@click.option(
    "--pace",
    type=_Pace(),
    default="instant",
    show_default=True,
    help="instant, recorded, or a speed: 2 is twice as fast.",
)
@click.option(
    "--split",
    metavar="HOW",
    help="Split the same bytes in other places: bytes, events, or random:SEED.",
)
@click.option(
    "--fault",
    "faults",
    type=_FaultAt(),
    multiple=True,
    metavar="WHAT@N",
    help="A fault after event N of each answer: cut, reset, stall (stall@3:2.5 for 2.5 seconds, "
    "else for ever), garbage or ping. double repeats that event. Repeatable.",
)
@click.option(
    "--raw/--normalized",
    default=True,
    help="Play the answers as recorded (the default), or repaired.",
)
@click.option(
    "--cors",
    default="*",
    show_default=True,
    metavar="ORIGIN",
    help="The origin of pages that may use it, such as http://localhost:3000; * for any, none for "
    "none.",
)
@click.option("--once", is_flag=True, help="Play each recorded answer only once.")
@_HOST
@_port(8902)
def replay(
    *,
    files: tuple[Path, ...],
    pace: Any,
    split: str | None,
    faults: tuple[Fault, ...],
    raw: bool,
    cors: str,
    once: bool,
    host: str,
    port: int,
) -> None:
    """Serve cassettes, or folders of them, to any client, as recorded or repaired.

    \b
        stream-normalizer replay cassettes/vllm --pace recorded
        → base URL http://127.0.0.1:8902/v1

    A request gets the answer that was recorded for its method, path and JSON body. Any other
    request gets an error with the most similar recorded request and the differences.
    """
    with needing("replay"):
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
        import vcr  # noqa: F401
    from normalizer.cassette.server import replay_app

    paths = files_in(files)
    with reported():
        try:
            app: ASGIApp = replay_app(
                paths,
                pace,
                split=split,
                faults=faults,
                allow_playback_repeats=not once,
                cors=None if cors == "none" else cors,
            )
        except CassetteError:
            raise
        except ValueError as error:
            raise click.UsageError(f"{error}.") from None
    if not raw:
        app = NormalizingMiddleware(app)
    _serve(app, host, port, f"playing {count(len(paths), 'cassette')}")


def _serve(app: ASGIApp, host: str, port: int, doing: str) -> None:
    import uvicorn

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise Failure(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --port or --host"
        ) from None
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    address = f"http://{shown}:{listening.getsockname()[1]}"
    click.echo(f"Listening on {click.style(address, bold=True)}, {doing}.", err=True)
    click.echo(f"Point the client's base URL at {address}/v1 (Ctrl-C: end).", err=True)
    config = uvicorn.Config(
        _Said(app),
        # A recording may break, and uvicorn would log a traceback for it.
        log_level="critical",
        access_log=False,
        # a recorded stall has no end of its own
        timeout_graceful_shutdown=3,
        ws="none",
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])


class _Said:
    """Write each request and its status to standard error."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = f"{scope['method']} {scope['path']}"

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                click.echo(f"{asked} {message['status']}", err=True)
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except (CassetteError, OSError) as error:
            click.echo(f"{asked}: {error}", err=True)
            raise
