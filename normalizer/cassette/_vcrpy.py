"""What we use of vcrpy: its filters for requests and answers, and its matchers.

It is imported only if it is needed, because importing vcrpy imports every installed HTTP library.
"""

from __future__ import annotations

import dataclasses
import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from normalizer.cassette.format import Headers, RecordedRequest, RecordedResponse

Matcher = Callable[[Any, Any], Any]

# It has a line for each request that is made or compared, which are all of a cassette's each time.
if logging.getLogger("vcr").level == logging.NOTSET:
    logging.getLogger("vcr").setLevel(logging.INFO)


def request_filter(
    options: Mapping[str, Any],
) -> Callable[[RecordedRequest], RecordedRequest | None]:
    """Return vcrpy's filter for some of its options. It returns None for an ignored request."""
    import vcr.config  # type: ignore[import-untyped]

    apply = vcr.config.VCR().get_merged_config(**options)["before_record_request"]

    def filtered(request: RecordedRequest) -> RecordedRequest | None:
        made = apply(to_vcrpy(request))
        return None if made is None else _from_vcrpy(made, request)

    return filtered


def response_filter(hook: Any) -> Callable[[RecordedResponse], RecordedResponse | None]:
    """Return vcrpy's filter for ``before_record_response``."""
    import vcr.config

    config = vcr.config.VCR().get_merged_config(before_record_response=hook)
    apply = config["before_record_response"]

    def filtered(response: RecordedResponse) -> RecordedResponse | None:
        made = apply(
            {
                "status": {"code": response.status, "message": response.reason},
                "headers": _lists(response.headers),
                "body": {"string": response.body},
            }
        )
        return None if made is None else _changed(response, made)

    return filtered


def matchers(names: Sequence[str | Matcher]) -> list[Matcher]:
    """Return vcrpy's matchers with these names. Functions are used as they are.

    Raises ValueError for a name that vcrpy does not have.
    """
    import vcr.config

    known: dict[str, Matcher] = {**vcr.config.VCR().matchers, "body": _body}
    for name in names:
        if not callable(name) and name not in known:
            raise ValueError(f"match_on: {name!r} is none of {', '.join(sorted(known))}")
    return [name if callable(name) else known[name] for name in names]


def _body(one: Any, other: Any) -> None:
    """vcrpy's matcher, but JSON is JSON whatever the content type says.

    A front end's ``fetch`` calls it text, and curl a form.
    """
    import vcr.matchers  # type: ignore[import-untyped]

    try:
        same = json.loads(one.body or b"") == json.loads(other.body or b"")
    except (ValueError, TypeError, RecursionError):
        same = False
    if not same:
        vcr.matchers.body(one, other)


# it is named so in what is said of a request that has no answer
_body.__name__ = "body"


def compared(one: Any, other: Any, by: Sequence[Matcher]) -> tuple[list[str], list[str]]:
    """The names of the matchers that find two requests the same, and of those that do not."""
    import vcr.matchers

    same, different = vcr.matchers.get_matchers_results(one, other, by)
    return same, [name for name, _ in different]


def to_vcrpy(request: RecordedRequest) -> Any:
    """A request as vcrpy has it."""
    import vcr.request  # type: ignore[import-untyped]

    headers = {name: values[0] for name, values in _lists(request.headers).items()}
    return vcr.request.Request(request.method, request.uri, request.body, headers)


def _from_vcrpy(made: Any, before: RecordedRequest) -> RecordedRequest:
    body = made.body
    if isinstance(body, io.BytesIO):
        body = body.read()
    # vcrpy has one value for a name; where it left that alone, so do we the others
    were = _lists(before.headers)
    headers: list[tuple[str, str]] = []
    for name, value in made.headers.items():
        values = were.get(name, [])
        headers += [(name, each) for each in (values if values[:1] == [value] else [value])]
    return RecordedRequest(
        method=made.method,
        uri=made.uri,
        headers=tuple(headers),
        body=body.encode() if isinstance(body, str) else bytes(body or b""),
    )


def _changed(response: RecordedResponse, made: Any) -> RecordedResponse:
    """The answer with what a hook of the user made of it."""
    body = made["body"]["string"] or b""
    body = body.encode() if isinstance(body, str) else body
    headers = tuple(
        (name, each)
        for name, values in made["headers"].items()
        for each in ([values] if isinstance(values, str) else values)
    )
    response = dataclasses.replace(
        response,
        status=made["status"]["code"],
        reason=made["status"]["message"] or "",
        headers=headers,
    )
    if len(body) == len(response.body):
        return dataclasses.replace(response, body=body)
    # of another length, it is no longer known which piece a byte came in
    return dataclasses.replace(
        response,
        body=body,
        lengths=(len(body),) if body else (),
        times=response.times[-1:] if body else (),
    )


def _lists(headers: Headers) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    for name, value in headers:
        lists.setdefault(name, []).append(value)
    return lists
