"""What is taken out of a recording before it is written, and what is found in one that was.

Of a request's headers those are kept that are named; of an answer's those are dropped that identify
somebody. URLs, the kept headers and both bodies are searched for what looks like a key, and for the
credentials that the request itself carried; what is found is masked with asterisks at the same
length, so that the boundaries of a stream stay where they were. The further options are vcrpy's,
by name and by meaning, and its own code does the work.
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
    """What is filtered beyond the rules; all but ``allow_headers`` as in vcrpy's configuration.

    * ``allow_headers``: names of request headers to keep beside ``accept`` and ``content-type``.
    * ``filter_headers``, ``filter_query_parameters``, ``filter_post_data_parameters``: names, or
      pairs of a name and what to put there (a text, or a function of ``key``, ``value`` and
      ``request``). A header with a replacement is kept.
    * ``filter_nested_post_data_parameters``: look for them at any depth of a JSON body.
    * ``filter_sensitive_data``: placeholders and the values they stand for, a mapping or pairs. In
      an answer's body the value is masked at its length instead, for the sake of the chunks.
    * ``before_record_request``: a function, or several, of vcrpy's ``Request``; None drops it.
    * ``before_record_response``: the same for vcrpy's response dict. It wants the body whole: such
      a stream is written only when it is over.
    * ``ignore_hosts``, ``ignore_localhost``: requests that are not recorded.
    """

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
    """A request as it may be written, and the secrets that it carried."""

    request: RecordedRequest
    known: tuple[bytes, ...]


class Scrubber:
    """The rules and the options of one recording or replay; raises TypeError for unknown ones."""

    def __init__(self, options: ScrubOptions) -> None:
        if unknown := set(options) - set(ScrubOptions.__annotations__):
            raise TypeError(f"no such option: {', '.join(sorted(unknown))}")
        given = dict(options)
        replaced = [each[0] for each in options.get("filter_headers", ()) if _is_replaced(each)]
        allowed = [*given.pop("allow_headers", ()), *replaced]  # type: ignore[misc]
        self._allowed = ALLOWED_HEADERS | {name.lower() for name in allowed}
        self._hidden = _hidden(given.pop("filter_sensitive_data", ()))
        hook = given.pop("before_record_response", None)
        # vcrpy is asked only where there is something for it to do
        self._filter = _vcrpy.request_filter(given) if given else None
        self._response_filter = _vcrpy.response_filter(hook) if hook else None

    @property
    def wants_whole_response(self) -> bool:
        """Whether an answer can be written only when it is over."""
        return self._response_filter is not None

    def request(self, request: RecordedRequest) -> Scrubbed | None:
        """A request without its secrets; None if it is not to be recorded."""
        # Taken from what is sent: a filter may have replaced them in what is recorded.
        known = (*_credentials(request), *(value.encode() for _, value in self._hidden))
        if self._filter is not None:
            filtered = self._filter(request)
            if filtered is None:
                return None
            request = filtered

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
        """An answer's headers without those that identify somebody, and without secrets."""
        return tuple(
            (name, _shapes.masked_url(_shapes.masked(value.encode(), known).decode()))
            for name, value in headers
            if not _shapes.IDENTIFYING.fullmatch(name)
        )

    def response(
        self, response: RecordedResponse, known: tuple[bytes, ...]
    ) -> RecordedResponse | None:
        """A whole answer without its secrets; None if it is not to be recorded."""
        if self._response_filter is not None:
            filtered = self._response_filter(response)
            if filtered is None:
                return None
            response = filtered
        return dataclasses.replace(
            response,
            headers=self.headers(response.headers, known),
            body=_shapes.masked(response.body, known),
        )


def scrub(cassette: Cassette, options: ScrubOptions | None = None) -> Cassette:
    """A cassette without what must not be written, as a recording would have left it.

    For cassettes that came from elsewhere. Interactions that a ``before_record_…`` function answers
    with None are left out. A body in a content coding is decoded, so that it can be searched.

    Raises TypeError for options that do not exist.

    Example::

        dump(scrub(imports.read("chat.example.com.har")), "cassettes/example/chat.yaml")
    """
    scrubber = Scrubber(options or {})
    kept = []
    for interaction in cassette.interactions:
        clean = scrubber.request(interaction.request)
        if clean is None:
            continue
        response = scrubber.response(decoded(interaction.response), clean.known)
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
    """What the request proves itself with, as it stands in its headers and its URL."""
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
