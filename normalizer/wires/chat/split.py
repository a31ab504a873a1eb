"""A choice with content and its finish, as two: first the content, then the finish."""

from __future__ import annotations

from normalizer.wires.chat.blank import Blank
from normalizer.wires.chat.chunk import TEXT_KEYS, Choice


def split(choice: Choice, blank: Blank) -> tuple[Choice, Choice]:
    """The choice without its finish, and the finish alone.

    Log probabilities and the like belong to the text, all other members to the finish. Members that
    every chunk of the choice has had are on both, null on the one that they do not belong to.
    """
    index = choice["index"]
    chat = "delta" in choice or "text" not in choice
    text: Choice = {"index": index}
    finish: Choice = {"index": index}
    for key, value in choice.items():
        if key in ("delta", "text") or key in TEXT_KEYS:
            text[key] = value
            # a client that reads it on each chunk finds a null
            if key == "logprobs":
                finish[key] = None
        elif key != "index":
            finish[key] = value
    if chat:
        finish["delta"] = dict(blank.of_delta(index))
        delta = text.setdefault("delta", {})
        if isinstance(delta, dict):
            text["delta"] = {**delta, **_lacking(blank.of_delta(index), delta)}
    else:
        finish["text"] = ""
    members = blank.of_choice(index)
    text.update(_lacking(members, text))
    finish.update(_lacking(members, finish))
    text["finish_reason"] = None
    return text, finish


def _lacking(members: Choice, there: Choice) -> Choice:
    return {key: None for key in members if key not in there}
