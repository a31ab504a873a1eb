"""`stream-normalizer check`: a linter for streams."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.console import Console

from normalizer import Options, RequestInfo
from normalizer.cli.check.baseline import Baseline
from normalizer.cli.check.baseline import write as write_baseline
from normalizer.cli.check.clients import CLIENTS, breaks
from normalizer.cli.check.lint import Linted, lint
from normalizer.cli.check.notes import notes
from normalizer.cli.check.outcome import exit_code, unanswered
from normalizer.cli.check.output import as_github, as_json, console, show, summary
from normalizer.cli.check.probe_table import APIS, NAMES, Api, chosen
from normalizer.cli.check.sources import answers, files
from normalizer.cli.check.vendor import as_html, as_markdown
from normalizer.cli.configuration import configuration_flag
from normalizer.cli.group import Failure
from normalizer.cli.jobs import Jobs, interruptible, jobs_flag
from normalizer.cli.options import option_flags, request_flags

_URL = ("http://", "https://")
_REPORTS: dict[str, Callable[[list[Linted]], str]] = {"markdown": as_markdown, "html": as_html}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """What came of a part of the work: ``doing`` says which, ``failure`` why nothing did."""

    doing: str
    linted: list[Linted] = dataclasses.field(default_factory=list)
    failure: str | None = None


def _check_file(name: str, *, request: RequestInfo | None, options: Options) -> _Checked:
    try:
        linted = [lint(answer, options) for answer in answers(name, request)]
    except Failure as error:
        return _Checked(doing=name, failure=error.message)
    except OSError as error:
        # it broke off while it was read
        return _Checked(doing=name, failure=f"{name}: {error.strerror}")
    return _Checked(doing=name, linted=linted)


def _check_server(
    target: str,
    *,
    model: str | None,
    key_env: str | None,
    probes: tuple[str, ...],
    timeout: float,
    api: Api | None,
    options: Options,
) -> Iterator[_Checked]:
    # An HTTP library and a bar take as long to import as the rest: files need neither.
    from normalizer.cli.check.probes import Server, stops

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
            yield _Checked(
                doing=f"asking {server.url}: {probe.name}", linted=[lint(answer, options)]
            )
            if stopped:
                break


@contextlib.contextmanager
def _waiting(err: Console, files: int) -> Iterator[Callable[[str], None]]:
    """Show a bar, and behind it what is said with the function that is yielded.

    ``files``: how many are checked; 0: nobody knows how long it takes.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    words = TextColumn("{task.description}")
    columns = (BarColumn(), MofNCompleteColumn(), words) if files > 1 else (SpinnerColumn(), words)
    with Progress(*columns, console=err, transient=True) as waiting:
        task = waiting.add_task("reading", total=files or None)
        yield lambda doing: waiting.update(task, description=doing, advance=1)


def _say_nothing(doing: str) -> None:
    """Take the place of a bar."""


def _check_all(
    named: list[tuple[bool, list[str]]],
    jobs: Jobs,
    check_file: Callable[[str], _Checked],
    check_server: Callable[[str], Iterator[_Checked]],
) -> Iterator[_Checked]:
    """Check groups of targets. Each is either of files or of servers."""
    for are_servers, names in named:
        if are_servers:
            for server in names:
                yield from check_server(server)
        else:
            yield from jobs.in_order(check_file, names)


def _wanted(one: Linted, clients: tuple[str, ...]) -> Linted:
    """Leave out what breaks none of the clients that are asked about."""
    if not clients:
        return one
    kept = [
        finding
        for finding in one.findings
        if any(breaks(finding.code, client) for client in clients)
    ]
    return dataclasses.replace(one, findings=tuple(kept))


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET…")
@configuration_flag
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
    type=click.Choice(["text", "json", "github", "markdown", "html"]),
    default="text",
    show_default=True,
    help="Output for people, for programs, as annotations of a GitHub workflow, or as a report to "
    "send to a vendor.",
)
@click.option(
    "--client",
    "clients",
    multiple=True,
    type=click.Choice(CLIENTS),
    help="Tell only what breaks this client. Repeatable.",
)
@click.option(
    "--baseline",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Tell only what is not in this file of known findings.",
)
@click.option(
    "--write-baseline",
    "new_baseline",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the findings to this file, for --baseline.",
)
@jobs_flag
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
    clients: tuple[str, ...],
    baseline: Path | None,
    new_baseline: Path | None,
    jobs: int | None,
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
        stream-normalizer check http://localhost:8000/v1 --format markdown > for-the-vendor.md

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

    Several files are checked in several processes (--jobs). A file that cannot be read does not
    keep the others from being checked. A stream may be longer than the memory.

    The exit code is 0 if no answer has a fault. It is 1 for findings and for answers that failed.
    It is 2 if a target cannot be read, or if a server answers nothing. --select, --ignore and
    --silence choose what to look for: codes, prefixes of codes (T4), or names.

    Defaults for these options may stand in [tool.stream-normalizer] of the pyproject.toml of this
    folder, or of one above it.
    """
    known = Baseline.read(baseline) if baseline is not None else None
    telling = _Telling(form, clients, known)
    err = console(stderr=True)
    failures = 0
    check_file = functools.partial(_check_file, request=request, options=options)
    check_server = functools.partial(
        _check_server,
        model=model,
        key_env=key_env,
        probes=probes,
        timeout=timeout,
        api=api,
        options=options,
    )
    named = [
        (are_servers, list(group) if are_servers else list(files(group)))
        for are_servers, group in itertools.groupby(targets, lambda one: one.startswith(_URL))
    ]
    every = [name for are_servers, names in named for name in names if not are_servers]
    counted = 0 if any(are_servers for are_servers, _ in named) else len(every)
    with (
        interruptible(),
        # only this process has standard input
        Jobs(1 if "-" in every else jobs, every) as processes,
        # Some versions of rich write a line feed for what is not shown.
        _waiting(err, counted) if err.is_terminal else contextlib.nullcontext(_say_nothing) as say,
    ):
        for checked in _check_all(named, processes, check_file, check_server):
            say(checked.doing)
            if checked.failure is not None:
                failures += 1
                click.echo(f"Error: {checked.failure}", err=True)
            for one in checked.linted:
                telling.take(one)
    linted = telling.linted
    if failures and not linted:
        ctx.exit(2)
    if not linted:
        raise Failure("the targets contain no answer of an API that we know")
    telling.end()
    if new_baseline is not None:
        write_baseline(new_baseline, telling.found)
    _refuse_silence(linted)
    ctx.exit(2 if failures else exit_code(linted))


class _Telling:
    """Tells what is found, in the form that was asked for.

    * ``linted``: the answers, with the findings that are told.
    * ``found``: the same, with those that are known too.
    """

    def __init__(self, form: str, clients: tuple[str, ...], known: Baseline | None) -> None:
        self.linted: list[Linted] = []
        self.found: list[Linted] = []
        self._form = form
        self._clients = clients
        self._known = known
        self._out = console()
        self._explained: set[str] = set()

    def take(self, linted: Linted) -> None:
        """Take an answer. What can be told of it alone is told at once."""
        one = _wanted(linted, self._clients)
        self.found.append(one)
        if self._known is not None:
            one = self._known.without_known(one)
        self.linted.append(one)
        if self._form == "github":
            for line in as_github(one):
                click.echo(line)
        elif self._form == "text":
            show(self._out, one, self._explained)

    def end(self) -> None:
        """Tell what can be told of all answers only."""
        if self._form == "json":
            click.echo(as_json(self.linted))
        elif self._form in _REPORTS:
            click.echo(_REPORTS[self._form](self.linted))
        elif self._form == "text":
            summary(self._out, self.linted)
            if self._known is not None and self._known.hidden:
                known = f"Not told, as the baseline has them: {self._known.hidden}"
                self._out.print(known, style="dim")


def _refuse_silence(linted: list[Linted]) -> None:
    """Raise `Failure` for a server, or files, of which nothing was an answer."""
    nothing = unanswered(linted)
    if nothing:
        first = nothing[0]
        server, name, said = first.answer.server, first.answer.name, next(notes(first))
        place = f"{server} answered nothing; {name}" if server else name
        raise Failure(f"{place}: {said}")
