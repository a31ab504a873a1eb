"""Recording over real sockets: the application sees each piece as it comes, and the file has it."""

from __future__ import annotations

import errno
import gzip
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import pytest

from normalizer.cassette import (
    Cassette,
    RecordingMiddleware,
    RecordingTransport,
    _atomic,
    _tape,
    dump,
    load,
)
from normalizer.cassette.format import (
    CassetteError,
    Metadata,
    RecordedRequest,
    RecordedResponse,
    dumps,
    loads,
)
from normalizer.cassette.scrub import Scrubbed, Scrubber
from tests.cassette.reading import CLIENTS, Client
from tests.conftest import CHAT, DONE, EVENT_STREAM, STREAMED, ASGIApp, Gate, answering

Serve = Callable[[ASGIApp], str]
EVENTS = [b'data: {"n": %d}\n\n' % n for n in range(5)]

clients = pytest.mark.parametrize("client", CLIENTS)

# httpx and httpx2 leave generators unfinished that they read from, and trio tells.
early = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recorded" / "chat.yaml"


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock is 100 ms after the last one."""
    ticks = iter(range(1_000_000))
    monkeypatch.setattr(_tape, "now", lambda: next(ticks) / 10)


def answer(path: Path, number: int = 0) -> RecordedResponse:
    return load(path).interactions[number].response


async def breaks() -> None:
    raise ConnectionAbortedError


@clients
def test_each_event_arrives_before_the_next_is_sent(
    client: Client, serve: Serve, path: Path, ticking: None
) -> None:
    gates = [Gate() for _ in EVENTS]
    steps = [
        step for event, gate in zip(EVENTS, gates, strict=True) for step in (event, gate.passed)
    ]
    url = serve(answering(*steps)) + CHAT
    waiting = iter(gates)

    # the server sends an event when the application has read the one before
    got = client.read(
        url, RecordingTransport(path, client.transport()), each=lambda _: next(waiting).open()
    )

    assert got.pieces == EVENTS
    assert all(gate.in_time == [True] for gate in gates)
    response = answer(path)
    assert response.chunks == EVENTS
    assert response.times == (100, 200, 300, 400, 500)
    assert response.end == "complete"
    assert [file.name for file in path.parent.iterdir()] == ["chat.yaml"]


@clients
def test_what_had_arrived_is_on_disk_when_the_application_sees_it(
    client: Client, serve: Serve, path: Path
) -> None:
    gates = [Gate() for _ in EVENTS]
    steps = [
        step for event, gate in zip(EVENTS, gates, strict=True) for step in (event, gate.passed)
    ]
    url = serve(answering(*steps)) + CHAT
    waiting = iter(gates)
    on_disk: list[list[bytes]] = []

    def look(_: bytes) -> None:
        on_disk.append(answer(path).chunks)
        # whoever cannot read our journal reads a whole file all the same
        assert loads(path.read_text()).interactions[0].response.end == "closed"
        next(waiting).open()

    client.read(url, RecordingTransport(path, client.transport()), each=look)

    assert on_disk == [EVENTS[:count] for count in range(1, 6)]


def test_where_there_is_time_the_file_itself_has_what_had_arrived(
    serve: Serve, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as between the events of a model
    monkeypatch.setattr(_tape, "_BUSY", float("inf"))
    in_file: list[list[bytes]] = []

    def look(_: bytes) -> None:
        in_file.append(loads(path.read_text()).interactions[0].response.chunks)

    url = serve(answering(*EVENTS)) + CHAT
    Client(httpx, None).read(url, RecordingTransport(path), each=look)

    assert in_file == [EVENTS[:count] for count in range(1, 6)]


@clients
def test_a_cut_stream_is_recorded_as_cut(client: Client, serve: Serve, path: Path) -> None:
    url = serve(answering(*EVENTS[:3], breaks)) + CHAT

    got = client.read(url, RecordingTransport(path, client.transport()))

    assert got.pieces == EVENTS[:3]
    assert isinstance(got.error, client.library.RemoteProtocolError)
    assert answer(path).chunks == EVENTS[:3]
    assert answer(path).end == "cut"


@clients
def test_silence_is_recorded_as_a_timeout(client: Client, serve: Serve, path: Path) -> None:
    gate = Gate()
    url = serve(answering(EVENTS[0], gate.passed)) + CHAT
    timeout = client.library.Timeout(5, read=0.2)

    got = client.read(url, RecordingTransport(path, client.transport()), timeout=timeout)
    gate.open()

    assert got.pieces == EVENTS[:1]
    assert isinstance(got.error, client.library.ReadTimeout)
    assert answer(path).chunks == EVENTS[:1]
    assert answer(path).end == "timeout"


@clients
def test_a_reset_is_recorded_as_a_reset(client: Client, path: Path) -> None:
    with _Resetting(EVENTS[0]) as server:
        got = client.read(server.url, RecordingTransport(path, client.transport()), each=server.go)

    assert got.pieces == EVENTS[:1]
    assert isinstance(got.error, client.library.ReadError)
    assert answer(path).chunks == EVENTS[:1]
    assert answer(path).end == "reset"


@early
@clients
def test_who_leaves_has_closed_it(client: Client, serve: Serve, path: Path) -> None:
    gate = Gate()
    url = serve(answering(*EVENTS[:2], gate.passed)) + CHAT

    got = client.read(url, RecordingTransport(path, client.transport()), stop_after=2)
    gate.open()

    assert got.pieces == EVENTS[:2]
    assert answer(path).chunks == EVENTS[:2]
    assert answer(path).end == "closed"


@early
@clients
def test_who_leaves_at_done_has_had_all(client: Client, serve: Serve, path: Path) -> None:
    gate = Gate()
    url = serve(answering(EVENTS[0], DONE, gate.passed)) + CHAT

    client.read(url, RecordingTransport(path, client.transport()), stop_after=2)
    gate.open()

    assert answer(path).chunks == [EVENTS[0], DONE]
    assert answer(path).end == "complete"


def test_a_killed_recorder_leaves_what_had_arrived(serve: Serve, path: Path) -> None:
    gate = Gate()
    url = serve(answering(*EVENTS[:3], gate.passed)) + CHAT
    program = f"""
import httpx
from normalizer.cassette import RecordingTransport
with httpx.Client(transport=RecordingTransport({str(path)!r})) as client:
    with client.stream("POST", {url!r}, json={STREAMED!r}) as response:
        for piece in response.iter_raw():
            print(len(piece), flush=True)
"""
    recorder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert recorder.stdout is not None
    with recorder:
        seen = [recorder.stdout.readline().strip() for _ in range(3)]
        recorder.kill()
    gate.open()

    assert recorder.returncode == -signal.SIGKILL
    assert seen == [str(len(event)) for event in EVENTS[:3]]
    assert answer(path).chunks == EVENTS[:3]
    assert answer(path).end == "closed"
    assert len(answer(path).times) == 3

    # who records on takes up what was left
    ask(RecordingTransport(path), serve(answering(EVENTS[4])) + CHAT)
    assert [each.response.chunks for each in load(path).interactions] == [EVENTS[:3], [EVENTS[4]]]
    assert [file.name for file in path.parent.iterdir()] == ["chat.yaml"]


def test_a_line_of_the_journal_that_was_half_written_is_none(path: Path) -> None:
    transport = RecordingTransport(path, httpx.MockTransport(lambda _: httpx.Response(200)))
    response = transport.handle_request(httpx.Request("GET", "http://h/"))
    journal = path.with_name("chat.yaml.journal")
    assert journal.exists()
    with journal.open("ab") as file:
        file.write(b'["chunk",0,1.0,5]\n["bytes",0,"abcde"]\n["chunk",0,2.0,9]\n["byt')

    assert answer(path).chunks == [b"abcde"]
    response.close()
    assert not journal.exists()


@pytest.mark.parametrize("written", ["", '["bef'])
def test_a_journal_that_was_not_begun_is_none(written: str, path: Path) -> None:
    ask(RecordingTransport(path, mock(httpx.Response(200, text="one"))))
    path.with_name("chat.yaml.journal").write_text(written)

    assert answer(path).body == b"one"


def test_a_journal_that_is_none_is_an_error_that_says_where(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("interactions: []\n")
    path.with_name("chat.yaml.journal").write_text('["before",0]\n["sung",0]\n')

    with pytest.raises(CassetteError, match=r"chat.yaml.journal: line 2: not of a journal"):
        load(path)


def test_streams_of_several_tasks_and_threads_do_not_mix(serve: Serve, path: Path) -> None:
    gate = Gate()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        name = scope["path"].encode()
        wait: Any = () if scope["path"] == "/0" else (gate.passed,)
        await answering(b"begin " + name, *wait, b" end " + name)(scope, receive, send)

    url = serve(app)
    transport = RecordingTransport(path)

    async def ask(client: httpx2.AsyncClient, number: int) -> None:
        assert (await client.get(f"{url}/{number}")).text == f"begin /{number} end /{number}"

    async def several() -> None:
        async with (
            httpx2.AsyncClient(transport=transport) as client,
            anyio.create_task_group() as group,
        ):
            for number in range(5):
                group.start_soon(ask, client, number)

    with httpx.Client(transport=transport) as client:
        threads = [
            threading.Thread(target=client.get, args=(f"{url}/{number}",)) for number in range(5, 9)
        ]
        for thread in threads:
            thread.start()
        # one is over while others, in threads too, are not: they are open at once
        assert client.get(f"{url}/0").text == "begin /0 end /0"
        gate.open()
        anyio.run(several)
        for thread in threads:
            thread.join()

    recorded = load(path).interactions
    assert sorted(each.request.uri for each in recorded) == sorted(
        [f"{url}/0", *(f"{url}/{number}" for number in range(9))]
    )
    for each in recorded:
        name = each.request.uri.removeprefix(url).encode()
        assert each.response.body == b"begin " + name + b" end " + name
        assert each.response.end == "complete"
    assert [file.name for file in path.parent.iterdir()] == ["chat.yaml"]


def mock(*answers: httpx.Response) -> httpx.MockTransport:
    left = iter(answers)
    return httpx.MockTransport(lambda _: next(left))


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def ask(transport: Any, url: str = "http://h/v1/chat/completions", **given: Any) -> httpx.Response:
    with httpx.Client(transport=transport) as client:
        return client.post(url, **(given or {"json": STREAMED}))


def test_what_is_recorded_comes_behind_what_was_there(path: Path) -> None:
    ask(RecordingTransport(path, mock(httpx.Response(200, text="one"))))
    kept = load(path).metadata
    ask(
        RecordingTransport(path, mock(httpx.Response(404, text="two")), metadata=Metadata(note="x"))
    )

    assert [each.response.body for each in load(path).interactions] == [b"one", b"two"]
    assert answer(path, 1).status == 404
    assert answer(path, 1).reason == "Not Found"
    assert load(path).metadata == kept
    assert kept.origin == "recorded"


def test_fresh_begins_anew_with_the_first_answer(path: Path) -> None:
    ask(RecordingTransport(path, mock(httpx.Response(200, text="one"))))
    failing = httpx.MockTransport(refuse)
    with pytest.raises(httpx.ConnectError):
        ask(RecordingTransport(path, failing, fresh=True))
    assert answer(path).body == b"one"

    transport = RecordingTransport(
        path, mock(httpx.Response(200, text="two")), fresh=True, metadata=Metadata(server="s")
    )
    ask(transport)

    assert [each.response.body for each in load(path).interactions] == [b"two"]
    assert load(path).metadata == Metadata(server="s")


def test_a_file_that_changed_in_between_is_read_again(path: Path) -> None:
    transport = RecordingTransport(
        path, mock(*(httpx.Response(200, text=text) for text in ("one", "two", "three")))
    )
    ask(transport)
    path.unlink()
    ask(transport)
    assert [each.response.body for each in load(path).interactions] == [b"two"]

    dump(Cassette(Metadata(note="mine"), load(path).interactions * 2), path)
    ask(transport)
    assert [each.response.body for each in load(path).interactions] == [b"two", b"two", b"three"]
    assert load(path).metadata.note == "mine"


def test_two_transports_on_one_file_share_it(path: Path) -> None:
    one = RecordingTransport(path, mock(httpx.Response(200, text="one")))
    two = RecordingTransport(path, mock(httpx.Response(200, text="two")))
    ask(one)
    ask(two)

    assert [each.response.body for each in load(path).interactions] == [b"one", b"two"]


@clients
def test_a_compressed_body_is_recorded_readable(client: Client, serve: Serve, path: Path) -> None:
    packed = gzip.compress(b"".join(EVENTS))
    headers = (
        EVENT_STREAM,
        (b"content-encoding", b"gzip"),
        (b"content-length", b"%d" % len(packed)),
    )
    url = serve(answering(packed[:30], packed[30:], headers=headers)) + CHAT

    got = client.read(url, RecordingTransport(path, client.transport()))

    assert got.body == b"".join(EVENTS)
    assert got.headers["content-encoding"] == "gzip"
    assert answer(path).body == b"".join(EVENTS)
    assert dict(answer(path).headers) == {
        name: value
        for name, value in answer(path).headers
        if name not in ("content-encoding", "content-length")
    }
    assert answer(path).end == "complete"


def test_a_coding_that_cannot_be_searched_is_not_recorded(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    coded = httpx.Response(200, headers={"content-encoding": "sdch"}, stream=httpx.ByteStream(b"?"))

    assert ask(RecordingTransport(path, mock(coded))).content == b"?"

    assert not path.exists()
    assert "not recorded" in caplog.text


def test_a_body_that_is_not_in_its_coding_is_recorded_up_to_there(path: Path) -> None:
    broken = httpx.Response(
        200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip")
    )

    with pytest.raises(httpx.DecodingError):
        ask(RecordingTransport(path, mock(broken)))

    assert (answer(path).body, answer(path).end) == (b"", "cut")


@clients
def test_a_request_that_is_streamed_is_recorded_and_sent_once(
    client: Client, serve: Serve, path: Path
) -> None:
    pulled: list[bytes] = []
    parts = [b'{"a"', b": 1}"]

    def sync() -> Iterator[bytes]:
        for part in parts:
            pulled.append(part)
            yield part

    async def asynchronous() -> Any:
        for part in sync():
            yield part

    content = sync() if client.backend is None else asynchronous()
    client.read(
        serve(answering(EVENTS[0])) + CHAT,
        RecordingTransport(path, client.transport()),
        content=content,
    )

    assert pulled == parts
    assert load(path).interactions[0].request.body == b'{"a": 1}'


def test_what_cannot_be_written_is_said(path: Path) -> None:
    path.parent.write_text("a file, where a folder is needed")

    with pytest.raises(OSError, match="recorded"):
        ask(RecordingTransport(path, mock(httpx.Response(200))))


def test_a_file_that_is_no_cassette_is_not_overwritten(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("my notes")

    with pytest.raises(CassetteError, match="this is not a cassette"):
        ask(RecordingTransport(path, mock(httpx.Response(200))))
    assert path.read_text() == "my notes"


def test_an_option_that_does_not_exist_is_an_error(path: Path) -> None:
    with pytest.raises(TypeError, match="filter_heads"):
        RecordingTransport(path, filter_heads=["x"])  # type: ignore[call-arg]


def test_a_transport_that_is_closed_ends_what_is_read_through_it(path: Path) -> None:
    transport = RecordingTransport(path, mock(httpx.Response(200, text="abc")))
    response = transport.handle_request(httpx.Request("GET", "http://h/"))
    next(iter(response.stream))
    transport.close()

    assert answer(path).end == "complete"  # its length was known
    assert [file.name for file in path.parent.iterdir()] == ["chat.yaml"]


def test_writing_as_it_goes_costs_no_more_for_a_longer_stream(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    monkeypatch.setattr(os, "write", _counting(os.write, written))
    monkeypatch.setattr(_atomic, "write", lambda _, data: written.append(len(data)))

    def cost(events: int) -> int:
        written.clear()
        tape = _tape.Tape(path, None, fresh=True)
        take = tape.begin(_asked(), _tape.Head(200, "OK", ()), Scrubber({}))
        assert take is not None
        for _ in range(events):
            take.feed(EVENTS[0] * 10)
        take.end("complete")
        return sum(written)

    path.parent.mkdir()
    short = cost(500)
    # ten times the stream; had every event cost a file, it would be a hundred times
    assert cost(5000) < 25 * short


def test_an_event_is_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tape = _tape.Tape(path, None)
    take = tape.begin(_asked(), _tape.Head(200, "OK", ()), Scrubber({}))
    assert take is not None
    written: list[int] = []
    monkeypatch.setattr(os, "write", _counting(os.write, written))
    monkeypatch.setattr(_tape, "_BUSY", 0)
    for _ in range(50):
        take.feed(EVENTS[0])
    assert len(written) == 50
    take.end("complete")
    assert answer(path).chunks == [EVENTS[0]] * 50


def test_the_lists_of_a_long_answer_are_not_read_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tape = _tape.Tape(path, None)
    take = tape.begin(_asked(), _tape.Head(200, "OK", ()), Scrubber({}))
    assert take is not None
    for _ in range(1000):
        take.feed(b"data: 1\n\n")
    read: list[int] = []

    def reads(text: str) -> Cassette:
        read.append(len(text))
        return loads(text)

    monkeypatch.setattr(_tape, "loads", reads)
    take.end("complete")
    # the body, each of its lines with a margin, and not the 1,000 lengths and times
    assert sum(read) < 1000 * (len("data: 1\n\n") + 10) + 1000
    assert answer(path).chunks == [b"data: 1\n\n"] * 1000


def test_an_answer_costs_no_more_in_a_larger_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    real = _atomic.write

    def write(to: Any, data: bytes) -> None:
        written.append(len(data))
        real(to, data)

    monkeypatch.setattr(os, "write", _counting(os.write, written))
    monkeypatch.setattr(_atomic, "write", write)
    # so that what is open is written again as often as it can be
    monkeypatch.setattr(_tape, "_BUSY", float("inf"))
    tape = _tape.Tape(path, None)
    costs = []
    for _ in range(40):
        written.clear()
        take = tape.begin(_asked(), _tape.Head(200, "OK", ()), Scrubber({}))
        assert take is not None
        for _ in range(20):
            take.feed(EVENTS[0] * 10)
        take.end("complete")
        costs.append(sum(written))

    assert max(costs[1:]) < 1.1 * min(costs[1:])
    # the file is as if it had been written at once
    assert dumps(load(path)) == path.read_text()
    assert len(load(path).interactions) == 40


def test_streams_that_overlap_are_appended_when_they_end(path: Path) -> None:
    tape = _tape.Tape(path, None)
    takes = []
    for event in EVENTS:
        take = tape.begin(_asked(), _tape.Head(200, "OK", ()), Scrubber({}))
        assert take is not None
        take.feed(event)
        takes.append(take)
    for over, number in enumerate((3, 0, 4, 1, 2), 1):
        takes[number].end("complete")
        # as plain vcrpy reads it, and as we do
        assert len(loads(path.read_text()).interactions) >= over
        assert len(load(path).interactions) == 5

    assert [each.response.body for each in load(path).interactions] == [
        EVENTS[number] for number in (3, 0, 4, 1, 2)
    ]
    assert dumps(load(path)) == path.read_text()


def test_what_was_half_appended_when_the_recorder_was_killed(path: Path) -> None:
    for text in ("one", "two"):
        ask(RecordingTransport(path, mock(httpx.Response(200, text=text))))
    whole = path.read_bytes()
    transport = RecordingTransport(path, mock(httpx.Response(200, text="three")))
    response = transport.handle_request(httpx.Request("GET", "http://h/"))
    next(iter(response.stream))
    journal = path.with_name("chat.yaml.journal")
    left = journal.read_bytes() + b'["ended",%d,"complete"]\n' % (transport._tape._count - 1)
    response.close()
    done = path.read_bytes()
    assert done.startswith(whole)

    for length in range(len(whole), len(done)):
        path.write_bytes(done[:length])
        journal.write_bytes(left)
        recorded = load(path).interactions
        assert [each.response.body for each in recorded] == [b"one", b"two", b"three"]
    ask(RecordingTransport(path, mock(httpx.Response(200, text="four"))))
    assert path.read_bytes().startswith(done)
    assert not journal.exists()


def test_a_file_of_vcrpys_own_is_added_to(path: Path) -> None:
    path.parent.mkdir()
    # vcrpy writes the version behind the interactions
    path.write_text(
        "interactions:\n- request: {method: GET, uri: 'http://h/', body: null, headers: {}}\n"
        "  response:\n    body: {string: one}\n    headers: {}\n    status: {code: 200}\n"
        "version: 1\n"
    )
    ask(RecordingTransport(path, mock(httpx.Response(200, text="two"))))

    assert [each.response.body for each in load(path).interactions] == [b"one", b"two"]


# ---------------------------------------------------------------- several recorders


RECORDS = """
import sys, httpx
from normalizer.cassette import RecordingTransport
path, name, count = sys.argv[1:]
for number in range(int(count)):
    answer = httpx.Response(200, text=f"{name} {number} " + "x" * 2000)
    transport = RecordingTransport(path, httpx.MockTransport(lambda _: answer))
    with httpx.Client(transport=transport) as client:
        client.get("http://h/")
"""


def test_programs_that_record_into_one_file_lose_nothing(path: Path) -> None:
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", RECORDS, str(path), name, "10"],
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in "abc"
    ]
    said = [program.communicate()[1] for program in programs]

    recorded = [each.response.body.decode().split() for each in load(path).interactions]
    for name, program, error in zip("abc", programs, said, strict=True):
        # a program that could not have the file says so
        assert program.returncode == 0 or "BlockingIOError" in error, error
        mine = [number for who, number, _ in recorded if who == name]
        assert mine == [str(number) for number in range(len(mine))]
        assert len(mine) == 10 or program.returncode
    assert dumps(load(path)) == path.read_text()


def test_a_program_that_cannot_have_the_file_says_so(path: Path) -> None:
    transport = RecordingTransport(path, mock(httpx.Response(200, text="one")))
    response = transport.handle_request(httpx.Request("GET", "http://h/"))
    command = [sys.executable, "-c", RECORDS, str(path), "a", "1"]

    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    next(iter(response.stream))
    response.close()
    subprocess.run(command, capture_output=True, text=True, check=True)

    assert refused.returncode
    assert "another program is recording to it" in refused.stderr
    assert str(path) in refused.stderr
    bodies = [each.response.body for each in load(path).interactions]
    assert bodies == [b"one", b"a 0 " + b"x" * 2000]


def test_threads_that_record_into_one_file_lose_nothing(path: Path) -> None:
    def record(name: str) -> None:
        for number in range(5):
            answer = httpx.Response(200, text=f"{name} {number}")
            ask(RecordingTransport(path, mock(answer)))

    threads = [threading.Thread(target=record, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    bodies = sorted(each.response.body.decode() for each in load(path).interactions)
    assert bodies == sorted(f"{name} {number}" for name in "abcdefgh" for number in range(5))


# ---------------------------------------------------------------- a full disk


class _Disk:
    """A disk that is full after so many writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
        self.left = writes
        self._write, self._atomic = os.write, _atomic.write
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(_atomic, "write", self.atomic)

    def write(self, descriptor: int, data: Any) -> int:
        if self.left <= 0:
            # what still fits is written
            self._write(descriptor, bytes(data)[:3])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.left -= 1
        return self._write(descriptor, data)

    def atomic(self, path: Any, data: bytes) -> None:
        if self.left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        self.left -= 1
        self._atomic(path, data)


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("writes", range(16))
def test_a_full_disk_stops_the_recording_and_not_the_stream(
    writes: int,
    there: bool,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if there:
        ask(RecordingTransport(path, mock(httpx.Response(200, text="before"))))
    before = [b"before"] * there
    answers = [httpx.Response(200, stream=_Pieces()) for _ in range(2)]
    transport = RecordingTransport(path, mock(*answers))

    disk = _Disk(monkeypatch, writes)
    assert ask(transport).content == b"".join(EVENTS)
    full = disk.left <= 0 and "the recording stops: No space left" in caplog.text
    disk.left = 1_000_000

    if path.exists():
        # nothing is torn, for us or for anybody
        assert [each.response.body for each in loads(path.read_text()).interactions][
            : len(before)
        ] == before
        kept = load(path).interactions
        assert [each.response.body for each in kept[: len(before)]] == before
        for each in kept[len(before) :]:
            assert b"".join(EVENTS).startswith(each.response.body)
    assert full or len(kept) == len(before) + 1

    # when there is room again, what comes is recorded
    assert ask(transport).content == b"".join(EVENTS)
    assert load(path).interactions[-1].response.body == b"".join(EVENTS)
    assert [file.name for file in path.parent.iterdir()] == ["chat.yaml"]


class _Pieces(httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        yield from EVENTS


def _counting(write: Any, written: list[int]) -> Any:
    def counted(descriptor: int, data: Any) -> int:
        count: int = write(descriptor, data)
        written.append(count)
        return count

    return counted


def _asked() -> Scrubbed:
    return Scrubbed(RecordedRequest(method="GET", uri="http://h/"), ())


def test_no_library_is_imported_before_it_is_used(path: Path) -> None:
    program = f"""
import sys
from normalizer.cassette import RecordingMiddleware, RecordingTransport, load
RecordingTransport({str(path)!r})
print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "normalizer" in loaded
    assert not loaded & {"httpx", "httpx2", "starlette", "vcr"}


# ---------------------------------------------------------------- the middleware


def test_the_middleware_records_what_the_application_sends(
    serve: Serve, path: Path, ticking: None
) -> None:
    gates = [Gate() for _ in EVENTS]
    steps = [
        step for event, gate in zip(EVENTS, gates, strict=True) for step in (event, gate.passed)
    ]
    url = serve(RecordingMiddleware(answering(*steps), path)) + CHAT
    waiting = iter(gates)

    with httpx.stream("POST", f"{url}?a=b", json=STREAMED) as response:
        got = []
        for piece in response.iter_raw():
            got.append(piece)
            next(waiting).open()

    assert got == EVENTS
    (interaction,) = load(path).interactions
    assert interaction.request.uri == f"{url}?a=b"
    assert interaction.request.method == "POST"
    assert interaction.request.body == response.request.content
    assert interaction.response.chunks == EVENTS
    assert interaction.response.times == (100, 200, 300, 400, 500)
    assert interaction.response.end == "complete"
    assert dict(interaction.response.headers)["content-type"].startswith("text/event-stream")


def test_an_application_that_fails_is_recorded_as_cut(serve: Serve, path: Path) -> None:
    url = serve(RecordingMiddleware(answering(*EVENTS[:3], breaks), path)) + CHAT

    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(url, json=STREAMED)

    assert answer(path).chunks == EVENTS[:3]
    assert answer(path).end == "cut"


def test_a_client_of_the_middleware_that_leaves_has_closed_it(serve: Serve, path: Path) -> None:
    left = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [EVENT_STREAM]})
        await send({"type": "http.response.body", "body": EVENTS[0], "more_body": True})
        assert (await receive())["type"] == "http.disconnect"

    recording = RecordingMiddleware(app, path)

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        await recording(scope, receive, send)
        left.set()

    with httpx.stream("POST", serve(watched) + CHAT, json=STREAMED) as response:
        next(response.iter_raw())
    assert left.wait(20)

    assert answer(path).chunks == EVENTS[:1]
    assert answer(path).end == "closed"


class _Resetting:
    """A server that sends one piece of a body, and resets the connection when told to `go`."""

    def __init__(self, piece: bytes) -> None:
        self._piece = piece
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}{CHAT}"
        self._go = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def go(self, _: bytes) -> None:
        self._go.set()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        connection.recv(65536)
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        connection.sendall(head + b"%x\r\n%s\r\n" % (len(self._piece), self._piece))
        self._go.wait(20)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    def __enter__(self) -> _Resetting:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(20)
        self._listening.close()
