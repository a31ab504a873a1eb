"""One request, and its answer as it came off the socket."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from typing import Any

import httpx

from normalizer.cassette.format import (
    CassetteError,
    End,
    Headers,
    Interaction,
    RecordedRequest,
    RecordedResponse,
)

# All others are dropped: cookies, credentials, request and organisation ids, and the date, which
# would make each new recording differ.
_REQUEST_HEADERS = {"accept", "content-type"}
_RESPONSE_HEADERS = {
    "cache-control",
    "content-encoding",
    "content-length",
    "content-type",
    "retry-after",
    "server",
    "transfer-encoding",
    "x-accel-buffering",
}

SECRETS = re.compile(
    rb"sk-[\w-]{16,}|sk-test|Bearer\s+\S{8,}|AKIA[0-9A-Z]{16}|gh[pousr]_\w{20,}|eyJ[\w-]{20,}\.eyJ"
    rb"|(?i:api[-_]?key|authorization)[\"']?\s*[:=]|/(?:home|root|Users|tmp|work)/\w"
)


def capture(url: str, body: dict[str, Any], *, read_timeout: float = 60.0) -> Interaction:
    """POST a JSON body and keep the answer's pieces, their times and how it ended.

    Times are milliseconds from the response's head. An answer that breaks is recorded as broken;
    ``read_timeout`` is the silence, in seconds, after which it counts as timed out. Raises
    `httpx.HTTPError` if there was no answer at all, and `CassetteError` if anything in it looks
    like a secret or a path of this machine.

    Example::

        capture("http://127.0.0.1:18100/v1/chat/completions", {"model": "tiny", …})
    """
    sent = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    timeout = httpx.Timeout(10.0, read=read_timeout)
    client = httpx.Client(trust_env=False, timeout=timeout)
    headers = {"accept": "text/event-stream", "content-type": "application/json"}
    chunks: list[bytes] = []
    times: list[float] = []
    end: End = "complete"
    with client, client.stream("POST", url, content=sent, headers=headers) as response:
        head = time.perf_counter()
        try:
            for chunk in response.iter_raw():
                times.append(round((time.perf_counter() - head) * 1000, 2))
                chunks.append(chunk)
        except httpx.ReadTimeout:
            end = "timeout"
        except httpx.RemoteProtocolError:
            end = "cut"
        except httpx.ReadError:
            end = "reset"
    interaction = Interaction(
        RecordedRequest(
            method="POST",
            uri=url,
            headers=_allowed(response.request.headers.multi_items(), _REQUEST_HEADERS),
            body=sent,
        ),
        RecordedResponse.from_chunks(
            chunks,
            status=response.status_code,
            reason=response.reason_phrase,
            headers=_allowed(response.headers.multi_items(), _RESPONSE_HEADERS),
            times=times,
            end=end,
        ),
    )
    refuse_secrets(interaction)
    return interaction


def refuse_secrets(interaction: Interaction) -> None:
    """Raise `CassetteError` if a request or an answer holds what looks like a secret or a path."""
    request, response = interaction.request, interaction.response
    for part in (request.uri.encode(), request.body, response.body):
        if found := SECRETS.search(part):
            raise CassetteError(f"looks like a secret or a path of this machine: {found[0]!r:.20}…")


def _allowed(headers: Iterable[tuple[str, str]], names: set[str]) -> Headers:
    return tuple((name.lower(), value) for name, value in headers if name.lower() in names)
