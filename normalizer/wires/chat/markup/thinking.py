"""Reasoning that models mark up in their text, where the server does not take it out.

Reasoning stands at the start of an answer, before all other text. A tag later on is text about
tags. What has been sent cannot be taken back, so that the start decides:

- An opener comes first (``tags``, ``granite``): what follows is reasoning, up to its closer.
- The template opens the reasoning in the prompt, and the answer only closes it (DeepSeek-R1, QwQ,
  Qwen3-Thinking): nothing in the text tells this from an answer. ``prompt`` says that the model
  does it. Then all text is reasoning, from the first character on, up to a closer. An answer with
  no closer is all reasoning, as it is in vLLM's parser for these models.
- A closer without opener, where ``prompt`` was not chosen: the text before it is reasoning if it
  came with the first text, as in a plain completion. Later it is too late, and the tag is text.
- gpt-oss writes frames, each with its channel (``harmony``): ``analysis`` is reasoning, ``final``
  is the answer. A frame that is for a tool is left to `normalizer.wires.chat.markup.text_calls`.

Reasoning that is never closed is reasoning up to the end.

Sources: https://huggingface.co/deepseek-ai/DeepSeek-R1/blob/main/tokenizer_config.json
https://github.com/ggml-org/llama.cpp/issues/23320
https://huggingface.co/mistralai/Magistral-Small-2509#basic-chat-template
https://github.com/vllm-project/vllm/blob/main/vllm/reasoning/granite_reasoning_parser.py
https://developers.openai.com/cookbook/articles/openai-harmony
"""

from __future__ import annotations

import re
from collections.abc import Collection

from normalizer.core.findings import Deviation, Findings
from normalizer.wires.chat.markup.source import NAME_CHARACTERS, Part, Reading, TextSource

THINK_TAGS = Deviation(
    code="C320",
    name="think-tags",
    fault="The answer starts with marked reasoning, such as `<think>…</think>`.",
    repair="The marked text becomes reasoning.",
    option={"think_tags": True},
)
HARMONY_CHANNELS = Deviation(
    code="C323",
    name="harmony-channels",
    fault="The answer has the channels of gpt-oss, such as `<|channel|>analysis`.",
    repair="`analysis` becomes reasoning, and `final` becomes the content.",
    option={"think_tags": True},
)

# by the name that an option has for them: openers and what closes each
MARKUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "tags": {
        "<think>": ("</think>",),
        "<thinking>": ("</thinking>",),
        "<thought>": ("</thought>",),
        "<reasoning>": ("</reasoning>",),
        "<seed:think>": ("</seed:think>",),
        "[THINK]": ("[/THINK]",),
        "◁think▷": ("◁/think▷",),
        "<|START_THINKING|>": ("<|END_THINKING|>",),
    },
    "granite": dict.fromkeys(
        ("Here is my thought process:", "Here's my thought process:"),
        ("Here is my response:", "Here's my response:"),
    ),
    "harmony": {},
    "prompt": {},
}
# what `think_tags=True` chooses: the others are no markup that an answer cannot have
BY_DEFAULT = ("tags", "harmony")

_CLOSERS = tuple(closer for closers in MARKUPS["tags"].values() for closer in closers)
# behind a blank or a quote it is text about the tag
_LONE_CLOSER = re.compile("(?<![ `\"'(])(?:" + "|".join(map(re.escape, _CLOSERS)) + ")")

_ASSISTANT = "<|start|>assistant"
_CHANNEL = "<|channel|>"
_FRAME_ENDS = ("<|end|>", "<|return|>", "<|call|>", "<|start|>", _CHANNEL)

_REASONING, _ANSWER = "reasoning_content", "content"


class Thinking:
    """Takes the reasoning out of the text of one choice."""

    __slots__ = ("_found", "_limit", "_markups", "_reading", "_source")

    def __init__(self, found: Findings, limit: int, markups: Collection[str]) -> None:
        self._found = found
        self._limit = limit  # characters of white space that may wait for an opener
        self._markups = markups
        self._source = TextSource()
        self._reading: Reading[object] = self._begin()

    def feed(self, text: str) -> list[Part]:
        """What is known of the text so far and was not given before."""
        self._source.feed(text)
        return self._read()

    def close(self) -> list[Part]:
        """What was held back; should text still come, it is of the same kind."""
        self._source.ended = True
        parts = self._read()
        self._source.ended = False
        return parts

    def _read(self) -> list[Part]:
        parts: list[Part] = []
        for part in self._reading:
            if part is not None:
                self._source.commit()
                parts.append(part)
            elif self._source.held <= self._limit:
                break
            else:
                self._source.rewind()
                self._reading = self._through(_ANSWER)
                return parts + self._read()
        return parts

    # ------------------------------------------------------------------ the start decides

    def _begin(self) -> Reading[None]:
        source, found = self._source, self._found
        openers = {
            opener: closers for name in self._markups for opener, closers in MARKUPS[name].items()
        }
        frames = (_CHANNEL, _ASSISTANT) if "harmony" in self._markups else ()
        while not (yield from source.peek()):
            yield None
        yield from source.blanks()
        start = yield from source.look(*openers, *frames)
        if start in frames:
            yield from self._frames()
        else:
            closers = openers[start] if start else self._closers_only()
            if closers and found(THINK_TAGS):
                source.at += len(start)
                yield from self._reasoning(closers)
        source.rewind()
        yield from self._through(_ANSWER)

    def _closers_only(self) -> tuple[str, ...]:
        """What ends reasoning that no opener begins; nothing if this is none."""
        if "prompt" in self._markups or ("tags" in self._markups and self._is_closed()):
            return _CLOSERS
        return ()

    def _is_closed(self) -> bool:
        """Whether a closer with no opener came with the first text."""
        text, at = self._source.text, self._source.at
        closer = _LONE_CLOSER.search(text, at)
        return closer is not None and not any(
            opener in text[at : closer.start()] for opener in MARKUPS["tags"]
        )

    def _reasoning(self, closers: tuple[str, ...]) -> Reading[None]:
        """Read reasoning up to its closer, and the empty lines around the two tags."""
        source = self._source
        yield from source.take("\n")
        source.commit()
        yield from self._through(_REASONING, closers)
        source.commit()
        while (yield from source.take("\n")):
            source.commit()
        source.commit()

    def _through(self, kind: str, ends: tuple[str, ...] = ()) -> Reading[str]:
        """Give text as it comes, up to one of the ends, which is read."""
        source = self._source
        while True:
            stop, end = source.next_of(ends)
            if stop > source.at:
                text, source.at = source.text[source.at : stop], stop
                yield Part(kind, text)
            if end:
                source.at += len(end)
                return end
            yield None

    # ------------------------------------------------------------------ frames

    def _frames(self) -> Reading[None]:
        """Read frames one behind another; what is none is the answer."""
        source = self._source
        while True:
            start = source.position
            yield from source.take(_ASSISTANT)
            if not (yield from source.take(_CHANNEL)):
                return
            header, message = yield from source.until("<|message|>", limit=NAME_CHARACTERS)
            if not message:
                return
            if "to=" in header:
                yield Part(_ANSWER, source.since(start))
                end = yield from self._through(_ANSWER, _FRAME_ENDS)
                if end in _FRAME_ENDS[:3]:
                    yield Part(_ANSWER, end)
            elif self._found(HARMONY_CHANNELS):
                source.commit()
                kind = _REASONING if header.strip() == "analysis" else _ANSWER
                end = yield from self._through(kind, _FRAME_ENDS)
            else:
                return
            if end not in _FRAME_ENDS[:3]:
                source.at -= len(end)
            source.commit()
