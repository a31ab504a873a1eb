"""docs/cassettes.md, read from the top: each example runs, and each table is what the code says."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import httpx
import pytest
import yaml

from normalizer import pytest_plugin
from normalizer.cassette import faults, imports
from normalizer.cassette._playing import BREAKS
from normalizer.cassette.format import (
    Cassette,
    End,
    Interaction,
    Metadata,
    RecordedRequest,
    RecordedResponse,
    dump,
    dumps,
    loads,
)
from normalizer.cassette.scrub import ScrubOptions
from normalizer.cli.cassette.serving import _FaultAt
from tests.conftest import DONE, HELLO, PATIENCE, ROLE, STOP, STREAM, WORLD, answering

PAGE = Path(__file__).parents[1] / "docs" / "cassettes.md"
TEXT = PAGE.read_text(encoding="utf-8")
UPSTREAM = "http://localhost:8000"
PROGRAM = "stream-normalizer"
MODULES = {PROGRAM: "normalizer"}


class Block(NamedTuple):
    """A fenced block and the number of its first line."""

    language: str
    text: str
    line: int


def blocks() -> Iterator[Block]:
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
        yield Block(match[1], match[2], TEXT[: match.start()].count("\n") + 2)


def table(first: str) -> list[list[str]]:
    """The rows of the table whose first heading this is, without that of the headings."""
    (found,) = re.findall(rf"^\| {first} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in found.splitlines()]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# ---------------------------------------------------------------- the examples


class Reader:
    """Somebody who does what the page says, in a folder of their own."""

    def __init__(self, folder: Path, upstream: str) -> None:
        self.folder = folder
        self.places = {UPSTREAM: upstream}
        self.names: dict[str, Any] = {}
        self.servers: list[subprocess.Popen[str]] = []

    def here(self, text: str) -> str:
        for page, place in self.places.items():
            text = text.replace(page, place)
        return text

    def there(self, text: str) -> str:
        for page, place in self.places.items():
            text = text.replace(place, page)
        return text

    def python(self, block: Block) -> None:
        if name := re.match(r"# (test_\w+\.py)\n", block.text):
            (self.folder / name[1]).write_text(self.here(block.text), encoding="utf-8")
            return
        # the line numbers of the page, for the traceback of an example that fails
        source = "\n" * (block.line - 1) + self.here(block.text)
        exec(compile(source, str(PAGE), "exec"), self.names)  # noqa: S102

    def console(self, block: Block) -> None:
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, *said = part.splitlines()
            program, *arguments = shlex.split(self.here(command))
            if program == PROGRAM and arguments[0] in ("record", "replay"):
                self.server(arguments, said)
            elif program == "curl":
                self.curl(arguments)
            else:
                self.run(program, arguments, said)

    def run(self, program: str, arguments: list[str], said: list[str]) -> None:
        # Hypothesis writes a folder into the project
        more = ["-pno:hypothesispytest"] if program == "pytest" else []
        done = subprocess.run(
            [sys.executable, "-m", MODULES.get(program, program), *more, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env=without_settings(),
        )
        output = self.there(done.stdout + done.stderr)
        assert done.returncode == 0, output
        if program == PROGRAM:
            assert like(said).fullmatch(output), f"{said}\n\n{output}"

    def server(self, arguments: list[str], said: list[str]) -> None:
        server = subprocess.Popen(
            [sys.executable, "-m", "normalizer", *arguments, "--port", "0"],
            cwd=self.folder,
            stderr=subprocess.PIPE,
            text=True,
            env=without_settings(),
        )
        self.servers.append(server)
        assert server.stderr is not None
        first = server.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", first)
        page = re.search(r"http://127\.0\.0\.1:\d+", said[0])
        assert found, first
        assert page
        self.places[page[0]] = found[0]
        assert self.there(first) == said[0] + "\n"
        assert self.there(server.stderr.readline()) == said[1] + "\n"

    def curl(self, arguments: list[str]) -> None:
        flags, url, header_flag, header, data_flag, data = arguments
        assert (flags, header_flag, data_flag) == ("-sN", "-H", "-d")
        name, _, value = header.partition(": ")
        with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
            answer = client.post(url, content=data, headers={name: value})
        assert answer.content == STREAM

    def end(self) -> None:
        for server in self.servers:
            server.terminate()
            server.communicate(timeout=PATIENCE)


def like(lines: list[str]) -> re.Pattern[str]:
    """What a program said, where … stands for anything, and a line of it for any number of them."""
    patterns = [
        "(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + "\n" for line in lines
    ]
    return re.compile("".join(patterns))


def without_settings() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}


@pytest.fixture
def reader(
    tmp_path: Path, serve: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Reader]:
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    async def soon() -> None:
        # so that the pieces do not arrive as one
        await asyncio.sleep(0.03)

    upstream = serve(answering(ROLE, soon, HELLO, soon, WORLD, soon, STOP, DONE))
    url = f"{upstream}/v1/chat/completions"

    (tmp_path / "answer.sse").write_bytes(STREAM)
    (tmp_path / "ask.json").write_text('{"stream": true}')
    head = {"status": 200, "headers": []}
    content = {"mimeType": "text/event-stream", "text": STREAM.decode()}
    request = {"method": "POST", "url": url, "headers": []}
    entry = {"request": request, "response": {**head, "content": content}}
    (tmp_path / "chat.example.com.har").write_text(json.dumps({"log": {"entries": [entry]}}))
    asked = RecordedRequest(
        method="POST",
        uri=url,
        headers=(("content-type", "application/json"),),
        body=b'{"stream": true}',
    )
    shared = Cassette(
        Metadata(), (Interaction(asked, RecordedResponse.from_chunks([ROLE, HELLO, DONE])),)
    )
    for module in ("test_marked", "test_snapshot", "test_pair"):
        dump(shared, tmp_path / "cassettes" / module / "shared.yaml")

    reader = Reader(tmp_path, upstream)
    yield reader
    reader.end()


def test_every_example_runs(reader: Reader) -> None:
    ran = 0
    for block in blocks():
        if block.language == "python":
            reader.python(block)
        elif block.language == "console":
            reader.console(block)
        elif block.language == "toml":
            (reader.folder / "pyproject.toml").write_text(block.text)
            assert tomllib.loads(block.text)
        else:
            assert block.language == "yaml", block
        ran += 1
    assert ran > 20

    # what the examples were to leave behind
    assert (reader.folder / "cassettes/test_chat/test_answer.yaml").exists()
    assert (reader.folder / "exported.sse").read_bytes() == STREAM
    snapshot = reader.folder / "__snapshots__" / "test_snapshot" / "test_stream.sse"
    assert snapshot.read_bytes() == ROLE + HELLO + DONE


# ---------------------------------------------------------------- the file


def format_example() -> str:
    (example,) = (block.text for block in blocks() if block.language == "yaml")
    return example


def test_the_file_is_as_it_is_written() -> None:
    assert dumps(loads(format_example())).removesuffix("...\n") == format_example()


def keys(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict):
        return
    for key, each in value.items():
        here = f"{path}.{key}" if path else key
        yield here
        yield from keys(each, "" if here == "interactions" else here)


def test_every_key_of_the_file_is_explained() -> None:
    explained = {word for row in table("key") for word in words(row[0])}
    # a mapping that only holds others needs no row, nor do the names of headers
    used = {
        key
        for key in keys(yaml.safe_load(format_example()))
        if key not in ("request", "response", "response.status", "response.body")
        and ".headers." not in key
    }

    assert used == explained
    fields = {field.name for field in dataclasses.fields(Metadata)} - {"other", "vcrpy"}
    assert {f"stream_normalizer.{field}" for field in fields} <= explained


def test_every_end_is_explained() -> None:
    (row,) = (row for row in table("key") if "`response.stream.end`" in row[0])
    assert words(row[1]) == list(get_args(End))
    raised = {words(row[0])[0]: row[1] for row in table("recorded end")}
    assert set(raised) == set(get_args(End))
    for end, (name, _) in BREAKS.items():
        assert f"`{name}`" in raised[end]


# ---------------------------------------------------------------- the other tables


def test_every_form_is_explained() -> None:
    assert [words(row[0])[0] for row in table("form")] == list(imports.FORMS)


def test_every_fault_is_explained() -> None:
    rows = table("fault")
    for row in rows:
        name = words(row[0])[0].partition("(")[0]
        assert callable(getattr(faults, name))
        for flag in words(row[2]):
            made = _FaultAt().convert(flag.removeprefix("--fault "), None, None)
            assert type(made).__name__ == name
    there = {
        name
        for name, value in vars(faults).items()
        if isinstance(value, type) and value.__module__ == faults.__name__
        if "__call__" in vars(value) and not name.startswith("_")
    }
    assert {words(row[0])[0].partition("(")[0] for row in rows} == there


def test_every_record_mode_is_explained() -> None:
    explained = [word for row in table("word") for word in words(row[0])]
    assert explained == list(pytest_plugin.RECORD_MODES)


def test_every_filter_is_named() -> None:
    assert [name for name in ScrubOptions.__annotations__ if f"`{name}`" not in TEXT] == []
