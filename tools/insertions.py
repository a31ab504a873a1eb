"""Put a new entry into a table of the source: a declaration, a key of a dict, a row, a section.

Each function takes the text of a file and returns the new text. The tables are ordered by code, so
a new entry goes behind the last one of its letter that has a smaller code. The syntax tree shows
where a table is. So comments and the entries around stay as they are. ValueError: the file does
not have the table.
"""

from __future__ import annotations

import ast
import bisect
import re
from typing import TypeVar

Kind = TypeVar("Kind", bound=ast.expr)


def declaration(text: str, code: str, lines: str) -> str:
    """Insert a declaration behind the module's declaration with the greatest smaller code."""
    declared = _declarations(ast.parse(text))
    if not declared:
        raise ValueError("the module declares no deviation")
    behind = max((each for each in declared if each < code), default=min(declared))
    return _behind_line(text, declared[behind], lines)


def _declarations(tree: ast.Module) -> dict[str, int]:
    """Return the codes that a module declares, with the last line of each declaration."""
    found = {}
    for node in tree.body:
        call = node.value if isinstance(node, ast.Assign) else None
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Deviation":
            given = {each.arg: each.value for each in call.keywords}
            code = given.get("code")
            if isinstance(code, ast.Constant):
                found[str(code.value)] = _end(node)
    return found


def key(text: str, table: str, code: str, line: str) -> str:
    """Insert an entry into the dict ``table``, behind the last smaller key of its letter."""
    value = _table(text, table, ast.Dict)
    keys = [
        (each.value, _end(item))
        for each, item in zip(value.keys, value.values, strict=True)
        if isinstance(each, ast.Constant) and str(each.value).startswith(code[0])
    ]
    if not keys:
        return _behind_line(text, value.lineno, line)
    before = [end for name, end in keys if str(name) < code]
    return _behind_line(text, max(before) if before else keys[0][1], line)


def member(text: str, table: str, code: str) -> str:
    """Insert a string into the set ``table``, which stands on one line."""
    value = _table(text, table, ast.Set)
    names = [str(each.value) for each in value.elts if isinstance(each, ast.Constant)]
    bisect.insort(names, code)
    new = "{" + ", ".join(f'"{name}"' for name in names) + "}"
    return _replaced(text, value, new)


def row(text: str, code: str, what: str) -> str:
    """Insert a row of one code into ROWS, behind the row that has the greatest smaller code."""
    return _behind_line(text, _end(_row_before(text, code)), f"    ({code!r}, {what!r}),\n")


def code_in_row(text: str, beside: str, code: str) -> str:
    """Add a code to the row of ROWS that has the code ``beside``."""
    for each in _rows(text):
        codes = each.elts[0]
        if isinstance(codes, ast.Constant) and in_row(str(codes.value), beside):
            return _replaced(text, codes, f'"{codes.value!s} {code}"')
    raise ValueError(f"no row of tools/deviations.py has {beside}")


def in_row(codes: str, code: str) -> bool:
    """Return whether the codes of a row (``"F101-F104 F113"``) have this one."""
    parts = (part.partition("-") for part in codes.split())
    return any(first <= code <= (last or first) for first, _, last in parts)


def rows(text: str) -> list[str]:
    """Return the codes of each row."""
    return [
        str(each.elts[0].value) for each in _rows(text) if isinstance(each.elts[0], ast.Constant)
    ]


def _rows(text: str) -> list[ast.Tuple]:
    value = _table(text, "ROWS", ast.Tuple)
    return [each for each in value.elts if isinstance(each, ast.Tuple)]


def _row_before(text: str, code: str) -> ast.Tuple:
    behind: list[tuple[str, ast.Tuple]] = []
    for each in _rows(text):
        codes = each.elts[0]
        if isinstance(codes, ast.Constant):
            firsts = [part.partition("-")[0] for part in str(codes.value).split()]
            behind += [(first, each) for first in firsts if first[0] == code[0] and first < code]
    if not behind:
        raise ValueError(f"ROWS has no row before {code}")
    return max(behind, key=lambda pair: pair[0])[1]


def section(text: str, code: str, lines: str) -> str:
    """Insert the section of a code into a file of rules, in the order of the codes."""
    for head in re.finditer(r"^\[([A-Z]\d{3})\]", text, re.MULTILINE):
        if head[1] > code:
            return f"{text[: head.start()]}{lines}\n{text[head.start() :]}"
    return f"{text.rstrip()}\n\n{lines}"


def import_line(text: str, line: str) -> str:
    """Insert an import behind the one of ``annotations``. A formatter puts it into order."""
    first = "from __future__ import annotations\n"
    if first not in text:
        raise ValueError(f"there is no {first.strip()!r}")
    return text if line in text else text.replace(first, f"{first}\n{line}", 1)


def _table(text: str, name: str, kind: type[Kind]) -> Kind:
    """Return the value that a module assigns to ``name``."""
    for node in ast.parse(text).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if isinstance(value, kind) and any(getattr(each, "id", None) == name for each in targets):
            return value
    raise ValueError(f"there is no {name}")


def _end(node: ast.stmt | ast.expr) -> int:
    return node.end_lineno or node.lineno


def _behind_line(text: str, number: int, new: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join([*lines[:number], new, *lines[number:]])


def _replaced(text: str, node: ast.expr, new: str) -> str:
    """Replace an expression that is on one line."""
    lines = text.splitlines(keepends=True)
    line = lines[node.lineno - 1].encode()
    changed = line[: node.col_offset] + new.encode() + line[node.end_col_offset :]
    lines[node.lineno - 1] = changed.decode()
    return "".join(lines)
