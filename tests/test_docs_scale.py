"""docs/scale.md says what the code and the examples of deploy/ do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from normalizer.batch import Row

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
MANIFEST = (ROOT / "deploy" / "kubernetes.yaml").read_text(encoding="utf-8")
SERVE = (ROOT / "deploy" / "ray_serve.py").read_text(encoding="utf-8")


def test_the_batch() -> None:
    names: dict[str, Any] = {}
    exec(compile(BLOCKS[1], "scale.md", "exec"), names)  # noqa: S102
    out = names["out"]
    assert json.loads(out["codes"][0])["S504"] == 1
    assert out["normalized"][0].endswith(b"data: [DONE]\n\n")


def test_the_columns() -> None:
    _, _, table = PAGE.partition("| column out | is |")
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    assert named == list(Row._fields)


def test_the_settings_of_the_manifest() -> None:
    table = PAGE.partition("| setting | why |")[2].partition("\n\n")[0]
    for setting in ("--grace=600", "maxUnavailable: 0", "averageUtilization: 100", "cpu: 500m"):
        assert setting in table
        assert setting in MANIFEST
    for setting in ("terminationGracePeriodSeconds: 630", "stabilizationWindowSeconds: 600"):
        assert setting in table
        assert setting in MANIFEST
    assert all(yaml.safe_load_all(MANIFEST))


def test_the_settings_of_ray_serve() -> None:
    for setting in re.findall(r"(\w+=\w+)[,)]", BLOCKS[0].partition("deployment")[2]):
        assert setting in SERVE


def test_the_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]*)(#[\w-]*)?\)", PAGE)
    assert links
    for file, place in links:
        page = (ROOT / "docs" / file).resolve() if file else ROOT / "docs" / "scale.md"
        assert page.is_file(), file
        titles = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
        places = {"#" + re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in titles}
        assert not place or place in places, place
