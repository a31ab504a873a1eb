"""`stream-normalizer serve`: run the reverse proxy in uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import logging
import os
import socket
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from normalizer.cli.group import Failure
from normalizer.cli.options import option_flags
from normalizer.cli.protocol import Protocol
from normalizer.cli.workers import Workers, serve_alone
from normalizer.core.options import Options
from normalizer.proxy import ProxyConfig, Upstream, UpstreamError, Upstreams
from normalizer.proxy.cors import origin
from normalizer.proxy.forward import MAX_BODY_BYTES
from normalizer.proxy.metrics import FOLDER

_LOOPBACK = ("127.", "localhost", "::1")
_BACKLOG = 2048
_OPEN_FILES = 65536
_SAID = (
    "ASGI callable returned without",
    # The handshake was refused, with a line in the access log.
    "Unsupported upgrade request",
    "No supported WebSocket library",
)
_SHUTTING_DOWN = "Waiting for connections to close"


def _read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Use the values of the file as defaults. The command line wins."""
    if path is None:
        return
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise Failure(f"{path}: {error}") from None
    known = {one.name for one in ctx.command.params if one.name not in ("help", param.name)}
    values: dict[str, Any] = {}
    for key, value in given.items():
        name = key.replace("-", "_")
        if name not in known:
            flags = ", ".join(sorted(str(one).replace("_", "-") for one in known))
            raise Failure(f"{path}: no such key: {key} (there are {flags})")
        values[name] = value
    keys = values.get("key_env", [])
    values["key_env"] = [keys] if isinstance(keys, str) else keys
    if isinstance(values.get("route"), dict) and isinstance(values["key_env"], list):
        values["route"] = list(_routes(values["route"], values["key_env"]))
    if isinstance(values.get("cors"), str):
        values["cors"] = [values["cors"]]
    for name in ("route", "key_env", "cors"):
        if not isinstance(values.get(name, []), list):
            raise Failure(f"{path}: {name.replace('_', '-')} is a table or a list")
    ctx.default_map = {**(ctx.default_map or {}), **values}


def _read_origins(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    given: tuple[str, ...],
) -> tuple[str, ...]:
    try:
        return tuple(origin(one) for one in given)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def _routes(table: dict[str, Any], keys: list[str]) -> Iterator[str]:
    """Yield the routes of a table in the form of the flags. Adds their keys to ``keys``."""
    for models, route in table.items():
        url = route.get("url", "") if isinstance(route, dict) else str(route)
        yield f"{models}={url}"
        if isinstance(route, dict) and "key-env" in route:
            keys.append(f"{models}={route['key-env']}")


def _upstreams(url: str, routes: Iterable[str], key_envs: Iterable[str]) -> Upstreams:
    keys: dict[str, str] = {}
    for given in key_envs:
        models, equals, name = given.rpartition("=")
        keys[models if equals else "*"] = name
    found = []
    try:
        default = Upstream(url=url, key_env=keys.pop("*", None))
        for route in routes:
            models, equals, target = route.partition("=")
            if not equals or not models:
                raise click.UsageError(f"--route {route!r} is not of the form 'gpt-*=https://…'.")
            found.append(Upstream(url=target, models=models, key_env=keys.pop(models, None)))
        if keys:
            raise click.UsageError(f"--key-env {next(iter(keys))}=…: no --route has this pattern.")
        upstreams = Upstreams(default=default, routes=tuple(found))
        for upstream in upstreams:
            upstream.key()
    except UpstreamError as error:
        raise click.UsageError(f"{error}.") from None
    return upstreams


class _Relevant(logging.Filter):
    """Drop the messages of uvicorn that repeat a line of the access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if record.levelno < logging.WARNING:
            return message.startswith(_SHUTTING_DOWN)
        if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
            return False
        return not message.startswith(_SAID)


def _logging(*, access_log: bool) -> dict[str, Any]:
    """Return the logging configuration. Each worker applies it in its own interpreter."""
    said = {"handlers": ["stderr"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"relevant": {"()": "normalizer.cli.serve._Relevant"}},
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {
            "normalizer": {**said, "level": "WARNING"},
            "normalizer.access": {**said, "level": "INFO" if access_log else "CRITICAL"},
            "uvicorn.error": {**said, "level": "INFO", "filters": ["relevant"]},
        },
    }


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # The socket listens before a worker starts, so an early client waits and is not refused.
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise Failure(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}; "
            "choose another --port or --host"
        ) from None


def _refuse_itself(upstreams: Upstreams, port: int) -> None:
    for upstream in upstreams:
        parts = urlsplit(upstream.url)
        if parts.port == port and (parts.hostname or "").startswith(_LOOPBACK):
            raise Failure(f"{upstream.url} is this proxy itself: choose another --port")


def _may_inspect(workers: int, token_env: str | None) -> None:
    """Raise a usage error for a page that could not show what passes, or has an empty token."""
    if workers > 1:
        raise click.UsageError("--inspect shows the answers of one process: use --workers 1.")
    if token_env is not None and not os.environ.get(token_env):
        raise click.UsageError(f"--inspect-token-env: the variable {token_env} is not set.")


def _allow_open_files() -> None:
    """Raise the limit of open files: a stream has two sockets, and 1,024 is a common limit."""
    if importlib.util.find_spec("resource") is None:
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # the system may have a lower limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _say_where(upstreams: Upstreams, host: str, port: int, *, everybody: bool) -> None:
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{port}"
    click.echo(f"Listening on {click.style(address, bold=True)}", err=True)
    width = max(len(upstream.models) for upstream in upstreams)
    for upstream in (*upstreams.routes, upstreams.default):
        click.echo(f"  {upstream.models:{width}}  {upstream.url}", err=True)
    click.echo(f"Point the client's base URL at {address}/v1 (Ctrl-C: end gracefully).", err=True)
    keys = any(upstream.key_env for upstream in upstreams)
    if keys and everybody:
        click.echo("Warning: any web page can use the upstreams' keys (--cors '*').", err=True)
    if keys and not host.startswith(_LOOPBACK):
        click.echo(
            f"Warning: whoever reaches {shown}:{port} can use the upstreams' keys.", err=True
        )


@contextlib.contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    if workers == 1 or FOLDER in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="normalizer-") as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]


@click.command()
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_read_config,
    is_eager=True,
    expose_value=False,
    envvar="NORMALIZER_CONFIG",
    help="A TOML file. Its keys are the names of these options.",
)
@click.option("--upstream", required=True, metavar="URL", help="The server to forward requests to.")
@click.option(
    "--route",
    multiple=True,
    metavar="GLOB=URL",
    help="The server for some models. The first pattern that matches the model of the request "
    "wins; else it is --upstream. Repeatable.",
)
@click.option(
    "--key-env",
    multiple=True,
    metavar="[GLOB=]NAME",
    help="The environment variable with the API key of --upstream, or of the --route with that "
    "GLOB. Without it the client's own key is forwarded.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8900,
    show_default=True,
    metavar="N",
    help="The port to listen on. 0: any free port.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Number of processes.",
)
@click.option(
    "--connect-timeout",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Limit for connecting to an upstream.",
)
@click.option(
    "--read-timeout",
    type=click.FloatRange(0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Longest silence of an upstream, before or within its answer.",
)
@click.option(
    "--header-timeout",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Limit for the complete head of a request.",
)
@click.option(
    "--body-timeout",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Longest silence of a client within the body of its request.",
)
@click.option(
    "--max-body-bytes",
    type=click.IntRange(1),
    default=MAX_BODY_BYTES,
    show_default=True,
    metavar="N",
    help="Limit of a JSON body that is read to find the model for --route. A larger body gets "
    "status 413. All other bodies stream through.",
)
@click.option(
    "--cors",
    multiple=True,
    callback=_read_origins,
    metavar="ORIGIN",
    help="An origin whose pages may use the proxy, such as https://chat.example.com. '*' allows "
    "all. Repeatable.",
)
@click.option(
    "--inspect",
    is_flag=True,
    help="Show the last answers at /_normalizer, what came and what left, to programs on this "
    "machine.",
)
@click.option(
    "--inspect-token-env",
    metavar="NAME",
    help="The environment variable with a token for /_normalizer. With it, whoever has the token "
    "may look from anywhere.",
)
@click.option(
    "--grace",
    type=click.IntRange(1),
    metavar="SECONDS",
    help="Limit for open streams after Ctrl-C or SIGTERM. Default: none.",
)
@click.option(
    "--access-log/--no-access-log",
    default=True,
    show_default=True,
    help="Write a line for each request to stderr.",
)
@option_flags()
def serve(
    options: Options,
    *,
    upstream: str,
    route: tuple[str, ...],
    key_env: tuple[str, ...],
    host: str,
    port: int,
    workers: int,
    connect_timeout: float,
    read_timeout: float,
    header_timeout: float,
    body_timeout: float,
    max_body_bytes: int,
    cors: tuple[str, ...],
    inspect: bool,
    inspect_token_env: str | None,
    grace: int | None,
    access_log: bool,
) -> None:
    """Run a reverse proxy that makes the streams of an upstream canonical.

    Set the base URL of a chat front end to the proxy:

    \b
        stream-normalizer serve --upstream http://localhost:8000/v1
        → base URL http://127.0.0.1:8900/v1

    Use several upstreams. The model of a request chooses one, and /v1/models merges their lists:

    \b
        stream-normalizer serve --upstream http://localhost:11434/v1 \\
            --route 'moa-*=http://localhost:8000/v1' \\
            --route 'gpt-*=https://api.openai.com/v1' --key-env 'gpt-*=OPENAI_API_KEY'

    Write the same as a file, for --config:

    \b
        upstream = "http://localhost:11434/v1"
        reasoning = "both"
        [route]
        "moa-*" = "http://localhost:8000/v1"
        "gpt-*" = { url = "https://api.openai.com/v1", key-env = "OPENAI_API_KEY" }

    /healthz answers while the proxy runs. /metrics is for Prometheus (extra: metrics). A second
    Ctrl-C ends open streams at once.
    """
    upstreams = _upstreams(upstream, route, key_env)
    inspect = inspect or inspect_token_env is not None
    if inspect:
        _may_inspect(workers, inspect_token_env)
    proxy = ProxyConfig(
        upstreams=upstreams,
        options=options,
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        body_timeout=body_timeout,
        max_body_bytes=max_body_bytes,
        cors=cors,
        inspect=inspect,
        inspect_token_env=inspect_token_env,
    )
    settings = {
        "http": functools.partial(Protocol, header_timeout=header_timeout),
        "ws": "none",
        "lifespan": "on",
        "log_config": _logging(access_log=access_log),
        "access_log": False,
        # The upstream's own pass through.
        "server_header": False,
        "date_header": False,
        "timeout_keep_alive": 75,
        "timeout_graceful_shutdown": grace,
        "backlog": _BACKLOG,
    }
    listening = _listen(host, port)
    port = listening.getsockname()[1]
    _refuse_itself(upstreams, port)
    _allow_open_files()
    _say_where(upstreams, host, port, everybody="*" in cors)
    if inspect:
        click.echo("The last answers are at /_normalizer.", err=True)
    with _shared_metrics(workers):
        if workers == 1:
            serve_alone(proxy, settings, listening)
        else:
            Workers(workers, proxy, settings, listening).run()
