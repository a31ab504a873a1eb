"""Decode the content coding of recorded answers, piece by piece.

A body in gzip cannot be read in a diff, nor searched for keys.
"""

from __future__ import annotations

import dataclasses

from normalizer.cassette.format import Headers, RecordedResponse
from normalizer.doors._answer import codings
from normalizer.doors._codings import CodingError, Decoder, decoder

_OF_THE_CODED = frozenset({"content-encoding", "content-length"})


def decoder_for(headers: Headers) -> Decoder | None:
    """Return a decoder for an answer, or None if its module is not installed."""
    return decoder(codings(_raw(headers)))


def without_coding(headers: Headers) -> Headers:
    """Return the headers of the decoded answer."""
    if not codings(_raw(headers)):
        return headers
    return tuple((name, value) for name, value in headers if name.lower() not in _OF_THE_CODED)


def decoded(response: RecordedResponse) -> RecordedResponse:
    """Return the answer with its body decoded, or unchanged if that is impossible."""
    undo = decoder_for(response.headers)
    headers = without_coding(response.headers)
    if undo is None or headers == response.headers:
        return response
    pieces: list[bytes] = []
    times: list[float] = []
    try:
        for number, chunk in enumerate(response.chunks):
            if piece := b"".join(undo.decode(chunk)):
                pieces.append(piece)
                times += response.times[number : number + 1]
    except CodingError:
        return response
    body = b"".join(pieces)
    return dataclasses.replace(
        response,
        headers=headers,
        body=body,
        lengths=tuple(len(piece) for piece in pieces),
        times=tuple(times),
    )


def _raw(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [
        (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
        for name, value in headers
    ]
