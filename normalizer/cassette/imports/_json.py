"""JSON of other tools, with errors that say where it breaks."""

from __future__ import annotations

import json
from typing import Any

from normalizer.cassette._checks import CassetteError


def parsed(data: bytes) -> Any:
    """The document in the bytes; a byte order mark is passed over. Raises `CassetteError`."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise CassetteError(f"byte {error.start}: not UTF-8") from error
    except json.JSONDecodeError as error:
        raise CassetteError(f"line {error.lineno}, column {error.colno}: {error.msg}") from error


def compact(document: Any) -> bytes:
    """A document as clients write it: without blanks, in UTF-8."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
