"""The site: built offline and strictly, complete, and from files of its own only.

Needs mkdocs, which tools/docs installs; without it these tests are skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from normalizer.catalogue import CODES
from tests.docs.reading import PAGES, ROOT

if not os.environ.get("CI"):
    pytest.importorskip("mkdocs")

# What a build reads: `normalizer` for the docstrings, `deploy` and so on for pages that link there.
SOURCES = (
    "mkdocs.yml",
    "docs",
    "normalizer",
    "tools",
    "deploy",
    "cassettes/README.md",
    "Dockerfile",
)


def build(project: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Build the site as tools/docs does, with no way out to the network."""
    nowhere = "http://127.0.0.1:9"
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(target)],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        env={"http_proxy": nowhere, "https_proxy": nowhere, "PATH": "", "NO_MKDOCS_2_WARNING": "1"},
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the site."""
    target = tmp_path_factory.mktemp("site")
    done = build(ROOT, target)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def pages(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


def test_every_page_is_there(site: Path) -> None:
    for page in PAGES:
        name = page.removesuffix(".md").removesuffix("index")
        assert (site / name / "index.html").exists(), page


def test_every_deviation_has_a_page(site: Path) -> None:
    """Its path is made of the code alone, so that other programs may name it."""
    overview = (site / "deviations" / "index.html").read_text(encoding="utf-8")
    for code in CODES:
        text = (site / "deviations" / code.lower() / "index.html").read_text(encoding="utf-8")
        assert f'<h1 id="{code.lower()}-' in text
        assert "Who sends it" in text
        assert f'href="{code.lower()}/"' in overview


def test_every_public_name_is_explained(site: Path) -> None:
    import normalizer

    text = (site / "api" / "index.html").read_text(encoding="utf-8")
    for name in normalizer.__all__:
        assert f'id="normalizer.{name}"' in text
    assert "&lt;!-- api:" not in text


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(
        r"<(?:link|script|img|iframe|source)\b[^>]*(?:src|href)=\"?(?:https?:)?//[^>]*>"
    )
    found = {
        f"{page.relative_to(site)}: {tag}"
        for page in pages(site)
        for tag in loads.findall(page.read_text(encoding="utf-8"))
    }
    assert found == set()


def test_links_out_of_docs_lead_to_copies(site: Path) -> None:
    """A code host shows ``../Dockerfile``; the site has a copy of it."""
    scale = (site / "scale" / "index.html").read_text(encoding="utf-8")
    assert 'href="../repository/Dockerfile/"' in scale
    copy = (site / "repository" / "Dockerfile" / "index.html").read_text(encoding="utf-8")
    assert "ENTRYPOINT" in copy


# A link, and what the build must name.
BROKEN = {
    "[gone](gone.md)": "gone.md",
    "[gone](options.md#no-such-option)": "no-such-option",
    "[gone](deviations.md#t999-nothing)": "t999",
    "[gone](../no-such-file)": "no-such-file",
}


def test_a_broken_link_ends_the_build(tmp_path: Path) -> None:
    for name in SOURCES:
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    with (tmp_path / "docs" / "start.md").open("a", encoding="utf-8") as page:
        page.write("\n" + "\n".join(BROKEN) + "\n")
    (tmp_path / "docs" / "stray.md").write_text("# In no menu\n", encoding="utf-8")
    done = build(tmp_path, tmp_path / "site")
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert [why for why in (*BROKEN.values(), "stray.md") if why not in said] == []
