"""Secrets never touch the disk: not in the file, nor in any other beside it, at any time."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer.cassette import (
    Cassette,
    Interaction,
    Metadata,
    RecordedRequest,
    RecordedResponse,
    RecordingMiddleware,
    RecordingTransport,
    ReplayTransport,
    UnmatchedRequestError,
    _shapes,
    load,
    verify,
)
from normalizer.cassette.scrub import scrub
from tests.cassette.reading import CLIENTS, Client
from tests.conftest import CHAT, EVENT_STREAM, ASGIApp, Gate, answering

Serve = Callable[[ASGIApp], str]

KEY = "sk-proj-Abc123def456ghi789"
KEYS = [
    KEY,
    "sk-ant-api03-AbCdEfGhIjKlMnOp",
    "AKIAIOSFODNN7EXAMPLE",
    "xai-0123456789abcdefghij",
    "gsk_0123456789abcdefghij",
    "AIzaSyA0123456789abcdefghijklmnopqrstuv",
    "hf_abcdefghijklmnopqrst",
    "ghp_0123456789abcdefghij",
    "nvapi-0123456789abcdefghij",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
]
# what a provider's error says back, in a shape that only the request gives away
UNSHAPED = "my-own-gateway-token-0042"


def everything_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("client", CLIENTS)
def test_a_key_is_nowhere_at_any_time(client: Client, serve: Serve, tmp_path: Path) -> None:
    pieces = [
        b'data: {"echo":"' + KEY[:9].encode(),
        KEY[9:].encode() + b'"}\n\n',
        b"data: " + UNSHAPED[:7].encode(),
    ]
    pieces += [UNSHAPED[7:].encode(), b"\n\n"]
    gates = [Gate() for _ in pieces]
    headers = (EVENT_STREAM, (b"x-echo", KEY.encode()), (b"set-cookie", b"session=" + KEY.encode()))
    steps = [step for pair in zip(pieces, gates, strict=True) for step in (pair[0], pair[1].passed)]
    url = f"{serve(answering(*steps, headers=headers))}/{KEY}{CHAT}?api-key={UNSHAPED}&v=1"
    body = {"user": KEY, "nested": [{"password": UNSHAPED}]}
    waiting = iter(gates)
    seen: list[bytes] = []

    def look(_: bytes) -> None:
        seen.append(everything_below(tmp_path))
        next(waiting).open()

    got = client.read(
        url,
        RecordingTransport(tmp_path / "chat.yaml", client.transport()),
        json=body,
        headers={"authorization": f"Bearer {KEY}", "x-api-key": UNSHAPED},
        each=look,
    )

    assert got.pieces == pieces
    assert len(seen) == len(pieces)
    for written in [*seen, everything_below(tmp_path)]:
        assert written
        for secret in (KEY, KEY[3:], KEY[:12], UNSHAPED, UNSHAPED[:10], "authorization", "cookie"):
            assert secret.encode() not in written
    (interaction,) = load(tmp_path / "chat.yaml").interactions
    # of the same length, so that each piece is still what came
    assert [len(chunk) for chunk in interaction.response.chunks] == [len(each) for each in pieces]
    assert b"sk-***" in interaction.response.body
    assert interaction.request.uri.endswith(f"{CHAT}?api-key={'*' * len(UNSHAPED)}&v=1")
    assert verify(load(tmp_path / "chat.yaml")) == []
    # who asks again with another key of that length, or without one, is answered
    client.read(
        url,
        ReplayTransport(tmp_path / "chat.yaml"),
        json=body,
    )


def test_behind_the_middleware_too(serve: Serve, tmp_path: Path) -> None:
    app = answering(b"data: sk-", KEY[3:].encode(), b"\n\n")
    url = serve(RecordingMiddleware(app, tmp_path / "chat.yaml")) + CHAT

    httpx.post(url, json={"key": KEY}, headers={"authorization": f"Bearer {KEY}"})

    assert KEY[3:].encode() not in everything_below(tmp_path)
    assert load(tmp_path / "chat.yaml").interactions[0].response.body.startswith(b"data: sk-***")


def test_in_a_compressed_body_too(tmp_path: Path) -> None:
    packed = gzip.compress(KEY.encode())
    record(tmp_path, httpx.Response(200, headers={"content-encoding": "gzip"}, content=packed))

    assert load(tmp_path / "chat.yaml").interactions[0].response.body == b"sk-" + b"*" * 23


def test_what_a_provider_names_a_customer_by_is_dropped(tmp_path: Path) -> None:
    dropped = ["openai-organization", "openai-project", "x-request-id", "request-id", "cf-ray"]
    dropped += ["anthropic-organization-id", "set-cookie", "x-amzn-requestid", "x-amz-cf-id"]
    kept = ["content-type", "openai-processing-ms", "x-ratelimit-remaining-tokens", "retry-after"]
    headers = [(name, "1") for name in [*dropped, *kept]]

    record(tmp_path, httpx.Response(200, headers=headers, text="{}"))

    response = load(tmp_path / "chat.yaml").interactions[0].response
    assert [name for name, _ in response.headers] == [*kept, "content-length"]


def test_a_key_in_the_address_of_a_redirect_is_masked(tmp_path: Path) -> None:
    elsewhere = httpx.Response(307, headers={"location": "http://h/x?key=abc&v=1"})

    assert dict(record(tmp_path, elsewhere).interactions[0].response.headers)["location"] == (
        "http://h/x?key=***&v=1"
    )


def record(folder: Path, response: httpx.Response, sent: Any = None, **options: Any) -> Cassette:
    transport = RecordingTransport(
        folder / "chat.yaml", httpx.MockTransport(lambda _: response), **options
    )
    sent = {"url": f"http://h{CHAT}", "json": {"a": 1}} | (sent or {})
    with httpx.Client(transport=transport) as client:
        client.post(**sent)
    path = folder / "chat.yaml"
    return load(path) if path.exists() else Cassette(Metadata(), ())


# ---------------------------------------------------------------- vcrpy's options


def test_headers_are_allowed_by_name(tmp_path: Path) -> None:
    sent = {"headers": {"accept": "a", "user-agent": "u", "x-mine": "m", "x-theirs": "t"}}

    cassette = record(tmp_path, httpx.Response(200), sent, allow_headers=["X-Mine"])

    headers = dict(cassette.interactions[0].request.headers)
    assert headers == {"accept": "a", "x-mine": "m", "content-type": "application/json"}


def test_vcrpys_filters_do_vcrpys_work(tmp_path: Path) -> None:
    cassette = record(
        tmp_path,
        httpx.Response(200),
        {
            "url": f"http://h{CHAT}?user=ann&page=2",
            "json": {"user": "ann", "deep": {"user": "ann"}, "n": 1},
            "headers": {"authorization": "Bearer secret-of-ann-1", "accept": "x"},
        },
        filter_headers=[("authorization", "DUMMY"), "accept"],
        filter_query_parameters=[("user", "somebody")],
        filter_post_data_parameters=["user"],
    )

    request = cassette.interactions[0].request
    assert dict(request.headers) == {"authorization": "DUMMY", "content-type": "application/json"}
    assert request.uri == f"http://h{CHAT}?page=2&user=somebody"
    assert json.loads(request.body) == {"deep": {"user": "ann"}, "n": 1}


def test_sensitive_data_has_a_placeholder_and_is_masked_in_what_comes(tmp_path: Path) -> None:
    options: Any = {"filter_sensitive_data": {"<NAME>": "Ann of Example"}}
    body = {"user": "Ann of Example"}
    stream = httpx.Response(200, stream=Pieces([b"data: Ann ", b"of Exam", b"ple!\n\n"]))

    cassette = record(tmp_path, stream, {"json": body}, **options)

    (interaction,) = cassette.interactions
    assert json.loads(interaction.request.body) == {"user": "<NAME>"}
    assert interaction.response.chunks == [b"data: ****", b"*******", b"***!\n\n"]
    with httpx.Client(transport=ReplayTransport(tmp_path / "chat.yaml", **options)) as client:
        assert client.post(f"http://h{CHAT}", json=body).status_code == 200


class Pieces(httpx.SyncByteStream):
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Any:
        return iter(self._pieces)


def test_requests_are_changed_or_dropped_by_a_function(tmp_path: Path) -> None:
    def hook(request: Any) -> Any:
        if b"private" in request.body:
            return None
        request.uri = request.uri.replace("h/v1", "elsewhere/v1")
        return request

    options: Any = {"before_record_request": hook}
    assert record(tmp_path, httpx.Response(200), {"json": {"private": 1}}, **options) == Cassette(
        Metadata(), ()
    )
    cassette = record(tmp_path, httpx.Response(200), **options)

    assert cassette.interactions[0].request.uri == f"http://elsewhere{CHAT}"


def test_answers_are_changed_by_functions_that_see_them_whole(tmp_path: Path) -> None:
    seen: list[bytes] = []

    def hook(response: Any) -> Any:
        seen.append(everything_below(tmp_path))
        response["headers"].pop("x-mine")
        response["body"]["string"] = response["body"]["string"].replace(b"Ann", b"Bob")
        return response

    stream = httpx.Response(
        200, headers={"x-mine": "1"}, stream=Pieces([b"An", b"n ", KEY.encode()])
    )
    cassette = record(tmp_path, stream, before_record_response=[hook])

    response = cassette.interactions[0].response
    assert seen == [b""]  # nothing is written before
    assert response.chunks == [b"Bo", b"b ", b"sk-" + b"*" * 23]
    assert len(response.times) == 3
    assert response.headers == ()


@pytest.mark.parametrize("body", [b"another length", b"", "text"])
def test_an_answer_of_another_length_is_one_chunk(body: Any, tmp_path: Path) -> None:
    def hook(response: Any) -> Any:
        return {**response, "body": {"string": body}}

    stream = httpx.Response(200, stream=Pieces([b"one", b"two"]))
    cassette = record(tmp_path, stream, before_record_response=hook)

    expected = body.encode() if isinstance(body, str) else body
    assert cassette.interactions[0].response.chunks == ([expected] if expected else [])


def test_an_answer_may_be_dropped(tmp_path: Path) -> None:
    record(tmp_path, httpx.Response(200), before_record_response=lambda _: None)

    assert everything_below(tmp_path) == b""


def test_what_a_function_raises_is_raised_and_nothing_is_written(tmp_path: Path) -> None:
    def hook(response: Any) -> Any:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        record(tmp_path, httpx.Response(200), before_record_response=hook)
    assert everything_below(tmp_path) == b""
    # and the tape is not stuck
    assert record(tmp_path, httpx.Response(200)).interactions


def test_those_that_are_written_whole_are_not_lost_among_others(tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"

    def opened(text: str, **options: Any) -> Any:
        inner = httpx.MockTransport(lambda _: httpx.Response(200, text=text))
        transport = RecordingTransport(path, inner, **options)
        return transport.handle_request(httpx.Request("GET", f"http://h/{text}"))

    whole: Any = {"before_record_response": lambda response: response}
    one, two = opened("one", **whole), opened("two", **whole)
    one.read()
    three = opened("three")
    assert [each.response.body for each in load(path).interactions] == [b"one", b""]
    two.read()
    # what was two is written before what was three, and both while that is open
    assert [each.response.body for each in load(path).interactions] == [b"one", b"two", b""]
    three.read()

    assert [each.response.body for each in load(path).interactions] == [b"one", b"two", b"three"]
    assert [file.name for file in tmp_path.iterdir()] == ["chat.yaml"]


def test_hosts_are_ignored(tmp_path: Path) -> None:
    sent = {"url": "http://localhost/v1/x"}

    assert not record(tmp_path, httpx.Response(200), sent, ignore_localhost=True).interactions
    assert not record(tmp_path, httpx.Response(200), ignore_hosts=["h"]).interactions


@pytest.mark.parametrize("value", ["", None, len])
def test_sensitive_data_has_to_be_text(value: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="filter_sensitive_data: '<NAME>'"):
        RecordingTransport(tmp_path / "x.yaml", filter_sensitive_data={"<NAME>": value})


# ---------------------------------------------------------------- shapes


def test_each_shape_is_masked_at_its_length() -> None:
    for key in KEYS:
        for text in (f'{{"a":"{key}"}}', f"a={key}&b", f"**{key}**", key):
            masked = _shapes.masked(text.encode()).decode()
            assert key not in masked
            assert len(masked) == len(text)
            # nothing but the key is gone
            start = text.index(key)
            assert masked[:start] == text[:start]
            assert masked[start + len(key) :] == text[start + len(key) :]
            assert set(masked[start + 6 : start + len(key)]) == {"*"}


@pytest.mark.parametrize(
    "text",
    [
        '"api_key": "%s"',
        "api-key=%s",
        "Authorization: Bearer %s",
        r'"arguments":"{\"password\": \"%s\"}"',
        "{'client_secret': '%s'}",
        "-----BEGIN RSA PRIVATE KEY-----%s",
    ],
)
def test_what_is_named_as_a_secret_is_one(text: str) -> None:
    secret = "hunter2hunter2"  # noqa: S105 - of a joke
    masked = _shapes.masked((text % secret).encode()).decode()
    assert masked == text % ("*" * len(secret))


@pytest.mark.parametrize(
    "text",
    [
        "risk-averse-and-conservative-behaviour",
        '"max_tokens": 123456789012, "usage": {"prompt_tokens_details": 1}',
        '{"authorization": {"type": "string"}, "password": "short"}',
        '"id":"chatcmpl-7d0f3a5c1e9b4f62a8c1d2e3f4a5b6c7","system_fingerprint":"fp_44709d6fcb"',
        "a bearer of good news",
        "import sk-learn",
    ],
)
def test_what_is_none_stays(text: str) -> None:
    assert _shapes.masked(text.encode()) == text.encode()


# a key begins where no letter or digit goes before it
SEPARATED = st.lists(
    st.sampled_from(
        [
            *KEYS,
            f"Bearer {UNSHAPED}x",
            f'"api_key": "{UNSHAPED}y"',
            UNSHAPED,
            "s",
            "sk",
            "eyJ",
            "bear",
            "AI",
            "你好",
            "plain words",
            "\n",
        ]
    ),
    max_size=6,
)


@given(
    parts=SEPARATED,
    between=st.sampled_from([" ", '"', "**", "=", "\n\n", ": "]),
    cuts=st.lists(st.integers(1, 30), min_size=1),
)
def test_pieces_are_masked_as_the_whole_is(parts: list[str], between: str, cuts: list[int]) -> None:
    body = between.join(parts).encode()
    known = [UNSHAPED.encode()]
    whole = _shapes.masked(body, known)
    mask, out, at, number = _shapes.Mask(known), b"", 0, 0

    while at < len(body):
        length = cuts[number % len(cuts)]
        out += mask.feed(body[at : at + length])
        at, number = at + length, number + 1
        # what is given out is never taken back
        assert whole.startswith(out)
    out += mask.close()

    assert out == whole
    assert len(whole) == len(body)
    for secret in [*KEYS, UNSHAPED]:
        assert secret.encode() not in whole
    assert list(_shapes.find(whole)) == []


@pytest.mark.parametrize(
    "text",
    [
        # what could begin a second one stands in the first, which has not ended at the cut
        'Bearer abcdefgh-api_key": "hunter2hunter2"',
        f'Bearer abcdefgh-{KEY} "api_key": "{UNSHAPED}"',
        "tok-sk-0123456789 and tok-sk-0123",
        "password=AKIAIOSFODNN7EXAMPLE;AKIAIOSFODNN7EXAMPLE",
    ],
)
def test_secrets_in_secrets_are_masked_at_any_cut(text: str) -> None:
    body, known = text.encode(), [b"tok-sk-0123456789"]
    whole = _shapes.masked(body, known)

    for cut in range(len(body)):
        for next_cut in range(cut, len(body), 3):
            mask = _shapes.Mask(known)
            parts = [body[:cut], body[cut:next_cut], body[next_cut:]]
            assert b"".join([mask.feed(part) for part in parts]) + mask.close() == whole


def test_whole_events_are_not_held_back() -> None:
    mask = _shapes.Mask([KEY.encode()])
    for event in (b'data: {"s": "sk-"}\n\n', b"data: [DONE]\n\n"):
        assert mask.feed(event) == event


def test_events_without_a_sign_of_a_secret_are_not_searched_for_the_shapes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mask = _shapes.Mask([b"abc-0123456789"])
    monkeypatch.setattr(_shapes, "_WHOLE", None)
    monkeypatch.setattr(_shapes, "_BEGUN", None)
    event = b'data: {"id":"chatcmpl-1","choices":[{"delta":{"content":" a word"}}]}\n\n'
    assert mask.feed(event) + mask.feed(event) + mask.close() == event * 2


@pytest.mark.parametrize("shape", _shapes.SHAPES, ids=lambda shape: shape.name)
def test_every_shape_begins_with_a_sign(shape: _shapes.Shape) -> None:
    texts = shape.parts[0].texts
    assert texts
    for text in texts:
        assert _shapes._has_sign(b"a " + text + b" z")
        assert _shapes._has_sign(text.upper()) or not shape.any_case


def test_a_secret_without_an_end_is_masked_as_it_comes() -> None:
    mask = _shapes.Mask()
    out = mask.feed(b'"Bearer ')
    sizes = []
    for _ in range(100):
        out += mask.feed(b"a1" * 500)
        sizes.append(len(mask._held))
    out += mask.feed(b'" ' + KEY.encode() + b" end") + mask.close()

    assert max(sizes) < 6000
    assert out == b'"Bearer ' + b"*" * 100_000 + b'" sk-' + b"*" * 23 + b" end"


def test_a_password_in_basic_authorization_is_known(tmp_path: Path) -> None:
    echo = httpx.Response(200, text="wrong: correcthorse42")
    credentials = base64.b64encode(b"ann:correcthorse42").decode()

    cassette = record(tmp_path, echo, {"headers": {"authorization": f"Basic {credentials}"}})

    assert cassette.interactions[0].response.body == b"wrong: **************"


# ---------------------------------------------------------------- verify, and scrub what is there


def dirty() -> Cassette:
    request = RecordedRequest(
        method="POST",
        uri=f"https://ann:horse@h{CHAT}?key=abc&n=1",
        headers=(("Authorization", f"Bearer {KEY}"), ("accept", "x")),
        body=json.dumps({"a": KEY}).encode(),
    )
    response = RecordedResponse.from_chunks(
        [b"data: 1 " + KEY[:10].encode(), KEY[10:].encode()],
        headers=(("set-cookie", "a=b"), ("x-request-id", "req_1"), ("x-echo", KEY)),
    )
    return Cassette(Metadata(note="a note"), (Interaction(request, response),))


def test_verify_says_where_and_what_and_not_the_secret() -> None:
    problems = verify(dirty())

    assert [problem.where for problem in problems] == [
        "interactions[0].request.uri",
        "interactions[0].request.headers.Authorization",
        "interactions[0].request.body: byte 10",
        "interactions[0].response.headers.set-cookie",
        "interactions[0].response.headers.x-request-id",
        "interactions[0].response.headers.x-echo: byte 3",
        "interactions[0].response.body: byte 11",
    ]
    assert str(problems[2]) == "interactions[0].request.body: byte 10: an API key (sk-…) (proj…)"
    assert not any(KEY[3:] in str(problem) for problem in problems)


def test_scrub_leaves_nothing_for_verify_to_find() -> None:
    clean = scrub(dirty())

    assert verify(clean) == []
    assert clean.metadata == dirty().metadata
    (interaction,) = clean.interactions
    assert interaction.request.uri == f"https://ann:*****@h{CHAT}?key=***&n=1"
    assert interaction.request.headers == (("accept", "x"),)
    assert interaction.response.lengths == dirty().interactions[0].response.lengths
    assert scrub(clean) == clean


def test_scrub_decodes_what_is_compressed() -> None:
    packed = gzip.compress(KEY.encode() + b"\n")
    response = RecordedResponse.from_chunks(
        [packed[:12], packed[12:]], headers=(("content-encoding", "gzip"),), times=(1, 2)
    )
    before = Cassette(
        Metadata(), (Interaction(RecordedRequest(method="GET", uri="http://h/"), response),)
    )
    assert [problem.what for problem in verify(before)] == ["an API key (sk-…)"]

    (interaction,) = scrub(before).interactions
    assert interaction.response.body == b"sk-" + b"*" * 23 + b"\n"
    assert interaction.response.headers == ()


def test_scrub_takes_vcrpys_options() -> None:
    assert scrub(dirty(), {"ignore_hosts": ["h"]}).interactions == ()
    assert scrub(dirty(), {"before_record_response": lambda _: None}).interactions == ()


def stream_of(*texts: str) -> Cassette:
    chunks = [
        b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"
        for text in texts
    ]
    response = RecordedResponse.from_chunks(chunks)
    return Cassette(
        Metadata(), (Interaction(RecordedRequest(method="GET", uri="http://h/"), response),)
    )


def test_verify_finds_a_key_that_was_said_piece_by_piece() -> None:
    (problem,) = verify(stream_of("Your key: ", "sk", "-proj", "-Abc123", "def456 it is"))

    assert problem.where == "interactions[0].response.body: choices[0].delta.content of all events"
    assert verify(stream_of("The risk", "-averse", "-and-conservative")) == []


@pytest.mark.parametrize("value", ["DUMMY", "Bearer REDACTED", "<KEY>", "[removed]", "*****", ""])
def test_placeholders_are_no_problem(value: str) -> None:
    request = RecordedRequest(method="GET", uri="http://h/", headers=(("authorization", value),))

    assert verify(Cassette(Metadata(), (Interaction(request, RecordedResponse()),))) == []


def test_a_coding_that_cannot_be_undone_is_a_problem() -> None:
    response = RecordedResponse.from_chunks([b"?"], headers=(("content-encoding", "sdch"),))
    request = RecordedRequest(method="GET", uri="http://h/")
    (problem,) = verify(Cassette(Metadata(), (Interaction(request, response),)))

    assert "cannot be undone" in problem.what


def test_the_notes_of_a_cassette_are_looked_at() -> None:
    (problem,) = verify(Cassette(Metadata(note=f"recorded with {KEY}"), ()))

    assert problem.where.startswith("metadata")


def test_a_miss_does_not_show_a_key() -> None:
    transport = ReplayTransport(scrub(dirty()))

    with pytest.raises(UnmatchedRequestError) as raised:
        httpx.Client(transport=transport).post(
            f"http://h{CHAT}", json={"b": KEY}, headers={"x-api-key": UNSHAPED}
        )
    assert KEY not in str(raised.value)
