"""The subcommand `demo`: what OpenAI's own client reads of recorded streams, raw and normalized."""

from __future__ import annotations

import click

from normalizer.cli.demo.program import main


@click.command()
@click.pass_context
def demo(context: click.Context) -> None:
    """Read nine recorded streams with OpenAI's client, raw and normalized.

    A server on a free local port replays them. Nothing else is asked, and no key is needed. The
    exit code is 1 if one of them does not come out right.
    """
    context.exit(main())
