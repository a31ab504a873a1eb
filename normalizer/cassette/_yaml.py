"""YAML input and output. Scalars are exact, and a diff shows them line by line."""

from __future__ import annotations

import functools
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.emitter import ScalarAnalysis
from yaml.events import ScalarEvent

from normalizer.core.exceptions import NormalizerError

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# PyYAML itself turns from a literal block to quotes where a text has CR, tabs, other control
# characters or blanks before a line feed. It does not for the line breaks of YAML 1.1 that other
# parsers take for letters, or the other way round.
_OTHER_BREAKS = re.compile("[\x85\u2028\u2029]")
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")

# What cannot stand in a literal block as it is. PyYAML finds it sign by sign, and slowly.
_LETTERS = r"!-~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010fffe"
_WORD = 100  # characters
_SPELT_ALIKE = re.compile(r"[-0-9. ]*")
_NOT_PLAIN = re.compile(rf"[^\n {_LETTERS}]")


class Readable(str):
    """A text to write line by line."""

    __slots__ = ()


class OneLine(list[Any]):
    """A list to write in brackets, wrapped if it is long."""

    __slots__ = ()


# Beyond what any cassette has: nothing that goes through a document may go on without end.
_DEEPEST = 100
_LARGEST = 10_000_000


class TooMuchError(NormalizerError, yaml.YAMLError):
    """A document that is nested too deeply, or whose aliases expand to too much."""


def read(text: str) -> Any:
    """Read the plain objects of a YAML document. Raises `yaml.YAMLError` and ValueError."""
    document = yaml.load(text, Loader=_Loader)  # noqa: S506 - it is the safe one
    _check(document)
    return document


def _check(document: Any) -> None:
    """Refuse what has no end, or nearly none; each list and mapping is looked at once."""
    sizes: dict[int, int] = {}  # of each, with all that is in it; 0 while that is counted
    path: list[tuple[Any, Iterator[Any]]] = [(document, _inside(document))]
    while path:
        value, rest = path[-1]
        for each in rest:
            if not isinstance(each, (dict, list, tuple)) or sizes.get(id(each)):
                continue
            if id(each) in sizes:
                raise TooMuchError("a list or a mapping holds itself, by an alias")
            if len(path) >= _DEEPEST:
                raise TooMuchError(f"nested more than {_DEEPEST} deep")
            sizes[id(each)] = 0
            path.append((each, _inside(each)))
            break
        else:
            size = 1 + sum(sizes.get(id(each), 1) for each in _inside(value))
            if size > _LARGEST:
                raise TooMuchError(f"more than {_LARGEST:,} values, by aliases of aliases")
            sizes[id(value)] = size
            path.pop()


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        return iter(value.values())
    return iter(value if isinstance(value, (list, tuple)) else ())


def write(document: Any) -> str:
    """Write plain objects, `Readable` and `OneLine` as a YAML document."""
    text: str = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, indent=2
    )
    return text


# The style of a list of numbers that is written at once, as if it were one scalar.
_NUMBERS = "["


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        # An alias of a repeated header list would be a riddle in a diff.
        return True

    def _numbers(self) -> str | None:
        event = self.event
        return event.value if isinstance(event, ScalarEvent) and event.style == _NUMBERS else None

    def choose_scalar_style(self) -> str:
        style: str = _NUMBERS if self._numbers() else super().choose_scalar_style()
        return style

    def process_scalar(self) -> None:
        numbers = self._numbers()
        if numbers is None:
            super().process_scalar()
            return
        self.style = None
        self._write_numbers(numbers.split())

    def _write_numbers(self, words: list[str]) -> None:
        """Write a list in brackets as PyYAML does, which takes 30 microseconds for each number."""
        self.write_indicator(_NUMBERS, True, whitespace=True)
        column, indent = self.column, self.indent or 0
        line_break = "\n" + " " * indent
        parts = []
        for word in words:
            if column > self.best_width:
                parts.append(line_break)
                column = indent
            elif parts:
                parts.append(" ")
                column += 1
            parts.append(f"{word},")
            column += len(word) + 1
        self._put("".join(parts)[:-1])
        self.column = column - 1
        self.write_indicator("]", False)

    def analyze_scalar(self, scalar: str) -> ScalarAnalysis:
        """As PyYAML's, without looking at every sign of a long text of plain lines."""
        if len(scalar) <= _WORD:
            return _analyzed(scalar)
        if "\n" not in scalar or not _is_of_plain_lines(scalar):
            return super().analyze_scalar(scalar)
        return ScalarAnalysis(
            scalar=scalar,
            empty=False,
            multiline=True,
            allow_flow_plain=False,
            allow_block_plain=False,
            allow_single_quoted="\n " not in scalar,
            allow_double_quoted=True,
            allow_block=True,
        )

    def write_literal(self, text: str) -> None:
        """As PyYAML's, but all lines at once and not sign by sign."""
        hints = self.determine_block_hints(text)
        self.write_indicator("|" + hints, True)
        self.open_ended = hints.endswith("+") or self.open_ended
        self.write_line_break()
        lines = text.removesuffix("\n").split("\n")
        indent = " " * (self.indent or 0)
        self.stream.write("".join([f"{indent}{line}\n" if line else "\n" for line in lines[:-1]]))
        if lines[-1]:
            self.write_indent()
            self._put(lines[-1])
        self.write_line_break()

    def write_double_quoted(self, text: str, split: bool = True) -> None:
        """As PyYAML's, but broken after line feeds and not at blanks."""
        if not split or "\n" not in text:
            super().write_double_quoted(text, split)
            return
        self.write_indicator('"', True)
        for number, line in enumerate(re.findall(r"[^\n]*\n|[^\n]+", text)):
            escaped = _ESCAPED.sub(_escape, json.dumps(line, ensure_ascii=False)[1:-1])
            if number:
                # An escaped break joins the lines; it eats the blanks in front of the next one.
                self._put("\\")
                self.write_indent()
                escaped = "\\" + escaped if escaped.startswith(" ") else escaped
            self._put(escaped)
        self.write_indicator('"', False)

    def _put(self, data: str) -> None:
        self.column += len(data)
        self.whitespace = self.indention = False
        self.stream.write(data)


@functools.lru_cache(2048)
def _analyzed(word: str) -> ScalarAnalysis:
    """What PyYAML finds out about a short text: names of headers come again in each answer."""
    return yaml.SafeDumper(io.StringIO(), allow_unicode=True).analyze_scalar(word)


def _is_of_plain_lines(text: str) -> bool:
    if " \n" in text or text.endswith(" "):
        return False
    if text.isascii():
        return text.replace("\n", "").isprintable()
    return _NOT_PLAIN.search(text) is None


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04X}"


def _represent_readable(dumper: yaml.SafeDumper, data: Readable) -> yaml.ScalarNode:
    style = '"' if not data or _OTHER_BREAKS.search(data) else "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(data), style=style)


def _represent_one_line(dumper: yaml.SafeDumper, data: OneLine) -> yaml.Node:
    words = [repr(each) for each in data if type(each) in (int, float)]
    text = " ".join(words)
    # what YAML spells in another way than Python, and the empty list
    if len(words) < len(data) or not words or not _SPELT_ALIKE.fullmatch(text):
        return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=_NUMBERS)


_Dumper.add_representer(Readable, _represent_readable)
_Dumper.add_representer(OneLine, _represent_one_line)
