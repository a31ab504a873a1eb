"""Ten recorded streams that break every client raw: what each client holds then, and what is right.

Each is a cassette. The clients are openai-python, LangChain, openai-node, LangChain JS and the AI
SDK, all of them in front of the upstream itself, and in front of `stream-normalizer serve`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from normalizer.cassette.format import load
from normalizer.cli.demo.upstream import mounts

CASSETTES = Path(__file__).parents[1] / "cassettes"
PYTHON = ("openai-python", "langchain")
JAVASCRIPT = ("openai-node", "langchain-js", "ai-sdk")


@dataclasses.dataclass(frozen=True)
class Held:
    """What the user of a client holds in the end."""

    text: str = ""
    finish: str | None = None
    # name and arguments of each call, parsed if they are JSON
    calls: tuple[tuple[str, Any], ...] = ()
    # input and output
    usage: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Failed:
    """The client raised, with these words in what it said."""

    words: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Failed) and (
            self.words in other.words or other.words in self.words
        )

    __hash__ = None  # type: ignore[assignment]


Outcome = Held | Failed


@dataclasses.dataclass(frozen=True)
class Broken:
    """A cassette, what is wrong with it, what is right, and what each client holds without us."""

    cassette: str
    fault: str
    right: Outcome
    raw: dict[str, Outcome]

    def __post_init__(self) -> None:
        assert set(self.raw) == {*PYTHON, *JAVASCRIPT}
        assert all(held != self.right for held in self.raw.values()), self.cassette

    @property
    def name(self) -> str:
        """As it can stand in a path."""
        return self.cassette.replace("/", "-")

    @property
    def path(self) -> Path:
        return CASSETTES / f"{self.cassette}.yaml"

    @property
    def request(self) -> dict[str, Any]:
        request: dict[str, Any] = json.loads(load(self.path).interactions[0].request.body)
        return request


def call(name: str, arguments: str) -> tuple[str, Any]:
    """A call as it is held; arguments that are no JSON stay the text that they are."""
    try:
        return name, json.loads(arguments)
    except ValueError:
        return name, arguments


def counts(usage: Iterable[int | None] | None) -> tuple[int, int] | None:
    """A usage as it is held; what it does not say is 0."""
    if not usage:
        return None
    first, second = usage
    return first or 0, second or 0


def _all(held: Outcome, **others: Outcome) -> dict[str, Outcome]:
    """One outcome for all clients, but for some of them."""
    named = {name.replace("_", "-"): other for name, other in others.items()}
    return {**dict.fromkeys((*PYTHON, *JAVASCRIPT), held), **named}


_THOUGHT = "Thought: 我需要查一下杭州的天气。"
_HANGZHOU = Held(_THOUGHT, "tool_calls", (("get_weather", {"city": "杭州"}),))
_LEGACY = Held(_THOUGHT, "function_call")
_RESOURCES = "insufficient_system_resource"
_MOONS = Held("Mars has two moons: Pho", _RESOURCES)
_TRAINS = (
    ("find_train", {"origin": "Graz", "destination": "Linz"}),
    ("find_train", {"origin": "Linz", "destination": "Wels"}),
)
_GEMINI = Held("", "tool_calls", _TRAINS, (71, 31))
_PANDAS = Held("大熊猫以竹子为食，住在山林里。", "stop", (), (13, 11))  # noqa: RUF001
_CITIES = ({"city": "Oslo"}, {"city": "Lima"}, {"city": "Perth", "unit": "celsius"})
_WEATHERS = Held("", "tool_calls", tuple(("get_weather", city) for city in _CITIES))
_MERGED = "".join(json.dumps(city, separators=(",", ":")) for city in _CITIES)
_THINKING = "<thinking>Two plus two; <reflection>ok</reflection></thinking>"
_OPTILLM = Held(f"{_THINKING}<output>Hello wörld 4</output>", "stop")
_TGI = Held("", "tool_calls", _TRAINS[:1])
_EOS = Held("The Biobio.", "stop", (), (41, 7))
_NO_FINISH = Failed("Response stream ended without a finish reason")


def _ended(held: Held, finish: str | None) -> Held:
    return dataclasses.replace(held, finish=finish)


TEN = (
    Broken(
        "api-for-open-llm/tool-call-ends-twice",
        "ends twice, with stop, although a tool is called",
        _HANGZHOU,
        _all(
            _ended(_HANGZHOU, "stop"),
            langchain=_ended(_HANGZHOU, "stopstop"),
            langchain_js=_ended(_HANGZHOU, "stopstop"),
        ),
    ),
    Broken(
        "api-for-open-llm/function-call-ends-twice",
        "ends twice: with the call, and with stop",
        _LEGACY,
        _all(
            _ended(_LEGACY, "stop"),
            langchain=_ended(_LEGACY, "function_callstop"),
            langchain_js=_ended(_LEGACY, "function_callstop"),
        ),
    ),
    Broken(
        "deepseek/out-of-resources",
        "half an answer, whose finish means that the server gave up",
        Failed(f"The upstream finished with '{_RESOURCES}'"),
        _all(_MOONS, ai_sdk=_ended(_MOONS, "other")),
    ),
    Broken(
        "gemini-openai/parallel-tool-calls",
        "calls without an index and without an id, stop, usage on every chunk",
        _GEMINI,
        {
            "openai-python": Failed("list indices must be integers or slices, not NoneType"),
            # and the usage of three chunks is added up
            "langchain": dataclasses.replace(_GEMINI, finish="stop", usage=(213, 78)),
            "openai-node": dataclasses.replace(_GEMINI, finish="stop", calls=()),
            "langchain-js": dataclasses.replace(_GEMINI, finish="stop", calls=()),
            "ai-sdk": _ended(_GEMINI, "stop"),
        },
    ),
    Broken(
        "minimax/base-resp-error",
        "an error in a shape of its own, in a chunk whose choices are null",
        Failed("rate limit exceeded"),
        {
            "openai-python": Held(usage=(0, 0)),
            "langchain": Held(usage=(0, 0)),
            "openai-node": Failed("Cannot read properties of null (reading '0')"),
            "langchain-js": Held(usage=(0, 0)),
            "ai-sdk": Failed("Type validation failed"),
        },
    ),
    Broken(
        "moonshot/usage-in-choice",
        "the usage that was asked for is inside of the choice",
        _PANDAS,
        _all(dataclasses.replace(_PANDAS, usage=None)),
    ),
    Broken(
        "ollama/parallel-tool-calls",
        "three calls, all with index 0, that end with stop",
        _WEATHERS,
        {
            **_all(_ended(_WEATHERS, "stop")),
            "openai-python": Held("", "stop", (("get_weather", _MERGED),)),
            "openai-node": Held("", "stop", (("get_weather", _MERGED),)),
        },
    ),
    Broken(
        "optillm/before-streaming",
        "one JSON completion in answer to stream: true",
        _OPTILLM,
        _all(Held(), langchain=Failed("No generations found in stream"), ai_sdk=_NO_FINISH),
    ),
    Broken(
        "tgi/tool-call-object",
        "tool_calls that is no list, and stop",
        _TGI,
        {
            "openai-python": Failed("'str' object has no attribute 'function'"),
            "langchain": Failed("string indices must be integers"),
            "openai-node": Failed("object is not iterable"),
            "langchain-js": Held("", "stop"),
            "ai-sdk": Failed("Type validation failed"),
        },
    ),
    Broken(
        "together/eos",
        "a finish in another word",
        _EOS,
        _all(_ended(_EOS, "eos"), ai_sdk=_ended(_EOS, "other")),
    ),
)


def upstream() -> Starlette:
    """Answers with a cassette on ``/<name>/…``; what a client adds to the request is its own."""
    return Starlette(routes=mounts({one.name: one.path for one in TEN}, match_on=("method",)))
