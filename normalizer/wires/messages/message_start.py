"""`message_start`: the first event but for pings, exactly one.

Clients copy its message and add to it, and read its members without asking; so every member of the
form is filled in. It leaves when it comes and is not waited for: where a block comes first, a start
is made up. A later one is then left out, as is one that only comes again; its figures go into the
last `message_delta`. But a start with another id behind content begins another answer: a gateway
has tried again. The first attempt has left and cannot be taken back, so the stream ends there.
"""

from __future__ import annotations

from typing import Any

from normalizer.core.draft import Draft
from normalizer.core.findings import Deviation, Findings
from normalizer.core.kept import CHUNK, Kept
from normalizer.core.report import Report
from normalizer.wires.messages.deltas import words
from normalizer.wires.messages.ids import made_up
from normalizer.wires.messages.outgoing import Outgoing
from normalizer.wires.messages.usage import Usage

START_MISSING = Deviation(
    code="M201",
    name="message-start-missing",
    fault="The first block or `message_delta` comes before any `message_start`.",
    repair="A `message_start` is added in front.",
    structural=True,
)
START_REPEATED = Deviation(
    code="M202",
    name="message-start-repeated",
    fault="A second `message_start` comes.",
    repair="It is left out, and its figures go into the last `message_delta`.",
    structural=True,
)
START_FORM = Deviation(
    code="M203",
    name="message-start-form",
    fault="The message has no `id`, `type`, `role`, `model`, `content` or stop members.",
    repair="The id is made up, the model is the request's, the others are the form's.",
)
REASON_IN_START = Deviation(
    code="M204",
    name="stop-reason-in-start",
    fault="`message_start` has a stop reason.",
    repair="It becomes null there, and is used if no other comes before `message_stop`.",
)
CONTENT_IN_START = Deviation(
    code="M205",
    name="content-in-start",
    fault="`message_start` has text, thinking or other blocks in its `content`.",
    repair="They become blocks of their own, but for `tool_use` blocks, which the API sends there.",
    structural=True,
)
START_WRAPPER = Deviation(
    code="M206",
    name="message-not-wrapped",
    fault="`message_start` has the members of its message beside its type.",
    repair="They move into `message`.",
    structural=True,
)
SPLICED = Deviation(
    code="M207",
    name="spliced-generations",
    fault="A `message_start` with another id comes behind content: a gateway tried again.",
    repair="The stream ends in an error, because the first attempt has left.",
    structural=True,
)

_STRINGS = {"type": "message", "role": "assistant"}
_FORM = ("id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage")


def fill_message(found: Findings, draft: Draft, message: dict[str, Any], model: str | None) -> None:
    """Fill in the members of a message but for its content, stop reason and usage."""
    for name, wanted in _STRINGS.items():
        if message.get(name) != wanted and found(START_FORM):
            draft.edit()
            message[name] = wanted
    for name in ("id", "model"):
        if not _string(message.get(name)) and found(START_FORM):
            draft.edit()
            message[name] = made_up("msg_") if name == "id" else model or "unknown"


class MessageStart:
    """Sends the one `message_start`.

    * ``sent``: it has left, the upstream's or ours.
    * ``content``: blocks that were taken out of it, in their order; who sends them clears it.
    * ``calls``: the calls that stay in it.
    * ``reason``: the stop reason that it had, or "".
    """

    __slots__ = (
        "_early",
        "_found",
        "_ident",
        "_kept",
        "_made_up",
        "_model",
        "_out",
        "_report",
        "_usage",
        "calls",
        "content",
        "reason",
        "sent",
    )

    def __init__(
        self,
        found: Findings,
        report: Report,
        kept: Kept,
        out: Outgoing,
        usage: Usage,
        model: str | None,
    ) -> None:
        self._found = found
        self._report = report
        self._kept = kept
        self._out = out
        self._usage = usage
        self._model = model
        self._made_up = False
        self._ident = ""  # as the upstream said it
        self._early: list[Draft] = []  # events of unknown types that came before
        self.sent = False
        self.content: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        self.reason = ""

    @property
    def waits(self) -> bool:
        """Whether anything came that waits for the start."""
        return bool(self._early)

    def wait(self, draft: Draft) -> None:
        """Keep an event until the start has left."""
        self._kept.keep(CHUNK)
        self._early.append(draft)

    def require(self) -> None:
        """Make sure that a start has left."""
        if self.sent:
            return
        self._found(START_MISSING)
        self._made_up = True
        message = {"id": made_up("msg_"), "type": "message", "role": "assistant"}
        message |= {"model": self._model or "unknown"}
        form: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None}
        usage = {"input_tokens": 0, "output_tokens": 0}
        self._usage.learn(usage)
        self._send(Draft({"type": "message_start", "message": {**message, **form, "usage": usage}}))

    def first(self, draft: Draft) -> None:
        """Give the first start its form and send it."""
        message = self._message(draft)
        self._ident = _string(message.get("id"))
        fill_message(self._found, draft, message, self._model)
        self._take_content(draft, message)
        for name in ("stop_reason", "stop_sequence"):
            given = message.get(name, "")
            if given is None:
                continue
            if name == "stop_reason":
                self.reason = _string(given)
            if self._found(REASON_IN_START if given else START_FORM):
                draft.edit()
                message[name] = None
        self._usage.start(draft, message)
        self._send(draft)

    def again(self, draft: Draft, *, content: bool) -> str:
        """Leave out a further start; ``content``: blocks have come.

        What the two ids are, in words, if it begins another answer; else "".
        """
        message = self._message(draft)
        ident = _string(message.get("id"))
        other = ident not in ("", self._ident) and self._ident != ""
        if other and content and not self._made_up:
            self._found(SPLICED)
            return f"{ident!r} behind {self._ident!r}"
        self._found(START_REPEATED)
        self._made_up = False
        self._ident = self._ident or ident
        self._usage.elsewhere(message.get("usage"))
        self.reason = self.reason or _string(message.get("stop_reason"))
        if not content:
            self.content = _blocks(message.get("content"))
        self._out.ride(message, _FORM)
        return ""

    def send_early(self) -> None:
        """Send what waited."""
        early, self._early = self._early, []
        for draft in early:
            self._out.send(draft)

    def _send(self, draft: Draft) -> None:
        message = draft.value["message"]
        self._report.id = _string(message.get("id")) or None
        self._report.model = _string(message.get("model")) or None
        self.sent = True
        self._out.send(draft)
        self.send_early()

    def _message(self, draft: Draft) -> dict[str, Any]:
        """The message of a start, wrapped if it was not."""
        message = draft.value.get("message")
        if isinstance(message, dict):
            return message
        self._found(START_WRAPPER)
        value = draft.edit()
        message = {key: item for key, item in value.items() if key not in ("type", "message")}
        value.clear()
        value.update({"type": "message_start", "message": message})
        return message

    def _take_content(self, draft: Draft, message: dict[str, Any]) -> None:
        """Take blocks out of the start that are none of the calls that the API puts there."""
        content = message.get("content")
        if not isinstance(content, list):
            if self._found(CONTENT_IN_START if content else START_FORM):
                draft.edit()["message"]["content"] = []
            self.content = _blocks(content)
            return
        self.calls = [block for block in content if _is_call(block)]
        if len(self.calls) != len(content):
            self._found(CONTENT_IN_START)
            draft.edit()["message"]["content"] = self.calls
            self.content = [as_block(block) for block in content if not _is_call(block)]


def as_block(value: Any) -> dict[str, Any]:
    """A block of content; a text block where it is no object."""
    return value if isinstance(value, dict) else {"type": "text", "text": words(value)}


def _blocks(content: Any) -> list[dict[str, Any]]:
    content = content if isinstance(content, list) else [content] if content else []
    return [as_block(block) for block in content]


def _is_call(block: Any) -> bool:
    return (
        isinstance(block, dict)
        and block.get("type") == "tool_use"
        and all(_string(block.get(name)) for name in ("id", "name"))
        and isinstance(block.get("input"), dict)
    )


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
