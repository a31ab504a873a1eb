"""Flags that several subcommands have: the fields of `Options`, and what a stream answers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click
import orjson

from normalizer.options import OptionError, Options
from normalizer.request import RequestInfo

HELP = {
    "mode": "Repair, or pass the bytes untouched and only report.",
    "select": "Codes or prefixes of codes (T4) to look for.  [default: all of them]",
    "ignore": "Codes or prefixes of codes to leave alone.",
    "reasoning": "The name that reasoning goes by.",
    "comments": "Comments, which keep idle connections alive, but choke some front ends.",
    "finish": "Put the finish on a chunk of its own, or leave it with the last content.",
    "usage": "Where the usage goes: where the request asked for it, on a chunk of its own, on the "
    "finish, nowhere.",
    "extras": "Fields that OpenAI's API does not know.",
    "think_tags": "Take <think>…</think> in the text for reasoning.",
    "special_tokens": "Take leaked tokens such as <|im_end|> out of the text.",
    "cumulative": "Take chunks that repeat all the text so far for what they add.",
    "text_tool_calls": "Dialects of tool calls to look for in the text: hermes, react, kimi, "
    "deepseek.",
    "max_held_bytes": "Bytes that one stream may make us keep beside the event at hand.",
    "max_event_bytes": "Bytes that one event, or one body of JSON, may have.",
    "finish_timeout": "Seconds of silence after which a held finish is let go.",
}


def _names(ctx: click.Context, param: click.Parameter, value: Any) -> tuple[str, ...]:  # noqa: ARG001
    """Names separated by commas, or in a list as a TOML file has them."""
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(part.strip() for part in parts if part.strip())


def option_flags(*, without: tuple[str, ...] = ()) -> Callable[[Callable[..., Any]], Any]:
    """Give a command a flag for each field of `Options`, and ``options: Options`` for its argument.

    ``without`` names fields that the command decides itself; they keep their defaults. Flags that
    are not given come from ``NORMALIZER_*`` variables, then from ``ctx.default_map``.

    Example::

        @click.command()
        @option_flags(without=("mode",))
        def check(options: Options) -> None: ...
    """
    names = [name for name in get_type_hints(Options) if name not in without]

    def decorate(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def command(*args: Any, **given: Any) -> Any:
            fields = {name: given.pop(name) for name in names}
            try:
                options = Options(**fields)
            except OptionError as error:
                raise click.UsageError(f"{error}.") from None
            return function(*args, options=options, **given)

        for name in reversed(names):
            command = _flag(name)(command)
        return command

    return decorate


def _flag(name: str) -> Callable[[Any], Any]:
    hint, default = get_type_hints(Options)[name], getattr(Options(), name)
    flag = "--" + name.replace("_", "-")
    given: dict[str, Any] = {"default": default, "help": HELP[name]}
    if hint is bool:
        flag = f"{flag}/--no{flag[1:]}"
    elif get_origin(hint) is Literal:
        given |= {"type": click.Choice(get_args(hint)), "show_default": True}
    elif get_origin(hint) is tuple:
        metavar = "NAMES" if "call" in name else "CODES"
        given |= {"type": click.UNPROCESSED, "callback": _names, "metavar": metavar}
    else:
        given |= {"type": hint, "show_default": True}
    return click.option(flag, name, envvar=f"NORMALIZER_{name.upper()}", show_envvar=True, **given)


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
