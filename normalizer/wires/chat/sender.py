"""The last step of a chunk: what waits for another chunk is put on it, and it is sent.

Members of a chunk that is not sent itself (*riders*) wait for the next chunk of the stream. A newer
value of a member that waits is progress, which a client may show: then both are sent at once, on
chunks with an empty delta.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.options import Options
from normalizer.core.report import Report
from normalizer.core.wire import Output
from normalizer.wires.chat.blank import Blank
from normalizer.wires.chat.chunk import Chunk, Endpoint, count, count_text, without_extras
from normalizer.wires.chat.stages import Stages


class Sender:
    """Sends the chunks of one stream to an `Output`, and counts what is in them.

    * ``output``: where chunks and comments go.
    * ``last``: the chunk that was sent last.
    * ``rode``: members of other chunks were put on it.
    """

    __slots__ = (
        "_blank",
        "_endpoint",
        "_options",
        "_report",
        "_stages",
        "last",
        "output",
        "rode",
    )

    def __init__(
        self,
        stages: Stages,
        blank: Blank,
        endpoint: Endpoint,
        options: Options,
        report: Report,
        output: Output,
    ) -> None:
        self._stages = stages
        self._blank = blank
        self._endpoint = endpoint
        self._options = options
        self._report = report
        self.output = output
        self.last: Chunk = {}
        self.rode = False

    def send(self, draft: Draft) -> None:
        """Send a chunk, with the members of others that wait for one."""
        riders, chunk = self._stages.riders, draft.value
        self.rode = bool(riders.waiting)
        if self.rode and riders.mount(chunk):
            draft.edit()
        for choice in chunk["choices"]:
            delta = choice.get("delta")
            if not isinstance(delta, dict):
                count_text(self._report.characters_out, choice.get("text"))
                continue
            if "tool_calls" in delta:
                requested = self._stages.tools.as_requested(choice["index"], delta)
                if requested is not delta:
                    draft.edit()
                    choice["delta"] = requested
            if delta:
                count(self._report.characters_out, delta)
        if self._options.extras == "drop" and self._drops_all(draft):
            return
        self.last = chunk
        self.output.send(draft)

    def _drops_all(self, draft: Draft) -> bool:
        """Remove what the API does not have; return whether nothing is left to be sent."""
        raw, chunk = draft.raw, draft.edit()
        if not without_extras(chunk):
            draft.raw = raw
            return False
        return all(
            choice.get("delta") == {}
            and choice.get("finish_reason") is None
            and not choice.get("logprobs")
            for choice in chunk["choices"]
        ) and not chunk.get("usage")

    def ride(self, draft: Draft, index: int) -> bool:
        """Keep the members of a chunk that is not sent itself for the next one.

        ``index`` is the choice that came last. Return whether there was anything new.
        """
        riders, chunk = self._stages.riders, draft.value
        # nobody reads after the finish: what is new goes on an error, or on the usage chunk
        if index in self._stages.finish.left:
            return riders.take(chunk, self.last)
        progress = riders.progress(chunk)
        if progress:
            self.send_riders(index)
        news = riders.take(chunk, self.last)
        # what waits is bounded: a server may send a new member with each of its chunks
        if progress or riders.full:
            self.send_riders(index)
        return news

    def send_riders(self, index: int) -> None:
        """Send what waits on chunks of its own: one for each value of a member."""
        riders = self._stages.riders
        while riders.waiting:
            waiting = riders.count
            self._send_empty(index)
            # nothing left with it: another try would go on for ever
            if riders.count == waiting:
                return

    def _send_empty(self, index: int) -> None:
        """Send a chunk with an empty delta for what waits; the first of a choice has its role."""
        content = self._stages.content
        opens = self._endpoint == "chat" and not content.is_open(index)
        if opens:
            content.open(index)
        self.send_new(index, {"role": "assistant", "content": ""} if opens else {})

    def send_new(self, index: int, delta: dict[str, Any]) -> None:
        """Send a chunk of our own for a choice."""
        self.send(self._blank.chunk(index, delta))

    def ride_on_error(self, event: dict[str, Any]) -> bool:
        """Put what waits for a chunk on an error event; return whether there was anything."""
        before = len(event)
        self._stages.riders.mount(event)
        for key, value in self._stages.riders.rest():
            event.setdefault("extras", []).append({key: value})
        return len(event) != before
