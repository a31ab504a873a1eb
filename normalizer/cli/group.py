"""The group of all subcommands. A subcommand is imported when it is called."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any, cast

import click

from normalizer import __version__
from normalizer.cli import COMMANDS, missing


class Failure(click.ClickException):
    """An error that ends a command with one line and the exit code 2.

    Click's own exits with 1, which means for `check` that there are findings.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        # errors of YAML and of the system may have several lines
        super().__init__(" ".join(part.strip() for part in message.splitlines()))


class NearGroup(click.Group):
    """A group that suggests the most similar subcommand."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known, given = self.list_commands(ctx), args[0]
        if given in known or given.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        import difflib

        close = difflib.get_close_matches(given, known, n=1)
        there = f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(known)}."
        raise click.UsageError(f"No such command {given!r}. {there}", ctx)


class LazyGroup(NearGroup):
    """The group of the subcommands in `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        try:
            loaded = importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise Failure(missing(f"stream-normalizer {cmd_name}", entry.extra, error)) from None
        return cast(click.Command, getattr(loaded, attribute))

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _in_one_line():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _in_one_line():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        # Click would import every subcommand to print its summary.
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@contextlib.contextmanager
def _in_one_line() -> Iterator[None]:
    """Print a usage error in one line. Click prints three, and only the last is useful."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx is not None else "stream-normalizer"
        raise Failure(f"{error.format_message()} ({command} --help)") from None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="%(version)s")
def normalizer() -> None:
    """Turn every "compatible" stream into the one that OpenAI's or Anthropic's own API sends.

    Run a reverse proxy for a chat front end that you cannot change:

    \b
        stream-normalizer serve --upstream http://localhost:8000/v1

    Find the faults of a server, or of recorded answers:

    \b
        stream-normalizer check http://localhost:8000/v1 --model m
        stream-normalizer check answer.sse cassettes/
        stream-normalizer rules T404

    Look at a stream in the browser:

    \b
        stream-normalizer view answer.sse

    Repair a stream in a pipe:

    \b
        curl -N … | stream-normalizer normalize
    """
