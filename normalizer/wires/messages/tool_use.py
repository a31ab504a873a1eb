"""Tool calls: their ids and their names.

The API refuses two calls with one id, and clients match a result to its call by the id. So a
missing id is made up. An id that comes a second time under another name gets an id of its own at
once. Under the same name it may be the same call sent twice: that block waits for its input, and
if the input is the same too, the call leaves once.

A head without a name waits for one, which comes as another start on its index. A call that never
gets a name is no call: nobody could run it. What it held is delivered at the end.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.findings import Deviation, Findings
from normalizer.wires.messages.blocks import Block
from normalizer.wires.messages.ids import is_accepted, made_up
from normalizer.wires.messages.tool_input import part_of, same_input

TOOL_ID_MISSING = Deviation(
    code="M401",
    name="tool-id-missing",
    fault="A tool call has no id.",
    repair="An id is made up (`toolu_…`).",
)
TOOL_ID_REPEATED = Deviation(
    code="M402",
    name="tool-id-repeated",
    fault="Two tool calls have one id.",
    repair="The second call gets an id of its own.",
)
CALL_REPEATED = Deviation(
    code="M403",
    name="call-repeated",
    fault="A tool call comes twice, with the same id, name and input.",
    repair="The call leaves once.",
)
TOOL_NAME_MISSING = Deviation(
    code="M404",
    name="tool-name-missing",
    fault="A tool call has no name, or gets it in a second start.",
    repair="The start waits for its name, and becomes `nameless_tool_use` at the end without one.",
    structural=True,
)
TOOL_ID_FORM = Deviation(
    code="M410",
    name="tool-id-form",
    fault="A tool call has an id with characters that the API refuses.",
    repair="None, because the server may know the id.",
    reported=True,
)


class Calls:
    """The calls of one message: which ids and names they have.

    * ``called``: a call of one of the request's tools has left; ``any``: a `tool_use` has.
    * ``nameless``: the blocks that never got a name.
    """

    __slots__ = ("_found", "_names", "_seen", "any", "called", "nameless")

    def __init__(self, found: Findings, names: frozenset[str] | None) -> None:
        self._found = found
        self._names = names  # of the request's tools; None where the request is not known
        self._seen: dict[str, Block | None] = {}  # the first block with each id
        self.any = False
        self.called = False
        self.nameless: list[Block] = []

    def see(self, content: dict[str, Any]) -> None:
        """Note a call that stands in `message_start`."""
        self._seen[content["id"]] = None
        self._note(content["name"])

    def ready(self, block: Block, content: dict[str, Any]) -> bool:
        """Read the id and the name of a call; whether its start may leave."""
        given = content.get("name")
        block.name = given if isinstance(given, str) else ""
        block.id = _string(content.get("id"))
        block.whole = bool(content.get("input")) and isinstance(content.get("input"), dict)
        if not block.name:
            return False
        return self._identify(block)

    def same(self, block: Block, content: dict[str, Any]) -> bool:
        """Whether a start on the index of an open call is the start of the same call."""
        ident, name = _string(content.get("id")), _string(content.get("name"))
        if ident and ident != block.id:
            return False
        if not ident and block.name and (block.input.complete or name not in ("", block.name)):
            return False
        return not (block.name and name not in ("", block.name))

    def named(self, block: Block, content: dict[str, Any]) -> bool:
        """Give a call that waits for its name what a further start has; whether it may leave."""
        name = _string(content.get("name"))
        if block.name or not name:
            return False
        self._found(TOOL_NAME_MISSING)
        block.name = name
        head = block.head.edit()["content_block"]
        head |= {key: item for key, item in content.items() if key not in ("id", "input")}
        return self._identify(block)

    def again(self, block: Block, *, partly: bool) -> bool:
        """Whether a call is one that came before, or the beginning of it."""
        first = self._seen.get(block.id)
        if first is None or not self._found.on(CALL_REPEATED):
            return False
        if same_input(first.input, block.input):
            return True
        return partly and part_of(first.input, block.input)

    def rename(self, block: Block) -> None:
        """Give a call an id of its own."""
        if self._found(TOOL_ID_REPEATED):
            self._set(block, made_up("toolu_"))

    def sent(self, block: Block) -> None:
        """A call's start has left."""
        self._seen.setdefault(block.id, block)
        if not is_accepted(block.id):
            self._found.note(TOOL_ID_FORM)
        if block.kind == "tool_use":
            self._note(block.name)

    def without_name(self) -> list[dict[str, str]]:
        """The calls that never got a name, as they are delivered."""
        return [
            {"id": block.id, "input_json": block.input.text or block.given}
            for block in self.nameless
        ]

    def _note(self, name: str) -> None:
        self.any = True
        self.called = self.called or self._names is None or name in self._names

    def _identify(self, block: Block) -> bool:
        if not block.id:
            if self._found(TOOL_ID_MISSING):
                self._set(block, made_up("toolu_"))
            return True
        if block.id not in self._seen:
            return True
        first = self._seen[block.id]
        if first is not None and first.name == block.name and first.kind == block.kind:
            if self._found.on(CALL_REPEATED):
                return False
        self.rename(block)
        return True

    def _set(self, block: Block, ident: str) -> None:
        block.id = ident
        content = block.head.edit()["content_block"]
        others = {key: item for key, item in content.items() if key not in ("type", "id")}
        kind = content.get("type")
        content.clear()
        content.update({"type": kind, "id": ident, **others})


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
