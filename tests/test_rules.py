"""Every deviation by its own example: found, repaired, and left alone where it is ignored."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from normalizer import Normalizer, OptionError, Options, RequestInfo
from normalizer.catalogue import CODES, DEVIATIONS, Rule, deviation, paired, rule, rules
from normalizer.core.findings import Deviation
from normalizer.wires.chat import envelope
from normalizer.wires.responses import envelope as responses_envelope
from tests.shared import beside
from tools.deviations import Ran, run, unplain

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "normalizer" / "catalogue" / "rules").glob("*.toml"))

# Where the judge, which reads the upstream's bytes for itself, reads them otherwise than we do.
NOT_JUDGED = {
    "F122": "it takes two objects on one line for no JSON",
    "C307": "it takes a number for no text",
    "S511": "a finish that has left is followed by text: only reported, not repaired",
    "U609": "a usage that comes too late has no place any more: only reported, not repaired",
    "R707": "it knows no other protocol",
    "S513": "it takes a body that ends behind complete calls for one that was cut",
    "X704": "it misses what came behind the error",
}


def code(one: Any) -> str | None:
    return one.deviation.code if isinstance(one, Rule) else None


# What leaves of these is not canonical, and is repaired once more by the next one who reads it.
REPAIRED_AGAIN = {"X713": "its `[DONE]` stands behind no finish, which S510 then makes up"}

REPAIRED = [
    one for one in rules() if not one.deviation.reported and code(one) not in REPAIRED_AGAIN
]


every = pytest.mark.parametrize("one", rules(), ids=code)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs an example; what has to be made up is the same in every run."""

    def through(one: Rule, **options: Any) -> Ran:
        numbers = itertools.count(1)
        monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=next(numbers) << 64))
        for module in (envelope, responses_envelope):
            monkeypatch.setattr(module, "now", lambda: 1_700_000_000)
        return run(one, **options)

    return through


@every
def test_the_example_has_it_and_nothing_else(one: Rule, example: Callable[..., Ran]) -> None:
    found = example(one).report.repairs
    assert set(found) == {one.deviation.code, *one.also}
    assert all(repair.count >= 1 <= repair.first for repair in found.values())


@every
def test_left_out_it_is_not_reported_and_not_repaired(
    one: Rule, example: Callable[..., Ran]
) -> None:
    code = one.deviation.code
    # `select` leaves out the structural ones too, which cannot be ignored
    repaired, left = (
        example(one),
        example(one, select=tuple(each for each in CODES if each != code)),
    )
    assert code not in left.report.codes
    same = (left.out, left.status) == (repaired.out, repaired.status)
    assert same == (one.deviation.structural or one.deviation.reported)
    if one.deviation.structural:
        with pytest.raises(OptionError, match=rf"{code} \({one.deviation.name}\) is structural"):
            Options(ignore=(one.deviation.name,))
    else:
        assert example(one, ignore=(code,)).out == left.out


@every
def test_a_prefix_leaves_the_structural_on(one: Rule, example: Callable[..., Ran]) -> None:
    code = one.deviation.code
    codes = example(one, ignore=(code[:3],)).report.codes
    assert (code in codes) or not one.deviation.structural
    assert one.deviation.structural or code not in codes


@every
def test_silenced_it_is_repaired_and_not_reported(one: Rule, example: Callable[..., Ran]) -> None:
    told, silent = example(one), example(one, silence=(one.deviation.code, *one.also))
    assert (silent.out, silent.status) == (told.out, told.status)
    assert silent.report.codes == {}
    assert silent.report.end == told.report.end


# What a repair that is off still does to the JSON: the text that a reader takes apart to look for
# a marker comes in other pieces, an answer of another shape has nowhere else to go.
TOUCHED_THOUGH_IGNORED: dict[str | None, str] = {
    **dict.fromkeys(("C320", "C321"), "its text comes in other pieces"),
    "E216": "the chunk without choices leaves before the finish that is held",
    "T421": "a fragment without `function` gets an empty one",
    "U601": "the usage is on the finish too",
    "X709": "what is no JSON cannot leave as an event",
}


def values(body: bytes) -> list[Any]:
    """The JSON of a body's lines; a line that is none as it is."""
    lines = [line.removeprefix(b"data:").strip() for line in body.splitlines()]
    out: list[Any] = []
    for line in filter(None, lines):
        try:
            out.append(json.loads(line))
        except ValueError:
            out.append(line)
    return out


def left_alone(one: Rule, example: Callable[..., Ran]) -> bool:
    """Whether the example's JSON leaves as it came, with every code that it has switched off."""
    codes = {one.deviation.code, *one.also}
    while (ran := example(one, ignore=tuple(sorted(codes)))).report.codes.keys() - codes:
        codes |= ran.report.codes.keys()
    return values(ran.out) == values(b"".join(one.example))


@pytest.mark.parametrize("one", [one for one in rules() if not one.always], ids=code)
def test_with_its_codes_ignored_the_json_leaves_as_it_came(
    one: Rule, example: Callable[..., Ran]
) -> None:
    assert left_alone(one, example) == (one.deviation.code not in TOUCHED_THOUGH_IGNORED)


@every
def test_any_split_gives_the_same(one: Rule, example: Callable[..., Ran]) -> None:
    whole, bytewise = example(one), example(one, bytewise=True)
    assert bytewise.out == whole.out
    assert bytewise.status == whole.status
    assert bytewise.report.codes == whole.report.codes


@every
def test_in_report_mode_the_bytes_pass(one: Rule, example: Callable[..., Ran]) -> None:
    repaired, reported = example(one), example(one, mode="report")
    assert reported.out == b"".join(one.example)
    assert (reported.status, reported.content_type) == (one.status, None)
    assert reported.report.codes == repaired.report.codes


@pytest.mark.parametrize("one", REPAIRED, ids=code)
def test_what_leaves_is_left_alone(one: Rule, example: Callable[..., Ran]) -> None:
    left = example(one)
    options = {key: value for key, value in one.options.items() if key != "max_event_bytes"}
    again = Normalizer(
        RequestInfo.parse(one.endpoint, json.dumps(one.request).encode()),
        Options(**options),
        status=left.status,
    )
    assert again.feed(left.out) + again.close() == left.out
    assert again.report.codes == {}


# ---------------------------------------------------------------- the judge


@functools.cache
def judge_of(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, beside(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def faults(one: Rule, raw: bytes, out: bytes) -> list[Any]:
    """What the judge of the rule's endpoint finds."""
    if one.endpoint.endswith("/responses"):
        found = judge_of("conform_responses").judge(raw, out, dict(one.request))
    else:
        found = judge_of("conform").judge(raw, out, dict(one.request), one.endpoint)
    return list(found)


@pytest.fixture(scope="session")
def judge() -> ModuleType:
    return judge_of("conform")


# It knows the default options only.
JUDGED = [
    one
    for one in rules()
    if not one.options and code(one) not in NOT_JUDGED and one.endpoint != "/v1/messages"
]


@pytest.mark.parametrize("one", JUDGED, ids=code)
def test_what_leaves_is_canonical(
    one: Rule, example: Callable[..., Ran], judge: ModuleType
) -> None:
    left = example(one)
    if left.content_type == "application/json":
        kind: dict[str, Any] = {"$ref": "#/$defs/ChatCompletion"}
        if left.status != 200:
            members = ["message", "type", "param", "code"]
            kind = {"required": ["error"], "properties": {"error": {"required": members}}}
        jsonschema.validate(json.loads(left.out), {**judge.SPEC, **kind})
    else:
        assert left.content_type == "text/event-stream; charset=utf-8"
        raw = b"".join(one.example)
        assert faults(one, raw, left.out) == []


@pytest.mark.parametrize("one", [rule(each) for each in NOT_JUDGED], ids=code)
def test_the_exceptions_are_needed(one: Rule, example: Callable[..., Ran]) -> None:
    assert faults(one, b"".join(one.example), example(one).out) != []


# ---------------------------------------------------------------- the entries


@every
def test_the_entry_is_whole(one: Rule) -> None:
    for text in (one.seen, one.breaks, one.traps):
        assert text == "" or re.search(r"[.!?][`\"]?$", text), text
    assert one.seen
    assert one.breaks
    assert one.sources
    assert len(set(one.sources)) == len(one.sources)
    assert all(re.fullmatch(r"https://\S+", source) for source in one.sources)
    assert not (one.deviation.structural and one.deviation.reported)
    assert bool(one.always) == one.deviation.structural
    assert code(one) not in one.also


@pytest.mark.parametrize("one", DEVIATIONS, ids=lambda one: one.code)
def test_the_fault_and_the_repair_are_plain_sentences(one: Deviation) -> None:
    for sentence in (one.fault, one.repair):
        assert unplain(sentence) is None
    assert one.fault != one.repair


def test_each_code_has_its_entry() -> None:
    assert [one.deviation for one in rules()] == list(DEVIATIONS)
    assert rule("E210").deviation is deviation("E210")
    with pytest.raises(KeyError):
        rule("E299")


A, B = (Deviation(code=code, name=code, fault=code, repair=code) for code in ("A1", "B1"))
ENTRY = {"seen": "x.", "breaks": "x.", "example": "data: [DONE]"}


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"A1": ENTRY}, "B1"),
        ({"A1": ENTRY, "B1": ENTRY, "C1": ENTRY}, "C1"),
        ({"A1": ENTRY, "B1": {**ENTRY, "breakz": "x"}}, "B1.*breakz"),
        ({"A1": ENTRY, "B1": {"seen": "x.", "example": "x"}}, "B1.*breaks"),
        ({"A1": ENTRY, "B1": {**ENTRY, "example": ""}}, "B1.*example"),
    ],
)
def test_an_entry_that_does_not_fit_is_told(entries: dict[str, Any], told: str) -> None:
    assert set(paired([A, B], {"A1": ENTRY, "B1": ENTRY})) == {"A1", "B1"}
    with pytest.raises(ValueError, match=told):
        paired([A, B], entries)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_files_are_in_order_and_say_which_is_which(path: Path) -> None:
    heads = re.findall(r"^\[([A-Z]\d{3})\](.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert heads == sorted(heads)
    assert all(comment == f"  # {deviation(code).name}" for code, comment in heads)
