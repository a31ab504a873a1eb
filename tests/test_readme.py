"""The README's code runs as it stands there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest
from starlette.applications import Starlette

from normalizer import NormalizingMiddleware, NormalizingTransport, RequestInfo
from normalizer.proxy import Upstream
from tests.streams import STREAM, chunk, raw

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
AZURE = {"id": "", "object": "", "created": 0, "model": "", "choices": []}
BODY = raw(AZURE, chunk({"role": "assistant", "content": "Hi"}, "stop"))


def answer(_: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=BODY)


def run(block: str, **names: Any) -> dict[str, Any]:
    exec(compile(block, "README.md", "exec"), names)  # noqa: S102
    return names


@pytest.mark.skipif(int(openai.VERSION.split(".")[0]) < 3, reason="openai 2 takes httpx clients")
def test_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    transport, middleware, core, report = BLOCKS
    run(transport)["client"].close()
    app = Starlette()
    run(middleware, app=app)
    (one,) = app.user_middleware
    assert one.cls is NormalizingMiddleware  # type: ignore[comparison-overlap]
    upstream = NormalizingTransport(httpx2.MockTransport(answer))
    with openai.OpenAI(http_client=httpx2.Client(transport=upstream)) as client:
        names = run(report, client=client)
        names["response"].parse().close()
    assert run(core, request_body=STREAM, raw_bytes=BODY)["out"].endswith(b"data: [DONE]\n\n")


def test_the_lines_for_coding_agents_lead_to_their_apis() -> None:
    upstream = Upstream(url=first(r"serve --upstream (\S+) "))
    codex = tomllib.loads(first(r"-c '(model_providers\.local=.*)'$"))["model_providers"]["local"]
    assert codex["wire_api"] == "responses"
    bases = {"responses": codex["base_url"], "messages": first(r"ANTHROPIC_BASE_URL=(\S+) claude$")}
    # what each client puts behind its base URL
    paths = {"responses": "/responses", "messages": "/v1/messages"}
    for endpoint, base in bases.items():
        url = urlsplit(base + paths[endpoint])
        assert url.netloc == "127.0.0.1:8900"
        body: dict[str, Any] = {"messages": []} if endpoint == "messages" else {}
        assert RequestInfo.parse(url.path, body).endpoint == endpoint
        assert upstream.target(url.path) == f"http://localhost:8000/v1/{endpoint}"


def first(pattern: str) -> str:
    found = re.search(pattern, README, re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_two_commands_are_there() -> None:
    root = Path(__file__).parents[1]
    for command in ("tools/demo", "tools/test"):
        assert f"\n    {command}\n" in README
        assert (root / command).stat().st_mode & 0o111


def code_in(text: str) -> list[str]:
    """All fenced and indented blocks of a page, in their order."""
    return re.findall(r"```[\s\S]*?```|(?:^ {4}\S.*\n)+", text, re.MULTILINE)


def links_in(text: str) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)]+)\)", text) if "README" not in link]


def test_the_chinese_page_has_the_same_code_and_leads_to_the_same_pages() -> None:
    chinese = (Path(__file__).parents[1] / "README.zh.md").read_text("utf-8")
    assert len(code_in(README)) > 10
    assert code_in(chinese) == code_in(README)
    assert links_in(chinese) == links_in(README)
    assert chinese.count("\n## ") == README.count("\n## ")


def test_every_link_leads_to_a_page() -> None:
    root = Path(__file__).parents[1]
    for link in links_in(README):
        assert (root / link.partition("#")[0]).is_file(), link
