"""`stream-normalizer normalize`: repair a stream in a pipe, or many files."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import os
import select
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import click
import orjson

from normalizer import Normalizer, Options, Report, RequestInfo
from normalizer.cassette import _atomic
from normalizer.cassette.format import CassetteError
from normalizer.cassette.imports import form_of
from normalizer.catalogue import DEVIATIONS
from normalizer.cli.check.lint import Answer
from normalizer.cli.check.sources import PIECE, answers, files, is_stream
from normalizer.cli.group import Failure
from normalizer.cli.jobs import Jobs, interruptible, jobs_flag
from normalizer.cli.options import option_flags, request_flags
from normalizer.trace import Record, Trace
from normalizer.view.terminal import SideBySide

_PIECE = 65536
_SIGHT = 65536  # bytes to read to find out the endpoint


def _pieces(source: BinaryIO, normalizer: Normalizer | None = None) -> Iterator[bytes]:
    """Yield the bytes as they come, and an empty piece when a held finish may be sent."""
    try:
        file = source.fileno()
    except io.UnsupportedOperation:
        yield source.read()
        return
    while True:
        waiting = normalizer.waiting if normalizer is not None else None
        # Windows can wait for sockets only. There a held finish is sent at the end.
        if waiting is not None and os.name == "posix":
            ready, _, _ = select.select([file], [], [], waiting)
            if not ready:
                yield b""
                continue
        # Not through Python's buffer, which waits until it is full.
        piece = os.read(file, _PIECE)
        if not piece:
            return
        yield piece


def _sighted(source: BinaryIO) -> tuple[bytes, RequestInfo]:
    """Read the beginning of a stream, and guess from it which request it answers."""
    begun = b""
    for piece in _pieces(source):
        begun += piece
        _, brace, line = begun.partition(b"{")
        if (brace and b"\n" in line) or len(begun) > _SIGHT:
            break
    return begun, RequestInfo.guess(begun)


_CASSETTE = (b"version:", b"interactions:", b"metadata:")


def _recorded(name: str) -> list[Answer] | None:
    """Return the answers in a cassette, a HAR or a capture, or None for a file that is a stream.

    Raises `Failure` if the file is unreadable or has no answer.
    """
    path = Path(name)
    try:
        recording = name != "-" and path.is_file() and _is_recording(path)
    except OSError as error:
        raise Failure(f"{name}: {error.strerror}") from None
    if not recording:
        return None
    there = list(answers(name, None))
    if not there:
        raise Failure(f"{name}: the file has no answer of an API that we know")
    return there


def _chosen(name: str, there: list[Answer] | None, number: int | None) -> Answer | None:
    """Return one answer of a recording. Raises `Failure` if it is not said which."""
    if there is None:
        if number is not None:
            raise Failure(f"--interaction: {name} is not a recording of several answers")
        return None
    if number is None and len(there) > 1:
        raise Failure(
            f"{name}: the file has {len(there)} answers: choose one with --interaction, "
            f"from 0 to {len(there) - 1}"
        )
    if (number or 0) >= len(there):
        raise Failure(f"--interaction: {name} has answers from 0 to {len(there) - 1}")
    return there[number or 0]


def _is_recording(path: Path) -> bool:
    with path.open("rb") as file:
        data = file.read(PIECE)
        if len(data) == PIECE and is_stream(data, str(path)):
            return False
        if data[:1] in (b"{", b" ", b"\n"):
            data += file.read()
    try:
        return form_of(data, str(path)) in ("vcr", "har", "capture")
    except CassetteError:
        return False


def _said(report: Report) -> str:
    repairs = ", ".join(f"{code} {count}x" for code, count in report.codes.items())
    return (
        f"ended {report.end}; {report.events_in} events in, {report.events_out} out; "
        f"repaired {repairs or 'nothing'}"
    )


def _repair(
    file: BinaryIO,
    recorded: Answer | None,
    request: RequestInfo | None,
    options: Options,
    write: Callable[[bytes], object],
    trace: Trace | None = None,
) -> Report:
    """Repair one answer, and write each event as soon as it is certain."""
    begun, reason, status = b"", None, 200
    if recorded is not None:
        file = io.BytesIO(recorded.body)
        request, status = request or recorded.request, recorded.status
        reason = None if recorded.end == "complete" else f"({recorded.end})"
    elif request is None:
        begun, request = _sighted(file)
    else:
        begun = next(_pieces(file), b"")
    if recorded is None and begun.startswith(_CASSETTE):
        raise Failure(
            "standard input is a cassette: name its file, or pipe the output of "
            "`stream-normalizer cassette export FILE`"
        )
    normalizer = Normalizer(request, options, status=status, trace=trace)
    write(normalizer.feed(begun))
    if not normalizer.ended:
        for piece in _pieces(file, normalizer):
            write(normalizer.feed(piece) if piece else normalizer.flush())
            if normalizer.ended:
                # Nothing follows [DONE], and the upstream may never close.
                break
    write(normalizer.close(reason))
    return normalizer.report


# ---------------------------------------------------------------- many files


@dataclasses.dataclass(frozen=True, slots=True)
class _Task:
    """A file to repair, and the file to write."""

    name: str
    target: Path


@dataclasses.dataclass(slots=True)
class _Done:
    """What came of a file: lines for the report, whether there is an error in what was written.

    ``failure`` says why nothing was written.
    """

    said: list[str] = dataclasses.field(default_factory=list)
    has_error: bool = False
    failure: str | None = None


def _tasks(targets: tuple[str, ...], folder: Path) -> list[_Task]:
    """Return the files to write, with the names of the files to read.

    Raises `Failure` for two files of one name, and for a file that would be written over.
    """
    tasks: dict[Path, _Task] = {}
    for target in targets:
        for name in files([target]):
            inside = Path(name).relative_to(target) if Path(target).is_dir() else Path()
            task = _Task(name, folder / (inside if inside.name else Path(name).name))
            if name == "-":
                raise Failure("standard input has no name in a folder: leave out --output-dir")
            if task.target in tasks:
                other = tasks[task.target].name
                raise Failure(f"{other} and {name} have the same name: write them to two folders")
            if task.target.exists() and task.target.samefile(name):
                raise Failure(f"--output-dir: {name} would be written over")
            tasks[task.target] = task
    return list(tasks.values())


def _repair_file(
    task: _Task, *, request: RequestInfo | None, number: int | None, options: Options
) -> _Done:
    done = _Done()
    try:
        for target, recorded in _outputs(task, number):
            with (
                Path(task.name).open("rb") as file,
                _atomic.writing(target) as out,
            ):
                report = _repair(file, recorded, request, options, out.write)
            done.said.append(f"{recorded.name if recorded else task.name}: {_said(report)}")
            done.has_error = done.has_error or report.error is not None
    except Failure as error:
        done.failure = error.message
    except OSError as error:
        done.failure = f"{error.filename or task.name}: {error.strerror}"
    return done


def _outputs(task: _Task, number: int | None) -> list[tuple[Path, Answer | None]]:
    """Return the files to write, each with its answer if that is in a recording."""
    there = _recorded(task.name)
    if there is None or number is not None:
        one = _chosen(task.name, there, number)
        if one is None:
            return [(task.target, None)]
        there = [one]
    if len(there) == 1:
        return [(_named(task, there[0]), there[0])]
    return [(_named(task, one, f".{number}"), one) for number, one in enumerate(there)]


def _named(task: _Task, answer: Answer, number: str = "") -> Path:
    """Return the name of an answer of a recording: what is written is none."""
    ending = ".json" if answer.request.stream is False else ".sse"
    return task.target.with_name(f"{task.target.name}{number}{ending}")


@click.command()
@click.argument("targets", nargs=-1, metavar="[FILE]…")
@request_flags
@click.option(
    "--output-dir",
    "-o",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write each file to this folder, under its own name.",
)
@click.option(
    "--interaction",
    "number",
    type=click.IntRange(0),
    metavar="N",
    help="Which answer of a recording, from 0.",
)
@click.option("--report", is_flag=True, help="Print on stderr what was repaired.")
@click.option(
    "--diff",
    is_flag=True,
    help="Show what came beside what leaves, event by event, instead of what leaves.",
)
@click.option(
    "--trace",
    "trace_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write what becomes of each event to this file: a line of JSON for each.",
)
@jobs_flag
@option_flags(without=("mode",))
@click.pass_context
def normalize(
    ctx: click.Context,
    options: Options,
    *,
    targets: tuple[str, ...],
    folder: Path | None,
    request: RequestInfo | None,
    number: int | None,
    report: bool,
    diff: bool,
    trace_file: Path | None,
    jobs: int | None,
) -> None:
    """Repair a stream from FILE or standard input, and write it to standard output.

    \b
        curl -sN http://localhost:8000/v1/chat/completions … | stream-normalizer normalize
        stream-normalizer normalize answer.sse --request @request.json --report
        stream-normalizer normalize recorded/ more.sse --output-dir repaired/
        stream-normalizer normalize answer.sse --diff

    Every event is written as soon as it is certain. The end of the stream ends the command. Some
    repairs depend on the request: add it with --request if it has tools, n or stream_options. If it
    has "stream": false, a stream becomes one JSON object.

    FILE may be a cassette, a HAR or a capture. Then its answer is repaired for its own request.

    With --output-dir there may be many files, and folders of files, repaired in several processes
    (--jobs). Each gets a file of its own name, and an answer of a recording gets one with .sse
    behind it. A file that cannot be read does not keep the others from being repaired.

    The exit code is 1 if an output has an error: from the upstream, or because the input was cut or
    is not a stream. It is 2 if a file cannot be read or written.
    """
    targets = targets or ("-",)
    if folder is None:
        with _tracing(trace_file, diff=diff) as trace:
            code = _to_stdout(targets, request, number, options, trace, report=report, silent=diff)
        ctx.exit(code)
    if diff or trace_file is not None:
        raise click.UsageError("--diff and --trace are for one answer: leave out --output-dir.")
    tasks = _tasks(targets, folder)
    repair = functools.partial(_repair_file, request=request, number=number, options=options)
    code = 0
    with interruptible(), Jobs(jobs, [task.name for task in tasks]) as processes:
        for done in processes.in_order(repair, tasks):
            if report:
                for line in done.said:
                    click.echo(line, err=True)
            if done.failure is not None:
                click.echo(f"Error: {done.failure}", err=True)
            code = max(code, 2 if done.failure is not None else int(done.has_error))
    ctx.exit(code)


@contextlib.contextmanager
def _tracing(path: Path | None, *, diff: bool) -> Iterator[Trace | None]:
    """The trace that is written to a file, or shown, or both."""
    writers: list[Callable[[Record], object]] = []
    with contextlib.ExitStack() as stack:
        if path is not None:
            try:
                file = stack.enter_context(path.open("wb"))
            except OSError as error:
                raise Failure(f"{path}: {error.strerror}") from None
            writers.append(lambda record: file.write(orjson.dumps(record) + b"\n"))
        if diff:
            width = shutil.get_terminal_size().columns
            names = {deviation.code: deviation for deviation in DEVIATIONS}
            writers.append(SideBySide(click.echo, width=width, names=names))
        yield Trace(lambda record: [write(record) for write in writers]) if writers else None


def _opened(name: str) -> contextlib.AbstractContextManager[BinaryIO]:
    if name == "-":
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise click.UsageError(f"{name}: {error.strerror}.") from None


def _to_stdout(
    targets: tuple[str, ...],
    request: RequestInfo | None,
    number: int | None,
    options: Options,
    trace: Trace | None,
    *,
    report: bool,
    silent: bool,
) -> int:
    """Repair one answer; ``silent``: what leaves is not written."""
    name = targets[0]
    if len(targets) > 1 or Path(name).is_dir():
        raise Failure("several files, or a folder, need --output-dir DIR")
    recorded = _chosen(name, _recorded(name), number)
    out = sys.stdout.buffer

    def write(data: bytes) -> None:
        if data and not silent:
            out.write(data)
            out.flush()

    with _opened(name) as file:
        done = _repair(file, recorded, request, options, write, trace)
    if report:
        click.echo(_said(done), err=True)
    return 1 if done.error is not None else 0
