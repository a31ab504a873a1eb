"""The words of the protocol: the types of events, of items and of parts.

An event's type is made of a stem and a verb: ``response.output_text`` and ``delta``. The stem names
what the event is about, and with it the kind of its item. These tables are all that the
wire knows of types. A type that is in none of them passes as it came.
"""

from __future__ import annotations

from typing import Any, NamedTuple

CREATED = "response.created"
IN_PROGRESS = "response.in_progress"
QUEUED = "response.queued"
COMPLETED = "response.completed"
INCOMPLETE = "response.incomplete"
FAILED = "response.failed"
ADDED = "response.output_item.added"
DONE = "response.output_item.done"
PART_ADDED = "response.content_part.added"
PART_DONE = "response.content_part.done"
SUMMARY_ADDED = "response.reasoning_summary_part.added"
SUMMARY_DONE = "response.reasoning_summary_part.done"
ERROR = "error"

TERMINAL = {COMPLETED: "completed", INCOMPLETE: "incomplete", FAILED: "failed"}
# types whose event holds a response, with the status that it has where it names none
STATUS = {CREATED: "in_progress", IN_PROGRESS: "in_progress", QUEUED: "queued", **TERMINAL}
# the type of a response object that names no type of event, by its status
BY_STATUS = {
    "completed": COMPLETED,
    "failed": FAILED,
    "incomplete": INCOMPLETE,
    "cancelled": INCOMPLETE,
}

SILENT = frozenset(
    (
        *("ping", "keepalive", "keep-alive", "keep_alive", "heartbeat"),
        *("response.heartbeat", "response.ping", "response.keepalive"),
    )
)

SYNONYMS = {
    "response.reasoning_part.added": PART_ADDED,
    "response.reasoning_part.done": PART_DONE,
    "response.reasoning.delta": "response.reasoning_text.delta",
    "response.reasoning.done": "response.reasoning_text.done",
    "response.reasoning_content.delta": "response.reasoning_text.delta",
    "response.reasoning_content.done": "response.reasoning_text.done",
    "response.reasoning_summary.part.added": SUMMARY_ADDED,
    "response.reasoning_summary.part.done": SUMMARY_DONE,
    "response.reasoning_summary.delta": "response.reasoning_summary_text.delta",
    "response.reasoning_summary.done": "response.reasoning_summary_text.done",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    "response.error": ERROR,
}
# These mean only that the answer is over: the status of the response tells how it ended.
ENDINGS = {"response.done": COMPLETED, "response.cancelled": INCOMPLETE}
ENDINGS["response.canceled"] = INCOMPLETE


class Text(NamedTuple):
    """A kind of text that comes in deltas.

    * ``stem``: of its events' types; ``kind``: of the items that have it; ``key``: the member that
      holds the whole, in its `done` and in its part.
    * ``place``: the item's list of the parts that hold it, or the item's own member.
    * ``number``: the event's member that numbers the part, "" for a text that has no parts.
    * ``part``: the part's type; ``counted``: its name in the report.
    """

    stem: str
    kind: str
    key: str
    place: str
    number: str
    part: str
    counted: str

    @property
    def delta(self) -> str:
        return f"response.{self.stem}.delta"

    @property
    def done(self) -> str:
        return f"response.{self.stem}.done"


OUTPUT_TEXT = Text(
    "output_text", "message", "text", "content", "content_index", "output_text", "content"
)
REFUSAL = Text("refusal", "message", "refusal", "content", "content_index", "refusal", "refusal")
REASONING = Text(
    "reasoning_text", "reasoning", "text", "content", "content_index", "reasoning_text", "reasoning"
)
SUMMARY = Text(
    *("reasoning_summary_text", "reasoning", "text", "summary"),
    *("summary_index", "summary_text", "reasoning"),
)
ARGUMENTS = Text(
    *("function_call_arguments", "function_call", "arguments", "arguments", "", ""), "arguments"
)
INPUT = Text("custom_tool_call_input", "custom_tool_call", "input", "input", "", "", "arguments")

TEXTS = (OUTPUT_TEXT, REFUSAL, REASONING, SUMMARY, ARGUMENTS, INPUT)
DELTAS = {text.delta: text for text in TEXTS}
DONES = {text.done: text for text in TEXTS}
CALLS = {text.kind: text for text in (ARGUMENTS, INPUT)}
# the texts of parts, by the part's type, within each kind of item
PARTS = {
    "message": {text.part: text for text in (OUTPUT_TEXT, REFUSAL)},
    "reasoning": {text.part: text for text in (REASONING, SUMMARY)},
}
PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "web_search_call": "ws",
    "file_search_call": "fs",
    "code_interpreter_call": "ci",
    "image_generation_call": "ig",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcpl",
}
# Kinds whose events may come before the item was added, so that the item is made up for them.
EVENTFUL = frozenset(
    (
        *("web_search_call", "file_search_call", "code_interpreter_call"),
        *("image_generation_call", "mcp_call", "mcp_list_tools"),
    )
)

# Stems of the API's other events; one that is not here is unknown to strict readers.
_OTHERS = (
    *("output_item", "content_part", "reasoning_summary_part", "output_text.annotation"),
    *("code_interpreter_call", "code_interpreter_call_code", "file_search_call"),
    *("web_search_call", "image_generation_call", "mcp_call", "mcp_call_arguments"),
    *("mcp_list_tools", "audio", "audio.transcript"),
)
_STEMS = frozenset((*_OTHERS, *(text.stem for text in TEXTS)))
PRIVATE = ("codex.", "responsesapi.")


def is_known(kind: str) -> bool:
    """Return whether the API's own description has this type of event."""
    if kind in STATUS or kind == ERROR:
        return True
    return kind.startswith("response.") and kind[9:].rpartition(".")[0] in _STEMS


def as_text(value: Any) -> str:
    """The value if it is a text, else ""."""
    return value if isinstance(value, str) else ""


def as_index(value: Any) -> int | None:
    """The value if it can number something, else None."""
    return value if type(value) is int and value >= 0 else None


def kind_of_item(item: dict[str, Any]) -> str:
    """The type of an item, guessed by its members where it names none."""
    kind = item.get("type")
    if kind and isinstance(kind, str):
        return kind
    if "arguments" in item:
        return "function_call"
    return "reasoning" if "summary" in item else "message"
