"""The wheel, in an environment of its own, beside a package whose script had the same name."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

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
    """The other package's, made of its installed files, so that no index has to be asked."""
    try:
        found = importlib.metadata.distribution(BESIDE)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{BESIDE} is not installed: it is what ours is installed beside")
    folder = tmp_path_factory.mktemp("beside")
    path = folder / f"charset_normalizer-{found.version}-py3-none-any.whl"
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
    done = subprocess.run(
        [str(script), "--version"], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(os.name != "posix", reason="scripts are elsewhere on Windows")
@pytest.mark.parametrize("ours_first", [True, False])
def test_two_scripts_beside_each_other(
    wheel: Path, beside: Path, tmp_path: Path, ours_first: bool
) -> None:
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    scripts = tmp_path / "env" / "bin"
    python = scripts / "python"
    wheels = [wheel, beside] if ours_first else [beside, wheel]
    for each in wheels:
        pip("install", "--no-deps", str(each), python=python)
    # the libraries of this environment, behind what is installed in the other
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (site / "zz_beside.pth").write_text(sysconfig.get_path("purelib") + "\n")

    ours = importlib.metadata.version("stream-normalizer")
    assert said(scripts / "stream-normalizer", tmp_path) == f"{ours}\n"
    theirs = importlib.metadata.version(BESIDE)
    assert f"Charset-Normalizer {theirs}" in said(scripts / "normalizer", tmp_path)

    pip("uninstall", "--yes", BESIDE, python=python)
    assert not (scripts / "normalizer").exists()
    assert said(scripts / "stream-normalizer", tmp_path) == f"{ours}\n"
