"""Generate docs/options.md from the fields of `normalizer.Options`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from normalizer.catalogue import DEVIATIONS
from normalizer.core.options import FIELDS, Field, Options

ROOT = Path(__file__).parents[1]

INTRODUCTION = """\
# Options

There are three ways to set an option:

- as a keyword of `Options`, `NormalizingMiddleware` or `NormalizingTransport`;
- as a flag of `stream-normalizer serve`, `check` or `normalize`;
- as an environment variable, which the middleware and the command line read.

`tools/options` generates this page.

```python
NormalizingTransport(usage="finish", ignore=("S505", "finish-with-content"))
```

    stream-normalizer serve --usage finish --ignore S505,finish-with-content …
    NORMALIZER_USAGE=finish NORMALIZER_IGNORE=S505,finish-with-content vllm serve …

An unknown option, code, dialect or value raises `OptionError`, and so does an unknown variable that
begins with `NORMALIZER_`. The message suggests the most similar name.

A list is any sequence, or one string with commas. In a variable, 1, true, yes and on mean true.

A program that reads `chunk.choices[0]` of every chunk fails on the chunk that OpenAI's own API
sends for `stream_options.include_usage`: its `choices` is empty. `usage="finish"` puts the usage on
the finish chunk instead.
"""

STRUCTURAL = """
## Structural deviations

The output cannot be written without these repairs, so `ignore` cannot turn them off. A prefix such
as `F1` leaves them on. The code or name of one of them is an error. `silence` keeps them out of the
report.
"""


def page() -> str:
    """docs/options.md."""
    lines = [INTRODUCTION, "| Option | Default | |", "|---|---|---|"]
    for field in FIELDS.values():
        text = field.help.replace("|", "\\|").replace("<", "&lt;")
        lines.append(f"| [`{field.name}`](#{field.name}) | {_default(field)} | {text} |")
    told = _told()
    for field in FIELDS.values():
        lines += ["", f"## {field.name}", "", *_chapter(field, told)]
    lines += [STRUCTURAL, "| Code | Name |", "|---|---|"]
    for one in DEVIATIONS:
        if one.structural:
            link = f"deviations.md#{one.code.lower()}-{one.name}"
            lines.append(f"| [{one.code}]({link}) | {one.name} |")
    return "\n".join(lines) + "\n"


def _chapter(field: Field, told: dict[str, str]) -> Iterator[str]:
    yield told[field.name]
    yield ""
    flag = field.flag
    if field.hint is bool:
        flag += f"`, `--no-{flag[2:]}"
    yield f"* Value: {_kind(field)}. Default: {_default(field)}."
    yield f"* Flag `{flag}`, variable `{field.variable}`."


def _told() -> dict[str, str]:
    """Read the docstring of `Options`: the description of each field."""
    told: dict[str, str] = {}
    text = re.sub(r"\s+", " ", (Options.__doc__ or "").partition("    * ")[2])
    for item in text.split(" * "):
        names, _, what = item.lstrip("* ").partition(": ")
        what = what.strip().replace("``", "`")
        what = what[:1].upper() + what[1:]
        told |= dict.fromkeys(re.findall(r"``(\w+)``", names), what)
    missing = FIELDS.keys() - told.keys()
    if missing:
        raise ValueError(f"not in the docstring of Options: {sorted(missing)}")
    return told


def _kind(field: Field) -> str:
    if field.values:
        return ", ".join(f'`"{value}"`' for value in field.values)
    if field.kind:
        return {"codes": "codes, prefixes or names", "paths": "paths"}.get(field.kind, "names")
    if field.hint is bool:
        return "`True` or `False`"
    whole = "a whole number" if field.hint is int else "a number"
    return f"{whole} of {field.unit} above 0"


def _default(field: Field) -> str:
    if field.hint is bool:
        return "off"
    if field.kind:
        return "none"
    return f"`{field.default}`" if not field.values else f'`"{field.default}"`'


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or with --check return 1 if that would change it."""
    parser = argparse.ArgumentParser(prog="tools/options")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if stale")
    check = parser.parse_args(arguments).check
    path = ROOT / "docs" / "options.md"
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    if old == page():
        return 0
    if check:
        print("docs/options.md is stale: run tools/options", file=sys.stderr)
        return 1
    path.write_text(page(), encoding="utf-8", newline="\n")
    print("docs/options.md written")
    return 0
