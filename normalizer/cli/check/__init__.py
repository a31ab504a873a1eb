"""`stream-normalizer check`: a linter for streams."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator

import click
from rich.progress import Progress, SpinnerColumn, TextColumn

from normalizer import Options, RequestInfo
from normalizer.cli.check.lint import Answer, Linted, lint
from normalizer.cli.check.notes import notes
from normalizer.cli.check.outcome import exit_code, unanswered
from normalizer.cli.check.output import as_github, as_json, console, show, summary
from normalizer.cli.check.probes import PROBES, Server, chosen, stops
from normalizer.cli.check.sources import answers, files
from normalizer.cli.group import Failure
from normalizer.cli.options import option_flags, request_flags

_URL = ("http://", "https://")


def _collect(
    targets: tuple[str, ...],
    request: RequestInfo | None,
    *,
    model: str | None,
    key_env: str | None,
    probes: tuple[str, ...],
    timeout: float,
) -> Iterator[tuple[str, Answer]]:
    """All answers, each after the words for what is being waited for."""
    for target in targets:
        if not target.startswith(_URL):
            for name in files([target]):
                yield from ((name, answer) for answer in answers(name, request))
            continue
        key = None
        if key_env is not None:
            key = os.environ.get(key_env)
            if not key:
                raise Failure(f"--key-env: the variable {key_env} is not set")
        with Server(target, key=key, timeout=timeout) as server:
            asked = model or server.model()
            wanted = list(chosen(probes))
            for number, probe in enumerate(wanted, start=1):
                answer = server.ask(probe, asked)
                stopped = stops(probe, answer.status)
                if stopped:
                    answer = dataclasses.replace(answer, unasked=len(wanted) - number)
                yield f"asking {server.url}: {probe.name}", answer
                if stopped:
                    break


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET…")
@click.option("--model", metavar="NAME", help="For a server: the model to ask. [default: its only]")
@click.option(
    "--key-env", metavar="NAME", help="For a server: the environment variable with its API key."
)
@click.option(
    "--probe",
    "probes",
    multiple=True,
    type=click.Choice([probe.name for probe in PROBES]),
    help="For a server: only these requests. Repeatable.  [default: all]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="For a server: how long to wait for its next bytes.",
)
@request_flags
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="For people, for programs, for annotations in GitHub's workflows.",
)
@option_flags(without=("mode",))
@click.pass_context
def check(
    ctx: click.Context,
    options: Options,
    *,
    targets: tuple[str, ...],
    request: RequestInfo | None,
    model: str | None,
    key_env: str | None,
    probes: tuple[str, ...],
    timeout: float,
    form: str,
) -> None:
    """Find what is wrong with streams, and which clients break on it.

    A TARGET is a file (.sse as `curl -N` writes it, a cassette, a HAR, NDJSON), a folder of them,
    - for standard input, or the base URL of a server, which is then asked for text, tools, parallel
    tools, usage, two choices, seven tokens, a plain answer, a legacy completion and an error:

    \b
        stream-normalizer check answer.sse
        stream-normalizer check http://localhost:8000/v1 --model llama3
        curl -sN http://localhost:8000/v1/chat/completions … | stream-normalizer check -

    Each finding has the number of its event, counting those with data:

    \b
        answer.sse:2: T405 call-id-repeated (3 times, in events 2-4)
          | …"delta":{"tool_calls":[{"index":0,"id":"call_1","function":{"arguments":"{"}}]}…
          |                                    ^^^^^^^^^^^^^
          fault: Later fragments of a call repeat its id.
          breaks: …who breaks on it, and how
          repaired: Only the first fragment keeps the id.

    Findings are in the order of their harm: an error breaks clients or loses text, a warning is a
    fault that somebody meets, a notice is a wart.

    Exits with 0 only for answers without a fault; with 1 for findings, and for answers that failed;
    with 2 if something could not be read, or if a server answered nothing. Choose what to look for
    with --select, --ignore and --silence (codes, prefixes of them: T4, or names).
    """
    out, err = console(), console(stderr=True)
    linted: list[Linted] = []
    explained: set[str] = set()
    waiting = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        console=err,
        transient=True,
    )
    collected = _collect(
        targets, request, model=model, key_env=key_env, probes=probes, timeout=timeout
    )
    # Some versions of rich write a line feed for what is not shown.
    with waiting if err.is_terminal else contextlib.nullcontext():
        task = waiting.add_task("reading", total=None)
        for words, answer in collected:
            waiting.update(task, description=words)
            one = lint(answer, options)
            linted.append(one)
            if form == "github":
                for line in as_github(one):
                    click.echo(line)
            elif form == "text":
                show(out, one, explained)
    if not linted:
        raise Failure("there is no answer of a chat or completion in it")
    if form == "json":
        click.echo(as_json(linted))
    elif form == "text":
        summary(out, linted)
    nothing = unanswered(linted)
    if nothing:
        first = nothing[0]
        server, name, said = first.answer.server, first.answer.name, next(notes(first))
        place = f"{server}: nothing was answered; {name}" if server else name
        raise Failure(f"{place}: {said}")
    ctx.exit(exit_code(linted))
