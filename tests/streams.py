"""Streams for tests: the pieces to write them with, and what comes out of them."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from normalizer import Normalizer, Options, Report, RequestInfo

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
DONE = b"data: [DONE]\n\n"
STREAM = {"model": "m", "stream": True}
WITH_USAGE = {**STREAM, "stream_options": {"include_usage": True}}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
ENVELOPE = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1700000000,
    "model": "m",
}


def event(value: Any) -> bytes:
    return (
        b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
    )


def chunk(delta: Any, finish: str | None = None, index: int = 0, **members: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {**ENVELOPE, "choices": [choice], **members}


def text(*pieces: str) -> list[dict[str, Any]]:
    """A role and pieces of text, with no finish."""
    return [chunk({"role": "assistant", "content": ""}), *(chunk({"content": p}) for p in pieces)]


def call(
    arguments: Any = None,
    *,
    index: Any = 0,
    id: Any = None,  # noqa: A002
    name: Any = None,
    **members: Any,
) -> dict[str, Any]:
    """A chunk with one tool call fragment; what is None is not in it."""
    function = {"name": name, "arguments": arguments}
    function = {key: value for key, value in function.items() if value is not None}
    fragment = {"index": index, "id": id, **members, "function": function}
    return chunk({"tool_calls": [{k: v for k, v in fragment.items() if v is not None}]})


def raw(*chunks: Any, done: bool = True) -> bytes:
    """Chunks, and bytes among them as they are, as a body."""
    events = [one if isinstance(one, bytes) else event(one) for one in chunks]
    return b"".join(events) + (DONE if done else b"")


class Outcome(NamedTuple):
    out: bytes
    chunks: list[Any]  # the JSON of every event, [DONE] left out
    report: Report
    normalizer: Normalizer

    @property
    def codes(self) -> set[str]:
        return set(self.report.repairs)

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.chunks[-1]["error"]
        return error

    @property
    def deltas(self) -> list[Any]:
        return [c["choices"][0]["delta"] for c in self.chunks if c.get("choices")]

    def said(self, kind: str = "content", index: int = 0) -> str:
        choices = [c for one in self.chunks for c in one.get("choices", []) if c["index"] == index]
        return "".join(c["delta"].get(kind) or "" for c in choices)

    def finish(self, index: int = 0) -> str | None:
        """The one finish of a choice."""
        choices = [c for one in self.chunks for c in one.get("choices", []) if c["index"] == index]
        finishes = [c["finish_reason"] for c in choices if c["finish_reason"] is not None]
        assert len(finishes) <= 1
        return finishes[0] if finishes else None

    @property
    def calls(self) -> list[tuple[str, str, str]]:
        """Id, name and arguments of each call, as a client adds them up by index."""
        calls: dict[int, list[str]] = {}
        for delta in self.deltas:
            for fragment in delta.get("tool_calls", []):
                one = calls.setdefault(fragment["index"], ["", "", ""])
                one[0] += fragment.get("id", "")
                one[1] += fragment["function"].get("name", "")
                one[2] += fragment["function"].get("arguments", "")
        assert sorted(calls) == list(range(len(calls)))
        return [(one[0], one[1], one[2]) for one in calls.values()]


def normalize(
    body: bytes,
    request: dict[str, Any] | None = STREAM,
    path: str = CHAT,
    *,
    status: int = 200,
    broken: str | None = None,
    pieces: list[bytes] | None = None,
    **options: Any,
) -> Outcome:
    """A body through a normaliser, whole or in pieces."""
    normalizer = Normalizer(RequestInfo.parse(path, request), Options(**options), status=status)
    out = b"".join([normalizer.feed(piece) for piece in pieces or [body]])
    out += normalizer.close(broken)
    events = [block[6:] for block in out.split(b"\n\n") if block.startswith(b"data: ")]
    chunks = [json.loads(one) for one in events if one != b"[DONE]"]
    return Outcome(out, chunks, normalizer.report, normalizer)
