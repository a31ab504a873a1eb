"""What docs/cli.md and docs/proxy.md show is what is said today."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_type_hints

import click
import pytest

from normalizer import Options
from normalizer.cli import COMMANDS
from normalizer.cli.check import check
from normalizer.cli.normalize import normalize
from normalizer.cli.rules import rules
from normalizer.cli.serve import serve
from normalizer.cli.view import view
from normalizer.proxy import Upstream
from tests.cli.conftest import Run

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    name: (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("cli", "proxy", "trace")
}


def test_the_findings_shown_are_real(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DOCS.parent)
    found = re.search(
        r"```console\n\$ stream-normalizer (check \S+\.yaml)\n(.*?)```", PAGES["cli"], re.DOTALL
    )
    assert found is not None
    said = run(*found[1].split()).stdout
    assert [line.rstrip() for line in said.splitlines()] == found[2].splitlines()


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_is_one(page: str) -> None:
    flags = {
        flag
        for command in (serve, check, normalize, rules, view)
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }
    # of other programs: tools/load, pip, curl
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGES[page])) - {"--help"}
    assert named
    assert named <= flags


def test_every_subcommand_is_one() -> None:
    named = set(re.findall(r"normalizer ([a-z]+)", PAGES["cli"] + PAGES["proxy"]))
    assert named >= {"serve", "check", "normalize", "rules"}
    assert named <= COMMANDS.keys()


def test_every_variable_is_an_option() -> None:
    named = set(re.findall(r"(?<!_)NORMALIZER_([A-Z_]+)", PAGES["cli"] + PAGES["proxy"]))
    assert named <= {name.upper() for name in get_type_hints(Options)}


def test_the_table_of_targets_is_right() -> None:
    rows = re.findall(
        r"^\| `(http\S+)` \| `(/\S+)` \| `(http\S+)` \|$", PAGES["proxy"], re.MULTILINE
    )
    assert len(rows) >= 5
    for url, path, target in rows:
        assert Upstream(url=url).target(path) == target
