"""What the commands for cassettes share: errors, metadata, counts."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from normalizer.cassette.format import CassetteError, Metadata, Origin
from normalizer.cli import COMMANDS, missing
from normalizer.cli.group import Failure

FILE = click.Path(path_type=Path, dir_okay=False)
PLACES = click.Path(path_type=Path)

_DESCRIPTION = (
    click.option(
        "--server", default="", help="The name of the server, for the metadata of the cassette."
    ),
    click.option("--version", default="", help="Its version."),
    click.option("--note", default="", help="One or two sentences about the cassette."),
)


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Turn errors about files into one line."""
    try:
        yield
    except CassetteError as error:
        raise Failure(" ".join(str(error).split())) from None
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}") from None


@contextlib.contextmanager
def needing(command: str) -> Iterator[None]:
    """Turn a missing library into one line with the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise Failure(
            missing(f"stream-normalizer {command}", COMMANDS[command].extra, error)
        ) from None


def described(command: Callable[..., Any]) -> Any:
    """Add the flags for `metadata` to a command."""
    for option in reversed(_DESCRIPTION):
        command = option(command)
    return command


def metadata(origin: Origin | None, *, server: str, version: str, note: str) -> Metadata:
    """Return the metadata of a cassette of today."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return Metadata(origin=origin, server=server, version=version, note=note, date=today)


def files_in(places: tuple[Path, ...]) -> list[Path]:
    """Return the files, and all cassettes in the folders."""
    files = []
    for place in places:
        below = sorted(place.rglob("*.y*ml")) if place.is_dir() else [place]
        if not below:
            raise Failure(f"{place}: the folder has no cassette")
        files += below
    return files


def count(number: int, thing: str) -> str:
    """``1 chunk``, ``2 chunks``."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")
