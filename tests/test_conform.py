"""The judges that share no code with the package, on every answer that was recorded.

`conform.py` holds what leaves to the contract; `works_today.py` holds what openai-python reads of
it to what it reads of the raw answer. A judge may be wrong: then `JUDGE_IS_WRONG` says why, with
the rule that it gets wrong. A line there whose fault is gone fails the test too.
"""

from __future__ import annotations

import collections
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shared import beside

ROOT = Path(__file__).parents[1]

# CANONICAL.md, section 5, and defects.md, S17: calls whose arguments are all complete, and a clean
# end of the body without a finish and `[DONE]`, finish with `tool_calls`. Ten of eleven frameworks
# run such calls raw, and none does if an error comes in their place. The judges still ask for the
# error that a cut stream gets.
_CALLS_WITHOUT_END = (
    "gemini-openai.chat.codecompanionn.gemini_tools_thought_streaming",
    "tgi.chat.textgeneration.test_flash_llama_grammar_tools_choice_stream.v7b7b4",
    "tgi.chat.textgeneration.test_flash_llama_grammar_tools_choice_stream.vfe2ec",
    "tgi.chat.textgeneration.test_flash_llama_grammar_tools_openai",
)
JUDGE_IS_WRONG = {
    "conform.py": {(stream, "invented") for stream in _CALLS_WITHOUT_END},
    "works_today.py": {(stream, "finish") for stream in _CALLS_WITHOUT_END[1:]},
}


@pytest.mark.parametrize("judge", ["conform.py", "works_today.py"])
def test_the_judge_finds_nothing(judge: str) -> None:
    done = subprocess.run(
        [sys.executable, str(beside(judge)), "--all"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    *lines, last = done.stdout.splitlines()
    faults = [line.split(": ", 2) for line in lines if not line.startswith(("#", "faults by "))]
    broken = collections.defaultdict(set)
    for stream, rule, _ in faults:
        broken[stream].add(rule)
    found = {(stream, rule) for stream, rules in broken.items() for rule in rules}
    assert found == JUDGE_IS_WRONG[judge]
    # the last line counts the answers: a judge that looked at none must not pass
    counts = re.match(r"(\d+) of (\d+) ", last)
    assert counts is not None
    assert int(counts[1]) == int(counts[2]) - len(broken)
    assert int(counts[2]) > 600
