"""Is an answer canonical? A judge that shares no code with the package.

`check` holds what left of one stream to docs/canonical.md, docs/canonical-responses.md or
docs/canonical-messages.md, and to what came:

- wire: the bytes are those of Server-Sent Events, as the pages want them;
- form: each event has the members and the types that the API's clients read;
- order: what has to come before what, and what has to be there in the end;
- lost, invented: each text, call and figure that came left once, and no other did.

It knows the default options only. It is more lenient than the pages where they leave a choice to
the package: which call a fragment belongs to, which of several finishes counts, where a member
that nobody knows goes. The tests of the wires have that.

    >>> check("/v1/chat/completions", {"stream": True}, b"", b"data: [DONE]")
    [Fault(rule='wire', text='CR, a byte order mark, or no blank line at the end'), ...]
"""

from __future__ import annotations

from typing import Any

from tests.conformance import chat, messages, responses
from tests.conformance.reading import Fault, leniently, strictly

__all__ = ["Fault", "check"]


def check(path: str, request: dict[str, Any], raw: bytes, out: bytes) -> list[Fault]:
    """The faults of a stream that left, by the path and the JSON of its request.

    `raw` is the whole body that came, `out` the whole body that left.
    """
    came = leniently(raw)
    if path.endswith("/responses"):
        return list(responses.faults(came, strictly(out, named=True)))
    if path.endswith("/messages"):
        return list(messages.faults(request, came, strictly(out, named=True)))
    legacy = not path.endswith("/chat/completions")
    return list(chat.faults(request, came, strictly(out, named=False), legacy=legacy))
