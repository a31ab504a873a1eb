"""Each fact has one owner: the finish word is read by its stage, first, and by nobody else.

All other files of the wire may write it, and may name it among members that they pass over.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

WIRE = Path(__file__).parents[3] / "normalizer" / "wires" / "chat"
WORDS = {"finish_reason", "finishReason"}
OWNERS = {"finish.py", "words.py"}
# whole answers have no stages: their own files read and repair the word in place
WHOLE = {"body.py", "streamed.py", "gathered.py", "whole_calls.py", "whole_message.py"}
# read the words of finishes that are held or sent, which the stage has read
BEHIND = {"finishes.py", "sender.py"}
READS = {"get", "pop", "setdefault", "__getitem__"}


def reads(source: str) -> Iterator[int]:
    """The lines in which a finish word is read out of an object."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            asked = [node.slice]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            asked = node.args[:1] if node.func.attr in READS else []
        elif isinstance(node, ast.Compare):
            asked = [node.left] if isinstance(node.ops[0], (ast.In, ast.NotIn)) else []
        else:
            continue
        if any(isinstance(one, ast.Constant) and one.value in WORDS for one in asked):
            yield node.lineno


@pytest.mark.parametrize("path", sorted(WIRE.glob("*.py")), ids=lambda path: path.name)
def test_nobody_but_its_stage_reads_the_finish_word(path: Path) -> None:
    found = list(reads(path.read_text(encoding="utf-8")))
    if path.name not in OWNERS | WHOLE | BEHIND:
        assert not found, f"ask the stage: `part.word`, not line {found}"


@pytest.mark.parametrize("name", sorted(BEHIND))
def test_the_words_of_what_is_held_or_sent_are_the_stages(name: str) -> None:
    source = (WIRE / name).read_text(encoding="utf-8")
    found = list(reads(source))
    assert found
    for line in found:
        text = source.splitlines()[line - 1].strip()
        # of chunks that the stages made: held ones, and those about to leave
        assert text.startswith(("if new.choice", "new.choice", "and choice.get")), text


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('choice["finish_reason"]', 1),
        ('choice.get("finishReason")', 1),
        ('"finish_reason" in choice', 1),
        ('choice["finish_reason"] = None', 0),
        ('{"finish_reason": None}', 0),
        ('key not in ("index", "finish_reason")', 0),
    ],
)
def test_what_is_a_read(source: str, count: int) -> None:
    assert len(list(reads(source))) == count


def test_the_owners_are_there() -> None:
    names = {path.name for path in WIRE.glob("*.py")}
    assert names >= OWNERS | WHOLE | BEHIND
    assert list(reads((WIRE / "finish.py").read_text(encoding="utf-8")))
