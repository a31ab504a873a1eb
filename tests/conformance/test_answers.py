"""Each answer that lies in the repository leaves canonical, and so does what left of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from normalizer import RequestInfo
from tests.conformance.answers import RECORDED, Answer, cassettes, examples, recorded
from tests.shared import beside
from tools.choose_recorded import PRIVATE

FILES = sorted(RECORDED.rglob("*.json"))
SMALL = 4_000  # bytes of an answer that is fed byte by byte
NAMES_OF_APIS = {
    "chat.completions": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "anthropic.messages": "/v1/messages",
}


def assert_canonical(answers: Iterable[Answer]) -> int:
    """The number of the answers; an AssertionError names the first that is not canonical."""
    count = 0
    for answer in answers:
        count += 1
        out = answer.normalized()
        assert answer.faults(out) == [], answer.name
        if len(answer.raw) <= SMALL:
            assert answer.faults(answer.normalized(1)) == [], answer.name
        again = answer._replace(raw=out)
        assert again.normalized() == out, answer.name
    return count


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_recorded_answers_leave_canonical(file: Path) -> None:
    assert assert_canonical(recorded(file)) > 0


def test_cassettes_leave_canonical() -> None:
    assert assert_canonical(cassettes()) > 90


def test_the_examples_of_the_catalogue_leave_canonical() -> None:
    assert assert_canonical(examples()) > 220


def test_the_recorded_answers_are_of_all_three_apis() -> None:
    assert {file.parent.name for file in FILES} == {
        "chat-completions",
        "completions",
        "messages",
        "responses",
    }
    assert sum(1 for file in FILES for _ in recorded(file)) > 300


def test_all_that_was_recorded_leaves_canonical() -> None:
    """What lies beside the repository too: the answers of other projects are there only."""
    assert assert_canonical(_shared()) > 900


def _shared() -> Iterator[Answer]:
    for folder in ("captures", "corpus", "responses", "messages"):
        for file in sorted(beside(folder).rglob("*.json")):
            item = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(item, dict) or "response" not in item or item.get("options"):
                continue
            asked, response = item["request"], item["response"]
            path = urlsplit(asked.get("url") or "").path or NAMES_OF_APIS.get(item["api"], "")
            request = asked.get("json") if isinstance(asked.get("json"), dict) else {}
            request = {"messages": [], "stream": True, **request}
            known = RequestInfo.parse(path, request).endpoint is not None
            if known and request["stream"] is True and (response.get("status") or 200) < 300:
                yield Answer(str(file), path, request, _body(response))


def _body(response: dict[str, str | list[dict[str, str]]]) -> bytes:
    chunks = response.get("chunks")
    if isinstance(chunks, list):
        return b"".join(base64.b64decode(one["b64"]) for one in chunks)
    if "body_utf8" in response:
        return str(response["body_utf8"]).encode("utf-8", "surrogatepass")
    return base64.b64decode(str(response["body_b64"]))


def test_the_recorded_answers_are_our_own_and_name_nobody() -> None:
    for file in FILES:
        assert not PRIVATE.search(file.read_text(encoding="utf-8")), file
        for one in json.loads(file.read_text(encoding="utf-8")):
            assert one["source"].startswith(("captured from ", "written ")), one["name"]
