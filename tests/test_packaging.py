"""The wheel and the sdist: what is in them, and that they work in environments of their own."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import click
import pytest

import normalizer
from tests.test_imports import modules

ROOT = Path(__file__).parents[1]
BESIDE = "charset-normalizer"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ours, built of this tree."""
    for module in ("hatchling", "pip"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: it builds the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder))
    (built,) = folder.glob("stream_normalizer-*.whl")
    return built


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The other package's."""
    return installed(BESIDE, tmp_path_factory.mktemp("beside"))


def installed(name: str, folder: Path) -> Path:
    """Make a wheel of the installed files of a package, so that no index has to be asked."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed: it is what ours is installed beside")
    tag = re.search(r"^Tag: (\S+)", found.read_text("WHEEL") or "", re.MULTILINE)
    assert tag is not None
    path = folder / f"{name.replace('-', '_')}-{found.version}-{tag[1]}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in found.files or ():
            kept = ".." not in file.parts and file.suffix != ".pyc"
            if kept and file.name not in ("RECORD", "INSTALLER", "REQUESTED"):
                archive.write(str(found.locate_file(file)), str(file))
        # an installer needs the file, and not that it lists everything
        folder_in_it = next(file.parts[0] for file in found.files or () if file.name == "METADATA")
        archive.writestr(f"{folder_in_it}/RECORD", "")
    return path


def pip(*args: str, python: Path | None = None) -> None:
    """Runs this environment's pip, without an index, for ``python``'s environment."""
    command = [sys.executable, "-m", "pip"]
    if python is not None:
        command += ["--python", str(python)]
    environ = {**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [*command, *args], capture_output=True, text=True, check=False, env=environ
    )
    assert done.returncode == 0, done.stderr


def said(script: Path, folder: Path) -> str:
    """What a console script says of its version, run where no source of ours lies."""
    done = run(script, "--version", folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(os.name != "posix", reason="scripts are elsewhere on Windows")
@pytest.mark.parametrize("ours_first", [True, False])
def test_two_scripts_beside_each_other(
    wheel: Path, beside: Path, tmp_path: Path, ours_first: bool
) -> None:
    scripts = environment(tmp_path, *([wheel, beside] if ours_first else [beside, wheel]))
    python = scripts / "python"
    libraries_behind(tmp_path)

    ours = normalizer.__version__
    assert said(scripts / "stream-normalizer", tmp_path) == f"{ours}\n"
    theirs = importlib.metadata.version(BESIDE)
    assert f"Charset-Normalizer {theirs}" in said(scripts / "normalizer", tmp_path)

    pip("uninstall", "--yes", BESIDE, python=python)
    assert not (scripts / "normalizer").exists()
    assert said(scripts / "stream-normalizer", tmp_path) == f"{ours}\n"


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """Ours, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        archive.extractall(folder, filter="data")
    return folder / built.name.removesuffix(".tar.gz")


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_the_package_and_no_more(wheel: Path) -> None:
    names = contents(wheel)
    assert {name.split("/")[0].split("-")[0] for name in names} == {
        "normalizer",
        "stream_normalizer",
    }
    tracked = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "normalizer").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if name.startswith("normalizer/")} == tracked
    assert "normalizer/py.typed" in names


def test_the_extras_are_for_users(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith("/METADATA"))
        metadata = archive.read(name).decode()
    extras = set(re.findall(r"^Provides-Extra: (\S+)", metadata, re.MULTILINE))
    assert extras >= {
        "httpx",
        "httpx2",
        "serve",
        "cassette",
        "cli",
        "demo",
        "metrics",
        "ray",
        "all",
    }
    assert not extras & {"test", "lint", "clients", "stories", "vendors"}
    assert "pytest" not in re.findall(r"^Requires-Dist: ([\w-]+)", metadata, re.MULTILINE)
    assert f"\nVersion: {normalizer.__version__}\n" in metadata


def test_a_wheel_of_the_sdist_is_the_same(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    assert {path.name for path in sdist.iterdir()} == {
        *("normalizer", "hatch_build.py", "pyproject.toml", ".gitignore"),
        *("README.md", "CHANGELOG.md", "LICENSE", "PKG-INFO"),
    }
    pip("wheel", str(sdist), "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path))
    (again,) = tmp_path.glob("*.whl")
    assert contents(again) == contents(wheel)


@pytest.mark.skipif(os.name != "posix", reason="scripts are elsewhere on Windows")
def test_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """With what is required and nothing else the core works, and the rest names its extra."""
    scripts = environment(tmp_path, wheel, installed("orjson", tmp_path))
    program = (
        "from normalizer import Normalizer, NormalizingMiddleware, Options, RequestInfo\n"
        "asked = RequestInfo.parse('/v1/chat/completions', b'{\"stream\":true}')\n"
        "n = Normalizer(asked, Options())\n"
        "n.feed(b'data: {}\\n\\n'); n.close(); print(*n.report.codes)"
    )
    assert run(scripts / "python", "-c", program, folder=tmp_path).stdout.split()
    for command, extra in (("check", "cli"), ("serve", "serve"), ("demo", "demo")):
        done = run(scripts / "stream-normalizer", command, folder=tmp_path)
        assert done.returncode == 2
        assert f"pip install 'stream-normalizer[{extra}]'" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="scripts are elsewhere on Windows")
def test_the_demo_of_the_wheel(wheel: Path, tmp_path: Path) -> None:
    scripts = environment(tmp_path, wheel)
    libraries_behind(tmp_path)
    done = run(scripts / "stream-normalizer", "demo", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("9 of 9.")


def environment(folder: Path, *wheels: Path) -> Path:
    """Make an environment with these wheels only; return the folder of its scripts."""
    venv.create(folder / "env", with_pip=False, symlinks=True)
    scripts = folder / "env" / "bin"
    for each in wheels:
        pip("install", "--no-deps", str(each), python=scripts / "python")
    return scripts


def libraries_behind(folder: Path) -> None:
    """Put the libraries of this environment behind what is installed in the other."""
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    (site / "zz_beside.pth").write_text(sysconfig.get_path("purelib") + "\n")


def run(*command: Path | str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command where no source of ours lies."""
    return subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False
    )


# ---------------------------------------------------------------- what the package promises


def test_the_public_names_are_few() -> None:
    assert len(normalizer.__all__) <= 15
    assert all(hasattr(normalizer, name) for name in normalizer.__all__)


def test_the_version_is_that_of_the_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## \[?(\d+\.\d+\.\d+)\]? - \d{4}-\d\d-\d\d$", text, re.MULTILINE)
    assert heads[0] == normalizer.__version__


def test_every_error_is_a_normalizer_error() -> None:
    """But those of click, which end the command line with one line."""
    roots = (normalizer.NormalizerError, click.ClickException)
    for module in modules():
        for value in vars(importlib.import_module(module)).values():
            if isinstance(value, type) and issubclass(value, Exception):
                assert value.__module__ != module or issubclass(value, roots), value
