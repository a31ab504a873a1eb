"""What models write into their text that is no text: repairs that need a guess, and are opt-in.

Each reader takes text as it comes and gives what it makes of it, in order. Text that could be the
beginning of something is held back until it is known; how much is bounded, and what turns out to be
text after all is text.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple, Protocol

from normalizer.core.findings import Deviation, Findings
from normalizer.core.lenient import dumps, loads
from normalizer.core.options import Options
from normalizer.wires.chat.chunk import Delta

THINK_TAGS = Deviation(
    code="C320",
    name="think-tags",
    fault="The answer starts with reasoning in `<think>` tags.",
    repair="The text between the tags becomes reasoning.",
    option={"think_tags": True},
)
SPECIAL_TOKENS = Deviation(
    code="C321",
    name="special-token",
    fault="The answer ends in special tokens of the model.",
    repair="The tokens are removed.",
    option={"special_tokens": True},
)
CUMULATIVE = Deviation(
    code="C322",
    name="cumulative-content",
    fault="Each chunk repeats the whole text so far.",
    repair="Only the new part of the text is delivered.",
    option={"cumulative": True},
)
HERMES_CALL = Deviation(
    code="T431",
    name="hermes-call-in-text",
    fault="The text has `<tool_call>{…}</tool_call>` (Hermes, Qwen).",
    repair="It becomes a tool call.",
    option={"text_tool_calls": ("hermes",)},
)
REACT_CALL = Deviation(
    code="T432",
    name="react-call-in-text",
    fault="The text has `Action:` and `Action Input:` (ReAct).",
    repair="They become a tool call.",
    option={"text_tool_calls": ("react",)},
)
KIMI_CALL = Deviation(
    code="T433",
    name="kimi-call-in-text",
    fault="The text has `<|tool_calls_section_begin|>` (Kimi).",
    repair="The section becomes tool calls.",
    option={"text_tool_calls": ("kimi",)},
)
DEEPSEEK_CALL = Deviation(
    code="T434",
    name="deepseek-call-in-text",
    fault="The text has `<｜tool▁calls▁begin｜>` (DeepSeek).",
    repair="The section becomes tool calls.",
    option={"text_tool_calls": ("deepseek",)},
)
CALL_IN_BOTH = Deviation(
    code="T435",
    name="call-in-text-and-beside-it",
    fault="A call is in the text and in `tool_calls`.",
    repair="The call is delivered once.",
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


class Section:
    """A call in the text, or some, between its two markers; and what was learned of it.

    Many beginnings may share one end. What was read for one of them is not read for the next.
    """

    __slots__ = ("_closes", "dead", "end", "start", "text")

    def __init__(self, text: str, end: int) -> None:
        self.text = text
        self.start = 0
        self.end = end
        self.dead: set[int] = set()  # where calls begin behind which something is no call
        self._closes: list[int] | None = None

    def close(self, marker: str, start: int) -> int:
        """Where the next ``marker`` is, from ``start`` on; -1 if there is none."""
        if self._closes is None:
            self._closes = []
            at = self.text.find(marker, start, self.end)
            while at >= 0:
                self._closes.append(at)
                at = self.text.find(marker, at + len(marker), self.end)
        number = bisect_left(self._closes, start)
        return self._closes[number] if number < len(self._closes) else -1


Calls = list[tuple[str, str, str]]  # id, name and arguments of each


class Dialect(NamedTuple):
    """How one family of models writes calls into its text."""

    deviation: Deviation
    begin: str
    end: str
    read: Callable[[Section, frozenset[str]], Calls]  # none, unless all are calls of these names
    needs_end: bool = True  # else the end of the answer ends a call too
    at_line: bool = False  # it begins a line


_NO_STRING = re.compile(r'[^"<\\]*')
_STRING_STOPS = re.compile(r'["\\]')


def _may_be_json(section: Section) -> bool:
    """Whether strings end and no beginning of a call is outside of them.

    It stops where that is known: of many beginnings before one end, one at most is read that far.
    """
    text, at, end = section.text, section.start, section.end
    while True:
        at = _NO_STRING.match(text, at, end).end()  # type: ignore[union-attr]
        if at == end:
            return True
        if text[at] != '"':
            return False
        stop = _STRING_STOPS.search(text, at + 1, end)
        while stop is not None and stop[0] != '"':
            stop = _STRING_STOPS.search(text, stop.end() + 1, end)
        if stop is None:
            return False
        at = stop.end()


def _hermes(section: Section, names: frozenset[str]) -> Calls:
    if not _may_be_json(section):
        return []
    inside = section.text[section.start : section.end].strip()
    try:
        value, _ = loads(inside.encode("utf-8", "surrogatepass"))
    except ValueError:
        return []
    if not isinstance(value, dict):
        return []
    name = value.get("name")
    if not isinstance(name, str) or name not in names:
        return []
    arguments = value.get("arguments", value.get("parameters", {}))
    return [("", name, _text(arguments))]


_BLANKS = re.compile(r"\s*")
_LINE = re.compile(r"[^\n]*")


def _react(section: Section, names: frozenset[str]) -> Calls:
    text, end = section.text, section.end
    line = _LINE.match(text, _past(_BLANKS, text, section.start, end), end)
    name = line[0].rstrip() if line else ""
    if line is None or name not in names:
        return []
    at = _past(_BLANKS, text, line.end(), end)
    if text[at - 1] != "\n" or not text.startswith("Action Input:", at, end):
        return []
    return [("", name, text[at + len("Action Input:") : end].strip())]


# None of these reads a part of a long text more than a few times, whatever it is.
_KIMI_CALL = re.compile(
    r"\s*<\|tool_call_begin\|>\s*(?P<id>(?:functions\.)?(?P<name>[^:<\s]+)(?::\d+)?)\s*"
    r"<\|tool_call_argument_begin\|>"
)
_DEEPSEEK_CALL = re.compile(
    r"\s*<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>)?(?P<id>)(?P<name>[^<\n]*[^<\s])\s*"
    r"(?:<｜tool▁sep｜>|\n)\s*(?:```json\n)?"
)


def _past(pattern: re.Pattern[str], text: str, at: int, end: int) -> int:
    match = pattern.match(text, at, end)
    return match.end() if match else at


def _calls(
    section: Section, names: frozenset[str], head: re.Pattern[str], close: str
) -> Iterator[tuple[str, str, str]]:
    """The calls one behind another; none of them if something is no call of these names."""
    text, at = section.text, section.start
    read: list[tuple[re.Match[str], int]] = []
    begins: list[int] = []
    while at < section.end:
        match = None if at in section.dead else head.match(text, at, section.end)
        begins.append(at)
        stop = -1
        if match is not None and match["name"] in names:
            stop = section.close(close, match.end())
        if match is None or stop < 0:
            section.dead.update(begins)
            return
        read.append((match, stop))
        at = _past(_BLANKS, text, stop + len(close), section.end)
    for match, stop in read:
        yield match["id"], match["name"], text[match.end() : stop]


def _kimi(section: Section, names: frozenset[str]) -> Calls:
    calls = _calls(section, names, _KIMI_CALL, "<|tool_call_end|>")
    return [(ident, name, arguments.strip()) for ident, name, arguments in calls]


def _deepseek(section: Section, names: frozenset[str]) -> Calls:
    calls = _calls(section, names, _DEEPSEEK_CALL, "<｜tool▁call▁end｜>")
    return [(i, name, rest.rstrip().removesuffix("\n```")) for i, name, rest in calls]


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
        self._longest = max(map(len, self._begins), default=0)
        self._names = names
        self._made = made
        self._open: Dialect | None = None
        self._line_begins = True  # what was given out ended a line
        self._held: list[str] = []  # what may be, or begins with, a call's beginning
        self._size = 0  # characters of these
        self._tail = ""  # the last of these, in which the end of the open call may begin
        self._text = ""  # while it is read: what was held and what came
        self._at = 0  # up to where it is read
        self._searched: dict[str, int] = {}  # from where a marker has still to be searched
        self._sections: dict[str, Section] = {}  # the last of each kind, by its end

    def feed(self, text: str) -> list[Part]:
        self._held.append(text)
        self._size += len(text)
        if self._open is not None:
            end = self._open.end
            seam = self._tail + text
            if self._size <= _CALL_CHARACTERS and end not in seam:
                self._tail = seam[-len(end) + 1 :]
                return []
        self._text, self._at = text if len(self._held) == 1 else "".join(self._held), 0
        parts: list[Part] = []
        while self._at < len(self._text):
            if not (
                self._outside(parts) if self._open is None else self._inside(self._open, parts)
            ):
                break
        self._hold()
        return parts

    def _hold(self) -> None:
        """Keep what is not read, and what is known of it."""
        held = self._text[self._at :]
        self._held, self._size = [held] if held else [], len(held)
        self._searched = {key: max(at - self._at, 0) for key, at in self._searched.items()}
        self._tail = held[-len(self._open.end) + 1 :] if self._open else ""
        self._text, self._at = "", 0
        self._sections.clear()

    def close(self) -> list[Part]:
        held = "".join(self._held)
        self._held, self._size, self._tail, self._searched = [], 0, "", {}
        parts: list[Part] = []
        dialect, self._open = self._open, None
        if dialect is not None and not dialect.needs_end:
            section = Section(held, len(held))
            section.start = len(dialect.begin)
            if self._call(dialect, section, parts):
                return parts
        self._give(held, parts)
        return parts

    def _outside(self, parts: list[Part]) -> bool:
        """Give what is before a call's beginning; whether there is one."""
        first = min(
            ((at, one) for one in self._dialects if (at := self._begin(one)) >= 0),
            default=None,
            key=lambda found: found[0],
        )
        text, start = self._text, self._at
        if first is not None:
            self._at, self._open = first
        else:
            last = text[max(start, len(text) - self._longest) :]
            self._at = len(text) - _beginning_at_end(last, self._begins)
        self._give(text[start : self._at], parts)
        return first is not None

    def _begin(self, dialect: Dialect) -> int:
        if not dialect.at_line:
            return self._find(dialect.begin, self._at)
        if self._line_begins and self._text.startswith(dialect.begin, self._at):
            return self._at
        at = self._find(dialect.begin, self._at)
        while at >= 0 and (at == self._at or self._text[at - 1] != "\n"):
            at = self._find(dialect.begin, at + 1)
        return at

    def _find(self, marker: str, start: int) -> int:
        """The next ``marker``; ``start`` never goes back, and nothing is searched twice."""
        at = self._text.find(marker, max(start, self._searched.get(marker, 0)))
        self._searched[marker] = at if at >= 0 else max(len(self._text) - len(marker) + 1, 0)
        return at

    def _inside(self, dialect: Dialect, parts: list[Part]) -> bool:
        """Read the call that begins; whether it is known what it is."""
        start = self._at + len(dialect.begin)
        end = self._find(dialect.end, start)
        if end < 0 and len(self._text) - self._at <= _CALL_CHARACTERS:
            return False
        self._open = None
        if end >= 0:
            section = self._sections.get(dialect.end)
            if section is None or section.end != end:
                section = self._sections[dialect.end] = Section(self._text, end)
            section.start = start
            if self._call(dialect, section, parts):
                self._at = end + len(dialect.end)
                return True
        self._give(dialect.begin, parts)
        self._at = start
        return True

    def _call(self, dialect: Dialect, section: Section, parts: list[Part]) -> bool:
        # what is ignored may be a call at each beginning: it is not even read
        calls = dialect.read(section, self._names) if self._found.on(dialect.deviation) else []
        if not calls or not self._found(dialect.deviation):
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
            if kept:
                delta["tool_calls"] = kept
            elif calls:
                del delta["tool_calls"]

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
    for kind, group in groupby(parts, lambda part: part.kind):
        if kind == "call":
            deltas += [{"tool_calls": [part.call]} for part in group]
        else:
            deltas.append({kind: "".join(part.text for part in group)})
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
