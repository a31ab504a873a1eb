"""Find the recorded answer for a request, or explain why there is none."""

from __future__ import annotations

import json
import operator
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from normalizer.cassette import _vcrpy
from normalizer.cassette._vcrpy import Matcher
from normalizer.cassette.format import Cassette, Interaction, RecordedRequest, load
from normalizer.cassette.scrub import Scrubber
from normalizer.core.exceptions import NormalizerError

Source = Cassette | str | os.PathLike[str]

MATCH_ON = ("method", "path", "body")

# Enough to see what is wrong, where all of a long prompt differs.
_MOST_DIFFERENCES = 12
_WIDTH = 70


class UnmatchedRequestError(NormalizerError, LookupError):
    """No recorded request equals this one, or all equal ones have been played.

    * ``request``: this request, without its secrets.
    * ``nearest``: the most similar recorded interaction. None if the cassette is empty.
    * ``differences``: by field, such as ``body.temperature: 0 was recorded, 1 is asked``.
    """

    def __init__(
        self,
        request: RecordedRequest,
        nearest: Interaction | None,
        differences: Sequence[str],
        text: str,
    ) -> None:
        super().__init__(text)
        self.request = request
        self.nearest = nearest
        self.differences = tuple(differences)


# pytest shows the test that asked, not the way from here to it.
HIDDEN = operator.methodcaller("errisinstance", UnmatchedRequestError)


class Recordings:
    """The interactions of one or several cassettes. Each is played once, in order.

    With ``repeats``, the last equal one is played again after all were played. Raises the errors of
    `load`, and ValueError for a matcher that vcrpy does not have.
    """

    def __init__(
        self,
        sources: Source | Iterable[Source],
        *,
        match_on: Sequence[str | Matcher] = MATCH_ON,
        repeats: bool = False,
        allow_headers: Sequence[str] = (),
    ) -> None:
        self._matchers = _vcrpy.matchers(match_on)
        self._repeats = repeats
        self._lock = threading.Lock()
        # What is asked comes here without its secrets, so what was recorded has to as well.
        rules = Scrubber({"allow_headers": allow_headers})
        self._all: list[tuple[str, Interaction, Any]] = []
        for name, cassette in _cassettes(sources):
            for number, each in enumerate(cassette.interactions):
                place = f"{name}: interactions[{number}]" if name else f"interactions[{number}]"
                clean = rules.request(each.request)
                made = _vcrpy.to_vcrpy(clean.request if clean else each.request)
                self._all.append((place, each, made))
        self._played: set[int] = set()

    def __len__(self) -> int:
        return len(self._all)

    @property
    def unplayed(self) -> tuple[Interaction, ...]:
        """The interactions that were not requested yet."""
        with self._lock:
            return tuple(
                each for at, (_, each, _) in enumerate(self._all) if at not in self._played
            )

    @property
    def models(self) -> tuple[str, ...]:
        """The models in the recorded requests, each once."""
        return tuple(dict.fromkeys(filter(None, (_model(each) for _, each, _ in self._all))))

    def find(self, request: RecordedRequest) -> Interaction:
        """Return the answer to a request. Raises `UnmatchedRequestError`."""
        __tracebackhide__ = HIDDEN
        made = _vcrpy.to_vcrpy(request)
        with self._lock:
            same = [at for at, (_, _, each) in enumerate(self._all) if self._same(made, each)]
            left = [at for at in same if at not in self._played]
            if left:
                self._played.add(left[0])
                return self._all[left[0]][1]
            # vcrpy would play the first one again and again, and never come to the second
            if same and self._repeats:
                return self._all[same[-1]][1]
        raise self._unmatched(request, made, same)

    def _same(self, made: Any, recorded: Any) -> bool:
        return not _vcrpy.compared(made, recorded, self._matchers)[1]

    def _unmatched(
        self, request: RecordedRequest, made: Any, same: list[int]
    ) -> UnmatchedRequestError:
        asked = f"{request.method} {request.uri}"
        if same:
            place, nearest, _ = self._all[same[-1]]
            text = (
                f"{asked}: recorded {_times(len(same))} and played as often; the last is {place}."
                " To play it again, set allow_playback_repeats=True"
            )
            return UnmatchedRequestError(request, nearest, (), text)
        if not self._all:
            return UnmatchedRequestError(request, None, (), f"{asked}: nothing was recorded")
        compared = []
        for at, (_, _, recorded) in enumerate(self._all):
            failed = _vcrpy.compared(made, recorded, self._matchers)[1]
            found = [line for name in failed for line in _differences(name, made, recorded)]
            compared.append((len(failed), len(found), at, found))
        # few matchers that fail count more than few fields: another path is another endpoint
        *_, at, found = min(compared)
        place, nearest, _ = self._all[at]
        lines = [
            f"{asked}: no recorded request is the same.",
            f"Nearest is {place} ({nearest.request.method} {nearest.request.uri}), but",
            *(f"  {line}" for line in found[:_MOST_DIFFERENCES]),
        ]
        if len(found) > _MOST_DIFFERENCES:
            lines.append(f"  and {len(found) - _MOST_DIFFERENCES} more")
        return UnmatchedRequestError(request, nearest, found, "\n".join(lines))


def _model(interaction: Interaction) -> str | None:
    try:
        model = json.loads(interaction.request.body)["model"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return model if isinstance(model, str) else None


def _cassettes(sources: Source | Iterable[Source]) -> Iterator[tuple[str, Cassette]]:
    several = [sources] if isinstance(sources, (Cassette, str, os.PathLike)) else sources
    for each in several:
        if isinstance(each, Cassette):
            yield "", each
        else:
            yield os.fspath(each), load(each)


def _differences(name: str, asked: Any, recorded: Any) -> Iterator[str]:
    if name in ("body", "raw_body"):
        try:
            ours, theirs = json.loads(asked.body or b""), json.loads(recorded.body or b"")
        except ValueError:
            ours, theirs = asked.body or b"", recorded.body or b""
        yield from list(_unlike(ours, theirs, "body")) or ["body: the same JSON in other bytes"]
    elif name == "headers":
        yield from _unlike(_lowered(asked.headers), _lowered(recorded.headers), "headers")
    elif name in ("uri", "url"):
        ours, theirs = urlsplit(asked.uri), urlsplit(recorded.uri)
        for part in ("scheme", "netloc", "path", "query"):
            yield from _unlike(getattr(ours, part), getattr(theirs, part), f"uri {part}")
    elif hasattr(asked, name):
        yield from _unlike(getattr(asked, name), getattr(recorded, name), name)
    else:
        yield f"{name}: differs"


def _unlike(ours: Any, theirs: Any, where: str) -> Iterator[str]:
    """Yield the differences of two JSON values."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in [*theirs, *(key for key in ours if key not in theirs)]:
            if key not in ours:
                yield f"{where}.{key}: {_short(theirs[key])} was recorded, nothing is asked"
            elif key not in theirs:
                yield f"{where}.{key}: nothing was recorded, {_short(ours[key])} is asked"
            else:
                yield from _unlike(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
            yield from _unlike(our, their, f"{where}[{number}]")
    elif isinstance(ours, list) and isinstance(theirs, list):
        yield f"{where}: {len(theirs)} items were recorded, {len(ours)} are asked"
    elif ours != theirs:
        yield f"{where}: {_short(theirs)} was recorded, {_short(ours)} is asked"


def _short(value: Any) -> str:
    text = (
        repr(value)
        if isinstance(value, bytes)
        else json.dumps(value, ensure_ascii=False, default=str)
    )
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"


def _lowered(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
