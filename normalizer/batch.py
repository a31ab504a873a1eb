"""`normalize_batch`: many recorded answers at once, as the columns of a table.

    ds = ray.data.read_parquet("recorded/")
    ds.map_batches(normalize_batch, batch_format="pyarrow").write_parquet("canonical/")

A row is one recorded answer, and rows share nothing: any part of a table can be a batch, on any
machine. The function does no I/O, and it needs none of the libraries that make tables. So a batch
may be a dict of lists or of NumPy arrays, a pandas DataFrame, or a pyarrow Table. What is read:

    body     the bytes of the answer, or its text                          required
    path     the path or URL of the request; guessed from the body where it is null
    request  the body of the request, as JSON text
    status   the status of the answer; 200 where it is null
    broken   why the recording broke off in mid-answer ("ReadError"); "" or null if it did not

What is added, with one type for each column, so that all blocks of a dataset have one schema:

    normalized      bytes  the canonical answer
    codes           text   `Report.codes` as JSON: {"E210":1,"S504":1}
    finish          text   `Report.finish` as JSON: {"0":"stop"}
    end             text   `Report.end`, or "invalid" for a row that cannot be read
    error           text   the message of the error that the answer ends with, or why the row
                           cannot be read; else ""
    events_in, events_out, characters_in, characters_out
                    int    the sums of the report

Ids and times that an answer lacks are made up, so they differ if a row is normalized again.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol, Unpack

from normalizer.core.exceptions import NormalizerError, OptionError
from normalizer.core.failure import log_failure
from normalizer.core.lenient import dumps
from normalizer.core.normalizer import Normalizer
from normalizer.core.options import OptionFields, Options
from normalizer.core.report import Report
from normalizer.core.request import Endpoint, RequestInfo

_SIGHT = 65536  # bytes to read to find out the endpoint

_READ = ("body", "path", "request", "status", "broken")
_LISTS = ("to_pylist", "tolist")  # of pyarrow; of NumPy and pandas

_PATHS: dict[Endpoint | None, str] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
}


class Columns(Protocol):
    """Columns by name: a dict, or a pandas DataFrame."""

    def keys(self) -> Iterable[Any]: ...

    def __getitem__(self, name: str, /) -> Any: ...


class Table(Protocol):
    """Columns by name, as a pyarrow Table has them."""

    @property
    def column_names(self) -> list[str]: ...

    def __getitem__(self, name: str, /) -> Any: ...


class Row(NamedTuple):
    """What is added to a row."""

    normalized: bytes = b""
    codes: str = "{}"
    finish: str = "{}"
    end: str = ""
    error: str = ""
    events_in: int = 0
    events_out: int = 0
    characters_in: int = 0
    characters_out: int = 0


def normalize_batch(
    batch: Columns | Table, *, options: Options | None = None, **fields: Unpack[OptionFields]
) -> dict[str, Any]:
    """Normalize the answers in the column ``body`` of a batch.

    Returns the columns of the batch, as they are, and lists with what is added: see the top of this
    module. A row that cannot be read ends as ``"invalid"``, with the reason in ``error``. It never
    raises for what is in a row.

    ``options`` is an `Options`, or its fields are keywords, but not both. ``mode="report"`` only
    checks: ``normalized`` is then the body as it came. No variable of the environment is read.

    Raises `OptionError` for unknown options, and `ValueError` for a batch without ``body``, or with
    a column that would be added.

    Example::

        normalize_batch({"body": [b'data:{"choices":[]}\\n\\n'], "path": ["/v1/chat/completions"]})

        ds.map_batches(normalize_batch, batch_format="pyarrow", fn_kwargs={"ignore": ("F105",)})
    """
    if options is None:
        options = Options.from_environ({}, **fields)
    elif fields:
        raise OptionError(f"options= is given, and {', '.join(sorted(fields))} beside it")
    names = list(batch.column_names if hasattr(batch, "column_names") else batch.keys())
    if "body" not in names:
        raise ValueError(f"the batch has no column 'body', only {', '.join(map(repr, names))}")
    taken = [name for name in Row._fields if name in names]
    if taken:
        raise ValueError(f"the batch has a column {taken[0]!r} already: rename it before")
    there = {name: _values(batch[name]) for name in _READ if name in names}
    nothing = [None] * len(there["body"])
    given = zip(*(there.get(name, nothing) for name in _READ), strict=True)
    rows = [_row(options, *values) for values in given]
    columns = {name: batch[name] for name in names}
    return columns | {name: [getattr(row, name) for row in rows] for name in Row._fields}


def _values(column: Any) -> list[Any]:
    """Return the values of a column as Python's own, and None for null."""
    method = next((name for name in _LISTS if hasattr(column, name)), None)
    values = getattr(column, method)() if method else column
    return [None if _is_null(value) else value for value in values]


def _is_null(value: object) -> bool:
    # NumPy has no null for text and numbers: it is NaN there. pandas has a class for it.
    return (isinstance(value, float) and value != value) or type(value).__name__ == "NAType"


class _InvalidRowError(NormalizerError, ValueError):
    """A value in a row is not what its column is for."""


def _row(
    options: Options, body: object, path: object, request: object, status: object, broken: object
) -> Row:
    try:
        answer = _bytes(body, "body")
        asked = None if request is None else _bytes(request, "request")
        known = _request(_text(path, "path"), asked, answer, options)
        normalizer = Normalizer(known, options, status=_status(status))
        normalized = normalizer.feed(answer) + normalizer.close(_text(broken, "broken"))
        return _reported(normalized, normalizer.report)
    except _InvalidRowError as error:
        return Row(end="invalid", error=str(error))
    except Exception as error:  # one row must not cost the others
        log_failure(error)
        return Row(end="invalid", error=f"{type(error).__name__}: see the log")


def _request(
    path: str | None, request: bytes | None, answer: bytes, options: Options
) -> RequestInfo:
    if path is None:
        path = _PATHS[RequestInfo.guess(answer[:_SIGHT]).endpoint]
    try:
        return RequestInfo.parse(path, request, paths=options.paths)
    except ValueError as error:
        raise _InvalidRowError(f"path is {path!r}: {error}") from None


def _bytes(value: object, name: str) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise _InvalidRowError(f"{name} is {_named(value)}; it is bytes or text")


def _text(value: object, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    raise _InvalidRowError(f"{name} is {_named(value)}; it is text")


def _status(value: object) -> int:
    if value is None:
        return 200
    # A column of whole numbers with a null has become one of floats.
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    try:
        status = operator.index(whole)  # type: ignore[arg-type]
    except TypeError:
        raise _InvalidRowError(f"status is {_named(value)}; it is a whole number") from None
    if not 100 <= status <= 999:
        raise _InvalidRowError(f"status is {status}; it is from 100 to 999")
    return status


def _named(value: object) -> str:
    return "null" if value is None else f"of type {type(value).__name__}"


def _reported(normalized: bytes, report: Report) -> Row:
    return Row(
        normalized=normalized,
        codes=dumps(report.codes).decode(),
        finish=dumps({str(index): word for index, word in report.finish.items()}).decode(),
        end=report.end or "",
        error=_message(report.error),
        events_in=report.events_in,
        events_out=report.events_out,
        characters_in=sum(report.characters_in.values()),
        characters_out=sum(report.characters_out.values()),
    )


def _message(error: dict[str, Any] | None) -> str:
    if error is None:
        return ""
    message = error.get("message")
    return message if isinstance(message, str) else dumps(error).decode()
