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
from normalizer.cli.check.probe_table import APIS, NAMES, Api, chosen
from normalizer.cli.check.probes import Server, stops
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
    api: Api | None,
) -> Iterator[tuple[str, Answer]]:
    """Yield all answers, each with a text that describes the current work."""
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
        with Server(target, key=key, timeout=timeout, api=api) as server:
            wanted = chosen(server.api, probes)
            if not wanted:
                raise Failure(f"--probe: there is no such probe of the API {server.api}")
            asked = model or server.model()
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
@click.option(
    "--model", metavar="NAME", help="For a server: the model to use.  [default: its only model]"
)
@click.option(
    "--key-env", metavar="NAME", help="For a server: the environment variable with its API key."
)
@click.option(
    "--api",
    type=click.Choice(APIS),
    help="For a server: the API to probe.  [default: the last word of the URL, or chat]",
)
@click.option(
    "--probe",
    "probes",
    multiple=True,
    type=click.Choice(NAMES),
    help="For a server: send only this request. Repeatable.  [default: all]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="For a server: the longest silence.",
)
@request_flags
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="Output for people, for programs, or as annotations of a GitHub workflow.",
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
    api: Api | None,
    form: str,
) -> None:
    """Find the faults of streams, and the clients that break on them.

    A TARGET is a file (.sse as `curl -N` writes it, a cassette, a HAR, NDJSON), a folder of files,
    - for standard input, or the base URL of a server. A server gets a fixed set of requests: text,
    tools, parallel tools, usage, two choices, seven tokens, an answer without streaming, a legacy
    completion and an invalid request. --api responses and --api messages send the requests of
    these APIs. So does a URL that ends in /responses or /messages.

    \b
        stream-normalizer check answer.sse
        stream-normalizer check http://localhost:8000/v1 --model llama3
        stream-normalizer check http://localhost:8000/v1/responses --model llama3
        curl -sN http://localhost:8000/v1/chat/completions … | stream-normalizer check -

    Each finding has the number of its event. Only events with data count:

    \b
        answer.sse:2: T405 call-id-repeated (3 times, in events 2-4)
          | …"delta":{"tool_calls":[{"index":0,"id":"call_1","function":{"arguments":"{"}}]}…
          |                                    ^^^^^^^^^^^^^
          fault: Later fragments of a call repeat its id.
          breaks: …which clients break, and how
          repaired: Only the first fragment keeps the id.

    The most harmful findings come first. An error breaks clients or loses text. A warning affects
    some users. A notice affects no known client.

    The exit code is 0 if no answer has a fault. It is 1 for findings and for answers that failed.
    It is 2 if a target cannot be read, or if a server answers nothing. --select, --ignore and
    --silence choose what to look for: codes, prefixes of codes (T4), or names.
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
        targets,
        request,
        model=model,
        key_env=key_env,
        probes=probes,
        timeout=timeout,
        api=api,
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
        raise Failure("the targets contain no answer of an API that we know")
    if form == "json":
        click.echo(as_json(linted))
    elif form == "text":
        summary(out, linted)
    nothing = unanswered(linted)
    if nothing:
        first = nothing[0]
        server, name, said = first.answer.server, first.answer.name, next(notes(first))
        place = f"{server} answered nothing; {name}" if server else name
        raise Failure(f"{place}: {said}")
    ctx.exit(exit_code(linted))
