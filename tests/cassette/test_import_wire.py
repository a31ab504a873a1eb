"""Imports of what was seen on a connection: flows of mitmproxy and traces of curl.

The files in ``data`` were made here with mitmdump 11.0.2 and curl 7.88.1, from a server of Python's
own `http.server` that sends four events, 120 ms apart.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from normalizer.cassette.format import CassetteError, Interaction
from normalizer.cassette.imports import form_of, read, reads
from tests.cassette.test_imports import curl, only
from tests.conftest import DONE, HELLO, ROLE, answering

DATA = Path(__file__).parent / "data"
TRACE = (DATA / "curl-7.88.txt").read_bytes()
FLOWS = (DATA / "mitmdump-11.flow").read_bytes()
POSTED = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hallo"}]}


def first(data: bytes, name: str) -> Interaction:
    return reads(data, name).interactions[0]


# ---------------------------------------------------------------- traces of curl


def test_a_trace_has_chunks_and_times() -> None:
    cassette = read(DATA / "curl-7.88.txt")

    response = only(cassette)
    assert response.lengths == (191, 179, 162, 14)
    assert response.times == (0.05, 120.37, 240.64, 360.9)
    assert response.end == "complete"
    assert "Grüße".encode() in response.chunks[1]
    assert dict(response.headers)["content-type"] == "text/event-stream"
    assert "transfer-encoding" not in dict(response.headers)
    (asked,) = (each.request for each in cassette.interactions)
    assert (asked.method, asked.uri) == ("POST", "http://127.0.0.1:8765/v1/chat/completions")
    assert json.loads(asked.body) == POSTED


def test_a_trace_without_times_has_chunks() -> None:
    response = first(re.sub(rb"(?m)^\d\d:\d\d:\d\d\.\d+ ", b"", TRACE), "t").response

    assert response.lengths == (191, 179, 162, 14)
    assert response.times == ()


def test_a_trace_over_midnight() -> None:
    late = [b"23:59:59.9", b"00:00:00.1"]
    over = re.sub(rb"(?m)^20:5\d:\d\d\.\d(\d+) <= Recv data", late[1] + rb"\1 <= Recv data", TRACE)
    over = re.sub(rb"(?m)^20:5\d:\d\d\.\d", late[0], over)

    times = first(over, "t").response.times

    assert all(100 < time < 400 for time in times)


def test_the_end_of_a_trace() -> None:
    assert only(read(DATA / "curl-7.88-cut.txt")).end == "cut"
    # curl was killed: its last line is not even whole
    stopped = first(TRACE[: TRACE.index(b"\n", TRACE.index(b"Gr....e"))], "t").response
    assert (len(stopped.lengths), stopped.end) == (2, "closed")
    timeout = TRACE[: TRACE.index(b"[DONE]") - 80].rpartition(b"\n")[0]
    timeout += b"\n20:51:09.0 == Info: Operation timed out after 3001 milliseconds\n"
    assert first(timeout, "t").response.end == "timeout"


def hexed(title: str, data: bytes) -> str:
    rows = [data[at : at + 16] for at in range(0, len(data), 16)]
    lines = [f"{title}, {len(data)} bytes (0x{len(data):x})"]
    lines += [f"{16 * n:04x}: {row.hex(' ')} " for n, row in enumerate(rows)]
    return "\n".join(lines) + "\n"


def test_http2_over_tls_with_a_proxy_and_ids() -> None:
    trace = (
        hexed("=> Send header", b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n")
        + hexed("<= Recv header", b"HTTP/1.1 200 OK\r\n\r\n")
        + "== Info: SSL connection using TLSv1.3\n"
        + hexed("=> Send SSL data", b"\x01")
        + hexed("=> Send header", b"POST /v1/responses HTTP/2\r\nHost: h\r\n\r\n")
        + hexed("<= Recv header", b"HTTP/2 200 \r\n")
        + hexed("<= Recv header", b"content-type: text/event-stream\r\n\r\n")
        + hexed("<= Recv data", b"data: 1")
        + hexed("<= Recv data", b"\n\n")
        + "== Info: Connection #0 to host h left intact\n"
    )
    trace = "".join(f"01:02:03.4 [0-0] {line}" if line[0] in "<=" else line
                    for line in trace.splitlines(keepends=True))  # fmt: skip

    interaction = first(trace.encode(), "t")

    assert interaction.request.uri == "https://h/v1/responses"
    assert interaction.response.chunks == [b"data: 1", b"\n\n"]
    assert (interaction.response.status, interaction.response.end) == (200, "complete")


def test_frames_may_come_in_any_pieces() -> None:
    framed = b"7;x=y\r\ndata: 1\r\n2\r\n\n\n\r\n0\r\n\r\n"
    head = (
        hexed("=> Send header", b"GET /s HTTP/1.1\r\nHost: h\r\n\r\n")
        + hexed("<= Recv header", b"HTTP/1.1 200 OK\r\n")
        + hexed("<= Recv header", b"Transfer-Encoding: chunked\r\n\r\n")
    )
    for size in (1, 2, 3, 5, len(framed)):
        pieces = [framed[at : at + size] for at in range(0, len(framed), size)]
        trace = head + "".join(hexed("<= Recv data", piece) for piece in pieces)
        response = first(trace.encode(), "t").response
        assert (response.body, response.end) == (b"data: 1\n\n", "complete")
    # some versions write what is inside the frames
    response = first((head + hexed("<= Recv data", b"data: 1\n\n")).encode(), "t").response
    assert response.body == b"data: 1\n\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((DATA / "curl-7.88-trace-ascii.txt").read_bytes(), "line 4: b'POST /v1/chat/comple' is"),
        ((DATA / "curl-7.88-trace-ascii.txt").read_bytes(), "record with --trace FILE"),
        (TRACE.replace(b"\n0010: ", b"\n0020: ", 1), "line 5: "),
        (TRACE.replace(b"150 bytes", b"151 bytes"), "line 3: 151 bytes announced, 150 follow"),
        (TRACE.partition(b"\n")[0], "it holds no request"),
        (TRACE[: TRACE.index(b"20:50:59.548783")], "it holds no answer to any of 1 requests"),
        (TRACE.replace(b"\n0000: 62 33 0d", b"\n0000: 7a 7a 0d"), "is no length of a chunk"),
        (hexed("<= Recv data", b"x").encode(), "line 1: received data before any request"),
        (hexed("=> Send header", b"x").encode() + b"<html>", "line 3: b'<html>' is no line"),
    ],
)
def test_a_bad_trace_says_where(data: bytes, said: str) -> None:
    with pytest.raises(CassetteError) as caught:
        reads(data, "x.txt", "curl")

    assert said in str(caught.value)
    assert str(caught.value).startswith("x.txt: ")


@curl
def test_real_curl(serve: Callable[[Any], str], tmp_path: Path) -> None:
    url = serve(answering(ROLE, HELLO, DONE)) + "/v1/chat/completions"
    trace = tmp_path / "t.txt"
    subprocess.run(
        ["curl", "-sN", "--trace", str(trace), "--trace-time", "-d", "{}", url],
        check=True,
        capture_output=True,
    )

    (interaction,) = read(trace).interactions

    assert interaction.request.body == b"{}"
    assert interaction.response.body == ROLE + HELLO + DONE
    assert len(interaction.response.times) == len(interaction.response.chunks)
    assert interaction.response.end == "complete"


# ---------------------------------------------------------------- flows of mitmproxy


def test_a_flow_has_the_time_of_its_end() -> None:
    cassette = read(DATA / "mitmdump-11.flow")

    response = only(cassette)
    assert response.lengths == (546,)
    assert response.times == (480.69,)
    assert response.body == only(read(DATA / "curl-7.88.txt")).body
    (asked,) = (each.request for each in cassette.interactions)
    assert asked.uri == "http://127.0.0.1:8765/v1/chat/completions"
    assert json.loads(asked.body) == POSTED
    assert cassette.metadata.date == "2026-11-21"
    assert len(read(DATA / "mitmdump-11.flow", every=True).interactions) == 2


def net(value: Any) -> bytes:
    if isinstance(value, dict):
        text, kind = b"".join(net(each) for pair in value.items() for each in pair), b"}"
    elif isinstance(value, list):
        text, kind = b"".join(map(net, value)), b"]"
    elif value is None:
        text, kind = b"", b"~"
    else:
        kinds = {bool: b"!", int: b"#", float: b"^", str: b";", bytes: b","}
        kind = kinds[type(value)]
        text = value if isinstance(value, bytes) else str(value).lower().encode()
    return b"%d:%s%s" % (len(text), text, kind)


def flow(response: Any = None, error: Any = None, **request: Any) -> bytes:
    asked = {
        "method": b"POST",
        "scheme": b"https",
        "host": "10.0.0.1",
        "port": 443,
        "path": b"/v1/messages",
        "headers": [[b":authority", b"x"]],
        "content": b"{}",
    }
    answer = {"status_code": 200, "reason": b"", "headers": [], "content": b"{}"}
    answer |= response or {}
    return net({"version": 7, "request": asked | request, "response": answer, "error": error})


@pytest.mark.parametrize(
    ("given", "uri"),
    [
        ({}, "https://10.0.0.1/v1/messages"),
        ({"port": 8443}, "https://10.0.0.1:8443/v1/messages"),
        ({"authority": b"h:1"}, "https://h:1/v1/messages"),
        ({"headers": [[b"Host", b"h"]]}, "https://h/v1/messages"),
        ({"path": b"http://h/messages"}, "http://h/messages"),
    ],
)
def test_the_url_of_a_flow(given: dict[str, Any], uri: str) -> None:
    assert first(flow(**given), "x.flow").request.uri == uri


@pytest.mark.parametrize(
    ("said", "end"),
    [
        ("Client disconnected.", "closed"),
        ("connection timed out", "timeout"),
        ("ConnectionResetError", "reset"),
        ("peer closed connection", "cut"),
    ],
)
def test_the_end_of_a_flow(said: str, end: str) -> None:
    data = flow({"content": b"data"}, {"msg": said.lower()})
    assert first(data, "x.flow").response.end == end


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "flows: none of 0 has an event stream"),
        (net({"version": 1, "type": "tcp"}), "flows: none of 0"),
        (flow(path=b"/"), "flows: none of 1 has an event stream or a completion for an answer; "),
        (FLOWS[:-40], "byte 0: cut, 2568 bytes should follow" if len(FLOWS) < 2600 else "byte "),
        (b"<html>", "byte 0: no length, found b'<html>'"),
        (b"99999999999999:x,", "byte 0: no length"),
        (b"3:abc?", "byte 5: b'?' is no type"),
        (b"3:abc#", "byte 2: invalid literal"),
        (b"3:abc!", "byte 2: b'abc' is neither true nor false"),
        (b"4:2:1#}", "byte "),
        (b"1:x,", "byte 0: flows[0] is no flow of mitmproxy"),
        (net({"version": 1, "request": {}}), "flows[0].request.method: missing"),
        (flow(headers=[[b"a"]]), "flows[0].request.headers[0]: expected name and value"),
        (flow({"status_code": b"200"}), "flows[0].response.status_code: expected a whole number"),
        (flow({"content": None}, {"msg": "boom"}), "mitmproxy kept no body (boom); leave out"),
        (
            (DATA / "mitmdump-11-streamed.flow").read_bytes(),
            "flows[0].response.content: missing, mitmproxy kept no body (it was streamed)",
        ),
    ],
)
def test_a_bad_file_of_flows_says_where(data: bytes, said: str) -> None:
    with pytest.raises(CassetteError) as caught:
        reads(data, "x.flow")

    assert said in str(caught.value)
    assert str(caught.value).startswith("x.flow: ")


def test_deep_and_long_values_are_refused() -> None:
    deep: Any = None
    for _ in range(100):
        deep = [deep]
    with pytest.raises(CassetteError, match="more than 32 levels"):
        reads(net(deep), "x.flow")
    with pytest.raises(CassetteError, match="a number of more than 20 digits"):
        reads(b"5000:" + b"9" * 5000 + b"#", "x.flow")


def test_the_forms_are_told_by_their_beginnings() -> None:
    assert form_of(TRACE, "x") == "curl"
    assert form_of(FLOWS, "x") == "mitmproxy"
    assert form_of(b"", "x.mitm") == "mitmproxy"
