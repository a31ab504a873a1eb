"""Tool calls that models write into their text, where the server does not read them.

A dialect is one way to write them. Users choose dialects by name (`Options.text_tool_calls`),
because each is a guess: models also write *about* calls. These limit the guess:

- Only a tool that the request offers is called. Everything else is text.
- An opener in a code block or behind a backtick is text.
- What follows an opener decides which dialect it is, of those that were chosen. Each gives up at
  the first character that it cannot have, so that nothing is held for a dialect that it is not.
- What is held is bounded. A call that grows beyond, or never ends, is text again, complete.

`reader.CallsInText` finds openers. The other files hold the dialects, a family in each:
``json_calls``, ``xml_calls``, ``token_calls`` and ``other_calls``.
"""

from __future__ import annotations

from normalizer.wires.chat.markup.text_calls import json_calls, other_calls, token_calls, xml_calls
from normalizer.wires.chat.markup.text_calls.dialect import Dialect

FAMILIES = (json_calls, other_calls, token_calls, xml_calls)


def _dialects() -> dict[str, tuple[Dialect, ...]]:
    named: dict[str, tuple[Dialect, ...]] = {}
    for family in FAMILIES:
        for name, dialects in family.DIALECTS.items():
            named[name] = (*named.get(name, ()), *dialects)
    return named


# by the name that an option has for it
DIALECTS = _dialects()
