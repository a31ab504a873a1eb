"""The file format: exact, readable, and vcrpy's."""

from __future__ import annotations

import http.server
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import vcr  # type: ignore[import-untyped]
import vcr.serialize  # type: ignore[import-untyped]
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from vcr.serializers import yamlserializer  # type: ignore[import-untyped]

from normalizer.cassette import _yaml
from normalizer.cassette import format as format_
from normalizer.cassette.format import (
    Cassette,
    CassetteError,
    Interaction,
    Metadata,
    RecordedRequest,
    RecordedResponse,
    dump,
    dumps,
    load,
    loads,
)

URI = "http://127.0.0.1:8000/v1/chat/completions"
SSE = 'data: {"a": 1}\n\ndata: {"b": "你好"}\n\ndata: [DONE]\n\n'

# Where YAML is at its most surprising: breaks of all kinds, blanks at edges, signs, control
# characters, non-characters, and what looks like YAML.
TRICKY = st.text(
    st.one_of(
        st.sampled_from("\n\r\t \x00\x07\x1b\x7f\x85\xa0\u2028\u2029\ufeff\ufffd\ufffe\uffff😀"),
        st.sampled_from("\"'\\#:-%@`|>&*!?{}[],~d"),
        st.characters(exclude_categories=["Cs"]),
    )
)
BODIES = st.one_of(
    st.binary(),
    TRICKY.map(str.encode),
    st.lists(TRICKY, min_size=1).map(lambda lines: "\n".join(lines).encode()),
    st.lists(TRICKY, min_size=1).map(lambda lines: "\r\n\r\n".join(lines).encode()),
)


def cassette(body: bytes, request: bytes = b"{}") -> Cassette:
    return Cassette(
        Metadata(origin="recorded", server="a server", version="1", date="2026-11-20"),
        (
            Interaction(
                RecordedRequest(method="POST", uri=URI, body=request),
                RecordedResponse.from_chunks(
                    [body] if body else [], headers=(("content-type", "text/event-stream"),)
                ),
            ),
        ),
    )


@given(body=BODIES, request=BODIES)
@example(b"data: 1\r\n   after blanks\r\n", b" ")
@example(b" before\n\n", b"\n\n after")
@example(b"at the end \n", b"tab\t\n\ttab")
@example("one\u2028two\n\x85".encode(), "\ufefftext\n\x00".encode())
@example(b"\r", b"---\n...\n# no comment\n")
def test_any_bytes_come_back(body: bytes, request: bytes) -> None:
    text = dumps(cassette(body, request))

    (interaction,) = loads(text).interactions
    assert interaction.response.body == body
    assert interaction.request.body == request


@given(body=BODIES, request=BODIES)
def test_vcrpy_and_both_parsers_of_yaml_read_the_same_bytes(body: bytes, request: bytes) -> None:
    text = dumps(cassette(body, request))

    requests, responses = vcr.serialize.deserialize(text, yamlserializer)
    assert responses[0]["body"]["string"] == body
    assert (requests[0].body or b"") == request
    slow = yaml.load(text, Loader=yaml.SafeLoader)["interactions"][0]["response"]["body"]["string"]
    assert (slow if isinstance(slow, bytes) else slow.encode()) == body


@given(
    pieces=st.lists(st.binary(min_size=1), max_size=20),
    gaps=st.lists(st.floats(0, 1e6, allow_nan=False), min_size=20, max_size=20),
    end=st.sampled_from(["complete", "cut", "reset", "timeout", "closed"]),
)
def test_pieces_times_and_end_come_back(pieces: list[bytes], gaps: list[float], end: str) -> None:
    times = tuple(sorted(gaps[: len(pieces)]))
    response = RecordedResponse.from_chunks(pieces, times=times, end=end)  # type: ignore[arg-type]
    written = Cassette(Metadata(), (Interaction(RecordedRequest(method="GET", uri=URI), response),))

    (interaction,) = loads(dumps(written)).interactions

    assert interaction.response.chunks == pieces
    assert interaction.response.times == times
    assert interaction.response.end == end


def test_everything_else_comes_back(tmp_path: Path) -> None:
    one, other = cassette(b"one").interactions[0], cassette(b"two").interactions[0]
    written = Cassette(
        Metadata(
            origin="reconstructed",
            server="a server",
            version="0.10",
            date="2026-01-02",
            sources=("https://example.org/a", "https://example.org/b"),
            note="Two: sentences. " * 20,
            other={"key": [1, {"deep": None}]},
        ),
        (one, other),
    )

    dump(written, tmp_path / "upstream" / "case.yaml")

    assert load(tmp_path / "upstream" / "case.yaml") == written
    assert [path.name for path in (tmp_path / "upstream").iterdir()] == ["case.yaml"]


@given(bodies=st.lists(st.one_of(BODIES, st.sampled_from([b"a\n\n", b"...\n", b"\n"])), max_size=4))
def test_any_number_of_interactions_comes_back(bodies: list[bytes]) -> None:
    interactions = tuple(cassette(body).interactions[0] for body in bodies)

    text = dumps(Cassette(Metadata(), interactions))

    assert loads(text).interactions == interactions
    assert len(vcr.serialize.deserialize(text, yamlserializer)[0]) == len(bodies)


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_each_event_is_a_line_of_the_file(eol: str) -> None:
    body = SSE.replace("\n", eol)

    lines = dumps(cassette(body.encode())).splitlines()

    for start in ('data: {"a"', 'data: {"b"', "data: [DONE]"):
        written = start.replace('"', '\\"') if eol == "\r\n" else start
        assert sum(written in line for line in lines) == 1
    assert any("你好" in line for line in lines)


@pytest.mark.parametrize("other", ["\x85", "\u2028", "\u2029", "\ufeff", "\x7f"])
def test_breaks_that_parsers_disagree_on_are_escaped(other: str) -> None:
    text = dumps(cassette(f"a{other}b\nc".encode()))

    assert other not in text
    assert f"\\u{ord(other):04X}" in text


def test_bytes_that_are_no_text_are_base64() -> None:
    assert "!!binary" in dumps(cassette(b"\x1f\x8b\xff"))
    assert "!!binary" not in dumps(cassette(SSE.encode()))


def test_headers_of_one_name_stay_together_and_in_order() -> None:
    response = RecordedResponse(headers=(("a", "1"), ("b", "2"), ("a", "3")))

    assert response.headers == (("a", "1"), ("a", "3"), ("b", "2"))


@pytest.mark.parametrize("body", [SSE, SSE.replace("\n", "\r\n"), "", "\n", "{}"])
def test_plain_vcrpy_plays_it(body: str, tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    dump(cassette(body.encode()), path)

    with vcr.use_cassette(str(path), record_mode="none") as played, httpx.Client() as client:
        response = client.post(URI, content=b"{}")

    assert response.content == body.encode()
    assert response.headers["content-type"] == "text/event-stream"
    assert played.all_played


class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(SSE.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}/v1/chat/completions"
        listening.shutdown()
        thread.join()


def test_what_vcrpy_recorded_is_read(server: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs.yaml"
    with vcr.use_cassette(str(path)), httpx.Client(trust_env=False) as client:
        client.post(server, json={"stream": True})

    theirs = load(path)

    (interaction,) = theirs.interactions
    assert theirs.metadata == Metadata()
    assert interaction.request.uri == server
    assert interaction.request.body == b'{"stream":true}'
    assert interaction.response.chunks == [SSE.encode()]
    assert interaction.response.times == ()
    assert interaction.response.end == "complete"
    assert ("content-type", "text/event-stream") in interaction.response.headers


@pytest.mark.parametrize(
    ("head", "metadata"),
    [
        ("metadata: {origin: recorded, more: 1}", Metadata(origin="recorded", other={"more": 1})),
        ("stream_normalizer: {note: new}", Metadata(note="new")),
        (
            "stream_normalizer: {note: new}\nmetadata: {note: theirs}",
            Metadata(note="new", vcrpy={"note": "theirs"}),
        ),
        ("metadata: {seed: 3}", Metadata(vcrpy={"seed": 3})),
        ("stream_normalizer: {}\nmetadata: {date: 3}", Metadata(vcrpy={"date": 3})),
    ],
)
def test_the_older_key_is_read_and_what_vcrpy_keeps_there_is_kept(
    head: str, metadata: Metadata
) -> None:
    read = loads(f"version: 1\n{head}\ninteractions: []\n")
    written = dumps(read)

    assert read.metadata == metadata
    assert loads(written) == read
    assert yaml.safe_load(written).get("metadata", {}) == metadata.vcrpy


HEAD = (
    "version: 1\ninteractions:\n- request: {method: GET, uri: 'http://a/', body: null, headers: {}}"
)


@pytest.mark.parametrize(
    ("response", "body"),
    [
        ("{status: {code: 200, message: OK}, headers: {}, body: {string: hello}}", b"hello"),
        ("{status: {code: 200}, headers: {a: b}, body: {string: !!binary aMOp}}", "hé".encode()),
        ("{status: {code: 200}, headers: {}, body: {base64_string: aMOp}}", "hé".encode()),
        ("{status: {code: 200}, headers: {}, body: {string: null}}", b""),
        ("{status: {code: 200}, headers: {}, body: null}", b""),
        ("{status_code: 200, http_version: HTTP/1.1, headers: {}, content: hello}", b"hello"),
    ],
)
def test_older_forms_of_a_body_are_read(response: str, body: bytes) -> None:
    (interaction,) = loads(f"{HEAD}\n  response: {response}\n").interactions

    assert interaction.response.body == body
    assert interaction.response.status == 200


GOOD = "status: {code: 200, message: OK}, headers: {}, body: {string: hello}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "x.yaml: while parsing"),
        ("", "x.yaml: no 'interactions'"),
        ("- request: {}", "x.yaml: no 'interactions'"),
        ("version: 2\ninteractions: []", "version: 2 is not 1"),
        ("interactions: {}", "interactions: expected a list"),
        ("interactions: [1]", "interactions[0]: expected a mapping, found 1"),
        (HEAD, "interactions[0].response: missing"),
        (f"{HEAD}\n  response: {{}}", "interactions[0].response.status: missing"),
        (f"{HEAD}\n  response: {{{GOOD}, stream: 1}}", "response.stream: expected a mapping"),
        (f"{HEAD}\n  response: {{{GOOD}, stream: {{end: over}}}}", "stream.end: 'over' is none of"),
        (f"{HEAD}\n  response: {{{GOOD}, stream: {{chunks: [2]}}}}", "up to 2, the body has 5"),
        (f"{HEAD}\n  response: {{{GOOD}, stream: {{chunks: [0, 5]}}}}", "at least one byte"),
        (f"{HEAD}\n  response: {{{GOOD}, stream: {{chunks: [5.0]}}}}", "expected a whole number"),
        (f"{HEAD}\n  response: {{{GOOD}, stream: {{times: [1, 2]}}}}", "times: 2 for 1 chunks"),
        (
            f"{HEAD}\n  response: {{{GOOD}, stream: {{chunks: [2, 3], times: [2, 1]}}}}",
            "times: they run backwards",
        ),
        (f"{HEAD}\n  response: {{{GOOD}, stream: {{times: [.nan]}}}}", "times: each is a number"),
        ("interactions: []\nmetadata: {origin: found}", "metadata.origin: 'found' is none of"),
        ("interactions: []\nmetadata: {version: 0.4}", "metadata.version: expected a text"),
        (
            "interactions: []\nstream_normalizer: {origin: found}",
            "stream_normalizer.origin: 'found' is none of",
        ),
        ("interactions: []\nstream_normalizer: 1", "stream_normalizer: expected a mapping"),
        ("interactions: []\nmetadata: 1", "metadata: expected a mapping"),
        ("interactions: !!python/name:os.system []", "could not determine a constructor"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)

    with pytest.raises(CassetteError) as raised:
        load(path)

    assert str(raised.value).startswith(str(path))
    assert said in str(raised.value)


LEVELS = "abcdefghi"
ALIASES = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{level}: &{level} [{f'*{below}, ' * 10}]\n" for below, level in itertools.pairwise(LEVELS)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{ALIASES}interactions: *i", "more than 10,000,000 values"),
        (f"{ALIASES}interactions: []\nstream_normalizer: {{x: *i}}", "more than 10,000,000 values"),
        (f"{ALIASES}interactions: []\nx: !!pairs [y: *i]", "more than 10,000"),
        ("interactions: [&a [*a]]", "holds itself"),
        ("interactions: &a {a: *a}", "holds itself"),
        (f"interactions: {'[' * 2000}{']' * 2000}", "nested more than 100 deep"),
        (f"interactions: [[{'[1], ' * 10000}]]", "expected a mapping, found [[1], [1], [1], ...]"),
        (f"interactions: 0x{'9' * 5000}", "expected a list, found a int"),
        (f"interactions: {'9' * 5000}", "digits"),
        (f"interactions: {'x' * 5000}", "expected a list, found 'xxx"),
        (f"interactions: []\nversion: [{'1, ' * 5000}]", "version: [1, 1, 1, ...] is not 1"),
        ("interactions: []\nx: 2026-13-45", "month must be in 1..12"),
    ],
)
def test_what_is_said_of_a_large_value_is_short(text: str, said: str) -> None:
    with pytest.raises(CassetteError) as raised:
        loads(text)

    assert said in str(raised.value)
    assert len(str(raised.value)) < 200


def test_aliases_are_read(tmp_path: Path) -> None:
    text = dumps(cassette(b"one")).replace("interactions:\n-", "interactions:\n- &one\n ")

    assert len(loads(text.removesuffix("...\n") + "- *one\n" * 3).interactions) == 4


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"version: \xff")

    with pytest.raises(CassetteError, match="byte 9: not UTF-8"):
        load(path)


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    dump(cassette(b"old"), path)
    bad = Cassette(Metadata(other={"key": object()}), ())

    with pytest.raises(CassetteError):
        dump(bad, path)

    assert load(path) == cassette(b"old")
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_the_old_one_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "case.yaml"
    old, new = cassette(b"old"), cassette(b"new\n" * 10_000)
    dump(old, path)
    seen: list[Cassette] = []
    replace = Path.replace

    def look(temporary: Path, target: Path) -> Path:
        seen.extend((load(target), loads(temporary.read_text())))
        return replace(temporary, target)

    monkeypatch.setattr(Path, "replace", look)
    dump(new, path)

    assert seen == [old, new]
    assert load(path) == new


def test_what_would_read_back_otherwise_is_not_written() -> None:
    # a tuple is a list when it comes back
    with pytest.raises(CassetteError, match="does not read back"):
        dumps(Cassette(Metadata(other={"key": (1,)}), ()))


@given(BODIES, BODIES)
@example(b"ends in blank lines\n\n", b"so does this\n\n")
def test_an_interaction_written_in_two_parts_is_the_same_text(body: bytes, asked: bytes) -> None:
    one = cassette(body, asked).interactions[0]
    whole = {
        "request": format_._write_request(one.request),
        "response": format_._write_response(one.response),
    }
    assert format_.item(one) == _yaml.write([whole])


class _PyYamls(_yaml._Dumper):
    """Writes lists of numbers as PyYAML does."""


_PyYamls.add_representer(
    _yaml.OneLine,
    lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True),
)


@given(
    st.one_of(
        st.lists(st.integers(1, 10**6), max_size=80),
        st.lists(st.floats(0, 1e6).map(lambda time: round(time, 2)), max_size=80),
        st.lists(st.one_of(st.integers(), st.floats(), st.booleans()), max_size=20),
    ),
    st.text("ab ", max_size=60),
)
@example([181] * 60, "a")
@example([1e-7, 1e22, 5], "a")
def test_a_list_of_numbers_is_written_as_pyyaml_writes_it(numbers: list[float], key: str) -> None:
    document = [{"stream": {key: _yaml.OneLine(numbers), "end": "complete"}}]
    assert _yaml.write(document) == yaml.dump(
        document, Dumper=_PyYamls, sort_keys=False, allow_unicode=True, width=100, indent=2
    )
