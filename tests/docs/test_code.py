"""The Python of the pages runs, from the top of a page to its end, as a reader would run it.

What is not as on the page: the address of the server, which is one of ours
(`tests.docs.upstream`), and the key, which it does not ask for. Libraries that are not installed
are skipped; tools/docs test has all of them.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from starlette.testclient import TestClient

from normalizer import NormalizingTransport, OptionError
from tests.docs.reading import Block, blocks
from tests.docs.upstream import STREAM, TEXT, app

# The pages do not close their clients, as programs that end soon do not.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ASK = {"model": "m", "messages": [], "stream": True}
PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "http_proxy", "https_proxy")
SERVERS = ("http://localhost:8000", "https://my-resource.openai.azure.com")


class Page:
    """The code of one page, and the names that it has defined so far."""

    def __init__(self, name: str, upstream: str) -> None:
        self.blocks = [block for block in blocks(f"{name}.md", "python") if not block.why]
        self.upstream = upstream
        self.names: dict[str, Any] = {"__name__": "__main__"}

    def here(self, text: str) -> str:
        """Return a text with the address of our server."""
        for server in SERVERS:
            text = text.replace(server, self.upstream)
        return text

    def run(self, *which: int) -> dict[str, Any]:
        """Run these blocks, or all; return the names that are defined after them."""
        for number in which or range(len(self.blocks)):
            self._run(self.blocks[number])
        return self.names

    def _run(self, block: Block) -> None:
        # the line numbers of the page, for the traceback of an example that fails
        source = "\n" * (block.line - 1) + self.here(block.text)
        exec(compile(source, f"docs/{block.page}", "exec"), self.names)  # noqa: S102


@pytest.fixture(scope="module")
def upstream(serve_module: Callable[[Any], str]) -> str:
    return serve_module(app)


@pytest.fixture
def page(
    upstream: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Page]]:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.chdir(tmp_path)
    opened: list[Page] = []

    def page(name: str) -> Page:
        opened.append(Page(name, upstream))
        return opened[-1]

    yield page
    for one in opened:
        one.names.clear()


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Let what a page leaves open go while the marks above are in force."""
    yield
    gc.collect()


def needs(*modules: str) -> None:
    """Skip a test whose libraries are missing; where everything is to be tested, fail."""
    for module in modules:
        importlib.import_module(module) if os.environ.get("CI") else pytest.importorskip(module)


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


# ---------------------------------------------------------------- in a program


def test_start(page: Callable[[str], Page], capsys: pytest.CaptureFixture[str]) -> None:
    one = page("start")
    (stream,) = blocks("start.md", "sse")
    Path("answer.sse").write_text(stream.text, encoding="utf-8")
    one.run()
    lines = printed(capsys).splitlines()
    assert lines[-2:] == ["", "{'S504': 1, 'X705': 1}"]
    assert f"`{lines[-1]}`" in (Path(__file__).parents[2] / "docs/start.md").read_text()


def test_fastapi(page: Callable[[str], Page], caplog: pytest.LogCaptureFixture) -> None:
    needs("fastapi", "httpx")
    one = page("how-to/fastapi")
    assert one.run(0)["app"].user_middleware
    with_options = one.run(1)["app"].user_middleware[0].kwargs
    assert with_options["paths"] == ("/api/chat",)

    one.run(2, 3)
    relay = one.names["app"]
    relay.add_middleware(one.names["NormalizingMiddleware"], on_report=one.names["on_report"])
    with caplog.at_level(logging.WARNING, "answers"), TestClient(relay) as client:
        body = client.post("/v1/chat/completions", json=ASK).content
    assert body.count(b'"finish_reason": "stop"') + body.count(b'"finish_reason":"stop"') == 1
    assert b'"choices": []' not in body
    assert len(body) > 100
    assert "/v1/chat/completions" in caplog.text

    def wrong() -> None:
        relay.add_middleware(one.names["NormalizingMiddleware"], reasonin="x")
        with TestClient(relay):
            pass

    relay.user_middleware.clear()
    relay.middleware_stack = None
    with pytest.raises(OptionError):
        wrong()


def test_openai(page: Callable[[str], Page], capsys: pytest.CaptureFixture[str]) -> None:
    needs("openai")
    one = page("how-to/openai")
    one.run(0)
    assert printed(capsys) == TEXT
    one.run(1)
    assert printed(capsys) == TEXT
    one.run(2, 3)
    assert printed(capsys).startswith("m done {'E2")


def test_azure(page: Callable[[str], Page], capsys: pytest.CaptureFixture[str]) -> None:
    needs("openai")
    page("how-to/azure").run()
    assert printed(capsys) == TEXT


def test_langchain(page: Callable[[str], Page], capsys: pytest.CaptureFixture[str]) -> None:
    needs("langchain_openai")
    model = page("how-to/langchain").run()["model"]
    assert printed(capsys) == TEXT

    async def asked() -> str:
        return "".join([str(chunk.content) async for chunk in model.astream("Hello")])

    assert asyncio.run(asked()) == TEXT


def test_langchain_needs_both_clients(upstream: str) -> None:
    """The page says that a model makes the other client itself."""
    needs("langchain_openai")
    openai = importlib.import_module("openai")
    langchain_openai = importlib.import_module("langchain_openai")
    http_client = openai.DefaultHttpxClient(transport=NormalizingTransport())
    model = langchain_openai.ChatOpenAI(
        model="m", base_url=upstream, api_key="none", http_client=http_client
    )
    assert model.root_client._client is http_client
    transport = model.root_async_client._client._transport
    assert not isinstance(transport, NormalizingTransport)


# Warnings of LiteLLM's own, about its own code.
@pytest.mark.filterwarnings("ignore")
def test_litellm(page: Callable[[str], Page], capsys: pytest.CaptureFixture[str]) -> None:
    needs("litellm")
    with mock.patch.dict("os.environ", {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}):
        one = page("how-to/litellm")
        with mock.patch.object(
            NormalizingTransport,
            "handle_request",
            autospec=True,
            side_effect=NormalizingTransport.handle_request,
        ) as passed:
            one.run()
    assert printed(capsys) == TEXT
    assert passed.called


@pytest.mark.filterwarnings("ignore")
def test_the_configuration_of_litellm_is_one(upstream: str) -> None:
    """LiteLLM's gateway gives its list of models to its router. Here the server is behind it."""
    needs("litellm")
    litellm = importlib.import_module("litellm")
    (block,) = blocks("how-to/litellm.md", "yaml")
    text = block.text.replace("http://127.0.0.1:8900", upstream)
    router = litellm.Router(model_list=yaml.safe_load(text)["model_list"])
    stream = router.completion(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == TEXT


@pytest.mark.filterwarnings("ignore")
def test_agents(page: Callable[[str], Page], capsys: pytest.CaptureFixture[str]) -> None:
    needs("pydantic_ai", "agents")
    one = page("how-to/agents")
    one.run(0, 1)
    assert printed(capsys) == TEXT
    one.run(2)
    assert printed(capsys) == f"{TEXT}\n"


# ---------------------------------------------------------------- record and replay


def test_record_in_tests(page: Callable[[str], Page], tmp_path: Path) -> None:
    """ "how-to/record-in-tests": both files, recorded from our server and played without it."""
    needs("openai")
    one = page("how-to/record-in-tests")
    for block in one.blocks:
        name = block.text.partition("\n")[0].removeprefix("# ")
        (tmp_path / name).write_text(one.here(block.text), encoding="utf-8")
    for more in (["--stream-record-mode=once"], []):
        # Hypothesis writes a folder into the project
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-pno:hypothesispytest", *more],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "2 passed" in done.stdout
    # the page and its test agree on what comes
    assert all(TEXT in block.text for block in one.blocks)
    assert (tmp_path / "cassettes/test_answer/test_answer.yaml").exists()


def test_replay_for_a_front_end(page: Callable[[str], Page], tmp_path: Path) -> None:
    cassette = importlib.import_module("normalizer.cassette")
    recorded = cassette.Interaction(
        cassette.RecordedRequest(
            method="POST",
            uri="http://localhost:8000/v1/chat/completions",
            headers=(("content-type", "application/json"),),
            body=b'{"model": "m", "messages": [], "stream": true}',
        ),
        cassette.RecordedResponse.from_chunks(list(STREAM)),
    )
    cassette.dump(cassette.Cassette(cassette.Metadata(), (recorded,)), tmp_path / "chat.yaml")
    app = page("how-to/replay-for-a-front-end").run()["app"]
    with TestClient(app, headers={"origin": "http://localhost:3000"}) as client:
        played = client.post("/v1/chat/completions", json=ASK)
        assert played.content == b"".join(STREAM)
        assert played.headers["access-control-allow-origin"] in ("*", "http://localhost:3000")
        assert client.get("/v1/models").json()["data"][0]["id"] == "m"
        # what the page says about a question that was not recorded
        assert client.post("/v1/chat/completions", json={**ASK, "model": "n"}).status_code == 404


# ---------------------------------------------------------------- the other pages


def test_options(page: Callable[[str], Page]) -> None:
    one = page("options")
    one.names["NormalizingTransport"] = NormalizingTransport
    one.run()


def test_proxy(page: Callable[[str], Page]) -> None:
    """ "proxy": the application is made, and given to a server that does not start."""
    one = page("proxy")
    with mock.patch("uvicorn.run") as run:
        one.run()
    assert type(run.call_args.args[0]).__name__ == "Proxy"


def test_trace(page: Callable[[str], Page]) -> None:
    needs("opentelemetry")
    page("trace").run()


def test_reliability(page: Callable[[str], Page], capsys: pytest.CaptureFixture[str]) -> None:
    httpx = importlib.import_module("httpx")
    one = page("reliability")
    with httpx.Client(transport=one.run()["transport"]) as client:
        got = client.post(f"{one.upstream}/v1/chat/completions", json=ASK).content
    assert got == b"".join(STREAM)  # it changes no byte
    assert "'S504': 1" in printed(capsys)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    one = logging.getLogger("normalizer")
    level = one.level
    yield one
    one.setLevel(level)


def test_troubleshooting(
    page: Callable[[str], Page],
    logger: logging.Logger,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = page("troubleshooting")
    one.run(0, 1)
    assert printed(capsys) == "True\n"
    # the line that the page shows
    assert "ended done, repaired E2" in caplog.text
    client = one.names["client"]
    client.post(f"{one.upstream}/v1/chat/completions", content=b"no JSON")
    assert ": left alone, the request is no JSON" in caplog.text
    assert "normalizer" not in client.post(f"{one.upstream}/api/chat", json=ASK).extensions
    one.run(2, 3)
