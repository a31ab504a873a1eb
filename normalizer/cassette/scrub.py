"""Remove secrets from a recording before it is written, and find them in one that exists.

Of the headers of a request, only known names stay. Of the headers of an answer, those that identify
somebody are removed. URLs, the remaining headers and both bodies are searched for keys and for the
credentials of the request. Asterisks of the same length replace them, so the chunks of a stream
keep their length. The other options have the names and meanings of vcrpy, and vcrpy's own code does
that work.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict
from urllib.parse import unquote

from normalizer.cassette import _shapes, _vcrpy
from normalizer.cassette._decoding import decoded
from normalizer.cassette._verify import Problem as Problem
from normalizer.cassette._verify import verify as verify
from normalizer.cassette._volatile import Volatile
from normalizer.cassette.format import (
    Cassette,
    Headers,
    Interaction,
    RecordedRequest,
    RecordedResponse,
)

Replacement = str | tuple[str, Any]
Hook = Callable[[Any], Any]

ALLOWED_HEADERS = frozenset({"accept", "content-type"})

# Every gateway has a header of its own for its keys.
_CREDENTIALS = re.compile(r".*(?:authoriz|api-?key|[-_]key|token|secret).*", re.IGNORECASE)


class ScrubOptions(TypedDict, total=False):
    """Additional filters. All but the first two work as in vcrpy's configuration.

    * ``stable``: replace what differs each time: ids, times, durations and some headers, so that
      recording the same answer again changes little. An id gets the same name wherever it stands.
      The times of chunks are left out. Such a stream is written only when it is over.
    * ``allow_headers``: names of request headers to keep, besides ``accept`` and ``content-type``.
    * ``filter_headers``, ``filter_query_parameters``, ``filter_post_data_parameters``: names, or
      pairs of a name and its replacement (a text, or a function of ``key``, ``value`` and
      ``request``). A header with a replacement is kept.
    * ``filter_nested_post_data_parameters``: search for them at any depth of a JSON body.
    * ``filter_sensitive_data``: placeholders and the values that they replace, as a mapping or
      pairs. In the body of an answer, asterisks of the same length replace the value, because of
      the chunks.
    * ``before_record_request``: one or several functions of vcrpy's ``Request``. None drops it.
    * ``before_record_response``: the same for vcrpy's response dict. They need the whole body, so
      such a stream is written only when it is over.
    * ``ignore_hosts``, ``ignore_localhost``: requests that are not recorded.
    """

    stable: bool
    allow_headers: Sequence[str]
    filter_headers: Sequence[Replacement]
    filter_query_parameters: Sequence[Replacement]
    filter_post_data_parameters: Sequence[Replacement]
    filter_nested_post_data_parameters: bool
    filter_sensitive_data: Mapping[str, str] | Sequence[tuple[str, str]]
    before_record_request: Hook | Sequence[Hook]
    before_record_response: Hook | Sequence[Hook]
    ignore_hosts: Sequence[str]
    ignore_localhost: bool


class Scrubbed(NamedTuple):
    """A request without secrets, and the secrets that it had."""

    request: RecordedRequest
    known: tuple[bytes, ...]


class Scrubber:
    """The rules and options of one recording or replay. Raises TypeError for unknown options."""

    def __init__(self, options: ScrubOptions) -> None:
        if unknown := set(options) - set(ScrubOptions.__annotations__):
            raise TypeError(f"no such option: {', '.join(sorted(unknown))}")
        given = dict(options)
        replaced = [each[0] for each in options.get("filter_headers", ()) if _is_replaced(each)]
        allowed = [*given.pop("allow_headers", ()), *replaced]  # type: ignore[misc]
        self._allowed = ALLOWED_HEADERS | {name.lower() for name in allowed}
        self._volatile = Volatile() if given.pop("stable", False) else None
        self._hidden = _hidden(given.pop("filter_sensitive_data", ()))
        hook = given.pop("before_record_response", None)
        # vcrpy is asked only where there is something for it to do
        self._filter = _vcrpy.request_filter(given) if given else None
        self._response_filter = _vcrpy.response_filter(hook) if hook else None

    @property
    def wants_whole_response(self) -> bool:
        """Whether an answer can be written only when it is over."""
        return self._response_filter is not None or self._volatile is not None

    def request(self, request: RecordedRequest) -> Scrubbed | None:
        """Return a request without secrets, or None if it is not recorded."""
        # Taken from what is sent: a filter may have replaced them in what is recorded.
        known = (*_credentials(request), *(value.encode() for _, value in self._hidden))
        if self._filter is not None:
            filtered = self._filter(request)
            if filtered is None:
                return None
            request = filtered
        if self._volatile is not None:
            request = self._volatile.request(request)

        def clean(data: bytes) -> bytes:
            for placeholder, value in self._hidden:
                data = data.replace(value.encode(), placeholder.encode())
            return _shapes.masked(data, known)

        return Scrubbed(
            RecordedRequest(
                method=request.method,
                uri=_shapes.masked_url(clean(request.uri.encode()).decode()),
                headers=tuple(
                    (name, clean(value.encode()).decode())
                    for name, value in request.headers
                    if name.lower() in self._allowed
                ),
                body=clean(request.body),
            ),
            known,
        )

    def headers(self, headers: Headers, known: tuple[bytes, ...]) -> Headers:
        """Return the headers of an answer without secrets and without identifying ones."""
        return tuple(
            (name, _shapes.masked_url(_shapes.masked(value.encode(), known).decode()))
            for name, value in headers
            if not _shapes.IDENTIFYING.fullmatch(name)
        )

    def response(
        self, response: RecordedResponse, known: tuple[bytes, ...], number: int = 0
    ) -> RecordedResponse | None:
        """Return a whole answer without secrets, or None if it is not recorded.

        ``number`` is that of the interaction in its file, for the option ``stable``.
        """
        if self._response_filter is not None:
            filtered = self._response_filter(response)
            if filtered is None:
                return None
            response = filtered
        clean = dataclasses.replace(
            response,
            headers=self.headers(response.headers, known),
            body=_shapes.masked(response.body, known),
        )
        return clean if self._volatile is None else self._volatile.response(clean, number)


def scrub(cassette: Cassette, options: ScrubOptions | None = None) -> Cassette:
    """Return a cassette without secrets, as a recording would have it.

    It is for imported cassettes. If a ``before_record_…`` function returns None, the interaction is
    left out. A body in a content coding is decoded, so that it can be searched.

    Raises TypeError for unknown options.

    Example::

        dump(scrub(imports.read("chat.example.com.har")), "cassettes/example/chat.yaml")
    """
    scrubber = Scrubber(options or {})
    kept: list[Interaction] = []
    for interaction in cassette.interactions:
        clean = scrubber.request(interaction.request)
        if clean is None:
            continue
        response = scrubber.response(decoded(interaction.response), clean.known, len(kept))
        if response is not None:
            kept.append(Interaction(clean.request, response))
    return Cassette(cassette.metadata, tuple(kept))


def _is_replaced(header: Replacement) -> bool:
    return not isinstance(header, str) and header[1] is not None


def _hidden(given: Any) -> list[tuple[str, str]]:
    pairs = list(given.items() if isinstance(given, Mapping) else given)
    for placeholder, value in pairs:
        if not isinstance(value, str) or not value or not isinstance(placeholder, str):
            # vcrpy takes functions of the answer too, which is not there yet when we need them
            raise TypeError(
                f"filter_sensitive_data: {placeholder!r}: expected a text, found {value!r:.20}"
            )
    return pairs


def _credentials(request: RecordedRequest) -> Iterator[bytes]:
    """Return the credentials of a request, from its headers and its URL."""
    found: list[str] = [value for _, value in _shapes.IN_QUERY.findall(request.uri)]
    for name, value in request.headers:
        if name.lower() == "cookie":
            found += [each.partition("=")[2] for each in value.split(";")]
        elif _CREDENTIALS.fullmatch(name):
            scheme, _, token = value.strip().rpartition(" ")
            found.append(token)
            if scheme.lower() == "basic":
                found += _password(token)
    for each in found:
        for form in {each, unquote(each)}:
            if _shapes.worth_masking(form.encode()):
                yield form.encode()


def _password(token: str) -> list[str]:
    try:
        return base64.b64decode(token).decode().split(":", 1)[1:]
    except (binascii.Error, UnicodeDecodeError):
        return []
