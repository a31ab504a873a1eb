"""Compile the hot part of the package with mypyc, if the builder asks for it.

    HATCH_BUILD_HOOKS_ENABLE=1 pip install stream-normalizer --no-binary stream-normalizer

Nobody has to ask: without the variable hatchling does not load this file, and the wheel is pure
Python. Who asks gets compiled modules or a failed build, never a pure wheel under the name of a
compiled one. Which modules are compiled is said by patterns in ``pyproject.toml``.

The plugin `hatch-mypyc` puts the compiled modules beside the sources, where an editable install of
the same checkout would load them from then on, however old they are. Here everything is made in a
temporary folder, and goes from there into the wheel.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompilingHook(BuildHookInterface[Any]):
    """hatchling's interface of build hooks; it finds this class by its base."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and put what was compiled into the wheel.

        ``version`` is the kind of wheel: an editable one stays pure. Raises RuntimeError if mypyc
        or the C compiler fail.
        """
        if version == "editable":
            return
        self._folder = tempfile.TemporaryDirectory()
        for file in self._compiled(Path(self._folder.name)):
            inside = file.relative_to(self._folder.name).relative_to("lib").as_posix()
            build_data["force_include"][str(file)] = inside
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the temporary folder. hatchling calls it when the wheel is written."""
        if version != "editable":
            self._folder.cleanup()

    def _sources(self) -> list[str]:
        root = Path(self.root)
        chosen = {
            file.relative_to(root).as_posix()
            for pattern in self.config["include"]
            for file in root.glob(pattern)
        }
        return sorted(chosen.difference(self.config.get("exclude", ())))

    def _compiled(self, folder: Path) -> list[Path]:
        """Compile the sources; the paths of the extension modules, below ``folder/lib``."""
        # a pure wheel is built where neither is installed
        from mypyc.build import mypycify
        from setuptools import Distribution
        from setuptools.command.build_ext import build_ext

        sources = self._sources()
        here = Path.cwd()
        os.chdir(self.root)  # mypyc tells modules by their paths from here
        try:
            extensions = mypycify(
                [f"--cache-dir={folder / 'mypy'}", "--follow-imports=silent", *sources],
                opt_level=os.environ.get("MYPYC_OPT_LEVEL", "3"),
                debug_level="0",
                multi_file=True,
                target_dir=str(folder / "c"),
            )
            command: Any = build_ext(Distribution({"ext_modules": extensions}))
            command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "objects")
            command.ensure_finalized()
            command.build_extensions = partial(in_parallel, command, command.build_extensions)
            command.run()
        except SystemExit as stopped:  # mypycify's way to say that there are type errors
            raise RuntimeError(f"mypyc could not compile {len(sources)} modules") from stopped
        finally:
            os.chdir(here)
        return [Path(name) for name in command.get_outputs()]


def in_parallel(command: Any, build_extensions: Callable[[], None]) -> None:
    """Let the compiler of setuptools work on as many files at once as there are processors.

    It has a loop over the files of an extension, and mypyc makes one extension of many files. That
    of Windows is not called once a file, and stays as it is.
    """
    compiler = command.compiler
    if compiler.compiler_type != "unix":
        build_extensions()
        return
    compile_one = compiler._compile

    def compile_all(sources: list[str], **given: Any) -> list[str]:
        _, objects, extra, flags, build = compiler._setup_compile(
            given.get("output_dir"),
            given.get("macros"),
            given.get("include_dirs"),
            sources,
            given.get("depends"),
            given.get("extra_postargs"),
        )
        options = compiler._get_cc_args(flags, given.get("debug"), given.get("extra_preargs"))

        def compile_to(name: str) -> None:
            source, extension = build[name]
            compile_one(name, source, extension, options, extra, flags)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(compile_to, build))  # raises what one of them raised
        return list(objects)

    compiler.compile = compile_all
    build_extensions()
