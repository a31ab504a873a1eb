"""A live server that `check` sends its probes to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import urlsplit

import httpx2

from normalizer import RequestInfo
from normalizer.cli.check.lint import Answer, End, lint
from normalizer.cli.check.notes import notes
from normalizer.cli.check.probe_table import COMPLETIONS, Api, Probe, api_of, base_of
from normalizer.cli.group import Failure

# the version of Anthropic's API: a request without it is refused
_ANTHROPIC_VERSION = "2023-06-01"
_MOST = 16 * 1024 * 1024  # bytes of one answer: a model may never stop


class Server:
    """A live server with an API like OpenAI's or Anthropic's. Use it as a context manager.

    ``url`` is its base URL, most often with the path ``/v1``. ``key`` is its API key. ``timeout``
    is the longest silence, in seconds. ``api`` is the API to probe. None: the one that the path of
    the URL names, or else the chat.
    """

    def __init__(
        self, url: str, *, key: str | None, timeout: float, api: Api | None = None
    ) -> None:
        if not urlsplit(url).hostname:
            raise Failure(f"{url} is not the URL of a server, such as http://localhost:8000/v1")
        self.api: Api = api or api_of(url)
        self.url = base_of(url)
        headers = {"accept-encoding": "identity"}
        if self.api == "messages":
            headers["anthropic-version"] = _ANTHROPIC_VERSION
        if key is not None:
            headers |= _credentials(self.api, urlsplit(url).hostname or "", key)
        self._client = httpx2.Client(headers=headers, timeout=timeout)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def model(self) -> str:
        """Return the only model of the server. Raises `Failure` if it has several or none."""
        try:
            answer = self._client.get(f"{self.url}/models")
            if answer.status_code in (401, 403):
                said = Answer(
                    name="models",
                    body=answer.content,
                    request=RequestInfo.parse("/v1/chat/completions"),
                    status=answer.status_code,
                )
                raise Failure(f"{self.url}/models: {next(notes(lint(said)))}")
            listed = [str(one["id"]) for one in answer.json()["data"]]
        except httpx2.TransportError as error:
            raise self._failure(error) from None
        except (ValueError, KeyError, TypeError):
            listed = []
        if len(listed) == 1:
            return listed[0]
        there = f"; it has {', '.join(sorted(listed)[:20])}" if listed else ""
        raise Failure(f"{self.url}: choose a model with --model{there}")

    def ask(self, probe: Probe, model: str) -> Answer:
        """Send a probe and read its answer. Raises `Failure` if the server cannot be reached."""
        body = {"model": model, **probe.body}
        url = f"{self.url}/{probe.path}"
        pieces: list[bytes] = []
        end: End = "complete"
        try:
            with self._client.stream("POST", url, json=body) as response:
                try:
                    end = _read(response.iter_bytes(), pieces)
                except httpx2.TimeoutException:
                    end = "timeout"
                except httpx2.TransportError:
                    end = "cut"
        except httpx2.TransportError as error:
            raise self._failure(error) from None
        return Answer(
            name=probe.name,
            probe=probe.name,
            server=self.url,
            location=response.headers.get("location", ""),
            body=b"".join(pieces),
            request=RequestInfo.parse(url, json.dumps(body).encode()),
            status=response.status_code,
            end=end,
        )

    def _failure(self, error: httpx2.TransportError) -> Failure:
        if isinstance(error, httpx2.TimeoutException):
            return Failure(f"{self.url}: no answer within the timeout (--timeout SECONDS)")
        return Failure(f"{self.url} cannot be reached: {error}; is the server running?")


def _credentials(api: Api, host: str, key: str) -> dict[str, str]:
    """Return the headers with a key.

    Anthropic's API has a header of its own, and refuses a key in the other one. Servers of other
    people read either of them.
    """
    bearer = {"authorization": f"Bearer {key}"}
    if api != "messages":
        return bearer
    own = {"x-api-key": key}
    return own if host.endswith("anthropic.com") else own | bearer


def _read(body: Iterable[bytes], pieces: list[bytes]) -> End:
    size = 0
    for piece in body:
        pieces.append(piece)
        size += len(piece)
        if size > _MOST:
            return "closed"
    return "complete"


def stops(probe: Probe, status: int) -> bool:
    """Return whether more probes make no sense: the key is wrong, or the API or model is missing.

    A server without the legacy completions may have everything else.
    """
    return status in (401, 403) or (status == 404 and probe.path != COMPLETIONS)
