"""The pages of the site that are not files in docs/, and the links that differ there.

mkdocs loads this file as a hook (mkdocs.yml); tools/docs runs mkdocs. docs/ is read in two places:
on a code host, as it is, and on the site, with three differences.

* docs/deviations.md is one long page on a code host. The site has its tables, and a page for each
  deviation: ``deviations/t402/``. Links to a chapter of the long page lead to the short one.
* A link to a file outside of docs/ (``../Dockerfile``) leads to a copy, under ``repository/``.
* ``<!-- api: normalizer.Options -->`` becomes what the docstring says.

Whatever is linked must exist: the build is strict, and a link that leads nowhere ends it.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # mkdocs loads this file by its path

from normalizer.catalogue import Rule, rules  # noqa: E402 - not before the line above
from tools import deviations  # noqa: E402

FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s]+)\)")
CHAPTER = re.compile(r"([a-z]\d{3})-[\w-]+")
API = re.compile(r"<!-- api: ([\w.]+) -->")
LANGUAGES = {".yaml": "yaml", ".py": "python", ".toml": "toml", ".mjs": "javascript"}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the deviations, and copies of the files that pages link to."""
    files.remove(files.get_file_from_path("deviations.md"))
    _add(files, config, "deviations.md", _overview())
    for rule in rules():
        _add(files, config, _page_of(rule.deviation.code), _chapter(rule))
    for page in list(files.documentation_pages()):
        for path in _linked(ROOT / "docs" / page.src_uri):
            uri = _uri(path)
            if uri.startswith("repository/") and files.get_file_from_path(uri) is None:
                _add(files, config, uri, _copy(path))
    return files


def on_page_markdown(markdown: str, *, page: Any, files: Any, **_: Any) -> str:
    """Replace what differs between a page on a code host and a page on the site."""
    here = page.file.src_uri
    source = _source(here)

    def link(match: re.Match[str]) -> str:
        path = _path(match[2], source)
        if here.startswith("repository/") and path and files.get_file_from_path(_uri(path)) is None:
            return match[1]  # copies bring no further copies with them
        return f"[{match[1]}]({_rewritten(match[2], source, here)})"

    parts, end = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [LINK.sub(link, markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    parts.append(LINK.sub(link, markdown[end:]))
    return API.sub(r"::: \1", "".join(parts))


def on_page_content(html: str, *, page: Any, **_: Any) -> str:
    """Docstrings introduce an example with two colons. That is a sign for editors, not readers."""
    return html.replace("::</p>", ":</p>") if page.file.src_uri == "api.md" else html


def _add(files: Any, config: Any, uri: str, content: str) -> None:
    files.append(File.generated(config, uri, content=content))


def _overview() -> str:
    lines = [deviations.INTRODUCTION]
    for letter, title in deviations.GROUPS.items():
        lines += ["", f"## {title}", "", *deviations.index(letter)]
    return "\n".join(lines)


def _chapter(rule: Rule) -> str:
    _, title, *lines = deviations.chapter(rule)
    return "\n".join([title.removeprefix("##"), *lines, "", "[All deviations](deviations.md)"])


def _page_of(code: str) -> str:
    return f"deviations/{code.lower()}.md"


def _source(uri: str) -> Path:
    """The file of the repository that a page of the site is made of."""
    if uri.startswith("repository/"):
        path = ROOT / uri.removeprefix("repository/")
        return path if path.exists() else path.with_suffix("")
    return ROOT / "docs" / ("deviations.md" if uri.startswith("deviations/") else uri)


def _uri(path: Path) -> str:
    """The place on the site for a file of the repository."""
    inside = path.relative_to(ROOT).as_posix()
    if inside.startswith("docs/"):
        return inside.removeprefix("docs/")
    return f"repository/{inside}" if path.suffix == ".md" else f"repository/{inside}.md"


def _linked(source: Path) -> Iterator[Path]:
    """The files of the repository that a page links to."""
    if not source.exists():  # a page that is generated
        return
    for _, target in LINK.findall(FENCE.sub("", source.read_text(encoding="utf-8"))):
        path = _path(target, source)
        if path is not None and path.is_file():
            yield path


def _path(target: str, source: Path) -> Path | None:
    name, _, _ = target.partition("#")
    if not name or ":" in name:
        return None
    path = Path(posixpath.normpath(source.parent / name))
    return path if path.is_relative_to(ROOT) else None


def _rewritten(target: str, source: Path, here: str) -> str:
    name, _, anchor = target.partition("#")
    if name and _path(target, source) is None:
        return target
    path = _path(target, source) or source
    if path.name == "deviations.md" and (code := CHAPTER.fullmatch(anchor)):
        return posixpath.relpath(_page_of(code[1]), posixpath.dirname(here) or ".")
    if not name or not path.is_file():  # a place on the page itself, or for mkdocs to refuse
        return target
    if path.suffix != ".md" and path.is_relative_to(ROOT / "docs"):  # a picture
        return target
    uri = posixpath.relpath(_uri(path), posixpath.dirname(here) or ".")
    return f"{uri}#{anchor}" if anchor else uri


def _copy(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    language = LANGUAGES.get(path.suffix, "text")
    return f"# {path.relative_to(ROOT).as_posix()}\n\n```{language}\n{text}```\n"
