"""What wrong settings leave in the text: special tokens, and all the text so far again."""

from __future__ import annotations

import zlib

from normalizer.core.findings import Deviation, Findings
from normalizer.wires.chat.markup.source import Part, beginning_at_end

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

_TOKENS = (
    *("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end|>", "<|user|>", "<|observation|>"),
    *("<|assistant|>", "<end_of_turn>", "</s>", "<｜end▁of▁sentence｜>", "[/INST]"),
)


class SpecialTokens:
    """Text without the special tokens at its very end; elsewhere they are text about tokens."""

    __slots__ = ("_begun", "_found", "_held", "_limit", "_size", "_tokens")

    def __init__(self, found: Findings, limit: int) -> None:
        self._found = found
        self._limit = limit
        self._held: list[str] = []  # blanks and whole tokens, nothing else
        self._size = 0  # characters of these
        self._tokens = False  # there is a token among them
        self._begun = ""  # behind them: what a token begins with

    def feed(self, text: str) -> list[Part]:
        """What is known not to be the end."""
        text = self._begun + text
        end = len(text) - beginning_at_end(text, _TOKENS)
        start, tokens = _blanks_and_tokens(text, end)
        self._begun = text[end:]
        before = ""
        if start or self._size > self._limit:
            before = "".join(self._held) + text[:start]
            self._held, self._size, self._tokens = [], 0, False
        self._held.append(text[start:end])
        self._size += end - start
        self._tokens = self._tokens or tokens
        return [Part("content", before)] if before else []

    def close(self) -> list[Part]:
        """What was held back, without the tokens."""
        held, tokens = "".join(self._held) + self._begun, self._tokens and not self._begun
        self._held, self._size, self._tokens, self._begun = [], 0, False, ""
        if not held or (tokens and self._found(SPECIAL_TOKENS)):
            return []
        return [Part("content", held)]


class Cumulative:
    """What is new in text that is the whole text so far, each time."""

    __slots__ = ("_characters", "_found", "_sum")

    def __init__(self, found: Findings) -> None:
        self._found = found
        self._characters = 0
        self._sum = 0

    def feed(self, text: str) -> list[Part]:
        """What is new."""
        start = text[: self._characters].encode("utf-8", "surrogatepass")
        if 0 < self._characters <= len(text) and zlib.crc32(start) == self._sum:
            if self._found(CUMULATIVE):
                text = text[self._characters :]
        self._sum = zlib.crc32(text.encode("utf-8", "surrogatepass"), self._sum)
        self._characters += len(text)
        return [Part("content", text)] if text else []

    def close(self) -> list[Part]:
        """Nothing is held."""
        return []


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
