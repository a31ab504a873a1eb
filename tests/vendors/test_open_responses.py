"""What leaves us keeps the streaming rules of Open Responses: its schemas, and its order of events.

The schemas are those of its specification, as the types of the package openresponses-types. The
order is that of its page on streaming: a response begins and ends once, an item is added before its
parts and done behind them, and so is a part with its text.

Four things are not asked for, because the law is to lose and to invent nothing:

* Members of the response that upstreams have in ways of their own, or leave out. The specification
  demands some thirty of them, and clients do without.
* An error in the flat form, which OpenAI documents, and what an upstream put into its error or
  its logprobs.
* Events that the specification does not know. It lets others through, and OpenAI has more:
  `response.reasoning_text.delta` is one, whose name in the specification few clients know.
* Kinds of items and annotations that it does not know, such as OpenAI's `mcp_call`.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest

from normalizer import Normalizer, Options, RequestInfo
from tests.shared import beside
from tests.vendors.conftest import demand
from tests.vendors.responses_deviations import CLEAN, DEVIATIONS, Deviation

demand("openresponses_types")

types: Any = importlib.import_module("openresponses_types.types")
pydantic: Any = importlib.import_module("pydantic")

# The type of the event that each of the specification's models describes.
MODELS: dict[str, Any] = {
    next(iter(model.model_fields["type"].annotation)).value: model
    for name, model in vars(types).items()
    if name.endswith("StreamingEvent")
}
TERMINAL = ("response.completed", "response.incomplete", "response.failed")
# The members of a response that every client needs: these are ours to get right.
OURS = {"id", "object", "created_at", "status", "model", "output", "usage", "error"}
# Nobody else knows them; what a usage holds is ours again.
UPSTREAMS = {("response", "usage"), ("response", "error")}
KNOWN = {
    *("message", "function_call", "function_call_output", "reasoning", "compaction"),
    "url_citation",
}
REQUEST = b'{"model":"m","stream":true,"input":"hi"}'


def events_of(body: bytes) -> list[dict[str, Any]]:
    lines = body.decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def left(body: bytes, request: bytes = REQUEST) -> list[dict[str, Any]]:
    """The events that leave us."""
    normalizer = Normalizer(RequestInfo.parse("/v1/responses", request), Options())
    return events_of(normalizer.feed(body) + normalizer.close())


def faults(event: dict[str, Any]) -> list[Any]:
    """Where an event does not keep its schema."""
    model = MODELS.get(event["type"])
    is_flat = event["type"] == "error" and "error" not in event
    if model is None or is_flat or not kinds(event) <= KNOWN:
        return []
    try:
        model.model_validate(event)
    except pydantic.ValidationError as error:
        return [one for one in error.errors() if not is_upstreams(one["loc"])]
    return []


def kinds(event: dict[str, Any]) -> set[str]:
    """The kinds of the items and annotations in an event."""
    items = [event.get("item"), *(event.get("response", {}).get("output") or ())]
    found = [one for one in (event.get("annotation"), *items) if one]
    for part in (event.get("part"), *(part for one in items if one for part in contents(one))):
        found += (part or {}).get("annotations", ())
    return {one["type"] for one in found}


def contents(item: dict[str, Any]) -> list[dict[str, Any]]:
    content = item.get("content")
    return content if isinstance(content, list) else []


def is_upstreams(place: tuple[str | int, ...]) -> bool:
    """Whether it is the upstream's affair what stands in this place of an event."""
    if place in UPSTREAMS or (place[0] == "error" and len(place) > 1) or "logprobs" in place:
        return True
    return place[0] == "response" and not OURS.issuperset(place[1:2])


class Order:
    """Which items and parts are open, event by event; an event out of its order fails."""

    def __init__(self) -> None:
        self.items: dict[int, str] = {}
        self.open: set[tuple[Any, ...]] = set()
        self.number = -1

    def take(self, event: dict[str, Any]) -> None:
        assert event["sequence_number"] > self.number
        self.number = event["sequence_number"]
        scope, _, step = event["type"].removeprefix("response.").rpartition(".")
        if "output_index" in event and event["type"] in MODELS:
            self._inside(event, scope, step)

    def _inside(self, event: dict[str, Any], scope: str, step: str) -> None:
        place = event["output_index"]
        if scope == "output_item":
            ident = event["item"]["id"]
            if step == "added":
                assert place == len(self.items)
                self.items[place] = ident
            assert self.items[place] == ident
            self._step((place,), step)
            return
        assert self.items[place] == event["item_id"]
        assert (place,) in self.open
        part = (place, *(event[key] for key in ("content_index", "summary_index") if key in event))
        if scope.endswith("_part"):
            self._step(part, step)
        elif not scope.startswith("function_call"):
            assert part in self.open

    def _step(self, owner: tuple[Any, ...], step: str) -> None:
        if step == "added":
            assert owner not in self.open
            self.open.add(owner)
        else:
            assert not any(one[: len(owner)] == owner for one in self.open if one != owner)
            self.open.remove(owner)


def test_the_specification_has_the_events_that_are_judged() -> None:
    assert len(MODELS) > 20
    assert {*TERMINAL, "response.output_text.delta", "error"} <= set(MODELS)


def judge(events: list[dict[str, Any]]) -> None:
    assert [fault for event in events for fault in faults(event)] == []
    order = Order()
    for event in events:
        order.take(event)
    found = [event["type"] for event in events if event["type"] != "error"]
    assert found[0] == "response.created"
    assert [kind for kind in found if kind in TERMINAL] == found[-1:]
    # a failed response leaves open what was open when it failed
    assert not order.open or found[-1] == "response.failed"


@pytest.mark.parametrize("one", [*CLEAN, *DEVIATIONS], ids=lambda one: one.name)
def test_what_leaves_us_keeps_the_schemas_and_the_order(one: Deviation) -> None:
    judge(left(one.body))


def test_recorded_streams_keep_them_too() -> None:
    judged = 0
    for path in sorted(beside("responses").rglob("*.json")):
        scenario = json.loads(path.read_text(encoding="utf-8"))
        if path.name == "index.json" or not is_judged(scenario):
            continue
        body = scenario["response"]["body_utf8"].encode()
        try:
            judge(left(body, json.dumps(scenario["request"]["json"]).encode()))
        except AssertionError as error:
            raise AssertionError(path.name) from error
        judged += 1
    assert judged > 200


def is_judged(scenario: dict[str, Any]) -> bool:
    """Whether a stream was asked for from its beginning, and answered with status 200."""
    request, response = scenario["request"], scenario["response"]
    asked = (request.get("json") or {}).get("stream") is True and request["method"] == "POST"
    return asked and response["status"] == 200 and "body_utf8" in response


def test_the_deviations_themselves_break_the_rules() -> None:
    def is_broken(one: Deviation) -> bool:
        order = Order()
        try:
            for event in events_of(one.body):
                assert faults(event) == []
                order.take(event)
        except (AssertionError, KeyError):
            return True
        return False

    assert sum(is_broken(one) for one in DEVIATIONS) >= 12
    assert not any(is_broken(one) for one in CLEAN)
