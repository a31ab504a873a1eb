"""`[tool.stream-normalizer]` of a pyproject.toml: defaults for the options of a subcommand."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from normalizer.cli.group import Failure

_TABLE = "stream-normalizer"


def configuration_flag(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--config``. The values of the table become defaults; the command line wins.

    The keys are the names of the options, with `-` or `_`. Raises `Failure` for an unknown key and
    for a file that cannot be read.
    """
    return click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        callback=_read,
        is_eager=True,
        expose_value=False,
        metavar="FILE",
        help="A pyproject.toml with [tool.stream-normalizer].  [default: the nearest one]",
    )(function)


def _read(ctx: click.Context, param: click.Parameter, given: Path | None) -> None:
    path = given or _nearest()
    if path is None:
        return
    try:
        tools = tomllib.loads(path.read_text("utf-8")).get("tool", {})
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise Failure(f"{path}: {error}") from None
    table = tools.get(_TABLE, {})
    flags: dict[str, str] = {}
    for one in ctx.command.params:
        if isinstance(one, click.Option) and one.name and one.name != param.name:
            flags |= {name.lstrip("-").replace("-", "_"): one.name for name in one.opts}
    for key in table:
        if key.replace("-", "_") not in flags:
            known = ", ".join(sorted(name.replace("_", "-") for name in flags if len(name) > 1))
            raise Failure(f"{path}: [tool.{_TABLE}] has no key {key} (there are {known})")
    values = {flags[key.replace("-", "_")]: value for key, value in table.items()}
    ctx.default_map = {**(ctx.default_map or {}), **values}


def _nearest() -> Path | None:
    """The pyproject.toml of this folder, or of the nearest one above that has one."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file():
            return folder / "pyproject.toml"
    return None
