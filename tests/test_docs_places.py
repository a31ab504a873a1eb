"""The code of docs/where-to-put-it.md runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.testclient import TestClient

from tests.streams import STREAM, chunk, raw

PAGE = (Path(__file__).parents[1] / "docs" / "where-to-put-it.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_report_is_seen_outside_and_not_inside(capsys: pytest.CaptureFixture[str]) -> None:
    inside: list[Any] = []

    async def chat(request: Request) -> Response:
        inside.append(getattr(request.state, "normalizer", None))
        body = raw(chunk({"role": "assistant", "content": "Hi"}, "stop"))
        return StreamingResponse(iter([body]), media_type="text/event-stream")

    app = Starlette()
    app.add_route("/v1/chat/completions", chat, methods=["POST"])
    seen: list[Any] = []
    names = {"app": app, "seen": seen, "middleware": adder(app)}
    appended = BLOCKS[1].replace("    return", "    seen.append(report)\n    return")
    for block in (BLOCKS[0], appended.replace('@app.middleware("http")', "@middleware")):
        exec(compile(block, "where-to-put-it.md", "exec"), names)  # noqa: S102
    assert b"Hi" in TestClient(app).post("/v1/chat/completions", json=STREAM).content
    assert inside == [None]
    assert [report.path for report in seen] == ["/v1/chat/completions"]
    assert "S504" in seen[0].codes
    assert capsys.readouterr().out.startswith("/v1/chat/completions ")


def adder(app: Starlette) -> Any:
    """`app.middleware` of FastAPI."""
    return lambda dispatch: app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
