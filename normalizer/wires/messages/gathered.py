"""Events to one message: what answers `stream: false` where the upstream streamed."""

from __future__ import annotations

from typing import Any

from normalizer.wires.messages.tool_input import object_of


class Gathered:
    """Makes one message of canonical events.

    Example::

        gathered = Gathered()
        for event in events:
            gathered.add(event)
        message = gathered.message
    """

    __slots__ = ("_blocks", "_pieces", "message")

    def __init__(self) -> None:
        self.message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[tuple[int, str], list[str]] = {}  # by block and member

    def add(self, event: dict[str, Any]) -> None:
        """Take one event that leaves."""
        kind = event.get("type")
        if kind == "message_start":
            content = event["message"].get("content")
            content = [*content] if isinstance(content, list) else []
            self.message = {**event["message"], "content": content}
        elif kind == "content_block_start":
            block = self._blocks[event["index"]] = {**event["content_block"]}
            if isinstance(block.get("citations"), list):
                block["citations"] = [*block["citations"]]
            self.message["content"].append(block)
        elif kind == "content_block_delta":
            self._delta(event["index"], event["delta"])
        elif kind == "message_delta":
            self._end(event)
        elif kind == "message_stop":
            self._join()

    def _delta(self, index: int, delta: dict[str, Any]) -> None:
        block = self._blocks.get(index, {})
        for member, item in delta.items():
            if member == "citation":
                if not isinstance(block.get("citations"), list):
                    block["citations"] = []
                block["citations"].append(item)
            elif isinstance(item, str) and member != "type":
                self._pieces.setdefault((index, member), []).append(item)
            elif member != "type":
                block[member] = item

    def _end(self, event: dict[str, Any]) -> None:
        delta, usage = event.get("delta"), event.get("usage")
        self.message |= delta if isinstance(delta, dict) else {}
        figures = self.message.get("usage")
        if not isinstance(figures, dict):
            figures = self.message["usage"] = {}
        for name, figure in (usage if isinstance(usage, dict) else {}).items():
            if figure is not None or name not in figures:
                figures[name] = figure
        others = ("type", "delta", "usage")
        self.message |= {key: item for key, item in event.items() if key not in others}

    def _join(self) -> None:
        """Give each block what its deltas said."""
        for (index, member), pieces in self._pieces.items():
            block = self._blocks.get(index, {})
            text = "".join(pieces)
            if member == "partial_json":
                if text.strip():
                    block["input"] = object_of(text)
            else:
                given = block.get(member)
                block[member] = given + text if isinstance(given, str) else text
        self._pieces.clear()
