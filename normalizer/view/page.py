"""The page: one HTML file that brings all it needs, and may load nothing.

What a model has written is in the page as JSON, which the script puts into it as text, never as
markup. A Content-Security-Policy forbids every script and style but ours, by their hashes, and all
connections, but for a live page's to its own server.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

_SCRIPTS = ("model.js", "detail.js", "list.js", "timeline.js", "page.js", "live.js")
_PLACE = re.compile(r"\{(policy|title|style|data|script)\}")


def page(
    views: Sequence[dict[str, Any]], *, title: str = "stream-normalizer", live: bool = False
) -> str:
    """Return the HTML of a page with the answers that `view_of` returned.

    ``live``: the page asks its server for answers (`normalizer.proxy.inspect`).

    Example::

        Path("answer.html").write_text(page([view_of(cassette, 0, request, options, name="a")]))
    """
    style, script = _file("page.css"), script_of()
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"style-src {_source(style)}; script-src {_source(script)}"
        + ("; connect-src 'self'" if live else "")
    )
    # `<` could end the element that the JSON is in
    data = json.dumps({"answers": list(views), "live": live}, ensure_ascii=False).replace(
        "<", "\\u003c"
    )
    values = {
        "policy": policy,
        "title": html.escape(title),
        "style": style,
        "data": data,
        "script": script,
    }
    return _PLACE.sub(lambda found: values[found[1]], _file("page.html"))


def script_of() -> str:
    """Return the script of the page."""
    return "\n".join(_file(name) for name in _SCRIPTS)


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _file(name: str) -> str:
    return (resources.files("normalizer.view") / name).read_text("utf-8")
