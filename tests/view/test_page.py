"""The page as a file: what is in it, and what it forbids. tests/stories opens it in a browser."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from normalizer import Options, RequestInfo
from normalizer.cassette.format import (
    Cassette,
    Interaction,
    Metadata,
    RecordedRequest,
    RecordedResponse,
    load,
)
from normalizer.view.page import page
from normalizer.view.recording import view_of
from tests.streams import STREAM, chunk, raw, text

CASSETTES = Path(__file__).parents[2] / "cassettes"
REQUEST = RequestInfo.parse("/v1/chat/completions", STREAM)


def view(name: str) -> dict[str, Any]:
    cassette = load(CASSETTES / f"{name}.yaml")
    request = cassette.interactions[0].request
    info = RequestInfo.parse(request.uri, request.body)
    return view_of(cassette, 0, info, Options(), name=name)


def of_body(body: bytes) -> dict[str, Any]:
    response = RecordedResponse.from_chunks([body])
    request = RecordedRequest(method="POST", uri="http://localhost/v1/chat/completions")
    cassette = Cassette(Metadata(), (Interaction(request, response),))
    return view_of(cassette, 0, REQUEST, Options(), name="made")


def data_in(made: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', made, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_tells_what_a_program_gets_on_both_sides() -> None:
    seen = view("azure/opening-chunk")
    assert seen["raw"]["complaint"] == "IndexError: list index out of range"
    assert seen["ours"]["complaint"] == ""
    assert seen["rules"]["E210"]["name"] == "choices-empty"


def test_has_the_times_of_the_recording() -> None:
    seen = view("azure/opening-chunk")
    cassette = load(CASSETTES / "azure/opening-chunk.yaml")
    times = cassette.interactions[0].response.times
    came = [one["at"] for one in seen["records"] if one["type"] == "came"]
    assert came[0] == pytest.approx(times[0] / 1000)
    assert came[-1] == pytest.approx(times[-1] / 1000)
    assert seen["timed"]


def test_keys_are_masked_in_what_is_passed_on() -> None:
    key = "sk-" + "a1" * 20
    seen = of_body(raw(*text(key), chunk({}, "stop")))
    (one,) = [record for record in seen["records"] if key in record.get("raw", "")]
    assert key not in one["masked"]
    assert "masked" not in seen["records"][1]


def test_a_hostile_answer_stays_in_its_json() -> None:
    hostile = "</script><!--<script>alert(1)</script>{title}{script}"
    made = page([of_body(raw(*text(hostile), chunk({}, "stop")))], title="<b>&")
    assert made.count("<script") == 2
    assert "<title>&lt;b&gt;&amp;</title>" in made
    assert data_in(made)["answers"][0]["ours"]["text"] == hostile


def test_the_policy_lets_in_nothing_but_its_own_script_and_style() -> None:
    made = page([of_body(raw(*text("Hi"), chunk({}, "stop")))])
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', made)
    assert found is not None
    policy = html.unescape(found[1])
    assert policy.startswith("default-src 'none'; ")
    for name, directive in (("style", "style-src"), ("script", "script-src")):
        (inline,) = re.findall(rf"<{name}>(.*?)</{name}>", made, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy


def test_loads_nothing() -> None:
    made = page([view("openai/" + next((CASSETTES / "openai").glob("*.yaml")).stem)])
    shell = made.replace(re.findall(r'id="data">(.*?)</script>', made, re.DOTALL)[0], "")
    assert not re.findall(r"\b(?:src|href)=|url\(|@import|innerHTML|https?://", shell)
