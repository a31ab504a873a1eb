"""Every block of every page is tested: here, or in the file that runs its page."""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from normalizer.proxy import Upstream
from tests.docs.commands import commands, refused
from tests.docs.reading import DOCS, PAGES, ROOT, Block, blocks, indented, read

# Pages whose code has a test of its own, and where that is.
RUN_IN = {
    "cassettes.md": "tests/test_docs_cassettes.py",
    "scale.md": "tests/test_docs_scale.py",
    "stages.md": "tests/test_stages.py",
    "stories/2-azure-gradio.md": "tests/stories/test_2_azure_gradio.py",
    "where-to-put-it.md": "tests/test_docs_places.py",
}

DATA: dict[str, Callable[[str], Any]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": lambda text: list(yaml.safe_load_all(text)),
}
COMMANDS = {"console", "sh"}
# what a program prints, or a stream: shown, not run
SHOWN = {"text", "sse", "diff", "jsonl", "html"}


def every(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language in languages]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_language_with_a_test(page: str) -> None:
    known = {*DATA, *COMMANDS, *SHOWN, "python"}
    assert [str(block) for block in blocks(page) if block.language not in known] == []


@pytest.mark.parametrize("block", every(*COMMANDS), ids=str)
def test_commands_can_be_run(block: Block) -> None:
    if block.why:
        pytest.skip(block.why)
    found = list(commands(block.text, prompt=block.language == "console"))
    assert found
    assert {" ".join(words): why for words in found if (why := refused(words))} == {}


@pytest.mark.parametrize("page", PAGES)
def test_indented_commands_can_be_run(page: str) -> None:
    for block in indented(page):
        found = commands(block.text, prompt=False) if _is_command(block) else ()
        assert {" ".join(words): why for words in found if (why := refused(words))} == {}


def _is_command(block: Block) -> bool:
    first = block.text.split(maxsplit=1)[0]
    return first in ("pip", "stream-normalizer", "curl", "vllm") or first.startswith("tools/")


@pytest.mark.parametrize("block", every(*DATA), ids=str)
def test_data_can_be_read(block: Block) -> None:
    if block.why:
        pytest.skip(block.why)
    assert DATA[block.language](block.text)


def test_the_proxy_in_compose_starts_with_these_arguments() -> None:
    (compose,) = blocks("how-to/docker.md", "yaml")
    service = yaml.safe_load(compose.text)["services"]["normalizer"]
    assert refused(["stream-normalizer", "serve", *service["command"]]) is None
    last = int(service["command"][-1])
    assert int(service["stop_grace_period"].removesuffix("s")) > last


@pytest.mark.parametrize(
    ("base", "path", "leads_to"),
    [
        # what the client puts behind its base URL, and where the server has that
        (
            tomllib.loads(next(blocks("how-to/codex.md", "toml")).text)["model_providers"]["local"][
                "base_url"
            ],
            "/responses",
            "http://localhost:8000/v1/responses",
        ),
        (
            json.loads(next(blocks("how-to/claude-code.md", "json")).text)["env"][
                "ANTHROPIC_BASE_URL"
            ],
            "/v1/messages",
            "http://localhost:8000/v1/messages",
        ),
    ],
)
def test_coding_agents_reach_their_api(base: str, path: str, leads_to: str) -> None:
    url = urlsplit(base + path)
    assert url.netloc == "127.0.0.1:8900"
    assert Upstream(url="http://localhost:8000/v1").target(url.path) == leads_to


@pytest.mark.parametrize("block", every("python"), ids=str)
def test_code_compiles_and_is_run_somewhere(block: Block) -> None:
    if block.why:
        pytest.skip(block.why)
    ast.parse(block.text)
    here = (Path(__file__).parent / "test_code.py").read_text(encoding="utf-8")
    name = block.page.removesuffix(".md")
    if block.page in RUN_IN:
        assert Path(block.page).name in (ROOT / RUN_IN[block.page]).read_text(encoding="utf-8")
    else:
        assert f'"{name}"' in here, f"no test in test_code.py runs {block}"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("stream-normalizer serv --upstream http://h", "no such subcommand"),
        ("stream-normalizer serve --upstrem http://h", "No such option"),
        ("stream-normalizer replay chat.yaml --fault cut@x", "cut@x"),
        ("stream-normalizer serve --reasoning none", "none"),
        ("stream-normalizer cassette sow chat.yaml", "no such subcommand"),
        ("curl http://h | stream-normalizer normalise", "no such subcommand"),
        ("pip install 'stream-normalizer[cassete]'", "no such extra"),
        ("NORMALIZER_REASONNG=both vllm serve m", "REASONNG"),
        ("tools/dosc", "no such file"),
        ("normalizer serve", "no such program"),
    ],
)
def test_a_wrong_command_is_refused(command: str, why: str) -> None:
    assert any(why in (refused(words) or "") for words in commands(f"$ {command}", prompt=True))


def test_every_page_is_in_the_menu() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page for page in PAGES if f"- {page}\n" not in text] == []


def test_the_pages_are_short() -> None:
    """How-to pages are read by somebody who wants to do one thing."""
    long = [page for page in PAGES if page.startswith("how-to/") and read(page).count("\n") > 110]
    assert long == []
    assert DOCS.is_dir()
