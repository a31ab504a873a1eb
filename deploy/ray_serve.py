"""Canonical streams from Ray Serve: two replicas of an application that has the middleware.

    pip install 'stream-normalizer[ray]'
    cd deploy && serve run ray_serve:build upstream=http://localhost:9000

Then http://127.0.0.1:8000/v1 is the base URL of your client. The application forwards to one
upstream. If the model runs in your deployment, answer with its stream instead: the middleware sees
no difference. Streams share nothing, so the number of replicas is all that there is to choose.
"""

import httpx2
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from ray import serve
from ray.serve import Application
from starlette.background import BackgroundTask

from normalizer import NormalizingMiddleware

# What belongs to one connection, and the encoding, which httpx2 takes off.
_NOT_FORWARDED = {"connection", "content-encoding", "content-length", "host", "transfer-encoding"}

app = FastAPI()
app.add_middleware(NormalizingMiddleware)


@serve.deployment(
    num_replicas=2,
    # Ray's default is 5. A stream is one request for as long as it is open.
    max_ongoing_requests=200,
    # Ray's default is 20 seconds. Streams that are open after it are cut.
    graceful_shutdown_timeout_s=600,
)
@serve.ingress(app)
class Forward:
    """Forward each request to ``upstream``, a URL without ``/v1``."""

    def __init__(self, upstream: str) -> None:
        timeout = httpx2.Timeout(600, connect=10)
        self._client = httpx2.AsyncClient(base_url=upstream, timeout=timeout)

    @app.post("/v1/{path:path}")
    async def forward(self, request: Request) -> StreamingResponse:
        headers = [one for one in request.headers.items() if one[0] not in _NOT_FORWARDED]
        body = await request.body()
        asked = self._client.build_request("POST", request.url.path, headers=headers, content=body)
        answer = await self._client.send(asked, stream=True)
        return StreamingResponse(
            answer.aiter_bytes(),
            status_code=answer.status_code,
            headers={k: v for k, v in answer.headers.items() if k not in _NOT_FORWARDED},
            background=BackgroundTask(answer.aclose),
        )


def build(arguments: dict[str, str]) -> Application:
    """Make the application of ``serve run ray_serve:build upstream=URL``."""
    return Forward.bind(arguments["upstream"])
