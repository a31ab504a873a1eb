"""What the commands for cassettes have in common: their errors, their metadata, their counts."""

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
    click.option("--server", default="", help="What answered, for the cassette's metadata."),
    click.option("--version", default="", help="Its version."),
    click.option("--note", default="", help="A sentence or two on what the cassette shows."),
)


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Errors about files become one line."""
    try:
        yield
    except CassetteError as error:
        raise Failure(" ".join(str(error).split())) from None
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}") from None


@contextlib.contextmanager
def needing(command: str) -> Iterator[None]:
    """A library that is missing becomes one line that says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise Failure(
            missing(f"stream-normalizer {command}", COMMANDS[command].extra, error)
        ) from None


def described(command: Callable[..., Any]) -> Any:
    """Give a command the options that `metadata` takes."""
    for option in reversed(_DESCRIPTION):
        command = option(command)
    return command


def metadata(origin: Origin | None, *, server: str, version: str, note: str) -> Metadata:
    """Of a cassette that is made today."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return Metadata(origin=origin, server=server, version=version, note=note, date=today)


def files_in(places: tuple[Path, ...]) -> list[Path]:
    """The files, and the cassettes below the folders."""
    files = []
    for place in places:
        below = sorted(place.rglob("*.y*ml")) if place.is_dir() else [place]
        if not below:
            raise Failure(f"{place}: there is no cassette in this folder")
        files += below
    return files


def count(number: int, thing: str) -> str:
    """``1 chunk``, ``2 chunks``."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")
