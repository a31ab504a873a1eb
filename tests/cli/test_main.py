"""The group: what it lists, what it loads, and what it says where something is missing."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from normalizer import Options
from normalizer.cli import COMMANDS, main
from normalizer.core.options import FIELDS, OTHER_VARIABLES
from tests.cli.conftest import Run


def test_help_names_every_subcommand(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name, command in COMMANDS.items():
        assert f"  {name} " in result.stdout
        assert command.summary in result.stdout


@pytest.mark.parametrize("command", ["serve", "check", "normalize", "rules"])
def test_help_teaches(run: Run, command: str) -> None:
    result = run(command, "-h")
    assert result.exit_code == 0
    # an example that can be copied
    assert f"normalizer {command} " in result.stdout


@pytest.mark.parametrize("command", ["serve", "check", "normalize"])
def test_every_option_has_a_flag(run: Run, command: str) -> None:
    fields = get_type_hints(Options)
    said = run(command, "--help").stdout
    without = {"mode"} if command != "serve" else set()
    for name in fields:
        flag = f"--{name.replace('_', '-')}"
        assert bool(re.search(rf"^  {flag}\b", said, re.MULTILINE)) == (name not in without)


def test_a_module_and_a_script() -> None:
    by_module = subprocess.run(
        [sys.executable, "-m", "normalizer", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert by_module.stdout.strip()
    with pytest.raises(SystemExit) as exited:
        main(["--version"])
    assert exited.value.code == 0


def without(*modules: str, args: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Runs the command line where modules are not installed."""
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({modules!r}))\n"
        "from normalizer.cli import main\n"
        f"main({args!r})"
    )
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=30
    )


@pytest.mark.parametrize(
    ("module", "args", "line"),
    [
        (
            "click",
            ("rules",),
            "`stream-normalizer rules` needs click: pip install 'stream-normalizer[cli]'",
        ),
        (
            "rich",
            ("rules",),
            "`stream-normalizer rules` needs rich: pip install 'stream-normalizer[cli]'",
        ),
        (
            "aiohttp",
            ("serve", "--upstream", "http://h"),
            "`stream-normalizer serve` needs aiohttp: pip install 'stream-normalizer[serve]'",
        ),
        (
            "click",
            ("replay", "chat.yaml"),
            (
                "`stream-normalizer replay` needs click: "
                "pip install 'stream-normalizer[cassette,serve]'"
            ),
        ),
        (
            "click",
            ("--help",),
            "`stream-normalizer` needs click: pip install 'stream-normalizer[cli]'",
        ),
        (
            "aiohttp",
            ("record", "--upstream", "http://h", "--cassette", "chat.yaml"),
            (
                "`stream-normalizer record` needs aiohttp: "
                "pip install 'stream-normalizer[cassette,serve]'"
            ),
        ),
        (
            "vcr",
            ("record", "--upstream", "http://h", "--cassette", "chat.yaml"),
            (
                "`stream-normalizer record` needs vcr: "
                "pip install 'stream-normalizer[cassette,serve]'"
            ),
        ),
        (
            "starlette",
            ("replay", "cassettes"),
            (
                "`stream-normalizer replay` needs starlette: "
                "pip install 'stream-normalizer[cassette,serve]'"
            ),
        ),
        (
            "yaml",
            ("cassette", "show", "cassettes"),
            (
                "`stream-normalizer cassette` needs yaml: "
                "pip install 'stream-normalizer[cassette,cli]'"
            ),
        ),
        (
            "uvicorn",
            ("serve", "--help"),
            "`stream-normalizer serve` needs uvicorn: pip install 'stream-normalizer[serve]'",
        ),
    ],
)
def test_a_missing_extra_is_one_line(module: str, args: tuple[str, ...], line: str) -> None:
    done = without(module, args=args)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"Error: {line}\n")


def test_a_subcommand_needs_only_its_own_extra() -> None:
    done = without("aiohttp", "uvicorn", "prometheus_client", "vcr", args=("rules", "T404"))
    assert done.returncode == 0
    assert "call-id-not-text" in done.stdout


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("nonsense",), "Error: No such command 'nonsense'. There are"),
        (("--nonsense",), "Error: No such option '--nonsense'"),
        (("check",), "Error: Missing argument 'TARGET…'."),
        (("check", "x", "--format", "xml"), "Error: Invalid value for '--format'"),
        (("normalize", "nowhere.sse"), "nowhere.sse"),
    ],
)
def test_errors_are_one_line(run: Run, args: tuple[str, ...], line: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert line in result.stderr
    assert "--help)" in result.stderr


def test_an_option_comes_from_the_environment_and_the_flag_wins(run: Run) -> None:
    stream = b'data: {"choices": []}\n\n: hi\n\ndata: [DONE]\n\n'
    environ = {"NORMALIZER_COMMENTS": "drop"}
    assert b": hi" not in run("normalize", stdin=stream, environ=environ).stdout_bytes
    kept = run("normalize", "--comments", "keep", stdin=stream, environ=environ)
    assert b": hi" in kept.stdout_bytes
    wrong = run("normalize", stdin=stream, environ={"NORMALIZER_COMMENTS": "shout"})
    assert wrong.exit_code == 2
    assert "NORMALIZER_COMMENTS" in wrong.stderr


@pytest.mark.parametrize("command", ["serve", "check", "normalize"])
@pytest.mark.parametrize(
    ("flags", "environ", "told"),
    [
        (("--select", "S5O4"), {}, "did you mean 'S504'"),
        (("--ignore", "finish-with-contents"), {}, "did you mean 'finish-with-content'"),
        (("--ignore", "F103"), {}, "silence='F103'"),
        (("--text-tool-calls", "nope"), {}, "there are hermes"),
        (("--finish-timeout", "nan"), {}, "finish_timeout is nan"),
        ((), {"NORMALIZER_REASONNING": "both"}, "did you mean 'NORMALIZER_REASONING'"),
    ],
)
def test_what_no_option_can_be_is_told(
    run: Run, command: str, flags: tuple[str, ...], environ: dict[str, str], told: str
) -> None:
    given = ("--upstream", "http://127.0.0.1:1") if command == "serve" else ("-",)
    wrong = run(command, *given, *flags, stdin=b"data: [DONE]\n\n", environ=environ)
    assert wrong.exit_code == 2
    assert told in wrong.stderr


@pytest.mark.parametrize("command", ["serve", "check"])
def test_the_variable_of_a_key_may_begin_as_ours_do(run: Run, command: str) -> None:
    given = ("--upstream",) if command == "serve" else ()
    given = (*given, "http://127.0.0.1:1", "--key-env", "NORMALIZER_API_KEY")
    environ = {"NORMALIZER_API_KEY": "x"}
    said = run(command, *given, "--ignore", "Z9", environ=environ).stderr
    assert "NORMALIZER_API_KEY" not in said
    assert "Z9" in said


def test_every_variable_of_a_command_is_known() -> None:
    known = {field.variable for field in FIELDS.values()} | OTHER_VARIABLES
    for name in COMMANDS:
        command = importlib.import_module(COMMANDS[name].target.partition(":")[0])
        found = getattr(command, COMMANDS[name].target.partition(":")[2])
        for one in found.params:
            assert one.envvar is None or one.envvar in known


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("chek",), "No such command 'chek'. Did you mean 'check'?"),
        (("normalise",), "Did you mean 'normalize'?"),
        (("cassette", "verfy"), "Did you mean 'verify'?"),
        (("zzz",), "No such command 'zzz'. There are serve, check, normalize"),
    ],
)
def test_a_subcommand_that_there_is_not(run: Run, args: tuple[str, ...], line: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert line in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_version_in_short(run: Run) -> None:
    assert run("-V").stdout == run("--version").stdout


@pytest.mark.parametrize("args", [("check",), ("cassette", "show"), ("normalize",)])
def test_bad_yaml_is_one_line(run: Run, tmp_path: Path, args: tuple[str, ...]) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("version: 1\ninteractions: [\n  - a: b: c\n")
    result = run(*args, str(file))
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert str(file) in result.stderr


@pytest.mark.parametrize("args", [("serve", "--help"), ("check", "--format", "json"), ("check",)])
def test_a_terminal_without_utf_8(tmp_path: Path, args: tuple[str, ...]) -> None:
    file = tmp_path / "answer.sse"
    file.write_bytes('data:{"choices":[{"delta":{"content":"静夜思"}}]}\n\n'.encode())
    more = (str(file),) if "--help" not in args else ()
    done = subprocess.run(
        [sys.executable, "-m", "normalizer", *args, *more],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode == (0 if "--help" in args else 1)
    assert done.stdout
    if "json" in args:
        assert "静夜思" in json.loads(done.stdout)["findings"][0]["text"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    variable = {"_STREAM_NORMALIZER_COMPLETE": f"{shell}_source"}
    done = subprocess.run(
        [sys.executable, "-m", "normalizer"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variable},
    )
    assert "_STREAM_NORMALIZER_COMPLETE" in done.stdout


def test_the_proxy_says_what_to_install() -> None:
    script = "import sys; sys.modules['aiohttp'] = None\nimport normalizer.proxy"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith("normalizer.proxy needs aiohttp: pip install 'stream-normalizer[serve]'")
