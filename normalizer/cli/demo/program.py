"""One program reads recorded streams with openai's own client: raw, and normalized.

Its cassettes are copies of those of the collection, so that an installed package has them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
from starlette.applications import Starlette

from normalizer import Report
from normalizer.cassette import Cassette, load
from normalizer.catalogue import DEVIATIONS
from normalizer.cli.demo.upstream import Server, base_path, mounts
from normalizer.doors.transport import NormalizingTransport

CASSETTES = Path(__file__).parent / "cassettes"

PROGRAM = """\
for chunk in openai.OpenAI(…).chat.completions.create(stream=True, …):
    choice = chunk.choices[0]
    if choice.finish_reason:
        break  # and for "tool_calls" or "function_call" make the calls
    text += choice.delta.content or ""  # and so for the arguments of calls"""


@dataclasses.dataclass(frozen=True)
class Shown:
    """A cassette, what is wrong with it in a few words, and how it has to end."""

    cassette: str
    title: str
    fault: str
    finish: str
    calls: int = 0


SHOWN = [
    Shown(
        "optillm/before-streaming",
        "OptiLLM, before it could stream",
        "one JSON object in answer to stream=True",
        "stop",
    ),
    Shown("optillm/today-moa", "OptiLLM today", "all the text is on the finish chunk", "stop"),
    Shown("azure/opening-chunk", "Azure OpenAI", "the first chunk has no choices", "stop"),
    Shown(
        "api-for-open-llm/function-call-ends-twice",
        "api-for-open-llm",
        "two finishes: on the chunk with the call, and stop",
        "function_call",
        calls=1,
    ),
    Shown(
        "api-for-open-llm/tool-call-ends-twice",
        "api-for-open-llm on vLLM",
        "two finishes, both stop, although a tool is called",
        "tool_calls",
        calls=1,
    ),
    Shown(
        "ollama/parallel-tool-calls",
        "Ollama",
        "three calls with index 0, and the finish stop",
        "tool_calls",
        calls=3,
    ),
    Shown("vllm/chat-seven-tokens", "vLLM, chat", "the finish comes with the last word", "length"),
    Shown("vllm/completions-seven-tokens", "vLLM, completions", "nothing to repair", "length"),
    Shown("llama-server/text", "llama.cpp, random weights", "nothing to repair", "length"),
]


@dataclasses.dataclass
class Got:
    """What the program holds in the end."""

    chunks: int = 0
    text: str = ""
    finish: str | None = None
    calls: list[list[str]] = dataclasses.field(default_factory=list)
    error: str | None = None

    def read(self, client: openai.OpenAI, request: dict[str, Any]) -> None:
        """The program that is shown, with what it does for tools, and on the legacy endpoint."""
        legacy = "prompt" in request
        endpoint: Any = client.completions if legacy else client.chat.completions
        with endpoint.create(**request) as stream:
            for chunk in stream:
                self.chunks += 1
                choice = chunk.choices[0]
                self.finish = choice.finish_reason
                if legacy:
                    self.text += choice.text
                    continue
                if choice.finish_reason:
                    break
                self.text += choice.delta.content or ""
                for call in choice.delta.tool_calls or []:
                    self._fragment(call.index, call.function)
                if choice.delta.function_call:
                    self._fragment(0, choice.delta.function_call)

    def _fragment(self, index: int, function: Any) -> None:
        if index == len(self.calls):
            self.calls.append([function.name, function.arguments])
        else:
            self.calls[index][1] += function.arguments

    def right(self, shown: Shown, said: str) -> bool:
        whole = all(_is_object(arguments) for _, arguments in self.calls)
        ended = (self.error, self.finish, len(self.calls)) == (None, shown.finish, shown.calls)
        return ended and whole and self.text == said

    def words(self, width: int) -> str:
        if self.error is not None:
            return fit(self.error, width)
        if not self.chunks:
            return fit("nothing at all: no chunk, no exception", width)
        names = {name for name, _ in self.calls}
        if len(self.calls) > 1 and len(names) == 1:
            calls = f"{names.pop()}(…) {len(self.calls)} times"
        else:
            calls = " ".join(f"{name}({arguments})" for name, arguments in self.calls)
        if self.finish in ("tool_calls", "function_call"):
            said = f"calls {calls}" if calls else "calls nothing"
        elif calls:
            said = f"never calls {calls}"
        else:
            # the line breaks of an answer would break the columns
            said = " ".join(self.text.split()) or "no text"
        end = f" · {self.finish}"
        return fit(fit(said, width - len(end)).rstrip() + end, width)


def read(url: str, request: dict[str, Any], http: Any) -> Got:
    got = Got()
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, http_client=http) as client:
        try:
            got.read(client, request)
        except Exception as error:
            got.error = f"{type(error).__name__}: {error}"
    return got


def _path(shown: Shown) -> str:
    return shown.cassette.replace("/", "-")


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def said_by(cassette: Cassette) -> str:
    """All text of a cassette's answer, read without the package: what must not be lost."""
    body = cassette.interactions[0].response.body.decode()
    objects = [line.removeprefix("data:") for line in body.splitlines() if line.startswith("data:")]
    text = ""
    for each in objects or [body]:
        if each.strip() == "[DONE]":
            continue
        for choice in json.loads(each)["choices"]:
            held = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
            text += held.get("content") or ""
    return text


# ---------------------------------------------------------------- on the screen

WIDTH = 98
HALF = (WIDTH - 3) // 2
COLOURED = sys.stdout.isatty() and "NO_COLOR" not in os.environ
BOLD, FAINT, RED, GREEN, CYAN = "1", "2", "31", "32", "36"


def paint(colour: str, text: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if COLOURED else text


def columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def fit(text: str, width: int) -> str:
    """The text padded to a width, with its middle left out where it is longer."""
    if columns(text) <= width:
        return text + " " * (width - columns(text))
    head, tail = text, ""
    while columns(tail) < width // 3:
        head, tail = head[:-1], head[-1] + tail
    while columns(head) + 1 + columns(tail) > width:
        head = head[:-1]
    return fit(f"{head}…{tail}", width)


def beside(left: str, right: str) -> str:
    return f"{left} {paint(FAINT, '│')} {right}".rstrip()


def outcome(got: Got, right: bool) -> str:
    mark = paint(GREEN, "✓") if right else paint(RED, "✗")
    return f"{mark} {got.words(HALF - 2)}"


def repairs(report: Report) -> Iterator[str]:
    """What was repaired, in lines that fit the right column."""
    names = {deviation.code: deviation.name for deviation in DEVIATIONS}
    line = ""
    for each in [f"{code} {names[code]}" for code in report.codes] or ["unchanged"]:
        if line and len(line) + len(each) + 2 > HALF - 2:
            yield f"{line},"
            line = ""
        line = f"{line}, {each}" if line else each
    yield line


def show(shown: Shown, cassette: Cassette, raw: str, ours: str, report: Report) -> None:
    origin = cassette.metadata.origin
    print(f"\n{paint(BOLD, shown.title)}  {shown.fault}  {paint(FAINT, f'({origin})')}")
    print(beside(raw, ours))
    for line in repairs(report):
        print(beside(" " * HALF, "  " + paint(FAINT, line)))


def main() -> int:
    """Print what each stream becomes. Return 1 if one is wrong through the transport, else 0."""
    cassettes = {shown: load(CASSETTES / f"{shown.cassette}.yaml") for shown in SHOWN}
    upstream = Starlette(
        routes=mounts({_path(shown): cassette for shown, cassette in cassettes.items()})
    )
    print("Servers with OpenAI's API, read by OpenAI's own client:\n")
    for line in PROGRAM.splitlines():
        print("    " + paint(CYAN, line))
    print("\n" + beside(fit("raw", HALF), "through NormalizingTransport, with its repairs"))
    right = [0, 0]
    with Server(upstream) as server:
        for shown, cassette in cassettes.items():
            request = json.loads(cassette.interactions[0].request.body)
            said = said_by(cassette)
            reports: list[Report] = []
            transport = NormalizingTransport(on_report=reports.append)
            url = f"{server.address}/{_path(shown)}{base_path(cassette)}"
            raw = read(url, request, openai.DefaultHttpxClient())
            ours = read(url, request, openai.DefaultHttpxClient(transport=transport))
            good = raw.right(shown, said), ours.right(shown, said)
            show(shown, cassette, outcome(raw, good[0]), outcome(ours, good[1]), reports[0])
            right = [before + now for before, now in zip(right, good, strict=True)]
    print(
        f"\nRight raw: {right[0]} of {len(SHOWN)}. "
        f"Right through NormalizingTransport: {right[1]} of {len(SHOWN)}."
    )
    return 0 if right[1] == len(SHOWN) else 1
