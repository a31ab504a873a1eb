"""Runs the readers of markup over the deltas of each choice."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any, Protocol

from normalizer.core.findings import Findings
from normalizer.core.options import Options
from normalizer.core.request import RequestInfo
from normalizer.wires.chat.chunk import REASONING_KEYS, Delta
from normalizer.wires.chat.markup.leaks import Cumulative, SpecialTokens
from normalizer.wires.chat.markup.source import Part
from normalizer.wires.chat.markup.text_calls import DIALECTS
from normalizer.wires.chat.markup.text_calls.dialect import Tools
from normalizer.wires.chat.markup.text_calls.reader import CallsInText, Search
from normalizer.wires.chat.markup.text_calls.repeats import CallsMade
from normalizer.wires.chat.markup.thinking import BY_DEFAULT, Thinking


class Reader(Protocol):
    """Reads the text of one choice."""

    def feed(self, text: str) -> list[Part]:
        """What is known of the text so far and was not given before."""

    def close(self) -> list[Part]:
        """What was held back: the text has ended, or a call comes beside it."""


class _Choice:
    """The readers of one choice: of its content, in their order, and of its reasoning."""

    __slots__ = ("_calls", "_content", "_reasoning", "made")

    def __init__(self, content: list[Reader], calls: Search, made: CallsMade) -> None:
        self._content = content
        self._calls = calls  # what is looked for in the reasoning
        self._reasoning: dict[str, Reader] = {}  # by the name that it goes by
        self.made = made

    def read(self, parts: list[Part]) -> list[Part]:
        """Parts of a delta through the readers."""
        return self._through_reasoning(_fold(parts, self._content))

    def close(self) -> list[Part]:
        """What the readers hold."""
        parts: list[Part] = []
        for number, reader in enumerate(self._content):
            parts += _fold(reader.close(), self._content[number + 1 :])
        return [*self._through_reasoning(parts), *self._close_reasoning()]

    def _through_reasoning(self, parts: list[Part]) -> list[Part]:
        if not self._calls.dialects:
            return parts
        read: list[Part] = []
        for part in parts:
            if part.kind in REASONING_KEYS:
                read += self._reader(part.kind).feed(part.text)
            else:
                # nothing that is held back may be overtaken
                read += [*self._close_reasoning(), part]
        return read

    def _reader(self, kind: str) -> Reader:
        if kind not in self._reasoning:
            self._reasoning[kind] = CallsInText(self._calls, self.made, kind)
        return self._reasoning[kind]

    def _close_reasoning(self) -> list[Part]:
        return [part for reader in self._reasoning.values() for part in reader.close()]


class Markup:
    """The readers that were asked for, for each choice of one stream.

    Example::

        markup = Markup(found, Options(think_tags=True), request)
        markup.read(0, {"content": "<think>Hm.</think>Yes"}, ends=False)
        # [{"reasoning_content": "Hm."}, {"content": "Yes"}]
    """

    __slots__ = ("_calls", "_choices", "_found", "_in_reasoning", "_markups", "_options")

    def __init__(self, found: Findings, options: Options, request: RequestInfo) -> None:
        self._found = found
        self._options = options
        tools = Tools(request)
        names = dict.fromkeys(options.text_tool_calls) if tools.names else {}
        dialects = [dialect for name in names for dialect in DIALECTS[name]]
        self._calls = Search(found, dialects, tools)
        self._in_reasoning = Search(found, [one for one in dialects if one.in_reasoning], tools)
        self._markups = (*(BY_DEFAULT if options.think_tags else ()), *options.think_markup)
        self._choices: dict[int, _Choice] = {}

    def read(self, index: int, delta: Delta, *, ends: bool) -> list[Delta]:
        """The deltas that a delta becomes.

        * ``index``: of its choice; ``delta``: changed in place if it repeats a call of the text.
        * ``ends``: its choice finishes with it.
        """
        choice = self._choice(index)
        keys = self._keys(delta)
        parts = choice.read([Part(key, delta[key]) for key in keys])
        if ends or _calls(delta):
            # what is held stands before a call that comes beside it
            parts += choice.close()
        choice.made.left_of(delta, self._found)
        if not keys:
            return [*_deltas(parts), delta]
        rest = {key: value for key, value in delta.items() if key not in keys}
        if _calls(rest):
            return [*_deltas(parts), rest]
        deltas = _deltas(parts) or [{"content": ""}]
        return [{**rest, **deltas[0]}, *deltas[1:]]

    def _keys(self, delta: Delta) -> list[str]:
        """The members of a delta whose text is read."""
        reasoning = REASONING_KEYS if self._in_reasoning.dialects else ()
        # of two names for the same reasoning one is read
        keys = [key for key in reasoning if _has_text(delta, key)][:1]
        return [*keys, "content"] if _has_text(delta, "content") else keys

    def rest(self, index: int) -> list[Delta]:
        """What the readers of a choice still hold: its text has ended."""
        choice = self._choices.get(index)
        return _deltas(choice.close()) if choice is not None else []

    def _choice(self, index: int) -> _Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = self._new_choice()
        return choice

    def _new_choice(self) -> _Choice:
        options, found = self._options, self._found
        made = CallsMade()
        content: list[Reader] = []
        if options.cumulative:
            content.append(Cumulative(found))
        if self._markups:
            content.append(Thinking(found, options.max_held_bytes, self._markups))
        if self._calls.dialects:
            content.append(CallsInText(self._calls, made))
        if options.special_tokens:
            content.append(SpecialTokens(found, options.max_held_bytes))
        return _Choice(content, self._in_reasoning, made)


def wanted(options: Options) -> bool:
    """Whether any of these repairs was asked for."""
    return bool(
        options.think_tags
        or options.think_markup
        or options.special_tokens
        or options.cumulative
        or options.text_tool_calls
    )


def _calls(delta: Delta) -> bool:
    return bool(delta.get("tool_calls") or delta.get("function_call"))


def _has_text(delta: Delta, key: str) -> bool:
    return isinstance(delta.get(key), str) and delta[key] != ""


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


def _deltas(parts: list[Part]) -> list[Delta]:
    """Parts as deltas, neighbours of one kind as one."""
    deltas: list[Delta] = []
    for kind, group in groupby(parts, lambda part: part.kind):
        if kind == "call":
            deltas += _fragments([part.call for part in group if part.call is not None])
        else:
            deltas.append({kind: "".join(part.text for part in group)})
    return deltas


def _fragments(fragments: list[dict[str, Any]]) -> list[Delta]:
    """Fragments of calls, each in a delta of its own, those of one call as one."""
    calls: list[dict[str, Any]] = []
    for fragment in fragments:
        if calls and "type" not in fragment:
            before = calls[-1]["function"]
            before["arguments"] += fragment["function"]["arguments"]
        else:
            calls.append(fragment)
    return [{"tool_calls": [one]} for one in calls]
