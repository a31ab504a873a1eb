"""YAML input and output. Scalars are exact, and a diff shows them line by line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.emitter import ScalarAnalysis

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# PyYAML itself turns from a literal block to quotes where a text has CR, tabs, other control
# characters or blanks before a line feed. It does not for the line breaks of YAML 1.1 that other
# parsers take for letters, or the other way round.
_OTHER_BREAKS = re.compile("[\x85\u2028\u2029]")
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")

# Lines that stand in a literal block as they are, which PyYAML finds out sign by sign, and slowly.
_LETTERS = r"!-~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010fffe"
_PLAIN_LINES = re.compile(rf"(?:\n|(?:[{_LETTERS}]| (?!\n|\Z))+(?:\n|\Z))*")


class Readable(str):
    """A text to write line by line."""

    __slots__ = ()


class OneLine(list[Any]):
    """A list to write in brackets, wrapped if it is long."""

    __slots__ = ()


# Beyond what any cassette has: nothing that goes through a document may go on without end.
_DEEPEST = 100
_LARGEST = 10_000_000


class TooMuchError(yaml.YAMLError):
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


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        # An alias of a repeated header list would be a riddle in a diff.
        return True

    def analyze_scalar(self, scalar: str) -> ScalarAnalysis:
        """As PyYAML's, without looking at every sign of a long text of plain lines."""
        if "\n" not in scalar or not _PLAIN_LINES.fullmatch(scalar):
            return super().analyze_scalar(scalar)
        return ScalarAnalysis(
            scalar=scalar,
            empty=False,
            multiline=True,
            allow_flow_plain=False,
            allow_block_plain=False,
            allow_single_quoted=not re.search(r"\n ", scalar),
            allow_double_quoted=True,
            allow_block=True,
        )

    def write_literal(self, text: str) -> None:
        """As PyYAML's, line by line and not sign by sign."""
        hints = self.determine_block_hints(text)
        self.write_indicator("|" + hints, True)
        self.open_ended = hints.endswith("+") or self.open_ended
        self.write_line_break()
        for line in text.removesuffix("\n").split("\n"):
            if line:
                self.write_indent()
                self._put(line)
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


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04X}"


def _represent_readable(dumper: yaml.SafeDumper, data: Readable) -> yaml.ScalarNode:
    style = '"' if not data or _OTHER_BREAKS.search(data) else "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(data), style=style)


def _represent_one_line(dumper: yaml.SafeDumper, data: OneLine) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)


_Dumper.add_representer(Readable, _represent_readable)
_Dumper.add_representer(OneLine, _represent_one_line)
