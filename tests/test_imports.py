"""The import rule of the design: doors import the core; the core imports no door, does no I/O."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import normalizer

PACKAGE = Path(__file__).parents[1] / "normalizer"

# Whatever is not named here is core, so that a new module has to keep the stricter rule.
DOORS = {"cassette", "cli", "doors", "__main__", "proxy", "pytest_plugin", "snapshots", "view"}
INPUT_AND_OUTPUT = {
    "aiohttp",
    "anyio",
    "asyncio",
    "click",
    "http",
    "httpx",
    "httpx2",
    "socket",
    "ssl",
    "starlette",
}
INPUT_AND_OUTPUT |= {"threading", "trio", "uvicorn", "vcr", "yaml"}


def modules() -> list[str]:
    names = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
    ]
    return sorted(name.removesuffix(".__init__") for name in names)


def imports(module: str) -> Iterator[str]:
    """The modules that one imports, anywhere in its text, also for type checkers only."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import, which this test cannot read"
            assert node.module is not None
            yield node.module
            # `from normalizer import asgi` imports a module too
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part(module: str) -> str:
    """The part of the package that a module belongs to: ``core`` for normalizer.core.sse."""
    return module.split(".")[1] if "." in module else module


CORE = [name for name in modules() if part(name) not in {*DOORS, "normalizer"}]
# What the stages of the chat wire share, and what puts them together.
SHARED = {"blocks", "call", "call_doubts", "call_identity", "call_members", "chunk", "common"}
SHARED |= {"later_fragments", "legacy_calls", "message", "sent", "words"}
WHOLE = {
    "answers",
    "blank",
    "body",
    "chunks",
    "finishes",
    "gathered",
    "held",
    "holdback",
    "kinds",
    "form",
    "sender",
    "split",
    "stages",
    "streamed",
}
WHOLE |= {"whole_calls", "whole_message", "wire"}
STAGES = [
    name
    for name in CORE
    if name.startswith("normalizer.wires.chat.") and name.split(".")[-1] not in WHOLE | SHARED
]


@pytest.mark.parametrize("module", CORE)
def test_the_core_imports_no_door(module: str) -> None:
    doors = {f"normalizer.{name}" for name in DOORS}
    wrong = [name for name in imports(module) if ".".join(name.split(".")[:2]) in doors]
    assert not wrong


@pytest.mark.parametrize("module", CORE)
def test_the_core_does_no_input_and_output(module: str) -> None:
    wrong = [name for name in imports(module) if name.split(".")[0] in INPUT_AND_OUTPUT]
    assert not wrong


@pytest.mark.parametrize("module", STAGES)
def test_no_stage_imports_another(module: str) -> None:
    # a stage may be a folder, whose files import each other
    stage = ".".join(module.split(".")[:4])
    others = {other for other in STAGES if not f"{other}.".startswith(f"{stage}.")}
    assert not others & set(imports(module))


def test_there_are_doors_and_a_core() -> None:
    found = {part(name) for name in modules()}
    assert {"core", "doors", "wires"} <= found
    assert {"normalizer.core.sse", "normalizer.core.normalizer", "normalizer.core.request"} <= set(
        CORE
    )
    assert STAGES


def loaded_by(script: str) -> set[str]:
    """The modules that an interpreter of its own has loaded when it ends."""
    told = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
    done = subprocess.run(
        [sys.executable, "-c", told + script], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


# What the core needs none of: the doors' libraries, and what reads the notes on deviations.
DOORS_LIBRARIES = {"aiohttp", "asyncio", "click", "httpx", "httpx2", "prometheus_client", "rich"}
DOORS_LIBRARIES |= {"socket", "ssl", "starlette", "tomllib", "uvicorn", "vcr", "yaml"}


def test_importing_the_package_imports_nothing_else() -> None:
    loaded = loaded_by("import normalizer")
    assert {name for name in loaded if name.startswith("normalizer")} == {"normalizer"}
    assert not loaded & DOORS_LIBRARIES


def test_importing_the_core_imports_no_library_of_a_door() -> None:
    script = (
        "from normalizer import Normalizer, Options, RequestInfo;"
        "request = RequestInfo.parse('/v1/chat/completions', {'stream': True});"
        "Normalizer(request, Options()).feed(b'data: [DONE]\\n\\n')"
    )
    loaded = loaded_by(script)
    assert "normalizer.core.normalizer" in loaded
    assert "normalizer.catalogue" not in loaded
    assert not loaded & DOORS_LIBRARIES


def test_options_with_codes_read_no_notes() -> None:
    loaded = loaded_by("from normalizer import Options; Options(ignore=('U6',))")
    assert "normalizer.catalogue" in loaded
    assert "tomllib" not in loaded


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_the_command_line_explains_itself_without_the_core(flag: str) -> None:
    loaded = loaded_by(f"from normalizer.cli import main; main([{flag!r}])")
    assert "click" in loaded
    wrong = {"normalizer.core", "normalizer.wires", "normalizer.doors", "asyncio", "rich", "yaml"}
    assert not loaded & wrong


def test_every_public_name_is_there_when_it_is_asked_for() -> None:
    for name in normalizer.__all__:
        assert getattr(normalizer, name).__name__ == name
        assert name in dir(normalizer)
    with pytest.raises(AttributeError, match="has no attribute 'Normaliser'"):
        _ = normalizer.Normaliser
