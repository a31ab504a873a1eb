"""docs/options.md, made of the fields of `normalizer.Options`."""

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

Each option is a keyword of `Options`, of `NormalizingMiddleware` and of `NormalizingTransport`, a
flag of `stream-normalizer serve`, `check` and `normalize`, and a variable, which the middleware and
the command line read. This page is made by `tools/options`.

```python
NormalizingTransport(usage="finish", ignore=("S505", "finish-with-content"))
```

    stream-normalizer serve --usage finish --ignore S505,finish-with-content …
    NORMALIZER_USAGE=finish NORMALIZER_IGNORE=S505,finish-with-content vllm serve …

What does not exist raises `OptionError` where it is given, with the nearest word that does: an
unknown option, code, dialect or value, and an unknown variable that begins with `NORMALIZER_`.

Lists are any sequence, or one string with commas. Truth in a variable is 1, true, yes or on.

Programs that read `chunk.choices[0]` of each chunk without a look break on the chunk that OpenAI's
own API sends for `stream_options.include_usage`: its `choices` is empty. `usage="finish"` puts the
usage on the chunk of the finish instead.
"""

STRUCTURAL = """
## Structural deviations

What leaves cannot be written without repairing these, so `ignore` cannot switch them off: a prefix
such as `F1` leaves them on, and one by its code or name is an error. `silence` keeps them out of
the report.
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
    yield f"* Takes {_kind(field)}; {_default(field)} if it is not given."
    yield f"* Flag `{flag}`, variable `{field.variable}`."


def _told() -> dict[str, str]:
    """What the docstring of `Options` says, by field."""
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
