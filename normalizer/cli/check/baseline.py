"""Findings that are known: a later `check` tells only what is new.

The file is JSON: for each answer, by its name, the codes that were found in it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from normalizer.cli.check.lint import Linted
from normalizer.cli.group import Failure

_VERSION = 1


class Baseline:
    """The findings in a file.

    Example::

        baseline = Baseline.read(Path("known.json"))
        linted = baseline.without_known(lint(answer))
    """

    def __init__(self, known: dict[str, frozenset[str]]) -> None:
        self._known = known
        self.hidden = 0  # findings that were left out

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Read a file. Raises `Failure` if there is none, or if it is no baseline."""
        try:
            value = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise Failure(f"{path}: {error.strerror}") from None
        except ValueError as error:
            raise Failure(f"{path}: {error}") from None
        found = value.get("findings") if isinstance(value, dict) else None
        if not isinstance(found, dict) or value.get("version") != _VERSION:
            raise Failure(f"{path}: this is no baseline of version {_VERSION}")
        if not all(isinstance(codes, list) for codes in found.values()):
            raise Failure(f"{path}: the findings of each answer are a list of codes")
        return cls({name: frozenset(map(str, codes)) for name, codes in found.items()})

    def without_known(self, one: Linted) -> Linted:
        """Return an answer without the findings that are known."""
        known = self._known.get(one.answer.name, frozenset())
        new = tuple(finding for finding in one.findings if finding.code not in known)
        self.hidden += len(one.findings) - len(new)
        return dataclasses.replace(one, findings=new)


def write(path: Path, answers: Sequence[Linted]) -> None:
    """Write the findings of all answers as a baseline. Raises `Failure`."""
    found = {
        one.answer.name: sorted(finding.code for finding in one.findings)
        for one in answers
        if one.findings
    }
    text = json.dumps({"version": _VERSION, "findings": found}, indent=2, sort_keys=True)
    try:
        path.write_text(text + "\n", "utf-8")
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
