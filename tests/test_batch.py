"""`normalize_batch`: columns in, columns out, on plain lists."""

from __future__ import annotations

import json
import math
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from normalizer import Normalizer, OptionError, Options, RequestInfo
from normalizer.batch import Row, normalize_batch
from normalizer.cassette.format import load
from tests.streams import CHAT, STREAM, chunk, raw, text

CASSETTES = Path(__file__).parents[1] / "cassettes"
BAD = raw(chunk({"role": "assistant", "content": "Hi"}, "stop"))
GOOD = Normalizer(RequestInfo.parse(CHAT, STREAM)).feed(BAD)


def row(out: dict[str, Any], number: int = 0) -> Row:
    return Row(*(out[name][number] for name in Row._fields))


def test_recorded_streams_come_out_as_from_a_normalizer(monkeypatch: pytest.MonkeyPatch) -> None:
    # Ids and times that an answer lacks are made up, anew each time.
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=1))
    monkeypatch.setattr(time, "time", lambda: 1700000000.0)
    answers = [one for path in sorted(CASSETTES.rglob("*.yaml")) for one in load(path).interactions]
    broken = [None if one.response.end == "complete" else one.response.end for one in answers]
    out = normalize_batch(
        {
            "body": [one.response.body for one in answers],
            "path": [one.request.uri for one in answers],
            "request": [one.request.body for one in answers],
            "status": [one.response.status for one in answers],
            "broken": broken,
        }
    )
    assert len(answers) > 50
    for number, one in enumerate(answers):
        normalizer = Normalizer(
            RequestInfo.parse(one.request.uri, one.request.body), status=one.response.status
        )
        wanted = normalizer.feed(one.response.body) + normalizer.close(broken[number])
        report, found = normalizer.report, row(out, number)
        assert found.normalized == wanted
        assert json.loads(found.codes) == report.codes
        assert json.loads(found.finish) == {str(at): word for at, word in report.finish.items()}
        assert found.end == report.end
        assert bool(found.error) == (report.error is not None)
        assert (found.events_in, found.events_out) == (report.events_in, report.events_out)
        assert found.characters_in == sum(report.characters_in.values())
        assert found.characters_out == sum(report.characters_out.values())


def test_the_columns_of_the_batch_stay() -> None:
    body, names = [BAD], ("a",)
    out = normalize_batch({"body": body, "name": names})
    assert out["body"] is body
    assert out["name"] is names
    assert list(out) == ["body", "name", *Row._fields]


def test_each_column_has_one_type() -> None:
    out = normalize_batch({"body": [BAD, None, b"", b"{}"], "path": [CHAT, CHAT, None, "/models"]})
    for name, wanted in zip(Row._fields, Row(), strict=True):
        assert {type(value) for value in out[name]} == {type(wanted)}, name
    assert out["end"][1:] == ["invalid", "empty", "done"]
    assert out["normalized"][3] == b"{}"


def test_a_batch_without_rows() -> None:
    assert normalize_batch({"body": []}) == {"body": [], **{name: [] for name in Row._fields}}


@pytest.mark.parametrize("body", [BAD, BAD.decode(), bytearray(BAD), memoryview(BAD)])
def test_a_body_is_bytes_or_text(body: Any) -> None:
    assert row(normalize_batch({"body": [body]})).normalized == GOOD


@pytest.mark.parametrize("null", [None, math.nan, type("NAType", (), {})()])
def test_what_is_null_is_unknown(null: Any) -> None:
    out = normalize_batch({"body": [BAD], **{name: [null] for name in ("path", "request")}})
    assert row(out).normalized == GOOD
    out = normalize_batch({"body": [BAD], "status": [null], "broken": [null]})
    assert row(out).end == "done"


@pytest.mark.parametrize("path", ["completions", "responses", "messages"])
def test_without_a_path_the_body_tells_the_api(path: str) -> None:
    begins = {
        "completions": b'data: {"object":"text_completion","choices":[{"text":"Hi"}]}\n\n',
        "responses": b'data: {"type":"response.created","response":{"id":"r"}}\n\n',
        "messages": b'data: {"type":"message_start","message":{"id":"m"}}\n\n',
    }
    normalizer = Normalizer(RequestInfo(endpoint=path))  # type: ignore[arg-type]
    wanted = normalizer.feed(begins[path]) + normalizer.close()
    assert row(normalize_batch({"body": [begins[path]]})).codes == json.dumps(
        normalizer.report.codes, separators=(",", ":")
    )
    assert len(row(normalize_batch({"body": [begins[path]]})).normalized) == len(wanted)


def test_the_request_decides() -> None:
    asked = json.dumps({"model": "m", "messages": [], "stream": False})
    one = row(normalize_batch({"body": [BAD], "path": [CHAT], "request": [asked]}))
    assert json.loads(one.normalized)["object"] == "chat.completion"
    assert "B804" in json.loads(one.codes)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"body": None}, "body is null; it is bytes or text"),
        ({"body": 7}, "body is of type int; it is bytes or text"),
        ({"path": 7}, "path is of type int; it is text"),
        ({"path": "http://[/"}, "path is 'http://[/': Invalid IPv6 URL"),
        ({"request": {"n": 2}}, "request is of type dict; it is bytes or text"),
        ({"status": "200"}, "status is of type str; it is a whole number"),
        ({"status": 200.5}, "status is of type float; it is a whole number"),
        ({"status": math.inf}, "status is of type float; it is a whole number"),
        ({"status": True}, "status is 1; it is from 100 to 999"),
        ({"broken": 1}, "broken is of type int; it is text"),
    ],
)
def test_an_invalid_row_is_named_and_the_next_one_normalized(
    values: dict[str, Any], reason: str
) -> None:
    given = {"body": BAD, **values}
    rest: dict[str, Any] = {"body": BAD, "path": None, "request": None, "status": 200}
    out = normalize_batch({name: [value, rest.get(name)] for name, value in given.items()})
    assert row(out) == Row(end="invalid", error=reason)
    assert row(out, 1).normalized == GOOD


def test_a_fault_of_ours_costs_one_row(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = {"a secret": 1}

    def normalizer(request: RequestInfo, *given: Any, **named: Any) -> Normalizer:
        if request.model == "fails":
            raise KeyError(*secret)
        return Normalizer(request, *given, **named)

    monkeypatch.setattr("normalizer.batch.Normalizer", normalizer)
    out = normalize_batch({"body": [BAD, BAD], "request": ['{"model":"fails"}', None]})
    assert row(out) == Row(end="invalid", error="KeyError: see the log")
    assert row(out, 1).normalized == GOOD
    assert "KeyError" in caplog.text
    assert "a secret" not in caplog.text


def test_a_recording_that_broke_off() -> None:
    cut = raw(*text("Hi"), done=False)
    one = row(normalize_batch({"body": [cut], "broken": ["ReadError"]}))
    assert one.end == "truncated"
    assert "ReadError" in one.error


def test_options() -> None:
    batch = {"body": [BAD]}
    only_checked = row(normalize_batch(batch, mode="report"))
    assert only_checked.normalized == BAD
    assert only_checked.codes == row(normalize_batch(batch)).codes != "{}"
    assert row(normalize_batch(batch, ignore=("S504",))).codes == "{}"
    assert row(normalize_batch(batch, options=Options(ignore=("S504",)))).codes == "{}"
    paths = {"body": [BAD], "path": ["/api/chat"]}
    assert row(normalize_batch(paths)).normalized == BAD
    assert row(normalize_batch(paths, paths=("/api/chat",))).normalized == GOOD
    with pytest.raises(OptionError, match="beside it"):
        normalize_batch(batch, options=Options(), ignore=())
    with pytest.raises(OptionError, match="S5O4"):
        normalize_batch(batch, ignore=("S5O4",))
    with pytest.raises(OptionError, match="did you mean 'reasoning'"):
        normalize_batch(batch, reasonning="both")  # type: ignore[call-arg]


def test_no_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMALIZER_MODE", "report")
    assert row(normalize_batch({"body": [BAD]})).normalized == GOOD


def test_a_table_that_cannot_be_normalized() -> None:
    with pytest.raises(ValueError, match="no column 'body', only 'content', 'path'"):
        normalize_batch({"content": [BAD], "path": [CHAT]})
    with pytest.raises(ValueError, match="a column 'end' already"):
        normalize_batch({"body": [BAD], "end": ["complete"]})
    with pytest.raises(ValueError, match="shorter"):
        normalize_batch({"body": [BAD, BAD], "path": [CHAT]})


class Cells:
    """A column of a library: it is no list and has a method that makes one."""

    def __init__(self, method: str, values: list[Any]) -> None:
        setattr(self, method, lambda: values)


@pytest.mark.parametrize("method", ["to_pylist", "tolist"])
def test_columns_of_a_library(method: str) -> None:
    class Arrow(dict[str, Cells]):
        column_names = ("body", "path")
        keys = None  # type: ignore[assignment]

    columns = {"body": Cells(method, [BAD]), "path": Cells(method, [CHAT])}
    for batch in (columns, Arrow(columns)):
        out = normalize_batch(batch)
        assert row(out).normalized == GOOD
        assert out["body"] is columns["body"]
