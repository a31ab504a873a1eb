"""The command line: `serve`, `check`, `normalize`, `rules`, and those for cassettes.

Click is an extra like every other library of a door, so this module does without it: it holds the
table of the subcommands and says what to install where something is missing.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from typing import NamedTuple

DISTRIBUTION = "stream-normalizer"


class Command(NamedTuple):
    """A subcommand: where it is (``module:attribute``), its extras with commas, its help."""

    target: str
    extra: str
    summary: str


# A subcommand's module is imported when it is called, so that `normalize` starts without aiohttp.
COMMANDS = {
    "serve": Command(
        "normalizer.cli.serve:serve", "serve", "Run the reverse proxy in front of an upstream."
    ),
    "check": Command(
        "normalizer.cli.check:check", "cli", "Lint streams: files, standard input, or a server."
    ),
    "normalize": Command(
        "normalizer.cli.normalize:normalize", "cli", "Repair a stream from standard input."
    ),
    "rules": Command("normalizer.cli.rules:rules", "cli", "Explain what is found and repaired."),
    "record": Command(
        "normalizer.cli.cassette:record",
        "cassette,serve",
        "Record a server's streams to a cassette.",
    ),
    "replay": Command(
        "normalizer.cli.cassette:replay", "cassette,serve", "Serve a cassette as it was recorded."
    ),
    "cassette": Command(
        "normalizer.cli.cassette:cassette",
        "cassette,cli",
        "Show, verify, import, export cassettes.",
    ),
}


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line with ``args`` (None: the process's own) and exit.

    Exits with 0; with 1 where `check` or `normalize` has found a fault;
    with 2 for a wrong usage, a file or server that
    cannot be read, and a missing extra.

    Example::

        main(["rules", "T404"])
    """
    for stream in (sys.stdout, sys.stderr):
        # What a terminal or a pipe has no sign for shall not end the command.
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError):
                stream.reconfigure(errors="backslashreplace")
    try:
        from normalizer.cli.group import normalizer
    except ModuleNotFoundError as error:
        given = sys.argv[1:] if args is None else args
        name = next((each for each in given if each in COMMANDS), None)
        extra = COMMANDS[name].extra if name else "cli"
        command = f"stream-normalizer {name}" if name else "stream-normalizer"
        print(f"Error: {missing(command, extra, error)}", file=sys.stderr)
        raise SystemExit(2) from None
    normalizer.main(args, prog_name="stream-normalizer")


def missing(command: str, extra: str, error: ModuleNotFoundError) -> str:
    """What to do about a library that ``command`` needs; raises ``error`` if it is our own."""
    library = (error.name or "").partition(".")[0]
    if library in ("", "normalizer"):
        raise error
    return f"`{command}` needs {library}: pip install '{DISTRIBUTION}[{extra}]'"
