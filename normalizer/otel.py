"""Each answer as a span of OpenTelemetry, with an event for each kind of repair.

The names are those of the semantic conventions for generative AI (Development,
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/) where there is one; what they have
no name for begins with ``stream_normalizer.``. No content of an answer is told.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider

from normalizer.catalogue import DEVIATIONS
from normalizer.core.report import Report

_NANOSECONDS = 1_000_000_000
_NAMES = {deviation.code: deviation.name for deviation in DEVIATIONS}
# by the end of a request's path
_OPERATIONS = {"/chat/completions": "chat", "/completions": "text_completion"}


class SpanOfReport:
    """Makes a span of each report; for ``on_report``.

    The span is a child of the current one. It begins with the request and ends with the answer.

    * ``provider``: ``gen_ai.provider.name``. None: ``"anthropic"`` for the Messages API, else
      ``"openai"``, after the API that was spoken.
    * ``tracer_provider``: None means the global one.

    Example::

        app.add_middleware(NormalizingMiddleware, on_report=SpanOfReport())
    """

    def __init__(
        self, *, provider: str | None = None, tracer_provider: TracerProvider | None = None
    ) -> None:
        self._provider = provider
        self._tracer = trace.get_tracer("stream-normalizer", tracer_provider=tracer_provider)

    def __call__(self, report: Report) -> None:
        """Make the span of one answer."""
        path = (report.path or "").rstrip("/")
        operation = next((name for end, name in _OPERATIONS.items() if path.endswith(end)), "chat")
        api = "anthropic" if path.endswith("/messages") else "openai"
        began = report.started
        start = None if began is None else int(began * _NANOSECONDS)
        end = None
        if began is not None and report.elapsed is not None:
            end = int((began + report.elapsed) * _NANOSECONDS)
        span = self._tracer.start_span(
            f"{operation} {report.model}" if report.model else operation,
            kind=SpanKind.CLIENT,
            start_time=start,
            attributes={
                "gen_ai.operation.name": operation,
                "gen_ai.provider.name": self._provider or api,
                **_of_answer(report),
                **_of_server(report.upstream),
                **_of_usage(report.usage),
            },
        )
        for code, repair in sorted(report.repairs.items()):
            span.add_event(
                "stream_normalizer.repair",
                {
                    "stream_normalizer.code": code,
                    "stream_normalizer.name": _NAMES.get(code, code),
                    "stream_normalizer.count": repair.count,
                    "stream_normalizer.first_event": repair.first,
                },
                timestamp=end,
            )
        if report.end in ("error", "truncated", "empty"):
            kind = str((report.error or {}).get("type") or report.end)
            span.set_attribute("error.type", kind)
            span.set_status(Status(StatusCode.ERROR))
        span.end(end_time=end)


def _of_answer(report: Report) -> dict[str, Any]:
    found = {
        "gen_ai.response.id": report.id,
        "gen_ai.response.model": report.model,
        "gen_ai.response.finish_reasons": list(report.finish.values()) or None,
        "gen_ai.response.time_to_first_chunk": report.first_event,
        "stream_normalizer.end": report.end,
        "stream_normalizer.events_in": report.events_in,
        "stream_normalizer.events_out": report.events_out,
    }
    return {key: value for key, value in found.items() if value is not None}


def _of_server(upstream: str | None) -> dict[str, Any]:
    host, _, port = (upstream or "").rpartition(":")
    if not port.isdecimal():
        return {"server.address": upstream} if upstream else {}
    return {"server.address": host.strip("[]"), "server.port": int(port)}


def _of_usage(usage: dict[str, Any] | None) -> dict[str, int]:
    """The tokens, which have other names in each API."""
    tokens = {
        "gen_ai.usage.input_tokens": ("prompt_tokens", "input_tokens"),
        "gen_ai.usage.output_tokens": ("completion_tokens", "output_tokens"),
    }
    there = usage or {}
    return {
        key: there[name]
        for key, names in tokens.items()
        for name in names
        if isinstance(there.get(name), int)
    }
