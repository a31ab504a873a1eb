"""A cassette that the tests of the command line show and play."""

from __future__ import annotations

import json
from typing import Any

from normalizer.cassette.format import (
    Cassette,
    Interaction,
    Metadata,
    RecordedRequest,
    RecordedResponse,
)
from tests.conftest import DONE, HELLO, ROLE, STOP, STREAMED

PIECES = [ROLE, HELLO, STOP, DONE]
STREAM = b"".join(PIECES)
URL = "http://127.0.0.1:8000/v1/chat/completions"


def cassette(*bodies: list[bytes], **response: Any) -> Cassette:
    return Cassette(
        Metadata(
            origin="recorded", server="vLLM", version="0.9", date="2026-11-20", note="A note."
        ),
        tuple(
            Interaction(
                RecordedRequest(
                    method="POST",
                    uri=URL,
                    headers=(("content-type", "application/json"),),
                    body=json.dumps(STREAMED).encode(),
                ),
                RecordedResponse.from_chunks(
                    body, headers=(("content-type", "text/event-stream"),), **response
                ),
            )
            for body in bodies
        ),
    )
