"""Where the deviations of the Messages API are in an event. The form is that of `places`."""

from __future__ import annotations

_DELTA_WORDS = ("delta.text", "delta.thinking", "delta.partial_json", "delta")
_BLOCK_WORDS = ("content_block.text!", "content_block.thinking!", "content_block.signature!")
_ID = ("content_block.id", "content.*.id")
_INPUT = ("delta.partial_json", "content_block.input!", "content_block.input")
_REASON = ("delta.stop_reason!", "delta.stop_reason", "stop_reason", "type")
_USAGE = ("message.usage", "usage", "message", "type")

MEMBERS: dict[str, tuple[str, ...]] = {
    "M101": ("type",),
    "M102": ("type",),
    "M103": ("type",),
    "M105": ("type",),
    "M201": ("type",),
    "M202": ("message.id", "type"),
    "M203": ("message.role", "message.content"),
    "M204": ("message.stop_reason",),
    "M205": ("message.content",),
    "M206": ("message",),
    "M207": ("message.id",),
    "M301": ("index",),
    "M302": ("index", "type"),
    "M303": ("index", "type"),
    "M304": ("type",),
    "M305": ("index", "type"),
    "M306": ("delta.type", "type"),
    "M307": ("type",),
    "M308": ("content_block.signature", "content_block"),
    "M309": (*_BLOCK_WORDS, "content_block"),
    "M310": ("delta.type",),
    "M311": _DELTA_WORDS,
    "M312": _DELTA_WORDS,
    "M313": ("index", "type"),
    "M314": ("index", "type"),
    "M401": _ID,
    "M402": _ID,
    "M403": (*_ID, "index", "type"),
    "M404": ("content_block.name", "type"),
    "M405": ("content_block.input!",),
    "M406": _INPUT,
    "M407": ("index", "type"),
    "M408": _INPUT,
    "M409": ("index", "type"),
    "M410": (*_ID, "type"),
    "M5": _REASON,
    "M507": ("delta.stop_sequence", "delta"),
    "M6": _USAGE,
    "M604": ("delta.usage",),
    "M701": ("error!", "detail", "message", "type"),
    "M705": ("type", "object", "candidates", "message"),
    "M801": ("type", "content"),
    "M802": ("content",),
}

TEXTS = {
    "M104": r"^(?:event|data):.*",
    "M106": r".*\[DONE.*",
    "M702": r".(?=\s*$)",
    "M703": r".(?=\s*$)",
    "M704": r"\S.*",
    "M706": r"\S.*",
}
