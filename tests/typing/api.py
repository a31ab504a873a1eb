"""How the public names are used, for mypy and pyright; never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import httpx2
import openai
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from normalizer import (
    Normalizer,
    NormalizerError,
    NormalizingMiddleware,
    NormalizingTransport,
    OptionError,
    Options,
    Repair,
    Report,
    RequestInfo,
)
from normalizer.cassette import (
    Cassette,
    CassetteError,
    Metadata,
    RecordingMiddleware,
    RecordingTransport,
    ReplayTransport,
    load,
    replay_app,
    verify,
)
from normalizer.cassette.faults import Cut, Double, Ping, Stall


def log(report: Report) -> None:
    repair: Repair
    for code, repair in report.repairs.items():
        print(code.lower(), repair.count + repair.first)
    counts: dict[str, int] = report.codes
    finish: dict[int, str] = report.finish
    characters: int = report.characters_in["content"] - report.characters_out["content"]
    print(counts, finish, characters, report.events_in - report.events_out)
    if report.end == "truncated" and report.error is not None:
        print(report.error["message"])


async def log_later(report: Report) -> None:
    seconds: float = (report.elapsed or 0.0) - (report.first_event or 0.0)
    print(report.path, report.model, report.id, report.upstream, report.started, seconds)


# ---------------------------------------------------------------- the transport

client = httpx.Client(transport=NormalizingTransport())
client2 = httpx2.Client(transport=NormalizingTransport(on_report=log))
async_client = httpx.AsyncClient(transport=NormalizingTransport(httpx.AsyncHTTPTransport()))
async_client2 = httpx2.AsyncClient(transport=NormalizingTransport(options=Options(mode="report")))
mounted = httpx2.Client(mounts={"https://": NormalizingTransport(httpx2.HTTPTransport(retries=2))})

openai.OpenAI(http_client=client2)
openai.AsyncOpenAI(http_client=async_client2)
openai.AzureOpenAI(http_client=client2, api_version="2024-10-21")

with NormalizingTransport(ignore=("U6",), reasoning="both", finish_timeout=1.5) as transport:
    transport.close()


async def closing() -> None:
    async with NormalizingTransport() as transport:
        await transport.aclose()


# ---------------------------------------------------------------- the middleware

app = Starlette(middleware=[Middleware(NormalizingMiddleware, comments="drop")])
app.add_middleware(NormalizingMiddleware)
app.add_middleware(NormalizingMiddleware, on_report=log_later, ignore=["S505"], paths="/api/chat")
app.add_middleware(NormalizingMiddleware, on_report=log, select=("E2", "S5"))
wrapped: ASGIApp = NormalizingMiddleware(app, options=Options.from_environ())

# ---------------------------------------------------------------- cassettes

recording = RecordingTransport("chat.yaml", httpx.HTTPTransport(), fresh=True)
client = httpx.Client(transport=recording)
async_client = httpx.AsyncClient(
    transport=RecordingTransport(Path("chat.yaml"), ignore_hosts=["h"])
)
client2 = httpx2.Client(
    transport=RecordingTransport(
        "chat.yaml",
        metadata=Metadata(origin="recorded", server="vLLM"),
        filter_headers=["x-mine", ("authorization", "DUMMY")],
        filter_sensitive_data={"<USER>": "ann"},
        before_record_request=lambda request: request,
    )
)
async_client2 = httpx2.AsyncClient(transport=ReplayTransport("chat.yaml", pace="recorded"))
replay = ReplayTransport(
    ["one.yaml", load("two.yaml")],
    2.0,
    split="random:7",
    faults=[Ping(after_events=1), Stall(seed=3), Double(event=2), Cut(after_bytes=100)],
    match_on=["method", "path", lambda one, other: one.query == other.query],
    allow_playback_repeats=True,
)
client = httpx.Client(transport=NormalizingTransport(replay))
print([interaction.request.uri for interaction in replay.unplayed])
app.add_middleware(RecordingMiddleware, path="chat.yaml")
served: Starlette = replay_app("chat.yaml", pace=0.5, faults=[Cut(after_events=3)])
for problem in verify(load("chat.yaml")):
    print(problem.where, problem.what)
try:
    cassette: Cassette = load("chat.yaml")
except CassetteError as error:
    print(str(error))

# ---------------------------------------------------------------- without input and output

try:
    options = Options(usage="chunk", max_event_bytes=1024, text_tool_calls=("hermes",))
    environ = Options.from_environ({"NORMALIZER_FINISH": "keep"}, think_tags=True)
except OptionError as error:
    root: NormalizerError = error
    print(str(root))


def normalized(pieces: Iterator[bytes], asked: bytes) -> Iterator[bytes]:
    normalizer = Normalizer(RequestInfo.parse("/v1/chat/completions", asked), Options())
    for piece in pieces:
        yield normalizer.feed(piece)
        if normalizer.ended:
            break
    yield normalizer.close()
    content_type: str | None = normalizer.content_type
    status: int = normalizer.status
    log(normalizer.report)
    print(content_type, status)


async def patiently(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    normalizer = Normalizer(RequestInfo.parse("/v1/chat/completions"))
    async for piece in pieces:
        yield normalizer.feed(piece)
        waiting: float | None = normalizer.waiting
        if waiting is not None:
            yield normalizer.flush()
    yield normalizer.close("connection reset")


known = RequestInfo.parse("https://localhost/v1/completions", {"model": "m", "stream": True})
print(known.endpoint == "completions", known.stream, known.include_usage, known.n, known.model)
