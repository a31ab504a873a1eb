"""One request, and its answer as it came off the socket."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import httpx

from normalizer.cassette import (
    Cassette,
    CassetteError,
    Interaction,
    Metadata,
    RecordedRequest,
    RecordedResponse,
    RecordingTransport,
    load,
    verify,
)

# All others are dropped, the date too, which would make each new recording differ.
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

_PATH = re.compile(rb"(?<![\w:/.])/(?:home|root|Users|tmp|work)/\w")


def capture(url: str, body: dict[str, Any], *, read_timeout: float = 60.0) -> Interaction:
    """POST a JSON body and keep the answer's pieces, their times and how it ended.

    An answer that breaks is recorded as broken; ``read_timeout`` is the silence, in seconds, after
    which it counts as timed out. Raises `httpx.HTTPError` if there was no answer at all, and
    `CassetteError` if anything in it looks like a secret or a path of this machine: what is masked
    is no longer what the server sent.

    Example::

        capture("http://127.0.0.1:18100/v1/chat/completions", {"model": "tiny", …})
    """
    sent = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    timeout = httpx.Timeout(10.0, read=read_timeout)
    headers = {"accept": "text/event-stream", "content-type": "application/json"}
    request = RecordedRequest(method="POST", uri=url, body=sent)

    def checked(response: dict[str, Any]) -> dict[str, Any]:
        refuse_secrets(request, response["body"]["string"])
        given = response["headers"].items()
        kept = {name.lower(): values for name, values in given if name.lower() in _RESPONSE_HEADERS}
        return {**response, "headers": kept}

    with tempfile.TemporaryDirectory(prefix="record-") as folder:
        path = Path(folder) / "captured.yaml"
        # given one of its own, it asks no proxy of the environment
        transport = RecordingTransport(path, httpx.HTTPTransport(), before_record_response=checked)
        with (
            httpx.Client(transport=transport, timeout=timeout) as client,
            client.stream("POST", url, content=sent, headers=headers) as response,
            contextlib.suppress(httpx.TransportError),
        ):
            for _ in response.iter_raw():
                pass
        (interaction,) = load(path).interactions
    return interaction


def refuse_secrets(request: RecordedRequest, body: bytes) -> None:
    """Raise `CassetteError` if a request or an answer holds what looks like a secret or a path."""
    answer = RecordedResponse.from_chunks([body] if body else [])
    problems = verify(Cassette(Metadata(), (Interaction(request, answer),)))
    found = [str(problem) for problem in problems]
    found += [f"{match[0]!r}…" for part in (request.body, body) if (match := _PATH.search(part))]
    if found:
        raise CassetteError(f"looks like a secret or a path of this machine: {'; '.join(found)}")
