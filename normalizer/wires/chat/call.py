"""One tool call of a stream: what has to be remembered of it, which is not its arguments."""

from __future__ import annotations

import uuid
import zlib
from typing import Any

# What the kinds of call name their member, and in it what the model writes.
TEXT_OF = {"function": "arguments", "custom": "input"}


def made_up_id() -> str:
    """Return an id for a call whose upstream gives it none."""
    return f"call_{uuid.uuid4().hex[:24]}"


class Arguments:
    """How far arguments have come, and enough to know them when they come again.

    Their text is not kept: its brackets are counted, its characters but white space summed up.

    * ``begun``: something but white space has come.
    * ``size``: of its characters that are no white space.

    Example::

        arguments = Arguments()
        arguments.add('{"city": ')
        arguments.add('"Oslo"}')
        assert arguments.whole and arguments.same(of('{"city":"Oslo"}'))
    """

    __slots__ = ("_depth", "_escaped", "_opened", "_quoted", "_sum", "begun", "size")

    def __init__(self) -> None:
        self.begun = False
        self.size = 0
        self._sum = 0
        self._depth = 0
        self._opened = False  # they begin with a bracket
        self._quoted = self._escaped = False

    def add(self, text: str) -> None:
        """Take the next piece."""
        squeezed = _squeezed(text)
        if not squeezed:
            return
        if not self.begun:
            self.begun = True
            self._opened = squeezed[:1] in (b"{", b"[")
        self.size += len(squeezed)
        self._sum = zlib.crc32(squeezed, self._sum)
        self._count_brackets(text)

    def _count_brackets(self, text: str) -> None:
        if self._escaped:
            self._escaped = False
            text = text[1:]
        text = text.replace("\\\\", "")
        if text.endswith("\\"):
            self._escaped = True
            text = text[:-1]
        for number, part in enumerate(text.replace('\\"', "").split('"')):
            if number:
                self._quoted = not self._quoted
            if not self._quoted:
                self._depth += part.count("{") + part.count("[")
                self._depth -= part.count("}") + part.count("]")

    @property
    def whole(self) -> bool:
        """Whether they are an object or a list that is closed."""
        return self._opened and self._depth <= 0 and not self._quoted

    @property
    def torn(self) -> bool:
        """Whether they have begun and are not closed."""
        return self.begun and (self._depth > 0 or self._quoted)

    def same(self, other: Arguments) -> bool:
        """Whether both are the same but for white space."""
        return self.size == other.size and self._sum == other._sum

    def begins(self, text: str) -> bool:
        """Whether a longer text begins with all that has come."""
        squeezed = _squeezed(text)
        return len(squeezed) > self.size and zlib.crc32(squeezed[: self.size]) == self._sum

    def rest_of(self, text: str) -> str:
        """Return what follows these arguments in a text that `begins` with them."""
        left = self.size
        for position, character in enumerate(text):
            if left <= 0:
                return text[position:]
            left -= len(_squeezed(character))
        return ""


def of(text: str) -> Arguments:
    """The arguments that a text is."""
    arguments = Arguments()
    arguments.add(text)
    return arguments


def _squeezed(text: str) -> bytes:
    return "".join(text.split()).encode("utf-8", "surrogatepass")


class Call:
    """One call: what decides about the next fragment.

    * ``id``: the one that is sent; ``given``: the upstream's, which two calls may share.
    * ``upstream``: the index that the upstream gave it; ``number``: the index that is sent.
    * ``head``: its first fragment while that waits; ``stash``: fragments before its name.
    * ``half``: of a surrogate pair, at the end of the arguments so far.
    """

    __slots__ = (
        "arguments",
        "given",
        "half",
        "head",
        "id",
        "kind",
        "name",
        "number",
        "stash",
        "stashed",
        "upstream",
    )

    def __init__(self, ident: str, name: str, upstream: int | None, kind: str = "function") -> None:
        self.id = ident
        self.given = ident
        self.name = name
        self.kind = kind
        self.upstream = upstream
        self.number: int | None = None
        self.head: Fragment | None = None
        self.stash: list[dict[str, Any]] = []
        self.stashed = 0  # bytes of these
        self.half = ""
        self.arguments = Arguments()

    @property
    def head_waits(self) -> bool:
        """Whether the first fragment has come and is not sent yet."""
        return self.head is not None and self.head.waits

    @property
    def head_sent(self) -> bool:
        """Whether the first fragment was sent: its id and name can change no more."""
        return self.head is not None and not self.head.waits


class Fragment:
    """A piece of a call that is to be sent, and whether it still waits.

    * ``waits``: its name may go on, or what follows decides about it.
    * ``gone``: it repeats what was sent before, and is not sent.
    * ``changed``: ``value`` is not what it was when it was read.
    """

    __slots__ = ("call", "changed", "gone", "head", "value", "waits")

    def __init__(self, call: Call, value: dict[str, Any], *, head: bool, waits: bool) -> None:
        self.call = call
        self.value = value
        self.head = head
        self.waits = waits
        self.gone = False
        self.changed = False


class Doubt:
    """Fragments of a call that may repeat what was sent, or what will come.

    * ``kind``: "placeholder" (`{}` before the real arguments), "again" (complete arguments that
      come once more), "flush" (a torn beginning that comes once more, to its end).
    * ``head``: the call's head that came once more in front of them, if it did.
    """

    __slots__ = ("arguments", "call", "fragments", "head", "kind", "text")

    def __init__(self, call: Call, kind: str) -> None:
        self.call = call
        self.kind = kind
        self.head: Fragment | None = None
        self.fragments: list[Fragment] = []
        self.arguments = Arguments()
        self.text = ""  # of a flush

    def add(self, fragment: Fragment, text: str) -> None:
        """Take a fragment that is in doubt."""
        self.fragments.append(fragment)
        self.arguments.add(text)
