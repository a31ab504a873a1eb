"""The commands in a block, and whether each of them can be run as it stands there.

Our own commands are parsed by the command line itself: the subcommand, the flags, their values. Of
other programs only the name is checked, and that their flags are in the list here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib.metadata import metadata

import click

from normalizer.cli.group import normalizer as group
from normalizer.core.options import Options
from tests.docs.reading import ROOT

PROGRAM = "stream-normalizer"

# Programs that are not ours. What follows them is theirs to check; it was compared with their
# documentation or their source when the page was written.
OTHERS = {
    "cd", "claude", "codex", "curl", "docker", "env", "eval", "export", "git", "kubectl",
    "llama-server", "npm", "pipx", "serve", "uvx", "vllm",
}  # fmt: skip

_VARIABLE = re.compile(r"([A-Z_][A-Z0-9_]*)=(.*)", re.DOTALL)
_SEPARATOR = {"|", "&&", ";"}
_REDIRECTION = {">", ">>", "<"}


def commands(text: str, *, prompt: bool) -> Iterator[list[str]]:
    """Yield the words of each command. With a prompt, lines without ``$`` are output."""
    text = text.replace("\\\n", " ")
    for line in text.splitlines():
        if prompt and not line.startswith("$ "):
            continue
        line = line.removeprefix("$ ")
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>")
        lexer.whitespace_split = True
        lexer.commenters = "#" if re.search(r"\s#\s", line) or line.startswith("#") else ""
        command: list[str] = []
        for word in lexer:
            if word in _SEPARATOR:
                yield command
                command = []
            else:
                command.append(word)
        if command:
            yield command


def refused(words: list[str]) -> str | None:
    """Return why a command cannot be run as it stands in a page, or None."""
    while words and (given := _VARIABLE.fullmatch(words[0])):
        if why := _refused_variable(given[1], given[2]):
            return why
        words = words[1:]
    if not words or words[0] in ("…", "..."):
        return None
    program, *arguments = words
    if program == PROGRAM:
        return _refused_arguments(arguments)
    if program in ("pip", "pip3"):
        return _refused_extras(arguments)
    if program in ("python", ".venv/bin/python") and arguments:
        return _refused_file(arguments[0])
    if program == "pytest":
        return None
    if program.startswith(("tools/", ".ci/")):
        return _refused_file(program)
    if program == "uvx" and PROGRAM in arguments:
        return _refused_arguments(arguments[arguments.index(PROGRAM) + 1 :])
    return None if program in OTHERS else f"no such program: {program}"


def _refused_variable(name: str, value: str) -> str | None:
    if not name.startswith("NORMALIZER_"):
        return None
    try:
        Options.from_environ({name: value})
    except ValueError as error:
        return str(error)
    return None


def _refused_arguments(arguments: list[str]) -> str | None:
    words = [word for word in _without_redirections(arguments) if word not in ("…", "...")]
    command: click.Command = group
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        found = command.get_command(click.Context(command), name)
        if found is None:
            return f"no such subcommand: {name}"
        command = found
    context = click.Context(command)
    try:
        values, _, _ = command.make_parser(context).parse_args(words)
        for parameter in command.params:
            given = values.get(parameter.name or "")
            if isinstance(parameter, click.Option) and isinstance(given, str | list):
                for value in [given] if isinstance(given, str) else given:
                    parameter.type.convert(value, parameter, context)
    except click.UsageError as error:
        return error.format_message()
    return None


def _without_redirections(words: list[str]) -> Iterator[str]:
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in _REDIRECTION:
            skip = True
        elif word != "2>&1":
            yield word


def _refused_extras(arguments: list[str]) -> str | None:
    extras = set(metadata(PROGRAM).get_all("Provides-Extra") or ())
    for word in arguments:
        if found := re.fullmatch(rf"{PROGRAM}\[([\w,]+)\]", word):
            unknown = set(found[1].split(",")) - extras
            if unknown:
                return f"no such extra: {sorted(unknown)}"
    return None


def _refused_file(name: str) -> str | None:
    there = name.startswith("-") or (ROOT / name).exists()
    return None if there else f"no such file: {name}"
