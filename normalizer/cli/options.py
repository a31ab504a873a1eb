"""Flags that several subcommands share: the fields of `Options`, and the request."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import orjson

from normalizer.core.options import FIELDS, OptionError, Options, check_variables
from normalizer.core.request import RequestInfo


def option_flags(*, without: tuple[str, ...] = ()) -> Callable[[Callable[..., Any]], Any]:
    """Add a flag for each field of `Options`. The command gets the argument ``options: Options``.

    ``without`` lists fields without a flag, which keep their defaults. The value of a flag that is
    not given comes from its ``NORMALIZER_*`` variable, or else from ``ctx.default_map``.

    Example::

        @click.command()
        @option_flags(without=("mode",))
        def check(options: Options) -> None: ...
    """
    names = [name for name in FIELDS if name not in without]

    def decorate(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def command(*args: Any, **given: Any) -> Any:
            fields = {name: given.pop(name) for name in names}
            try:
                check_variables(os.environ, besides=_named(given.get("key_env")))
                options = Options(**fields)
            except OptionError as error:
                raise click.UsageError(f"{error}.") from None
            return function(*args, options=options, **given)

        for name in reversed(names):
            command = _flag(name)(command)
        return command

    return decorate


def _named(key_envs: Any) -> set[str]:
    """Return the variables that ``--key-env`` names. They may begin with ``NORMALIZER_``."""
    given = (key_envs,) if isinstance(key_envs, str) else key_envs or ()
    return {one.rpartition("=")[2] for one in given}


def _flag(name: str) -> Callable[[Any], Any]:
    field = FIELDS[name]
    flag = field.flag
    given: dict[str, Any] = {"default": field.default, "help": field.help}
    if field.hint is bool:
        flag = f"{flag}/--no{flag[1:]}"
    elif field.values:
        given |= {"type": click.Choice(field.values), "show_default": True}
    elif field.kind:
        given |= {"type": click.UNPROCESSED, "metavar": field.kind.upper()}
    else:
        given |= {"type": field.hint, "show_default": True}
    return click.option(flag, name, envvar=field.variable, show_envvar=True, **given)


def request_flags(function: Callable[..., Any]) -> Any:
    """Add ``--request`` and ``--path``. The command gets ``request: RequestInfo | None``.

    None means that neither was given. Raises a usage error for invalid JSON.
    """

    @functools.wraps(function)
    def command(*args: Any, **given: Any) -> Any:
        path, body = given.pop("request_path"), given.pop("request_body")
        request = None
        if path is not None or body is not None:
            request = RequestInfo.parse(path or "/v1/chat/completions", _body(body))
        return function(*args, request=request, **given)

    command = click.option(
        "--path",
        "request_path",
        metavar="PATH",
        help="The path of the request, if the stream does not show it.  "
        "[default: /v1/chat/completions]",
    )(command)
    return click.option(
        "--request",
        "request_body",
        metavar="JSON|@FILE",
        help="The body of the request. Some repairs depend on its tools, n, max_tokens and "
        "stream_options.",
    )(command)


def _body(given: str | None) -> bytes | None:
    if given is None:
        return None
    body = given.encode()
    if given.startswith("@"):
        try:
            body = Path(given[1:]).read_bytes()
        except OSError as error:
            raise click.UsageError(f"--request {given}: {error.strerror}.") from None
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise click.UsageError(f"--request is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise click.UsageError("--request is not a JSON object.")
    return body
