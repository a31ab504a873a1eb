"""The upstream of a request: its target, its headers and its key. No I/O."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote, unquote_plus, urlsplit

from normalizer.core.exceptions import NormalizerError

Headers = Iterable[tuple[bytes, bytes]]

# RFC 9110, section 7.6.1, and the two that never were in it. `Expect` is answered by our server.
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade".split()
)
_OURS = _HOP_BY_HOP | {b"expect", b"host"}
_OURS_AND_ENCODING = _OURS | {b"accept-encoding"}
# Where clients put what only the upstream that it is meant for should see.
_KEYS = frozenset(
    b"authorization api-key x-api-key x-goog-api-key ocp-apim-subscription-key x-auth-token "
    b"cookie".split()
)
_KEY_PARAMETERS = frozenset(
    (
        "access_token",
        "api-key",
        "api_key",
        "apikey",
        "auth_token",
        "key",
        "subscription-key",
        "token",
    )
)

_VERSION = re.compile(r"/v\d+$")


class UpstreamError(NormalizerError, ValueError):
    """An invalid upstream: its URL is wrong, or the variable of its key is not set."""


class TargetError(NormalizerError, ValueError):
    """The target of a request is invalid. The message explains why."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A server to forward requests to.

    * ``url``: ``http://`` or ``https://``, with the path to put in front of the path of each
      request.
    * ``models``: a pattern (`fnmatch`) of the models that it gets. ``"*"`` is all of them.
    * ``key_env``: the name of the environment variable with its API key. None: the client's own
      credentials are forwarded.

    Raises `UpstreamError` for a URL without a host, or with credentials, a query or a fragment.

    Example::

        Upstream(url="https://api.openai.com/v1", models="gpt-*", key_env="OPENAI_API_KEY")
    """

    url: str
    models: str = "*"
    key_env: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UpstreamError(f"{self.url!r} is no URL: it begins with http:// or https://")
        if parts.username is not None or parts.query or parts.fragment:
            # Not repeated here: what is before an @ is a secret.
            raise UpstreamError(
                f"the URL of {parts.hostname} holds more than a path: "
                "a key belongs into a variable that --key-env names"
            )
        object.__setattr__(self, "url", self.url.rstrip("/"))

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def target(self, path: str, query: str = "") -> str:
        """Return the URL for the path and query of a request. Both are still percent-encoded.

        The path of the upstream comes first. If both have ``/v1``, it is used once. If the path of
        the upstream ends in another version, that version wins, because clients write ``/v1`` for
        "the API".

        Raises `TargetError` if the path is invalid, or if its ``..`` (also percent-encoded, or
        after a backslash) leads out of the path of the upstream.

        Example::

            Upstream(url="http://h:8000/v1").target("/v1/models")  # http://h:8000/v1/models
        """
        prefix = self.url[len(self.origin) :]
        if _VERSION.search(prefix) and (path == "/v1" or path.startswith("/v1/")):
            path = path[len("/v1") :]
        elif not path.startswith("/"):
            raise TargetError(f"the target {path!r} is no path: it begins with /")
        if _leaves(path):
            raise TargetError(f"the path {path!r} leads out of the upstream's own with its '..'")
        return f"{self.origin}{prefix}{path}" + (f"?{query}" if query else "")

    def key(self, environ: Mapping[str, str] | None = None) -> str | None:
        """Return its key, or None if it has no key of its own.

        ``environ`` of None is the environment of the process. Raises `UpstreamError` if the
        variable is not set.
        """
        if self.key_env is None:
            return None
        key = (os.environ if environ is None else environ).get(self.key_env, "").strip()
        if not key:
            raise UpstreamError(f"the variable {self.key_env} is not set; {self.origin} needs it")
        return key


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Upstreams:
    """All upstreams: the first of ``routes`` whose pattern matches a model, or else ``default``."""

    default: Upstream
    routes: tuple[Upstream, ...] = ()

    def __iter__(self) -> Iterator[Upstream]:
        yield self.default
        yield from self.routes

    def of(self, model: str | None) -> Upstream:
        """Return the upstream of a model. None: the request names no model."""
        if model is not None:
            for route in self.routes:
                if fnmatch.fnmatchcase(model, route.models):
                    return route
        return self.default


def without_keys(query: str) -> str:
    """Return a percent-encoded query without the parameters that contain keys."""
    kept = [
        part
        for part in query.split("&")
        if unquote_plus(part.partition("=")[0]).lower() not in _KEY_PARAMETERS
    ]
    return "&".join(kept)


def _leaves(path: str) -> bool:
    """Return whether a path leads out of its root, for any way in which a server may read it."""
    decoded = unquote(unquote(path))
    if ".." not in decoded:
        return False
    # Servers differ in when they decode, and in whether they take a backslash for a slash.
    for text in (path, unquote(path), decoded):
        for segments in (text.split("/"), re.split(r"[/\\]", text)):
            depth = 0
            for segment in segments:
                name = unquote(unquote(segment)).partition(";")[0]
                if name == "..":
                    depth -= 1
                elif name not in ("", "."):
                    depth += 1
                if depth < 0:
                    return True
    return False


def to_upstream(headers: Headers, *, key: str | None, identity: bool) -> list[tuple[str, str]]:
    """Return the headers of a request to forward.

    ``key`` replaces the credentials of the client, including its cookies. ``identity`` asks for an
    answer without compression, because we read it.
    """
    removed = _OURS_AND_ENCODING if identity else _OURS
    kept = _end_to_end(headers, removed)
    if identity:
        kept.append((b"accept-encoding", b"identity"))
    if key is not None:
        own = _own_key(key, {name for name, _ in kept})
        kept = [*((name, value) for name, value in kept if name not in _KEYS), own]
    return [(name.decode("latin-1"), _text(value)) for name, value in kept]


def _own_key(key: str, sent: set[bytes]) -> tuple[bytes, bytes]:
    # The upstream reads its key where Azure's, Google's and Anthropic's clients put theirs.
    if b"api-key" in sent:
        return b"api-key", key.encode()
    if b"authorization" not in sent:
        for name in (b"x-goog-api-key", b"x-api-key"):
            if name in sent:
                return name, key.encode()
    return b"authorization", f"Bearer {key}".encode()


def to_client(headers: Headers, status: int) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer to forward."""
    kept = _end_to_end(headers, _HOP_BY_HOP)
    if status in (204, 304):
        # Of a body that does not come, which uvicorn would wait for.
        kept = [(name, value) for name, value in kept if name != b"content-length"]
    return kept


def _end_to_end(headers: Headers, removed: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    """Return the headers, in lower case, without those in ``removed`` and those of one hop."""
    kept: list[tuple[bytes, bytes]] = []
    named: set[bytes] = set()
    for given, value in headers:
        name = given.lower()
        if name == b"connection":
            named.update(token.strip().lower() for token in value.split(b","))
        if name not in removed:
            kept.append((name, value))
    if named:
        kept = [(name, value) for name, value in kept if name not in named]
    return kept


def _text(value: bytes) -> str:
    # aiohttp writes UTF-8; what was none leaves as the UTF-8 of the same letters
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
