"""The command line: `serve`, `check`, `normalize`, `rules`, and those for cassettes.

Click is an extra like every other library of a door, so this module does without it: it holds the
table of the subcommands and says what to install where something is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

DISTRIBUTION = "stream-normalizer"


class Command(NamedTuple):
    """A subcommand: where it is (``module:attribute``), the extra it needs, its line of help."""

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
        "normalizer.cli.cassette:record", "cassette", "Record a server's streams to a cassette."
    ),
    "replay": Command(
        "normalizer.cli.cassette:replay", "cassette", "Serve a cassette as it was recorded."
    ),
    "cassette": Command(
        "normalizer.cli.cassette:cassette", "cassette", "Show, verify, import, export cassettes."
    ),
}


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line with ``args`` (None: the process's own) and exit.

    Exits with 0; with 1 where `check` has findings; with 2 for a wrong usage, a file or server that
    cannot be read, and a missing extra.

    Example::

        main(["rules", "T404"])
    """
    try:
        from normalizer.cli.group import normalizer
    except ModuleNotFoundError as error:
        print(f"Error: {missing('stream-normalizer', 'cli', error)}", file=sys.stderr)
        raise SystemExit(2) from None
    normalizer.main(args, prog_name="stream-normalizer")


def missing(command: str, extra: str, error: ModuleNotFoundError) -> str:
    """What to do about a library that ``command`` needs; raises ``error`` if it is our own."""
    library = (error.name or "").partition(".")[0]
    if library in ("", "normalizer"):
        raise error
    return f"`{command}` needs {library}: pip install '{DISTRIBUTION}[{extra}]'"
