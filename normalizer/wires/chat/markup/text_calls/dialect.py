"""What a dialect of calls in text is made of, and the facts of the request that it needs."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, NamedTuple

from normalizer.core.findings import Deviation
from normalizer.core.request import RequestInfo
from normalizer.wires.chat.markup.source import Part, Reading, TextSource
from normalizer.wires.chat.markup.text_calls.values import types_of


class Where(enum.Enum):
    """Where an opener can be one."""

    ANYWHERE = enum.auto()
    LINE = enum.auto()  # where a line begins
    START = enum.auto()  # before all other text of the answer


class Tools:
    """The tools that a request offers.

    * ``names``: what they are called. Text that calls anything else is text.
    """

    __slots__ = ("_schemas", "names")

    def __init__(self, request: RequestInfo) -> None:
        self.names = request.tool_names
        self._schemas = request.tool_parameters

    def types(self, name: str, parameter: str) -> frozenset[str]:
        """The JSON types that the schema allows a parameter; none: it does not say."""
        properties = self._schemas.get(name, {}).get("properties")
        schema = properties.get(parameter) if isinstance(properties, dict) else None
        return types_of(schema)


class Dialect(NamedTuple):
    """One way in which a family of models writes calls into its text.

    * ``openers``: what a call, or a section of calls, begins with.
    * ``read``: reads what is behind an opener, which is its third argument. It yields calls and
      returns True if all that it read belongs to them (`normalizer.wires.chat.markup.source`).
    * ``in_reasoning``: models write it into their reasoning too, where no plain text looks like it.
    """

    deviation: Deviation
    openers: tuple[str, ...]
    read: Callable[[TextSource, Tools, str], Reading[bool]]
    where: Where = Where.ANYWHERE
    in_reasoning: bool = False


def call(name: str, arguments: str, ident: str = "") -> Part:
    """The beginning of a call, or all of it."""
    function = {"name": name, "arguments": arguments}
    fragment: dict[str, Any] = {"id": ident} if ident else {}
    return Part("call", "", {**fragment, "type": "function", "function": function})


def streamed(
    source: TextSource, name: str, ident: str = "", stops: tuple[str, ...] = ()
) -> Reading[bool]:
    """Read a call's JSON object and give it as it comes; False if none comes.

    ``stops`` end it wherever they are. Nothing before the first of them is a call too.
    """
    first = yield from source.peek()
    if first == "{":
        yield call(name, "", ident)
        yield from source.value(stops=stops, live=True)
        return True
    if (yield from source.look(*stops[:1])):
        yield call(name, "{}", ident)
        return True
    return False
