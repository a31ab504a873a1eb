"""Import streams from other tools as cassettes. `normalizer.cassette.exports` is the way back.

* ``sse``: a body, as in `.sse` files and in the output of ``curl -N``. ``curl -i`` adds its head.
* ``har``: the export of a browser's network panel.
* ``mitmproxy``: flows, as ``mitmdump -w`` writes them.
* ``curl``: a trace of ``curl --trace FILE --trace-time``.
* ``vcr``: a cassette of vcrpy or pytest-recording, in YAML or JSON.
* ``capture``: JSON of ``{request, response: {status, headers, chunks: [{t_ms, b64}]}}``.
* ``chunks``: one JSON payload per line, as AI SDK's ``.chunks.txt``.

The import invents nothing. Only ``capture`` and ``curl`` have chunks and times, and a HAR that was
exported here. From the other forms, a body is one chunk without times; from ``mitmproxy``, with the
time of its end. ``ReplayTransport(…, split="events")`` can split it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from normalizer.cassette import _yaml
from normalizer.cassette._checks import CassetteError, one_of
from normalizer.cassette.exports import to_sse as to_sse
from normalizer.cassette.format import Cassette, RecordedRequest, loads
from normalizer.cassette.imports import _json, capture, curl, har, mitmproxy, text

Form = Literal["sse", "har", "mitmproxy", "curl", "vcr", "capture", "chunks"]
FORMS: tuple[Form, ...] = get_args(Form)

UNKNOWN = RecordedRequest(method="POST", uri="http://127.0.0.1/v1/chat/completions")


def read(
    path: str | os.PathLike[str],
    form: Form | None = None,
    *,
    request: RecordedRequest = UNKNOWN,
    every: bool = False,
) -> Cassette:
    """Read a stream from another tool. It may still contain secrets.

    * ``form``: one of `FORMS`. None: guess it from the name of the file, then from its first bytes.
    * ``request``: the request, for forms without one (``sse``, ``chunks``).
    * ``every``: all requests of a HAR or of mitmproxy. Without it, only those to ``…/completions``,
      ``…/responses`` and ``…/messages``, and those with an event stream as the answer.

    Raises `CassetteError`, which names the file, the place and the fault, and `OSError` for a file
    that cannot be read.

    Example::

        for interaction in read("chat.example.com.har").interactions: ...
    """
    return reads(Path(path).read_bytes(), os.fspath(path), form, request=request, every=every)


def reads(
    data: bytes,
    name: str = "<import>",
    form: Form | None = None,
    *,
    request: RecordedRequest = UNKNOWN,
    every: bool = False,
) -> Cassette:
    """Read a stream from the bytes of its file. ``name`` is the name of the file. See `read`."""
    try:
        form = form or form_of(data, name)
        one_of(FORMS, form, "form")
        if form != "vcr":
            return _READERS[form](data, request, every)
    except CassetteError as error:
        raise CassetteError(f"{name}: {error}") from error
    return _vcr(data, name)


def form_of(data: bytes, name: str) -> Form:
    """Return the form of a file, by its name or its beginning. Raises `CassetteError`."""
    lowered = name.lower()
    for ending, form in _ENDINGS.items():
        if lowered.endswith(ending):
            return form
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if curl.is_trace(start):
        return "curl"
    if _FLOW.match(start):
        return "mitmproxy"
    if start.startswith(_SSE):
        return "sse"
    if start.startswith((b"version:", b"interactions:", b"metadata:", b"stream_normalizer:")):
        return "vcr"
    if start.startswith(b"{"):
        return _form_of_json(start)
    raise CassetteError(f"it begins with {start[:20]!r}: none of {', '.join(FORMS)}; name the form")


# What reads each form but vcrpy's, whose errors name the file themselves.
_READERS: dict[Form, Callable[[bytes, RecordedRequest, bool], Cassette]] = {
    "sse": lambda data, request, _: text.body(data, request),
    "chunks": lambda data, request, _: text.payloads(data, request),
    "har": lambda data, _, every: har.cassette(_json.parsed(data), every=every),
    "mitmproxy": lambda data, _, every: mitmproxy.cassette(data, every=every),
    "curl": lambda data, *_: curl.cassette(data),
    "capture": lambda data, *_: capture.cassette(_json.parsed(data)),
}

# A typed netstring, and in it a key: the first flow.
_FLOW = re.compile(rb"\d{1,12}:\d{1,3}:\w+[;,]")

# curl -i begins with a status line; the others are what a line of an event stream begins with
_SSE = (b"HTTP/", b"data:", b"event:", b"id:", b"retry:", b":")
_ENDINGS: dict[str, Form] = {
    ".sse": "sse",
    ".har": "har",
    ".flow": "mitmproxy",
    ".flows": "mitmproxy",
    ".mitm": "mitmproxy",
    ".chunks.txt": "chunks",
    ".yaml": "vcr",
    ".yml": "vcr",
}
_KEYS: dict[str, Form] = {"log": "har", "interactions": "vcr", "response": "capture"}


def _form_of_json(data: bytes) -> Form:
    try:
        document = _json.parsed(data)
    except CassetteError:
        # NDJSON, or an answer that was cut: a body like any other
        return "sse"
    return next((form for key, form in _KEYS.items() if key in document), "sse")


def _vcr(data: bytes, name: str) -> Cassette:
    try:
        written = data.decode()
    except UnicodeDecodeError as error:
        raise CassetteError(f"{name}: byte {error.start}: not UTF-8") from error
    if written.lstrip().startswith("{"):
        try:
            # Not all JSON is YAML: escaped surrogate pairs are not, for one.
            written = _yaml.write(_json.parsed(data))
        except CassetteError as error:
            raise CassetteError(f"{name}: {error}") from error
    return loads(written, name)
