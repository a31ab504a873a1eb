"""The page of `stream-normalizer view`, in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from normalizer.cli.group import normalizer
from tests.streams import chunk, raw, text

CASSETTES = Path(__file__).parents[2] / "cassettes"
Open = Callable[..., Any]


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens the page of files; whatever it complains about, or loads, fails the test."""
    wrong: list[str] = []
    pages = []

    def open_page(*files: Path, **context: Any) -> Any:
        made = tmp_path / "view.html"
        result = CliRunner().invoke(normalizer, ["view", *map(str, files), "-o", str(made)])
        assert result.exit_code == 0, result.output
        page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **context})
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.on("request", lambda one: wrong.extend([one.url][: one.url.startswith("http")]))
        page.goto(made.as_uri())
        page.wait_for_selector(".row")
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert wrong == []


def rows(page: Any) -> list[str]:
    return [" ".join(row.split()) for row in page.locator(".row").all_inner_texts()]


def test_an_opening_chunk_of_azure(opened: Open) -> None:
    page = opened(CASSETTES / "azure/opening-chunk.yaml")
    assert "IndexError: list index out of range" in page.inner_text("#raw .outcome")
    assert page.inner_text("#ours .outcome") == "✓ ends with stop"
    assert "joins #2" in rows(page)[0]
    assert "first event after 380 ms" in page.inner_text("#scale")


def test_a_call_that_ends_twice(opened: Open) -> None:
    page = opened(CASSETTES / "api-for-open-llm/tool-call-ends-twice.yaml")
    assert "the calls are never made" in page.inner_text("#summary")
    page.click("#codes button:has-text('S508')")
    assert page.input_value("#filter") == "code:S508"
    (row,) = rows(page)
    assert "finish stop" in row
    page.click(".row")
    page.click("#detail summary:has-text('S508')")
    assert "what is wrong" in page.inner_text("#detail details[open] dl")


def test_a_stream_that_is_cut(opened: Open, tmp_path: Path) -> None:
    cut = tmp_path / "cut.sse"
    cut.write_bytes(raw(*text("Hel"), done=False) + b'data: {"choices":[{"del')
    page = opened(cut)
    assert "it never ends" in page.inner_text("#raw .outcome")
    assert "StreamError" in page.inner_text("#ours .outcome")


@pytest.mark.parametrize(
    ("cassette", "outcome"),
    [
        ("openai/responses-reasoning-call", "✓ ends with tool_calls"),
        ("openai/responses-error-in-mid-stream", "✗ StreamError"),
        ("anthropic/messages-thinking-text-call", "✓ ends with tool_use"),
        ("anthropic/messages-overloaded", "✗ StreamError"),
    ],
)
def test_the_other_apis(opened: Open, cassette: str, outcome: str) -> None:
    page = opened(CASSETTES / f"{cassette}.yaml")
    assert page.inner_text("#ours .outcome").startswith(outcome)


def test_several_answers(opened: Open) -> None:
    page = opened(CASSETTES / "openai", CASSETTES / "anthropic")
    assert page.locator("#answers option").count() == 4
    page.select_option("#answers", "1")
    assert "responses-reasoning-call" in page.inner_text("#about")
    assert "call find_train" in page.inner_text("#rows")


def test_the_keyboard(opened: Open) -> None:
    page = opened(CASSETTES / "azure/opening-chunk.yaml")
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.inner_text(".row.chosen .number >> nth=0") == "#2"
    assert "prompt_filter_results" in page.inner_text("#detail")
    page.keyboard.press("k")
    assert page.inner_text(".row.chosen .number >> nth=0") == "#1"
    page.keyboard.press("Escape")
    assert page.is_hidden("#detail")
    page.keyboard.press("/")
    page.keyboard.type("changed")
    assert page.input_value("#filter") == "changed"
    assert 0 < len(rows(page)) < 10


def test_the_filter(opened: Open) -> None:
    page = opened(CASSETTES / "azure/opening-chunk.yaml")
    everything = page.inner_text("#count")
    page.fill("#filter", "text:minerals")
    assert page.inner_text("#count") == "1 of " + everything
    page.fill("#filter", "-text:minerals")
    assert page.inner_text("#count").startswith(str(int(everything.split()[0]) - 1))
    page.fill("#filter", "code:E2 joins")
    assert rows(page) == []
    page.fill("#filter", "code:e210")
    assert len(rows(page)) == 1


@pytest.mark.parametrize(("scheme", "back"), [("light", "255, 255, 255"), ("dark", "20, 22, 26")])
def test_both_colour_schemes(opened: Open, scheme: str, back: str) -> None:
    page = opened(CASSETTES / "azure/opening-chunk.yaml", color_scheme=scheme)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == f"rgb({back})"


def test_a_phone(opened: Open) -> None:
    page = opened(
        CASSETTES / "ollama/parallel-tool-calls.yaml", viewport={"width": 390, "height": 844}
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    came, left = page.locator(".row >> nth=0").locator("> span").all()[::2]
    assert left.bounding_box()["y"] > came.bounding_box()["y"]
    page.click(".row >> nth=0")
    assert page.locator("#detail").bounding_box()["width"] == 390


def test_a_hostile_answer_is_text(opened: Open, tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)><b>bold"
    bad = tmp_path / "bad.sse"
    bad.write_bytes(raw(*text(hostile), {**chunk({}, hostile), hostile: hostile}))
    page = opened(bad)
    assert hostile in page.inner_text("#ours pre")
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert hostile in page.inner_text("#detail")
    assert page.locator("img, b:text('bold')").count() == 0


def test_ten_thousand_events(opened: Open, tmp_path: Path) -> None:
    many = tmp_path / "many.sse"
    many.write_bytes(raw(*text(*(f" word{n}" for n in range(10000))), chunk({}, "stop")))
    page = opened(many)
    assert page.inner_text("#count") == "10005 rows"
    assert page.locator(".row").count() < 100
    page.evaluate("document.getElementById('list').scrollTop = 1e9")
    page.wait_for_selector(".row:has-text('word9999')")
    assert page.locator(".row").count() < 100


def test_copies_an_issue(opened: Open, tmp_path: Path) -> None:
    said = "a ``` b sk-aaaaaaaaaaaaaaaaaaaaaaaa"
    body = raw(*text("Hi"), chunk({"content": said}, id="other"), chunk({}, "stop"))
    bad = tmp_path / "bad.sse"
    bad.write_bytes(body)
    page = opened(bad)
    page.click("#issue")
    said = page.input_value("#copy textarea")
    assert re.search(r"^- `E202` \S+, 1.: ", said, re.MULTILINE)
    (shown,) = re.findall(r"^data: (.*)$", said, re.MULTILINE)
    assert json.loads(shown)["id"] == "other"
    assert "sk-aaa" not in shown
    assert shown.count("*") == 24
