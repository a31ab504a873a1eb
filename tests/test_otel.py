"""A span for each answer."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from normalizer import NormalizingTransport
from normalizer.otel import SpanOfReport
from tests.streams import USAGE, WITH_USAGE, chunk, raw, text


def span_of(
    body: bytes, path: str = "/v1/chat/completions", request: Any = WITH_USAGE, **options: Any
) -> ReadableSpan:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    upstream = httpx.MockTransport(
        lambda _: httpx.Response(200, content=body, headers={"content-type": "text/event-stream"})
    )
    on_report = SpanOfReport(tracer_provider=provider, **options)
    transport = NormalizingTransport(upstream, on_report=on_report)
    with httpx.Client(transport=transport) as client:
        client.post(f"http://gpu.local:8000{path}", json=request)
    (span,) = exporter.get_finished_spans()
    return span


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_an_answer_that_needs_repairs() -> None:
    usage = {"choices": [], "usage": USAGE, "id": "x", "model": "m", "created": 1}
    body = raw(*text("Hi"), chunk({"content": "!"}, id="other"), chunk({}, "stop"), usage)
    span = span_of(body)
    assert span.name == "chat m"
    found = attributes(span)
    assert found.pop("gen_ai.response.time_to_first_chunk") >= 0
    assert found == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "m",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 4,
        "server.address": "gpu.local",
        "server.port": 8000,
        "stream_normalizer.end": "done",
        "stream_normalizer.events_in": 5,
        "stream_normalizer.events_out": 5,
    }
    events = {(event.attributes or {})["stream_normalizer.code"]: event for event in span.events}
    assert dict(events["E202"].attributes or {}) == {
        "stream_normalizer.code": "E202",
        "stream_normalizer.name": "id-changes",
        "stream_normalizer.count": 2,
        "stream_normalizer.first_event": 3,
    }
    assert span.end_time is not None
    assert span.start_time is not None
    assert span.end_time >= span.start_time


def test_no_content_is_told() -> None:
    span = span_of(raw(*text("a secret"), chunk({}, "stop")))
    assert "secret" not in span.to_json()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (raw(*text("Hi"), {"error": {"message": "busy", "type": "overloaded"}}), "overloaded"),
        (raw(*text("Hi"), done=False), "upstream_truncated"),
    ],
)
def test_an_error(body: bytes, kind: str) -> None:
    span = span_of(body)
    assert attributes(span)["error.type"] == kind
    assert span.status.status_code is StatusCode.ERROR


def test_the_other_apis() -> None:
    choice = {"index": 0, "text": "Hi", "finish_reason": "stop"}
    legacy = span_of(raw({"id": "a", "choices": [choice]}), "/v1/completions")
    assert attributes(legacy)["gen_ai.operation.name"] == "text_completion"
    asked = {"model": "m", "max_tokens": 5, "messages": [], "stream": True}
    error = b'event: error\ndata: {"type":"error","error":{"type":"a","message":"x"}}\n\n'
    messages = span_of(error, "/v1/messages", asked)
    assert attributes(messages)["gen_ai.provider.name"] == "anthropic"


def test_a_provider_of_ones_own() -> None:
    span = span_of(raw(*text("Hi"), chunk({}, "stop")), provider="groq")
    assert attributes(span)["gen_ai.provider.name"] == "groq"
