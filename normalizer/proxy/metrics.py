"""Metrics for Prometheus: how streams ended, what was repaired, the time to the first event.

Labels are codes, upstreams and ends. Models are not labels, because a client can name any number.
"""

from __future__ import annotations

import os
from typing import Protocol

from normalizer.core.report import Report

# prometheus_client's own name; where it is set, workers add up what they count in that folder
FOLDER = "PROMETHEUS_MULTIPROC_DIR"

# Seconds; a reasoning model may think for minutes before its first event.
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics(Protocol):
    """The interface of a counter of answers."""

    def count(self, report: Report, endpoint: str, upstream: str, first: float | None) -> None:
        """Count an answer that is over.

        ``endpoint`` is the API of its path: chat, completions, responses or messages. ``first`` is
        the number of seconds to its first event, or None.
        """

    def page(self) -> tuple[int, bytes]:
        """Return the status and the body of `/metrics`."""
        ...


class NoMetrics:
    """The metrics without prometheus_client."""

    def count(self, report: Report, endpoint: str, upstream: str, first: float | None) -> None:
        """Count nothing."""

    def page(self) -> tuple[int, bytes]:
        """Return a message that names the extra to install."""
        return 501, b"Metrics need prometheus_client: pip install 'stream-normalizer[metrics]'\n"


class Prometheus:
    """`normalizer_streams_total`, `normalizer_repairs_total`, `…_time_to_first_event_seconds`.

    Raises ModuleNotFoundError if prometheus_client is not installed.
    """

    def __init__(self) -> None:
        import prometheus_client

        self._library = prometheus_client
        # One of its own, so that two proxies in a process, as in tests, do not collide.
        self._registry = registry = prometheus_client.CollectorRegistry()
        self._streams = prometheus_client.Counter(
            "normalizer_streams_total",
            "Answers that may be repaired, by how they ended and by API.",
            ["end", "endpoint"],
            registry=registry,
        )
        self._repairs = prometheus_client.Counter(
            "normalizer_repairs_total",
            "Repairs, by the code of the deviation (`stream-normalizer rules`) and the upstream.",
            ["code", "upstream"],
            registry=registry,
        )
        self._first = prometheus_client.Histogram(
            "normalizer_time_to_first_event_seconds",
            "From a request's head to the first bytes of its streamed answer.",
            ["upstream"],
            buckets=_BUCKETS,
            registry=registry,
        )

    def count(self, report: Report, endpoint: str, upstream: str, first: float | None) -> None:
        """Count an answer that is over; see `Metrics.count`."""
        self._streams.labels(report.end or "closed", endpoint).inc()
        for code, count in report.codes.items():
            self._repairs.labels(code, upstream).inc(count)
        if first is not None:
            self._first.labels(upstream).observe(first)

    def page(self) -> tuple[int, bytes]:
        """Return Prometheus' text format, summed over all workers."""
        registry = self._registry
        if FOLDER in os.environ:
            from prometheus_client import multiprocess

            registry = self._library.CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return 200, self._library.generate_latest(registry)


def metrics() -> Metrics:
    """Return `Prometheus` if it is installed, else `NoMetrics`."""
    try:
        return Prometheus()
    except ModuleNotFoundError:
        return NoMetrics()
