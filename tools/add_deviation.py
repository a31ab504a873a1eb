"""Write all that a new deviation consists of, but its repair. Run by tools/add-deviation.

A deviation is in eight places: its declaration in the stage, its entry in the catalogue, a test of
what leaves, a row of docs/faults.md, the harm that it does, the place where it is in an event, and
the two pages that are made of all this. This file writes the first six and names what is left.

What it cannot know, it asks for by flags. All of them are judged, and all new texts are made and
parsed, before the first file is written. So wrong input leaves the tree as it was.
"""

from __future__ import annotations

import argparse
import ast
import base64
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from normalizer import Normalizer, Options, RequestInfo
from normalizer.catalogue import CODES, DEVIATIONS, places
from normalizer.cli.check.severity import SEVERITIES, severity
from tools import insertions
from tools.deviations import GROUPS, unplain

ROOT = Path(__file__).resolve().parents[1]
RULES = Path("normalizer/catalogue/rules")
CATALOGUE = Path("normalizer/catalogue/__init__.py")
SEVERITY = Path("normalizer/cli/check/severity.py")
PLACES = Path("normalizer/catalogue/places.py")
MESSAGES_PLACES = Path("normalizer/catalogue/messages_places.py")
PLACES_TEST = Path("tests/cli/test_places.py")
ROWS = Path("tools/deviations.py")

EXAMPLE = """\
example:
  tools/add-deviation normalizer/wires/chat/usage.py --name usage-count-not-integer \\
      --fault 'A count of a usage is a string or a float.' \\
      --repair 'The count becomes an integer.' \\
      --example seen.sse --leaves right.sse --seen 'My server 1.2.' \\
      --breaks 'A loop that adds counts: `TypeError` (measured).' \\
      --source https://example.com/issues/1 --row-of U608"""


class RefusedError(ValueError):
    """The input is wrong. The message names what, and nothing was written."""


def parser() -> argparse.ArgumentParser:
    """Return the flags of tools/add-deviation."""
    flags = argparse.ArgumentParser(
        prog="tools/add-deviation",
        description="Write all that a new deviation consists of, but its repair.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = flags.add_argument
    add("stage", type=Path, help="the module that will repair it; it declares others already")
    add("--name", required=True, help="kebab-case")
    add("--fault", required=True, help="one sentence: what the upstream sends wrong")
    add("--repair", required=True, help="one sentence: what the client gets instead")
    add("--example", required=True, type=Path, help=".sse file: a short body with this fault only")
    add("--leaves", required=True, type=Path, help=".sse file: what has to leave of the example")
    add("--seen", required=True, help="who sends it, in sentences")
    add("--breaks", required=True, help="which clients fail, and how, in sentences")
    add("--source", required=True, action="append", help="URL of a report; may be repeated")
    add("--traps", default="", help="what a naive repair would break")
    add("--code", help="default: the next free one behind those of the stage")
    add("--also", action="append", default=[], help="another code that the example needs")
    add("--request", help="the request of the example, as JSON")
    add("--endpoint", default="/v1/chat/completions", help="the path of the example's request")
    add("--status", type=int, default=200, help="the status of the example's answer")
    add("--reported", action="store_true", help="it is only reported: nothing can repair it")
    add("--always", help="it is structural: why `ignore` cannot turn it off")
    rows = flags.add_mutually_exclusive_group(required=True)
    rows.add_argument("--row", help="a new row of docs/faults.md: the fault in a few words")
    rows.add_argument("--row-of", metavar="CODE", help="it joins the row of this code")
    add("--harm", choices=SEVERITIES, help="default: that of its family")
    add("--place", action="append", default=[], help="member: choices.*.index; may be repeated")
    add("--place-text", help="pattern of the text to mark, for framing")
    add("--nowhere", action="store_true", help="no place in particular is wrong")
    add("--test", type=Path, help="the stage's tests; default: tests/…/test_<stage>.py")
    return flags


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or return 2 and write none."""
    given = parser().parse_args(arguments)
    try:
        code = judged(given)
        files = planned(given, code)
    except (ValueError, OSError) as error:
        print(f"tools/add-deviation: {error}", file=sys.stderr)
        print("Nothing was written.", file=sys.stderr)
        return 2
    for path, text in files.items():
        (ROOT / path).write_text(text, encoding="utf-8", newline="\n")
    _format([path for path in files if path.suffix == ".py"])
    print(f"{code} {given.name} is in:")
    for path in files:
        print(f"  {path}")
    print(_left(given, code, _test_of(given)))
    return 0


def _format(paths: list[Path]) -> None:
    """Put imports and lines into form, where ruff is installed (.ci/run installs it)."""
    for command in (["check", "--quiet", "--select", "I", "--fix"], ["format", "--quiet"]):
        subprocess.run(
            [sys.executable, "-m", "ruff", *command, *map(str, paths)],
            cwd=ROOT,
            check=False,
            stderr=subprocess.DEVNULL,
        )


def _left(given: argparse.Namespace, code: str, test: Path) -> str:
    constant = _constant(given.name)
    return f"""
What is left:
  1. The repair, in {given.stage}: `if found({constant}):`, and only then the change.
     {test} fails until then:
         tools/test {test} -k {_test_name(given.name)}
  2. tools/test tests/test_rules.py tests/cli/test_places.py -k {code}
  3. tools/deviations, which writes docs/faults.md and docs/deviations.md.
  4. Who breaks: if you have run a client, say "(measured)" behind it.
  5. A line in CHANGELOG.md, if users will notice it."""


# ---------------------------------------------------------------- the judgement


def judged(given: argparse.Namespace) -> str:
    """Return the code of the new deviation. Raises RefusedError if the input is wrong."""
    for path in (given.stage, given.example, given.leaves):
        if not (ROOT / path).is_file():
            raise RefusedError(f"{path} is no file")
    code = given.code or _next_code(given.stage)
    _judge_names(given, code)
    for sentence in (given.fault, given.repair):
        if reason := unplain(sentence):
            raise RefusedError(f"{sentence!r}: {reason}")
    for flag in ("seen", "breaks", "traps", "always"):
        note = getattr(given, flag) or "."
        if not re.search(r"[.!?][`\"]?$", note) and flag != "always":
            raise RefusedError(f"--{flag} is no sentence: {note!r}")
    for source in given.source:
        if not re.fullmatch(r"https://\S+", source):
            raise RefusedError(f"--source is no https URL: {source!r}")
    if given.reported and given.always:
        raise RefusedError("--reported and --always exclude each other")
    _judge_row(given, code)
    _judge_place(given, code)
    _judge_bodies(given)
    return code


def _next_code(stage: Path) -> str:
    text = (ROOT / stage).read_text(encoding="utf-8")
    own = re.findall(r'^    code="([A-Z]\d{3})",$', text, re.MULTILINE)
    families = {code[:2] for code in own}
    if not own:
        raise RefusedError(
            f"{stage} declares no deviation; add its first one, and its file of rules, by hand"
        )
    if len(families) > 1:
        raise RefusedError(
            f"{stage} has the families {', '.join(sorted(families))}: name the --code"
        )
    taken = [code for code in CODES if code[:2] == own[0][:2]]
    return f"{taken[-1][0]}{int(taken[-1][1:]) + 1:03}"


def _judge_names(given: argparse.Namespace, code: str) -> None:
    if not re.fullmatch(r"[A-Z][1-9]\d\d", code) or code[0] not in GROUPS:
        raise RefusedError(f"--code {code} is not a letter of {''.join(GROUPS)} and three digits")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", given.name):
        raise RefusedError(f"--name {given.name} is not in kebab-case")
    for one in DEVIATIONS:
        if code == one.code or given.name == one.name:
            raise RefusedError(f"there is a {one.code} {one.name} already")
    if _constant(given.name) in (ROOT / given.stage).read_text(encoding="utf-8"):
        raise RefusedError(f"{given.stage} has a {_constant(given.name)} already")
    for other in (*given.also, *filter(None, [given.row_of])):
        if other not in CODES:
            raise RefusedError(f"there is no {other}")


def _judge_row(given: argparse.Namespace, code: str) -> None:
    taken = [codes for codes in insertions.rows(_source(ROWS)) if insertions.in_row(codes, code)]
    if taken and not (given.row_of and insertions.in_row(taken[0], given.row_of)):
        raise RefusedError(f"{code} is in the row of {taken[0]}: say --row-of {taken[0][:4]}")


def _judge_place(given: argparse.Namespace, code: str) -> None:
    ways = [bool(given.place), bool(given.place_text), given.nowhere]
    if sum(ways) > 1:
        raise RefusedError("--place, --place-text and --nowhere exclude each other")
    if not any(ways) and not places.known(code):
        raise RefusedError(f"the family of {code} has no place: name a --place, or say --nowhere")
    if given.place_text:
        try:
            re.compile(given.place_text)
        except re.error as error:
            raise RefusedError(f"--place-text is no pattern: {error}") from None


def _judge_bodies(given: argparse.Namespace) -> None:
    """Run both bodies: the example has no other fault, and what leaves has none at all."""
    example, leaves = (path.read_bytes() for path in (ROOT / given.example, ROOT / given.leaves))
    if not example:
        raise RefusedError(f"{given.example} is empty")
    others = _codes(given, example) - set(given.also)
    if others:
        raise RefusedError(
            f"{given.example} also has {', '.join(sorted(others))}: repair these in it"
            " (`stream-normalizer normalize`), or name them with --also"
        )
    if (example == leaves) != given.reported:
        raise RefusedError(
            "the two bodies are the same" if not given.reported else "the bodies differ"
        )
    if not given.reported and (wrong := _codes(given, leaves)):
        raise RefusedError(f"{given.leaves} is not canonical: it has {', '.join(sorted(wrong))}")


def _codes(given: argparse.Namespace, body: bytes) -> set[str]:
    request = (given.request or '{"model":"m","stream":true}').encode()
    if not isinstance(json.loads(request), dict):
        raise RefusedError("--request is no JSON object")
    normalizer = Normalizer(
        RequestInfo.parse(given.endpoint, request), Options(), status=given.status
    )
    normalizer.feed(body)
    normalizer.close()
    return set(normalizer.report.codes)


# ---------------------------------------------------------------- the texts


def planned(given: argparse.Namespace, code: str) -> dict[Path, str]:
    """Return the new text of each file. Raises RefusedError or ValueError."""
    stage, rules, test = given.stage, _rules_of(given.stage), _test_of(given)
    files = {
        stage: insertions.declaration(_source(stage), code, _declaration(given, code)),
        rules: insertions.section(_source(rules), code, _entry(given, code)),
        test: _with_test(_source(test), given, code),
    }
    rows = _source(ROWS)
    if given.row:
        files[ROWS] = insertions.row(rows, code, given.row)
    elif not any(insertions.in_row(codes, code) for codes in insertions.rows(rows)):
        files[ROWS] = insertions.code_in_row(rows, given.row_of, code)
    if given.harm and given.harm != severity(code):
        line = f'    "{code}": "{given.harm}",\n'
        files[SEVERITY] = insertions.key(_source(SEVERITY), "_OF", code, line)
    files |= dict(_places(given, code))
    for path, text in files.items():
        if path.suffix == ".toml":
            tomllib.loads(text)
        else:
            ast.parse(text)
    return files


def _source(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _rules_of(stage: Path) -> Path:
    """Return the file of rules that has the stage's other deviations."""
    own = re.findall(r'^    code="([A-Z]\d{3})",$', _source(stage), re.MULTILINE)
    for path in sorted((ROOT / RULES).glob("*.toml")):
        if own and f"[{own[-1]}]" in path.read_text(encoding="utf-8"):
            return path.relative_to(ROOT)
    raise RefusedError(f"no file of {RULES} has a deviation of {stage}")


def _test_of(given: argparse.Namespace) -> Path:
    stage: Path = given.stage
    path: Path = given.test or Path("tests", *stage.parts[1:-1], f"test_{stage.name}")
    if not (ROOT / path).is_file():
        raise RefusedError(f"{path} is no file: name the stage's tests with --test")
    return path


def _constant(name: str) -> str:
    return name.upper().replace("-", "_")


def _test_name(name: str) -> str:
    return f"test_the_example_of_{name.replace('-', '_')}"


def _declaration(given: argparse.Namespace, code: str) -> str:
    members: dict[str, Any] = {
        "code": code,
        "name": given.name,
        "fault": given.fault,
        "repair": given.repair,
    }
    lines = [
        f"    {key}={json.dumps(value, ensure_ascii=False)}," for key, value in members.items()
    ]
    lines += ["    reported=True,"] if given.reported else []
    lines += ["    structural=True,"] if given.always else []
    return "\n".join([f"{_constant(given.name)} = Deviation(", *lines, ")", ""])


def _entry(given: argparse.Namespace, code: str) -> str:
    """Return the section of the catalogue. A string of JSON is one of TOML."""
    lines = [f"[{code}]  # {given.name}"]
    notes = {key: getattr(given, key) for key in ("seen", "breaks", "traps", "always")}
    lines += [
        f"{key} = {json.dumps(note, ensure_ascii=False)}" for key, note in notes.items() if note
    ]
    sources = "".join(f"    {json.dumps(each)},\n" for each in given.source)
    lines.append(f"sources = [\n{sources}]")
    if given.request:
        lines.append(f"request = '{json.dumps(json.loads(given.request))}'")
    if given.endpoint != "/v1/chat/completions":
        lines.append(f"endpoint = {json.dumps(given.endpoint)}")
    if given.status != 200:
        lines.append(f"status = {given.status}")
    if given.also:
        lines.append(f"also = {json.dumps(given.also)}")
    lines.append(_example((ROOT / given.example).read_bytes()))
    return "\n".join(lines) + "\n"


def _example(body: bytes) -> str:
    """Return the example as text, where TOML's literal strings can hold all of its bytes."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\r"
    if "'''" in text or re.search(r"[\x00-\x09\x0b-\x1f\x7f\ufeff]", text):
        return f'example_base64 = "{base64.b64encode(body).decode()}"'
    return f"example = '''\n{text}'''"


def _with_test(text: str, given: argparse.Namespace, code: str) -> str:
    """Return the tests with one of what leaves: the JSON of each line, or the line."""
    leaves = list(map(repr, lines_of((ROOT / given.leaves).read_bytes())))
    expected = "".join(f"        {each},\n" for each in leaves)
    test = (
        f"\n\ndef {_test_name(given.name)}() -> None:\n"
        f'    assert_leaves("{code}", [\n{expected}    ])\n'
    )
    return (
        insertions.import_line(text, "from tests.examples import assert_leaves\n").rstrip()
        + "\n"
        + test
    )


def lines_of(body: bytes) -> Iterator[Any]:
    """Yield the lines of a body that are not blank: JSON data as its value, others as text."""
    for line in filter(None, body.decode("utf-8", "surrogateescape").split("\n")):
        try:
            yield json.loads(line.removeprefix("data:"))
        except ValueError:
            yield line


def _places(given: argparse.Namespace, code: str) -> Iterator[tuple[Path, str]]:
    path, prefix = (MESSAGES_PLACES, "") if code[0] == "M" else (PLACES, "_")
    if given.place:
        members = "".join(f"{json.dumps(each)}, " for each in given.place)
        table, value = f"{prefix}MEMBERS", f"({members})"
    elif given.place_text:
        table, value = f"{prefix}TEXTS", repr(given.place_text)
    elif given.nowhere:
        yield PLACES_TEST, insertions.member(_source(PLACES_TEST), "NOWHERE", code)
        return
    else:
        return
    yield path, insertions.key(_source(path), table, code, f'    "{code}": {value},\n')
