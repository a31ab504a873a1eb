"""The servers that are recorded, how each is started, and what each is asked.

The commands are those of ../shared/recipes/README.md. `{bin}` is the folder of the programs of the
server's own environment, `{recipes}` that folder, `{source}` a checkout where one is needed (a
llama.cpp source tree, OptiLLM's repository), `{work}` a temporary folder.
"""

from __future__ import annotations

import dataclasses
from typing import Any

CHAT = "/chat/completions"
COMPLETIONS = "/completions"


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One cassette: its name, the request, and the sentence that says what it shows."""

    name: str
    body: dict[str, Any]
    shows: str
    path: str = CHAT


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A server and how to get it going.

    ``serve`` are the commands that run until all is recorded, each with the base URL it answers
    at, the recorded one last; ``prepare`` are run before, to their end. ``version`` is a text, or
    a command that says it, if it starts with ``{bin}``.
    """

    folder: str
    server: str
    version: str
    serve: tuple[tuple[str, str], ...]
    cases: tuple[Case, ...]
    prepare: tuple[str, ...] = ()
    note: str = ""

    @property
    def url(self) -> str:
        """The base URL of the server that is recorded."""
        return self.serve[-1][0]


def _ask(model: str, question: str, **more: Any) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": question},
    ]
    return {"model": model, "messages": messages, "stream": True, **more}


_WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "Current weather of a city",
    "parameters": {
        "type": "object",
        # Random weights write a string without an end; of an enum they can only choose.
        "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
        "required": ["city"],
    },
}
_TOOLS = [{"type": "function", "function": _WEATHER}]
_FORCED = {"type": "function", "function": {"name": "get_weather"}}
_USAGE = {"include_usage": True}
_TINY = "A random two-layer model, so the text means nothing."
_STUB = "In front of the recipes' stub_openai.py."


def _tiny(question: str, **more: Any) -> dict[str, Any]:
    return _ask("tiny", question, **{"seed": 7, "max_tokens": 24, **more})


def _prompt(**more: Any) -> dict[str, Any]:
    return {"model": "tiny", "prompt": "Once upon a time", "stream": True, "seed": 7, **more}


_STUB_SERVER = ("http://127.0.0.1:18000/v1", "{bin}/python {recipes}/stub_openai.py 18000")
_FOUR = "What is two plus two?"

UPSTREAMS = {
    "optillm": Upstream(
        folder="optillm",
        server="OptiLLM",
        version="{bin}/python -c \"import importlib.metadata as m; print(m.version('optillm'))\"",
        serve=(
            _STUB_SERVER,
            (
                "http://127.0.0.1:18120/v1",
                "{bin}/optillm --host 127.0.0.1 --port 18120 --base-url http://127.0.0.1:18000/v1",
            ),
        ),
        note=_STUB,
        cases=(
            Case(
                "today-moa",
                _ask("moa-gpt-4o-mini", _FOUR),
                "The whole answer, its role and its finish in one chunk.",
            ),
            Case(
                "today-re2",
                _ask("re2-gpt-4o-mini", _FOUR, stream_options=_USAGE),
                "Usage asked for and not sent; the whole answer in one chunk.",
            ),
            Case(
                "today-none",
                _ask("none-gpt-4o-mini", _FOUR),
                "The proxied model's stream is gathered and sent as one chunk, then a finish.",
            ),
            Case(
                "today-none-tools",
                _ask("none-tools", "Weather in Paris?", tools=_TOOLS),
                "A tool call of the proxied model, whole in one chunk.",
            ),
            Case(
                "today-two-answers",
                _ask("re2|cot_reflection-gpt-4o-mini", _FOUR),
                "Two approaches at once: two choices, though n is 1.",
            ),
        ),
    ),
    "optillm-0.0.18": Upstream(
        folder="optillm",
        server="OptiLLM",
        version="0.0.18",
        serve=(
            _STUB_SERVER,
            (
                "http://127.0.0.1:18121/v1",
                "{bin}/python {source}/optillm.py --port 18121 --base-url http://127.0.0.1:18000/v1",
            ),
        ),
        note=f"{_STUB} The wheel of PyPI, unpacked.",
        cases=(
            Case(
                "first-streaming-moa",
                _ask("moa-gpt-4o-mini", _FOUR),
                "One chunk without id, object, created and role, with text and finish together.",
            ),
            Case(
                "first-streaming-none-error",
                _ask("none-gpt-4o-mini", _FOUR),
                "The approach none cannot stream yet: status 500 and an error that is a bare text.",
            ),
        ),
    ),
    "optillm-before-streaming": Upstream(
        folder="optillm",
        server="OptiLLM",
        version="git 5452b80 (2024-09)",
        serve=(
            _STUB_SERVER,
            (
                "http://127.0.0.1:8000/v1",
                "{bin}/python {source}/optillm.py --base_url http://127.0.0.1:18000/v1",
            ),
        ),
        note=f"{_STUB} A checkout from before commit 408c733, which brought streaming.",
        cases=(
            Case(
                "before-streaming",
                _ask("moa-gpt-4o-mini", _FOUR),
                "stream: true answered with one JSON completion that has no id, object or created.",
            ),
        ),
    ),
    "llama-cpp-python": Upstream(
        folder="llama-cpp-python",
        server="llama-cpp-python",
        version='{bin}/python -c "import importlib.metadata as m;'
        " print(m.version('llama_cpp_python'))\"",
        prepare=("{bin}/python {recipes}/mkgguf.py {work}/tiny.gguf",),
        serve=(
            (
                "http://127.0.0.1:18100/v1",
                (
                    "{bin}/python -m llama_cpp.server --host 127.0.0.1 --port 18100 --seed 7"
                    " --model {work}/tiny.gguf --model_alias tiny --n_ctx 2048 --n_threads 1"
                    " --chat_format chatml-function-calling"
                ),
            ),
        ),
        note=_TINY,
        cases=(
            Case("text", _tiny("Say hello."), "Plain text; the role comes without a content."),
            Case(
                "usage", _tiny("Say hello.", stream_options=_USAGE), "Usage asked for and not sent."
            ),
            Case("length-three", _tiny("Say hello.", max_tokens=3), "Cut at max_tokens 3."),
            Case(
                "tools-forced",
                _tiny("Weather?", tools=_TOOLS, tool_choice=_FORCED, max_tokens=64),
                "A forced tool: each delta holds the call twice, as tool_calls and function_call.",
            ),
            Case(
                "tools-forced-cut",
                _tiny("Weather?", tools=_TOOLS, tool_choice=_FORCED, max_tokens=6),
                "Arguments cut at max_tokens 6, and the finish says tool_calls.",
            ),
            Case(
                "functions-forced",
                _tiny(
                    "Weather?",
                    functions=[_WEATHER],
                    function_call={"name": "get_weather"},
                    max_tokens=64,
                ),
                "The legacy functions, answered in both forms, with the finish tool_calls.",
            ),
            Case(
                "n-two",
                _tiny("Say hello.", n=2, max_tokens=6),
                "n of 2 asked for, one choice sent.",
            ),
            Case(
                "logprobs",
                _tiny("Say hello.", logprobs=True, top_logprobs=2, max_tokens=6),
                "Log probabilities.",
            ),
            Case("completions", _prompt(max_tokens=12), "Legacy completions.", COMPLETIONS),
            Case(
                "completions-logprobs",
                _prompt(max_tokens=6, logprobs=2),
                "Legacy completions with log probabilities.",
                COMPLETIONS,
            ),
        ),
    ),
    "llama-server": Upstream(
        folder="llama-server",
        server="llama-server (llama.cpp)",
        version="{bin}/llama-server --version",
        prepare=("{bin}/python {recipes}/mkgguf_tools.py {work}/tiny.gguf",),
        serve=(
            (
                "http://127.0.0.1:18105/v1",
                (
                    "{bin}/llama-server --host 127.0.0.1 --port 18105 -m {work}/tiny.gguf"
                    " --alias tiny -c 8192 -t 1 -np 2 --jinja --seed 7 --offline"
                    " --chat-template-file"
                    " {source}/models/templates/meta-llama-Llama-3.1-8B-Instruct.jinja"
                ),
            ),
        ),
        note=f"{_TINY} The template is Llama 3.1's.",
        cases=(
            Case(
                "text",
                _tiny("Say hello."),
                "Plain text; the first piece holds two events, and timings ride on the finish.",
            ),
            Case(
                "usage",
                _tiny("Say hello.", stream_options=_USAGE),
                "Usage asked for: a chunk without choices, with timings of the server's own.",
            ),
            Case("length-three", _tiny("Say hello.", max_tokens=3), "Cut at max_tokens 3."),
            Case(
                "tools-required",
                _tiny("Weather?", tools=_TOOLS, tool_choice="required", max_tokens=200),
                "Text, then a tool call whose head holds the first of its arguments.",
            ),
            Case(
                "tools-required-cut",
                _tiny("Weather?", tools=_TOOLS, tool_choice="required", max_tokens=104),
                "A tool call cut in mid-arguments, at max_tokens 104.",
            ),
            Case(
                "logprobs",
                _tiny("Say hello.", logprobs=True, top_logprobs=2, max_tokens=6),
                "Log probabilities.",
            ),
            Case(
                "completions",
                _prompt(max_tokens=12),
                "Legacy completions: usage on the finish, unasked; the id is a chat's.",
                COMPLETIONS,
            ),
            Case(
                "completions-usage",
                _prompt(max_tokens=12, stream_options=_USAGE),
                "Legacy completions, usage asked for: it is on the finish.",
                COMPLETIONS,
            ),
        ),
    ),
}
