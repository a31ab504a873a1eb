"""One output item, as far as it has been streamed, and the parts that its text is in.

The text of each part is kept: the ends of the stream repeat it, and what an upstream forgets there
has to be filled in. It is the one thing that grows with the answer, so that it is counted against
``max_response_bytes``. A part over it has lost its text, and its ends pass as they came.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.kept import Kept
from normalizer.core.lenient import clean_text, ends_in_half, loads
from normalizer.wires.responses.names import Text


class Part:
    """A part of an item: one run of text, or something that has none.

    * ``type``: as in its `content_part.added`; ``number``: its place in the item.
    * ``text_done``: its text's `done` has left; ``closed``: the part's own `done` has.
    * ``lost``: its text was not kept whole; ``value``: of a part without text, what it is.
    """

    __slots__ = (
        "_final",
        "_pieces",
        "closed",
        "half",
        "lost",
        "number",
        "text_done",
        "type",
        "value",
    )

    def __init__(self, kind: str, number: int) -> None:
        self.type = kind
        self.number = number
        self.text_done = False
        self.closed = False
        self.lost = False
        self.half = ""  # the first half of a surrogate pair, held until its other half comes
        self.value: dict[str, Any] | None = None
        self._pieces: list[str] = []
        self._final: str | None = None

    @property
    def streamed(self) -> str:
        """The text that left in deltas."""
        if len(self._pieces) > 1:
            self._pieces[:] = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    @property
    def text(self) -> str:
        """The text as its `done` had it, or as far as it was streamed."""
        return self.streamed if self._final is None else self._final

    def append(self, text: str, kept: Kept) -> None:
        """Take the text of a delta that leaves."""
        kept.size += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        if kept.over:
            self.lost = True
            self._pieces.clear()
        elif not self.lost:
            self._pieces.append(text)

    def finish(self, text: str) -> None:
        """Take the text of its `done`: what the ends behind it repeat."""
        self.text_done = True
        if not self.lost and text != self.streamed:
            self._final = text

    def same_json(self, value: Any) -> str:
        """The text that was streamed, if it is the JSON of this value; else ""."""
        try:
            return self.streamed if loads(self.streamed.encode())[0] == value else ""
        except (ValueError, RecursionError):
            return ""

    def joined(self, delta: str) -> str:
        """The delta behind the half of a character that was held; its own last half is held."""
        text = clean_text(self.half + delta + "x")[:-1]
        self.half = ""
        if ends_in_half(delta):
            self.half = delta[-1]
            text = text[:-1]
        return text


class Item:
    """One output item.

    * ``kind``: its type, which never changes; ``number``: its place, None while it has not left.
    * ``id``: under which it leaves; ``native``: the upstream's, where that is another one.
    * ``call_id``, ``name``: of a call, as the upstream sent them.
    * ``index``: the upstream's first ``output_index``; ``named``: whether an id ever came, and
      ``first_id``: the first.
    * ``content``, ``summary``: its parts; ``call``: the arguments or input of a call.
    * ``given``: arguments that its head held, which count if none follow.
    * ``waiting``: events that wait for the name of a call.
    * ``done``: the item as it ended, None while it is open.
    """

    __slots__ = (
        "__weakref__",
        "at",
        "call",
        "call_id",
        "content",
        "done",
        "first_id",
        "given",
        "head",
        "held",
        "id",
        "index",
        "kind",
        "last_parts",
        "name",
        "named",
        "native",
        "number",
        "shared",
        "summary",
        "waiting",
    )

    def __init__(self, kind: str, index: int | None) -> None:
        self.kind = kind
        self.index = index
        self.id = ""
        self.native: str | None = None
        self.call_id = ""
        self.name = ""
        self.named = False
        self.first_id = ""
        self.number: int | None = None
        self.head: dict[str, Any] = {}
        self.content: list[Part] = []
        self.summary: list[Part] = []
        self.call: Part | None = None
        self.at: dict[tuple[str, int], Part] = {}  # by place and the upstream's index
        self.last_parts: dict[tuple[str, str], Part] = {}  # the last of each place and type
        self.given = ""
        self.held = 0  # bytes of what waits
        self.waiting: list[tuple[Draft, str]] = []
        self.done: dict[str, Any] | None = None
        self.shared: list[Any] = []  # the tables of ids that other items have too

    @property
    def opened(self) -> bool:
        """Whether it has left."""
        return self.number is not None

    @property
    def lost(self) -> bool:
        """Whether one of its texts was not kept whole."""
        call = [self.call] if self.call is not None else []
        return any(part.lost for part in (*self.content, *self.summary, *call))

    def parts_in(self, place: str) -> list[Part]:
        """Its parts in its content or its summary."""
        return self.summary if place == "summary" else self.content

    def new_part(self, place: str, kind: str, index: int | None) -> Part:
        """Add a part, which the upstream has at this index."""
        parts = self.parts_in(place)
        part = Part(kind, len(parts))
        parts.append(part)
        self.last_parts[(place, kind)] = part
        if index is not None:
            self.at[(place, index)] = part
        return part

    def last_part(self, text: Text) -> Part | None:
        """The last part with a text of this kind, open or not."""
        return self.last_parts.get((text.place, text.part)) if text.number else self.call

    def unclosed(self, place: str, kind: str, index: int | None) -> Part | None:
        """The part that a `done` of this type at this index ends."""
        part = self.at.get((place, index)) if index is not None else None
        if part is None or part.type != kind:
            part = self.last_parts.get((place, kind))
        return part if part is not None and not part.closed else None

    def part_of(self, text: Text, index: int | None) -> Part | None:
        """The open part that an event with this index belongs to, None for a new one."""
        if not text.number:
            return self.call
        if index is not None:
            part = self.at.get((text.place, index))
            if part is not None and part.type == text.part and not part.text_done:
                return part
        part = self.last_parts.get((text.place, text.part))
        return part if part is not None and not part.text_done else None
