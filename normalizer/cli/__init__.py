"""The command line: the table of its subcommands.

Click is an optional dependency, so this module does not import it. It also has the message that
names the extra to install.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from typing import NamedTuple

DISTRIBUTION = "stream-normalizer"


class Command(NamedTuple):
    """A subcommand: its target (``module:attribute``), its extras with commas, its summary."""

    target: str
    extra: str
    summary: str


# The module of a subcommand is imported when it is called. So `normalize` starts without aiohttp.
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
    "view": Command(
        "normalizer.cli.view:view", "cli", "Show in a browser what came, and what became of it."
    ),
    "rules": Command("normalizer.cli.rules:rules", "cli", "Explain the faults and their repairs."),
    "record": Command(
        "normalizer.cli.cassette:record",
        "cassette,serve",
        "Record a server's streams to a cassette.",
    ),
    "replay": Command(
        "normalizer.cli.cassette:replay", "cassette,serve", "Serve the answers of a cassette."
    ),
    "cassette": Command(
        "normalizer.cli.cassette:cassette",
        "cassette,cli",
        "Show, verify, import, export cassettes.",
    ),
    "demo": Command(
        "normalizer.cli.demo:demo", "demo", "Show what OpenAI's client reads, raw and normalized."
    ),
}


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit. ``args`` of None means the arguments of the process.

    The exit code is 0; 1 if `check` or `normalize` found a fault; 2 for a usage error, a file or
    server that cannot be read, or a missing extra.

    Example::

        main(["rules", "T404"])
    """
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal or pipe cannot encode must not end the command.
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
    """Return the message for a missing library. Raises ``error`` if the library is our own."""
    library = (error.name or "").partition(".")[0]
    if library in ("", "normalizer"):
        raise error
    return f"`{command}` needs {library}: pip install '{DISTRIBUTION}[{extra}]'"
