"""Choose the recorded streams that lie in tests/recorded, out of those beside the repository.

`../shared` has a thousand and more streams. The repository has those which are the project's own:
captures of servers that the project ran, and streams that were written for it. What other
projects recorded stays outside, whatever its licence.

Of each server and API, an answer is chosen if it shows what no smaller one shows: a deviation that
the report names, or a member or a type of event at a place of its own. So the choice has every
form and is still short. Of the requests only that remains which decides how an answer is read.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from normalizer import Normalizer, RequestInfo

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
FOLDERS = ("captures", "corpus", "responses", "messages")
OUR_OWN = {
    "own capture",
    "none: written for this project",
    "own reconstruction",
    "own words",
}
DEFAULT_PATHS = {
    "chat.completions": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "anthropic.messages": "/v1/messages",
}
# what decides how an answer is read; the words of a conversation do not
READ = ("model", "stream", "stream_options", "n", "tool_choice", "function_call")
LONGEST = 40_000  # bytes of an answer
# keys, folders of people and machines, and addresses
PRIVATE = re.compile(
    r"sk-[\w-]{16}|Bearer |hf_\w{20}|AIza|/(?:home|root|work|Users|tmp|mnt)/|[\w.]+@[\w-]+\.\w+|"
    r"(?:\d{1,3}\.){3}\d{2,3}"
)


class Answer(NamedTuple):
    name: str
    server: str
    source: str
    path: str
    request: dict[str, Any]
    body: str

    def normalized(self, request: dict[str, Any]) -> Normalizer:
        normalizer = Normalizer(RequestInfo.parse(self.path, request))
        normalizer.feed(self.body.encode())
        normalizer.close()
        return normalizer


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "tests" / "recorded")
    folder: Path = parser.parse_args(arguments).folder
    groups: dict[tuple[str, str], list[Answer]] = defaultdict(list)
    for answer in _answers():
        api = answer.path.removeprefix("/v1/").replace("/", "-")
        groups[api, answer.server].append(answer)
    chosen = 0
    for (api, server), answers in sorted(groups.items()):
        kept = list(_different(sorted(answers, key=lambda one: (len(one.body), one.name))))
        chosen += len(kept)
        file = folder / api / f"{server}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        written = json.dumps([_written(one) for one in kept], indent=1, ensure_ascii=False)
        file.write_text(written + "\n", encoding="utf-8")
    print(f"{chosen} of {sum(map(len, groups.values()))} answers of {len(groups)} servers")
    return 0


def _answers() -> Iterator[Answer]:
    for folder in FOLDERS:
        for file in sorted((SHARED / folder).rglob("*.json")):
            item = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(item, dict) and _is_an_answer(item):
                yield from _ours(folder, file, item)


def _is_an_answer(item: dict[str, Any]) -> bool:
    """A whole answer, with a status of success, to a request for a stream in default options."""
    if "response" not in item or ("api" in item and item["api"] not in DEFAULT_PATHS):
        return False
    if item.get("options") or (item["request"].get("method") or "POST") != "POST":
        return False
    return int(item["response"].get("status") or 200) < 300


def _ours(folder: str, file: Path, item: dict[str, Any]) -> Iterator[Answer]:
    source = _source(folder, item)
    path = urlsplit(item["request"].get("url") or "").path or DEFAULT_PATHS[item["api"]]
    request = _reduced(item["request"].get("json"), path)
    body = _body(item["response"])
    if source is None or body is None or not path.startswith("/v1/") or len(body) > LONGEST:
        return
    if RequestInfo.parse(path, request).endpoint is None or request.get("stream") is not True:
        return
    if PRIVATE.search(body) or PRIVATE.search(json.dumps([request, source])):
        return
    name = item.get("id") or ".".join(file.relative_to(SHARED / folder).with_suffix("").parts)
    server = item.get("server") or item.get("provider") or folder
    answer = Answer(name, server.replace(" ", "-").lower(), source, path, request, body)
    asked = item["request"].get("json")
    if isinstance(asked, dict):  # what is left out of the request must not matter
        whole = answer.normalized({**asked, "stream": True})
        if whole.report.codes != answer.normalized(request).report.codes:
            return
    yield answer


def _source(folder: str, item: dict[str, Any]) -> str | None:
    """Where an answer of our own comes from; None of one that another project recorded."""
    if folder == "captures":
        return f"captured from {item['version']}"
    source = item.get("source")
    if not isinstance(source, dict):
        return "written for this project" if item.get("license") in OUR_OWN else None
    if "reconstructed_from" in source:
        return f"written after {source['reconstructed_from']}"
    if source.get("license") == "own capture":
        return f"captured from {item.get('version') or item.get('server') or item['provider']}"
    return f"written after {source['repo']}" if source.get("license") in OUR_OWN else None


def _body(response: dict[str, Any]) -> str | None:
    """The body as text; None where it is no valid UTF-8, which a text file cannot hold."""
    if "chunks" in response:
        raw = b"".join(base64.b64decode(one["b64"]) for one in response["chunks"])
    elif "body_utf8" in response:
        raw = response["body_utf8"].encode("utf-8", "surrogatepass")
    else:
        raw = base64.b64decode(response["body_b64"])
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _reduced(asked: Any, path: str) -> dict[str, Any]:
    if not isinstance(asked, dict):
        asked = {"stream": True}
    reduced = {key: asked[key] for key in READ if key in asked}
    for key in ("tools", "functions"):
        if isinstance(asked.get(key), list):
            reduced[key] = [_tool(one) for one in asked[key]]
    if path.endswith("/messages"):
        reduced.setdefault("stream", True)
        reduced["messages"] = []
    return reduced


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {key: tool[key] for key in ("type", "name") if key in tool}
    if isinstance(tool.get("function"), dict):
        kept["function"] = {"name": tool["function"].get("name")}
    return kept


def _different(answers: list[Answer]) -> Iterator[Answer]:
    """The answers of one server that show what none before them shows."""
    seen: set[str] = set()
    for answer in answers:
        normalizer = answer.normalized(answer.request)
        shown = {*normalizer.report.codes, f"end {normalizer.report.end}"}
        for line in answer.body.splitlines():
            shown.update(_forms(line))
        if not shown <= seen:
            yield answer
        seen |= shown


def _forms(line: str) -> Iterator[str]:
    """The members of a line's JSON with their places, and what kind of value each has."""
    field, _, data = line.partition(":")
    try:
        value = json.loads(data if field == "data" else line)
    except ValueError:
        yield line if field == "event" else field[:1]
        return
    yield from _places(value, "")


def _places(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _places(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for inner in value[:3]:
            yield from _places(inner, f"{place}[]")
    else:
        word = value if place.endswith(("type", "reason", "status")) else type(value).__name__
        yield f"{place}={word}"


def _written(answer: Answer) -> dict[str, Any]:
    """An answer as the file has it: an event of the body is a line of the file."""
    return {
        "name": answer.name,
        "source": answer.source,
        "path": answer.path,
        "request": answer.request,
        "body": re.findall(r".*?(?:\r?\n\r?\n|\Z)", answer.body, re.DOTALL)[:-1],
    }
