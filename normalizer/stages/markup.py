"""What models write into their text that is no text: repairs that need a guess, and are opt-in.

Each reader takes text as it comes and gives what it makes of it, in order. Text that could be the
beginning of something is held back until it is known; how much is bounded, and what turns out to be
text after all is text.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from normalizer.chunk import Delta
from normalizer.deviation import Deviation, Findings
from normalizer.lenient import dumps, loads
from normalizer.options import Options

THINK_TAGS = Deviation(
    code="C320",
    name="think-tags",
    what="`<think>` at the start of an answer, up to its end, is reasoning.",
    option={"think_tags": True},
)
SPECIAL_TOKENS = Deviation(
    code="C321",
    name="special-token",
    what="Special tokens at the very end of an answer are left out.",
    option={"special_tokens": True},
)
CUMULATIVE = Deviation(
    code="C322",
    name="cumulative-content",
    what="Of content that is the whole text so far, what is new is delivered.",
    option={"cumulative": True},
)
HERMES_CALL = Deviation(
    code="T431",
    name="hermes-call-in-text",
    what="`<tool_call>{…}</tool_call>` in the text (Hermes, Qwen) is a tool call.",
    option={"text_tool_calls": ("hermes",)},
)
REACT_CALL = Deviation(
    code="T432",
    name="react-call-in-text",
    what="`Action:` and `Action Input:` in the text (ReAct) are a tool call.",
    option={"text_tool_calls": ("react",)},
)
KIMI_CALL = Deviation(
    code="T433",
    name="kimi-call-in-text",
    what="`<|tool_calls_section_begin|>` in the text (Kimi) begins tool calls.",
    option={"text_tool_calls": ("kimi",)},
)
DEEPSEEK_CALL = Deviation(
    code="T434",
    name="deepseek-call-in-text",
    what="`<｜tool▁calls▁begin｜>` in the text (DeepSeek) begins tool calls.",
    option={"text_tool_calls": ("deepseek",)},
)
CALL_IN_BOTH = Deviation(
    code="T435",
    name="call-in-text-and-beside-it",
    what="A call that the upstream gives as one beside its text is not called twice.",
    option={"text_tool_calls": ("react",)},
)

# characters that may wait for the end of a call; a runaway answer must not show nothing
_CALL_CHARACTERS = 64 * 1024

_THINK = (("<think>", "</think>"), ("<thinking>", "</thinking>"), ("◁think▷", "◁/think▷"))
_TOKENS = (
    *("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end|>", "<|user|>", "<|observation|>"),
    *("<|assistant|>", "<end_of_turn>", "</s>", "<｜end▁of▁sentence｜>", "[/INST]"),
)


class Part(NamedTuple):
    """What a reader makes of text: text, reasoning, or a call."""

    kind: str  # "content", "reasoning_content" or "call"
    text: str
    call: dict[str, Any] | None = None


class Reader(Protocol):
    """Reads the text of one choice."""

    def feed(self, text: str) -> list[Part]:
        """What is known of the text so far and was not given before."""

    def close(self) -> list[Part]:
        """What was held back: the text has ended."""


class ThinkTags:
    """Reasoning between tags, at the start of an answer only: a later tag is text about tags."""

    def __init__(self, found: Findings, limit: int) -> None:
        self._found = found
        self._limit = limit
        self._held = ""
        self._blanks: list[str] = []  # in front of what is held
        self._size = 0  # characters of these
        self._end: str | None = None  # the tag that ends the reasoning
        self._begun = False
        self._blank = False  # the blank lines behind the reasoning have not ended

    def feed(self, text: str) -> list[Part]:
        if self._begun and self._end is None:
            return self._answer(text)
        text, self._held = self._held + text, ""
        if not self._begun:
            start = text.lstrip()
            blanks = text[: len(text) - len(start)]
            self._blanks.append(blanks)
            self._size += len(blanks)
            if self._size <= self._limit and any(tag.startswith(start) for tag, _ in _THINK):
                self._held = start
                return []
            self._begun = True
            text = "".join(self._blanks) + start
            self._blanks.clear()
            tags = next(((a, b) for a, b in _THINK if start.startswith(a)), None)
            if tags is None or not self._found(THINK_TAGS):
                return [Part("content", text)]
            self._end = tags[1]
            text = start[len(tags[0]) :].removeprefix("\n")
        return self._think(text, self._end or "")

    def _think(self, text: str, end: str) -> list[Part]:
        reasoning, tag, answer = text.partition(end)
        if tag:
            self._end, self._blank = None, True
            return [*_parts(("reasoning_content", reasoning)), *self._answer(answer)]
        kept = _beginning_at_end(text, [end])
        self._held = text[len(text) - kept :]
        return _parts(("reasoning_content", text[: len(text) - kept]))

    def _answer(self, text: str) -> list[Part]:
        if self._blank:
            text = text.lstrip("\n")
            self._blank = not text
        return _parts(("content", text))

    def close(self) -> list[Part]:
        held, self._held = "".join(self._blanks) + self._held, ""
        self._blanks.clear()
        return _parts(("reasoning_content" if self._end else "content", held))


class SpecialTokens:
    """Text without the special tokens at its very end; elsewhere they are text about tokens."""

    def __init__(self, found: Findings, limit: int) -> None:
        self._found = found
        self._limit = limit
        self._held: list[str] = []  # blanks and whole tokens, nothing else
        self._size = 0  # characters of these
        self._tokens = False  # there is a token among them
        self._begun = ""  # behind them: what a token begins with

    def feed(self, text: str) -> list[Part]:
        text = self._begun + text
        end = len(text) - _beginning_at_end(text, _TOKENS)
        start, tokens = _blanks_and_tokens(text, end)
        self._begun = text[end:]
        said = ""
        if start or self._size > self._limit:
            said = "".join(self._held) + text[:start]
            self._held, self._size, self._tokens = [], 0, False
        self._held.append(text[start:end])
        self._size += end - start
        self._tokens = self._tokens or tokens
        return _parts(("content", said))

    def close(self) -> list[Part]:
        held, tokens = "".join(self._held) + self._begun, self._tokens and not self._begun
        self._held, self._size, self._tokens, self._begun = [], 0, False, ""
        if tokens and self._found(SPECIAL_TOKENS):
            return []
        return _parts(("content", held))


class Cumulative:
    """What is new in text that is the whole text so far, each time."""

    def __init__(self, found: Findings) -> None:
        self._found = found
        self._characters = 0
        self._sum = 0

    def feed(self, text: str) -> list[Part]:
        said = text[: self._characters].encode("utf-8", "surrogatepass")
        if 0 < self._characters <= len(text) and zlib.crc32(said) == self._sum:
            if self._found(CUMULATIVE):
                text = text[self._characters :]
        self._sum = zlib.crc32(text.encode("utf-8", "surrogatepass"), self._sum)
        self._characters += len(text)
        return _parts(("content", text))

    def close(self) -> list[Part]:
        return []


class Dialect(NamedTuple):
    """How one family of models writes calls into its text."""

    deviation: Deviation
    begin: str
    end: str
    read: Callable[[str], list[tuple[str, str, str]] | None]  # id, name and arguments of each
    needs_end: bool = True  # else the end of the answer ends a call too
    at_line: bool = False  # it begins a line


def _hermes(inside: str) -> list[tuple[str, str, str]] | None:
    try:
        value, _ = loads(inside.strip().encode("utf-8", "surrogatepass"))
    except ValueError:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    return [("", value["name"], _text(arguments))]


def _react(inside: str) -> list[tuple[str, str, str]] | None:
    match = re.fullmatch(r"\s*(\S[^\n]*?)\s*\n+Action Input:\s*(.*?)\s*", inside, re.DOTALL)
    return [("", match[1], match[2])] if match else None


_KIMI = re.compile(
    r"\s*<\|tool_call_begin\|>\s*((?:functions\.)?([^:<\s]+)(?::\d+)?)\s*"
    r"<\|tool_call_argument_begin\|>\s*(.*?)\s*<\|tool_call_end\|>\s*",
    re.DOTALL,
)
_DEEPSEEK = re.compile(
    r"\s*<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>)?([^<\n]+?)\s*(?:<｜tool▁sep｜>|\n)"
    r"\s*(?:```json\n)?(.*?)(?:\n```)?\s*<｜tool▁call▁end｜>\s*",
    re.DOTALL,
)


def _kimi(inside: str) -> list[tuple[str, str, str]] | None:
    calls = [(match[1], match[2], match[3]) for match in _KIMI.finditer(inside)]
    return calls if calls and not _KIMI.sub("", inside).strip() else None


def _deepseek(inside: str) -> list[tuple[str, str, str]] | None:
    calls = [("", match[1], match[2]) for match in _DEEPSEEK.finditer(inside)]
    return calls if calls and not _DEEPSEEK.sub("", inside).strip() else None


DIALECTS = {
    "hermes": Dialect(HERMES_CALL, "<tool_call>", "</tool_call>", _hermes),
    "react": Dialect(REACT_CALL, "Action:", "\nObservation:", _react, False, True),
    "kimi": Dialect(KIMI_CALL, "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", _kimi),
    "deepseek": Dialect(DEEPSEEK_CALL, "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", _deepseek),
}


class CallsInText:
    """Calls of the request's own tools that a model wrote into its text."""

    def __init__(
        self,
        found: Findings,
        dialects: list[Dialect],
        names: frozenset[str],
        made: list[tuple[str, Any]],
    ) -> None:
        self._found = found
        self._dialects = dialects
        self._begins = [dialect.begin for dialect in dialects]
        self._names = names
        self._made = made
        self._held = ""
        self._open: Dialect | None = None
        self._line_begins = True  # what was given out ended a line

    def feed(self, text: str) -> list[Part]:
        text, self._held = self._held + text, ""
        parts: list[Part] = []
        while text:
            if self._open is None:
                text = self._outside(text, parts)
            else:
                text = self._inside(text, self._open, parts)
        return parts

    def close(self) -> list[Part]:
        held, self._held = self._held, ""
        parts: list[Part] = []
        dialect, self._open = self._open, None
        if dialect is not None and not dialect.needs_end:
            if self._call(dialect, held[len(dialect.begin) :], parts):
                return parts
        self._give(held, parts)
        return parts

    def _outside(self, text: str, parts: list[Part]) -> str:
        """Give what is before a call's beginning; what is left to read."""
        first = min(
            ((at, one) for one in self._dialects if (at := self._begin(text, one)) >= 0),
            default=None,
            key=lambda found: found[0],
        )
        if first is not None:
            at, self._open = first
            self._give(text[:at], parts)
            return text[at:]
        kept = _beginning_at_end(text, self._begins)
        self._give(text[: len(text) - kept], parts)
        self._held = text[len(text) - kept :]
        return ""

    def _begin(self, text: str, dialect: Dialect) -> int:
        at = text.find(dialect.begin)
        while at >= 0 and dialect.at_line:
            if text[at - 1] == "\n" if at else self._line_begins:
                break
            at = text.find(dialect.begin, at + 1)
        return at

    def _inside(self, text: str, dialect: Dialect, parts: list[Part]) -> str:
        """Read a call that ``text`` begins with; what is left to read."""
        end = text.find(dialect.end, len(dialect.begin))
        if end < 0 and len(text) <= _CALL_CHARACTERS:
            self._held = text
            return ""
        self._open = None
        if end >= 0 and self._call(dialect, text[len(dialect.begin) : end], parts):
            return text[end + len(dialect.end) :]
        self._give(text[: len(dialect.begin)], parts)
        return text[len(dialect.begin) :]

    def _call(self, dialect: Dialect, inside: str, parts: list[Part]) -> bool:
        calls = dialect.read(inside)
        if not calls or any(name not in self._names for _, name, _ in calls):
            return False
        if not self._found(dialect.deviation):
            return False
        for ident, name, arguments in calls:
            function = {"name": name, "arguments": arguments}
            call = {"type": "function", "function": function}
            self._made.append((name, _value(arguments)))
            parts.append(Part("call", "", {"id": ident, **call} if ident else call))
        return True

    def _give(self, text: str, parts: list[Part]) -> None:
        if text:
            self._line_begins = text.endswith("\n")
            parts.append(Part("content", text))


class Markup:
    """The readers that were asked for, for each choice of one stream."""

    __slots__ = ("_dialects", "_found", "_made", "_names", "_options", "_readers")

    def __init__(self, found: Findings, options: Options, names: frozenset[str]) -> None:
        self._found = found
        self._options = options
        self._names = names
        self._dialects = [DIALECTS[name] for name in options.text_tool_calls]
        self._readers: dict[int, list[Reader]] = {}
        self._made: dict[int, list[tuple[str, Any]]] = {}

    def read(self, index: int, delta: Delta, *, ends: bool) -> list[Delta]:
        """The deltas that a delta becomes; ``ends``: its choice finishes with it."""
        text = delta.get("content")
        parts = self._through(index, text) if isinstance(text, str) and text else []
        if ends:
            parts += self.close(index)
        self._given_beside(index, delta)
        if not isinstance(text, str) or not text:
            return [delta] if not parts else [*_deltas(parts), delta]
        rest = {key: value for key, value in delta.items() if key != "content"}
        deltas = _deltas(parts) or [{"content": ""}]
        deltas[0] = {**rest, **deltas[0]} if "tool_calls" not in rest else deltas[0]
        return deltas if "tool_calls" not in rest else [*deltas, rest]

    def close(self, index: int) -> list[Part]:
        """What the readers of a choice still held: its text has ended."""
        readers = self._readers.pop(index, [])
        parts: list[Part] = []
        for number, reader in enumerate(readers):
            parts += _fold(reader.close(), readers[number + 1 :])
        return parts

    def rest(self, index: int) -> list[Delta]:
        """The same, as deltas."""
        return _deltas(self.close(index))

    def _through(self, index: int, text: str) -> list[Part]:
        if index not in self._readers:
            self._readers[index] = self._make(self._made.setdefault(index, []))
        return _fold([Part("content", text)], self._readers[index])

    def _make(self, made: list[tuple[str, Any]]) -> list[Reader]:
        options, found = self._options, self._found
        readers: list[Reader] = []
        if options.cumulative:
            readers.append(Cumulative(found))
        if options.think_tags:
            readers.append(ThinkTags(found, options.max_held_bytes))
        if self._dialects and self._names:
            readers.append(CallsInText(found, self._dialects, self._names, made))
        if options.special_tokens:
            readers.append(SpecialTokens(found, options.max_held_bytes))
        return readers

    def _given_beside(self, index: int, delta: Delta) -> None:
        """Leave out calls beside the text that were made of the text (api-for-open-llm)."""
        made = self._made.get(index)
        calls = delta.get("tool_calls")
        if not made:
            return
        for function in [delta.get("function_call")]:
            if isinstance(function, dict) and self._was_made(made, function):
                del delta["function_call"]
        if isinstance(calls, list):
            kept = [
                call
                for call in calls
                if not (isinstance(call, dict) and self._was_made(made, call.get("function")))
            ]
            if len(kept) != len(calls):
                delta["tool_calls"] = kept

    def _was_made(self, made: list[tuple[str, Any]], function: Any) -> bool:
        if not isinstance(function, dict):
            return False
        call = (function.get("name"), _value(function.get("arguments")))
        return call in made and self._found(CALL_IN_BOTH)


def wanted(options: Options) -> bool:
    """Whether any of these repairs was asked for."""
    return bool(
        options.think_tags
        or options.special_tokens
        or options.cumulative
        or options.text_tool_calls
    )


def _fold(parts: Iterable[Part], readers: list[Reader]) -> list[Part]:
    """Parts through readers: each reads what the one before it took for text."""
    for reader in readers:
        read: list[Part] = []
        for part in parts:
            if part.kind == "content":
                read += reader.feed(part.text)
            else:
                # nothing that is held back may be overtaken
                read += [*reader.close(), part] if part.kind == "call" else [part]
        parts = read
    return list(parts)


def _parts(*kinds_and_texts: tuple[str, str]) -> list[Part]:
    return [Part(kind, text) for kind, text in kinds_and_texts if text]


def _deltas(parts: list[Part]) -> list[Delta]:
    """Parts as deltas, neighbours of one kind as one."""
    deltas: list[Delta] = []
    for part in parts:
        if part.call is not None:
            deltas.append({"tool_calls": [part.call]})
        elif deltas and part.kind in deltas[-1]:
            deltas[-1][part.kind] += part.text
        else:
            deltas.append({part.kind: part.text})
    return deltas


def _beginning_at_end(text: str, markers: Iterable[str]) -> int:
    """The length of the longest end of ``text`` that a marker begins with."""
    longest = 0
    for marker in markers:
        for size in range(min(len(marker) - 1, len(text)), longest, -1):
            if text.endswith(marker[:size]):
                longest = size
                break
    return longest


def _blanks_and_tokens(text: str, end: int) -> tuple[int, bool]:
    """Where the blanks and special tokens begin that go up to ``end``; is there a token?"""
    tokens = False
    while True:
        while end and text[end - 1].isspace():
            end -= 1
        token = next((token for token in _TOKENS if text.endswith(token, 0, end)), "")
        if not token:
            return end, tokens
        tokens = True
        end -= len(token)


def _text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else dumps(arguments).decode()


def _value(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return loads(arguments.encode("utf-8", "surrogatepass"))[0]
    except ValueError:
        return arguments.strip()
