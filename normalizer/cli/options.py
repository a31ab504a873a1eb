"""Flags that several subcommands have: the fields of `Options`, and what a stream answers."""

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
    """Give a command a flag for each field of `Options`, and ``options: Options`` for its argument.

    ``without`` names fields that the command decides itself; they keep their defaults. Flags that
    are not given come from ``NORMALIZER_*`` variables, then from ``ctx.default_map``.

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
    """The variables that ``--key-env`` names, which may begin as ours do."""
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
    """Give a command ``--request`` and ``--path``, and ``request: RequestInfo | None`` of them.

    None: neither was given. Raises click's own error for JSON that is none.
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
        help="The path of the request, where the stream does not say.  "
        "[default: /v1/chat/completions]",
    )(command)
    return click.option(
        "--request",
        "request_body",
        metavar="JSON|@FILE",
        help="The body of the request that the stream answers: tools, n, max_tokens and "
        "stream_options decide on some repairs.",
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
        raise click.UsageError(f"--request is no JSON: {error}.") from None
    if not isinstance(value, dict):
        raise click.UsageError("--request is no JSON object.")
    return body
