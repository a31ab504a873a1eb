"""What both doors share: which answers are changed, their heads, and their reports."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any

from normalizer.core.normalizer import Normalizer
from normalizer.core.options import OptionError, OptionFields, Options
from normalizer.core.report import Report
from normalizer.core.request import RequestInfo
from normalizer.core.tracing import Guard, Listener
from normalizer.doors import _task

Headers = list[tuple[bytes, bytes]]
OnReport = Callable[[Report], object]
# gives the listener for the answer to a request, by the request's path
Tracing = Callable[[str], Listener | None]

logger = logging.getLogger("normalizer")

# They describe the bytes that came, no longer those that leave.
_OF_THE_BODY = frozenset(
    (
        b"content-length",
        b"content-encoding",
        b"content-md5",
        b"content-digest",
        b"repr-digest",
        b"digest",
        b"etag",
    )
)


def chosen(
    options: Options | None, fields: OptionFields, environ: dict[str, str] | None
) -> Options:
    """Return the options of a door, given as `Options` or as fields.

    ``environ`` None: the process.
    """
    if options is None:
        return Options.from_environ(environ, **fields)
    if not isinstance(options, Options):
        raise OptionError(
            f"options is {options!r}; it is an Options, whose fields may be given as keywords too"
        )
    if fields:
        raise OptionError(f"options= is given, and {', '.join(sorted(fields))} beside it")
    return options


def holds_json(content_type: str | None, body: bytes | None) -> bool:
    """Return whether the body of a request is JSON, by its header or by its beginning.

    `curl -d` sends the content type of a form with any body.
    """
    if content_type and "json" in content_type.lower():
        return True
    return body is not None and body[:64].lstrip().startswith(b"{")


# Why an answer is left alone whose path alone is that of an API.
OTHER_API = "the request is one of another API under the same path"


def why_untouched(status: int, content_type: str | None, body: bytes | None) -> str | None:
    """Return why the answer to a request is left alone, or None if it is changed."""
    if not has_message(status):
        return f"an answer of status {status} holds no message"
    if not holds_json(content_type, body):
        return f"the request is no JSON (content type: {content_type or 'none'})"
    return None


def left_alone(path: str, why: str) -> None:
    """Log that an answer is left alone that could have been repaired."""
    logger.info("%s: left alone, %s", path, why)


def is_asynchronous(on_report: OnReport | None) -> bool:
    """Return whether a function must be awaited, if that is visible before the call."""
    call = getattr(on_report, "__call__", None)  # noqa: B004 - an object with an async __call__
    return inspect.iscoroutinefunction(on_report) or inspect.iscoroutinefunction(call)


def has_message(status: int) -> bool:
    """Return whether an answer with this status can contain a completion, a stream or an error."""
    return (200 <= status < 300 and status not in (204, 205, 206)) or status >= 400


# What the headers of a request tell about its body, and about its client.
_OF_THE_REQUEST = frozenset((b"content-type", b"originator", b"user-agent"))


def request_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return those headers of a request that decide about its answer, by name in lower case."""
    found: dict[str, str] = {}
    for given, value in headers:
        name = given.lower()
        if name in _OF_THE_REQUEST:
            found.setdefault(name.decode("ascii"), value.decode("latin-1"))
    return found


def codings(headers: Headers) -> list[str]:
    """Return the content codings of an answer, in the order in which they were applied."""
    names: list[str] = []
    for name, value in headers:
        if name.lower() == b"content-encoding":
            names += [part.strip().lower() for part in value.decode("latin-1").split(",")]
    return [name for name in names if name not in ("", "identity")]


class Answer:
    """One answer that passes through a door: its normalizer, its head, its report.

    ``over`` is True when nothing more will be sent. Then the report has been delivered.
    """

    __slots__ = (
        "_began",
        "_came",
        "_coded",
        "_headers",
        "_on_report",
        "_path",
        "_reporting",
        "_status",
        "_trace",
        "_waits",
        "normalizer",
        "over",
    )

    def __init__(
        self,
        request: RequestInfo,
        options: Options,
        on_report: OnReport | None,
        *,
        path: str,
        status: int,
        headers: Headers,
        coded: bool,
        began: float,
        upstream: str | None,
        tracing: Tracing | None = None,
    ) -> None:
        """Begin an answer.

        ``coded``: its body came with a content coding. ``began``: the time of the request, by
        `time.monotonic`.
        """
        self._trace = _listener(tracing, path) if tracing is not None else None
        self.normalizer = Normalizer(request, options, status=status, trace=self._trace)
        report = self.normalizer.report
        report.path, report.upstream = path, upstream
        report.started = time.time() - (time.monotonic() - began)
        self._began = began
        self._waits = True  # for the first event that leaves
        self._reporting: Awaitable[Any] | None = None
        self.over = False
        self._on_report = on_report
        self._path = path
        self._status = status
        self._headers = headers
        self._coded = coded
        self._came: list[bytes] | None = []  # while the head is held, to see if it still fits

    @property
    def head_is_known(self) -> bool:
        """Whether `head` is available. It is, at the latest, before anything is sent."""
        return self.over or self.normalizer.passes or self.normalizer.content_type is not None

    @property
    def report(self) -> Report:
        return self.normalizer.report

    def feed(self, data: bytes) -> bytes:
        if self._came is not None:
            self._came.append(data)
        normalizer = self.normalizer
        out = normalizer.feed(data)
        if self._waits and out and not out.startswith(b":"):
            self._first_left()
        # What only passes goes on behind its end, as it would without us.
        if normalizer.ended and not normalizer.passes:
            self._give_report()
        return out

    def flush(self) -> bytes:
        out = self.normalizer.flush()
        if self.normalizer.ended and not self.normalizer.passes:
            self._give_report()
        return out

    def close(self, broken: str | None = None) -> bytes:
        out = self.normalizer.close(broken)
        if self._waits and out:
            self._first_left()
        self._give_report()
        return out

    def abandon(self) -> None:
        """End the answer early: the client has left, or has all that it wants."""
        if self.over:
            return
        report = self.report
        report.end = report.end or "closed"
        self._give_report()

    async def reported(self) -> None:
        """Wait for an asynchronous ``on_report``. If we are cancelled, it is not."""
        reporting, self._reporting = self._reporting, None
        if reporting is not None:
            task = _task.start(partial(_awaited, reporting))
            _REPORTING.add(task)
            try:
                await task.wait()
            finally:
                _REPORTING.discard(task)

    def _first_left(self) -> None:
        self._waits = False
        self.report.first_event = time.monotonic() - self._began

    def head(self, whole: bytes | None) -> tuple[int, Headers]:
        """Return the status and the headers to send.

        ``whole`` is the body, if all of it is known. Call it once: what it needs is given up.
        """
        came, self._came = self._came or [], None
        given, self._headers = self._headers, []
        passes = self.normalizer.passes
        content_type = None if passes else self.normalizer.content_type
        same = not self._coded and (passes or (whole is not None and whole == b"".join(came)))
        status = self._status if passes else self.normalizer.status
        if same and content_type is not None and _media_type(content_type) == _media_type_in(given):
            content_type = None
        length = None
        if whole is not None and not self.streams:
            length = b"%d" % len(whole)
        headers = given if same else list(_of_new_body(given, length))
        if content_type is not None:
            headers = _with_content_type(headers, content_type.encode("latin-1"))
        return status, headers

    @property
    def streams(self) -> bool:
        """Whether the output is an event stream."""
        content_type = self.normalizer.content_type or ""
        return not self.normalizer.passes and _media_type(content_type) == "text/event-stream"

    def _give_report(self) -> None:
        if self.over:
            return
        self.over = True
        report = self.report
        report.elapsed = time.monotonic() - self._began
        if self._trace is not None:
            self._trace.ends(report)
        if logger.isEnabledFor(logging.INFO):
            self._log(report)
        if self._on_report is not None:
            try:
                result = self._on_report(report)
                if inspect.isawaitable(result):
                    self._reporting = result
            except Exception:
                # A stream that works must not break because of what is done with its report.
                logger.exception("on_report failed")

    def _log(self, report: Report) -> None:
        repaired = ", ".join(f"{code} {count}x" for code, count in report.codes.items())
        logger.log(
            logging.INFO if repaired else logging.DEBUG,
            "%s: ended %s, repaired %s",
            self._path,
            report.end,
            repaired or "nothing",
        )


def _listener(tracing: Tracing, path: str) -> Listener | None:
    try:
        listener = tracing(path)
    except Exception:
        # A stream that works must not break because of who listens to it.
        logger.exception("trace failed")
        return None
    return None if listener is None else Guard(listener)


# An event loop knows its tasks weakly only.
_REPORTING: set[_task.Task[None]] = set()


async def _awaited(reporting: Awaitable[Any]) -> None:
    try:
        await reporting
    except Exception:
        logger.exception("on_report failed")


def _of_new_body(headers: Headers, length: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers:
        if name.lower() not in _OF_THE_BODY:
            yield name, value
        elif name.lower() == b"content-length" and length is not None:
            yield name, length


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _media_type_in(headers: Headers) -> str:
    values = [value for name, value in headers if name.lower() == b"content-type"]
    return _media_type(values[0].decode("latin-1")) if values else ""


def _with_content_type(headers: Headers, value: bytes) -> Headers:
    kept: Headers = []
    placed = False
    for name, former in headers:
        if name.lower() != b"content-type":
            kept.append((name, former))
        elif not placed:
            kept.append((name, value))
            placed = True
    return kept if placed else [*kept, (b"content-type", value)]
