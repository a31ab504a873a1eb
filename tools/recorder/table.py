"""The table of the collection, made from the cassettes' own metadata."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from normalizer.cassette.format import load

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- table: written by tools/cassette_table -->", "<!-- end of table -->"


def table(folder: Path) -> str:
    """The rows for all cassettes below a folder, in Markdown; `CassetteError` for a bad one."""
    rows = ["| Upstream | Case | Origin | Server | What it shows |", "|---|---|---|---|---|"]
    for path in sorted(folder.glob("*/*.yaml"), key=lambda path: (path.parent, path.stem)):
        metadata = load(path).metadata
        case = f"[{path.stem}]({path.relative_to(folder).as_posix()})"
        origin = f"{metadata.origin} {metadata.date}"
        cells = [path.parent.name, case, origin, f"{metadata.server} {metadata.version}"]
        rows.append("| " + " | ".join(_cell(each) for each in [*cells, metadata.note]) + " |")
    return "\n".join(rows)


def updated(text: str, rows: str) -> str:
    """A page with the rows between its two marks; raises `ValueError` if it has no marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{rows}\n{END}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Rewrite cassettes/README.md, or with --check return 1 if that would change it."""
    parser = argparse.ArgumentParser(prog="tools/cassette_table")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if stale")
    options = parser.parse_args(arguments)
    page = ROOT / "cassettes" / "README.md"
    old = page.read_text(encoding="utf-8")
    new = updated(old, table(page.parent))
    if new == old:
        return 0
    if options.check:
        print("cassettes/README.md is stale: run tools/cassette_table", file=sys.stderr)
        return 1
    page.write_text(new, encoding="utf-8", newline="\n")
    print("cassettes/README.md written")
    return 0


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
